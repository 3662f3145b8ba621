"""The trust in a picked equation as plain numbers, which JSON holds, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foundation.schema import Check, FormatError, choice, list_of, number, optional, record, row_of, truth, whole
from searches.law_probability import WORDS, Competitor, DecidingMeasurement, LawProbability
from searches.pareto_front import Candidate

__all__ = ["TRUST", "plain_trust", "restored_trust"]

_MOST_COLUMNS, _MOST_COMPETITORS, _FARTHEST = 1_000_000, 100, 1e6

TRUST: Check = optional(
    record(
        {
            "probability": number(0.0, 1.0),
            "word": choice(*WORDS),
            "competitors": list_of(
                record({"equation": whole(), "nats": number(-_FARTHEST, _FARTHEST)}), most=_MOST_COMPETITORS
            ),
            "measurement": optional(
                record(
                    {
                        "columns": list_of(whole(), least=1, most=_MOST_COLUMNS),
                        "place": list_of(number(), most=_MOST_COLUMNS),
                        "values": row_of(number(), number()),
                        "deviations": number(0.0),
                        "is_beyond": truth,
                    }
                )
            ),
        }
    )
)
"""Check for what `plain_trust` returned."""


def plain_trust(trust: LawProbability | None, front: Sequence[Candidate]) -> dict[str, Any] | None:
    """A trust as numbers, texts, lists and mappings; None where there is none.

    Args:
        trust: trust in the picked equation of a front.
        front: equations among which the competitors are.
    """
    if trust is None:
        return None
    at = trust.measurement
    return {
        "probability": trust.probability,
        "word": trust.word,
        "competitors": [
            {"equation": front.index(each.candidate), "nats": each.nats} for each in trust.competitors
        ],
        "measurement": None
        if at is None
        else {
            "columns": list(at.columns),
            "place": list(at.place),
            "values": list(at.values),
            "deviations": at.deviations,
            "is_beyond": at.is_beyond,
        },
    }


def restored_trust(
    found: Mapping[str, Any] | None, front: Sequence[Candidate], columns: int
) -> LawProbability | None:
    """The trust that `plain_trust` was given.

    Args:
        found: what `plain_trust` returned, checked by `TRUST`.
        front: equations of the same front.
        columns: number of columns of the table.

    Raises:
        FormatError: it is of another front or table.
    """
    if found is None:
        return None
    at = found["measurement"]
    if any(each["equation"] >= len(front) for each in found["competitors"]):
        raise FormatError("has a competitor that is not among its equations", "")
    if at is not None and (len(at["place"]) != len(at["columns"]) or max(at["columns"]) >= columns):
        raise FormatError("has a measurement of other columns", "")
    return LawProbability(
        found["probability"],
        found["word"],
        tuple(Competitor(front[each["equation"]], each["nats"]) for each in found["competitors"]),
        None
        if at is None
        else DecidingMeasurement(
            tuple(at["columns"]), tuple(at["place"]), tuple(at["values"]), at["deviations"], at["is_beyond"]
        ),
    )
