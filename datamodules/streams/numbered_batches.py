"""Batches by number: what loaders have in common that make, or read, a batch when it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from foundation.errors import UserError

__all__ = ["Batch", "NumberedBatches"]

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Inputs `[batch, rows, variables]`, target `[batch, rows]`, present `[batch, variables]`, ids `[batch, ids]`."""


class NumberedBatches(ABC):
    """The batches of one rank, epoch by epoch; the ranks take turns in them.

    Args:
        samples: Of an epoch, of all ranks together; rounded up to whole batches, as many on every rank.
        batch_size: Samples of a batch.
        num_workers: Processes that make the batches; these are the same with any number.
        fixed: Whether all epochs are the first.
        seed: Of nothing that is in a batch: workers must not take one from the global generator.
        rank: This process among the sharing ones; None asks `torch.distributed`.
        world_size: How many processes share the samples; None asks `torch.distributed`.
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
        self.samples, self.batch_size, self.num_workers, self.fixed = samples, batch_size, num_workers, fixed
        self.seed = seed
        self.epoch = 0
        self._rank, self._world_size = rank, world_size

    @abstractmethod
    def batch(self, number: int) -> Batch:
        """One batch of the epoch, whichever rank's."""

    def prepare(self) -> None:  # noqa: B027 (most need nothing)
        """What is done once, before worker processes are forked, which so share it."""

    @property
    def sampler(self) -> NumberedBatches:
        """Where Lightning looks for `set_epoch`."""
        return self

    @property
    def batch_sampler(self) -> NumberedBatches:
        """Where Lightning looks for the sampler, to learn whether it shuffles."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the samples of the iterations that follow."""
        self.epoch = 0 if self.fixed else epoch

    def share(self) -> tuple[int, int]:
        """Rank and world size; asked late, because a loader may be built before the group is."""
        group = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = self._rank if self._rank is not None else torch.distributed.get_rank() if group else 0
        world = self._world_size
        if world is None:
            world = torch.distributed.get_world_size() if group else 1
        return rank, world

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
        loader: DataLoader[Batch | UserError] = DataLoader(
            _Batches(self, numbers),
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_unchanged,
            generator=torch.Generator().manual_seed(self.seed),  # of its own
            pin_memory=torch.cuda.is_available(),  # copied to the GPU while it works
        )
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch


class _Batches(Dataset[Batch | UserError]):
    """One item is one whole batch, or the one sentence that a worker has to say, without its traceback."""

    def __init__(self, source: NumberedBatches, numbers: Sequence[int]) -> None:
        self.source, self.numbers = source, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch | UserError:
        try:
            return self.source.batch(self.numbers[index])
        except UserError as error:
            return error


def _unchanged(batch: Any) -> Any:
    """A batch is already a batch."""
    return batch
