"""A table of numbers: checked, split, described. Free of torch, so that a bad table is refused before it is
imported.

`check_table` is the only way in. It reads any source of `datamodules.tables.sources` in one pass and bounded
memory, looks at every cell, and either returns a `Table` of finite float64 numbers or raises one `TableError`
that says what is wrong, where, and what to do.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datamodules.tables.sources import Source, TableError, open_source
from foundation.errors import near

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MAX_ROWS",
    "MIN_ROWS",
    "SCALINGS",
    "SPLITS",
    "Table",
    "TableError",
    "check_table",
    "identifiers",
    "input_statistics",
    "split_table",
]

MIN_ROWS = 10
"""Fewer rows cannot be split into rows to fit, to choose and to judge an equation."""
MAX_ROWS = 1_000_000
"""More rows are drawn from at random by default: nine columns of them take 72 MB."""
SPLITS = ("random", "paper")
SCALINGS = ("standard", "minmax", "none")

LARGEST = 1e18
"""Networks and searches compute in float32, whose largest number is 3.4e38: larger squares overflow."""
SMALLEST = 1e-18
"""A column that is all smaller than this has squares that vanish in float32."""
RESOLUTION = 1e-5
"""A column's range over its largest magnitude; float32 tells about 170 values apart in it."""
LARGEST_INTEGER = 2**53

_MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
_INTEGER = r"^[+-]?\d+$"
_DATE = re.compile(r"^\d{4}-\d{1,2}-\d{1,2}|^\d{1,2}[./]\d{1,2}[./]\d{2,4}|^\d{1,2}:\d{2}")
_NAMES_SHOWN = 40


@dataclass(frozen=True)
class Table:
    """Finite numbers with names.

    Attributes:
        inputs: `[rows, features]` float64, read-only, in the table's own units.
        target: `[rows]` float64, read-only, or None where no target was asked for.
        feature_names: Names for equations, each `[A-Za-z_][A-Za-z0-9_]*` and different from every other.
        target_name: The target's name, or None.
        renamed: Name in the source -> name here, for the columns whose names had to change.
        notes: What was done to the table, a sentence each, for the log.
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
        target = None if self.target is None else _frozen(self.target[rows])
        return Table(
            _frozen(self.inputs[rows]), target, self.feature_names, self.target_name, self.renamed, self.notes
        )


# ------------------------------------------------------------------------------------------ the way in

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
    """Reads a table and checks every cell that will be used.

    Args:
        path: A `.csv`, `.tsv`, `.tab` or `.txt` file (each also with `.gz`), a `.parquet` or `.pq` file,
            `sklearn:NAME`, or a pandas DataFrame.
        target: Name of the column to explain; None: there is none (an autoencoder needs none).
        features: Names of the columns to explain it by; None: all others. Both names may be given as they
        stand in
            the source or as `identifiers` makes them.
        max_rows: A longer table is drawn from at random, without replacement and in its own order. All of its
            rows are still read and checked, in memory that this bounds.
        seed: Decides which rows are drawn.

    Returns:
        The table, its arrays read-only.

    Raises:
        TableError: The source cannot be read; a name is unknown or stands twice; the target is a feature; a cell
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
    names = identifiers(source.names)
    positions = _choose(source, names, target, features)
    columns = [_Column(source.names[position]) for position in positions]
    sample = _Sample(len(positions), max_rows, np.random.default_rng([seed, 0x7AB1E]))
    gaps = _Gaps()
    for batch in source.batches(positions):
        start = sample.seen
        values = np.empty((len(batch[0]), len(batch)))
        for index, (column, cells) in enumerate(zip(columns, batch, strict=True)):
            values[:, index] = column.read(cells, start)
        gaps.add(values, start)
        sample.add(values)
    _refuse_faults(source, columns, sample.seen, gaps)

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
        inputs=_frozen(np.ascontiguousarray(kept[:, :feature_count])),
        target=None if target is None else _frozen(kept[:, -1].copy()),
        feature_names=tuple(names[position] for position in positions[:feature_count]),
        target_name=None if target is None else names[positions[-1]],
        renamed=renamed,
        notes=tuple(notes),
    )


