"""Which equation of a front a network means, where nothing but the network judges.

A network's error against the law that it has learned is no noise: it is smooth, and neighbouring rows have nearly
the same. More rows tell no more about it, so that a longer equation, which follows the network's own errors, must
not be paid for by thousands of rows. A front is judged as if there were some dozens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from searches.common.description_length import NODE_NATS_HELD_OUT
from searches.pareto_front import Candidate

__all__ = ["described", "described_order"]

_ROWS = 60.0
"""Rows that an error as smooth as that of a network counts for."""
_FLOOR = 1e-7
"""Error below which there is the rounding of float32 and the network's last epoch, and no law."""
_CONSTANT_NATS = 1.0 + 0.5 * math.log(_ROWS)


def described(candidates: Sequence[Candidate]) -> Candidate:
    """The equation of the shortest description.

    Args:
        candidates: equations of one output.
    """
    return min(candidates, key=_code)


def described_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Equations of one output, those of the shortest description first."""
    return sorted(candidates, key=_code)


def _code(candidate: Candidate) -> float:
    nats = NODE_NATS_HELD_OUT * candidate.complexity + _CONSTANT_NATS * len(candidate.expression.constants)
    return math.log(max(candidate.error, _FLOOR)) + 2.0 * nats / _ROWS
