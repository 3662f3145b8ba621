"""Comparison of two expressions on rows where rounding does not decide."""

from __future__ import annotations

import numpy as np

from expressions.equivalence import comparison_rows
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, Operator

__all__ = ["assert_same_values", "disturbed"]

_POWERS = ("square", "cube", "pow4", "pow5", "pow6", "pow7", "pow8", "pow9", "pow10")


def disturbed(expression: Expression, X: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values with every operation off by up to 1e-14, and where an intermediate result is huge, tiny or undone.

    The spread over seeds tells how much rounding matters on each row.
    """
    rng = np.random.default_rng(seed)
    rows = len(X)
    extreme = np.zeros(rows, dtype=bool)

    def combine(row: Operator, *arguments: np.ndarray) -> np.ndarray:
        exact = row.numpy(*arguments, np.empty(rows))
        size = np.abs(exact)
        pole = row.name in ("div", "inv", "log", "pow") and np.isinf(exact)
        inputs_finite = np.all([np.isfinite(a) for a in arguments], axis=0)
        extreme[inputs_finite & (size > 1e100) & ~pole] = True
        extreme[(size < 1e-100) & ((exact != 0.0) | (row.name in ("exp", "pow", *_POWERS)))] = True
        return exact * (1.0 + 1e-14 * rng.uniform(-1.0, 1.0, rows))

    def leaf(token: int, value: float) -> np.ndarray:
        return np.full(rows, value) if token == CONSTANT else X[:, token - FIRST_VARIABLE]

    with np.errstate(all="ignore"):
        return np.array(expression.fold(leaf, combine)), extreme


def assert_same_values(original: Expression, rewritten: Expression) -> None:
    X = comparison_rows(3, rows=60)
    runs = [disturbed(e, X, seed) for e in (original, rewritten) for seed in range(3)]
    with np.errstate(all="ignore"):
        expected, found = original(X), rewritten(X)
        first, second = np.array([v for v, _ in runs[:3]]), np.array([v for v, _ in runs[3:]])
        spread = np.maximum(np.abs(first - expected).max(axis=0), np.abs(second - found).max(axis=0))
        settled = ~np.any([extreme for _, extreme in runs], axis=0)
        for values in (first, second):
            finite = np.isfinite(values)
            settled &= finite.all(axis=0) | ~finite.any(axis=0)
        finite = np.isfinite(expected)
        assert np.array_equal(finite[settled], np.isfinite(found)[settled])
        both = settled & finite & np.isfinite(found)
        allowed = 100.0 * spread + 1e-11 * np.abs(expected) + 1e-12
        assert not (np.abs(found - expected)[both] > allowed[both]).any()
