"""A command that is refused leaves nothing behind, and takes nothing away that was there before it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from runs.directory import LOCK, is_claimed
from runs.launch import rank
from runs.record import RESULTS

__all__ = ["FoldersBefore", "nothing_left"]

_SWEEP = "multirun.yaml"  # which Hydra writes into the folder of a sweep, before its first run
_before: dict[Path, frozenset[Path]] = {}
"""Run directory of the job that Hydra runs -> folders that were there before Hydra made any."""


class FoldersBefore(Callback):
    """Notes for `nothing_left` which folders are there before Hydra makes those of a command.

    Hydra hands a copy to each process of a sweep, so what is noted before the first job is known to all.
    """

    def __init__(self) -> None:
        self._there: frozenset[Path] = frozenset()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Note the run directory and what is above it."""
        self._there = _those_there(Path(str(config.hydra.run.dir)).absolute())

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Note the folder of a sweep, what is above it, and the runs that it holds already."""
        folder = Path(str(config.hydra.sweep.dir)).absolute()
        runs = folder.iterdir() if folder.is_dir() else ()
        self._there = _those_there(folder) | {path.resolve() for path in runs if path.is_dir()}

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Hand over what was noted, in the process of the job."""
        _before.clear()
        _before[Path(HydraConfig.get().runtime.output_dir).resolve()] = self._there


@contextlib.contextmanager
def nothing_left(run_dir: str | Path) -> Iterator[None]:
    """Take a run directory away again if what is done in here fails before the run begins.

    Hydra makes the directory before anybody can look at the configuration. A run has begun once its
    `results.json` is there. What was there before the command stays, also where it is empty.

    Args:
        run_dir: Run directory.
    """
    folder = Path(run_dir).resolve()
    there = _before[folder] if folder in _before else _those_there(folder)
    try:
        yield
    except BaseException:
        if rank() == 0:
            with contextlib.suppress(OSError):
                _take_away(folder, there)
        raise


def _those_there(folder: Path) -> frozenset[Path]:
    """Those of a folder and the ones above it that exist, and their files of sweeps."""
    folders = [path.resolve() for path in (folder, *folder.parents) if path.is_dir()]
    return frozenset([*folders, *(path / _SWEEP for path in folders if (path / _SWEEP).exists())])


def _take_away(folder: Path, there: frozenset[Path]) -> None:
    """Remove a directory that holds nothing but a lock, and those above it that are empty then.

    Args:
        folder: Directory to remove.
        there: Directories and files that stay, since they were there before.

    Raises:
        OSError: A directory holds something else, which stays.
    """
    if (folder / RESULTS).exists() or is_claimed(folder):
        return
    here = Path.cwd()
    for place, file in ((folder, LOCK), (folder.parent, _SWEEP), *((above, "") for above in folder.parents[1:])):
        if place in (here, *here.parents):
            return
        if file and [path for path in place.iterdir() if path not in there] == [place / file]:
            (place / file).unlink()
        if place not in there:
            place.rmdir()
