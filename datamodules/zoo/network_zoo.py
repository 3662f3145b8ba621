"""A zoo: tiny networks, each trained to an equation of its own, made once, kept on disk, and read again.

What is in a zoo is a function of its settings alone; so they name its folder:

    logs/zoo/1f0c5a7e9b3d/zoo.json             the settings
    logs/zoo/1f0c5a7e9b3d/train_00000/         weights.npy ids.npy r2.npy of 2,048 networks, and facts.json

Every shard can be made by any process, at any time, and is the same. A shard is written under another name and
renamed when it is whole, so a kill costs one of them. Processes share the work by taking what nobody has taken.

The equations of validation and test are none of the training's: which part an equation belongs to is decided by
its coefficients, not by network, so no spelling and no other seed of it leaks.

Source: B. Saiprasad, D. Singh, "Symbolic Regression via Neural Network weights"; what is drawn here is uniform by
length, `equations=slides` is as they drew.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.zoo.network_training import (
    chebyshev_points,
    initial_weights,
    network_r2,
    train_networks,
)
from datamodules.zoo.settings import ZooSettings
from expressions.polynomial_grammar import SumVocabulary
from foundation.errors import UserError
from foundation.files import locked, write_whole
from modules.networks.weights.small_networks import rescaled

__all__ = [
    "SHARD",
    "SPLITS",
    "Shards",
    "draw_equations",
    "equation_values",
    "make_zoo",
    "trained",
]

SHARD = 2048  # networks; less than a second of work
SPLITS = ("train", "validation", "test")
HELD_OUT = 0.05  # of the equations; half of them for validation
_CHUNK = 1024  # networks that are trained together: they stay in a cache
_COMPARED = 64  # points of the R2
_PLENTY = 2000  # equations of a length; of fewer, fewer networks are drawn
_TRIES = 1000
_SAYS_SO_SECONDS = 5.0
_FILES = {"weights": np.float32, "ids": np.uint8, "r2": np.float32}


# ------------------------------------------------------------------------------------------------- equations

Draw = Callable[[SumVocabulary, np.ndarray, np.random.Generator], np.ndarray]
"""Equations of these lengths, as ids."""


def draw_equations(settings: ZooSettings, split: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Equations of one part of the zoo, as ids with start and end.

    Args:
        settings: of the zoo.
        split: one of `SPLITS`.
        count: how many.
        rng: of the draws.

    Returns:
        `[count, longest + 2]`
    """
    vocabulary = settings.vocabulary
    draw = _by_length(vocabulary, split) if settings.equations == "uniform" else _as_the_slides
    ids = np.zeros((count, vocabulary.longest + 2), dtype=np.int64)
    fixed = _lengths(vocabulary, split, count, rng) if settings.equations == "uniform" else np.zeros(count, int)
    candidates = 2 if split == "train" else round(1 / HELD_OUT)
    open_rows = np.arange(count)
    for _ in range(_TRIES):
        tried = draw(vocabulary, np.repeat(fixed[open_rows], candidates), rng)
        fits = _belongs(vocabulary.coefficients(tried), split).reshape(-1, candidates)
        first = fits.argmax(axis=1) + np.arange(len(fits)) * candidates
        found = fits.any(axis=1)
        ids[open_rows[found]] = tried[first[found]]
        open_rows = open_rows[~found]
        if not len(open_rows):
            return ids
    raise UserError(f"the {split} part has no equations: data.degree or data.largest is too small")


