"""California Housing, without a download."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.tables.table import MAX_ROWS
from datamodules.tabular import TabularData, plain_names

__all__ = ["CaliforniaHousing"]


class CaliforniaHousing(TabularData):
    """The 20,640 block groups of the 1990 census of California (Pace and Barry 1997).

    The same numbers as scikit-learn's `fetch_california_housing`, bit for bit, rebuilt from a file that is shipped
    (`CALIFORNIA.md`). The default features are the two of Anecone (2024).

    Args:
        features: Any of MedInc (tens of thousands of dollars), HouseAge (years), AveRooms and AveBedrms (a
            household), Population, AveOccup (people a household), Latitude and Longitude (degrees).
        target: MedHouseVal (hundreds of thousands of dollars), or any column that is not a feature, or None.
        batch_size: Rows a batch.
        num_workers: Processes that cut batches; 0 is the fastest for a table in memory.
        seed: Seed of the order of the training rows.
        split_seed: Seed of the split.
        split: `random`, or `paper`: every row trains, validates and tests, as published.
        validation_fraction: Share of the rows to choose by.
        test_fraction: Share of the rows to judge by.
        max_rows: Fewer than 20,640 draws that many rows at random.

    Raises:
        TableError: In `setup`, for an unknown feature or target.
    """

    def __init__(
        self,
        features: Sequence[str] | None = ("HouseAge", "AveRooms"),
        target: str | None = "MedHouseVal",
        batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
        split_seed: int = 0,
        split: str = "random",
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        max_rows: int = MAX_ROWS,
    ) -> None:
        features = plain_names(features)  # before Lightning collects the arguments
        super().__init__(
            path="sklearn:california_housing",
            target=target,
            features=features,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            split_seed=split_seed,
            split=split,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            max_rows=max_rows,
        )
