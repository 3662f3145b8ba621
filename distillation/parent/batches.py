"""Batches of anything that holds data: a loader, a DataModule, tensors; and which of them judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillation.blocks.layout import tensors_in
from foundation.errors import UserError

__all__ = ["Batches", "batches_of", "on_device"]

MOST_BATCHES = 512
"""Batches that are looked at: a stream may be endless."""
_HELD_OUT = 4  # one batch in so many judges
_BATCHES_OF_TENSORS = 32
_LEAST_ROWS = 8  # of a batch that tensors are cut into


@dataclass(frozen=True)
class Batches:
    """Batches to search on, and batches that judge.

    Attributes:
        search: batches whose activations equations are searched on.
        judge: batches that no search has seen, on which equations and the parent's loss are judged.
        notes: one sentence for what is not as it should be.
    """

    search: tuple[Any, ...]
    judge: tuple[Any, ...]
    notes: tuple[str, ...] = ()


def batches_of(data: Any, *, seed: int) -> Batches:
    """Batches of data, split whole by whole: rows of one batch may belong together.

    Args:
        data: a DataModule, whose validation data judge where it has some; a loader or another iterable of batches,
            one in four of which judges; or a tensor, or a tuple or a mapping of tensors of as many rows, which
            are cut into batches of random rows.
        seed: random seed for the choice of batches, and of rows.

    Raises:
        UserError: there are no batches, or tensors have different numbers of rows.
    """
    if hasattr(data, "train_dataloader"):
        return _of_datamodule(data, seed)
    if _are_tensors(data):
        return _split(_cut(data, seed), seed)
    if not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise UserError(
            f"data of type {type(data).__name__} cannot be read: give a loader, a DataModule, a tensor or a tuple "
            "of tensors"
        )
    return _split(list(islice(data, MOST_BATCHES)), seed)


def on_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: on_device(each, device) for name, each in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a named tuple takes its entries one by one
        return type(batch)(*(on_device(each, device) for each in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(on_device(each, device) for each in batch)
    move: Callable[[torch.device], Any] | None = getattr(batch, "to", None)  # graphs, for one
    return batch if move is None else move(device)


def _of_datamodule(data: Any, seed: int) -> Batches:
    data.prepare_data()
    data.setup("fit")
    search = list(islice(_loaded(data.train_dataloader()), MOST_BATCHES))
    judge = list(islice(_loaded(data.val_dataloader()), MOST_BATCHES))
    return Batches(tuple(search), tuple(judge)) if search and judge else _split(search, seed)


def _loaded(loaders: Any) -> Iterable[Any]:
    """Batches of a loader; the first one of several."""
    several = (
        isinstance(loaders, list | tuple) and loaders and not isinstance(loaders[0], Tensor | tuple | Mapping)
    )
    if several:
        loaders = loaders[0]
    return loaders if isinstance(loaders, Iterable) else ()


def _are_tensors(data: Any) -> bool:
    if isinstance(data, Tensor | np.ndarray):
        return True
    entries: Sequence[Any] = list(data.values()) if isinstance(data, Mapping) else data
    return isinstance(data, tuple | Mapping) and all(isinstance(each, Tensor | np.ndarray) for each in entries)


def _cut(data: Any, seed: int) -> list[Any]:
    """Batches of random rows, the same ones of every tensor."""
    data = _as_tensors(data)
    counts = {len(each) if each.ndim else 0 for each in tensors_in(data)}
    if len(counts) != 1:
        raise UserError(f"the tensors of data have {sorted(counts)} rows: give tensors of as many rows")
    rows = counts.pop()
    number = max(min(_BATCHES_OF_TENSORS, rows // _LEAST_ROWS), 1)
    order = torch.from_numpy(np.random.default_rng([seed, rows]).permutation(rows))
    return [_taken(data, part) for part in order.tensor_split(number)] if rows else []


def _as_tensors(data: Any) -> Any:
    if isinstance(data, np.ndarray):
        return torch.from_numpy(data if data.dtype != np.float64 else data.astype(np.float32))
    if isinstance(data, Mapping):
        return {name: _as_tensors(each) for name, each in data.items()}
    return tuple(map(_as_tensors, data)) if isinstance(data, tuple) else data


def _taken(data: Any, rows: Tensor) -> Any:
    if isinstance(data, Mapping):
        return {name: each[rows] for name, each in data.items()}
    return tuple(each[rows] for each in data) if isinstance(data, tuple) else data[rows]


def _split(batches: Sequence[Any], seed: int) -> Batches:
    """One batch in four judges, at a random place of every four."""
    if not batches:
        raise UserError("data holds no batch: give some rows")
    if len(batches) == 1:
        note = "there is one batch, which both searches and judges: give more, or larger data"
        return Batches(tuple(batches), tuple(batches), (note,))
    rng = np.random.default_rng([seed, len(batches)])
    judges = set()
    for start in range(0, len(batches), _HELD_OUT):
        place = start + int(rng.integers(_HELD_OUT))
        if place < len(batches):
            judges.add(place)
    judges = judges or {len(batches) - 1}
    return Batches(
        tuple(each for place, each in enumerate(batches) if place not in judges),
        tuple(batches[place] for place in sorted(judges)),
    )
