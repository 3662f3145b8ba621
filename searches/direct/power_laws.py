"""Power laws: c*x1**a*x2**b*…, with an offset, with exponentials as factors, and sums of two.

1. One regression in logarithms finds the exponents of a product (`searches.direct.log_products`), whole bases as
   in 2**p*3**q among them.
2. Under noise that is alike in y, and with an offset or a second term, the exponents are fitted to y itself from
   several starts (`searches.direct.power_fits`).

Exponents become simple fractions or short decimals as far as the error allows it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from expressions.expression import Expression
from searches.direct.log_products import EXACT_LOG, Factor, log_fit, pruned, written
from searches.direct.power_fits import fitted
from searches.direct.writing import Writer, rounded

__all__ = ["find"]

_ROWS_A_FACTOR = 3  # at least: fewer rows than that are met by anything
_MOST_FACTORS = 12  # in the exponents of a regression of logarithms
_VARIABLES = {1: 8, 2: 4}
"""Largest number of variables by the number of terms that are fitted to the target itself."""
_SCANNED = np.concatenate([-np.geomspace(1e-4, 30.0, 24), np.geomspace(1e-4, 30.0, 24)])
"""Offsets that are tried, from the end of the target's range outwards, in units of the range."""
_EXPONENTS = {
    1: (-3, -2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2, 3),
    2: (-2, -1, -0.5, 0, 0.5, 1, 2),
    3: (-1, 0, 1, 2),
    4: (-1, 0, 1),
}
"""Exponents of the first guesses by the number of variables."""
_STARTS = 10
_FIRST_STEPS, _LAST_STEPS = 12, 40
_HOPELESS = 0.02  # of the target's variance, left after the first steps: no power law
_EXACT = 1e-22  # of the target's variance
_WORTH, _CHI_SQUARE = 1.01, 3.0  # of the error that simpler exponents may cost, and of its share for each
_WIDTHS = (0.2, 0.05, 0.02, 5e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8)


def find(inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float) -> Iterator[Expression]:
    """See `searches.direct.kinds.Find`."""
    writer = Writer(operators)
    if not writer.products:
        return
    exact = False
    for equation, is_exact in _products(inputs, target, writer):
        exact |= is_exact
        yield equation
    if exact or time.perf_counter() > ends or not writer.sums:
        return
    yield from _fewer_and_fewer(inputs, target, _positive_columns(inputs, target, _VARIABLES[1]), writer)
    for offset, terms in ((True, 1), (False, 2), (True, 2)):
        columns = _positive_columns(inputs, target, _VARIABLES[terms])
        if not columns or time.perf_counter() > ends or len(target) < 8 * (terms * len(columns) + 2):
            return
        found = _sum(inputs, target, columns, terms, offset, writer)
        if found is None:
            continue
        equation, error = found
        yield equation
        if error < _EXACT:
            return


# --- one term ---------------------------------------------------------------------------------------------------


def _products(inputs: np.ndarray, target: np.ndarray, writer: Writer) -> Iterator[tuple[Expression, bool]]:
    """Products of powers, then also with exponentials, and whether they are exact."""
    counted = target != 0
    if 2 * counted.sum() < len(target):
        return
    inputs, target = inputs[counted], target[counted]
    goal = np.log(np.abs(target))
    powers = [
        Factor(Expression.variable(k), inputs[:, k])
        for k in range(inputs.shape[1])
        if inputs[:, k].all() and np.ptp(np.abs(inputs[:, k])) > 0
    ]
    exponentials = [
        Factor(Expression.variable(k), inputs[:, k], is_exponent=True)
        for k in range(inputs.shape[1])
        if np.ptp(inputs[:, k]) > 0
    ]
    for factors in (powers, [*powers, *exponentials] if writer.bases else []):
        if not factors or len(target) < _ROWS_A_FACTOR * (len(factors) + 1):
            continue
        fits = pruned(factors, goal)
        for kept, fit in fits[-_MOST_FACTORS:]:
            exact = fit.error < EXACT_LOG
            for equation in written(kept, fit, inputs, target, writer):
                yield equation, exact
            if exact:
                return


