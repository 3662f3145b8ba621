"""The kind of a file of weights, by its first bytes, so that a wrong one is known before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from foundation.errors import UserError
from foundation.files import open_regular

__all__ = ["ZIP", "check_network_file", "no_file", "safetensors_words", "weights_kind"]

ZIP = b"PK\x03\x04"
"""First bytes of a zip archive, as torch and NumPy write it."""
_LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
_NO_LIMIT = 1 << 62


def no_file(path: str | Path) -> str | None:
    """What a path is that should be a file, to follow its name in a sentence; None where it is one."""
    path = Path(path)
    if path.is_dir():
        return "is a folder"
    return None if path.is_file() else "is no regular file" if path.exists() else "does not exist"


def weights_kind(path: str | Path) -> str | None:
    """`safetensors`, or `zip` as torch and NumPy write it; None for anything else.

    Args:
        path: path of a file.

    Raises:
        FileError: the file may not be read.
    """
    with open_regular(Path(path).resolve(), most=_NO_LIMIT) as stream:
        begin = stream.read(9)
        size = stream.seek(0, 2)
    if begin.startswith(ZIP):
        return "zip"
    header = int.from_bytes(begin[:8], "little")
    whole = 2 <= header <= min(_LONGEST_HEADER, size - 8)
    return "safetensors" if begin[8:] == b"{" and whole else None


def safetensors_words(path: str | Path) -> Mapping[str, str] | None:
    """What a safetensors file says about itself; None where it is none, or a damaged one.

    Args:
        path: path of a file.

    Raises:
        FileError: the file may not be read.
    """
    if weights_kind(path) != "safetensors":
        return None
    with open_regular(Path(path).resolve(), most=_NO_LIMIT) as stream:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
    try:
        words = json.loads(header).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError):
        return None
    return words if isinstance(words, dict) else None


def check_network_file(path: str | Path, key: str = "") -> None:
    """Make sure that a file may hold a network that somebody has trained.

    Args:
        path: path of the file.
        key: name of the setting, with its `=`.

    Raises:
        UserError: there is no such file, or its first bytes are of none of the formats that are read.
    """
    wrong = no_file(path)
    if wrong is not None:
        raise UserError(f"{key}{path} {wrong}: give a safetensors file, a state_dict saved by torch, npz or ONNX")
    if Path(path).suffix != ".onnx" and weights_kind(path) is None:
        raise UserError(
            f"{key}{path} cannot be read safely: give a safetensors file, or what "
            "torch.save(network.state_dict(), path) writes"
        )
