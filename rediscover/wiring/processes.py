"""The processes of a run end together: one that is lost ends the job within half a minute, with a sentence."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.distributed import DistError, PrefixStore, Store, TCPStore
from torch.multiprocessing import ProcessExitedException

from foundation.errors import UserError
from rediscover.wiring.heartbeat import FAILED, LEFT, SILENT_BEATS, STOPPED, Heartbeat
from runs import sigterm
from runs.directory import short_path

__all__ = ["ProcessLostError", "ScriptLauncher", "together"]

_LOST_CODE = 2
_NUMBERS = itertools.count()
_LEAVING_SECONDS = 5.0  # which others get to leave after an error
BEAT_SECONDS = 1.0
_NEWS_BEATS = SILENT_BEATS + 3  # after which a lost process is known as such


class ProcessLostError(UserError):
    """Another process of the run has ended, so this one cannot go on."""


class ScriptLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher without its observer, which ends the job by SIGKILL and says nothing.

    Args:
        given: launcher of Lightning's that has launched nothing yet.
    """

    def __init__(self, given: _SubprocessScriptLauncher) -> None:
        super().__init__(given.cluster_environment, given.num_processes, given.num_nodes)
        self.children: list[subprocess.Popen[bytes]] = []
        self.killed = False

    def _call_children_scripts(self) -> None:
        """Start the other processes of this machine, and keep them from the observer."""
        super()._call_children_scripts()
        self.children, self.procs = self.procs, []

    def kill(self, signum: Any) -> None:
        """Send a signal to the processes that still run."""
        self.killed = True
        for child in self.children:
            child.send_signal(signum)

    def end_children(self, seconds: float) -> None:
        """Wait for the other processes, and kill those that have not ended in time."""
        deadline = time.monotonic() + seconds
        for child in self.children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()


@contextlib.contextmanager
def together(trainer: Trainer) -> Iterator[None]:
    """What is done in here is done by all processes of a Trainer, or the job ends.

    Args:
        trainer: trainer that has launched nothing yet.

    Raises:
        ProcessLostError: another process has ended before its work was done.
        SystemExit: SIGTERM has come to one of the processes (code 143), or another one says what is wrong (2).
    """
    if trainer.world_size == 1:
        yield
        return
    strategy: Any = trainer.strategy
    if type(strategy.launcher) is _SubprocessScriptLauncher:
        strategy._launcher = ScriptLauncher(strategy.launcher)
    watch = _Watch(trainer)
    watch.start()
    try:
        yield
    except BaseException as error:
        watch.leave_after(error)
        raise
    watch.leave()


