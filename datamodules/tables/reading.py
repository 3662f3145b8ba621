"""A table read in one pass: every cell looked at, and what cannot be used left out with a sentence, or refused.

Nothing is left out in silence. What is left out: a first column that counts the rows, columns of text or without
cells that nobody named, features that do not vary, footers, and rows that lack a cell, unless they are many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from datamodules.tables.cells import Column, has_comma, is_text
from datamodules.tables.column_names import Roles, chosen_columns, identifiers
from datamodules.tables.numerals import decimal_mark
from datamodules.tables.opened import Source
from datamodules.tables.refusals import (
    MIN_ROWS,
    looks_like_date,
    refuse_ambiguous,
    refuse_cells,
    refuse_constant,
    refuse_few_rows,
    refuse_long,
    refuse_missing,
    refuse_no_features,
    refuse_sigma,
    refuse_size,
    refuse_target,
)
from datamodules.tables.row_counters import counts_rows, is_unnamed
from datamodules.tables.row_sample import RowSample

__all__ = ["Reading", "read", "read_every_row"]

_ALL_ROWS = 10**12

_LARGEST_GAP = 0.25
"""Largest share of rows that may lack a cell and are left out."""
_LOOKED_AT = 20_000
"""Number of rows whose text decides the decimal mark of a column."""
_FOOTERS = 3
"""Largest number of rows at the end that may hold text, such as a total, and are left out."""


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        roles: positions of the columns that are used.
        values: finite numbers, a column for each of `roles.positions`. `[rows, columns]`
        names: name of every column of the source in equations.
        notes: sentences that say what was done.
        rounded: positions of the columns with integers that float64 rounds.
    """

    roles: Roles
    values: np.ndarray
    names: list[str]
    notes: tuple[str, ...]
    rounded: tuple[int, ...]


def read(
    source: Source,
    target: str | None,
    features: tuple[str, ...] | None,
    sigma: str | None,
    *,
    max_rows: int,
    min_rows: int = MIN_ROWS,
    seed: int,
) -> Reading:
    """Read, check and sample a table.

    Args:
        source: the table, opened.
        target: name of the column to explain, None for none.
        features: names of the columns to explain it by, None for all others.
        sigma: name of the column of the target's standard deviations, None for none.
        max_rows: largest number of rows.
        min_rows: smallest number of rows.
        seed: random seed for the rows that are drawn.

    Raises:
        TableError: see `datamodules.tables.table.check_table`.
    """
    names = identifiers(source.names)
    roles = chosen_columns(source, names, target, features, sigma)
    scan = _Scan(source, roles, named=features is not None)
    rows = scan.read(max_rows, np.random.default_rng([seed, 0x7AB1E]))
    notes: list[str] = []
    drawn = len(rows)
    rows = scan.without_footer(rows, notes)
    roles = scan.without_unusable(notes)
    values = scan.whole_rows(scan.columns_of(rows, roles), roles, notes, min_rows)
    if drawn < scan.rows:
        notes.append(
            f"{drawn:,} of the {scan.rows:,} rows of {source.label} drawn at random (max_rows={max_rows})"
        )
    roles, values = _varying(source, roles, values, notes)
    used = {source.names[position]: names[position] for position in roles.positions}
    notes += [f"column {own!r} is called {name} in equations" for own, name in used.items() if own != name]
    notes += _notations(scan.columns[position] for position in roles.positions)
    rounded = tuple(position for position in roles.positions if scan.columns[position].integer.count)
    notes += [
        f"column {source.names[position]!r} has integers beyond 2^53, which are rounded to 16 digits"
        for position in rounded
    ]
    return Reading(roles, values, names, (*source.notes, *notes), rounded)


def read_every_row(source: Source, columns: tuple[str, ...]) -> np.ndarray:
    """Some columns of a table as they stand, for what needs one answer a row.

    Args:
        source: the table, opened.
        columns: names of the columns.

    Returns:
        Every row, NaN where a cell is missing. `[rows, columns]`

    Raises:
        TableError: a name is unknown or stands twice, or a cell is text, a date or not finite.
    """
    roles = chosen_columns(source, identifiers(source.names), None, columns, None)
    scan = _Scan(source, roles, named=True)
    rows = scan.read(_ALL_ROWS, np.random.default_rng(0))
    refuse_cells(source.label, list(scan.columns.values()))
    return rows


