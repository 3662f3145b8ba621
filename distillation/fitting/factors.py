"""Outputs that are mixtures of few factors: the factors are told apart, searched, and the mixture is solved.

64 outputs of a layer behind a bottleneck of eight units are eight functions and a matrix. Which functions, their
values do not say: any eight mixtures of the eight do as well. Their derivatives do: a mixture that does not depend
on some of the inputs has no derivative by these, which is a null space. Taken from few inputs to many, what
depends on one input alone comes first, then what depends on two, and so on; what is left needs all. Each of these
is a small search.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distillation.choosing.sizes import shared_size
from distillation.fitting.table import Table
from distillation.questions.answers import Answers
from expressions.canonical_form import without_affine
from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE, OPERATORS

__all__ = ["Factors", "Mixture", "factors_of", "mixed", "rank_of"]

Slopes = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Function that gives derivatives `[rows, mixtures, features]` of mixtures `[outputs, mixtures]` of the outputs
of a block at inputs `[rows, features]`."""

_LEFT = 1e-8
"""Share of the outputs' variance that fewer factors may leave."""
_FLAT = 1e-5
"""Share of a mixture's squared slopes, below which it does not depend on the inputs that are left out."""
_ROWS = 500  # where derivatives are looked at
_NEW = 0.1  # sine of the angle to what is known, from which on a direction is a factor of its own
_MOST_SUBSETS = 2_000
_ROWS_A_TERM = 5
_TINY = 1e-4  # share of an output's spread below which a factor has no part in it


@dataclass(frozen=True)
class Mixture:
    """The factors of some outputs, before they are equations.

    Attributes:
        table: values of the factors, and the inputs that each depends on.
        weights: weight of every output in every factor. `[outputs, factors]`
    """

    table: Table
    weights: np.ndarray

    def answers(self, network: Answers) -> Answers:
        """What a network says of the factors.

        Args:
            network: what it says of its outputs.
        """
        function, weights = network.function, self.weights

        def mixed_function(rows: Tensor) -> Tensor:
            return function(rows).double() @ torch.from_numpy(weights).to(rows.device)

        return Answers(mixed_function, dtype=network.dtype, device=network.device)


@dataclass(frozen=True)
class Factors:
    """Outputs as mixtures of equations.

    Attributes:
        equations: equations of the factors. `[factors]`
        weights: weight of every factor in every output. `[outputs, factors]`
        offsets: what is added. `[outputs]`
    """

    equations: tuple[Expression, ...]
    weights: np.ndarray
    offsets: np.ndarray

    def outputs(self) -> list[Expression]:
        """One equation for every output."""
        return [
            _sum(self.equations, weights, offset)
            for weights, offset in zip(self.weights, self.offsets.tolist(), strict=True)
        ]


def rank_of(outputs: np.ndarray) -> int:
    """Number of factors of which outputs are mixtures, up to rounding.

    Args:
        outputs: values. `[rows, outputs]`
    """
    values = np.linalg.svd(_scaled(outputs)[0], compute_uv=False)
    energy = np.square(values)
    left = 1.0 - np.cumsum(energy) / max(energy.sum(), np.finfo(float).tiny)
    return int(np.argmax(left <= _LEFT)) + 1


def factors_of(table: Table, rank: int, slopes: Slopes, *, seed: int) -> Mixture:
    """Factors of the outputs of a block, each of as few inputs as can be.

    Args:
        table: rows of the block.
        rank: number of factors.
        slopes: derivatives of mixtures of the outputs.
        seed: random seed for the rows where derivatives are looked at.
    """
    centred, spreads = _scaled(table.outputs)
    _, sizes, across = np.linalg.svd(centred, full_matrices=False)
    # Mixtures of the outputs with unit variance: their derivatives are of comparable size.
    basis = (across[:rank].T / spreads[:, None]) / (sizes[:rank] / np.sqrt(len(centred)))
    rows = np.random.default_rng([seed, rank]).permutation(len(table.inputs))[:_ROWS]
    found = slopes(table.inputs[rows], basis) * table.inputs.std(axis=0)
    directions, columns = _told_apart(found)
    weights = basis @ directions
    return Mixture(
        Table(
            table.inputs,
            table.outputs @ weights,
            table.judge_inputs,
            table.judge_outputs @ weights,
            tuple(columns),
        ),
        weights,
    )


def mixed(equations: Sequence[Expression], table: Table) -> Factors:
    """Outputs as the best mixtures of equations, or of the terms of these where that is shorter.

    Args:
        equations: equations of the factors, finite on all rows.
        table: rows of the block.
    """
    bare = list(dict.fromkeys(map(without_affine, equations)))
    terms = list(dict.fromkeys(without_affine(term) for each in bare for term in _terms(each) if term.variables))
    most = len(table.outputs) // _ROWS_A_TERM
    forms = [_mixed(each, table) for each in (bare, terms) if 0 < len(each) <= most]  # constants have no terms
    return min(forms, key=lambda form: shared_size(form.outputs())) if forms else _mixed(list(equations), table)


