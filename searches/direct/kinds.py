"""Kinds of laws that linear algebra finds outright, the cheapest and most decisive first.

Each kind has a file of its own in this folder, with one function `find`: rows of a table in, equations out. None
of them draws at random.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial

import numpy as np

from expressions.expression import Expression
from searches.direct import (
    compositions,
    heavy_tails,
    piecewise,
    polynomials,
    power_laws,
    quadratics,
    rationals,
    waves,
)

__all__ = ["CHEAP_KINDS", "COSTLIEST_KIND", "KINDS", "Find", "kinds_under_noise"]

Find = Callable[[np.ndarray, np.ndarray, Collection[str], float], Iterable[Expression]]
"""Function of inputs `[rows, variables]`, target `[rows]`, names of the operators that may occur, and the time
(`time.perf_counter`) after which nothing new is begun. Its equations are complete (scale and offset included), the
best of some sizes, in any order. Columns may be of any scale and offset, and may have noise."""

KINDS: dict[str, Find] = {
    "polynomials": polynomials.find,
    "rationals": rationals.find,
    "power_laws": power_laws.find,
    "heavy_tails": heavy_tails.find,
    "quadratics": quadratics.find,
    "piecewise": piecewise.find,
    "waves": waves.find,
    "compositions": compositions.find,
}
"""Name of a kind -> its function, in the order in which they are tried."""

CHEAP_KINDS = ("polynomials", "rationals", "power_laws", "heavy_tails", "quadratics")
"""Kinds that take so little that they are also looked for where another has found an exact law of many tokens."""

COSTLIEST_KIND = "compositions"
"""The kind before which everything else is tried."""


def kinds_under_noise(noise: float) -> dict[str, Find]:
    """The kinds for a part of a target, which is known up to an error.

    Args:
        noise: the squared error over the variance.
    """
    names = [name for name in KINDS if name not in ("piecewise", "waves", COSTLIEST_KIND)]
    found = {name: KINDS[name] for name in names}  # slow waves do for any smooth function: they come last
    return found | {COSTLIEST_KIND: partial(compositions.find, noise=noise), "waves": waves.find}
