"""Functions of polynomials, their sums and products: values, derivatives, and fits of many from many starts.

Coefficients in which a model is linear are solved for at every step (variable projection: G. Golub and V. Pereyra
1973; Kaufman's joint system); the polynomials inside are iterated by a damped Gauss-Newton method (Levenberg and
Marquardt), a batch of models of one shape together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["FUNCTIONS", "NONE", "SHAPES", "Models", "fitted", "linear_fit", "needs"]

Both = tuple[np.ndarray, np.ndarray]
"""Values and derivatives."""


def _exp(p: np.ndarray) -> Both:
    values = np.exp(np.minimum(p, 200.0))
    return values, values


def _log(p: np.ndarray) -> Both:
    return np.log(np.abs(p)), 1.0 / p


def _sqrt(p: np.ndarray) -> Both:
    values = np.sqrt(np.abs(p))
    return values, np.sign(p) * 0.5 / values


def _inv(p: np.ndarray) -> Both:
    values = 1.0 / p
    return values, -values * values


def _tanh(p: np.ndarray) -> Both:
    values = np.tanh(p)
    return values, 1.0 - values * values


FUNCTIONS: dict[str, Callable[[np.ndarray], Both]] = {
    "sin": lambda p: (np.sin(p), np.cos(p)),
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "inv": _inv,
    "tanh": _tanh,
}
"""Functions by name; logarithms and roots of magnitudes, so that a polynomial may change its sign on the way."""
_NAMES = list(FUNCTIONS)
NONE = -1
"""Number of the function that is not there."""
SHAPES = ("sum", "product", "plus", "times")
"""`c0 + c1*f(p) + c2*g(q)`, `c0 + c1*f(p)*g(q)`, `polynomial + c1*f(p)`, and `c0 + polynomial*f(p)`."""
_NOTHING = 1e-27  # error over the variance, of a fit that is as good as float64
_RIDGE = 1e-13
_DAMPING, _SOFTER, _HARDER = 1e-2, 0.15, 6.0


@dataclass
class Models:
    """Models of one shape.

    Attributes:
        shape: one of `SHAPES`.
        first, second: numbers of the functions, `NONE` for a shape that has one. Each `[models]`
        inner: coefficients of the polynomials inside. `[models, 1 or 2, monomials]`
        inner_free: which of them there are. `[models, 1 or 2, monomials]` bool
        linear_free: which linear coefficients there are. `[models, coefficients]` bool
        errors: squared errors over the variance. `[models]`
    """

    shape: str
    first: np.ndarray
    second: np.ndarray
    inner: np.ndarray
    inner_free: np.ndarray
    linear_free: np.ndarray
    errors: np.ndarray

    @classmethod
    def begun(cls, shape: str, first: np.ndarray, second: np.ndarray, inner: np.ndarray) -> Models:
        """Models that were not fitted yet, with those coefficients inside that are not 0."""
        count = {"sum": 3, "product": 2, "plus": inner.shape[2] + 1, "times": inner.shape[2] + 1}[shape]
        return cls(
            shape,
            first,
            second,
            inner,
            (inner != 0.0) | (np.arange(inner.shape[2]) == 0),
            np.ones((len(first), count), dtype=bool),
            np.full(len(first), np.inf),
        )

    def best(self, count: int, alike: int) -> Models:
        """The most accurate ones, those that fit equally well but once.

        Args:
            count: number of models.
            alike: number of models with the same functions.
        """
        order = np.argsort(self.errors, kind="stable")
        order = order[np.isfinite(self.errors[order])]
        seen: set[str] = set()
        taken: dict[tuple[int, int], int] = {}
        chosen: list[int] = []
        for number in order.tolist():
            functions, error = (int(self.first[number]), int(self.second[number])), f"{self.errors[number]:.3e}"
            if error not in seen and taken.get(functions, 0) < alike and len(chosen) < count:
                seen.add(error)
                taken[functions] = taken.get(functions, 0) + 1
                chosen.append(number)
        return self.of(np.array(chosen, dtype=int))

    def freed(self) -> Models:
        """With all their coefficients."""
        return replace(self, inner_free=np.ones_like(self.inner_free), linear_free=np.ones_like(self.linear_free))

    def of(self, chosen: np.ndarray) -> Models:
        """Those with the numbers given."""
        return Models(
            self.shape,
            self.first[chosen],
            self.second[chosen],
            self.inner[chosen],
            self.inner_free[chosen],
            self.linear_free[chosen],
            self.errors[chosen],
        )

    def __len__(self) -> int:
        return len(self.first)


def fitted(
    models: Models, monomials: np.ndarray, target: np.ndarray, iterations: int, careful: bool = False
) -> Models:
    """The models after some steps of a fit; none is worse than it was.

    Args:
        models: models to begin with.
        monomials: values of the monomials, the first is 1. `[monomials, rows]`
        target: values of ordinary size. `[rows]`
        iterations: number of steps.
        careful: whether least squares are solved by orthogonal matrices, to all digits, rather than by normal
            equations; the fit then ends when one of the models is exact.
    """
    if not len(models):
        return models
    scatter = float(np.square(target - target.mean()).sum())
    inner, count = models.inner.copy(), models.inner.shape[1] * models.inner.shape[2]
    solved = _orthogonal if careful else _normal
    state = _State(models, inner, monomials)
    linear, left, lowest = state.solved(target, solved)
    damping = np.full(len(models), _DAMPING)
    for _ in range(iterations):
        joint = np.concatenate([state.columns, state.slopes(linear)], axis=1)
        size = np.sqrt(np.square(joint).sum(axis=2))
        usable = np.isfinite(size).all(axis=1)
        joint = np.where(usable[:, None, None], joint / np.where(size > 0, size, np.inf)[:, :, None], 0.0)
        ridge = np.full(size.shape, _RIDGE)
        ridge[:, -count:] += damping[:, None]
        step = solved(joint, left, ridge) / np.where(size > 0, size, np.inf)
        trial = inner + np.nan_to_num(step[:, -count:]).reshape(inner.shape)
        other = _State(models, trial, monomials)
        other_linear, other_left, errors = other.solved(target, solved)
        better = errors < lowest
        state.take(other, better)
        inner[better], linear[better], left[better] = trial[better], other_linear[better], other_left[better]
        lowest = np.where(better, errors, lowest)
        damping = np.clip(damping * np.where(better, _SOFTER, _HARDER), 1e-12, 1e6)
        if (lowest < _NOTHING * scatter).any() if careful else (lowest < _NOTHING * scatter).all():
            break
    return replace(models, inner=inner, errors=lowest / scatter)


def linear_fit(models: Models, monomials: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Coefficients in which the models are linear, see `SHAPES`. `[models, coefficients]`"""
    linear: np.ndarray = _State(models, models.inner, monomials).solved(target, _orthogonal)[0]
    return linear


