"""Any table of numbers as a LightningDataModule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from datamodules.loading.batch_loader import BatchLoader, RepeatedTable
from datamodules.settings.tables import SplitSettings, TableSettings, TabularSettings
from datamodules.tables.refusals import MIN_SPLIT_ROWS
from datamodules.tables.splits import input_statistics, split_table
from datamodules.tables.table import Table, TableError, check_single_precision, check_table
from foundation.errors import near

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableData", "TableError", "TabularData", "plain_names"]

PARTS = ("train", "validation", "test", "all")

log = logging.getLogger(__name__)


class TableData(LightningDataModule):
    """Base of the data modules of tables in memory, which serve rows as batches.

    The loaders yield `(inputs [batch, features], target [batch])` in the table's own units, float32 unless a model
    asks for more: a model scales inside, by `input_statistics`, so that equations hold for the numbers the user
    knows. Where there is no target, the loaders yield NaN instead, so that nothing can learn from it unnoticed.

    Args:
        settings: Settings of the batches of rows.
    """

    def __init__(self, settings: TableSettings) -> None:
        super().__init__()
        self.settings = settings
        self.batch_size, self.num_workers, self.seed = settings.batch_size, settings.num_workers, settings.seed
        self._tables: dict[str, Table] = {}
        self._tensors: dict[str, tuple[Tensor, Tensor]] = {}
        self._dtype = torch.float32
        self._times: int | None = None
        self._training: Callable[[], Iterable[Any]] | None = None

    def repeat_table(self, times: int) -> None:
        """Make an epoch of the training the whole table, in order, `times` times, on every rank.

        A model whose loss is computed on all rows calls this in its `setup`, before any loader exists.
        """
        self._times = times

    def serve_double(self) -> None:
        """From now on the loaders yield float64, for a model that computes in it."""
        self._dtype = torch.float64
        self._tensors.clear()

    def train_on(self, batches: Callable[[], Iterable[Any]]) -> None:
        """From now on the training's batches are the given ones, for a model that does not learn from rows.

        Args:
            batches: function that makes the loader of an epoch.
        """
        self._training = batches

    def make_tables(self) -> dict[str, Table]:
        """The rows of `train`, `validation`, `test` and `all`; called once."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Makes the tables; a second call does nothing."""
        self._tables = self._tables or self.make_tables()

    @property
    def feature_names(self) -> list[str]:
        """Names of the inputs' columns, fit for equations."""
        return list(self.table("all").feature_names)

    @property
    def target_name(self) -> str | None:
        """Name of the target, or None."""
        return self.table("all").target_name

    def table(self, part: str = "all") -> Table:
        """The rows of `train`, `validation`, `test` or `all`, float64, in the table's own units."""
        if part not in PARTS:
            raise TableError(f"a table has no part {part!r}: {near(part, PARTS)}")
        self.setup()
        return self._tables[part]

    def input_statistics(self, scaling: str = "standard") -> dict[str, list[float]]:
        """`offset` and `scale`, each `[features]`, of the training rows: `scaled = (input - offset) / scale`."""
        return input_statistics(self.table("train").inputs, scaling)

    def target_statistics(self, scaling: str = "standard") -> dict[str, list[float]]:
        """`offset` and `scale`, each `[1]`, of the training rows' target; 0 and 1 where there is none."""
        target = self.table("train").target
        if target is None:
            return {"offset": [0.0], "scale": [1.0]}
        return input_statistics(target[:, None], scaling)

    def train_dataloader(self) -> Iterable[Any]:
        """Training rows, in an order of `(seed, epoch)`, unless a model asked for the whole table or others."""
        if self._training is not None:
            return self._training()
        if self._times is not None:
            return RepeatedTable(self._part("train"), self._times)
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        """Rows to choose by, in the table's order."""
        return self._loader("validation")

    def test_dataloader(self) -> BatchLoader:
        """Rows to judge by, in the table's order."""
        return self._loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """Every row, in the table's order."""
        return self._loader("all")

    def _loader(self, part: str, shuffle: bool = False) -> BatchLoader:
        return BatchLoader(
            self._part(part), self.batch_size, shuffle=shuffle, seed=self.seed, num_workers=self.num_workers
        )

    def _part(self, part: str) -> tuple[Tensor, Tensor]:
        if part not in self._tensors:
            self._tensors[part] = _tensors(self.table(part), self._dtype)
        return self._tensors[part]


class TabularData(TableData):
    """Rows of a file of text, Parquet or Excel, of a pandas DataFrame, or of a toy set of scikit-learn.

    Example:
        `python train.py data=tabular data.path=houses.csv data.target=price data.features=[rooms,age]`

    Args:
        path: A file, `sklearn:NAME` or a DataFrame: what `datamodules.tables.table.check_table` takes.
        target: Column to explain; None: there is none, which only an autoencoder of its inputs can do with.
        features: Columns to explain it by; None: all others.
        **options: Further settings by name, see `datamodules.settings.tables.TabularSettings`.

    Raises:
        SettingsError: A setting is unknown or its value is not allowed.
        TableError: In `setup`, for anything `check_table` and `split_table` refuse; in a loader of float32, for
            what single precision cannot hold.
    """

    settings: SplitSettings

    def __init__(
        self,
        path: str | pd.DataFrame,
        target: str | None = None,
        features: Sequence[str] | str | None = None,
        **options: Any,
    ) -> None:
        columns = {"target": target, "features": plain_names(features)}
        if isinstance(path, str):
            settings: SplitSettings = TabularSettings.of({"path": path, **columns, **options})
        else:
            settings = SplitSettings.of({**columns, **options})
        super().__init__(settings)
        # Checkpoints hold hyperparameters and load with weights_only: plain lists, and no data frame.
        self.save_hyperparameters(settings.as_mapping(), ignore=[] if isinstance(path, str) else ["path"])
        self.path = path

    def check(self) -> Table:
        """Reads and checks the table, without splitting it."""
        settings = self.settings
        return check_table(
            self.path,
            settings.target,
            plain_names(settings.features),
            max_rows=settings.max_rows,
            min_rows=MIN_SPLIT_ROWS,
            seed=settings.split_seed,
        )

    def make_tables(self) -> dict[str, Table]:
        """Reads, checks and splits the table."""
        table = self.check()
        for note in table.notes:
            log.info(note)
        return split_table(
            table,
            split=self.settings.split,
            seed=self.settings.split_seed,
            validation_fraction=self.settings.validation_fraction,
            test_fraction=self.settings.test_fraction,
        )

    def _part(self, part: str) -> tuple[Tensor, Tensor]:
        if self._dtype == torch.float32:
            check_single_precision(self.table("all"))
        return super()._part(part)


def plain_names(features: Sequence[str] | str | None) -> list[str] | None:
    """A plain list, whatever a configuration or a caller gave."""
    if features is None:
        return None
    return [features] if isinstance(features, str) else [str(name) for name in features]


def _tensors(table: Table, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Inputs `[rows, features]` and target `[rows]`, copied."""
    target = np.full(len(table), np.nan) if table.target is None else table.target
    return torch.tensor(table.inputs, dtype=dtype), torch.tensor(target, dtype=dtype)
