"""Sums of one or two power laws fitted to the target itself: many starts at once, by variable projection.

y = c0 + c1*x1**a1*x2**a2*… + c2*x1**b1*x2**b2*… is linear in its constants c, which are solved for given
exponents (G. Golub and V. Pereyra 1973); Levenberg-Marquardt moves the exponents alone, with L. Kaufman's
derivatives (1975).
"""

from __future__ import annotations

import numpy as np

__all__ = ["fitted"]

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-14, 1e8
_LARGEST_EXPONENT = 12.0
_DONE = 1e-26  # of the target's squares: rounding


def fitted(
    logs: np.ndarray,
    target: np.ndarray,
    starts: np.ndarray,
    *,
    offset: bool,
    steps: int,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Exponents that fit best, from each start.

    Args:
        logs: logarithms of the variables, each less its mean. `[rows, variables]`
        target: values of y. `[rows]`
        starts: exponents to begin with. `[starts, terms, variables]`
        offset: whether there is a constant term.
        steps: number of trial steps.
        weights: weights on the errors (not their squares); None: all alike. `[rows]`

    Returns:
        Exponents `[starts, terms, variables]`, and what is left of the target's squares, as a share. `[starts]`
    """
    exponents = np.array(starts, dtype=np.float64)
    count, terms, variables = exponents.shape
    weights = np.ones(len(target)) if weights is None else weights
    aim = weights * target
    aim = aim / np.sqrt(aim @ aim)
    damping = np.full(count, _FIRST_DAMPING)
    state = _Projected(logs, aim, weights, exponents, offset)
    for _ in range(steps):
        if (state.errors <= _DONE).any():
            break
        columns = state.slopes(terms)  # [starts, rows, terms * variables]
        gram = columns.transpose(0, 2, 1) @ columns
        pull = columns.transpose(0, 2, 1) @ state.left[:, :, None]
        size = np.maximum(np.einsum("skk->sk", gram), 1e-30)
        ridge = damping[:, None] * size + 1e-15 * size.max(axis=1, keepdims=True)
        damped = gram + ridge[:, :, None] * np.eye(size.shape[1])
        step = np.linalg.solve(damped, pull)[:, :, 0].reshape(count, terms, variables)
        trial = np.clip(exponents + np.clip(step, -2.0, 2.0), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        moved = _Projected(logs, aim, weights, trial, offset)
        better = moved.errors < state.errors
        exponents = np.where(better[:, None, None], trial, exponents)
        state = state.replaced(better, moved)
        damping = np.clip(np.where(better, damping * 0.1, damping * 6.0), _LEAST_DAMPING, _MOST_DAMPING)
    return exponents, state.errors


class _Projected:
    """Terms at some exponents, and what they leave of the target."""

    def __init__(
        self, logs: np.ndarray, aim: np.ndarray, weights: np.ndarray, exponents: np.ndarray, offset: bool
    ) -> None:
        self.logs = logs
        powers = exponents @ logs.T  # [starts, terms, rows]
        self.terms = weights * np.exp(powers - powers.max(axis=2, keepdims=True))
        self.terms = self.terms / np.sqrt(np.square(self.terms).sum(axis=2, keepdims=True))
        parts = [self.terms]
        if offset:
            one = np.broadcast_to(weights / np.sqrt(weights @ weights), (len(exponents), 1, len(aim)))
            parts.append(one)
        columns = np.concatenate(parts, axis=1).transpose(0, 2, 1)
        self.basis, corner = np.linalg.qr(columns)
        corner = corner + 1e-14 * np.eye(corner.shape[1])
        seen = self.basis.transpose(0, 2, 1) @ aim[:, None]
        self.constants = np.linalg.solve(corner, seen)[:, :, 0]
        self.left = aim - (self.basis @ seen)[:, :, 0]
        self.errors = np.square(self.left).sum(axis=1)
        self.errors[~np.isfinite(self.errors)] = np.inf

    def slopes(self, terms: int) -> np.ndarray:
        """Derivatives of the fitted values by the exponents, beside the terms. `[starts, rows, exponents]`"""
        scaled = self.constants[:, :terms, None] * self.terms  # [starts, terms, rows]
        columns = np.concatenate([scaled[:, k, :, None] * self.logs for k in range(terms)], axis=2)
        return columns - self.basis @ (self.basis.transpose(0, 2, 1) @ columns)

    def replaced(self, better: np.ndarray, moved: _Projected) -> _Projected:
        """This one, with the starts that have become better."""
        for name in ("terms", "basis", "constants", "left", "errors"):
            mine, other = getattr(self, name), getattr(moved, name)
            setattr(self, name, np.where(better.reshape(-1, *[1] * (mine.ndim - 1)), other, mine))
        return self
