"""Readers of files that have checksums, or many parts: their content as JSON, of which single values are changed.

A checkpoint in which a byte is changed is a torn one, and is known as such. A false one has been written anew.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import numpy as np
import torch

from callbacks.checkpoints import BestCheckpoint
from callbacks.elite_repository import EliteRepository
from callbacks.random_state import RandomState
from callbacks.run_record import RunRecord
from datamodules.settings.streams import PoolSettings
from datamodules.streams import skeleton_file
from datamodules.streams.skeleton_file import read_skeletons
from datamodules.zoo import shards
from datamodules.zoo.settings import ZooSettings
from datamodules.zoo.shards import Shards
from foundation.errors import UserError
from modules.gmeql_paper import GMEQLPaper
from rediscover.wiring.checkpoint_reading import check_fit
from tests.stored_checkpoints import resumable

__all__ = ["go_on", "resumable_checkpoint", "skeletons", "use_shard", "use_skeletons", "zoo_shard"]

# --- values as JSON ---------------------------------------------------------------------------------------------


def as_json(value: Any) -> Any:
    """A value that holds arrays, tensors and keys of any kind, as JSON."""
    if isinstance(value, torch.Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, torch.Tensor) else "array"
        numbers = value.tolist() if value.ndim else [value.item()]
        return {kind: str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "numbers": numbers}
    if isinstance(value, Mapping):
        return {str(key) if isinstance(key, str) else f"#{key}": as_json(entry) for key, entry in value.items()}
    return [as_json(entry) for entry in value] if isinstance(value, list | tuple) else value


def of_json(value: Any) -> Any:
    """What `as_json` was given; an array that is none stays a mapping."""
    if isinstance(value, list):
        return [of_json(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    try:
        if "tensor" in value:
            return torch.tensor(value["numbers"], dtype=getattr(torch, value["tensor"])).reshape(value["shape"])
        if "array" in value:
            return np.array(value["numbers"], dtype=value["array"]).reshape(value["shape"])
    except Exception:
        return value
    return {int(key[1:]) if _is_number(key) else key: of_json(entry) for key, entry in value.items()}


def _is_number(key: str) -> bool:
    return key.startswith("#") and key[1:].isdecimal() and len(key) < 10


def content_of(content: bytes) -> dict[str, Any]:
    try:
        found = of_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise UserError("what cannot be written as a file is no content") from error
    if not isinstance(found, dict):
        raise UserError("what cannot be written as a file is no content")
    return found


# --- a checkpoint to go on from ---------------------------------------------------------------------------------

_SIZES: Mapping[str, Any] = {"layers": ["id*2 square", "mul add"], "restarts": 2, "instances": 2}


@cache
def _model() -> GMEQLPaper:
    torch.manual_seed(0)
    return GMEQLPaper(in_features=2, **_SIZES)


def _callbacks() -> tuple[EliteRepository, list[pl.Callback]]:
    search = EliteRepository(deferred=True, size=3)
    search.elites = search._repository(_model())
    best = BestCheckpoint("checkpoints", "fit/best_mae", "min")
    return search, [RandomState(), RunRecord("."), search, best]


def resumable_checkpoint() -> bytes:
    model = _model()
    optimizer = model.optimizer()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    search, callbacks = _callbacks()
    assert search.elites is not None
    search.elites.add(
        np.array([0, 0, 1]),
        np.array([0.5, 0.25, 1.5]),
        np.array([7, 8, 9], dtype=np.uint64),
        {name: torch.rand(3, *values.shape[2:]) for name, values in search.elites.fields.items()},
    )
    search._curve, search._told = [(0, 2, 0.25)], search.elites.lowest.copy()
    states = {callback.state_key: callback.state_dict() for callback in callbacks}
    state = resumable(model, callbacks=states, optimizer_states=[optimizer.state_dict()])
    return json.dumps(as_json(state)).encode()


def go_on(content: bytes) -> object:
    """Do what Lightning does with a checkpoint, then take a step."""
    model = _model()
    search, callbacks = _callbacks()
    with tempfile.TemporaryDirectory() as folder, _same_random_numbers():
        path = Path(folder) / "last.ckpt"
        torch.save(content_of(content), path)
        step = check_fit(path, model, 10, callbacks)
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["state_dict"])
        model.on_fit_start()
        optimizer = model.optimizer()
        optimizer.load_state_dict(state["optimizer_states"][0])
        optimizer.step()
        for callback in callbacks:
            if callback.state_key in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][callback.state_key])
        random_state = callbacks[0]
        assert isinstance(random_state, RandomState)
        random_state.on_train_epoch_start(mock.Mock(global_rank=0), model)
        if search._restored is not None:
            search._take_up(search._restored)
        assert search.elites is not None
        taken = search.elites.take("weights", search.elites.by_power_law(np.array([[0.5], [0.9]])))
        return step, taken, random.random(), torch.rand(1)


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Leave the global generators as they are, since a test draws its changes from one."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


# --- a shard of a zoo -------------------------------------------------------------------------------------------

_ZOO = ZooSettings(widths="1-4-1", floor=0.5)
_NETWORKS = 4


def _numpy(write: Callable[[Path, np.ndarray], None], path: Path, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.dtype == object:
        raise UserError("what is no array cannot be written as one")
    write(path, value)


def zoo_shard() -> bytes:
    rng = np.random.default_rng(0)
    return json.dumps(
        as_json(
            {
                "facts": {"cpu_seconds": 1.0},
                "ids": np.zeros((_NETWORKS, _ZOO.vocabulary.longest + 2), dtype=np.uint8),
                "weights": rng.normal(size=(_NETWORKS, _ZOO.shape.size)).astype(np.float32),
                "r2": np.array([1.0, 0.9, 0.1, -3.0], dtype=np.float32),
            }
        )
    ).encode()


def use_shard(content: bytes) -> object:
    found = content_of(content)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(shards, "SHARD", _NETWORKS):
        shard = shards.shard_folder(Path(folder), "train", 0)
        shard.mkdir()
        (shard / "facts.json").write_text(json.dumps(found.get("facts")))
        for name in ("ids", "weights", "r2"):
            _numpy(np.save, shard / f"{name}.npy", found.get(name))
        part = Shards(Path(folder), _ZOO, "train", _NETWORKS)
        rows = torch.arange(len(part.accepted))
        names = _ZOO.vocabulary.names
        return part.column("weights")[rows], [names[id] for id in part.column("ids")[rows].flatten().tolist()]


# --- skeletons --------------------------------------------------------------------------------------------------

_POOL, _PROGRAMS = PoolSettings(variables=2, longest=6), 60


@cache
def skeletons() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "skeletons.npz"
        skeleton_file._write(path, skeleton_file._part((_PROGRAMS, 0, 0, _POOL)), _PROGRAMS, _POOL)
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    return json.dumps(as_json({**arrays, "header": json.loads(arrays["header"].tobytes())})).encode()


def use_skeletons(content: bytes) -> object:
    found = content_of(content)
    header = json.dumps(found.get("header")).encode()
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    arrays = {name: value for name, value in arrays.items() if not value.dtype.hasobject}  # no file holds these
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "skeletons.npz"
        np.savez(path, allow_pickle=False, **{**arrays, "header": np.frombuffer(header, dtype=np.uint8)})
        kept = read_skeletons(path, _PROGRAMS, _POOL)
        return [(kept.pool.skeleton(row).infix(), kept.structures[row]) for row in range(len(kept.pool))]