class _Watch:
    """Looks after the other processes of a run, in a thread of its own.

    Args:
        trainer: trainer of the run.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._launcher: Any = trainer.strategy.launcher
        self._run_dir = Path(trainer.default_root_dir)
        self._parent = os.getppid() if "LOCAL_RANK" in os.environ else None  # a launcher, not a person's shell
        self._number = next(_NUMBERS)
        self._heart: Heartbeat | None = None
        self._sentence: str | None = None
        """What this process has to say about another that is lost, empty where the first one says it."""
        self._stopped = False  # by SIGTERM, to whichever process
        self._decided = threading.Event()  # that all must end
        self._left = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._look, name="process-watch", daemon=True).start()

    def leave(self) -> None:
        """The work of this process is done."""
        if self._heart is not None:
            self._heart.say(LEFT)
        self._left.set()
        self._end_children(sigterm.GRACE_SECONDS)

    def leave_after(self, error: BaseException) -> None:
        """An error ends this process: find out whose fault it is, and end the others.

        Args:
            error: what has ended the work.

        Raises:
            ProcessLostError: another process was lost before.
            SystemExit: SIGTERM has come, or another process says what is wrong.
        """
        with contextlib.suppress(ValueError):  # only the main thread has handlers
            signal.signal(signal.SIGTERM, lambda *_: None)  # this process is leaving already
        if isinstance(error, ProcessExitedException):  # of a forked or spawned process
            self._decide(self._killed(error.error_index, error.exit_code))
        elif _is_broken_connection(error):
            self._decided.wait(_NEWS_BEATS * BEAT_SECONDS)
        stopped = (self._stopped or sigterm.received()) and self._sentence is None
        if self._heart is not None:
            self._heart.say(STOPPED if stopped else FAILED)
        self._left.set()
        if self._launcher is not None:
            self._launcher.kill(signal.SIGTERM)
        self._end_children(_LEAVING_SECONDS)
        if self._sentence:
            raise ProcessLostError(self._sentence) from None
        if stopped or self._sentence is not None:
            raise SystemExit(sigterm.EXIT_CODE if stopped else _LOST_CODE) from None

    def _end_children(self, seconds: float) -> None:
        if isinstance(self._launcher, ScriptLauncher):
            self._launcher.end_children(seconds)

    # --- the thread ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        beats = silent = 0
        while not self._left.wait(BEAT_SECONDS):
            if self._heart is None and torch.distributed.is_initialized():
                self._heart = self._new_heart()
                self._heart.start()
            if self._heart is not None:
                silent = silent + 1 if beats == self._heart.beats else 0
                beats = self._heart.beats
            reason = self._reason(silent)
            if reason is not None:
                self._end(reason)
                return

    def _new_heart(self) -> Heartbeat:
        rank, size = self._trainer.global_rank, self._trainer.world_size
        return Heartbeat(functools.partial(_store, self._number), rank, size, BEAT_SECONDS)

    def _reason(self, silent: int) -> str | None:
        """Why all processes must end: a sentence, or FAILED, or STOPPED; None: they need not."""
        if sigterm.received():
            return STOPPED
        if isinstance(self._launcher, ScriptLauncher) and not self._launcher.killed:
            for number, child in enumerate(self._launcher.children, 1):
                if child.poll():
                    return self._killed(number, child.returncode)
        if self._heart is not None and self._heart.verdict is not None:
            return self._heart.verdict
        if silent >= SILENT_BEATS or (self._parent is not None and os.getppid() != self._parent):
            return f"process 0 of {self._trainer.world_size} has ended without a word"
        return None

    def _killed(self, number: int, code: int) -> str:
        """The reason that a process with an exit code other than 0 is to all others."""
        if code in (sigterm.EXIT_CODE, -signal.SIGTERM):
            return STOPPED
        who = f"process {number} of {self._trainer.world_size}"
        if code > 0:
            return f"{who} has failed, its lines above say why"
        return f"{who} was killed ({signal.Signals(-code).name}), as happens when the memory is full"

    def _end(self, reason: str) -> None:
        """End all processes, this one at the latest when its grace is over."""
        self._decide(reason)
        if self._heart is not None:
            if reason == STOPPED:
                self._heart.say(STOPPED)
            elif self._heart.verdict is None:
                self._heart.verdict = reason  # the first process tells it the others
        if not sigterm.received():
            sigterm.end_soon(self._sentence or "", sigterm.EXIT_CODE if reason == STOPPED else _LOST_CODE)

    def _decide(self, reason: str) -> None:
        """Keep why all must end, and what this process has to say about it."""
        if reason == STOPPED:
            self._stopped = True
        elif reason == FAILED:
            self._sentence = ""
        else:
            self._sentence = f"{reason}: resume={short_path(self._run_dir)} goes on from the last checkpoint"
        self._decided.set()


def _store(number: int) -> Store:
    """A connection of its own to the store through which the processes have met.

    Args:
        number: number of the run in these processes, which says nothing about those before.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=30))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # of a launcher that holds the store itself
    return PrefixStore(f"rediscover/{attempt}/{number}", store)


def _is_broken_connection(error: BaseException) -> bool:
    """Whether an error is what remains of another process."""
    words = ("gloo", "Connection", "NCCL")
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
