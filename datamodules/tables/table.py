"""A table of finite numbers, read from any source and checked. Free of torch, so a bad table is refused early.

`check_table` is the only way in. It reads any source of `datamodules.tables.sources` in one pass and bounded
memory, looks at every cell, and either returns a `Table` of finite float64 numbers or raises one `TableError` that
says what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.settings.tables import MAX_ROWS
from datamodules.tables.cells import Column, FirstGap
from datamodules.tables.column_names import chosen_columns, identifiers
from datamodules.tables.refusals import MIN_ROWS, refuse_faults
from datamodules.tables.row_sample import RowSample
from datamodules.tables.sources import Source, TableError, open_source

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table", "TableError", "check_table", "read_only"]


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
    """

    inputs: np.ndarray
    target: np.ndarray | None
    feature_names: tuple[str, ...]
    target_name: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    def take(self, rows: np.ndarray) -> Table:
        """The given rows `[wanted]` (positions) as a table of their own."""
        target = None if self.target is None else read_only(self.target[rows])
        return Table(
            read_only(self.inputs[rows]), target, self.feature_names, self.target_name, self.renamed, self.notes
        )


_last_read: tuple[Any, Table] | None = None
"""The last file read, so that a check before training and the reading for training are one."""


def check_table(
    path: str | Path | pd.DataFrame,
    target: str | None = None,
    features: Sequence[str] | str | None = None,
    *,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
) -> Table:
    """Read a table and check every cell that will be used.

    Args:
        path: a `.csv`, `.tsv`, `.tab` or `.txt` file (each also with `.gz`), a `.parquet` or `.pq` file,
            `sklearn:NAME`, or a pandas DataFrame.
        target: name of the column to explain, or None (an autoencoder needs none).
        features: names of the columns to explain it by, or None for all others. Names may be given as they stand
            in the source or as `identifiers` makes them.
        max_rows: largest number of rows. A longer table is drawn from at random, without replacement and in its
            own order; all of its rows are still read and checked, in memory that this bounds.
        seed: random seed for the rows that are drawn.

    Returns:
        The table, its arrays read-only.

    Raises:
        TableError: the source cannot be read; a name is unknown or stands twice; the target is a feature; a cell
            is missing, not finite, text, a date or an integer beyond 2^53; a column is constant or of a scale
            that single precision cannot hold; or there are fewer than `MIN_ROWS` rows.
    """
    global _last_read
    if isinstance(features, str):
        features = [features]
    if max_rows < MIN_ROWS:
        raise TableError(f"max_rows={max_rows} leaves too few rows: give at least {MIN_ROWS}.")
    source = open_source(path)
    wanted = None if features is None else tuple(map(str, features))
    key = (source.identity, target, wanted, max_rows, seed)
    if source.identity is not None and _last_read is not None and _last_read[0] == key:
        return _last_read[1]
    table = _read(source, target, wanted, max_rows, seed)
    if source.identity is not None:
        _last_read = (key, table)
    return table


def _read(source: Source, target: str | None, features: tuple[str, ...] | None, max_rows: int, seed: int) -> Table:
    """Read, check and sample a table in one pass."""
    names = identifiers(source.names)
    positions = chosen_columns(source, names, target, features)
    columns = [Column(source.names[position]) for position in positions]
    sample = RowSample(len(positions), max_rows, np.random.default_rng([seed, 0x7AB1E]))
    gap = FirstGap()
    for batch in source.batches(positions):
        start = sample.seen
        values = np.empty((len(batch[0]), len(batch)))
        for index, (column, cells) in enumerate(zip(columns, batch, strict=True)):
            values[:, index] = column.read(cells, start)
        gap.add(values, start)
        sample.add(values)
    refuse_faults(source, columns, sample.seen, gap)

    kept = sample.rows()
    feature_count = len(positions) - (target is not None)
    used = {source.names[position]: names[position] for position in positions}
    renamed = {before: after for before, after in used.items() if before != after}
    notes = [f"column {before!r} is called {after} in equations" for before, after in renamed.items()]
    if len(kept) < sample.seen:
        notes.append(
            f"{len(kept):,} of the {sample.seen:,} rows of {source.label} drawn at random (max_rows={max_rows})"
        )
    return Table(
        inputs=read_only(np.ascontiguousarray(kept[:, :feature_count])),
        target=None if target is None else read_only(kept[:, -1].copy()),
        feature_names=tuple(names[position] for position in positions[:feature_count]),
        target_name=None if target is None else names[positions[-1]],
        renamed=renamed,
        notes=tuple(notes),
    )


def read_only(values: np.ndarray) -> np.ndarray:
    """The same array, which cannot be written to any more."""
    values.setflags(write=False)
    return values
