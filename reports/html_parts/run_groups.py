"""Runs that differ in nothing but their seed, side by side: their mean, their spread, their best equation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runs.reader import FINISHED, Run

__all__ = ["Group", "Spread", "grouped"]

_MOST_SEEDS = 6


@dataclass(frozen=True)
class Spread:
    """A number over several runs.

    Attributes:
        mean: mean of the values.
        deviation: their standard deviation (divided by n - 1), 0 of a single one.
        count: number n of values.
    """

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Iterable[Any]) -> Spread | None:
        """The spread of the finite numbers among some values; None where there is none, or it is no number."""
        numbers = [float(value) for value in values if _is_number(value)]
        if not numbers:
            return None
        try:
            deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
            return cls(statistics.fmean(numbers), deviation, len(numbers))
        except OverflowError:
            return None


@dataclass(frozen=True)
class Group:
    """Runs of one model on one data set with the same settings.

    Attributes:
        data: name of the data.
        model: name of the model.
        settings: what their command lines set beyond model, data and seed.
        runs: the runs, the best one first.
    """

    data: str
    model: str
    settings: str
    runs: Sequence[Run]

    @property
    def seeds(self) -> str:
        """The seeds of the runs, in words."""
        seeds = sorted({run.seed for run in self.runs if run.seed}, key=lambda seed: (len(seed), seed))
        if len(seeds) > _MOST_SEEDS:
            return f"{len(seeds)} seeds"
        return f"seed{'s' * (len(seeds) != 1)} {', '.join(seeds)}" if seeds else ""

    def metric(self, name: str) -> Spread | None:
        """A metric of the finished runs."""
        return Spread.of(run.metrics.get(name) for run in self.runs if run.state == FINISHED)

    def equations(self) -> dict[tuple[str, str], list[tuple[Run, Mapping[str, Any]]]]:
        """What was found for each problem and target: runs, the best one first, with their equations."""
        found: dict[tuple[str, str], list[tuple[Run, Mapping[str, Any]]]] = {}
        for run in self.runs:
            for row in run.equations:
                key = (str(row.get("problem", "")), str(row.get("target", "")))
                found.setdefault(key, []).append((run, row))
        return {key: sorted(rows, key=_quality, reverse=True) for key, rows in found.items()}


def grouped(runs: Sequence[Run]) -> list[Group]:
    """The groups of some runs: those on the same data together, within them the better ones first.

    Args:
        runs: runs, the best one first.
    """
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.data, run.model, run.settings), []).append(run)
    order = list(dict.fromkeys(run.data for run in runs))
    found = [Group(*key, members) for key, members in groups.items()]
    return sorted(found, key=lambda group: order.index(group.data))


def _quality(found: tuple[Run, Mapping[str, Any]]) -> float:
    """R2 of an equation on test rows; -inf where it has none."""
    score = Spread.of([found[1].get("test_r2")])
    return -math.inf if score is None else score.mean


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and abs(value) < math.inf
    except OverflowError:
        return False
