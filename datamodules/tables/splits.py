"""A table cut into rows to train on, to choose by and to judge by; and the scales of its columns."""

from __future__ import annotations

import numpy as np

from datamodules.tables.table import Table, TableError
from foundation.errors import near

__all__ = ["SCALINGS", "SPLITS", "check_split", "input_statistics", "split_table"]

SPLITS = ("random", "paper")
SCALINGS = ("standard", "minmax", "none")


def split_table(
    table: Table,
    *,
    split: str = "random",
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> dict[str, Table]:
    """Cut a table into rows to train on, rows to choose by and rows to judge by.

    Args:
        table: table of at least six rows, better ten.
        split: `random` for parts that share no row; `paper` for parts that are all the whole table, as in work
            that reports the error on the rows that were fitted.
        seed: random seed for the order of the rows; the same parts for the same number of rows.
        validation_fraction: share of the rows to choose by.
        test_fraction: share of the rows to judge by.

    Returns:
        `train`, `validation` and `test`, the rows of each in the table's order, and `all`, the table itself.
        A part has at least two rows, since R2 needs them.

    Raises:
        TableError: the split is unknown, or the fractions leave nothing to train on.
    """
    check_split(len(table), split, validation_fraction, test_fraction)
    if split == "paper":
        return dict.fromkeys(("train", "validation", "test", "all"), table)
    validation, test = _sizes(len(table), validation_fraction, test_fraction)
    order = np.random.default_rng(seed).permutation(len(table))
    parts = {
        "test": order[:test],
        "validation": order[test : test + validation],
        "train": order[test + validation :],
    }
    return {"all": table, **{name: table.take(np.sort(chosen)) for name, chosen in parts.items()}}


def check_split(rows: int, split: str, validation_fraction: float, test_fraction: float) -> None:
    """Make sure that every part of a split has rows.

    Args:
        rows: number of rows of the table.
        split: `random` or `paper`.
        validation_fraction: share of the rows to choose by.
        test_fraction: share of the rows to judge by.

    Raises:
        TableError: the split is unknown, or the fractions leave nothing to train on.
    """
    if split not in SPLITS:
        raise TableError(f"split={split!r} is unknown: {near(str(split), SPLITS)}")
    if split == "paper":
        return
    fractions = (validation_fraction, test_fraction)
    if not (min(fractions) > 0 and sum(fractions) < 1):
        raise TableError(
            f"validation_fraction={validation_fraction} and test_fraction={test_fraction} leave no rows for one "
            "of the parts: both must be above 0 and their sum below 1."
        )
    validation, test = _sizes(rows, *fractions)
    if rows - validation - test < 2:
        raise TableError(
            f"{rows} rows with validation_fraction={validation_fraction} and test_fraction={test_fraction} "
            "leave fewer than two to train on: lower the fractions or give more rows."
        )


def _sizes(rows: int, *fractions: float) -> tuple[int, ...]:
    """Number of rows of a part for each share; R2 needs two."""
    return tuple(max(2, round(fraction * rows)) for fraction in fractions)


def input_statistics(values: np.ndarray, scaling: str = "standard") -> dict[str, list[float]]:
    """Offset and scale of each column, for `scaled = (value - offset) / scale`.

    Args:
        values: finite numbers. `[rows, columns]`
        scaling: `standard` for mean and standard deviation (of the population), `minmax` for 0 … 1, `none` for
            values as they are.

    Returns:
        `offset` and `scale`, each `[columns]`; a column that does not vary in these rows has scale 1.

    Raises:
        TableError: the scaling is unknown.
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
