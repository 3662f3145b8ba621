"""Search state on disk: JSON, compressed, written in one piece or not at all.

Programs in it are numbers, so the names of the operators are always a part of it (`expressions.numbering`). It may
come from a stranger: a search has it checked whole before it uses any of it (`checked_state`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expressions.numbering import NumberingError, check_numbers, numbers_of
from foundation.errors import UserError
from foundation.files import FileError, read_regular, replace_file
from foundation.schema import Check, FormatError, json_content, list_of, mapping_of, number, text, whole

_MAGIC = b"rediscover state 1\n"
_NUMBERS = "numbers"
_REMEDY = "delete it to start this search anew"
_LARGEST_FILE, _LARGEST_TEXT = 1 << 28, 1 << 30  # bytes: fifty thousand tried skeletons an island, on many islands
_SMALL_TEXT, _MOST_RATIO = 1 << 22, 100  # what zlib may make of few bytes; lists of numbers shrink to a fifth


count = whole(0, 10**15)
"""Check for a number of generations, evaluations and the like."""

seconds = number(0.0, 1e9)
"""Check for a time in seconds; thirty years are more than any search takes."""


def history(value: Any) -> list[dict[str, Any]]:
    """Check for the history of a search; its numbers stay as they are, and an equation is a text."""
    entries: list[dict[str, Any]] = _HISTORY(value)
    for place, entry in enumerate(entries):
        missing = [key for key in _KEYS if key not in entry]
        if missing:
            raise FormatError(f"has no {missing[0]!r}", "").inside(f"[{place}]")
    return entries


def _figure(value: Any) -> Any:
    (text(100_000) if isinstance(value, str) else number(infinite=True))(value)
    return value


_KEYS = ("generation", "seconds", "best_nmse", "best_length")
_HISTORY = list_of(mapping_of(_figure, most=30, keys=text(60)), most=1_000_000)

COMMON_FIELDS: Mapping[str, Check] = {"generation": count, "seconds": seconds, "history": history}
"""Checks for what every state has beside its `identity`, see `checked_state`."""


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


def checked_state(path: Path, identity: str, check: Check, data: str = "data, settings or seed") -> dict[str, Any]:
    """Read the state that a search goes on from.

    Args:
        path: path of the state file.
        identity: fingerprint of the search's data and settings, which is the state's `identity`.
        check: check for the state without its identity.
        data: words for what the identity depends on.

    Returns:
        The checked values by key.

    Raises:
        StateError: the file cannot be read, is damaged, of another search, or not as the check wants it.
    """
    state = load_state(path)
    if state.pop("identity", None) != identity:
        raise StateError(
            f"{path} holds the state of a search with other {data}: give the search another directory, or delete "
            "the file to start anew"
        )
    try:
        return dict(check(state))
    except FormatError as error:
        raise StateError(f"{path} is not a state of this search ({error}): {_REMEDY}") from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; nothing but the names of the operators is checked yet.

    Raises:
        StateError: the file is not a state file, not a whole one, or its operators have other numbers.
    """
    try:
        content = read_regular(path, most=_LARGEST_FILE)
    except FileError as error:
        raise StateError(f"the search state cannot be read, {error}: {_REMEDY}") from error
    head = len(_MAGIC) + 33
    body = content[head:]
    digest = hashlib.blake2b(body, digest_size=16).hexdigest().encode()
    if not content.startswith(_MAGIC) or content[len(_MAGIC) : head] != digest + b"\n":
        raise StateError(f"{path} is damaged or not a search state: {_REMEDY}")
    try:
        state: dict[str, Any] = json_content(unpacked(body), mapping_of(_anything, most=100))
        check_numbers(state.pop(_NUMBERS, None), str(path), _REMEDY)
    except FormatError as error:  # whole, but of no use: somebody else wrote it
        raise StateError(f"{path} is not a search state ({error}): {_REMEDY}") from error
    except NumberingError as error:
        raise StateError(str(error)) from error
    return state


def _anything(value: Any) -> Any:
    return value


def unpacked(body: bytes) -> bytes:
    """The text that `zlib.compress` made small, unless it has grown as no state of ours does.

    Raises:
        FormatError: the bytes are not whole, or a bomb.
    """
    most = min(_LARGEST_TEXT, max(_SMALL_TEXT, _MOST_RATIO * len(body)))
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(body, most)
    except zlib.error as error:
        raise FormatError(f"is not compressed by zlib ({error})", "") from error
    if not inflating.eof:
        raise FormatError(f"is cut off, or more than {most:,} bytes when unpacked", "")
    return found


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


def packed_array(kind: type, *, least: int = 0, most: int, size: float = math.inf) -> Check:
    """Check for a text of `text_of`, which becomes the flat array.

    Args:
        kind: type of the numbers.
        least: smallest number of numbers.
        most: largest number of numbers.
        size: largest magnitude of a number; NaN and, with a finite size, infinity are refused.
    """
    characters = text(2 * np.dtype(kind).itemsize * most + 4)

    def check(value: Any) -> np.ndarray:
        try:
            found: np.ndarray = np.frombuffer(
                base64.b64decode(characters(value), validate=True), dtype=kind
            ).copy()
        except ValueError as error:
            raise FormatError(f"is no array ({error})", "") from error
        if not least <= len(found) <= most:
            raise FormatError(f"has {len(found):,} numbers", f"{least:,} to {most:,}")
        if not (np.abs(found) <= size).all():
            raise FormatError("has numbers", f"numbers up to {size:g} alone")
        return found

    return check
