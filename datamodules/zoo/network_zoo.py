"""A zoo: tiny networks, each trained to an equation of its own, made once, kept on disk, and read again.

The content of a zoo depends on its settings alone, so a hash of them names its folder:

    logs/zoo/1f0c5a7e9b3d/zoo.json             the settings
    logs/zoo/1f0c5a7e9b3d/train_00000/         weights.npy ids.npy r2.npy of 2,048 networks, and facts.json

Every shard can be made by any process, at any time, and is the same. A shard is written under another name and
renamed when it is whole, so a kill costs one shard. Every process takes shards that no other process has taken.

Source: B. Saiprasad, D. Singh, "Symbolic Regression via Neural Network weights". Equations are drawn uniformly by
length here; `equations=slides` draws them as in that work.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.zoo import shards
from datamodules.zoo.equations import SPLITS, draw_equations, equation_values
from datamodules.zoo.network_training import (
    chebyshev_points,
    initial_weights,
    network_r2,
    train_networks,
)
from datamodules.zoo.settings import ZooSettings
from foundation.errors import UserError
from foundation.files import locked, making_folder, remove_unfinished, replace_file, writing
from foundation.terminal import warn
from modules.networks.weights.small_networks import rescaled

__all__ = ["make_zoo", "trained"]

_CHUNK = 1024  # networks that are trained together: they stay in a cache
_COMPARED = 64  # points of the R2
_SAYS_SO_SECONDS = 5.0


def trained(settings: ZooSettings, coefficients: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Networks that compute equations.

    They are trained on [-1, 1] to targets of `target_size`; their first and last layers then take up the range of
    x and the size.

    Args:
        settings: settings of the zoo.
        coefficients: coefficients of each equation. `[N, terms]`
        generator: generator of the starts.

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
    ids = draw_equations(settings, split, shards.SHARD, np.random.default_rng(seeds))
    coefficients = torch.from_numpy(settings.vocabulary.coefficients(ids))
    state = int(np.random.SeedSequence([*seeds, 1]).generate_state(1)[0])
    flat, r2 = trained(settings, coefficients, torch.Generator().manual_seed(state))
    return {"weights": flat.numpy(), "ids": ids.astype(np.uint8), "r2": r2.numpy()}


def make_zoo(
    settings: ZooSettings, cache: str | Path, counts: dict[str, int], processes: int | None = None
) -> Path:
    """Make the missing networks of a zoo.

    Args:
        settings: settings of the zoo.
        cache: folder that zoos are kept in.
        counts: number of networks of each part, rounded up to whole shards.
        processes: number of processes that work at once; None for one a core.

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
            replace_file(header, json.dumps(settings.content, indent=1) + "\n")
        missing = [
            (split, number)
            for split, count in counts.items()
            for number in range(math.ceil(count / shards.SHARD))
            if not shards.shard_folder(folder, split, number).is_dir()
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
        warn(
            f"Training {len(rest) * shards.SHARD:,} small networks into {folder} takes about {seconds:.0f} "
            "seconds, once. What is done is kept if it is broken off."
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
    shard = shards.shard_folder(folder, split, number)
    with locked(folder / f".{shard.name}.lock"):
        if shard.is_dir():
            return
        remove_unfinished(shard)
        began, threads = time.process_time(), torch.get_num_threads()
        torch.set_num_threads(1)  # the same sums in the same order on every machine
        try:
            arrays = _made(settings, split, number)
        finally:
            torch.set_num_threads(threads)
        with making_folder(shard) as unfinished:
            for name, array in arrays.items():
                with writing(unfinished / f"{name}.npy") as stream:
                    np.save(stream, array, allow_pickle=False)
            replace_file(unfinished / "facts.json", json.dumps({"cpu_seconds": time.process_time() - began}))
