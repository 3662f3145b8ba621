"""Rules that pick an equation from a stored front, for the suite `trust`: all see the same fronts.

A rule is a function from the result of a cell to the number of the picked entry of its `front`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from expressions.numbering import restored
from searches.pareto_front import EXACT_NMSE, Candidate, ParetoFront, pick

__all__ = ["RULES", "bic", "candidate_of", "code_length", "error_of"]

Result = Mapping[str, Any]
Rule = Callable[[Result], int]

_PYSR_SLACK = 1.5  # times the least loss up to which PySR's `best` looks
_REMEDY = "measure the cell again"


def chosen(result: Result) -> int:
    """What the method itself showed first when it ran."""
    return int(result["chosen"])


def todays(result: Result) -> int:
    """`searches.pareto_front.pick` as it is now, on a front that an earlier version may have found."""
    candidates = [candidate_of(entry) for entry in result["front"]]
    return candidates.index(pick(ParetoFront(candidates)))


def candidate_of(entry: Mapping[str, Any]) -> Candidate:
    """The candidate that an entry of a front was made from."""
    return Candidate(
        restored(entry["equation"], "the ledger", _REMEDY),
        entry["complexity"],
        entry["train_nmse"],
        entry["validation_nmse"],
        entry["charge"],
        entry["rounding"],
    )


def error_of(result: Result, entry: Mapping[str, Any]) -> float:
    """Mean squared error over the target's variance on all rows, not below the rounding of the data."""
    rss = entry["refitted"]["rss"]
    if rss is None:
        return math.inf
    floor = max(entry["rounding"], EXACT_NMSE)
    return float(max(rss / result["total_squares"], floor))


def bic(result: Result, entry: Mapping[str, Any]) -> float:
    """Half of Schwarz's criterion for normal errors of unknown variance, in nats."""
    rows = result["rows"]
    return 0.5 * (rows * math.log(error_of(result, entry)) + entry["constants"] * math.log(rows))


def code_length(result: Result, entry: Mapping[str, Any]) -> float:
    """Length of a description of the target by an equation, in nats.

    Bartlett, Desmond and Ferreira, "Exhaustive symbolic regression", 2023, equation 10, for normal errors of
    unknown variance: the misfit, a choice among the distinct symbols for every token, and for every constant its
    digits, as far as its Fisher information resolves them. An integer costs its logarithm. A constant that the
    data do not tell from 0 costs no less than nothing; the published rule sets it to 0.
    """
    error = error_of(result, entry)
    if math.isinf(error):
        return math.inf
    variance = error * result["total_squares"] / result["rows"]
    length = 0.5 * result["rows"] * math.log(error) + entry["tokens"] * math.log(entry["symbols"])
    fitted = entry["refitted"]
    for own, value, information in zip(
        entry["found"]["values"], fitted["values"], fitted["information"], strict=True
    ):
        length += _digits(own, value, information, variance)
    return length


def _digits(own: float, value: float, information: float | None, variance: float) -> float:
    """What a constant costs, in nats, as a whole number or as a measured one, whichever is less."""
    measured = math.inf
    if information and value:
        measured = 0.5 * math.log(information / variance) + math.log(abs(value)) - 0.5 * math.log(3.0)
    if own.is_integer():
        return min(math.log(max(abs(own), 1.0)), max(measured, 0.0))
    return max(measured, 0.0) if math.isfinite(measured) else 0.0


def pysr_best(result: Result) -> int:
    """`best` in the manner of PySR: the greatest drop of log loss a node, of losses below 1.5 times the least."""
    front = result["front"]
    losses = [max(error_of(result, entry), EXACT_NMSE) for entry in front]
    allowed = _PYSR_SLACK * min(losses)
    best, greatest = losses.index(min(losses)), -math.inf
    for k, loss in enumerate(losses):
        score = 0.0
        if k:
            more = front[k]["complexity"] - front[k - 1]["complexity"]
            score = math.log(losses[k - 1] / loss) / more if more > 0 and loss < losses[k - 1] else 0.0
        if loss <= allowed and score > greatest:
            best, greatest = k, score
    return best


def _least(length: Callable[[Result, Mapping[str, Any]], float]) -> Rule:
    """The rule that picks the entry of the least length, the first of several."""

    def picked(result: Result) -> int:
        lengths = [length(result, entry) for entry in result["front"]]
        return lengths.index(min(lengths))

    return picked


RULES: dict[str, Rule] = {
    "chosen": chosen,
    "today": todays,
    "BIC": _least(bic),
    "code length": _least(code_length),
    "PySR's best": pysr_best,
}
"""Name in the tables -> rule."""
