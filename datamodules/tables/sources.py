"""Sources of tables: text files, Parquet files, data frames and the toy sets of scikit-learn.

Every source gives its column names at once and then its cells batch by batch, as Arrow arrays, so that a file
of any length is read in bounded memory. Nothing here imports torch, and nothing here judges the cells:
`datamodules.tables.table` does.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from foundation.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

TEXT_SUFFIXES: dict[str, str | None] = {".csv": None, ".txt": None, ".tsv": "\t", ".tab": "\t"}
"""Suffix -> delimiter; None: the one of `DELIMITERS` that splits the header into the most names."""
PARQUET_SUFFIXES = (".parquet", ".pq")
DELIMITERS = (",", ";", "\t", "|")
ALLOWED_FILES = ".csv, .tsv, .tab, .txt (each also with .gz), .parquet or .pq"

SKLEARN_PREFIX = "sklearn:"
SKLEARN_SETS = ("breast_cancer", "california_housing", "diabetes", "digits", "iris", "linnerud", "wine")

CALIFORNIA_FILE = Path(__file__).with_name("california_housing.npz")
CALIFORNIA_FEATURES = (
    "MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude",
)  # fmt: skip
CALIFORNIA_TARGET = "MedHouseVal"

_HEAD_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 22
_BATCH_ROWS = 1 << 16


class TableError(UserError):
    """A fault of a table, as one sentence for its user."""


@dataclass(frozen=True)
class Source:
    """A table that has been opened but not read.

    Attributes:
        label: name of the table in sentences, for example `'houses.csv'`, quotes included.
        names: column names as the source has them; they may repeat and may be any text.
        batches: function from column positions to batches, each one Arrow array `[batch rows]` a position.
        identity: facts that tell whether a file has changed since it was read; None if it is never the same.
    """

    label: str
    names: list[str]
    batches: Callable[[Sequence[int]], Iterator[list[pa.Array]]]
    identity: tuple[Any, ...] | None = None


def open_source(source: str | Path | pd.DataFrame) -> Source:
    """Open a file, a pandas DataFrame or a scikit-learn set.

    Args:
        source: a path (`.csv`, `.tsv`, `.tab`, `.txt`, any of these with `.gz`, `.parquet`, `.pq`), a DataFrame,
            or `sklearn:NAME` with a name of `SKLEARN_SETS`.

    Raises:
        TableError: the source is none of these, or cannot be opened.
    """
    if not isinstance(source, str | Path):
        return _open_frame(source)
    if str(source).startswith(SKLEARN_PREFIX):
        return _open_sklearn(str(source))
    return _open_file(Path(source).expanduser())


def california_arrays() -> tuple[np.ndarray, np.ndarray]:
    """California Housing, bit for bit as scikit-learn's `fetch_california_housing` returns it, without a download.

    The shipped file holds the integers of the 1990 census (origin: `CALIFORNIA.md`); the averages are divided out
    here in the order in which scikit-learn does it. Decimals are stored as integers too: an integer divided by a
    power of ten is rounded once, just as the decimal text is when it is read, so the two are equal.

    Returns:
        Inputs `[20640, 8]` float64 in the order of `CALIFORNIA_FEATURES` (tens of thousands of dollars, years,
        rooms and bedrooms a household, people, people a household, degrees, degrees), and target `[20640]`
        float64, the median house value in units of 100,000 dollars.
    """
    with np.load(CALIFORNIA_FILE, allow_pickle=False) as stored:
        census = {name: stored[name].astype(np.float64) for name in stored.files}
    households = census["households"]
    columns = (
        census["income"] / 1e4,
        census["age"],
        census["rooms"] / households,
        census["bedrooms"] / households,
        census["population"],
        census["population"] / households,
        census["latitude"] / 1e2,
        census["longitude"] / 1e2,
    )
    return np.stack(columns, axis=1), census["value"] / 1e5


# ----------------------------------------------------------------------------------------------- files


def _open_file(path: Path) -> Source:
    """Open a file by its suffix."""
    label = repr(path.name or str(path))
    if path.is_dir():
        raise TableError(f"{str(path)!r} is a directory, not a table: give one file ({ALLOWED_FILES}).")
    if not path.exists():
        raise TableError(f"there is no file {str(path)!r}{_near_files(path)}: give a table that exists.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = bool(suffixes) and suffixes[-1] == ".gz"
    suffix = (suffixes[:-1] if compressed else suffixes)[-1:] or [""]
    is_text, is_parquet = suffix[0] in TEXT_SUFFIXES, suffix[0] in PARQUET_SUFFIXES and not compressed
    if not (is_text or is_parquet):
        raise TableError(f"{label} is not of a kind that can be read: give {ALLOWED_FILES}, or sklearn:NAME.")
    try:
        status = path.stat()
        if status.st_size == 0:
            raise TableError(f"{label} is empty: a table needs a line of column names and rows of numbers.")
        identity = (str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)
        return (
            _open_text(path, label, TEXT_SUFFIXES[suffix[0]], compressed, identity)
            if is_text
            else _open_parquet(path, label, identity)
        )
    except PermissionError as error:
        raise TableError(f"{label} may not be read by this user: change its permissions.") from error
    except (OSError, EOFError) as error:
        raise TableError(f"{label} could not be read ({_short(error)}): is the file whole?") from error


def _near_files(path: Path) -> str:
    """Words that say which files beside a missing one are called nearly so."""
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f" (nor a directory {str(path.parent)!r})"
    close = difflib.get_close_matches(path.name, beside, n=3)
    return f" (near ones: {', '.join(map(repr, close))})" if close else ""


def _open_text(
    path: Path, label: str, delimiter: str | None, compressed: bool, identity: tuple[Any, ...]
) -> Source:
    """Open delimited text: checks its first megabyte and reads the header."""
    with gzip.open(path) if compressed else path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    names, delimiter = _header(_decode_head(head, label), label, delimiter)

    def batches(positions: Sequence[int]) -> Iterator[list[pa.Array]]:
        yield from _text_batches(path, label, len(names), delimiter, positions)

    return Source(label, names, batches, identity)


def _decode_head(head: bytes, label: str) -> str:
    """The beginning of a text file, or a sentence that says why it is none."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise TableError(f"{label} is UTF-16 text: save it as UTF-8 and try again.")
    if b"\x00" in head:
        raise TableError(f"{label} holds binary data, not text: give {ALLOWED_FILES} of the kind its name says.")
    try:
        return io.TextIOWrapper(io.BytesIO(head), encoding="utf-8-sig", newline="").read()
    except UnicodeDecodeError as error:
        if len(head) == _HEAD_BYTES and error.start > len(head) - 4:  # a character cut in two by our own limit
            return head[: error.start].decode("utf-8-sig")
        raise TableError(
            f"{label} is not UTF-8 text (byte {error.start}): save it as UTF-8 and try again."
        ) from error


