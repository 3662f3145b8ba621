"""Files that several processes share: written whole or not at all, and by one process at a time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["duration", "locked", "write_whole", "writing"]


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content takes the place of the file when it is all written; else the file stays as it was."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    with writing(path) as stream:
        stream.write(text.encode())


@contextlib.contextmanager
def locked(path: Path, doing: str | None = None) -> Iterator[bool]:
    """Keep other processes out; the end of this one gives the lock back, whatever ends it.

    Args:
        path: Of the lock, which is left behind.
        doing: What the other process does, for those who wait: "Another process is …: waiting for it."; None: they
            wait in silence.

    Yields:
        Whether there are locks on this system.
    """
    with path.open("a", encoding="utf-8") as stream:
        try:
            import fcntl
        except ImportError:  # Windows
            yield False
            return
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if doing is not None:
                print(f"Another process is {doing}: waiting for it.", file=sys.stderr, flush=True)
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
        yield True


def duration(seconds: float) -> str:
    """In words, rounded."""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
