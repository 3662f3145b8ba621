"""A sheet of an Excel file as the text of a CSV file, so that one set of rules reads both."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import date, datetime, time
from typing import Any, BinaryIO

from datamodules.tables.opened import TableError, short_reason

__all__ = ["first_sheet"]

_MOST_BYTES = 1 << 31
_MOST_ROWS = 1 << 20  # of a sheet, by Excel itself
_MOST_CELLS = 1 << 26  # empty ones before the last of a row included: few bytes may stand for many


def first_sheet(stream: BinaryIO, label: str) -> tuple[bytes, str]:
    """The first sheet that has cells.

    Formulas count as the values that were last computed for them; nothing is computed here.

    Args:
        stream: content of the file, which must be seekable.
        label: name of the file in sentences.

    Returns:
        The sheet as UTF-8 text with commas, and a sentence that names it where there are others.

    Raises:
        TableError: it is no whole Excel file, it unpacks to more than 2 GiB, a sheet has more rows than Excel
            allows or too many cells, or every sheet is empty.
    """
    import openpyxl

    try:
        with zipfile.ZipFile(stream) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _MOST_BYTES:
            raise TableError(f"{label} unpacks to more than {_MOST_BYTES >> 30} GiB: save it as CSV or Parquet.")
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        sheets = book.worksheets
        for sheet in sheets:
            text = _sheet_text(sheet, label)
            if text.strip(b",\r\n "):
                others = f"sheet {sheet.title!r} of {label} is read, of {len(sheets)} sheets"
                return text, others if len(sheets) > 1 else ""
    except TableError:
        raise
    except Exception as error:  # openpyxl lets through whatever a broken file makes its parsers raise
        raise TableError(f"{label} is not a whole Excel file ({short_reason(error)}): save it again.") from error
    raise TableError(f"{label} is empty: a table needs a line of column names and rows of numbers.")


def _sheet_text(sheet: Any, label: str) -> bytes:
    """The cells of a sheet from the first column that is used, as text."""
    sheet.reset_dimensions()  # what other programs wrote there may be wrong
    filled, cells = [], 0
    for number, values in enumerate(sheet.iter_rows(values_only=True)):
        cells += len(values)
        if number >= _MOST_ROWS or cells > _MOST_CELLS:
            raise TableError(
                f"{label} has more than {_MOST_ROWS:,} rows or {_MOST_CELLS:,} cells: save it as CSV or Parquet."
            )
        row = [_text(value) for value in values]
        if any(row):
            filled.append(row)
    if not filled:
        return b""
    first = min(next(index for index, cell in enumerate(row) if cell) for row in filled)
    width = max(len(row) for row in filled)
    last = max(max(index for index, cell in enumerate(row) if cell) for row in filled) + 1
    text = io.StringIO()
    csv.writer(text).writerows([*row, *[""] * (width - len(row))][first:last] for row in filled)
    return text.getvalue().encode()


def _text(value: Any) -> str:
    """A cell as text that reads as the same number."""
    if value is None:
        return ""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)
