"""Samples of a stream, frozen into the files of a corpus.

Batch `k` of a corpus is batch `k` of the stream, so a shard can be made again at any time, by any process, and is
the same. A shard is written under another name and renamed when it is whole, so a reader finds complete shards
only. A corpus with fewer samples than requested grows.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datamodules.loading.numbered_batches import Batch
from datamodules.streams.corpus_files import (
    FORMAT,
    HEADER,
    INDEX,
    LOCK,
    TYPES,
    Content,
    check_is_ours,
    checksum,
    missing_shards,
    read_header,
    shard_folder,
)
from foundation.durations import duration
from foundation.errors import UserError
from foundation.files import locked, making_folder, remove_unfinished, replace_file, writing
from foundation.terminal import warn

__all__ = ["Source", "freeze"]

SHARD_SAMPLES = 32_768  # seconds of work, which a kill may cost
_TIMED = 3  # batches by which time and room are estimated
_SAYS_SO_SECONDS = 5.0
_SPARE_BYTES = 1 << 28  # that a disk must have left


class Source(Protocol):
    """A source of samples: batches by epoch and number, as `datamodules.equations.StreamLoader` has them."""

    num_workers: int

    @property
    def pool_batches(self) -> int:
        """Number of batches that are made of the same skeletons, before others are drawn."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""

    def prepare(self) -> None:
        """Draw the skeletons of the epoch."""

    def batch(self, number: int) -> Batch:
        """One batch of the epoch."""

    def batches(self, numbers: Sequence[int]) -> Iterator[Batch]:
        """Some batches of the epoch."""


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
    """Make the missing samples of a corpus.

    Any number of processes may call this at once: one of them writes, the others wait for it. A process that is
    killed leaves whole shards, and the next one goes on behind them.

    Args:
        source: function `source(seed, epoch_samples)` that makes samples, epoch by epoch from the first on.
        folder: folder of the corpus.
        samples: number of samples that the corpus must have, rounded up to whole shards.
        content: description of the samples.
        seed: random seed of the source. A corpus that is there already goes on with its own.
        epoch_samples: number of samples in an epoch of the source; also that of a corpus that is there already.
        shard_samples: number of samples in a shard of a new corpus, `SHARD_SAMPLES` if None.

    Raises:
        UserError: the folder holds a corpus of other samples, a damaged one or something else, cannot be
            written to, or there is no room.
    """
    folder = Path(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if not missing_shards(folder, samples, read_header(folder, content)):
            return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_is_ours(folder)
        with locked(folder / LOCK, f"freezing {folder}") as alone:
            if not (folder / HEADER).exists():
                own = {"seed": seed, "epoch_samples": epoch_samples}
                batches = max(1, (shard_samples or SHARD_SAMPLES) // content.batch_size)
                _begin(folder, content, own | {"shard_batches": batches})
            header = read_header(folder, content)
            missing = missing_shards(folder, samples, header)  # another process may have been faster
            if missing:
                if alone:
                    for number in missing:
                        remove_unfinished(shard_folder(folder, number))
                _write(source(header["seed"], header["epoch_samples"]), folder, header, missing)
    except OSError as error:
        raise UserError(
            f"data.corpus={folder} cannot be written ({error.strerror}): choose another folder, or make room"
        ) from error


def _begin(folder: Path, content: Content, own: Mapping[str, int]) -> None:
    remove_unfinished(folder / HEADER)
    header = {
        "format": FORMAT,
        "settings": dict(content.settings),
        "vocabulary": list(content.vocabulary),
        "batch_size": content.batch_size,
        **own,
    }
    replace_file(folder / HEADER, json.dumps(header, indent=1) + "\n")


def _write(source: Source, folder: Path, header: Mapping[str, Any], missing: Sequence[int]) -> None:
    """Write the missing shards, one after the other."""
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
            _write_shard(shard_folder(folder, shard), held)


def _announce(source: Source, folder: Path, batches: int, batch_size: int) -> None:
    """Estimate and print the duration from the first batches; refuse a disk with too little space."""
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
        warn(
            f"Freezing {batches * batch_size:,} samples ({size / 1e9:.1f} GB) into {folder} takes about "
            f"{duration(seconds)}, once; what is done is kept if it is broken off."
        )


def _bytes(batch: Batch) -> int:
    """Size of a batch on disk."""
    return sum(part.numel() * np.dtype(kind).itemsize for part, kind in zip(batch, TYPES.values(), strict=True))


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
    """Write a shard under another name, then rename it: a shard that has its name is whole."""
    arrays: list[dict[str, np.ndarray]] = [
        {name: part.numpy().astype(kind) for (name, kind), part in zip(TYPES.items(), batch, strict=True)}
        for batch in batches
    ]
    with making_folder(shard) as folder:
        for name in TYPES:
            with writing(folder / f"{name}.npy") as stream:
                np.save(stream, np.concatenate([own[name].ravel() for own in arrays]), allow_pickle=False)
        index = {
            "rows": [own["target"].shape[1] for own in arrays],
            "length": [own["ids"].shape[1] for own in arrays],
            "checksum": [checksum(own) for own in arrays],
            "bytes": {name: (folder / f"{name}.npy").stat().st_size for name in TYPES},
        }
        replace_file(folder / INDEX, json.dumps(index))