def needs(model: Models, monomials: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of one model over their standard deviations; 0 where two mean the same.

    Args:
        model: one fitted model.
        monomials: values of the monomials, the first is 1. `[monomials, rows]`
        target: values. `[rows]`

    Returns:
        Those inside `[1 or 2, monomials]` and the linear ones `[coefficients]`.
    """
    state = _State(model, model.inner, monomials)
    linear, left, _ = state.solved(target, _orthogonal)
    joint = np.concatenate([state.columns, state.slopes(linear)], axis=1)[0].T
    size = np.sqrt(np.square(joint).sum(axis=0))
    _, lengths, directions = np.linalg.svd(joint / np.where(size > 0, size, np.inf), full_matrices=False)
    spreads = np.sqrt(np.square(directions / np.maximum(lengths, 1e-12 * lengths[0])[:, None]).sum(axis=0))
    deviation = np.sqrt(float(left[0] @ left[0]) / max(1, len(target) - int((size > 0).sum()))) + 1e-300
    every = np.concatenate([linear[0], model.inner[0].ravel()])
    found = np.abs(every) * size / (deviation * spreads)
    count = linear.shape[1]
    return found[count:].reshape(model.inner[0].shape), found[:count]


class _State:
    """Values of models at their present coefficients."""

    def __init__(self, models: Models, inner: np.ndarray, monomials: np.ndarray) -> None:
        self.models, self.monomials = models, monomials
        self.f, self.df = _evaluated(models.first, inner[:, 0] @ monomials)
        self.g, self.dg = (self.f, self.df)
        if inner.shape[1] > 1:
            self.g, self.dg = _evaluated(models.second, inner[:, 1] @ monomials)
        self.columns = self._columns()
        if not models.linear_free.all():
            self.columns *= models.linear_free[:, :, None]

    def _columns(self) -> np.ndarray:
        """Of linear coefficients. `[models, coefficients, rows]`"""
        shape, ones = self.models.shape, np.ones_like(self.f)
        if shape == "sum":
            return np.stack([ones, self.f, self.g], axis=1)
        if shape == "product":
            return np.stack([ones, self.f * self.g], axis=1)
        if shape == "plus":
            fixed = np.broadcast_to(self.monomials, (len(self.f), *self.monomials.shape))
            return np.concatenate([fixed, self.f[:, None]], axis=1)
        return np.concatenate([ones[:, None], self.f[:, None] * self.monomials], axis=1)

    def slopes(self, linear: np.ndarray) -> np.ndarray:
        """Derivatives by the coefficients inside. `[models, coefficients, rows]`"""
        shape = self.models.shape
        if shape == "sum":
            parts = [linear[:, 1, None] * self.df, linear[:, 2, None] * self.dg]
        elif shape == "product":
            parts = [linear[:, 1, None] * self.df * self.g, linear[:, 1, None] * self.f * self.dg]
        elif shape == "plus":
            parts = [linear[:, -1, None] * self.df]
        else:
            parts = [(linear[:, 1:] @ self.monomials) * self.df]
        found = np.concatenate([part[:, None] * self.monomials for part in parts], axis=1)
        free = self.models.inner_free
        return found if free.all() else found * free.reshape(len(found), -1, 1)

    def solved(self, target: np.ndarray, solver: Solver) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Linear coefficients, what is left of the target, and its square; infinite where not finite."""
        size = np.sqrt(np.square(self.columns).sum(axis=2))
        usable = np.isfinite(size).all(axis=1)
        scaled = self.columns / np.where(size > 0, size, np.inf)[:, :, None]
        scaled[~usable] = 0.0
        linear, left = np.zeros(size.shape), np.broadcast_to(target, (len(scaled), len(target)))
        for _ in range(2):  # the first solution squares what is nearly parallel
            more = solver(scaled, left, np.full(size.shape, _RIDGE))
            linear, left = linear + more, left - (more[:, None] @ scaled)[:, 0]
        linear /= np.where(size > 0, size, np.inf)
        errors = np.where(usable, np.square(left).sum(axis=1), np.inf)
        return np.where(usable[:, None], linear, 0.0), left, np.where(np.isfinite(errors), errors, np.inf)

    def take(self, other: _State, which: np.ndarray) -> None:
        """The values of another state for some models."""
        for name in ("f", "df", "g", "dg", "columns"):
            getattr(self, name)[which] = getattr(other, name)[which]


Solver = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Ridge regression of many problems: columns `[problems, columns, rows]` of length 1, targets `[problems, rows]`,
what is added to the columns' squares `[problems, columns]`; coefficients `[problems, columns]`."""


def _normal(columns: np.ndarray, goals: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    gram = columns @ columns.transpose(0, 2, 1)
    diagonal = np.arange(gram.shape[1])
    gram[:, diagonal, diagonal] += ridge
    found: np.ndarray = np.linalg.solve(gram, columns @ goals[:, :, None])[:, :, 0]
    return found


def _orthogonal(columns: np.ndarray, goals: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    diagonal = np.sqrt(ridge)[:, :, None] * np.eye(ridge.shape[1])
    rows = np.concatenate([columns.transpose(0, 2, 1), diagonal], axis=1)
    q, r = np.linalg.qr(rows)
    projected = q[:, : goals.shape[1]].transpose(0, 2, 1) @ goals[:, :, None]
    found: np.ndarray = np.linalg.solve(r, projected)[:, :, 0]
    return found


def _evaluated(functions: np.ndarray, arguments: np.ndarray) -> Both:
    values, slopes = np.empty_like(arguments), np.empty_like(arguments)
    for number in np.unique(functions).tolist():
        which = functions == number
        values[which], slopes[which] = FUNCTIONS[_NAMES[number]](arguments[which])
    return values, slopes
