"""Ctrl-C in a run: it is recorded, and the user is told what to type to go on."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from foundation.errors import Interrupted
from runs.directory import short_path
from runs.record import read_results, record_progress

__all__ = ["how_to_go_on", "interruptible"]


def how_to_go_on(run_dir: str | Path) -> str:
    """The command that a run goes on with, to follow a colon."""
    return f"python train.py {shlex.quote(f'resume={short_path(Path(run_dir).resolve())}')} goes on"


@contextlib.contextmanager
def interruptible(run_dir: str | Path) -> Iterator[None]:
    """Record in `results.json` that Ctrl-C ended what is done in here, where the run had begun.

    Args:
        run_dir: Run directory.

    Raises:
        Interrupted: Ctrl-C was pressed; its sentence says what to type.
    """
    try:
        with _interrupts_as_they_were():
            yield
    except BaseException as error:
        if not _by_ctrl_c(error):
            raise
        phase = read_results(run_dir).get("phase")
        if phase is None:
            raise Interrupted("interrupted before the run began") from None
        record_progress(run_dir, interrupted=True)
        raise Interrupted(f"interrupted in the {phase}: {how_to_go_on(run_dir)}") from None


def _by_ctrl_c(error: BaseException) -> bool:
    """Whether Ctrl-C is behind an error: Lightning turns it into an exit with code 1."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)


@contextlib.contextmanager
def _interrupts_as_they_were() -> Iterator[None]:
    """Give Ctrl-C back at the end: Lightning ignores it from the first one on, and a notebook lives longer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
