"""Arrays in files from strangers: as large as the file is, and of numbers alone, since objects would run code."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from foundation.errors import UserError
from foundation.files import open_regular

__all__ = ["ArrayFileError", "check_unpacked_size", "map_npy", "read_npz"]

_LONGEST_HEADER = 10_000  # characters
_MOST_ENTRIES = 10_000


class ArrayFileError(UserError):
    """A file of arrays that is damaged, larger than allowed, or holds something else."""


def check_unpacked_size(stream: IO[bytes], most: int) -> list[zipfile.ZipInfo]:
    """Entries of a zip archive, which together unpack to a bounded number of bytes.

    Args:
        stream: stream of the archive, at any place.
        most: largest number of bytes.

    Raises:
        ArrayFileError: it is no archive, or unpacks to more.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ArrayFileError(f"it is no zip archive ({error})") from error
    size = sum(entry.file_size for entry in entries)
    if size > most or len(entries) > _MOST_ENTRIES:
        raise ArrayFileError(
            f"it unpacks to {size:,} bytes in {len(entries):,} files, and at most {most:,} are read"
        )
    return entries


def read_npz(path: str | Path, *, most: int) -> dict[str, np.ndarray]:
    """All arrays of a file that `numpy.savez` wrote.

    Args:
        path: path of the file, which is not followed where it is a link.
        most: largest number of bytes, of the file and unpacked.

    Raises:
        FileError: the file cannot be read, see `foundation.files.open_regular`.
        ArrayFileError: the file holds something else than arrays of numbers, or more than allowed.
    """
    with open_regular(path, most=most) as stream:
        entries = check_unpacked_size(stream, most)
        try:
            with zipfile.ZipFile(stream) as archive:
                contents = {entry.filename: archive.read(entry) for entry in entries}
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
            raise ArrayFileError(f"it is damaged ({error})") from error
    return {name.removesuffix(".npy"): _array(content) for name, content in contents.items()}


def map_npy(path: str | Path, kind: Any, *shape: int) -> np.ndarray:
    """An array that `numpy.save` wrote, mapped into memory read-only.

    Args:
        path: path of the file, which is not followed where it is a link.
        kind: type that its numbers must have.
        shape: shape that it must have.

    Raises:
        FileError: the file cannot be read, see `foundation.files.open_regular`.
        ArrayFileError: the file is damaged, or holds another array.
    """
    size = math.prod(shape) * np.dtype(kind).itemsize
    with open_regular(path, most=size + _LONGEST_HEADER + 128) as stream:
        found = _header(stream)
        begin = stream.tell()
        if found != (shape, False, np.dtype(kind)) or stream.seek(0, io.SEEK_END) - begin != size:
            raise ArrayFileError(f"it holds another array than {np.dtype(kind)} {shape}")
        if not size:
            return np.empty(shape, kind)
        return np.memmap(stream, np.dtype(kind), "r", begin, shape)


def _array(content: bytes) -> np.ndarray:
    """The array of an entry, whose content is as long as its header says."""
    stream = io.BytesIO(content)
    shape, by_columns, kind = _header(stream)
    begin = stream.tell()
    if len(content) - begin != math.prod(shape) * kind.itemsize:
        raise ArrayFileError(f"it holds {len(content) - begin:,} bytes for an array {kind} {shape}")
    array = np.frombuffer(content, kind, offset=begin) if math.prod(shape) else np.empty(0, kind)
    return array.reshape(shape, order="F" if by_columns else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of the array that a stream begins with."""
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, kind = read(stream, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # NumPy's reader of this text raises whatever Python's own does
        raise ArrayFileError(f"it holds no array ({type(error).__name__})") from error
    if kind.kind not in "biuf" or any(size < 0 for size in shape):
        raise ArrayFileError(f"it holds an array {kind} {shape}, and only arrays of numbers are read")
    return shape, by_columns, kind
