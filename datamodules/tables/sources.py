"""Sources of tables: files, data frames and the toy sets of scikit-learn.

Every source gives its column names at once and then its cells batch by batch, as Arrow arrays, so that a file
of any length is read in bounded memory. Nothing here imports torch, and nothing here judges the cells:
`datamodules.tables.reading` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from datamodules.tables.files import open_file
from datamodules.tables.opened import Source, TableError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SKLEARN_PREFIX", "SKLEARN_SETS", "TableError", "california_arrays", "open_source"]

SKLEARN_PREFIX = "sklearn:"
SKLEARN_SETS = ("breast_cancer", "california_housing", "diabetes", "digits", "iris", "linnerud", "wine")

CALIFORNIA_FILE = Path(__file__).with_name("california_housing.npz")
CALIFORNIA_FEATURES = (
    "MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude",
)  # fmt: skip
CALIFORNIA_TARGET = "MedHouseVal"

_BATCH_ROWS = 1 << 16
_MOST_COLUMNS = 50_000  # looking at the cells of so many takes ten seconds


def open_source(source: str | Path | pd.DataFrame) -> Source:
    """Open a file, a pandas DataFrame or a scikit-learn set.

    Args:
        source: path of a file (see `datamodules.tables.files`), `-` for standard input, `sklearn:NAME` with a name
            of `SKLEARN_SETS`, or a DataFrame.

    Raises:
        TableError: the source is none of these, cannot be opened, or has too many columns.
    """
    opened = _opened(source)
    if len(opened.names) > _MOST_COLUMNS:
        raise TableError(f"{opened.label} has more than {_MOST_COLUMNS:,} columns: leave some out.")
    return opened


def _opened(source: str | Path | pd.DataFrame) -> Source:
    if not isinstance(source, str | Path):
        return _open_frame(source)
    if str(source).startswith(SKLEARN_PREFIX):
        return _open_sklearn(str(source))
    return open_file(source)


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
    columns = np.column_stack([inputs, target]).T.copy()

    def batches(positions: Sequence[int]) -> Iterator[list[pa.Array]]:
        # `pa.array` would import pandas.
        buffers = [pa.py_buffer(columns[position]) for position in positions]
        yield [pa.Array.from_buffers(pa.float64(), columns.shape[1], [None, buffer]) for buffer in buffers]

    return Source(repr(text), names, batches, identity=(text,))
