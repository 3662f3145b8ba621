"""Small tables for tests, as frames and as files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 30


def frame(rows: int = ROWS) -> pd.DataFrame:
    """Two features, a and b, and a target y, all random."""
    rng = np.random.default_rng(1)
    return pd.DataFrame({"a": rng.normal(size=rows), "b": rng.uniform(1, 2, rows), "y": rng.normal(size=rows)})


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    """A file with the content; its path."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def lines(**columns: Callable[[int], object]) -> str:
    """A CSV text of `ROWS` rows; a column is a function of the row's number."""
    rows = [",".join(columns)]
    rows += [",".join(str(column(row)) for column in columns.values()) for row in range(ROWS)]
    return "\n".join(rows) + "\n"


GOOD = lines(a=lambda i: i, b=lambda i: i * 0.5 + 1, y=lambda i: i**2)
