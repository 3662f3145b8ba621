"""Settings of tables: one of the user's own, California Housing, and the rows of a known formula.

Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foundation.settings import Rule, Settings, processes_rule, seed_setting, setting

__all__ = [
    "MAX_ROWS",
    "CaliforniaSettings",
    "ProblemSettings",
    "SplitSettings",
    "TableSettings",
    "TabularSettings",
]


MAX_ROWS = 1_000_000
_BYTES_A_ROW = 48  # of one variable and a target, drawn, with their noise and as tensors
"""Largest number of rows by default: nine columns of them take 72 MB."""


def _is_name(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and value != "")


NAME = Rule(_is_name, "a text")
PROBLEM = Rule(_is_name, "the name of a problem or a suite, or several joined by commas")
NAMES = Rule(
    lambda value: (
        _is_name(value) or (isinstance(value, list | tuple) and bool(value) and all(map(_is_name, value)))
    ),
    "a list of column names, such as [rooms,age]",
)


@dataclass(frozen=True, kw_only=True)
class TableSettings(Settings):
    """Settings of the batches of rows.

    Attributes:
        batch_size: Number of rows in a batch.
        num_workers: Number of processes that cut batches; 0 is the fastest for a table in memory.
        seed: Random seed for the order of the training rows.
        max_rows: Largest number of rows; a longer table is drawn from at random.
    """

    group = "data"

    batch_size: int = setting(256, least=1)
    num_workers: int = setting(0, rule=processes_rule(0))
    seed: int = seed_setting()
    max_rows: int = setting(MAX_ROWS, least=10)


@dataclass(frozen=True, kw_only=True)
class SplitSettings(TableSettings):
    """Settings of the split of a table.

    Attributes:
        target: Column to explain; None: there is none, which only an autoencoder of its inputs can do with.
        features: Columns to explain it by; None: all others.
        split_seed: Random seed for the split, and for the rows drawn from a table of more than `max_rows`.
        split: `random`, or `paper`: every row trains, validates and tests, as published.
        validation_fraction: Share of the rows to choose by.
        test_fraction: Share of the rows to judge by.
    """

    target: str | None = setting(None, rule=NAME)
    features: tuple[str, ...] | None = setting(None, rule=NAMES)
    split_seed: int = seed_setting()
    split: str = setting("random", choices=("random", "paper"))
    validation_fraction: float = setting(0.1, above=0, below=1)
    test_fraction: float = setting(0.2, above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class TabularSettings(SplitSettings):
    """A table of the user's own.

    Attributes:
        path: File (.csv, .tsv, .parquet, …), or `sklearn:NAME`.
    """

    path: str = setting(rule=NAME)


@dataclass(frozen=True, kw_only=True)
class CaliforniaSettings(SplitSettings):
    """California Housing; the default features are the two of Anecone (2024).

    Attributes:
        features: Any of MedInc (tens of thousands of dollars), HouseAge (years), AveRooms and AveBedrms (a
            household), Population, AveOccup (people a household), Latitude and Longitude (degrees).
        target: MedHouseVal (hundreds of thousands of dollars), or any column that is not a feature, or None.
    """

    features: tuple[str, ...] | None = setting(("HouseAge", "AveRooms"), rule=NAMES)
    target: str | None = setting("MedHouseVal", rule=NAME)


@dataclass(frozen=True, kw_only=True)
class ProblemSettings(TableSettings):
    """Rows of a formula that is known.

    Attributes:
        problem: Name of the catalogue (`b6`, `Nguyen-7`, `I.12.1`, …); a suite or several names are a sweep.
        train_rows: Number of rows to search on; None: as published.
        validation_rows: Number of further rows to choose by, with the noise of the training rows; None: equations
            are chosen by the training rows.
        test_rows: Number of rows to judge by, never with noise; None: as published.
        noise: Standard deviation of normal noise on the target.
        noise_level: The same as a share of the root mean square of the training target; at most one of the two.
        seed: Random seed for the rows, for the noise, and for the order of the training rows.
    """

    problem: str = setting("b1", rule=PROBLEM)
    train_rows: int | None = setting(None, least=2)
    validation_rows: int | None = setting(None, least=2)
    test_rows: int | None = setting(None, least=2)
    noise: float = setting(0.0, least=0)
    noise_level: float = setting(0.0, least=0)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the rows of each part, of which there are at most `max_rows`."""
        parts = ("train_rows", "validation_rows", "test_rows")
        rows = {name: min(getattr(self, name) or 0, self.max_rows) for name in parts}
        return {(name, "max_rows"): float(_BYTES_A_ROW * count) for name, count in rows.items()}

    def of_the_rows(self) -> dict[str, Any]:
        """Arguments of `datamodules.tables.problems.draw_tables`."""
        names = ("train_rows", "validation_rows", "test_rows", "noise", "noise_level", "seed", "max_rows")
        return {name: getattr(self, name) for name in names}
