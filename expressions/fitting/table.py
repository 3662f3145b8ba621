"""The data of a fit in the type that values are computed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """The data in the type that values are computed in."""

    inputs: np.ndarray  # [variables, rows], 0 in columns that nothing holds
    target: np.ndarray  # [rows]
    root_weights: np.ndarray | None  # [rows]
    total_weight: float
    floor: float  # squared error below which nothing but rounding is left
    dtype: np.dtype

    @classmethod
    def of(
        cls,
        inputs: np.ndarray,
        target: np.ndarray,
        weights: np.ndarray | None,
        dtype: np.dtype,
        expressions: Sequence[Expression],
    ) -> Table:
        """Convert the columns of a table that some expressions hold: a table may have hundreds of others."""
        weight = np.ones_like(target) if weights is None else np.asarray(weights, dtype=np.float64)
        squares = float(np.sum(weight * target * target))
        root = None if weights is None else np.sqrt(weight).astype(dtype)
        columns = np.zeros(inputs.T.shape, dtype=dtype)
        tokens = np.unique(np.concatenate([each.tokens for each in expressions])) if expressions else np.empty(0)
        for variable in (tokens[tokens >= FIRST_VARIABLE] - FIRST_VARIABLE).tolist():
            columns[variable] = inputs[:, variable]
        floor = (4.0 * np.finfo(dtype).eps) ** 2 * squares
        return cls(columns, target.astype(dtype), root, max(float(weight.sum()), 1e-300), floor, dtype)