class _Scan:
    """One pass over a source."""

    def __init__(self, source: Source, roles: Roles, named: bool) -> None:
        self.source, self.roles, self.named = source, roles, named
        self.columns = {position: Column(source.names[position]) for position in roles.positions}
        self.counter = False
        self.rows = 0

    def read(self, max_rows: int, rng: np.random.Generator) -> np.ndarray:
        """Look at every cell; the rows kept. `[kept rows, columns]`"""
        positions = self.roles.positions
        sample = RowSample(len(positions), max_rows, rng)
        for batch in self.source.batches(positions):
            start = sample.seen
            if not start:
                self._decide_marks(batch)
            values = np.empty((len(batch[0]), len(batch)))
            for index, (position, cells) in enumerate(zip(positions, batch, strict=True)):
                values[:, index] = self.columns[position].read(cells, start)
            if not start and len(values):
                self._find_counter(values)
            sample.add(values)
            refuse_long(self.source.label, min(sample.seen, max_rows), len(positions))
        self.rows = sample.seen
        refuse_few_rows(self.source.label, self.rows, 1)
        return sample.rows()

    def _decide_marks(self, batch: Sequence[pa.Array]) -> None:
        """Decide the decimal mark of every column of text, by its first rows and by the rest of the table."""
        for column, cells in zip(self.columns.values(), batch, strict=True):
            if not is_text(cells) or not (self.source.decimal == "," or has_comma(cells)):
                continue
            texts = [text for text in cells[:_LOOKED_AT].to_pylist() if text]
            mark = decimal_mark(texts, self.source.decimal)
            if mark is None:
                refuse_ambiguous(self.source.label, column.name, texts)
            column.decimal = mark or "."

    def _find_counter(self, values: np.ndarray) -> None:
        """Find out, from the first rows, whether the first column numbers the rows."""
        roles = self.roles
        if not self.named and roles.features[0] == 0 and len(roles.features) > 1:
            first = values[:, 0]
            if self.source.typed_by_hand:
                last = first[-_FOOTERS:]
                first = first[: len(first) - int(np.isnan(last).sum())]  # without a footer
            self.counter = counts_rows(self.source.names[0], first)

    def without_unusable(self, notes: list[str]) -> Roles:
        """The roles without columns that cannot be features and that nobody named; the others have no faults."""
        left, label = [], self.source.label
        for position in self.roles.features:
            column = self.columns[position]
            name = "the first column, which has no name," if is_unnamed(column.name) else f"column {column.name!r}"
            if position == 0 and self.counter:
                notes.append(f"{name} only counts the rows and is left out")
            elif not self.named and column.holds_text:
                what = "dates or times" if looks_like_date(column) else "text"
                notes.append(f"{name} holds {what} ({column.wrong.text!r}, …) and is left out")
            elif not self.named and column.is_empty:
                called = f"column {column.name!r}" if column.name else f"column {position + 1}, which has no name,"
                notes.append(f"{called} is empty and is left out")
            else:
                left.append(position)
        roles = Roles(tuple(left), self.roles.target, self.roles.sigma)
        used = [self.columns[position] for position in roles.positions]
        if not left:
            refuse_no_features(label, list(self.columns.values()), used)
        refuse_cells(label, used)
        return roles

    def without_footer(self, rows: np.ndarray, notes: list[str]) -> np.ndarray:
        """The rows kept `[kept rows, columns]` without those at the end with text in a first column of numbers."""
        first = self.columns.get(0)
        if not self.source.typed_by_hand or first is None or not first.wrong.count or first.holds_text:
            return rows
        if first.wrong.row <= self.rows - _FOOTERS or looks_like_date(first):
            return rows
        if any(0 < column.wrong.row < first.wrong.row for column in self.columns.values()):
            return rows
        notes.append(
            f"data row {first.wrong.row:,} of {self.source.label} and what follows is a footer "
            f"({first.wrong.text!r}) and is left out"
        )
        for column in self.columns.values():
            column.wrong.count = 0
        footer = np.isnan(rows[-_FOOTERS:, self.roles.positions.index(0)])
        return rows[: len(rows) - len(footer) + int(np.argmax(footer))] if footer.any() else rows

    def columns_of(self, rows: np.ndarray, roles: Roles) -> np.ndarray:
        """The columns of the rows that are still used."""
        if roles == self.roles:
            return rows
        index = {position: number for number, position in enumerate(self.roles.positions)}
        return rows[:, [index[position] for position in roles.positions]]

    def whole_rows(self, values: np.ndarray, roles: Roles, notes: list[str], min_rows: int) -> np.ndarray:
        """The rows that lack no cell."""
        label = self.source.label
        whole = ~np.isnan(values.sum(axis=1)) | ~np.isnan(values).any(axis=1)  # the cheap sum first
        lacking = len(values) - int(whole.sum())
        if lacking:
            used = [self.columns[position] for position in roles.positions]
            told = sum(column.missing.count for column in used)
            if told and (lacking > _LARGEST_GAP * len(values) or len(values) - lacking < min_rows):
                refuse_missing(label, used)
            if told:
                notes.append(f"{lacking:,} of {len(values):,} rows of {label} lack a cell and are left out")
            values = values[whole]
        refuse_few_rows(label, len(values), min_rows)
        return values


def _notations(columns: Iterable[Column]) -> list[str]:
    """Sentences that say how numbers are written, one for each way."""
    found: dict[str, list[str]] = {}
    for column in columns:
        for notation in sorted(column.notations):
            found.setdefault(notation, []).append(column.name)
    return [
        f"numbers with {notation} are read in column {', '.join(map(repr, names[:5]))}"
        + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        for notation, names in found.items()
    ]


def _varying(source: Source, roles: Roles, values: np.ndarray, notes: list[str]) -> tuple[Roles, np.ndarray]:
    """The roles and the columns `[rows, columns]` without features that do not vary."""
    label, positions = source.label, roles.positions
    low, high = values.min(axis=0), values.max(axis=0)
    at = {position: number for number, position in enumerate(positions)}
    constant = [position for position in roles.features if low[at[position]] == high[at[position]]]
    if constant:
        shown = ", ".join(f"{source.names[position]!r} ({low[at[position]]:g})" for position in constant[:5])
        more = f" and {len(constant) - 5} more" if len(constant) > 5 else ""
        notes.append(f"the same number stands in every row of column {shown}{more}, which is left out")
        roles = Roles(
            tuple(position for position in roles.features if position not in constant), roles.target, roles.sigma
        )
        if not roles.features:
            refuse_constant(label, [source.names[position] for position in constant])
        values = values[:, [at[position] for position in roles.positions]]
    for number, position in enumerate(roles.positions):
        refuse_size(label, source.names[position], values[:, number])
        if position == roles.target:
            refuse_target(label, source.names[position], values[:, number])
        if position == roles.sigma:
            refuse_sigma(label, source.names[position], values[:, number])
    return roles, values
