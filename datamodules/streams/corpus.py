"""A corpus: the first samples of a stream of equations, made once, kept on disk, and read again every epoch.

A stream makes its samples while it is trained on, and never repeats itself; but several fast GPUs train faster
than a few cores can make samples. Then these are frozen first: `data.corpus=logs/corpus
data.corpus_samples=10000000`.

On disk a corpus is a folder:

    corpus.json                  what the samples are (settings, vocabulary, seed), and how they are laid out
    shard_00000/index.json       rows, ids and checksum of each batch of the shard
    shard_00000/inputs.npy …     target.npy present.npy ids.npy: its batches one behind the other, flat

Batch `k` is batch `k` of the stream, so a shard can be made again at any time, by any process, and is the same.
A shard is written under another name and renamed when it is whole: what a reader finds is complete. A corpus
that is too short for what is asked grows.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datamodules.streams.numbered_batches import Batch, NumberedBatches
from foundation.errors import UserError
from foundation.files import duration, locked, write_whole

__all__ = ["Content", "Corpus", "CorpusLoader", "Source", "freeze"]

FORMAT = "rediscover corpus 1"
HEADER, INDEX, LOCK = "corpus.json", "index.json", ".lock"
SHARD_SAMPLES = 32_768  # seconds of work, which a kill may cost
_TYPES: dict[str, Any] = {"inputs": np.float32, "target": np.float32, "present": np.bool_, "ids": np.int16}
_OPEN_SHARDS = 32  # at most, four files each: a process may not open thousands
_TIMED = 3  # batches by which time and room are estimated
_SAYS_SO_SECONDS = 5.0
_SPARE_BYTES = 1 << 28  # that a disk must have left


class Source(Protocol):
    """What is frozen: batches by epoch and number, as `datamodules.equations.StreamLoader` has them."""

    num_workers: int

    @property
    def pool_batches(self) -> int:
        """Batches that are made of the same skeletons, of which others are drawn then."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""

    def prepare(self) -> None:
        """Draw the skeletons of the epoch."""

    def batch(self, number: int) -> Batch:
        """One batch of the epoch."""

    def batches(self, numbers: Sequence[int]) -> Iterator[Batch]:
        """Some batches of the epoch."""


@dataclass(frozen=True)
class Content:
    """What the samples of a corpus are; one with other samples is refused.

    Attributes:
        settings: What they are drawn by, JSON values by the names of the configuration; `variables` is one.
        vocabulary: What each id is called.
        batch_size: Samples of a batch.
    """

    settings: Mapping[str, Any]
    vocabulary: Sequence[str]
    batch_size: int


# ------------------------------------------------------------------------------------------------ writing


def freeze(
    source: Callable[[int, int], Source],
    folder: str | Path,
    samples: int,
    content: Content,
    *,
    seed: int,
    epoch_samples: int,
    shard_samples: int | None = None,
) -> None:
    """Make what a corpus lacks of so many samples; nothing where it lacks nothing.

    Any number of processes may call this at once: one of them writes, the others wait for it. A process that is
    killed leaves whole shards, and the next one goes on behind them.

    Args:
        source: `source(seed, epoch_samples)` makes samples, epoch by epoch from the first on.
        folder: Of the corpus.
        samples: That it must have, rounded up to whole shards.
        content: What the samples are.
        seed, epoch_samples: Of the source. A corpus that is there already goes on with its own.
        shard_samples: Of a new corpus; None: `SHARD_SAMPLES`.

    Raises:
        UserError: The folder holds a corpus of other samples, a damaged one or something else, cannot be
            written to, or there is no room.
    """
    folder = Path(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if not _missing(folder, samples, _header(folder, content)):
            return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK, f"freezing {folder}") as alone:
            if alone:
                _clear(folder)
            if not (folder / HEADER).exists():
                own = {"seed": seed, "epoch_samples": epoch_samples}
                batches = max(1, (shard_samples or SHARD_SAMPLES) // content.batch_size)
                _begin(folder, content, own | {"shard_batches": batches})
            header = _header(folder, content)
            missing = _missing(folder, samples, header)  # another process may have been faster
            if missing:
                _write(source(header["seed"], header["epoch_samples"]), folder, header, missing)
    except OSError as error:
        raise UserError(
            f"data.corpus={folder} cannot be written ({error.strerror}): choose another folder, or make room"
        ) from error


def _begin(folder: Path, content: Content, own: Mapping[str, int]) -> None:
    if any(path.name != LOCK for path in folder.iterdir()):
        raise UserError(f"data.corpus={folder} holds other things than a corpus: choose an empty folder")
    header = {
        "format": FORMAT,
        "settings": dict(content.settings),
        "vocabulary": list(content.vocabulary),
        "batch_size": content.batch_size,
        **own,
    }
    write_whole(folder / HEADER, json.dumps(header, indent=1) + "\n")


def _write(source: Source, folder: Path, header: Mapping[str, Any], missing: Sequence[int]) -> None:
    """The missing shards, one after the other."""
    batches = len(missing) * header["shard_batches"]
    _announce(source, folder, batches, header["batch_size"])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("freezing the corpus, batches", total=batches)
        for shard in missing:
            held = []
            for batch in _shard_batches(source, header, shard):
                held.append(batch)
                progress.advance(task)
            _write_shard(_shard(folder, shard), held)


def _announce(source: Source, folder: Path, batches: int, batch_size: int) -> None:
    """Say how long it will take, by the first batches; refuse where there is no room."""
    source.set_epoch(0)
    began = time.perf_counter()
    source.prepare()
    pool = time.perf_counter() - began
    first = [source.batch(number) for number in range(_TIMED)]
    each = (time.perf_counter() - began - pool) / _TIMED
    seconds = pool * math.ceil(batches / source.pool_batches) + each * batches / max(1, source.num_workers)
    size = batches / _TIMED * sum(_bytes(batch) for batch in first)
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB left, the corpus needs {size / 1e9:.1f} GB more: give fewer "
            "data.corpus_samples, or a folder on another disk"
        )
    if seconds > _SAYS_SO_SECONDS:
        print(
            f"Freezing {batches * batch_size:,} samples ({size / 1e9:.1f} GB) into {folder} takes about "
            f"{duration(seconds)}, once; what is done is kept if it is broken off.",
            file=sys.stderr,
            flush=True,
        )


