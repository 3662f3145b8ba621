"""A table of finite numbers, read from any source and checked. Free of torch, so a bad table is refused early.

`check_table` is the only way in. It reads any source of `datamodules.tables.sources` in one pass and bounded
memory, looks at every cell, and either returns a `Table` of finite float64 numbers, with a sentence for everything
that was done to them, or raises one `TableError` that says what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.settings.tables import MAX_ROWS
from datamodules.tables.opened import TableError
from datamodules.tables.refusals import MIN_ROWS, refuse_single_precision

if TYPE_CHECKING:
    import pandas as pd

    from datamodules.tables.reading import Reading

__all__ = ["Table", "TableError", "check_single_precision", "check_table", "every_row", "read_only"]


@dataclass(frozen=True)
class Table:
    """Finite numbers with names.

    Attributes:
        inputs: `[rows, features]` float64, read-only, in the table's own units.
        target: `[rows]` float64, read-only, or None where no target was asked for.
        feature_names: names of the features in equations, each `[A-Za-z_][A-Za-z0-9_]*`, no two alike.
        target_name: name of the target, or None.
        renamed: name in the source -> name here, for the columns whose names had to change.
        notes: sentences for the log that say what was done to the table.
        columns: names of the features as they stand in the source; empty where there is no source.
        target_column: name of the target as it stands in the source, or None.
        sigma: standard deviations of the target, `[rows]` float64, all above 0, read-only, or None.
        label: name of the source in sentences.
        rounded: names in the source of the columns with integers beyond 2^53, which float64 rounds.
    """

    inputs: np.ndarray
    target: np.ndarray | None
    feature_names: tuple[str, ...]
    target_name: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    target_column: str | None = None
    sigma: np.ndarray | None = None
    label: str = "the table"
    rounded: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    def take(self, rows: np.ndarray) -> Table:
        """The given rows `[wanted]` (positions) as a table of their own."""
        return replace(
            self,
            inputs=read_only(self.inputs[rows]),
            target=None if self.target is None else read_only(self.target[rows]),
            sigma=None if self.sigma is None else read_only(self.sigma[rows]),
        )


_last_read: tuple[Any, Table] | None = None
"""The last file read, so that a check before training and the reading for training are one."""


def check_table(
    path: str | Path | pd.DataFrame,
    target: str | None = None,
    features: Sequence[str] | str | None = None,
    *,
    sigma: str | None = None,
    max_rows: int = MAX_ROWS,
    min_rows: int = MIN_ROWS,
    seed: int = 0,
) -> Table:
    """Read a table and check every cell that will be used.

    Names may be given as they stand in the source, with or without the blanks around them, or as `identifiers`
    makes them. Columns that nobody named are left out, with a note, where they count the rows, hold text or are
    empty; features that do not vary, footers, and up to a quarter of the rows for lack of a cell, too.

    Args:
        path: file of text (CSV, TSV, white space, …, each also with `.gz`), Parquet or Excel; `-` for standard
            input, `sklearn:NAME`, or a pandas DataFrame.
        target: name of the column to explain, or None (an autoencoder needs none).
        features: names of the columns to explain it by, or None for all others.
        sigma: name of the column of the target's standard deviations, which is no feature then; None for none.
        max_rows: largest number of rows. A longer table is drawn from at random, without replacement and in its
            own order; all of its rows are still read and checked, in memory that this bounds.
        min_rows: smallest number of rows.
        seed: random seed for the rows that are drawn.

    Returns:
        The table, its arrays read-only.

    Raises:
        TableError: the source cannot be read, or in two ways; a name is unknown or stands twice; the target is a
            feature; a cell is not finite, text or a date; too many rows lack a cell; the target or every feature
            is constant; a standard deviation is not above 0; a column is beyond 1e300 or all below 1e-300; or
            there are fewer than `min_rows` rows.
    """
    global _last_read
    if isinstance(features, str):
        features = [features]
    if max_rows < min_rows:
        raise TableError(f"max_rows={max_rows} leaves too few rows: give at least {min_rows}.")
    from datamodules.tables.sources import open_source

    source = open_source(path)
    wanted = None if features is None else tuple(map(str, features))
    key = (source.identity, target, wanted, sigma, max_rows, min_rows, seed)
    if source.identity is not None and _last_read is not None and _last_read[0] == key:
        return _last_read[1]
    from datamodules.tables.reading import read

    reading = read(source, target, wanted, sigma, max_rows=max_rows, min_rows=min_rows, seed=seed)
    table = _table(reading, source.names, source.label)
    if source.identity is not None:
        _last_read = (key, table)
    return table


def every_row(path: str | Path | pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Some columns of a table as they stand: no row is left out, and none is drawn.

    Args:
        path: source of the table, as for `check_table`.
        columns: names of the columns, each once.

    Returns:
        Numbers of every row, NaN where a cell is missing. `[rows, columns]`

    Raises:
        TableError: the source cannot be read; a name is unknown or stands twice; a cell is text, a date or not
            finite.
    """
    from datamodules.tables.reading import read_every_row
    from datamodules.tables.sources import open_source

    return read_every_row(open_source(path), tuple(columns))


def check_single_precision(table: Table) -> None:
    """Refuse a table that networks cannot learn from, which compute in single precision; searches do not.

    Raises:
        TableError: a column is too large, too small or too narrow for it, or holds integers beyond 2^53.
    """
    columns = table.columns or table.feature_names
    for name, values in zip(columns, table.inputs.T, strict=True):
        refuse_single_precision(table.label, name, values, name in table.rounded)
    if table.target is not None:
        name = table.target_column or table.target_name or "target"
        refuse_single_precision(table.label, name, table.target, name in table.rounded)


def _table(reading: Reading, columns: Sequence[str], label: str) -> Table:
    """What was read as a table."""
    roles, values = reading.roles, reading.values
    features = [columns[position] for position in roles.features]
    target = None if roles.target is None else columns[roles.target]
    names = {columns[position]: reading.names[position] for position in roles.positions}
    count = len(roles.features)
    return Table(
        inputs=read_only(np.ascontiguousarray(values[:, :count])),
        target=None if target is None else read_only(values[:, count].copy()),
        feature_names=tuple(names[name] for name in features),
        target_name=None if target is None else names[target],
        renamed={own: name for own, name in names.items() if own != name},
        notes=reading.notes,
        columns=tuple(features),
        target_column=target,
        sigma=None if roles.sigma is None else read_only(values[:, -1].copy()),
        label=label,
        rounded=tuple(columns[position] for position in reading.rounded),
    )


def read_only(values: np.ndarray) -> np.ndarray:
    """The same array, which cannot be written to any more."""
    values.setflags(write=False)
    return values
