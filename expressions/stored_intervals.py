"""Intervals of constants as plain numbers, which JSON holds, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from expressions.constant_intervals import ConstantIntervals
from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from foundation.schema import Check, FormatError, list_of, number, optional, record, truth

__all__ = ["INTERVALS", "plain_intervals", "restored_intervals"]

_NUMBERS: Check = list_of(number(), most=MAX_TOKENS)

INTERVALS = optional(
    record(
        {
            "constants": _NUMBERS,
            "ends": list_of(list_of(optional(number()), least=2, most=2), most=MAX_TOKENS),
            "covariance": list_of(_NUMBERS, most=MAX_TOKENS),
            "noise": number(0.0),
            "freedom": optional(number(0.0)),
            "level": number(0.0, 1.0),
            "excess": optional(number(0.0)),
            "unequal": truth,
        }
    )
)
"""Check for what `plain_intervals` returned."""


def plain_intervals(intervals: ConstantIntervals | None) -> dict[str, Any] | None:
    """Intervals as numbers, lists and a mapping; None where nothing is known.

    Args:
        intervals: intervals of the constants of an equation; None: there are none.
    """
    if intervals is None or not all(
        np.isfinite(each).all() for each in (intervals.constants, intervals.covariance, intervals.noise)
    ):
        return None
    return {
        "constants": intervals.constants.tolist(),
        "ends": [[_or_none(low), _or_none(high)] for low, high in intervals.ends.tolist()],
        "covariance": intervals.covariance.tolist(),
        "noise": intervals.noise,
        "freedom": _or_none(intervals.freedom),
        "level": intervals.level,
        "excess": _or_none(intervals.excess),
        "unequal": intervals.unequal,
    }


def restored_intervals(found: Mapping[str, Any] | None, expression: Expression) -> ConstantIntervals | None:
    """The intervals that `plain_intervals` was given.

    Args:
        found: what `plain_intervals` returned, as `INTERVALS` lets it pass.
        expression: equation that they belong to.

    Raises:
        FormatError: they are those of an equation of other constants.
    """
    if found is None:
        return None
    count = len(expression.constants)
    sizes = {len(found["constants"]), len(found["ends"]), len(found["covariance"])}
    if sizes | {len(row) for row in found["covariance"]} != {count}:
        raise FormatError(f"holds intervals of other constants than the {count} of its equation", "")
    ends = [[-math.inf if low is None else low, math.inf if high is None else high] for low, high in found["ends"]]
    return ConstantIntervals(
        constants=np.array(found["constants"], dtype=np.float64),
        ends=np.array(ends, dtype=np.float64).reshape(count, 2),
        covariance=np.array(found["covariance"], dtype=np.float64).reshape(count, count),
        noise=found["noise"],
        freedom=math.inf if found["freedom"] is None else found["freedom"],
        level=found["level"],
        excess=math.nan if found["excess"] is None else found["excess"],
        unequal=found["unequal"],
    )


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
