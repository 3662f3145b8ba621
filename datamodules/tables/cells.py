"""Cells of a table as float64 numbers, and the faults of cells that are no numbers."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datamodules.tables.numerals import COMMA_DECIMAL, COMMA_THOUSANDS, MISSING, NUMBER, is_bracketed

__all__ = ["Column", "Fault", "has_comma", "is_text"]

LARGEST_INTEGER = 2**53
"""Beyond it, float64 does not hold every integer."""

_MISSING = f"^({'|'.join(map(re.escape, MISSING))})$"
_INTEGER = r"^[+-]?\d+$"
_FORTRAN = r"^([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)$"
_THOUSANDS_SPACE = "^[+-]?\\d{1,3}([ '\u00a0\u202f]\\d{3})+([.,]\\d*)?$"


@dataclass
class Fault:
    """Cells of one column that have one kind of fault.

    Attributes:
        count: number of these cells.
        row: data row of the first one, from 1.
        text: text of the first one, 40 characters at most.
    """

    count: int = 0
    row: int = 0
    text: str = ""

    def add(self, where: np.ndarray, start: int, cells: pa.Array) -> None:
        """Count the cells `[batch rows]` (bool) of a batch that begins at row `start` (from 0)."""
        found = int(where.sum())
        if found and not self.count:
            first = int(np.argmax(where))
            self.row, self.text = start + first + 1, str(cells[first].as_py())[:40]
        self.count += found


class Column:
    """Reads one column batch by batch and remembers what was wrong with it.

    Attributes:
        name: name of the column in its source.
        decimal: decimal mark of its text, `.` or `,`.
        infinite: cells that are not finite.
        wrong: cells that are not numbers.
        integer: integers that float64 cannot hold exactly.
        missing: cells that are missing.
        kind: type of cells that cannot be numbers, such as `dates`; empty for text and numbers.
        rows: number of cells so far.
        notations: ways of writing its numbers that no programming language reads.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.decimal = "."
        self.infinite, self.wrong, self.integer, self.missing = Fault(), Fault(), Fault(), Fault()
        self.kind = ""
        self.rows = 0
        self.notations: set[str] = set()

    @property
    def holds_text(self) -> bool:
        """Whether half of its cells or more are text or dates; fewer are a fault of a column of numbers."""
        return not is_bracketed(self.wrong.text) and 0 < self.rows - self.missing.count <= 2 * self.wrong.count

    @property
    def is_empty(self) -> bool:
        """Whether every cell is missing."""
        return self.missing.count == self.rows

    def read(self, cells: pa.Array, start: int) -> np.ndarray:
        """Cells as float64 `[batch rows]`, of a batch that begins at row `start`; NaN where a cell is at fault."""
        if pa.types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        kind, wrong, integral = cells.type, None, False
        if is_text(cells):
            values, wrong = self._parse(cells)
        elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values, integral = _floats(cells), pa.types.is_integer(kind)
        elif pa.types.is_decimal(kind):
            values = _floats(cells)
        elif pa.types.is_null(kind):
            values = np.full(len(cells), np.nan)
        else:
            self.kind = "dates" if pa.types.is_temporal(kind) else str(kind)
            values, wrong = np.full(len(cells), np.nan), ~_null(cells)
        self._remember(values, wrong, integral, cells, start)
        return values

    def _remember(
        self, values: np.ndarray, wrong: np.ndarray | None, integral: bool, cells: pa.Array, start: int
    ) -> None:
        self.rows += len(values)
        missing = np.isnan(values)
        if wrong is not None:
            self.wrong.add(wrong, start, cells)
            missing &= ~wrong
        self.missing.add(missing, start, cells)
        if not len(values):
            return
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        if np.isinf(low) or np.isinf(high):
            self.infinite.add(np.isinf(values), start, cells)
        if max(-low, high) >= LARGEST_INTEGER:
            beyond = np.abs(values) >= LARGEST_INTEGER
            if not integral and is_text(cells):
                beyond &= _matches(pc.utf8_trim_whitespace(cells), _INTEGER)
            elif not integral:
                return
            self.integer.add(beyond, start, cells)

    def _parse(self, cells: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
        """Numbers from text, rounded correctly; NaN where there is none; and where that is no missing cell."""
        if self.decimal == ".":
            with suppress(pa.ArrowInvalid):
                return _floats(pc.cast(cells, pa.float64())), None  # plain numbers: nearly always, and fast
        elif not pc.any(pc.match_substring(cells, ".")).as_py():
            with suppress(pa.ArrowInvalid):
                values = _floats(pc.cast(pc.replace_substring(cells, ",", "."), pa.float64()))
                self.notations.add("decimal commas")
                return values, None
        cells = pc.replace_substring(pc.utf8_trim_whitespace(cells), "\u2212", "-")  # the minus of typesetting
        lower = pc.utf8_lower(cells)
        missing = _null(cells) | _matches(lower, _MISSING)
        true, false = _matches(lower, "^true$"), _matches(lower, "^false$")
        pointed = self._pointed(cells)
        plain = pc.replace_substring_regex(pointed, _FORTRAN, r"\1E\2")
        if not plain.equals(pointed):
            self.notations.add("D before the exponent")
        is_number = pc.match_substring_regex(plain, NUMBER)
        if self.decimal == ",":
            is_number = pc.and_(is_number, pc.match_substring_regex(cells, COMMA_DECIMAL))
        number = _flags(is_number)
        values = np.full(len(cells), np.nan)
        values[true], values[false] = 1.0, 0.0
        values[number] = _numbers(plain.filter(is_number))
        return values, ~(missing | true | false | number)

    def _pointed(self, cells: pa.Array) -> pa.Array:
        """The same cells with a decimal point and no marks between thousands."""
        spaced = pc.match_substring_regex(cells, _THOUSANDS_SPACE)
        if pc.any(spaced).as_py():
            self.notations.add("blanks or apostrophes between thousands")
            cells = pc.if_else(spaced, pc.replace_substring_regex(cells, "[ '\u00a0\u202f]", ""), cells)
        if self.decimal == ",":
            self.notations.add("decimal commas")
            return pc.replace_substring(pc.replace_substring(cells, ".", ""), ",", ".")
        thousands = pc.match_substring_regex(cells, COMMA_THOUSANDS)
        if pc.any(thousands).as_py():
            self.notations.add("commas between thousands")
            cells = pc.if_else(thousands, pc.replace_substring(cells, ",", ""), cells)
        return cells


def is_text(cells: pa.Array) -> bool:
    """Whether the cells are text."""
    return pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)


