"""The directory of a run, and whether the run can be resumed there.

Free of torch, so that a door can ask before anything heavy is imported.
"""

import contextlib
import os
import secrets
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from foundation.errors import UserError
from foundation.files import FileError, check_plain_folder, open_lock, read_regular, replace_file
from foundation.terminal import warn
from runs.launch import rank
from runs.settings_file import OLD_WORDS, SETTINGS_FILE

__all__ = [
    "BEST",
    "CHECKPOINTS",
    "LAST",
    "RunDirectoryError",
    "before",
    "check_checkpoint_file",
    "check_run_directory",
    "claimed",
    "is_claimed",
    "short_path",
    "starting_point",
    "wandb_run_id",
    "whole_checkpoint",
]

CHECKPOINTS = "checkpoints"
LAST, BEST = "last.ckpt", "best.ckpt"
LOCK = ".lock"
ID_FILE = "wandb_run_id.txt"
FOREIGN = ("wandb",)  # with `logger.save_dir` in a run directory; W&B links to its latest run there
FREE_BYTES = 64 << 20  # the shipped presets write a tenth of it


class RunDirectoryError(UserError):
    """A directory in which a run cannot begin or be resumed."""


def check_run_directory(path: str | Path) -> Path:
    """The absolute path of a directory in which `train.py` has begun a run.

    Raises:
        FileError: It holds a symbolic link, a pipe or a device.
        RunDirectoryError: It is not one.
    """
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise RunDirectoryError(f"resume={path} is not a directory: give one that train.py wrote, or resume=auto")
    if not _has_settings(folder):
        raise RunDirectoryError(
            f"resume={path} is not a run directory (it has no {SETTINGS_FILE}): give one that train.py wrote"
        )
    check_plain_folder(folder, besides=FOREIGN)  # Hydra opens its log there before the directory is claimed
    return folder


def before(checkpoint: Path) -> Path:
    """The path under which the checkpoint before one is kept: `last.before.ckpt`."""
    return checkpoint.with_suffix(f".before{checkpoint.suffix}")


def whole_checkpoint(run_dir: Path, name: str) -> Path | None:
    """A checkpoint that a run has written, or the one before it where it is torn, which is said.

    Args:
        run_dir: Run directory.
        name: Name of the checkpoint, `LAST` or `BEST`.

    Returns:
        The path of a whole file; None where the run has not written any.

    Raises:
        RunDirectoryError: Both are torn.
    """
    path = run_dir / CHECKPOINTS / name
    if not path.exists() and not before(path).exists():
        return None
    try:
        return check_checkpoint_file(path)
    except RunDirectoryError:
        if not before(path).exists():
            raise
        earlier = check_checkpoint_file(before(path))
    if rank() == 0:
        words = (
            f"warning: {short_path(path)} is torn or missing: the one before it, {earlier.name}, takes its place"
        )
        warn(words)
    return earlier


def check_checkpoint_file(path: str | Path) -> Path:
    """The absolute path of a file that looks like a whole checkpoint.

    Raises:
        RunDirectoryError: There is no such file, or it is torn.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise RunDirectoryError(f"there is no checkpoint {path}: give the path of a .ckpt file")
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            whole = size <= file.stat().st_size and archive.testzip() is None  # torch compresses nothing
    except Exception:  # whatever a torn file makes of it
        whole = False
    if not whole:
        raise RunDirectoryError(
            f"{path} is not a whole checkpoint (torn, or of another program): give an earlier one"
        )
    return file


def starting_point(run_dir: Path, checkpoint: str | None, resumes: bool) -> Path | None:
    """The checkpoint that a run begins from, or None where it begins anew.

    Args:
        run_dir: Run directory.
        checkpoint: Path of the checkpoint that was asked for, or None.
        resumes: Whether the run goes on in its own directory.

    Raises:
        RunDirectoryError: There is no such file, or it is torn.
    """
    if checkpoint is not None:
        return check_checkpoint_file(checkpoint)
    return whole_checkpoint(run_dir, LAST) if resumes else None


def short_path(path: Path) -> str:
    """A path as seen from the working directory, where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@contextlib.contextmanager
def claimed(run_dir: str | Path) -> Iterator[None]:
    """Keep other processes out of a directory, after making sure that it can be written to, and nowhere else.

    Raises:
        FileError: It holds a symbolic link, a pipe or a device.
        RunDirectoryError: It cannot be written to, the disk is nearly full, or another process has claimed it.
    """
    folder = Path(run_dir).resolve()
    try:
        stream = open_lock(folder / LOCK)
    except OSError as error:
        raise RunDirectoryError(
            f"{folder} cannot be written to ({error.strerror}): choose hydra.run.dir=…"
        ) from error
    with stream:  # closing the file gives the lock back, and so does the end of the process, whatever ends it
        if not _lock(stream):
            raise RunDirectoryError(f"another process is running in {folder}: wait, or choose another directory")
        check_plain_folder(folder, besides=FOREIGN)
        free = shutil.disk_usage(folder).free
        if free < FREE_BYTES:
            raise RunDirectoryError(
                f"the disk of {folder} has only {free / 1e6:.0f} MB left, a run needs {FREE_BYTES / 1e6:.0f} MB: "
                "make room or choose hydra.run.dir=…"
            )
        yield


def wandb_run_id(run_dir: str | Path) -> str:
    """The W&B run id of a directory, drawn and written there the first time."""
    file = Path(run_dir) / ID_FILE
    with contextlib.suppress(FileError, ValueError):
        text = read_regular(file, most=64).decode("ascii").strip()
        if text.isalnum():
            return text
    text = secrets.token_hex(4)
    replace_file(file, text + "\n")
    return text


def _lock(stream: IO[bytes]) -> bool:
    """Whether the file could be locked."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_claimed(run_dir: Path) -> bool:
    """Whether a process is at work in a run directory, or nobody can be, since it cannot be written to."""
    try:
        with open_lock(run_dir / LOCK) as stream:
            return not _lock(stream)
    except FileError:
        return True  # no lock of ours: nothing is done there
    except OSError:
        return os.access(run_dir, os.W_OK) is False


def _has_settings(run_dir: Path) -> bool:
    return any((run_dir / name).is_file() for name in (SETTINGS_FILE, OLD_WORDS))
