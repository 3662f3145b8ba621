"""Whole batches by index: what a table that lies in memory needs instead of one item at a time.

A `torch.utils.data.DataLoader` fetches rows one by one and collates them, which for a network of a few hundred
weights takes longer than the training step itself. `BatchLoader` cuts batches out of tensors with one gather.

The order of the rows is a function of `(seed, epoch)` alone, so a resumed run sees what the uninterrupted one
would have seen, with any number of worker processes.
"""

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.loading.epoch_loader import EpochLoader, in_workers

__all__ = ["BatchLoader", "RepeatedTable"]

# Rows gathered at once: large enough that the gather is no per-step cost, small enough to stay in the cache.
GATHERED_ROWS = 65_536


class Rows(Protocol):
    """Source of the rows of a batch: a tensor, or an object on disk with the same interface."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        """Some rows, in this order. `[n] -> [n, ...]`"""


class BatchLoader(EpochLoader):
    """Batches of rows of some tensors: shuffled afresh every epoch, sharded over the ranks.

    Every rank yields the same number of batches, so that nothing collective waits for a rank which has finished.
    No two ranks get the same row, unless there are fewer rows than ranks. A shuffled loader leaves out the end of
    the permutation, less than a row a rank, to come out even; an ordered one, which is for evaluation, gives every
    row exactly once.

    Args:
        tensors: tensors, or objects with their interface, with the same number of rows; a batch is a tuple with
            one slice of each.
        batch_size: number of rows in a batch of one rank.
        shuffle: whether to draw a permutation, `default_rng([seed, epoch]).permutation(rows)`.
        seed: random seed for the permutations, not negative.
        num_workers: number of processes that cut the batches, which are the same with any number.
        rank: number of this process, see `EpochLoader`.
        world_size: number of processes, see `EpochLoader`.

    Raises:
        ValueError: the tensors have different numbers of rows, or `batch_size` is below 1.
    """

    def __init__(
        self,
        tensors: tuple[Rows, ...],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        *,
        num_workers: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__(rank, world_size)
        rows = {len(tensor) for tensor in tensors}
        if len(rows) != 1:
            raise ValueError(f"the tensors must have the same number of rows, not {sorted(rows)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.tensors = tuple(tensors)
        self.rows = rows.pop()
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.num_workers = num_workers

    def __len__(self) -> int:
        """Batches an epoch on this rank, equal on all ranks."""
        _, world = self.share()
        fewest = max(1, self.rows // world) if self.rows else 0  # rows of the rank that has the fewest
        if self.shuffle:
            return math.ceil(fewest / self.batch_size)
        return min(fewest, math.ceil(self.rows / world / self.batch_size))

    def _order(self) -> Tensor:
        """Indices `[rows of this rank]` of the epoch, in order."""
        rank, world = self.share()
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        else:
            order = np.arange(self.rows)
        if 0 < self.rows < world:
            order = np.resize(order, world)  # no rank may be left without a batch
        elif self.shuffle:
            order = order[: self.rows - self.rows % world]
        return torch.from_numpy(order[rank::world].copy())

    def _batches(self) -> list[Tensor]:
        """The indices of every batch of the epoch."""
        order = self._order()
        count = len(self)
        if count == 0:
            return []
        if self.share()[1] > 1 and not self.shuffle:
            return list(order.tensor_split(count))  # ranks may differ by a row, never by a batch
        return list(order.split(self.batch_size))

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        # Being a generator is part of the contract: Lightning asks for the iterator of the first epoch after a
        # resume before it calls set_epoch, and nothing here runs until the first batch is asked for.
        batches = self._batches()
        if self.num_workers:
            yield from self._from_workers(batches)
            return
        ahead = max(1, GATHERED_ROWS // self.batch_size)
        for start in range(0, len(batches), ahead):
            group = batches[start : start + ahead]
            indices = torch.cat(group)
            sizes = [len(batch) for batch in group]
            yield from zip(*(tensor[indices].split(sizes) for tensor in self.tensors), strict=True)

    def _from_workers(self, batches: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
        yield from in_workers(_Batches(self.tensors, batches), self.num_workers, self.seed)


class RepeatedTable:
    """Whole tensors, several times an epoch, on every rank: for a model whose loss is computed on all rows.

    Nothing is copied: every batch is the tensors themselves.

    Args:
        tensors: tensors of every batch.
        times: number of batches in an epoch.
    """

    def __init__(self, tensors: tuple[Tensor, ...], times: int) -> None:
        if times < 1:
            raise ValueError(f"times must be at least 1, not {times}")
        self.tensors = tuple(tensors)
        self.times = times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for _ in range(self.times):
            yield self.tensors


class _Batches(Dataset[tuple[Tensor, ...]]):
    """One item is one whole batch."""

    def __init__(self, tensors: tuple[Rows, ...], batches: list[Tensor]) -> None:
        self.tensors = tensors
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[self.batches[index]] for tensor in self.tensors)
