"""The rows of a run as batches, the same ones on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from distillation.parent.batches import batches_of
from foundation.errors import UserError

__all__ = ["RowBatches", "row_batches"]

_BATCH_ROWS = 1_024


@dataclass(frozen=True)
class RowBatches:
    """Batches as a LightningModule takes them.

    Attributes:
        train: batches to search on.
        validation: batches that judge.
        test: batches to report on.
    """

    train: Sequence[Any]
    validation: Sequence[Any]
    test: Sequence[Any]


def row_batches(datamodule: Any, trainer: Trainer, *, seed: int) -> RowBatches:
    """Batches of the data of a run.

    Args:
        datamodule: source of the rows; one with `table(part)`, or any LightningDataModule, whose loaders then give
            the batches, and whose validation data are the ones to report on, too.
        trainer: trainer of the fit.
        seed: random seed for the choice of batches that judge, where there are no validation data.

    Raises:
        UserError: several processes search, and the data have no table that all of them could read.
    """
    if hasattr(datamodule, "table"):
        return RowBatches(*(_batches(datamodule.table(part)) for part in ("train", "validation", "test")))
    if trainer.world_size > 1:
        raise UserError(
            f"the data of {type(datamodule).__name__} are no table that {trainer.world_size} processes could "
            "share: use trainer.devices=1"
        )
    split = batches_of(datamodule, seed=seed)
    return RowBatches(split.search, split.judge, split.judge)


def _batches(table: Any) -> list[tuple[Tensor, Tensor]]:
    """Batches as the loaders of a table give them: inputs `[rows, features]` and target `[rows]`."""
    target = np.full(len(table), np.nan) if table.target is None else table.target
    tensors = [torch.tensor(each, dtype=torch.float32) for each in (table.inputs, target)]
    inputs, targets = (each.split(_BATCH_ROWS) for each in tensors)
    return list(zip(inputs, targets, strict=True))
