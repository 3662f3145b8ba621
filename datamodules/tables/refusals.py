"""Refusals of unusable tables, each in one sentence that names the fault, its place and the remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from datamodules.tables.numerals import is_bracketed
from datamodules.tables.opened import TableError
from foundation.machine import memory

if TYPE_CHECKING:
    from datamodules.tables.cells import Column

__all__ = [
    "MIN_ROWS",
    "MIN_SPLIT_ROWS",
    "looks_like_date",
    "refuse_ambiguous",
    "refuse_cells",
    "refuse_constant",
    "refuse_few_rows",
    "refuse_long",
    "refuse_missing",
    "refuse_no_features",
    "refuse_sigma",
    "refuse_single_precision",
    "refuse_size",
    "refuse_target",
]

MIN_ROWS = 5
"""Fewer rows suit nearly any equation."""
MIN_SPLIT_ROWS = 10
"""Fewer rows cannot be split into rows to fit, to choose and to judge an equation."""
LARGEST = 1e300
"""Larger numbers come too near the end of float64, 1.8e308."""
SMALLEST = 1e-300
"""Numbers that are all smaller come too near the end of float64, 2.2e-308."""
LARGEST_SINGLE = 1e18
"""Networks compute in float32, whose largest number is 3.4e38: larger squares overflow."""
SMALLEST_SINGLE = 1e-18
"""A column that is all smaller than this has squares that vanish in float32."""
RESOLUTION_SINGLE = 1e-5
"""A column's range over its largest magnitude; float32 tells about 170 values apart in it."""

_DATE = re.compile(r"^\d{4}-\d{1,2}-\d{1,2}|^\d{1,2}[./]\d{1,2}[./]\d{2,4}|^\d{1,2}:\d{2}")
_NAMES_SHOWN = 40


def looks_like_date(column: Column) -> bool:
    """Whether the cells of a column that are no numbers are dates or times."""
    return column.kind == "dates" or bool(_DATE.match(column.wrong.text))


def refuse_few_rows(label: str, rows: int, least: int) -> None:
    """Refuse a table with fewer rows than `least`."""
    if rows == 0:
        raise TableError(
            f"{label} has column names but no rows: a table needs at least {MIN_ROWS} rows of numbers."
        )
    if rows < least:
        purpose = "fit, choose and test by" if least >= MIN_SPLIT_ROWS else "find an equation in"
        raise TableError(f"{label} has only {rows} row(s): give at least {least} rows to {purpose}.")


def refuse_ambiguous(label: str, name: str, texts: Sequence[str]) -> NoReturn:
    """Refuse a column of numbers whose decimal mark can be a comma as well as a point."""
    marked = [text.strip() for text in texts if re.search(r"\d[.,]\d{3}", text)]
    mark = "," if any("," in text for text in marked) else "."
    text = next((text for text in marked if mark in text), texts[0])
    thousand, decimal = re.sub(r"[.,]", "", text), text.replace(",", ".")
    raise TableError(
        f"column {name!r} of {label} has numbers with a comma or a point that can mean two things ({text!r} is "
        f"{thousand} if the mark stands between thousands, and {decimal} if it is the decimal mark): write them "
        "with a decimal point and no thousands mark."
    )


def refuse_cells(label: str, columns: Sequence[Column]) -> None:
    """Refuse columns with text, dates and numbers that are not finite.

    Args:
        label: name of the table in sentences.
        columns: columns that are used, read to their end.

    Raises:
        TableError: there is such a cell.
    """
    _refuse_wrong(label, columns)
    for column in columns:
        fault = column.infinite
        if fault.count:
            raise TableError(
                f"column {column.name!r} of {label} has {fault.count:,} cell(s) that are not finite (the first is "
                f"{fault.text!r} in data row {fault.row:,}): take these rows out or mend them."
            )


def _refuse_wrong(label: str, columns: Sequence[Column]) -> None:
    wrong = [column for column in columns if column.wrong.count]
    if not wrong:
        return
    column, fault = wrong[0], wrong[0].wrong
    what = f"{fault.text!r} in data row {fault.row:,}"
    others = f" (so do {len(wrong) - 1} more columns)" if len(wrong) > 1 else ""
    if looks_like_date(column):
        raise TableError(
            f"column {column.name!r} of {label} holds dates or times ({what}){others}: turn them into a number, "
            f"such as days since the first, or leave the column out{_without(columns, wrong)}."
        )
    if is_bracketed(fault.text):
        inside = fault.text.strip(" ()")
        raise TableError(
            f"column {column.name!r} of {label} has numbers in brackets ({what}){others}, which mean "
            f"-{inside} in accounts and {inside} elsewhere: write them with a minus sign, or without "
            "brackets."
        )
    if re.fullmatch(r"[+-]?\d[\d.]*,\d+|[+-]?\d{1,3}(,\d{3})+(\.\d+)?", fault.text):
        raise TableError(
            f"column {column.name!r} of {label} has numbers with a comma ({what}){others}: write them with a "
            "decimal point and no thousands mark."
        )
    kind = f"cells of type {column.kind}" if column.kind else "text"
    raise TableError(
        f"column {column.name!r} of {label} holds {kind} ({what}, {fault.count:,} in all){others}: make it "
        f"numbers, or leave it out{_without(columns, wrong)}."
    )


