"""A command that is refused leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from runs.directory import LOCK, is_claimed
from runs.launch import rank
from runs.record import RESULTS

__all__ = ["nothing_left"]

_SWEEP = "multirun.yaml"  # which Hydra writes into the folder of a sweep, before its first run


@contextlib.contextmanager
def nothing_left(run_dir: str | Path) -> Iterator[None]:
    """Take a run directory away again if what is done in here fails before the run begins.

    Hydra makes the directory before anybody can look at the configuration. A run has begun once its
    `results.json` is there.

    Args:
        run_dir: Run directory.
    """
    try:
        yield
    except BaseException:
        if rank() == 0:
            with contextlib.suppress(OSError):
                _take_away(Path(run_dir).resolve())
        raise


def _take_away(folder: Path) -> None:
    """Remove a directory that holds nothing but a lock, and those above it that are empty then.

    Raises:
        OSError: A directory holds something else, which stays.
    """
    if (folder / RESULTS).exists() or is_claimed(folder):
        return
    here = Path.cwd()
    for place, file in ((folder, LOCK), (folder.parent, _SWEEP), *((above, "") for above in folder.parents[1:])):
        if place in (here, *here.parents):
            return
        if file and [path.name for path in place.iterdir()] == [file]:
            (place / file).unlink()
        place.rmdir()