def _bytes(batch: Batch) -> int:
    """On disk."""
    return sum(part.numel() * np.dtype(kind).itemsize for part, kind in zip(batch, _TYPES.values(), strict=True))


def _shard_batches(source: Source, header: Mapping[str, Any], shard: int) -> Iterator[Batch]:
    """The batches of a shard, of whichever epochs they are."""
    an_epoch = math.ceil(header["epoch_samples"] / header["batch_size"])
    number, end = shard * header["shard_batches"], (shard + 1) * header["shard_batches"]
    while number < end:
        epoch, first = divmod(number, an_epoch)
        count = min(end - number, an_epoch - first)
        source.set_epoch(epoch)
        yield from source.batches(range(first, first + count))
        number += count


def _write_shard(shard: Path, batches: Sequence[Batch]) -> None:
    """Under another name first: a shard that has its name is whole."""
    arrays: list[dict[str, np.ndarray]] = [
        {name: part.numpy().astype(kind) for (name, kind), part in zip(_TYPES.items(), batch, strict=True)}
        for batch in batches
    ]
    temporary = shard.with_name(f"{shard.name}.{os.getpid()}.part")
    temporary.mkdir()
    for name in _TYPES:
        with (temporary / f"{name}.npy").open("wb") as stream:
            np.save(stream, np.concatenate([own[name].ravel() for own in arrays]), allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
    index = {
        "rows": [own["target"].shape[1] for own in arrays],
        "length": [own["ids"].shape[1] for own in arrays],
        "checksum": [_checksum(own) for own in arrays],
        "bytes": {name: (temporary / f"{name}.npy").stat().st_size for name in _TYPES},
    }
    write_whole(temporary / INDEX, json.dumps(index))
    try:
        temporary.rename(shard)
    except OSError:
        if not shard.exists():
            raise
        shutil.rmtree(temporary)  # where there are no locks, another process was faster; its shard is the same


def _clear(folder: Path) -> None:
    """Remove what killed processes have left."""
    for path in folder.glob("*.part"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# ---------------------------------------------------------------------------- what a folder says about itself


def _header(folder: Path, content: Content) -> dict[str, Any]:
    """What the folder says, if its samples are those that are wanted.

    Raises:
        FileNotFoundError: It says nothing.
        UserError: It says something else.
    """
    text = (folder / HEADER).read_text(encoding="utf-8")
    try:
        found = json.loads(text)
        theirs = {**found["settings"], "batch_size": found["batch_size"]}
        whole = found["format"] == FORMAT
        whole &= all(type(found[word]) is int for word in ("seed", "epoch_samples", "shard_batches"))
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{folder / HEADER} is damaged or of another version: choose another folder")
    ours = json.loads(json.dumps({**content.settings, "batch_size": content.batch_size}))  # tuples become lists
    for key, value in ours.items():
        if key not in theirs or theirs[key] != value:
            raise UserError(
                f"{folder} was frozen with data.{key}={_shown(theirs.get(key))}, not {_shown(value)}: give the "
                "same, or another folder as data.corpus"
            )
    if found["vocabulary"] != list(content.vocabulary) or theirs.keys() != ours.keys():
        raise UserError(f"{folder} was frozen by another version of this program: choose another folder")
    header: dict[str, Any] = found
    return header


def _shown(value: Any) -> str:
    """As on the command line."""
    return "null" if value is None else json.dumps(value).replace('"', "").replace(" ", "")


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard_{number:05d}"


def _missing(folder: Path, samples: int, header: Mapping[str, Any]) -> list[int]:
    """Shards that are not there.

    Raises:
        UserError: One that is there is damaged.
    """
    missing = []
    for number in range(math.ceil(samples / (header["batch_size"] * header["shard_batches"]))):
        shard = _shard(folder, number)
        if not shard.exists():
            missing.append(number)
        elif len(_index(shard)["rows"]) != header["shard_batches"]:
            raise _damaged(shard)
    return missing


def _index(shard: Path) -> dict[str, Any]:
    """The index of a shard that is there, whose files are as long as they should be."""
    try:
        index: dict[str, Any] = json.loads((shard / INDEX).read_text(encoding="utf-8"))
        counts = {len(index[name]) for name in ("rows", "length", "checksum")}
        sizes = {name: (shard / f"{name}.npy").stat().st_size for name in _TYPES}
        whole = len(counts) == 1 and sizes == index["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise _damaged(shard)
    return index


def _damaged(shard: Path) -> UserError:
    return UserError(
        f"{shard} is damaged, its content is not what was written: delete it, and the next run makes it again"
    )


def _checksum(arrays: Mapping[str, np.ndarray]) -> int:
    value = 0
    for name in _TYPES:
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).data, value)
    return value


# ------------------------------------------------------------------------------------------------ reading


class Corpus:
    """Batches of a corpus by number.

    Args:
        folder: Of the corpus.
        samples: That are read of it, from its beginning, rounded up to whole batches.
        content: What the samples must be.

    Raises:
        UserError: It is damaged, too short, or of other samples.
    """

    def __init__(self, folder: str | Path, samples: int, content: Content) -> None:
        self.folder = Path(folder)
        try:
            header = _header(self.folder, content)
            missing = _missing(self.folder, samples, header)
        except FileNotFoundError:
            raise UserError(f"data.corpus={folder} is no corpus: prepare_data() makes one") from None
        if missing:
            raise UserError(
                f"data.corpus={folder} lacks {_shard(self.folder, missing[0]).name} of the {samples:,} samples "
                "that are asked for: prepare_data() makes what is missing"
            )
        self.batch_size, self.variables = content.batch_size, int(content.settings["variables"])
        self._batches = math.ceil(samples / content.batch_size)
        self._shard_batches: int = header["shard_batches"]
        self._open: OrderedDict[int, _Shard] = OrderedDict()

    def __len__(self) -> int:
        """Batches."""
        return self._batches

    def __getstate__(self) -> dict[str, Any]:
        # A worker process opens the files itself.
        return {**self.__dict__, "_open": OrderedDict()}

    def batch(self, number: int) -> Batch:
        """One batch.

        Raises:
            UserError: It is not what was written.
        """
        shard, place = divmod(number, self._shard_batches)
        arrays = self._opened(shard).read(place)
        inputs, target, present, ids = (torch.from_numpy(arrays[name]) for name in _TYPES)
        return inputs, target, present, ids.long()

    def _opened(self, number: int) -> _Shard:
        found = self._open.pop(number, None)
        if found is None:
            if len(self._open) >= _OPEN_SHARDS:
                self._open.popitem(last=False)
            found = _Shard(_shard(self.folder, number), self.batch_size, self.variables)
        self._open[number] = found  # the newest one is last
        return found


class _Shard:
    """The memory-mapped files of a shard."""

    def __init__(self, folder: Path, batch_size: int, variables: int) -> None:
        self.folder, self.index = folder, _index(folder)
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
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _TYPES
            }
        except (OSError, ValueError):
            raise _damaged(folder) from None
        for name, kind in _TYPES.items():
            if self._arrays[name].shape != (self._offsets[name][-1],) or self._arrays[name].dtype != kind:
                raise _damaged(folder)

    def read(self, place: int) -> dict[str, np.ndarray]:
        """Copies of the arrays of a batch."""
        arrays = {}
        for name, array in self._arrays.items():
            begin, end = self._offsets[name][place : place + 2]
            arrays[name] = np.array(array[begin:end]).reshape(self._shapes[name][place])
        if _checksum(arrays) != self.index["checksum"][place]:
            raise _damaged(self.folder)
        return arrays


class CorpusLoader(NumberedBatches):
    """The batches of a corpus in a random order: all of them once, then all of them in another order.

    An epoch is `samples` indices long, as that of a stream, not once through the corpus. Which batches it has is a
    function of `(seed, epoch)` alone (and of the number of ranks where these do not divide an epoch evenly).

    Args:
        corpus: What is read.
        samples: Of an epoch, of all ranks together; rounded up to whole batches, as many on every rank.
        seed: Of the orders.
        num_workers: Processes that read.
        rank: This process among the sharing ones; None asks `torch.distributed`.
        world_size: How many processes share the samples; None asks `torch.distributed`.
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
        """Which batch of the corpus that is."""
        turn, place = divmod(self.epoch * len(self) * self.share()[1] + number, len(self.corpus))
        if self._order is None or self._order[0] != turn:
            self._order = (turn, np.random.default_rng([self.seed, turn]).permutation(len(self.corpus)))
        return int(self._order[1][place])
