"""`metrics.csv` as Lightning's CSVLogger leaves it: sparse rows, and perhaps a last one that was cut short."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Curve", "losses", "read_metrics"]

Curve = list[tuple[float, float]]
"""(epoch or step, value) of a logged metric, in the order in which they were logged."""

_AXES = ("step", "epoch")


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """Every metric's curve.

    Args:
        path: A `metrics.csv` whose first line names its columns. What cannot be read as a number is left out, so a
            torn file gives what it has.

    Returns:
        Name -> list of (x, value) in the file's order, with x the epoch where the row has one, else the step, else
        the row's number. Empty where there is no such file.
    """
    curves: dict[str, Curve] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8", errors="replace") as stream:
            rows = csv.DictReader(line.replace("\0", "") for line in stream)
            for number, row in enumerate(rows):
                _add(curves, row, number)
    except (OSError, csv.Error):
        pass
    return curves


def losses(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Of all logged curves, those that a fit lowers; not its steps where epochs were logged."""
    words = ("loss", "mse", "mae", "nrmse", "entropy", "kl")
    chosen = {}
    for name, points in curves.items():
        last = name.rpartition("/")[2]
        per_step = last.endswith("_step") and f"{name.removesuffix('_step')}_epoch" in curves
        if not per_step and not name.startswith(("test/", "search/")) and any(word in last for word in words):
            chosen[name.removesuffix("_epoch")] = points
    return chosen


def _add(curves: dict[str, Curve], row: dict[str, str], number: int) -> None:
    """Adds the cells of one row to the curves."""
    numbers = {name: value for name, text in row.items() if name and (value := _number(text)) is not None}
    x = next((numbers[axis] for axis in reversed(_AXES) if axis in numbers), float(number))
    for name, value in numbers.items():
        if name not in _AXES:
            curves.setdefault(name, []).append((x, value))


def _number(text: object) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