def _header(text: str, label: str, delimiter: str | None) -> tuple[list[str], str]:
    """Column names and delimiter from the beginning of a text file."""
    candidates = DELIMITERS if delimiter is None else (delimiter,)
    lines = text.lstrip("\r\n")
    if not lines.strip():
        raise TableError(
            f"{label} holds only blank space: a table needs a line of column names and rows of numbers."
        )
    try:
        rows = {mark: next(csv.reader(io.StringIO(lines, newline=""), delimiter=mark)) for mark in candidates}
    except csv.Error as error:
        raise TableError(f"the first line of {label} is no list of column names ({_short(error)}).") from error
    best = max(candidates, key=lambda mark: len(rows[mark]))  # the first of equals: the comma
    names = [name.strip() for name in rows[best]]
    if all(_is_number(name) for name in names):
        raise TableError(
            f"the first line of {label} holds only numbers ({', '.join(names[:3])}): put a line of column "
            "names above."
        )
    return names, best


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text_batches(
    path: Path, label: str, columns: int, delimiter: str, positions: Sequence[int]
) -> Iterator[list[pa.Array]]:
    """Cells of the wanted columns, as text: what they mean is decided per column, not per block of a file."""
    from pyarrow import csv as arrow_csv

    names = [str(position) for position in range(columns)]
    wanted = [str(position) for position in positions]
    try:
        reader = arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows_after_names=1, block_size=_BLOCK_BYTES, use_threads=True
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        for batch in reader:
            yield [batch.column(index) for index in range(len(wanted))]
    except pa.ArrowInvalid as error:
        message = _short(error)
        if "Empty CSV" in message:
            return
        if "UTF8" in message or "UTF-8" in message:
            raise TableError(f"{label} is not UTF-8 text: save it as UTF-8 and try again.") from error
        raise TableError(f"{label} is not a regular table ({message}): give every row {columns} cells.") from error


