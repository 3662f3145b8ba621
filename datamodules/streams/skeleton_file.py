"""Skeletons in a file: drawn once, by all cores, and then read by every run and every process.

A stream draws new skeletons every few epochs, in one process, while what trains on them waits: half of the time,
where a GPU takes 100,000 samples a second. From a file all epochs have the same skeletons, so there must be many:
`data.skeletons=logs/skeletons.npz data.programs=2000000`.

The file holds arrays of numbers, the settings and the names of the operators as JSON; nothing in it is ever run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datamodules.settings.streams import PoolSettings
from datamodules.streams.skeleton_pool import SPLITS, SkeletonPool, benchmark_fingerprints, draw_pool
from expressions.numbering import numbers_of, renumbered
from expressions.sampling import PAD
from expressions.schema import check_programs
from expressions.skeleton import structure_of
from foundation.array_files import ArrayFileError, read_npz
from foundation.durations import duration
from foundation.errors import UserError
from foundation.files import FileError, MissingFileError, locked, writing
from foundation.schema import FormatError, array, choice, json_content, mapping_of, plain, record, whole
from foundation.terminal import warn

__all__ = ["KeptSkeletons", "keep_skeletons", "read_skeletons", "structures_of"]

FORMAT = "rediscover skeletons 2"
_UNNAMED = "rediscover skeletons 1"  # programs without the names of their operators
_HEADER = record(
    {
        "format": choice(FORMAT, _UNNAMED),
        "programs": whole(1),
        "settings": mapping_of(plain, most=1_000),
        "drawn": whole(),
        "excluded": whole(),
    },
    {"numbers": plain},
)
_BYTES_A_TOKEN, _LARGEST_REST = 8, 4 << 20  # two programs, places of values and a number of columns; the header
_PART = 16_384  # programs that are drawn together, at most
_DRAWING = 13  # tells these generators apart from the stream's
_PROGRAMS_A_SECOND = 2_000.0  # of a core, about
_SAYS_SO_SECONDS = 5.0


@dataclass(frozen=True)
class KeptSkeletons:
    """Skeletons, and what a model is to say of each.

    Attributes:
        pool: The skeletons.
        structures: Their structures' tokens, padded behind with -1. `[skeletons, longest]` int16
    """

    pool: SkeletonPool
    structures: np.ndarray


def structures_of(pool: SkeletonPool) -> np.ndarray:
    """The structures (`expressions.skeleton.structure_of`) of all skeletons. `[skeletons, longest]` int16"""
    structures = np.full(pool.tokens.shape, PAD, dtype=np.int16)
    for row in range(len(pool)):
        tokens = structure_of(pool.skeleton(row)).tokens
        structures[row, : len(tokens)] = tokens
    return structures


def keep_skeletons(path: str | Path, programs: int, seed: int, settings: PoolSettings) -> None:
    """Draw the training skeletons and write them to a file, unless the file exists.

    Any number of processes may call this at once: one of them draws on all cores, the others wait for it.

    Args:
        path: Path of the file.
        programs: Number of random programs from which the skeletons are drawn.
        seed: Random seed for the programs.
        settings: Settings of the pool of skeletons.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f"{path.name}.lock"), f"drawing {path}"):
            if not path.exists():
                _write(path, _drawn(path, programs, seed, settings), programs, settings)
    except OSError as error:
        raise UserError(
            f"data.skeletons={path} cannot be written ({error.strerror}): choose another file, or make room"
        ) from error


def _drawn(path: Path, programs: int, seed: int, settings: PoolSettings) -> KeptSkeletons:
    """All parts, by as many processes as there are cores; the number of processes changes nothing."""
    parts = -(-programs // _PART)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds = programs / (_PROGRAMS_A_SECOND * min(cores, parts))
    if seconds > _SAYS_SO_SECONDS:
        warn(f"Drawing {programs:,} programs into {path} takes about {duration(seconds)}, once.")
    benchmark_fingerprints(settings.exclude)  # once, before the processes are forked
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    found: list[KeptSkeletons] = []
    with (
        ProcessPoolExecutor(min(cores, parts)) as executor,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("drawing skeletons, parts", total=parts)
        sizes = [min(_PART, programs - number * _PART) for number in range(parts)]
        for part in executor.map(_part, [(size, number, seed, settings) for number, size in enumerate(sizes)]):
            found.append(part)
            progress.advance(task)
    return _together(found)


def _part(of: tuple[int, int, int, PoolSettings]) -> KeptSkeletons:
    programs, number, seed, settings = of
    rng = np.random.default_rng([seed, SPLITS.index("train"), _DRAWING, number])
    pool = draw_pool(programs, rng, settings, "train")
    return KeptSkeletons(pool, structures_of(pool))


def _together(parts: Iterable[KeptSkeletons]) -> KeptSkeletons:
    """Each skeleton once, as the first part has it, in order of their length."""
    parts = list(parts)
    names = ("tokens", "values", "columns", "lengths")
    arrays = {name: np.concatenate([getattr(part.pool, name) for part in parts]) for name in names}
    arrays["structures"] = np.concatenate([part.structures for part in parts])
    rows = np.concatenate([arrays["tokens"].view(np.uint8), arrays["values"].view(np.uint8)], axis=1)
    keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1])))[:, 0]
    first = np.sort(np.unique(keys, return_index=True)[1])
    order = first[np.argsort(arrays["lengths"][first], kind="stable")]
    structures = arrays.pop("structures")[order]
    drawn, excluded = (sum(getattr(part.pool, name) for part in parts) for name in ("drawn", "excluded"))
    pool = SkeletonPool(**{name: array[order] for name, array in arrays.items()}, drawn=drawn, excluded=excluded)
    return KeptSkeletons(pool, structures)


