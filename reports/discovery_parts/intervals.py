"""How sure the constants of a discovery's equations are."""

from __future__ import annotations

import time
from collections.abc import Iterable

from expressions.constant_intervals import LEVEL, ConstantIntervals
from expressions.measurements import Measurements
from searches.common.shifted_intervals import intervals_beside_centres
from searches.pareto_front import Candidate

__all__ = ["MEANING", "front_intervals"]

MEANING = f"If this is the law, each constant lies in its interval with {100 * LEVEL:.0f} % confidence"
"""Words before the intervals."""
_ALLOWANCE = 0.2  # seconds for the equations that were not picked, of which hardly anybody reads the constants


def front_intervals(
    front: Iterable[Candidate], chosen: Candidate, measurements: Measurements
) -> tuple[ConstantIntervals | None, ...]:
    """The intervals of every equation of a front: of the picked one, and of the others while there is time.

    Args:
        front: equations.
        chosen: equation that is picked.
        measurements: rows that all were fitted to.

    Returns:
        Intervals for every equation; None where it is exact, or nothing is known. `[equations]`
    """
    found: dict[Candidate, ConstantIntervals | None] = {chosen: _known(chosen, measurements)}
    begun = time.perf_counter()
    for candidate in front:
        if candidate not in found and time.perf_counter() - begun < _ALLOWANCE:
            found[candidate] = _known(candidate, measurements)
    return tuple(found.get(candidate) for candidate in front)


def _known(candidate: Candidate, measurements: Measurements) -> ConstantIntervals | None:
    if candidate.exact:
        return None
    intervals = intervals_beside_centres(measurements, candidate.expression)
    return intervals if intervals.noise > 0 else None