def refuse_missing(label: str, columns: Sequence[Column]) -> NoReturn:
    """Refuse a table in which too many rows lack a cell."""
    lacking = [column for column in columns if column.missing.count]
    total = sum(column.missing.count for column in lacking)
    which = ", ".join(f"{column.name!r} ({column.missing.count:,})" for column in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    first = min(column.missing.row for column in lacking)
    empty = [column for column in lacking if column.is_empty]
    advice = _without(columns, empty) if empty else ""
    raise TableError(
        f"{total:,} cell(s) of {label} are missing, in column {which}{more}, the first in data row {first:,}: "
        f"fill them in, or take out these rows or columns{advice}."
    )


def refuse_no_features(label: str, columns: Sequence[Column], used: Sequence[Column]) -> NoReturn:
    """Refuse a table in which no column can explain another, for the fault of the first one."""
    _refuse_wrong(label, [column for column in columns if column not in used])
    raise TableError(f"no column of {label} is left to explain anything by: give one column of numbers more.")


def refuse_constant(label: str, names: Sequence[str]) -> NoReturn:
    """Refuse a table whose features do not vary."""
    raise TableError(
        f"no feature of {label} varies ({', '.join(map(repr, names[:5]))}), so none can explain anything: give "
        "one that does."
    )


def refuse_target(label: str, name: str, values: np.ndarray) -> None:
    """Refuse a target `[rows]` that does not vary."""
    if values.min() == values.max():
        raise TableError(
            f"column {name!r} of {label} is {values[0]:g} in every row, so there is nothing to explain: choose "
            "another target."
        )


def refuse_long(label: str, rows: int, columns: int) -> None:
    """Refuse a table whose kept rows this machine cannot hold, together with the copy that is worked with."""
    needed, there = 2.0 * 8.0 * rows * columns, memory()
    if needed > there:
        raise TableError(
            f"{label} is too long for the {there / 1e9:,.1f} GB of memory of this machine: give max_rows="
            f"{max(MIN_SPLIT_ROWS, int(there / (64 * columns)))} or fewer (data.max_rows), or name fewer features."
        )


def refuse_size(label: str, name: str, values: np.ndarray) -> None:
    """Refuse a column `[rows]` that is at the end of what float64 can hold."""
    largest = float(np.abs(values).max())
    if largest > LARGEST:
        raise TableError(f"column {name!r} of {label} reaches {largest:.3g}: express it in a larger unit.")
    if 0 < largest < SMALLEST:
        raise TableError(f"column {name!r} of {label} never exceeds {largest:.3g}: express it in a smaller unit.")


def refuse_sigma(label: str, name: str, values: np.ndarray) -> None:
    """Refuse standard deviations `[rows]` that are not all above 0."""
    if values.min() <= 0:
        raise TableError(
            f"column {name!r} of {label} cannot be the target's standard deviation, for it falls to "
            f"{values.min():g}: every standard deviation must be above 0."
        )


def refuse_single_precision(label: str, name: str, values: np.ndarray, rounded: bool) -> None:
    """Refuse a column that single precision cannot hold, for a network that computes in it.

    Args:
        label: name of the table in sentences.
        name: name of the column in its source.
        values: its numbers. `[rows]`
        rounded: whether it has integers that even float64 rounds.

    Raises:
        TableError: it is too large, too small or too narrow, or its integers are too large.
    """
    if rounded:
        raise TableError(
            f"column {name!r} of {label} has integers beyond 2^53, which floating point cannot hold exactly: "
            "leave it out if it is an identifier, or divide it."
        )
    low, high = float(values.min()), float(values.max())
    largest = max(-low, high)
    if largest > LARGEST_SINGLE:
        raise TableError(
            f"column {name!r} of {label} reaches {largest:.3g}, and magnitudes above {LARGEST_SINGLE:g} "
            "overflow in single precision when squared: express it in a larger unit."
        )
    if 0 < largest < SMALLEST_SINGLE:
        raise TableError(
            f"column {name!r} of {label} never exceeds {largest:.3g}, and magnitudes below {SMALLEST_SINGLE:g} "
            "vanish in single precision when squared: express it in a smaller unit."
        )
    if 0 < high - low < RESOLUTION_SINGLE * largest:
        raise TableError(
            f"column {name!r} of {label} varies by only {high - low:.3g} around {low:.10g}, too "
            "little for single precision: subtract a constant from it first."
        )


def _without(columns: Sequence[Column], bad: Sequence[Column]) -> str:
    """The features that would be left, ready to be copied, unless they are too many to read."""
    left = [column.name for column in columns if column not in bad]
    if not left or len(left) > _NAMES_SHOWN:
        return ""
    return f" (the others are {', '.join(left)})"
