"""The shards of a zoo: the files of its networks, read as one array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.zoo.settings import ZooSettings
from foundation.array_files import ArrayFileError, map_npy
from foundation.errors import UserError
from foundation.files import FileError, read_regular
from foundation.schema import FormatError, json_content, number, record

__all__ = ["SHARD", "ShardedRows", "Shards", "shard_folder"]

SHARD = 2048  # networks; less than a second of work
_FACTS = record({"cpu_seconds": number(0.0)})
_LARGEST_FACTS = 10_000  # bytes
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
        self._rows = {"weights": (settings.shape.size,), "ids": (settings.vocabulary.longest + 2,)}
        self._names = len(settings.vocabulary)
        self._arrays: dict[str, list[np.ndarray]] = {name: [] for name in _FILES}
        self.cpu_seconds = 0.0
        for place in range(math.ceil(count / SHARD)):
            shard = shard_folder(folder, split, place)
            for name, array in self._opened(shard).items():
                self._arrays[name].append(array)
        self.r2 = np.concatenate(self._arrays["r2"])[:count]
        self.accepted = np.flatnonzero(self.r2 >= settings.floor)

    def _opened(self, shard: Path) -> dict[str, np.ndarray]:
        """The files of a shard, mapped into memory; its equations and scores are checked at once."""
        try:
            facts = json_content(read_regular(shard / "facts.json", most=_LARGEST_FACTS), _FACTS)
            arrays = {
                name: map_npy(shard / f"{name}.npy", kind, SHARD, *self._rows.get(name, ()))
                for name, kind in _FILES.items()
            }
        except (FileError, ArrayFileError, FormatError):
            raise _damaged(shard) from None
        if (arrays["ids"] >= self._names).any() or (arrays["r2"] > 1.0).any():
            raise _damaged(shard)
        self.cpu_seconds += facts["cpu_seconds"]
        return arrays

    def column(self, name: str) -> ShardedRows:
        """The rows of one file, `weights` or `ids`, of the networks that were accepted."""
        return ShardedRows(self.folder, self._arrays[name], self.accepted)


class ShardedRows:
    """Rows of many files as if they were one tensor, as `BatchLoader` needs it.

    Args:
        folder: folder of the zoo, for errors.
        parts: arrays, one a shard.
        rows: numbers of the rows that there are, counted over all shards.
    """

    def __init__(self, folder: Path, parts: Sequence[np.ndarray], rows: np.ndarray) -> None:
        self.folder, self.parts, self.rows = folder, parts, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Some rows, in this order. `[n] -> [n, ...]`; ids are int64.

        Raises:
            UserError: a network that reaches the floor has weights that are not finite.
        """
        shards, places = np.divmod(self.rows[indices.numpy()], SHARD)
        gathered = np.empty((len(shards), *self.parts[0].shape[1:]), dtype=self.parts[0].dtype)
        for shard in np.unique(shards):
            here = shards == shard
            gathered[here] = self.parts[shard][places[here]]
        if gathered.dtype == np.uint8:
            return torch.from_numpy(gathered).long()
        if not np.isfinite(gathered).all():  # looked at here: all of them together are gigabytes
            raise UserError(
                f"{self.folder} holds networks whose weights are not finite: delete it, and the next run "
                "makes it again"
            )
        return torch.from_numpy(gathered)


def _damaged(shard: Path) -> UserError:
    return UserError(f"{shard} is damaged or missing: delete it, and the next run makes it again")
