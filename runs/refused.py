"""A command that is refused leaves nothing behind, and takes nothing away that was there before it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from runs.directory import LOCK, is_claimed
from runs.launch import rank
from runs.record import RESULTS

__all__ = ["note_folders", "nothing_left", "those_there"]

_SWEEP = "multirun.yaml"  # which Hydra writes into the folder of a sweep, before its first run
_before: dict[Path, frozenset[Path]] = {}
"""Run directory of the job that Hydra runs -> folders that were there before Hydra made any."""


def note_folders(run_dir: str | Path, there: frozenset[Path]) -> None:
    """Note for `nothing_left` what was there before anybody made a run directory.

    Args:
        run_dir: Run directory of the job that begins.
        there: Folders and files that were there, see `those_there`.
    """
    _before.clear()
    _before[Path(run_dir).resolve()] = there


@contextlib.contextmanager
def nothing_left(run_dir: str | Path) -> Iterator[None]:
    """Take a run directory away again if what is done in here fails before the run begins.

    Hydra makes the directory before anybody can look at the configuration. A run has begun once its
    `results.json` is there. What was there before the command stays, also where it is empty.

    Args:
        run_dir: Run directory.
    """
    folder = Path(run_dir).resolve()
    there = _before[folder] if folder in _before else those_there(folder)
    try:
        yield
    except BaseException:
        if rank() == 0:
            with contextlib.suppress(OSError):
                _take_away(folder, there)
        raise


def those_there(folder: Path) -> frozenset[Path]:
    """Those of a folder and the ones above it that exist, and their files of sweeps.

    Args:
        folder: Path of the folder.
    """
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
