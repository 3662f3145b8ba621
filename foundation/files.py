"""Files that several processes share: written whole or not at all, and by one process at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["locked", "making_folder", "replace_file", "writing"]


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a stream whose content takes the place of a file once all of it is written.

    A reader, or a kill at any moment, finds the old file or the new one, whole.

    Args:
        path: Path of the file, in a directory that exists.

    Yields:
        Binary stream to write the new content to.

    Raises:
        OSError: The file cannot be written; the old one stays, and nothing is left of the new one.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def replace_file(path: str | Path, content: str | bytes) -> None:
    """Write a file whole, in the place of the one that is there; its directory is made where there is none.

    Args:
        path: Path of the file.
        content: New content; a text is written as UTF-8 with its line ends as they are.

    Raises:
        OSError: The file cannot be written; the old one stays, and nothing is left of the new one.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Make a folder under another name and give it its own once it is filled: a folder that is there is whole.

    Where another process has made the same folder in the meantime, that one stays.

    Args:
        path: Path of the folder, which is not there.

    Yields:
        Path of the folder to fill; a kill leaves it behind as `NAME.PROCESS.part`.

    Raises:
        OSError: The folder cannot be written.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, doing: str | None = None) -> Iterator[bool]:
    """Keep other processes out; the end of this one gives the lock back, whatever ends it.

    Args:
        path: Path of the lock, which is left behind.
        doing: Work of the process that holds the lock, for those who wait: "Another process is …: waiting for
            it."; None: they wait in silence.

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


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.part")