# --- fitted to the target itself --------------------------------------------------------------------------------


def _positive_columns(inputs: np.ndarray, target: np.ndarray, most: int) -> list[int]:
    """Columns of one sign whose logarithms have most to do with the target."""
    kept = [k for k in range(inputs.shape[1]) if (inputs[:, k] > 0).all() or (inputs[:, k] < 0).all()]
    kept = [k for k in kept if np.ptp(inputs[:, k]) > 1e-9 * np.abs(inputs[:, k]).max()]
    if len(kept) <= most:
        return kept
    logs = np.log(np.abs(inputs[:, kept]))
    bases = np.concatenate([logs, np.exp(logs - logs.max(axis=0)), np.exp(logs.min(axis=0) - logs)], axis=1)
    bases = bases - bases.mean(axis=0)
    gains = np.abs((target - target.mean()) @ bases) / np.maximum(np.sqrt(np.square(bases).sum(axis=0)), 1e-300)
    best = gains.reshape(3, -1).max(axis=0)
    return sorted(kept[k] for k in np.argsort(-best, kind="stable")[:most].tolist())


def _fewer_and_fewer(
    inputs: np.ndarray, target: np.ndarray, columns: Sequence[int], writer: Writer
) -> Iterator[Expression]:
    """Power laws without offset that fit y best, of all columns, then of fewer."""
    columns = list(columns)
    while columns and len(target) > _ROWS_A_FACTOR * (len(columns) + 1):
        logs = np.log(np.abs(inputs[:, columns]))
        logs = logs - logs.mean(axis=0)
        starts = np.zeros((1, 1, len(columns)))
        if (target > 0).all() or (target < 0).all():
            size = np.abs(target)
            starts[0, 0] = log_fit(logs, np.log(size), size / size.max()).coefficients
        exponents, errors = fitted(logs, target, starts, offset=False, steps=_FIRST_STEPS)
        if not errors[0] < 1.0:
            return
        chosen, _ = _simplest(logs, target, exponents[0], float(errors[0]), offset=False)
        equation = _written(inputs, target, columns, chosen, False, writer)
        if equation is not None:
            yield equation
        share = np.abs(exponents[0, 0]) * logs.std(axis=0)
        del columns[int(share.argmin())]


def _sum(
    inputs: np.ndarray, target: np.ndarray, columns: Sequence[int], terms: int, offset: bool, writer: Writer
) -> tuple[Expression, float] | None:
    """The best sum of so many power laws, and its error; None where it is no such sum."""
    logs = np.log(np.abs(inputs[:, columns]))
    logs = logs - logs.mean(axis=0)
    starts = _starts_of_one(logs, target) if terms == 1 else _starts_of_two(logs, target, offset)
    scatter = float(np.square(target - target.mean()).sum() / np.square(target).sum())
    try:
        exponents, errors = fitted(logs, target, starts, offset=offset, steps=_FIRST_STEPS)
        best = np.argsort(errors, kind="stable")[:3]
        if not errors[best[0]] < _HOPELESS * scatter:
            return None
        exponents, errors = fitted(logs, target, exponents[best], offset=offset, steps=_LAST_STEPS)
    except np.linalg.LinAlgError:
        return None
    chosen, error = _simplest(logs, target, exponents[int(errors.argmin())], float(errors.min()), offset)
    equation = _written(inputs, target, columns, chosen, offset, writer)
    return None if equation is None else (equation, error / scatter)


