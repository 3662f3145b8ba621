"""A corpus: the first samples of a stream of equations, made once, kept on disk, and read again every epoch.

A stream makes its samples during the training and never repeats them, but several fast GPUs train faster than a
few cores make samples. Then the samples are made first: `data.corpus=logs/corpus data.corpus_samples=10000000`.
`datamodules.streams.corpus_files` describes the files, and `datamodules.streams.corpus_freezing` writes them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.loading.numbered_batches import Batch, NumberedBatches
from datamodules.streams.corpus_files import (
    TYPES,
    Content,
    checksum,
    damaged,
    missing_shards,
    read_header,
    read_index,
    shard_folder,
)
from foundation.array_files import ArrayFileError, map_npy
from foundation.errors import UserError
from foundation.files import FileError

__all__ = ["Corpus", "CorpusLoader"]

_OPEN_SHARDS = 32  # at most, four files each: a process may not open thousands


class Corpus:
    """Batches of a corpus by number.

    Args:
        folder: folder of the corpus.
        samples: number of samples that are read of it, from its beginning, rounded up to whole batches.
        content: description that the samples must have.

    Raises:
        UserError: the corpus is damaged, too short, or of other samples.
    """

    def __init__(self, folder: str | Path, samples: int, content: Content) -> None:
        self.folder = Path(folder)
        try:
            header = read_header(self.folder, content)
            missing = missing_shards(self.folder, samples, header)
        except FileNotFoundError:
            raise UserError(f"data.corpus={folder} is no corpus: prepare_data() makes one") from None
        if missing:
            raise UserError(
                f"data.corpus={folder} lacks {shard_folder(self.folder, missing[0]).name} of the {samples:,} "
                "samples that are asked for: prepare_data() makes what is missing"
            )
        self.batch_size, self.variables = content.batch_size, int(content.settings["variables"])
        self._names = len(content.vocabulary)
        self._batches = math.ceil(samples / content.batch_size)
        self._shard_batches: int = header["shard_batches"]
        self._open: OrderedDict[int, _Shard] = OrderedDict()

    def __len__(self) -> int:
        """Number of batches."""
        return self._batches

    def __getstate__(self) -> dict[str, Any]:
        # A worker process opens the files itself.
        return {**self.__dict__, "_open": OrderedDict()}

    def batch(self, number: int) -> Batch:
        """One batch.

        Raises:
            UserError: the batch is not what was written.
        """
        shard, place = divmod(number, self._shard_batches)
        arrays = self._opened(shard).read(place)
        if not ((arrays["ids"] >= 0) & (arrays["ids"] < self._names)).all():
            raise damaged(shard_folder(self.folder, shard))
        inputs, target, present, ids = (torch.from_numpy(arrays[name]) for name in TYPES)
        return inputs, target, present, ids.long()

    def _opened(self, number: int) -> _Shard:
        found = self._open.pop(number, None)
        if found is None:
            if len(self._open) >= _OPEN_SHARDS:
                self._open.popitem(last=False)
            found = _Shard(shard_folder(self.folder, number), self.batch_size, self.variables)
        self._open[number] = found  # the newest one is last
        return found


class _Shard:
    """The memory-mapped files of a shard."""

    def __init__(self, folder: Path, batch_size: int, variables: int) -> None:
        self.folder, self.index = folder, read_index(folder)
        rows, length = np.array(self.index["rows"]), np.array(self.index["length"])
        self._shapes: dict[str, list[tuple[int, ...]]] = {
            "inputs": [(batch_size, count, variables) for count in rows.tolist()],
            "target": [(batch_size, count) for count in rows.tolist()],
            "present": [(batch_size, variables)] * len(rows),
            "ids": [(batch_size, count) for count in length.tolist()],
        }
        self._offsets = {
            name: np.concatenate([[0], np.cumsum([math.prod(shape) for shape in shapes])])
            for name, shapes in self._shapes.items()
        }
        try:
            self._arrays = {
                name: map_npy(folder / f"{name}.npy", kind, int(self._offsets[name][-1]))
                for name, kind in TYPES.items()
            }
        except (FileError, ArrayFileError):
            raise damaged(folder) from None

    def read(self, place: int) -> dict[str, np.ndarray]:
        """Copies of the arrays of a batch."""
        arrays = {}
        for name, array in self._arrays.items():
            begin, end = self._offsets[name][place : place + 2]
            arrays[name] = np.array(array[begin:end]).reshape(self._shapes[name][place])
        if checksum(arrays) != self.index["checksum"][place]:
            raise damaged(self.folder)
        return arrays


class CorpusLoader(NumberedBatches):
    """The batches of a corpus in a random order: all of them once, then all of them in another order.

    An epoch is `samples` indices long, as that of a stream, not once through the corpus. Which batches it has is a
    function of `(seed, epoch)` alone (and of the number of ranks where these do not divide an epoch evenly).

    Args:
        corpus: corpus to read.
        samples: number of samples in an epoch of all ranks together, rounded up to whole batches, as many on every
            rank.
        seed: random seed for the orders.
        num_workers: number of processes that read.
        rank: number of this process among those that share the samples; None asks `torch.distributed`.
        world_size: number of processes that share the samples; None asks `torch.distributed`.
    """

    def __init__(
        self,
        corpus: Corpus,
        samples: int,
        seed: int = 0,
        num_workers: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__(samples, corpus.batch_size, num_workers, seed=seed, rank=rank, world_size=world_size)
        self.corpus = corpus
        self._order: tuple[int, np.ndarray] | None = None

    def batch(self, number: int) -> Batch:
        """One batch of the epoch, whichever rank's."""
        return self.corpus.batch(self.place(number))

    def place(self, number: int) -> int:
        """Number in the corpus of a batch of the epoch."""
        turn, place = divmod(self.epoch * len(self) * self.share()[1] + number, len(self.corpus))
        if self._order is None or self._order[0] != turn:
            self._order = (turn, np.random.default_rng([self.seed, turn]).permutation(len(self.corpus)))
        return int(self._order[1][place])