def _open_parquet(path: Path, label: str, identity: tuple[Any, ...]) -> Source:
    """Open a Parquet file by its footer."""
    from pyarrow import parquet

    try:
        names = list(parquet.ParquetFile(path).schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{label} is not a whole Parquet file ({_short(error)}): write it again.") from error
    if not names:
        raise TableError(f"{label} has no columns: give a table with at least one column of numbers.")

    def batches(positions: Sequence[int]) -> Iterator[list[pa.Array]]:
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=[names[position] for position in positions]):
                    yield [batch.column(names[position]) for position in positions]
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{label} is not a whole Parquet file ({_short(error)}): write it again.") from error

    return Source(label, names, batches, identity)


# --------------------------------------------------------------------------------- frames and toy sets


def _open_frame(frame: Any) -> Source:
    """Open a pandas DataFrame."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TableError(
            f"a table is a path, sklearn:NAME or a pandas DataFrame, not a {type(frame).__name__}: give one "
            "of these."
        )
    names = [str(name) for name in frame.columns]
    if not names:
        raise TableError("the data frame has no columns: give a table with at least one column of numbers.")

    def batches(positions: Sequence[int]) -> Iterator[list[pa.Array]]:
        for start in range(0, len(frame), _BATCH_ROWS):
            part = frame.iloc[start : start + _BATCH_ROWS]
            yield [_arrow_column(part.iloc[:, position]) for position in positions]

    return Source("the data frame", names, batches)


def _arrow_column(series: pd.Series) -> pa.Array:
    """A column of a data frame; cells of mixed kinds become text, so that the odd one can be named."""
    try:
        column = pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        missing = series.isna()
        cells = [None if gone else str(cell) for cell, gone in zip(series, missing, strict=True)]
        return pa.array(cells, type=pa.string())
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _open_sklearn(text: str) -> Source:
    """Open a toy set of scikit-learn by its name; the targets are columns like the others."""
    name = text.removeprefix(SKLEARN_PREFIX)
    if name not in SKLEARN_SETS:
        raise TableError(f"scikit-learn has no toy set {name!r}: choose one of {', '.join(SKLEARN_SETS)}.")
    if name == "california_housing":
        inputs, target = california_arrays()
        names = [*CALIFORNIA_FEATURES, CALIFORNIA_TARGET]
    else:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{name}")()
        inputs, target = np.asarray(bunch.data, dtype=np.float64), np.asarray(bunch.target, dtype=np.float64)
        targets = list(bunch.target_names) if target.ndim == 2 else ["target"]
        names = [*map(str, bunch.feature_names), *targets]
    values = np.column_stack([inputs, target])

    def batches(positions: Sequence[int]) -> Iterator[list[pa.Array]]:
        yield [pa.array(values[:, position]) for position in positions]

    return Source(repr(text), names, batches, identity=(text,))


def _short(error: BaseException) -> str:
    """The first line of another library's message, cut to a length that stays one sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160].rstrip(".: ")
