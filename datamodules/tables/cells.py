"""Cells of a table as float64 numbers, and the faults of cells that are no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Column", "Fault", "FirstGap"]

LARGEST_INTEGER = 2**53
"""Beyond it, float64 does not hold every integer."""

_MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
_INTEGER = r"^[+-]?\d+$"


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
        infinite: cells that are not finite.
        wrong: cells that are not numbers.
        integer: integers that float64 cannot hold exactly.
        kind: type of cells that cannot be numbers, such as `dates`; empty for text and numbers.
        missing: number of missing cells.
        low, high: smallest and largest number.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.infinite, self.wrong, self.integer = Fault(), Fault(), Fault()
        self.kind = ""
        self.missing = 0
        self.low, self.high = np.inf, -np.inf

    def read(self, cells: pa.Array, start: int) -> np.ndarray:
        """Cells as float64 `[batch rows]`, of a batch that begins at row `start`; NaN where a cell is at fault."""
        if pa.types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        kind = cells.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            values, wrong, integral = _parse(cells)
        elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values, wrong, integral = _to_numpy(cells), None, pa.types.is_integer(kind)
        elif pa.types.is_decimal(kind):
            values, wrong, integral = _to_numpy(cells.cast(pa.float64())), None, False
        elif pa.types.is_null(kind):
            values, wrong, integral = np.full(len(cells), np.nan), None, False
        else:
            self.kind = "dates" if pa.types.is_temporal(kind) else str(kind)
            values, wrong, integral = np.full(len(cells), np.nan), ~_null(cells), False
        self._remember(values, wrong, integral, cells, start)
        return values

    def _remember(
        self, values: np.ndarray, wrong: np.ndarray | None, integral: bool, cells: pa.Array, start: int
    ) -> None:
        missing = np.isnan(values)
        if wrong is not None:
            self.wrong.add(wrong, start, cells)
            missing &= ~wrong
        self.missing += int(missing.sum())
        if not len(values):
            return
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        self.low, self.high = float(np.fmin(self.low, low)), float(np.fmax(self.high, high))
        if np.isinf(low) or np.isinf(high):
            self.infinite.add(np.isinf(values), start, cells)
        if max(-low, high) >= LARGEST_INTEGER:
            beyond = np.abs(values) >= LARGEST_INTEGER
            if not integral and (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
                beyond &= _matches(_trimmed(cells), _INTEGER)
            elif not integral:
                return
            self.integer.add(beyond, start, cells)


def _to_numpy(cells: pa.Array) -> np.ndarray:
    """Numbers or truth values as float64, missing ones NaN."""
    # Unsafe only in name: an integer that float64 cannot hold is found by its size and refused.
    values = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values.astype(np.float64)


def _null(cells: pa.Array) -> np.ndarray:
    return pc.is_null(cells).to_numpy(zero_copy_only=False)


def _trimmed(cells: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(cells)


def _is_one_of(cells: pa.Array, words: Sequence[str]) -> np.ndarray:
    return pc.fill_null(pc.is_in(cells, pa.array(words)), False).to_numpy(zero_copy_only=False)


def _matches(cells: pa.Array, pattern: str) -> np.ndarray:
    return pc.fill_null(pc.match_substring_regex(cells, pattern), False).to_numpy(zero_copy_only=False)


def _parse(cells: pa.Array) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Numbers from text, rounded correctly; NaN where there is none; and where that is no missing cell."""
    try:
        return _to_numpy_text(cells), None, False  # all cells are plain numbers: nearly always, and fast
    except pa.ArrowInvalid:
        pass
    cells = _trimmed(cells)
    lower = pc.utf8_lower(cells)
    missing = _null(cells) | _is_one_of(lower, _MISSING)
    true, false = _is_one_of(lower, ("true",)), _is_one_of(lower, ("false",))
    number = _matches(cells, _NUMBER)
    values = np.full(len(cells), np.nan)
    values[true], values[false] = 1.0, 0.0
    values[number] = [float(text) for text in cells.filter(pa.array(number)).to_pylist()]
    return values, ~(missing | true | false | number), False


def _to_numpy_text(cells: pa.Array) -> np.ndarray:
    return pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


class FirstGap:
    """The first row that lacks a cell in any column.

    Attributes:
        row: number of that row, from 1; 0 while there is none.
    """

    def __init__(self) -> None:
        self.row = 0

    def add(self, values: np.ndarray, start: int) -> None:
        """Look through a batch `[batch rows, columns]` that begins at row `start`."""
        if not self.row and values.size:
            lacking = np.isnan(values.sum(axis=1)) & np.isnan(values).any(axis=1)  # the cheap sum first
            if lacking.any():
                self.row = start + int(np.argmax(lacking)) + 1
