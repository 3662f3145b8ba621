"""Products of powers and exponentials by one regression of log|y|, in which every row counts alike.

    y = c * f1**a1 * f2**a2 * … * exp(b1*g1 + b2*g2 + …)   ->   log|y| = log|c| + a1*log|f1| + … + b1*g1 + …

Relative errors are all that a logarithm sees, so that a target over twenty orders of magnitude is no harder than
another. Where the errors of y are alike instead, `searches.direct.power_fits` fits the exponents again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from searches.direct.writing import Writer, rounded

__all__ = ["EXACT_LOG", "Factor", "LogFit", "log_fit", "pruned", "written"]

EXACT_LOG = 1e-9
"""Root mean square of what is left of a logarithm, below which it is only rounding."""
_FLOOR = 1e-14  # of the errors of log|y|, which is computed
_T = 3.0  # standard errors that a coefficient must be away from 0
_NOTHING = 1e-9  # of log|y|: a term that is rounding
_MOST_SIGNS = 5  # factors of both signs whose parities are tried
_BASES = 60  # largest whole base of an exponential


@dataclass(frozen=True)
class Factor:
    """A function of which a power, or the exponential of a multiple, may be a factor of the target.

    Attributes:
        function: the function.
        values: its values. `[rows]`
        is_exponent: whether it stands in an exponent.
    """

    function: Expression
    values: np.ndarray
    is_exponent: bool = False

    @property
    def logs(self) -> np.ndarray:
        """Logarithms of the magnitude of the factor whose coefficient is 1. `[rows]`"""
        return self.values if self.is_exponent else np.log(np.abs(self.values))


@dataclass(frozen=True)
class LogFit:
    """A regression of log|y|.

    Attributes:
        offset: constant.
        coefficients: those of the factors. `[factors]`
        widths: standard errors of these. `[factors]`
        error: root mean square of what is left.
    """

    offset: float
    coefficients: np.ndarray
    widths: np.ndarray
    error: float


def log_fit(logs: np.ndarray, goal: np.ndarray, weights: np.ndarray | None = None) -> LogFit:
    """Regression of `goal [rows]` on a constant and `logs [rows, factors]`.

    Args:
        logs: logarithms of factors. `[rows, factors]`
        goal: logarithms of the target's magnitude. `[rows]`
        weights: weights on the errors (not their squares); None: all alike. `[rows]`
    """
    centre = logs.mean(axis=0)
    scale = np.maximum(logs.std(axis=0), 1e-300)
    columns = np.column_stack([np.ones(len(goal)), (logs - centre) / scale])
    weighted, aim = (columns, goal) if weights is None else (columns * weights[:, None], goal * weights)
    q, r = np.linalg.qr(weighted)
    solved = np.linalg.lstsq(r, q.T @ aim, rcond=1e-13)[0]
    left = aim - weighted @ solved
    spare = max(1, len(goal) - columns.shape[1])
    error = float(np.sqrt(left @ left / spare))
    inverse = np.linalg.pinv(r, rcond=1e-13)
    spread = np.sqrt(np.square(inverse).sum(axis=1))
    coefficients = solved[1:] / scale
    widths = max(error, _FLOOR * float(np.abs(aim).max())) * spread[1:] / scale
    return LogFit(float(solved[0] - coefficients @ centre), coefficients, widths, error)


def pruned(factors: Sequence[Factor], goal: np.ndarray, least: int = 1) -> list[tuple[list[Factor], LogFit]]:
    """Fits with all factors and with fewer, the one that matters least taken out each time.

    Args:
        factors: factors of the first fit.
        goal: logarithms of the target's magnitude. `[rows]`
        least: number of factors of the last fit.

    Returns:
        The fits, the longest first; where one is exact, it alone without what is only rounding.
    """
    kept = list(factors)
    fits: list[tuple[list[Factor], LogFit]] = []
    while len(kept) >= least:
        logs = np.column_stack([factor.logs for factor in kept])
        fit = log_fit(logs, goal)
        exact = fit.error < EXACT_LOG
        if fits and fits[-1][1].error < EXACT_LOG and not exact:
            break  # the one before was as short as an exact one is
        fits = [(list(kept), fit)] if exact else [*fits, (list(kept), fit)]
        share = np.abs(fit.coefficients) / np.maximum(fit.widths, 1e-300)
        if exact:
            share = np.abs(fit.coefficients) * logs.std(axis=0)
        del kept[int(share.argmin())]
    return fits


def written(
    factors: Sequence[Factor], fit: LogFit, inputs: np.ndarray, target: np.ndarray, writer: Writer
) -> list[Expression]:
    """Equations of a fit: with simple exponents, and as it is. None where they may not be written.

    Args:
        factors: factors of the fit.
        fit: regression of log|y|.
        inputs: values of the variables. `[rows, variables]`
        target: values of y. `[rows]`
        writer: how powers may be written.
    """
    simple = np.array(
        [
            _simple_exponent(value, width) if factor.is_exponent else rounded(value, _T * width)
            for factor, value, width in zip(factors, fit.coefficients, fit.widths, strict=True)
        ]
    )
    found = []
    for coefficients in (simple, fit.coefficients)[: 1 if np.array_equal(simple, fit.coefficients) else 2]:
        product = _product(factors, coefficients, np.sign(target), writer)
        equation = None if product is None else _scaled(product, inputs, target, writer)
        if equation is not None:
            found.append(equation)
    return found


def _simple_exponent(value: float, width: float) -> float:
    """The coefficient of an exponent: the logarithm of a whole base or a fraction, or else a simple number."""
    width = max(_T * width, 1e-12)
    base = float(np.exp(abs(value)))
    if width < 0.01 and base < _BASES + 0.5:
        whole = round(base)
        if whole > 1 and abs(np.log(whole) - abs(value)) <= width:
            return float(np.copysign(np.log(whole), value))
    return rounded(value, width)


def _product(
    factors: Sequence[Factor], coefficients: np.ndarray, sign: np.ndarray, writer: Writer
) -> Expression | None:
    """The product of all factors, without a constant; None where one may not be written."""
    pieces: list[Expression] = []
    signed: dict[int, tuple[Factor, float]] = {}  # place of a piece of both signs, with what it is made of
    exponents: list[Expression] = []
    for factor, exponent in zip(factors, coefficients.tolist(), strict=True):
        if exponent == 0.0:
            continue
        if factor.is_exponent:
            piece = _base_to_the(factor.function, exponent, writer)
            if piece is not None:
                pieces.append(piece)
            elif writer.exponentials:
                exponents.append(writer.scaled(exponent, factor.function))
            else:
                return None
            continue
        base, below = factor.function, factor.values < 0
        if exponent != round(exponent) and below.any():
            if not below.all() and not writer.magnitudes:
                return None
            base = Expression.apply("neg", base) if below.all() else Expression.apply("abs", base)
        elif round(exponent) % 2 and below.any() and not below.all():
            signed[len(pieces)] = factor, exponent
        power = writer.power(base, exponent)
        if power is None:
            return None
        pieces.append(power)
    if signed and writer.magnitudes:
        _match_signs(pieces, signed, sign, writer)
    if exponents:
        pieces.append(Expression.apply("exp", Expression.joined("add", exponents)))
    return writer.product(pieces) if pieces else None


def _base_to_the(exponent: Expression, coefficient: float, writer: Writer) -> Expression | None:
    """`base**exponent` for the whole base whose logarithm the coefficient is; None where it is none."""
    base = float(np.round(np.exp(min(abs(coefficient), 10.0))))
    if not writer.bases or not 1 < base <= _BASES or abs(np.log(base) - abs(coefficient)) > 1e-14:
        return None
    return Expression.apply(
        "pow", Expression.constant(base), exponent if coefficient > 0 else Expression.apply("neg", exponent)
    )


def _match_signs(
    pieces: list[Expression], signed: dict[int, tuple[Factor, float]], sign: np.ndarray, writer: Writer
) -> None:
    """Replace the powers of both signs whose sign the target does not have by those of a magnitude."""
    if len(signed) > _MOST_SIGNS:
        return
    for kept in itertools.product((True, False), repeat=len(signed)):
        product = sign
        for (factor, _), keep in zip(signed.values(), kept, strict=True):
            product = product * (np.sign(factor.values) if keep else 1.0)
        if abs(product.sum()) == len(sign):
            for (place, (factor, exponent)), keep in zip(signed.items(), kept, strict=True):
                power = None if keep else writer.power(Expression.apply("abs", factor.function), exponent)
                pieces[place] = pieces[place] if power is None else power
            return


def _scaled(product: Expression, inputs: np.ndarray, target: np.ndarray, writer: Writer) -> Expression | None:
    """The product times the constant that fits the target best; None where it is beyond float64."""
    values = product(inputs)
    size, unit = float(np.abs(values).max()), float(np.abs(target).max())
    if not (0 < size < np.inf):
        return None
    values, aim = values / size, target / unit
    scale = float(values @ aim) / float(values @ values) * (unit / size)
    return writer.scaled(scale, product) if np.isfinite(scale) and scale else None
