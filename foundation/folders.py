"""Folders that a command names, looked at before anything is written to them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from foundation.errors import UserError

__all__ = ["FolderError", "check_folder"]


class FolderError(UserError):
    """A folder that cannot be made or written to."""


def check_folder(key: str, path: str) -> None:
    """Make sure that a folder can be made, or can be written to where it exists, which is tried.

    Args:
        key: name of the setting, such as `hydra.run.dir`.
        path: path of the folder.

    Raises:
        FolderError: it is a file, lies below one, or nobody may write there.
    """
    folder = Path(path).expanduser().absolute()
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir():
        kind = "a file" if there.is_file() else "no directory"
        raise FolderError(f"{key}={path} is no directory, since {there} is {kind}: choose another one")
    if not os.access(there, os.W_OK | os.X_OK) or not _takes_folders(there):
        raise FolderError(f"{key}={path} cannot be written to: choose another directory")


def _takes_folders(folder: Path) -> bool:
    """Whether a folder can be made in another one: in `/proc`, for one, no rights tell that none can."""
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=folder))
    except OSError:
        return False
    return True
