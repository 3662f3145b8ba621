"""What the state of a structure search must be: as a stranger may have written it, it is checked whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from expressions.equation_learner.structure_space import StructureSpace
from expressions.operators import CONSTANT
from expressions.schema import program, tokens
from foundation.schema import Check, FormatError, array, list_of, number, record, row_of, text
from searches.common.search_state import count, history, seconds
from searches.common.skeleton_fitting import SkeletonFitter
from searches.gumbel_structures.settings import StructureSearchSettings

__all__ = ["MOST_SEEN", "course_state", "of_lists"]

MOST_SEEN = 50_000
"""Skeletons that are known to be old, the newest ones; a state is written at every generation."""

_LONGEST_SEEN = 2_000_000  # of a state, also one that an earlier version has written

_ARRAYS = {"structures": np.int16, "used": np.bool_, "seen": np.int64, "memory": np.float64}
_ERROR = number(infinite=True)
_COURSE = record(
    {
        **dict.fromkeys(("generations", "instances", "skeletons", "starts", "idle"), count),
        "seconds": seconds,
        "best_score": _ERROR,
        "best_nmse": number(0.0, infinite=True),
        "stopped": text(100),
    }
)


def course_state(
    settings: StructureSearchSettings,
    space: StructureSpace,
    fitter: SkeletonFitter,
    memory: tuple[int, ...] | None,
) -> Check:
    """Check for what `searches.gumbel_structures.course.SearchCourse.state` returned.

    Args:
        settings: settings of the search.
        space: structures to search in.
        fitter: fitter of the search, which checks its own state.
        memory: shape of what the proposer has learned, where the state has it as `memory`.
    """
    places = len(space.choices)

    def structures(value: Any) -> np.ndarray:
        found: np.ndarray = array("iu", None, places)(value) if np.size(value) else np.empty((0, places), np.int16)
        if ((found < 0) | (found >= space.choices)).any():
            raise FormatError("has a choice that its place does not have", "")
        return found

    def used(value: Any) -> np.ndarray:
        found: np.ndarray = array("b", None, places)(value) if np.size(value) else np.empty((0, places), np.bool_)
        return found

    def elite(value: Any) -> tuple[float, tuple[int, ...]]:
        score, skeleton = row_of(number(), tokens)(value)
        program([skeleton, [1.0] * skeleton.count(CONSTANT)])
        return score, tuple(skeleton)

    def seen(value: Any) -> np.ndarray:
        found: np.ndarray = array("iu", None)(value)
        if len(found) > _LONGEST_SEEN:
            raise FormatError(f"has {len(found):,} numbers", f"at most {_LONGEST_SEEN:,}")
        return found

    fields: dict[str, Check] = {
        "course": _COURSE,
        "history": history,
        "best": fitter.state_check,
        "elites": list_of(elite, most=settings.capacity),
        "structures": structures,
        "used": used,
        "seen": seen,
    }
    if memory is not None:
        fields["memory"] = array("f", *memory)
    whole_state = record(fields, open_end=memory is None)

    def check(value: Any) -> dict[str, Any]:
        state: dict[str, Any] = whole_state(value)
        if not len(state["elites"]) == len(state["structures"]) == len(state["used"]):
            raise FormatError("has elites of which not every one has a structure", "")
        return state

    return check


def of_lists(state: Any) -> dict[str, Any]:
    """The state of a JSON file, its lists of numbers as arrays.

    Raises:
        FormatError: it is no mapping, or one of them is not such a list.
    """
    if not isinstance(state, Mapping):
        raise FormatError("is no mapping", "")
    found = dict(state)
    for name, kind in _ARRAYS.items():
        try:
            found[name] = np.array(state[name], dtype=kind)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise FormatError(f"has no list of numbers {name!r}", "") from error
    return found
