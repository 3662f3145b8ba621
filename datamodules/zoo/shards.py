"""The shards of a zoo: the files of its networks, read as one array."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.zoo.settings import ZooSettings
from foundation.errors import UserError

__all__ = ["SHARD", "ShardedRows", "Shards", "shard_folder"]

SHARD = 2048  # networks; less than a second of work
_FILES = {"weights": np.float32, "ids": np.uint8, "r2": np.float32}


def shard_folder(folder: Path, split: str, number: int) -> Path:
    """Folder of a shard."""
    return folder / f"{split}_{number:05d}"


class Shards:
    """One part of a zoo, mapped into memory.

    Args:
        folder: folder of the zoo.
        settings: settings of the zoo.
        split: name of the part, one of `datamodules.zoo.equations.SPLITS`.
        count: number of networks to look at, from the first; those below the floor are then left out.

    Attributes:
        accepted: numbers of the networks that reach the floor. `[n]`
        r2: R2 of all networks that were looked at. `[count]`
        cpu_seconds: time that making them took.

    Raises:
        UserError: a shard is missing or damaged.
    """

    def __init__(self, folder: Path, settings: ZooSettings, split: str, count: int) -> None:
        self.folder = folder
        columns = {"weights": settings.shape.size, "ids": settings.vocabulary.longest + 2}
        self._arrays: dict[str, list[np.ndarray]] = {name: [] for name in _FILES}
        self.cpu_seconds = 0.0
        for number in range(math.ceil(count / SHARD)):
            shard = shard_folder(folder, split, number)
            for name, array in self._opened(shard).items():
                wanted = (SHARD, columns[name]) if name in columns else (SHARD,)
                if array.shape != wanted or array.dtype != _FILES[name]:
                    raise _damaged(shard)
                self._arrays[name].append(array)
        self.r2 = np.concatenate(self._arrays["r2"])[:count]
        self.accepted = np.flatnonzero(self.r2 >= settings.floor)

    def _opened(self, shard: Path) -> dict[str, np.ndarray]:
        try:
            self.cpu_seconds += float(
                json.loads((shard / "facts.json").read_text(encoding="utf-8"))["cpu_seconds"]
            )
            return {name: np.load(shard / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _FILES}
        except (OSError, ValueError, KeyError, TypeError):
            raise _damaged(shard) from None

    def column(self, name: str) -> ShardedRows:
        """The rows of one file, `weights` or `ids`, of the networks that were accepted."""
        return ShardedRows(self._arrays[name], self.accepted)


class ShardedRows:
    """Rows of many files as if they were one tensor, as `BatchLoader` needs it.

    Args:
        parts: arrays, one a shard.
        rows: numbers of the rows that there are, counted over all shards.
    """

    def __init__(self, parts: Sequence[np.ndarray], rows: np.ndarray) -> None:
        self.parts, self.rows = parts, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Some rows, in this order. `[n] -> [n, ...]`; ids are int64."""
        shards, places = np.divmod(self.rows[indices.numpy()], SHARD)
        gathered = np.empty((len(shards), *self.parts[0].shape[1:]), dtype=self.parts[0].dtype)
        for shard in np.unique(shards):
            here = shards == shard
            gathered[here] = self.parts[shard][places[here]]
        tensor = torch.from_numpy(gathered)
        return tensor.long() if gathered.dtype == np.uint8 else tensor


def _damaged(shard: Path) -> UserError:
    return UserError(f"{shard} is damaged or missing: delete it, and the next run makes it again")
