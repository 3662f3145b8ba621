"""Whether an equation is the law of a table, for the suite `trust`.

An equation fits the law if its structure can express it: its constants, fitted anew from where they are to fresh
rows without noise, leave a normalised squared error below 1e-10. It is right if it fits and has at most two nodes
more than the law, and contains the law if it fits and is longer. A constant is spurious if the law, in canonical
form, has fewer. Whole numbers and halves are none: the power of `exp(2*x)` is `exp(x)**2`, and nothing was fitted.
Nor is a constant that is the whole equation, which says that no law was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.trust_laws import size_of
from benchmarks.trust_tables import NoisyTable
from expressions.canonical_form import canonical
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from searches.common.shorter_codes import is_plain

__all__ = ["FITS_NMSE", "MORE_NODES", "Verdict", "constants_of", "verdicts"]

FITS_NMSE = 1e-10
MORE_NODES = 2
_FRESH_ROWS = 300
_STEPS = 60
_STARTS = 3  # the first is what was found
_UNDEFINED = 1e30  # error of an equation that is not finite on a fresh row, which JSON holds


@dataclass(frozen=True)
class Verdict:
    """What an equation is to the law of its table.

    Attributes:
        nmse: error on fresh rows without noise, with the constants that were found.
        refitted_nmse: the same once they were fitted to these rows.
        size: nodes of the equation or of its canonical form, whichever has fewer.
        fits: whether the structure can express the law.
        right: whether it can and is as short as the law.
        spurious: number of fitted constants beyond the constants of the law; 0 where there is no expression for
            the law, or no variable in the equation.
    """

    nmse: float
    refitted_nmse: float
    size: int
    fits: bool
    right: bool
    spurious: int

    @property
    def contains(self) -> bool:
        """Whether the equation can express the law and is longer than it."""
        return self.fits and not self.right


def constants_of(expression: Expression) -> int:
    """Number of constants of an equation's canonical form, or of its own where it has fewer."""
    return min(len(expression.constants), len(canonical(expression).constants))


def _fitted_constants_of(expression: Expression) -> int:
    """The same without whole numbers and halves."""
    forms = (expression, canonical(expression))
    return min(int(np.count_nonzero(~is_plain(form.constants))) for form in forms)


def verdicts(found: Sequence[Expression], table: NoisyTable) -> list[Verdict]:
    """What equations are to the law of their table.

    Args:
        found: equations with the constants that were found.
        table: table that they were found on.

    Returns:
        A verdict for each. Where the target depends on nothing, every equation without a variable is right; where
        no expression is the law, none is.
    """
    inputs, clean = table.fresh(_FRESH_ROWS)
    if table.law.kind == "none":
        return [_of_no_law(each) for each in found]
    fitted = fit_constants(found, inputs, clean, iterations=_STEPS, starts=_STARTS).expressions
    truth = table.law.truth
    most = 0 if truth is None else size_of(truth) + MORE_NODES
    needed = 0 if truth is None else constants_of(truth)
    given = []
    for own, again in zip(found, fitted, strict=True):
        error, size = _error(again, inputs, clean), size_of(own)
        fits = truth is not None and error < FITS_NMSE
        spurious = 0 if truth is None or not own.variables else max(0, _fitted_constants_of(own) - needed)
        given.append(Verdict(_error(own, inputs, clean), error, size, fits, fits and size <= most, spurious))
    return given


def _of_no_law(found: Expression) -> Verdict:
    right = not found.variables
    return Verdict(0.0, 0.0, size_of(found), right, right, max(0, constants_of(found) - 1))


def _error(expression: Expression, inputs: np.ndarray, target: np.ndarray) -> float:
    return min(nmse(target, expression(inputs)), _UNDEFINED)
