"""Several processes of one run, as `torchrun` starts them, forked from this one: torch is imported already."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
        pid = os.fork()
        if pid == 0:
            _run(rank, size, port, arguments, folder, before)
        pids.append(pid)
    return Launched(folder, pids)


def _run(
    rank: int, size: int, port: int, arguments: Sequence[str], folder: Path, before: Callable[[int], None] | None
) -> None:
    """Body of a process, which never returns."""
    code = 70
    try:
        output = os.open(folder / f"{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "GROUP_RANK": 0}
        names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        os.environ.update({name: str(value) for name, value in names.items()})
        os.chdir(folder)
        if before is not None:
            before(rank)
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
