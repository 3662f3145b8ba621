"""Files made of valid ones by small changes, as a torn disk, another program or a stranger would make them."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

__all__ = ["mutated"]

_WORDS = (
    b"-1", b"0", b"1e999", b"-1e300", b"NaN", b"Infinity", b"null", b"true", b"[]", b"{}", b'""', b"[[[[", b"((((",
    b"}}", b"\x00", b"\xff\xff\xff\xff", b"9" * 40, b"&a [*a,*a]", b"\n", b",", b":", b"../", b"sin(",
    b"**", b"x0",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e300, -1e9, 2**63, 10**400, float("nan"), float("inf"), "", "x0", "\x00", "x" * 5_000,
    [], {}, [[]], [None] * 50, {"a": 1}, "complex64", "int64", "bool", "../x",
)  # fmt: skip
_MOST_CHANGES = 4


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A changed copy of a file: some of its values where it, or a line of it, is JSON, or else some of its bytes.

    Args:
        content: content of a valid file.
        rng: source of the changes.
    """
    if content[:1] in b"[{" and rng.random() < 0.7:
        lines = [content] if _document(content) else content.split(b"\n")
        number = rng.randrange(len(lines))
        if document := _document(lines[number]):
            for _ in range(rng.randint(1, 2)):
                _change_value(document, rng)
            lines[number] = json.dumps(document).encode()
            return b"\n".join(lines)
    changed = bytearray(content)
    for _ in range(rng.randint(1, _MOST_CHANGES)):
        _change_bytes(changed, rng)
    return bytes(changed)


def _document(content: bytes) -> Any:
    """A list or a mapping in JSON, None where there is none, or an empty one."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list | dict) and found else None


def _change_value(document: Any, rng: random.Random) -> None:
    """Replace, delete or double one value somewhere in a JSON document."""
    place = document
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        below = place[key]
        if not (isinstance(below, dict | list) and below and rng.random() < 0.8):
            break
        place = below
    action = rng.random()
    if action < 0.7:
        place[key] = copy.deepcopy(rng.choice(_VALUES))
    elif action < 0.85:
        del place[key]
    elif isinstance(place, list):
        place.insert(key, copy.deepcopy(below))
    else:
        place[f"{key}_"] = copy.deepcopy(below)
    if not document:
        document.update(a=1) if isinstance(document, dict) else document.append(1)


def _change_bytes(changed: bytearray, rng: random.Random) -> None:
    begin = rng.randint(0, len(changed))
    end = min(len(changed), begin + rng.choice((1, 1, 4, 16, 256)))
    action = rng.randrange(5)
    if action == 0 and begin < len(changed):
        changed[begin] ^= 1 << rng.randrange(8)
    elif action == 1:
        changed[begin:begin] = rng.choice(_WORDS)
    elif action == 2:
        changed[begin:end] = rng.choice(_WORDS)
    elif action == 3:
        del changed[begin:end]
    else:
        changed[begin:begin] = changed[begin:end] * rng.choice((1, 1, 20))