def _frozen(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


# ----------------------------------------------------------------------------------------------- names


def identifiers(names: Sequence[str]) -> list[str]:
    """Names that an equation can hold, one for each column and no two alike.

    A Greek letter becomes its name, an accented letter its plain one, everything else that is not a letter, a
    digit or `_` becomes `_`; a name that begins with a digit gets `x` before it, a word of Python `_` behind
    it, an empty name is `column_N`. A name that is taken already gets `_2`, `_3`, … behind it; names that
    need no change are never changed for the sake of another.

    Args:
        names: Column names, any text.
    """
    plain = [_identifier(name, index) for index, name in enumerate(names)]
    taken = {after for before, after in zip(names, plain, strict=True) if before == after}
    result: list[str] = []
    for before, after in zip(names, plain, strict=True):
        name, number = after, 2
        while name in (taken if before != after else result):
            name, number = f"{after}_{number}", number + 1
        taken.add(name)
        result.append(name)
    return result


def _identifier(name: str, index: int) -> str:
    letters = []
    for letter in unicodedata.normalize("NFKD", name.strip()):
        if unicodedata.combining(letter):
            continue
        called = unicodedata.name(letter, "")
        greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)", called)
        if greek:
            letters.append(greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize())
        else:
            letters.append(letter if re.fullmatch(r"[A-Za-z0-9_]", letter) else "_")
    text = re.sub(r"__+", "_", "".join(letters)).strip("_") if name != "".join(letters) else name
    if not text:
        return f"column_{index + 1}"
    if text[0].isdigit():
        text = f"x{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


def _choose(source: Source, names: list[str], target: str | None, features: tuple[str, ...] | None) -> list[int]:
    """Positions of the features and, last, of the target."""
    target_at = None if target is None else _find(source, names, "target", str(target))
    if features is None:
        chosen = [position for position in range(len(names)) if position != target_at]
        _refuse_duplicates(source, chosen + ([] if target_at is None else [target_at]))
    else:
        chosen = [_find(source, names, "feature", name) for name in features]
    if not chosen:
        raise TableError(f"no feature is left to explain anything by in {source.label}: name at least one column.")
    twice = [names[position] for position in dict.fromkeys(chosen) if chosen.count(position) > 1]
    if twice:
        raise TableError(f"feature {twice[0]!r} is named more than once: name every feature once.")
    if target_at in chosen:
        raise TableError(
            f"target {target!r} is also a feature: take it out of the features, or explain another column."
        )
    return chosen if target_at is None else [*chosen, target_at]


def _find(source: Source, names: list[str], role: str, name: str) -> int:
    """Position of a column by its own name, else by the name that `identifiers` gave it."""
    found = [position for position, own in enumerate(source.names) if own == name]
    if not found:
        found = [position for position, made in enumerate(names) if made == name]
    if not found:
        allowed = source.names if len(source.names) <= _NAMES_SHOWN else source.names[:_NAMES_SHOWN]
        close = near(name, source.names)
        hint = close if close.startswith("did you mean") else f"its columns are {', '.join(allowed)}"
        raise TableError(
            f"{source.label} has no column {name!r} to be a {role}: {hint}{'' if hint[-1] == '?' else '.'}"
        )
    _refuse_duplicates(source, found)
    return found[0]


def _refuse_duplicates(source: Source, positions: Sequence[int]) -> None:
    names = [source.names[position] for position in positions]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        shown = ", ".join(map(repr, twice[:5]))
        raise TableError(
            f"{source.label} has more than one column called {shown}: give every column its own name."
        )


# ----------------------------------------------------------------------------------------------- cells


@dataclass
class _Fault:
    """Cells of one kind of fault in one column: how many, the first one's row (from 1) and its text."""

    count: int = 0
    row: int = 0
    text: str = ""

    def add(self, where: np.ndarray, start: int, cells: pa.Array) -> None:
        """Counts the cells `[batch rows]` (bool) of a batch that begins at row `start` (from 0)."""
        found = int(where.sum())
        if found and not self.count:
            first = int(np.argmax(where))
            self.row, self.text = start + first + 1, str(cells[first].as_py())[:40]
        self.count += found