def _terms(equation: Expression) -> list[Expression]:
    """The terms of a sum."""
    if 0 < equation.tokens[0] < FIRST_VARIABLE and OPERATORS[equation.tokens[0] - 1].name in ("add", "sub"):
        return [term for part in equation.children() for term in _terms(part)]
    return [equation]


def _mixed(equations: Sequence[Expression], table: Table) -> Factors:
    values = np.stack([np.broadcast_to(each(table.inputs), len(table.inputs)) for each in equations], axis=1)
    centre, size = values.mean(axis=0), values.std(axis=0)
    size = np.where(size > 0, size, 1.0)
    means = table.outputs.mean(axis=0)
    weights = np.linalg.lstsq((values - centre) / size, table.outputs - means)[0].T
    kept = np.abs(weights) >= _TINY * table.outputs.std(axis=0)[:, None]
    weights = np.where(kept, weights, 0.0) / size
    return Factors(tuple(equations), weights, means - weights @ centre)


def _scaled(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of mean 0 and variance 1, and their spreads; those of a constant are 0 and 1."""
    centred = outputs - outputs.mean(axis=0)
    spreads = centred.std(axis=0)
    flat = spreads <= 1e-7 * np.abs(outputs).max(axis=0)
    spreads = np.where(flat, 1.0, spreads)
    return np.where(flat, 0.0, centred) / spreads, spreads


def _told_apart(slopes: np.ndarray) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Directions of the factors `[mixtures, factors]`, and the inputs that each depends on.

    Args:
        slopes: derivatives of mixtures of unit variance by inputs of unit variance. `[rows, mixtures, features]`
    """
    _, rank, features = slopes.shape
    grams = np.einsum("rkf,rlf->fkl", slopes, slopes) / len(slopes)
    everything = grams.sum(axis=0)
    chosen = np.zeros((rank, 0))
    columns: list[tuple[int, ...]] = []
    for subset in _subsets(features):
        if chosen.shape[1] == rank:
            break
        others = grams[[each for each in range(features) if each not in subset]].sum(axis=0)
        inside = [place for place, own in enumerate(columns) if set(own) <= set(subset)]
        for direction in _null_space(others, everything, chosen[:, inside]).T:
            chosen = np.column_stack([chosen, direction])
            columns.append(subset)
    rest = _complement(chosen, rank)
    return np.column_stack([chosen, rest]), [*columns, *[tuple(range(features))] * rest.shape[1]]


def _subsets(features: int) -> list[tuple[int, ...]]:
    """Subsets of the features, small ones first, without all of them."""
    sizes = (itertools.combinations(range(features), size) for size in range(1, features))
    return list(itertools.islice(itertools.chain.from_iterable(sizes), _MOST_SUBSETS))


def _null_space(others: np.ndarray, everything: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Directions without slopes by other inputs, uncorrelated with each other. `[mixtures, directions]`

    Args:
        others: mean products of slopes by the inputs that are left out. `[mixtures, mixtures]`
        everything: the same by all inputs. `[mixtures, mixtures]`
        inside: directions that are known to have no slopes by these inputs either. `[mixtures, known]`
    """
    # Generalised eigenvalues: the share of a mixture's squared slopes that is by other inputs.
    size, turn = np.linalg.eigh(everything)
    root = turn / np.sqrt(np.maximum(size, 1e-12 * size[-1]))
    shares, vectors = np.linalg.eigh(root.T @ others @ root)
    found = root @ vectors[:, shares < _FLAT]
    if not found.shape[1]:
        return found
    # Mixtures have unit variance, so that a right angle is no correlation.
    space = np.linalg.svd(found, full_matrices=False)[0]
    known = np.linalg.svd(inside, full_matrices=False)[0]
    left, sizes, _ = np.linalg.svd(space - known @ (known.T @ space), full_matrices=False)
    return left[:, sizes > _NEW]


def _complement(chosen: np.ndarray, rank: int) -> np.ndarray:
    """Directions at right angles to those that are chosen. `[mixtures, rank - chosen]`"""
    if not chosen.shape[1]:
        return np.eye(rank)
    left = np.linalg.svd(chosen, full_matrices=True)[0]
    return left[:, chosen.shape[1] :]


def _sum(equations: Sequence[Expression], weights: np.ndarray, offset: float) -> Expression:
    """Equations times weights, those of 0 left out, and an offset."""
    terms = [
        Expression.apply("mul", Expression.constant(weight), equation)
        for weight, equation in zip(weights.tolist(), equations, strict=True)
        if weight != 0.0
    ]
    return Expression.joined("add", [*terms, Expression.constant(offset)])
