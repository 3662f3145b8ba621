"""Refusals of unusable tables, each in one sentence that names the fault, its place and the remedy."""

from __future__ import annotations

import re

from datamodules.tables.cells import Column, FirstGap
from datamodules.tables.sources import Source, TableError

__all__ = ["MIN_ROWS", "refuse_faults"]

MIN_ROWS = 10
"""Fewer rows cannot be split into rows to fit, to choose and to judge an equation."""
LARGEST = 1e18
"""Networks and searches compute in float32, whose largest number is 3.4e38: larger squares overflow."""
SMALLEST = 1e-18
"""A column that is all smaller than this has squares that vanish in float32."""
RESOLUTION = 1e-5
"""A column's range over its largest magnitude; float32 tells about 170 values apart in it."""

_DATE = re.compile(r"^\d{4}-\d{1,2}-\d{1,2}|^\d{1,2}[./]\d{1,2}[./]\d{2,4}|^\d{1,2}:\d{2}")
_NAMES_SHOWN = 40


def refuse_faults(source: Source, columns: list[Column], rows: int, gap: FirstGap) -> None:
    """Refuse a table for the first kind of fault there is, the coarsest first.

    Args:
        source: the table, opened.
        columns: columns that were read to their end.
        rows: number of rows.
        gap: first row with a missing cell.

    Raises:
        TableError: there is a fault.
    """
    label = source.label
    if rows == 0:
        raise TableError(
            f"{label} has column names but no rows: a table needs at least {MIN_ROWS} rows of numbers."
        )
    _refuse_wrong(label, columns)
    _refuse_missing(label, columns, rows, gap)
    for column in columns:
        _refuse_infinite(label, column)
    for column in columns:
        _refuse_large_integers(label, column)
    if rows < MIN_ROWS:
        raise TableError(
            f"{label} has only {rows} row(s): give at least {MIN_ROWS} rows to fit, choose and test by."
        )
    _refuse_constant(label, columns)
    for column in columns:
        _refuse_scale(label, column)


def _refuse_wrong(label: str, columns: list[Column]) -> None:
    """Text, dates and the like."""
    wrong = [column for column in columns if column.wrong.count]
    if not wrong:
        return
    column, fault = wrong[0], wrong[0].wrong
    what = f"{fault.text!r} in data row {fault.row:,}"
    others = f" (so do {len(wrong) - 1} more columns)" if len(wrong) > 1 else ""
    if column.kind == "dates" or _DATE.match(fault.text):
        raise TableError(
            f"column {column.name!r} of {label} holds dates or times ({what}){others}: turn them into a number, "
            f"such as days since the first, or leave the column out{_without(columns, wrong)}."
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


def _refuse_missing(label: str, columns: list[Column], rows: int, gap: FirstGap) -> None:
    lacking = [column for column in columns if column.missing]
    if not lacking:
        return
    total = sum(column.missing for column in lacking)
    which = ", ".join(f"{column.name!r} ({column.missing:,})" for column in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    empty = [column for column in lacking if column.missing == rows]
    advice = _without(columns, empty) if empty else ""
    raise TableError(
        f"{total:,} cell(s) of {label} are missing, in column {which}{more}, the first in data row {gap.row:,}: "
        f"fill them in, or take out these rows or columns{advice}."
    )


def _refuse_infinite(label: str, column: Column) -> None:
    fault = column.infinite
    if fault.count:
        raise TableError(
            f"column {column.name!r} of {label} has {fault.count:,} cell(s) that are not finite (the first is "
            f"{fault.text!r} in data row {fault.row:,}): take these rows out or mend them."
        )


def _refuse_large_integers(label: str, column: Column) -> None:
    fault = column.integer
    if fault.count:
        raise TableError(
            f"column {column.name!r} of {label} has integers beyond 2^53, which floating point cannot hold "
            f"exactly ({fault.text} in data row {fault.row:,}): leave it out if it is an identifier, or divide "
            "it."
        )


def _refuse_constant(label: str, columns: list[Column]) -> None:
    constant = [column for column in columns if column.low == column.high]
    if not constant:
        return
    column = constant[0]
    others = f" (so are {len(constant) - 1} more columns)" if len(constant) > 1 else ""
    raise TableError(
        f"column {column.name!r} of {label} is {column.low:g} in every row{others}, so it can neither explain "
        f"nor be explained: leave it out{_without(columns, constant)}."
    )


def _refuse_scale(label: str, column: Column) -> None:
    largest = max(-column.low, column.high)
    if largest > LARGEST:
        raise TableError(
            f"column {column.name!r} of {label} reaches {largest:.3g}, and magnitudes above {LARGEST:g} "
            "overflow in single precision when squared: express it in a larger unit."
        )
    if largest < SMALLEST:
        raise TableError(
            f"column {column.name!r} of {label} never exceeds {largest:.3g}, and magnitudes below {SMALLEST:g} "
            "vanish in single precision when squared: express it in a smaller unit."
        )
    spread = column.high - column.low
    if spread < RESOLUTION * largest:
        raise TableError(
            f"column {column.name!r} of {label} varies by only {spread:.3g} around {column.low:.10g}, too "
            "little for single precision: subtract a constant from it first."
        )


def _without(columns: list[Column], bad: list[Column]) -> str:
    """The features that would be left, ready to be copied, unless they are too many to read."""
    left = [column.name for column in columns if column not in bad]
    if not left or len(left) > _NAMES_SHOWN:
        return ""
    return f" (the others are {', '.join(left)})"