def _starts_of_one(logs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Exponents of one term for the best offsets of a scan. `[starts, 1, variables]`"""
    span = float(np.ptp(target))
    ends = np.where(_SCANNED < 0, target.min(), target.max())
    left = np.log(np.abs(target - (ends + _SCANNED * span)[:, None]))  # [offsets, rows]
    weights = np.exp(left - left.max(axis=1, keepdims=True))  # an error of the logarithm costs that much in y
    columns = np.column_stack([np.ones(len(logs)), logs])
    weighted = weights[:, :, None] * columns
    basis, corner = np.linalg.qr(weighted)
    seen = basis.transpose(0, 2, 1) @ (weights * left)[:, :, None]
    errors = np.square(weights * left - (basis @ seen)[:, :, 0]).sum(axis=1)
    scale = np.square(weights * (target - target.mean()) / span).sum(axis=1)
    solved = np.linalg.solve(corner + 1e-12 * np.eye(corner.shape[1]), seen)[:, 1:, 0]
    best = np.argsort(errors / scale, kind="stable")[:_STARTS]
    return np.clip(solved[best], -8.0, 8.0)[:, None, :]


def _starts_of_two(logs: np.ndarray, target: np.ndarray, offset: bool) -> np.ndarray:
    """The pairs of guessed terms that explain most. `[starts, 2, variables]`"""
    count = logs.shape[1]
    guesses = np.array([each for each in itertools.product(_EXPONENTS[count], repeat=count) if any(each)])
    values = guesses @ logs.T
    values = np.exp(values - values.max(axis=1, keepdims=True))
    if offset:
        values = values - values.mean(axis=1, keepdims=True)
        target = target - target.mean()
    values = values / np.sqrt(np.square(values).sum(axis=1, keepdims=True))
    aim = target / np.sqrt(target @ target)
    seen = values @ aim
    alike = values @ values.T
    apart = np.maximum(1.0 - np.square(alike), 1e-9)
    explained = (np.square(seen)[:, None] + np.square(seen)[None] - 2 * alike * seen[:, None] * seen[None]) / apart
    explained = np.where(np.triu(np.ones_like(explained), 1) * (apart > 1e-7) > 0, explained, -1.0)
    order = np.argsort(-explained, axis=None, kind="stable")[: 40 * _STARTS]
    pairs = [divmod(place, len(guesses)) for place in order.tolist()]
    used = np.zeros(len(guesses), dtype=int)
    kept = []
    for one, other in pairs:  # a guess in many pairs is one that explains much alone
        if used[one] < 2 and used[other] < 2:
            kept.append((one, other))
            used[[one, other]] += 1
    kept = kept[:_STARTS] or pairs[:1]
    return guesses[np.array(kept)].astype(np.float64)


def _simplest(
    logs: np.ndarray, target: np.ndarray, exponents: np.ndarray, error: float, offset: bool
) -> tuple[np.ndarray, float]:
    """The simplest exponents that are nearly as good, and their error. `[terms, variables]`"""
    allowed = (_WORTH + _CHI_SQUARE * exponents.size / len(target)) * error + 1e-27
    for width in _WIDTHS:
        simple = np.array([[rounded(value, width) for value in term] for term in exponents.tolist()])
        if not simple.any(axis=1).all():
            continue
        found = fitted(logs, target, simple[None], offset=offset, steps=0)[1]
        if found[0] <= allowed:
            return simple, float(found[0])
    return exponents, error


def _written(
    inputs: np.ndarray,
    target: np.ndarray,
    columns: Sequence[int],
    exponents: np.ndarray,
    offset: bool,
    writer: Writer,
) -> Expression | None:
    terms = []
    for term in exponents.tolist():
        factors = []
        for column, exponent in zip(columns, term, strict=True):
            if exponent == 0.0:
                continue
            base = Expression.variable(column)
            if exponent != round(exponent) and inputs[0, column] < 0:
                base = Expression.apply("neg", base)
            power = writer.power(base, exponent)
            if power is None:
                return None
            factors.append(power)
        if not factors:
            return None
        terms.append(writer.product(factors))
    values = [term(inputs) for term in terms] + ([np.ones(len(inputs))] if offset else [])
    matrix = np.column_stack(values)
    size = np.abs(matrix).max(axis=0)
    if not np.isfinite(size).all() or not size.all():
        return None
    solved = np.linalg.lstsq(matrix / size, target, rcond=None)[0] / size
    parts = [writer.scaled(float(c), term) for c, term in zip(solved, terms, strict=False)]
    if offset:
        parts.append(Expression.constant(float(solved[-1])))
    return Expression.joined("add", parts)