# ------------------------------------------------------------------------------------------------ the file


def _write(path: Path, kept: KeptSkeletons, programs: int, settings: PoolSettings) -> None:
    pool = kept.pool
    header = {
        "format": FORMAT,
        "numbers": numbers_of(np.stack([pool.tokens, kept.structures])),
        "programs": programs,
        "settings": _header_settings(settings),
        "drawn": pool.drawn,
        "excluded": pool.excluded,
    }
    fixed, value_ids = np.unique(pool.values, return_inverse=True)  # NaN, of free constants, is one of them
    with writing(path) as stream:
        np.savez_compressed(
            stream,
            header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            tokens=pool.tokens,
            fixed=fixed,
            values=value_ids.reshape(pool.values.shape).astype(np.uint16),
            columns=pool.columns.astype(np.uint16),
            structures=kept.structures,
        )


def _header_settings(settings: PoolSettings) -> dict[str, Any]:
    """What the skeletons were drawn by, by the names that files have had from the first."""
    content = settings.part(PoolSettings).content()
    return content | {"operators": content.pop("operator_weights")}


def read_skeletons(path: str | Path, programs: int, settings: PoolSettings) -> KeptSkeletons:
    """Read a file that `keep_skeletons` wrote, and check that it holds the expected skeletons.

    Args:
        path: Path of the file.
        programs: Number of random programs from which the skeletons were drawn.
        settings: Settings of the pool of skeletons.

    Raises:
        UserError: There is no such file, it is damaged or another kind of file, it holds other skeletons, or
            operators that this version does not have.
    """
    largest = _LARGEST_REST + programs * settings.longest * _BYTES_A_TOKEN
    try:
        arrays = read_npz(Path(path).resolve(), most=largest)
        header: dict[str, Any] = json_content(array("u", None)(arrays.get("header")).tobytes(), _HEADER)
    except MissingFileError:
        raise UserError(f"data.skeletons={path} is not there: prepare_data() draws it") from None
    except (FileError, ArrayFileError, FormatError) as error:
        raise _refused(path, error) from error
    _check_settings(path, header, {"programs": programs, **_header_settings(settings)})
    source, remedy = f"data.skeletons={path}", "delete it, and the next run draws it anew"
    for name in {"tokens", "structures"} & arrays.keys():
        arrays[name] = renumbered(arrays[name], header.get("numbers"), source, remedy)
    try:
        return _kept(arrays, header, settings)
    except FormatError as error:
        raise _refused(path, error) from error


def _kept(arrays: Mapping[str, np.ndarray], header: Mapping[str, Any], settings: PoolSettings) -> KeptSkeletons:
    """The skeletons of a file, every one of which is a program.

    Raises:
        FormatError: an array is missing, or is not what `_write` writes.
    """
    padded = array("i", None, settings.longest)
    checks = {
        "tokens": padded,
        "structures": padded,
        "values": array("u", None, settings.longest),
        "columns": array("u", None),
        "fixed": array("f", None, finite=False),
    }
    found = record(checks, open_end=True)(arrays)
    tokens, structures, place = found["tokens"], found["structures"], found["values"]
    columns = found["columns"].astype(np.int64)
    if not 0 < len(tokens) == len(structures) == len(place) == len(columns):
        raise FormatError("has arrays of different lengths", "")
    if (columns < 1).any() or (columns > settings.variables).any():
        raise FormatError("is not a number of columns for each", "").inside(".columns")
    if (place >= len(found["fixed"])).any() or np.isinf(found["fixed"]).any():
        raise FormatError("are not places in 'fixed', or infinite", "").inside(".values")
    for name, programs in (("tokens", tokens), ("structures", structures)):
        try:
            check_programs(programs, columns)
        except FormatError as error:
            raise error.inside(f".{name}") from None
    lengths = (tokens != PAD).sum(axis=1)
    pool = SkeletonPool(tokens, found["fixed"][place], columns, lengths, header["drawn"], header["excluded"])
    return KeptSkeletons(pool, structures)


def _refused(path: str | Path, reason: Exception) -> UserError:
    return UserError(f"data.skeletons={path} is damaged, or no file of skeletons ({reason}): choose another file")


def _check_settings(path: str | Path, header: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    theirs = {"programs": header["programs"], **header["settings"]}
    for name, value in json.loads(json.dumps(wanted)).items():  # tuples become lists
        if theirs.get(name) != value:
            key = "operator_weights" if name == "operators" else name
            raise UserError(
                f"data.skeletons={path} was drawn with data.{key}={json.dumps(theirs.get(name))}, not "
                f"{json.dumps(value)}: give the same, or another file"
            )
