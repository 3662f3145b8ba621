"""How well the data determine fitted constants."""

from __future__ import annotations

import numpy as np

from expressions.expression import Expression
from expressions.fitting.columns import Columns
from expressions.fitting.differentiation import Tape, Workspace
from expressions.fitting.projection import scaled
from expressions.fitting.reading import read
from expressions.fitting.table import Table

__all__ = ["gram_of_constants", "reach_of_constants"]


def reach_of_constants(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    settled: np.ndarray,
    allowed: float,
) -> np.ndarray | None:
    """How far each constant may be moved, while the others are fitted again, at a mean squared error of `allowed`.

    Moving constant `k` by `d` raises the sum of squares by `d^2 / (H^-1)_kk`, where `H` is the Gauss-Newton matrix
    of the constants that are not settled.

    Returns:
        One distance for every constant that is not `settled [constants]`; None where the error is larger already,
        or a value is not finite.
    """
    gram, total_weight = gram_of_constants(expression, inputs, target, weights, settled)
    room = allowed - gram[-1, -1] / total_weight
    if not np.isfinite(gram).all() or room < 0:
        return None
    unit, length = scaled(gram[..., None])
    values, vectors = np.linalg.eigh(unit[:-1, :-1, 0])
    with np.errstate(over="ignore", divide="ignore"):  # without bound, where the data say nothing of a constant
        spread = np.sum(vectors**2 / np.maximum(values, 1e-15), axis=1) / length[:-1, 0] ** 2
        reach: np.ndarray = np.sqrt(room * total_weight * spread)
    return reach


def gram_of_constants(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    settled: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Gram matrix of `[J, residual]`, where `J` holds the derivatives by the constants.

    Moving the constants by `d` changes the sum of squares to about `E - 2 g d + d G d`.

    Returns:
        The matrix `[[G, g], [g, E]]` of the constants that are not `settled [constants]`, and the total weight.
    """
    inputs, target = np.asarray(inputs, float), np.asarray(target, float)
    table = Table.of(inputs, target, weights, np.dtype(np.float64), [expression])
    trees, free, _ = read([expression.tokens], False, [settled])
    only = np.zeros(1, dtype=np.int64)
    with np.errstate(all="ignore"):
        columns = Columns(trees, table.inputs)
        tape = Tape(trees, columns, only, free, table.inputs, Workspace(table.dtype))
        gram = tape.gram(expression.constants[None], table.target, table.root_weights)[..., 0]
    return gram, table.total_weight