def _by_length(vocabulary: SumVocabulary, split: str) -> Draw:
    counts = np.array([vocabulary.count(length) for length in range(vocabulary.longest + 1)])

    def draw(vocabulary: SumVocabulary, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return vocabulary.strings(lengths, rng.integers(counts[lengths]))

    return draw


def _lengths(vocabulary: SumVocabulary, split: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths of strings, each as likely as any other, but for those of which there are few. `[count]`"""
    lengths = np.array(vocabulary.lengths)
    weights = np.array([min(1.0, vocabulary.count(length) / _PLENTY) for length in lengths])
    for place, length in enumerate(lengths):
        number = vocabulary.count(int(length))
        if number <= _PLENTY:  # perhaps none of them is held out
            every = vocabulary.strings(np.full(number, length), np.arange(number))
            weights[place] *= _belongs(vocabulary.coefficients(every), split).any()
    return rng.choice(lengths, count, p=weights / weights.sum())


def _as_the_slides(vocabulary: SumVocabulary, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each coefficient a whole number or one with a decimal, as likely; a term that is 0 is left out but the last.

    So most strings are long, and many have a second spelling, such as `+4.0` beside `+4`.
    """
    shape = (len(lengths), vocabulary.degree + 1)
    whole = rng.random(shape) < 0.5
    most = vocabulary.largest
    tenths = np.where(
        whole, 10 * rng.integers(-most, most + 1, shape), rng.integers(-10 * most, 10 * most + 1, shape)
    )
    plus = rng.random(shape) < 0.5  # of what is 0
    texts = []
    for row in range(len(lengths)):
        parts = []
        for power in range(vocabulary.degree, -1, -1):
            value = int(tenths[row, power])
            if value or power == 0:
                digit, rest = divmod(abs(value), 10)
                sign = "-" if value < 0 or (value == 0 and not plus[row, power]) else "+"
                parts.append(f"{sign}{digit}{'' if whole[row, power] else f'.{rest}'}{'*x' * power}")
        texts.append("".join(parts))
    return vocabulary.encode(texts)


def _belongs(coefficients: np.ndarray, split: str) -> np.ndarray:
    """Whether equations are of a part of the zoo; which one is a hash of what they mean. `[n, terms] -> [n]`"""
    tenths = np.rint(coefficients * 10).astype(np.int64) + 128
    mixed = np.zeros(len(tenths), dtype=np.uint64)
    for column in tenths.T.astype(np.uint64):
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    place = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    begin, end = {"train": (HELD_OUT, 1.0), "validation": (0.0, HELD_OUT / 2), "test": (HELD_OUT / 2, HELD_OUT)}[
        split
    ]
    belongs: np.ndarray = (place >= begin) & (place < end)
    return belongs


def equation_values(vocabulary: SumVocabulary, coefficients: Tensor, x: Tensor) -> Tensor:
    """Values of equations. `[N, terms], [X] -> [N, X]`, in double precision"""
    return coefficients.double() @ torch.from_numpy(vocabulary.basis(x.double().numpy()))


# -------------------------------------------------------------------------------------------------- networks


def trained(settings: ZooSettings, coefficients: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Networks that compute equations.

    They are trained on [-1, 1] to targets of `target_size`; their first and last layers then take up the range of
    x and the size.

    Args:
        settings: of the zoo.
        coefficients: `[N, terms]`
        generator: of the starts.

    Returns:
        Weights `[N, P]`, and the R2 that they reach over the whole range `[N]`.
    """
    shape, training, vocabulary, scale = settings.shape, settings, settings.vocabulary, settings.scale
    centre, half = (settings.x_low + settings.x_high) / 2, (settings.x_high - settings.x_low) / 2
    points, compared = chebyshev_points(settings.train_points, -1.0, 1.0), torch.linspace(-1, 1, _COMPARED)

    def wanted(x: Tensor) -> Tensor:
        return (equation_values(vocabulary, coefficients, centre + half * x.double()) / scale).float()

    shared = torch.Generator().manual_seed(settings.start_seed)
    flat = torch.empty(len(coefficients), shape.size)
    r2 = torch.empty(len(coefficients))
    targets, values = wanted(points), wanted(compared)
    for begin in range(0, len(coefficients), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        if settings.start == "shared":
            start = initial_weights(shape, 1, training, shared.manual_seed(settings.start_seed))
            start = start.expand(len(targets[rows]), -1)
        else:
            start = initial_weights(shape, len(targets[rows]), training, generator)
        flat[rows] = train_networks(shape, start, points, targets[rows], training)
        r2[rows] = network_r2(shape, flat[rows], compared, values[rows])
    for _ in range(settings.passes - 1):
        poor = (r2 < settings.floor).nonzero()[:, 0]
        if not len(poor):
            break
        flat[poor] = train_networks(shape, flat[poor], points, targets[poor], training)
        r2[poor] = network_r2(shape, flat[poor], compared, values[poor])
    return rescaled(shape, flat, centre, half, scale), r2


def _made(settings: ZooSettings, split: str, number: int) -> dict[str, np.ndarray]:
    """One shard."""
    seeds = [settings.zoo_seed, SPLITS.index(split), number]
    ids = draw_equations(settings, split, SHARD, np.random.default_rng(seeds))
    coefficients = torch.from_numpy(settings.vocabulary.coefficients(ids))
    state = int(np.random.SeedSequence([*seeds, 1]).generate_state(1)[0])
    flat, r2 = trained(settings, coefficients, torch.Generator().manual_seed(state))
    return {"weights": flat.numpy(), "ids": ids.astype(np.uint8), "r2": r2.numpy()}


# --------------------------------------------------------------------------------------------------- on disk


def make_zoo(
    settings: ZooSettings, cache: str | Path, counts: dict[str, int], processes: int | None = None
) -> Path:
    """Make what a zoo lacks.

    Args:
        settings: of the zoo.
        cache: the folder that zoos are kept in.
        counts: networks of each part, rounded up to whole shards.
        processes: that work at once; None: one a core.

    Returns:
        The zoo's folder.

    Raises:
        UserError: it cannot be written.
    """
    folder = Path(cache) / settings.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        header = folder / "zoo.json"
        if not header.exists():
            write_whole(header, json.dumps(settings.content, indent=1) + "\n")
        missing = [
            (split, number)
            for split, count in counts.items()
            for number in range(math.ceil(count / SHARD))
            if not _shard(folder, split, number).is_dir()
        ]
        if missing:
            _make(settings, folder, missing, processes)
    except OSError as error:
        raise UserError(
            f"data.cache={cache} cannot be written ({error.strerror}): choose another folder, or make room"
        ) from error
    return folder


def _make(settings: ZooSettings, folder: Path, missing: Sequence[tuple[str, int]], processes: int | None) -> None:
    """All missing shards; the first one tells how long it will take."""
    began = time.perf_counter()
    _make_shard(settings, folder, *missing[0])
    each = time.perf_counter() - began
    rest = missing[1:]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(processes or cores, len(rest))
    seconds = each * len(rest) / max(1, workers)
    if seconds > _SAYS_SO_SECONDS:
        print(
            f"Training {len(rest) * SHARD:,} small networks into {folder} takes about {seconds:.0f} seconds, "
            "once. What is done is kept if it is broken off.",
            file=sys.stderr,
            flush=True,
        )
    if workers > 1 and seconds > _SAYS_SO_SECONDS:  # a process takes seconds to begin
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            for done in [pool.submit(_make_shard, settings, folder, *one) for one in rest]:
                done.result()
    else:
        for one in rest:
            _make_shard(settings, folder, *one)


def _make_shard(settings: ZooSettings, folder: Path, split: str, number: int) -> None:
    """One shard, unless it is there, or another process is making it, for which this one waits."""
    shard = _shard(folder, split, number)
    with locked(folder / f".{shard.name}.lock"):
        if shard.is_dir():
            return
        for left in folder.glob(f"{shard.name}.*.part"):  # by a process that was killed
            shutil.rmtree(left)
        began, threads = time.process_time(), torch.get_num_threads()
        torch.set_num_threads(1)  # the same sums in the same order on every machine
        try:
            arrays = _made(settings, split, number)
        finally:
            torch.set_num_threads(threads)
        temporary = shard.with_name(f"{shard.name}.{os.getpid()}.part")
        temporary.mkdir()
        for name, array in arrays.items():
            with (temporary / f"{name}.npy").open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
                stream.flush()
                os.fsync(stream.fileno())
        write_whole(temporary / "facts.json", json.dumps({"cpu_seconds": time.process_time() - began}))
        temporary.rename(shard)


def _shard(folder: Path, split: str, number: int) -> Path:
    return folder / f"{split}_{number:05d}"


class Shards:
    """One part of a zoo, mapped into memory.

    Args:
        folder: of the zoo.
        settings: of the zoo.
        split: one of `SPLITS`.
        count: networks that are looked at, from the first; those below the floor are then left out.

    Attributes:
        accepted: numbers of those that are not. `[n]`
        r2: of all that were looked at. `[count]`
        cpu_seconds: that making them took.

    Raises:
        UserError: a shard is missing or damaged.
    """

    def __init__(self, folder: Path, settings: ZooSettings, split: str, count: int) -> None:
        self.folder = folder
        columns = {"weights": settings.shape.size, "ids": settings.vocabulary.longest + 2}
        self._arrays: dict[str, list[np.ndarray]] = {name: [] for name in _FILES}
        self.cpu_seconds = 0.0
        for number in range(math.ceil(count / SHARD)):
            shard = _shard(folder, split, number)
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

    def column(self, name: str) -> Column:
        """The rows of one file, `weights` or `ids`, of the networks that were accepted."""
        return Column(self._arrays[name], self.accepted)


class Column:
    """Rows of many files as if they were one tensor, as `BatchLoader` needs it.

    Args:
        parts: one array a shard.
        rows: numbers of the rows that there are, over all shards.
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
