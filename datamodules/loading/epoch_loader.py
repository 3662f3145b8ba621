"""Base of the loaders of whole batches: Lightning sets their epoch, and the ranks share its batches."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset

__all__ = ["EpochLoader", "in_workers"]


class EpochLoader:
    """A loader whose batches are a function of the epoch, and which the ranks share.

    Lightning tells the loader its epoch through `set_epoch` (it looks for the attribute `sampler`) and must be
    told to leave the sharing alone: `use_distributed_sampler=False`.

    Args:
        rank: number of this process among those that share the samples; None asks `torch.distributed`.
        world_size: number of processes that share the samples; None asks `torch.distributed`.
    """

    def __init__(self, rank: int | None = None, world_size: int | None = None) -> None:
        self.epoch = 0
        self._rank, self._world_size = rank, world_size

    @property
    def sampler(self) -> Self:
        """The object on which Lightning calls `set_epoch`."""
        return self

    @property
    def batch_sampler(self) -> Self:
        """The object by which Lightning determines whether the loader shuffles."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the iterations that follow."""
        self.epoch = epoch

    def share(self) -> tuple[int, int]:
        """Rank and world size, read late, because a loader may be built before the process group."""
        group = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = self._rank if self._rank is not None else torch.distributed.get_rank() if group else 0
        world = self._world_size
        if world is None:
            world = torch.distributed.get_world_size() if group else 1
        return rank, world


def in_workers(batches: Dataset[Any], num_workers: int, seed: int, **options: Any) -> DataLoader[Any]:
    """A loader of a dataset whose items are whole batches, which worker processes make.

    Args:
        batches: dataset of batches.
        num_workers: number of worker processes.
        seed: random seed for a generator of its own, so that nothing is taken from the global one.
        options: other arguments of `torch.utils.data.DataLoader`.
    """
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(
        batches, batch_size=None, num_workers=num_workers, collate_fn=_unchanged, generator=generator, **options
    )


def _unchanged(batch: Any) -> Any:
    """A batch is already a batch."""
    return batch