class _Column:
    """Reads one column batch by batch and remembers what was wrong with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.infinite, self.wrong, self.integer = _Fault(), _Fault(), _Fault()
        self.kind = ""
        self.missing = 0
        self.low, self.high = np.inf, -np.inf

    def read(self, cells: pa.Array, start: int) -> np.ndarray:
        """Float64 `[batch rows]` of a batch that begins at row `start`; NaN where a cell is at fault."""
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


class _Gaps:
    """The first row (from 1) that lacks a cell in any column."""

    def __init__(self) -> None:
        self.row = 0

    def add(self, values: np.ndarray, start: int) -> None:
        """Looks through a batch `[batch rows, columns]` that begins at row `start`."""
        if not self.row and values.size:
            lacking = np.isnan(values.sum(axis=1)) & np.isnan(values).any(axis=1)  # the cheap sum first
            if lacking.any():
                self.row = start + int(np.argmax(lacking)) + 1


class _Sample:
    """At most `limit` rows of a stream, every row with equal chance (the smallest of uniform random keys).

    The keys are drawn row by row, so the choice does not depend on how the stream is cut into batches.
    """

    def __init__(self, columns: int, limit: int, rng: np.random.Generator) -> None:
        self.seen = 0
        self._limit, self._rng, self._bound = limit, rng, np.inf
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._held, self._columns = 0, columns

    def add(self, values: np.ndarray) -> None:
        """Offers a batch `[batch rows, columns]`."""
        keys = self._rng.random(len(values))
        order = np.arange(self.seen, self.seen + len(values))
        self.seen += len(values)
        if self.seen > self._limit and np.isfinite(self._bound):
            low = keys < self._bound
            keys, order, values = keys[low], order[low], values[low]
        self._parts.append((keys, order, values))
        self._held += len(keys)
        if self._held > 1.5 * self._limit + _PRUNE_ROWS:
            self._prune()

    def _prune(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, order, values = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        if len(keys) > self._limit:
            smallest = np.argpartition(keys, self._limit - 1)[: self._limit]
            keys, order, values = keys[smallest], order[smallest], values[smallest]
            self._bound = float(keys.max())
        self._parts, self._held = [(keys, order, values)], len(keys)
        return keys, order, values

    def rows(self) -> np.ndarray:
        """The rows kept `[rows, columns]`, in the order of the stream."""
        if not self._parts:
            return np.empty((0, self._columns))
        _, order, values = self._prune()
        return values if np.all(order[1:] > order[:-1]) else values[np.argsort(order)]


_PRUNE_ROWS = 1 << 16


# ---------------------------------------------------------------------------------------------- faults


def _refuse_faults(source: Source, columns: list[_Column], rows: int, gaps: _Gaps) -> None:
    """Raises for the first kind of fault there is, the coarsest first."""
    label = source.label
    if rows == 0:
        raise TableError(
            f"{label} has column names but no rows: a table needs at least {MIN_ROWS} rows of numbers."
        )
    _refuse_wrong(label, columns)
    _refuse_missing(label, columns, rows, gaps)
    for column in columns:
        if column.infinite.count:
            fault = column.infinite
            raise TableError(
                f"column {column.name!r} of {label} has {fault.count:,} cell(s) that are not finite (the "
                "first is "
                f"{fault.text!r} in data row {fault.row:,}): take these rows out or mend them."
            )
    for column in columns:
        if column.integer.count:
            fault = column.integer
            raise TableError(
                f"column {column.name!r} of {label} has integers beyond 2^53, which floating point cannot "
                "hold exactly "
                f"({fault.text} in data row {fault.row:,}): leave it out if it is an identifier, or divide "
                "it."
            )
    if rows < MIN_ROWS:
        raise TableError(
            f"{label} has only {rows} row(s): give at least {MIN_ROWS} rows to fit, choose and test by."
        )
    _refuse_constant(label, columns)
    for column in columns:
        _refuse_scale(label, column)


def _refuse_wrong(label: str, columns: list[_Column]) -> None:
    """Text, dates and the like."""
    wrong = [column for column in columns if column.wrong.count]
    if not wrong:
        return
    column, fault = wrong[0], wrong[0].wrong
    what = f"{fault.text!r} in data row {fault.row:,}"
    others = f" (so do {len(wrong) - 1} more columns)" if len(wrong) > 1 else ""
    if column.kind == "dates" or _DATE.match(fault.text):
        raise TableError(
            f"column {column.name!r} of {label} holds dates or times ({what}){others}: turn them into a "
            "number, such as days "
            f"since the first, or leave the column out{_without(columns, wrong)}."
        )
    if re.fullmatch(r"[+-]?\d[\d.]*,\d+|[+-]?\d{1,3}(,\d{3})+(\.\d+)?", fault.text):
        raise TableError(
            f"column {column.name!r} of {label} has numbers with a comma ({what}){others}: write them with a "
            "decimal point and no "
            "thousands mark."
        )
    kind = f"cells of type {column.kind}" if column.kind else "text"
    raise TableError(
        f"column {column.name!r} of {label} holds {kind} ({what}, {fault.count:,} in all){others}: make it "
        "numbers, or leave it "
        f"out{_without(columns, wrong)}."
    )


def _refuse_missing(label: str, columns: list[_Column], rows: int, gaps: _Gaps) -> None:
    lacking = [column for column in columns if column.missing]
    if not lacking:
        return
    total = sum(column.missing for column in lacking)
    which = ", ".join(f"{column.name!r} ({column.missing:,})" for column in lacking[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    empty = [column for column in lacking if column.missing == rows]
    advice = _without(columns, empty) if empty else ""
    raise TableError(
        f"{total:,} cell(s) of {label} are missing, in column {which}{more}, the first in data row "
        f"{gaps.row:,}: fill them in, or "
        f"take out these rows or columns{advice}."
    )


def _refuse_constant(label: str, columns: list[_Column]) -> None:
    constant = [column for column in columns if column.low == column.high]
    if not constant:
        return
    column = constant[0]
    others = f" (so are {len(constant) - 1} more columns)" if len(constant) > 1 else ""
    raise TableError(
        f"column {column.name!r} of {label} is {column.low:g} in every row{others}, so it can neither "
        "explain nor be explained: "
        f"leave it out{_without(columns, constant)}."
    )


def _refuse_scale(label: str, column: _Column) -> None:
    largest = max(-column.low, column.high)
    if largest > LARGEST:
        raise TableError(
            f"column {column.name!r} of {label} reaches {largest:.3g}, and magnitudes above {LARGEST:g} "
            "overflow in single precision "
            "when squared: express it in a larger unit."
        )
    if largest < SMALLEST:
        raise TableError(
            f"column {column.name!r} of {label} never exceeds {largest:.3g}, and magnitudes below "
            f"{SMALLEST:g} vanish in single "
            "precision when squared: express it in a smaller unit."
        )
    spread = column.high - column.low
    if spread < RESOLUTION * largest:
        raise TableError(
            f"column {column.name!r} of {label} varies by only {spread:.3g} around {column.low:.10g}, too "
            "little for single precision: "
            "subtract a constant from it first."
        )


def _without(columns: list[_Column], bad: list[_Column]) -> str:
    """The features that would be left, ready to be copied, unless they are too many to read."""
    left = [column.name for column in columns if column not in bad]
    if not left or len(left) > _NAMES_SHOWN:
        return ""
    return f" (the others are {', '.join(left)})"


# -------------------------------------------------------------------------------- split and statistics


def split_table(
    table: Table,
    *,
    split: str = "random",
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> dict[str, Table]:
    """Cuts a table into rows to train on, rows to choose by and rows to judge by.

    Args:
        table: At least `MIN_ROWS` rows.
        split: `random`: every row is in exactly one part. `paper`: every row is in every part, as in work
        that
            reports the error on the rows that were fitted.
        seed: Decides which rows go where; the same for the same number of rows.
        validation_fraction: Share of the rows to choose by.
        test_fraction: Share of the rows to judge by.

    Returns:
        `train`, `validation` and `test`, the rows of each in the table's order, and `all`, the table itself.
        A part has at least two rows, since R2 needs them.

    Raises:
        TableError: An unknown split, or fractions that leave nothing to train on.
    """
    if split not in SPLITS:
        raise TableError(f"split={split!r} is unknown: {near(str(split), SPLITS)}")
    if split == "paper":
        return dict.fromkeys(("train", "validation", "test", "all"), table)
    fractions = (validation_fraction, test_fraction)
    if not (min(fractions) > 0 and sum(fractions) < 1):
        raise TableError(
            f"validation_fraction={validation_fraction} and test_fraction={test_fraction} leave no rows for "
            "one of the parts: "
            "both must be above 0 and their sum below 1."
        )
    rows = len(table)
    validation, test = (max(2, round(fraction * rows)) for fraction in fractions)
    if rows - validation - test < 2:
        raise TableError(
            f"{rows} rows with validation_fraction={validation_fraction} and test_fraction={test_fraction} "
            "leave fewer than two to "
            "train on: lower the fractions or give more rows."
        )
    order = np.random.default_rng(seed).permutation(rows)
    parts = {
        "test": order[:test],
        "validation": order[test : test + validation],
        "train": order[test + validation :],
    }
    return {"all": table, **{name: table.take(np.sort(chosen)) for name, chosen in parts.items()}}


def input_statistics(values: np.ndarray, scaling: str = "standard") -> dict[str, list[float]]:
    """How to scale each column: `scaled = (value - offset) / scale`.

    Args:
        values: `[rows, columns]`, finite.
        scaling: `standard`: mean and standard deviation (of the population). `minmax`: to 0 … 1.
            `none`: unchanged.

    Returns:
        `offset` and `scale`, each `[columns]`; a column that does not vary in these rows has scale 1.

    Raises:
        TableError: An unknown scaling.
    """
    if scaling not in SCALINGS:
        raise TableError(f"scaling={scaling!r} is unknown: {near(str(scaling), SCALINGS)}")
    columns = values.shape[1]
    if scaling == "none":
        return {"offset": [0.0] * columns, "scale": [1.0] * columns}
    if scaling == "standard":
        offset, scale = values.mean(axis=0), values.std(axis=0)
    else:
        offset = values.min(axis=0)
        scale = values.max(axis=0) - offset
    constant = values.min(axis=0) == values.max(axis=0)  # whose deviation can round to above 0
    return {"offset": offset.tolist(), "scale": np.where(constant, 1.0, scale).tolist()}
