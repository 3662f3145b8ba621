"""Columns that number the rows and say nothing about them."""

from __future__ import annotations

import re

import numpy as np

__all__ = ["counts_rows", "is_unnamed"]

_UNNAMED = re.compile(r"|unnamed: 0|__index_level_0__")
_NUMBERS = re.compile(
    r"index|idx|#|no\.?|nr\.?|number|id|row([ _]?(id|index|names?|nr|no|number))?|obs(ervation)?|record|line"
)


def is_unnamed(name: str) -> bool:
    """Whether a program, such as pandas, gave the column no name."""
    return bool(_UNNAMED.fullmatch(name.strip().lower()))


def counts_rows(name: str, values: np.ndarray) -> bool:
    """Whether the first column of a table numbers its rows.

    A column without a name does so where it holds whole numbers from 0 on, no two alike, as the index of a data
    frame does whose rows were filtered or mixed. A column with a name such as `index` must count 0, 1, 2, … or
    1, 2, 3, …; one with any other name never does.

    Args:
        name: name of the column in its source.
        values: its first numbers. `[rows]`
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return False
    if is_unnamed(name):
        return bool(
            (values >= 0).all() and (values == np.round(values)).all() and len(np.unique(values)) == len(values)
        )
    counting = values[0] in (0, 1) and bool((np.diff(values) == 1).all())
    return counting and bool(_NUMBERS.fullmatch(name.strip().lower()))
