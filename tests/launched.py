"""Processes of `train.py`, forked from this one, which has imported torch: one alone, or several of one run, as
`torchrun` starts them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from runs import sigterm

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Launched:
    """Processes of a run.

    Attributes:
        folder: directory of their output.
        pids: process identifiers by rank.
        codes: exit codes by rank, of those that have ended.
    """

    folder: Path
    pids: list[int]
    codes: dict[int, int] = field(default_factory=dict)

    def wait(self, seconds: float) -> list[int]:
        """The exit codes of all, once all have ended; -9 where a process had to be killed after `seconds`."""
        deadline = time.monotonic() + seconds
        while len(self.codes) < len(self.pids):
            for rank, pid in enumerate(self.pids):
                if rank not in self.codes:
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if ended:
                        self.codes[rank] = os.waitstatus_to_exitcode(status)
                    elif time.monotonic() > deadline:
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        return [self.codes[rank] for rank in range(len(self.pids))]

    def text(self, rank: int) -> str:
        """What a process has printed."""
        return (self.folder / f"{rank}.txt").read_text()


def launched(
    size: int, arguments: Sequence[str], folder: Path, before: Callable[[int], None] | None = None
) -> Launched:
    """Start `train.py` in several processes.

    Args:
        size: number of processes.
        arguments: command line of all of them.
        folder: working directory, which also gets what they print.
        before: function that every process calls first, with its rank.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(size):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "GROUP_RANK": 0}
        names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        variables = {name: str(value) for name, value in names.items()}
        with (folder / f"{rank}.txt").open("w") as output:
            pids.append(_forked(arguments, folder, output, output, variables, before and partial(before, rank)))
    return Launched(folder, pids)


class Forked:
    """One process, with a session of its own; what it offers is a part of what `subprocess.Popen` does.

    Attributes:
        pid: process identifier, and that of the session.
        returncode: exit code, None until its end was seen.

    Args:
        arguments: words behind `python train.py`.
        folder: working directory.
        before: function that the process calls first.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, before: Callable[[], None] | None = None) -> None:
        self._output, self._errors = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115
        self.pid = _forked(arguments, folder, self._output, self._errors, {}, before)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None as long as the process runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; what was printed, and what was said on stderr.

        Raises:
            subprocess.TimeoutExpired: the process has not ended after `timeout` seconds, and was killed.
        """
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise subprocess.TimeoutExpired("train.py", timeout)
            time.sleep(0.02)
        for stream in (self._output, self._errors):
            stream.seek(0)
        return self._output.read(), self._errors.read()


def _forked(
    arguments: Sequence[str],
    folder: Path,
    output: IO[str],
    errors: IO[str],
    variables: Mapping[str, str],
    before: Callable[[], None] | None,
) -> int:
    """Fork a process that runs the command; its identifier."""
    pid = os.fork()
    if pid == 0:
        _run(arguments, folder, output, errors, variables, before)
    return pid


def _run(
    arguments: Sequence[str],
    folder: Path,
    output: IO[str],
    errors: IO[str],
    variables: Mapping[str, str],
    before: Callable[[], None] | None,
) -> None:
    """Body of a process, which never returns."""
    code = 70
    try:
        os.setsid()
        os.dup2(output.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # of a command that ran in this process before
        sigterm.deafen()
        os.environ.update(variables)
        os.chdir(folder)
        if before is not None:
            before()
        code = _exit_code(arguments)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _exit_code(arguments: Sequence[str]) -> int:
    from hydra.core.global_hydra import GlobalHydra

    import train

    GlobalHydra.instance().clear()
    try:
        return train.main([*arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
