"""Batches by number: for loaders that make, or read, a batch when it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.loading.epoch_loader import EpochLoader, in_workers
from foundation.errors import UserError

__all__ = ["Batch", "NumberedBatches"]

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Inputs `[batch, rows, variables]`, target `[batch, rows]`, present `[batch, variables]`, ids `[batch, ids]`."""


class NumberedBatches(EpochLoader, ABC):
    """The batches of one rank, epoch by epoch; the ranks take turns in them.

    Args:
        samples: number of samples in an epoch of all ranks together, rounded up to whole batches, as many on every
            rank.
        batch_size: number of samples in a batch.
        num_workers: number of processes that make the batches, which are the same with any number.
        fixed: whether every epoch is the first one.
        seed: random seed that no batch depends on: workers must not take one from the global generator.
        rank: number of this process, see `EpochLoader`.
        world_size: number of processes, see `EpochLoader`.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        num_workers: int = 0,
        fixed: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__(rank, world_size)
        self.samples, self.batch_size, self.num_workers, self.fixed = samples, batch_size, num_workers, fixed
        self.seed = seed

    @abstractmethod
    def batch(self, number: int) -> Batch:
        """One batch of the epoch, of any rank."""

    def prepare(self) -> None:
        """Make what the worker processes share, before they are forked."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the iterations that follow."""
        super().set_epoch(0 if self.fixed else epoch)

    def __len__(self) -> int:
        """Batches an epoch on this rank."""
        return -(-self.samples // (self.batch_size * self.share()[1]))

    def __iter__(self) -> Iterator[Batch]:
        # A generator: Lightning asks for the iterator of a resumed run's first epoch before it calls set_epoch.
        rank, world = self.share()
        yield from self.batches([rank + world * k for k in range(len(self))])

    def batches(self, numbers: Sequence[int]) -> Iterator[Batch]:
        """Some batches of the epoch, in this order."""
        self.prepare()
        if not self.num_workers:
            yield from map(self.batch, numbers)
            return
        pinned = torch.cuda.is_available()  # copied to the GPU while it works
        for batch in in_workers(_Batches(self, numbers), self.num_workers, self.seed, pin_memory=pinned):
            if isinstance(batch, UserError):
                raise batch
            yield batch


class _Batches(Dataset[Batch | UserError]):
    """A data set whose items are whole batches, or a worker's error sentence without its traceback."""

    def __init__(self, source: NumberedBatches, numbers: Sequence[int]) -> None:
        self.source, self.numbers = source, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch | UserError:
        try:
            return self.source.batch(self.numbers[index])
        except UserError as error:
            return error