def has_comma(cells: pa.Array) -> bool:
    """Whether a comma stands in any of the cells of text."""
    return bool(pc.any(pc.match_substring(cells, ",")).as_py())


# Arrow's own conversions (`to_numpy`, `pa.array`, `pa.scalar`) import pandas, which takes longer than most tables.


def _floats(cells: pa.Array) -> np.ndarray:
    """Numbers or truth values as float64, missing ones NaN."""
    # Unsafe only in name: an integer that float64 cannot hold is found by its size and told.
    cells = cells.cast(pa.float64(), safe=False)
    values = np.frombuffer(cells.buffers()[1] or b"", np.float64)[cells.offset : cells.offset + len(cells)]
    if cells.null_count:
        values = values.copy()
        values[_null(cells)] = np.nan
    return values


def _flags(cells: pa.Array) -> np.ndarray:
    """Truth values, false where they are missing. `[rows]` bool"""
    flags = _floats(cells)
    return flags == 1


def _null(cells: pa.Array) -> np.ndarray:
    return _flags(pc.is_null(cells)) if cells.null_count else np.zeros(len(cells), bool)


def _matches(cells: pa.Array, pattern: str) -> np.ndarray:
    return _flags(pc.match_substring_regex(cells, pattern))


def _numbers(cells: pa.Array) -> np.ndarray:
    """Numbers from cells that all look like numbers; one by one where Arrow knows no such number."""
    try:
        return _floats(pc.cast(pc.replace_substring_regex(cells, r"^\+", ""), pa.float64()))
    except pa.ArrowInvalid:
        return np.array([float(text) for text in cells.to_pylist()])
