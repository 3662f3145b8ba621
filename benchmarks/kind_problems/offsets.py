"""Columns far from 0 beside their spread, up to 1e9 spreads: seconds since 1970, eastings, kelvins about a point.

The law holds in the distance of one or two such columns from a round number in or near their range; another column
is of ordinary size. Every tenth problem is a law of the column's own numbers, as T**4 is of kelvins.
"""

from __future__ import annotations

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.posing import coefficient, number_generator, posed
from datamodules.tables.problems import Problem

__all__ = ["problem"]

_SPREADS = (3.0, 9.0)  # decades of the centre beside the spread
_SHAPES = (
    "{a}*{u}*{v} + {b}",
    "{a}*{u}**2*{v} + {b}",
    "{a}*{v}*exp(-{r}*{u}/{s})",
    "{a}*{u}*{v} + {b}*{v}**2",
    "{a}*sqrt({u}/{s}) + {b}*{v}",
    "{a}*{u}**2 + {b}*{u}*{v}",
    "{v}/({u}/{s} + 2) + {b}",
    "{a}*sin(3*{u}/{s}) + {b}*{v}",
    "{a}*({u}/{s})**3 + {b}*{v}",
)
_OF_OWN_NUMBERS = "{a}*x0**{k}*{v}"


def problem(number: int, seed: int) -> Problem:
    """Problem `number`; what leaves 9 by 10 is a law of the column's own numbers."""
    rng = number_generator("offsets", number, seed)
    while True:
        decades = rng.uniform(*_SPREADS)
        span = float(10.0 ** rng.integers(-2, 4))
        centre = float(round(rng.uniform(1.0, 9.9), 1) * 10.0 ** round(decades + np.log10(span)))
        low = [centre, 1.0]
        high = [centre + span, 3.0]
        texts = {
            "a": repr(coefficient(rng)),
            "b": repr(coefficient(rng)),
            "r": repr(round(rng.uniform(0.5, 3.0), 1)),
            "s": repr(span),
            "u": f"(x0 - {centre!r})",
            "v": "x1",
        }
        if number % 10 == 9:
            low, high = [300.0, 1.0], [300.0 + 10.0 ** -rng.uniform(1.0, 3.0), 3.0]
            formula = _OF_OWN_NUMBERS.format(**texts, k=int(rng.integers(2, 6)))
        else:
            formula = _SHAPES[number % len(_SHAPES)].format(**texts)
        found = posed("offsets", number, formula, low, high)
        if number % 10 == 9 or is_a_question(found):
            return found
