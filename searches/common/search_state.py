"""Search state on disk: JSON, compressed, written in one piece or not at all.

Programs in it are numbers, so the names of the operators are always a part of it (`expressions.numbering`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from expressions.numbering import NumberingError, check_numbers, numbers_of
from foundation.errors import UserError
from foundation.files import replace_file

_MAGIC = b"rediscover state 1\n"
_NUMBERS = "numbers"


class StateError(UserError):
    """A state file that cannot be gone on from."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (numbers, strings, lists, dictionaries) so that a kill leaves the old file or the new one.

    Raises:
        StateError: The disk is full or the directory not writable.
    """
    body = zlib.compress(json.dumps({**state, _NUMBERS: numbers_of()}).encode(), level=1)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest().encode()
    try:
        replace_file(path, _MAGIC + digest + b"\n" + body)
    except OSError as error:
        raise StateError(
            f"the search state cannot be written to {path}: {error.strerror or error}; free some space or choose "
            "another directory, then resume"
        ) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        StateError: The file is not a state file, not a whole one, or its operators have other numbers.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StateError(f"the search state {path} cannot be read: {error.strerror or error}") from error
    head = len(_MAGIC) + 33
    body = content[head:]
    digest = hashlib.blake2b(body, digest_size=16).hexdigest().encode()
    if not content.startswith(_MAGIC) or content[len(_MAGIC) : head] != digest + b"\n":
        raise StateError(f"{path} is damaged or not a search state: delete it to start this search anew")
    try:
        state = dict(json.loads(zlib.decompress(body)))
    except (ValueError, TypeError, zlib.error) as error:  # whole, but of no use: somebody else wrote it
        raise StateError(f"{path} is not a search state: delete it to start this search anew") from error
    try:
        check_numbers(state.pop(_NUMBERS, None), str(path), "delete it to start this search anew")
    except NumberingError as error:
        raise StateError(str(error)) from error
    return state


def fingerprint(*parts: Any) -> str:
    """Hash of arrays and plain values: two searches with the same one are the same search."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def text_of(numbers: np.ndarray) -> str:
    """Every bit of an array, as text that a state can hold."""
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()


def array_of(text: str, kind: type) -> np.ndarray:
    """The array that `text_of` wrote, flat."""
    return np.frombuffer(base64.b64decode(text), dtype=kind).copy()
