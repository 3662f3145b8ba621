"""`metrics.csv` as Lightning's CSVLogger leaves it: sparse rows, and perhaps a last one that was cut short."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from foundation.files import FileError, open_regular

__all__ = ["LARGEST_TABLE", "Curve", "losses", "open_table", "read_metrics"]

Curve = list[tuple[float, float]]
"""(epoch or step, value) of a logged metric, in the order in which they were logged."""

_AXES = ("step", "epoch")
LARGEST_TABLE = 1 << 30
_LONGEST_LINE = 1 << 22  # characters: a file of zeros has no line breaks
_MOST_ROWS = 1_000_000  # that are read for curves; a week of an epoch a second has fewer


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """Every metric's curve.

    Args:
        path: A `metrics.csv` whose first line names its columns. What cannot be read as a number is left out, so a
            torn file gives what it has; so are rows beyond a million.

    Returns:
        Name -> list of (x, value) in the file's order, with x the epoch where the row has one, else the step, else
        the row's number. Empty where there is no such file.
    """
    curves: dict[str, Curve] = {}
    try:
        with open_table(path, most=LARGEST_TABLE) as lines:
            for number, row in enumerate(itertools.islice(csv.DictReader(lines), _MOST_ROWS)):
                _add(curves, row, number)
    except (FileError, csv.Error):
        pass
    return curves


@contextlib.contextmanager
def open_table(path: str | Path, *, most: int) -> Iterator[Iterator[str]]:
    """Open a CSV file that a program may have left torn: what is no UTF-8 is replaced, zeros are left out.

    Args:
        path: Path of the file.
        most: Largest allowed size in bytes.

    Yields:
        Lines of the file.

    Raises:
        FileError: There is no such file, it is no regular file, or too large.
    """
    with (
        open_regular(path, most=most) as raw,
        io.TextIOWrapper(raw, newline="", encoding="utf-8", errors="replace") as stream,
    ):
        yield (line.replace("\0", "") for line in iter(lambda: stream.readline(_LONGEST_LINE), ""))


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
