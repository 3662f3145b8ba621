"""Files that several processes share, or that come from strangers.

They are written whole or not at all, and by one process at a time. They are read only where they are regular files
of a bounded size: a symbolic link is not followed, and a pipe or a device is not waited for.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from foundation.errors import UserError
from foundation.terminal import warn

__all__ = [
    "FileError",
    "MissingFileError",
    "check_plain_folder",
    "locked",
    "making_folder",
    "open_lock",
    "open_regular",
    "read_regular",
    "remove_unfinished",
    "replace_file",
    "writing",
]

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # for the other end of a pipe
_BINARY = getattr(os, "O_BINARY", 0)


class FileError(UserError):
    """A file that is not read: it is a link, no regular file, too large, or not readable."""


class MissingFileError(FileError, FileNotFoundError):
    """A file that is not there."""


@contextlib.contextmanager
def open_regular(path: str | Path, *, most: int) -> Iterator[IO[bytes]]:
    """Open a regular file for reading, without following a link.

    A path that the user has typed may be a link, and is resolved by the caller. What a folder of a stranger holds
    may not be one.

    Args:
        path: Path of the file.
        most: Largest allowed size in bytes.

    Yields:
        Binary stream, at the beginning of the file.

    Raises:
        MissingFileError: There is no such file.
        FileError: The file is a link, a pipe, a device or a folder, is too large, or may not be read.
    """
    try:
        descriptor = _opened(Path(path), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"there is no file {path}") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise FileError(f"{path} has {size:,} bytes, more than the {most:,} that such a file may have")
        yield stream


def read_regular(path: str | Path, *, most: int) -> bytes:
    """The content of a regular file, read without following a link.

    Args:
        path: Path of the file.
        most: Largest allowed size in bytes.

    Raises:
        MissingFileError: There is no such file.
        FileError: The file is a link, a pipe, a device or a folder, is too large, or may not be read.
    """
    with open_regular(path, most=most) as stream:
        content = stream.read(most + 1)
    if len(content) > most:  # it grows, or does not tell its size
        raise FileError(f"{path} has more than the {most:,} bytes that such a file may have")
    return content


def check_plain_folder(folder: str | Path, besides: Collection[str] = ()) -> None:
    """Make sure that a folder holds folders and regular files only, so that nothing in it leads out of it.

    Args:
        folder: Path of the folder; it may itself be a link.
        besides: Names of folders directly below it whose content is not looked at.

    Raises:
        FileError: There is a link, a pipe or a device somewhere below the folder, or a folder may not be read.
    """
    spared = {Path(folder) / name for name in besides}
    folders = [Path(folder)]
    while folders:
        for path, kind in _kinds(folders.pop()).items():
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise FileError(f"{path} is {_words(kind)}, which has no place in {folder}: remove it")
            if stat.S_ISDIR(kind) and path not in spared:
                folders.append(path)


@contextlib.contextmanager
def writing(path: str | Path, before: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a stream whose content takes the place of a file once all of it is written.

    A reader, or a kill at any moment, finds the old file or the new one, whole. A link is replaced, not followed.

    Args:
        path: Path of the file, in a directory that exists.
        before: Path that the old file is kept under, in the same directory; None: it is not kept. A kill may then
            leave the old file there, and none at `path`.

    Yields:
        Binary stream to write the new content to.

    Raises:
        OSError: The file cannot be written; the old one stays, and nothing is left of the new one.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if before is not None and path.is_file():
            os.replace(path, before)
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
        Path of the folder to fill; a kill leaves it behind as `NAME.PROCESS-DRAW.part`.

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


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes have left of a file or a folder beside it; nobody may be writing it now.

    Only what carries the mark of this module is removed, `NAME.PROCESS-DRAW.part` (or, by earlier versions,
    `NAME.PROCESS.part`).

    Args:
        path: Path of the file or folder, in a directory that exists.
    """
    mark = re.compile(re.escape(path.name) + r"\.\d+(-[0-9a-f]{8})?\.part")
    for left in path.parent.iterdir():
        if mark.fullmatch(left.name):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


@contextlib.contextmanager
def locked(path: Path, doing: str | None = None) -> Iterator[bool]:
    """Keep other processes out; the end of this one gives the lock back, whatever ends it.

    Args:
        path: Path of the lock, which is left behind.
        doing: Work of the process that holds the lock, for those who wait: "Another process is …: waiting for
            it."; None: they wait in silence.

    Yields:
        Whether there are locks on this system.

    Raises:
        FileError: The lock is a link, a pipe or a device.
        OSError: The lock may not be opened.
    """
    with open_lock(path) as stream:
        try:
            import fcntl
        except ImportError:  # Windows
            yield False
            return
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if doing is not None:
                warn(f"Another process is {doing}: waiting for it.")
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX)
        yield True


def open_lock(path: str | Path) -> IO[bytes]:
    """Open the file of a lock, which is made where there is none; what it holds stays as it is.

    Raises:
        FileError: The lock is a link, a pipe or a device.
        OSError: The lock may not be opened.
    """
    return os.fdopen(_opened(Path(path), os.O_RDWR | os.O_CREAT), "r+b")


def _opened(path: Path, flags: int) -> int:
    """Descriptor of a regular file; looked at before it is opened, since opening a device may do something."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        _check_regular(path, path.lstat().st_mode)
    descriptor = os.open(path, flags | _NO_LINK | _NO_WAIT | _BINARY, 0o666)
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)  # it may have been exchanged in the meantime
    except FileError:
        os.close(descriptor)
        raise
    return descriptor


def _kinds(folder: Path) -> dict[Path, int]:
    """The `st_mode` of everything in a folder, without what other processes remove in the meantime."""
    kinds = {}
    try:
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                kinds[path] = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error.strerror}") from error
    return kinds


def _check_regular(path: Path, kind: int) -> None:
    if not stat.S_ISREG(kind):
        raise FileError(f"{path} is {_words(kind)}, and not a regular file")


def _words(kind: int) -> str:
    """Kind of what is not a regular file, by its `st_mode`."""
    if stat.S_ISLNK(kind):
        return "a symbolic link"
    if stat.S_ISDIR(kind):
        return "a folder"
    return "a named pipe" if stat.S_ISFIFO(kind) else "a device or a socket"


def _temporary(path: Path) -> Path:
    """A name beside a path that nothing has: neither a leftover nor a link that a stranger has put there."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
