"""What the content of a file must be, described once and checked whole before any of it is used.

A check is a function that takes a value as JSON, YAML or a checkpoint has it, and returns it as the program uses
it, or raises a `FormatError` that says where the value is wrong:

    entry = record({"infix": text(), "nmse": number(least=0), "names": list_of(text(100), most=1000)})
    entry({"infix": "x0 + 1", "nmse": 0, "names": ["x0"]})       # the same, with the float 0.0
    entry({"infix": "x0 + 1", "nmse": -1, "names": ["x0"]})      # its nmse is -1, not a finite number from 0

Every text, list and mapping has a largest length, every number a range, and a mapping no keys but those named. A
check of one's own may be any such function, for instance one that parses an equation; it may raise a `FormatError`
or any other `UserError` or `ValueError`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "LARGEST_WHOLE",
    "NOTES",
    "Check",
    "FormatError",
    "array",
    "choice",
    "empty_or",
    "json_content",
    "list_of",
    "mapping_of",
    "number",
    "optional",
    "plain",
    "record",
    "row_of",
    "text",
    "truth",
    "whole",
]

Check = Callable[[Any], Any]
"""Function that returns a checked value, or raises a `FormatError`."""

LARGEST_WHOLE = 2**53
"""Largest whole number of a file, but where a check says otherwise: any program reads it exactly."""

_LONGEST, _DEEPEST = 1_000_000, 12  # of lists, mappings and texts that nothing is known about
_SHOWN = 60  # characters of a value in an error sentence


class FormatError(UserError, ValueError):
    """Content that is not as described; its words fit in brackets: `its front[2] is -1, not a number from 0`.

    Args:
        found: words for what is there, such as `is -1`.
        wanted: words for what should be there.
    """

    def __init__(self, found: str, wanted: str) -> None:
        self._place, self._words = "", f"{found}, not {wanted}" if wanted else found
        super().__init__(self._words)

    def __str__(self) -> str:
        place = self._place.removeprefix(".")
        return f"its {place} {self._words}" if place else f"it {self._words}"

    def inside(self, place: str) -> FormatError:
        """The same error, seen from one level further out: `.front` or `[2]`."""
        self._place = place + self._place
        return self


def _wrong(value: Any, wanted: str) -> FormatError:
    return FormatError(f"is {_shown(value)}", wanted)


def _shown(value: Any) -> str:
    """A value in few characters, however large it is."""
    if isinstance(value, bool | float) or value is None:
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) <= LARGEST_WHOLE else "a very large number"
    if isinstance(value, str):
        return repr(value[:_SHOWN]) + "…" * (len(value) > _SHOWN)
    if isinstance(value, list | tuple | dict):
        kind = "a mapping" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value):,}"
    return f"of type {type(value).__name__}"


# --- single values ----------------------------------------------------------------------------------------------


def text(most: int = 10_000, pattern: str | None = None, words: str = "") -> Check:
    """Check for a text.

    Args:
        most: largest number of characters.
        pattern: regular expression that the whole text must match; None: any text.
        words: description of the texts that match, to follow "not a text"; needed with `pattern`.
    """
    wanted = f"a text {words}".rstrip() + f" of at most {most:,} characters"
    compiled = None if pattern is None else re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or (compiled and not compiled.fullmatch(value)):
            raise _wrong(value, wanted)
        return value

    return check


def choice(*allowed: str) -> Check:
    """Check for one of a few words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _wrong(value, f"one of {', '.join(allowed)}")
        return value

    return check


def whole(least: int = 0, most: int = LARGEST_WHOLE) -> Check:
    """Check for a whole number in a range."""

    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _wrong(value, f"a whole number from {least} to {_power(most)}")
        return value

    return check


def _power(number: int) -> str:
    return f"2**{number.bit_length() - 1}" if number >= 2**31 and number.bit_count() == 1 else str(number)


def number(least: float = -math.inf, most: float = math.inf, *, infinite: bool = False) -> Check:
    """Check for a number in a range, which becomes a float.

    Args:
        least: smallest number.
        most: largest number.
        infinite: whether infinity is allowed, where the range has it; NaN never is.
    """
    bounds = [f"from {least:g}"] * math.isfinite(least) + [f"up to {most:g}"] * math.isfinite(most)
    wanted = " ".join(["a number" if infinite else "a finite number", *bounds])

    def check(value: Any) -> float:
        if type(value) is float or (type(value) is int and abs(value) <= 10**300):
            converted = float(value)
            if least <= converted <= most and (infinite or math.isfinite(converted)):
                return converted
        raise _wrong(value, wanted)

    return check


def truth(value: Any) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return value


def optional(check: Check) -> Check:
    """Check for null, or what another check lets pass."""
    return lambda value: None if value is None else check(value)


def plain(value: Any) -> Any:
    """Check for what JSON can hold, of any kind, but not endless: facts that are shown and not computed with."""
    _check_plain(value, _DEEPEST)
    return value


def _check_plain(value: Any, deepest: int) -> None:
    if value is None or isinstance(value, bool | float):
        return
    if isinstance(value, int):
        if abs(value) > 10**300:
            raise _wrong(value, "a smaller number")
    elif isinstance(value, str):
        text(_LONGEST)(value)
    elif isinstance(value, list | tuple | Mapping):
        if not deepest or len(value) > _LONGEST:
            raise FormatError("is too long, or nested too deeply", "")
        for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(value, Mapping):
                text(1_000)(key)
            _inside(partial(_check_plain, deepest=deepest - 1), entry, key)
    else:
        raise _wrong(value, "a number, a text, a list or a mapping")


def empty_or(check: Check) -> Check:
    """Check for an empty mapping, or what another check lets pass."""
    return lambda value: {} if isinstance(value, Mapping) and not value else check(value)


# --- several values ---------------------------------------------------------------------------------------------


def list_of(check: Check, *, least: int = 0, most: int) -> Check:
    """Check for a list whose entries are all of one kind.

    Args:
        check: check for an entry.
        least: smallest number of entries.
        most: largest number of entries.
    """
    wanted = f"a list of {f'{least:,}' if least == most else f'{least:,} to {most:,}'} entries"

    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise _wrong(value, wanted)
        return [_inside(check, entry, place) for place, entry in enumerate(value)]

    return checked


def row_of(*checks: Check) -> Check:
    """Check for a list of a fixed length, every entry of its own kind."""

    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or len(value) != len(checks):
            raise _wrong(value, f"a list of {len(checks)} entries")
        return [
            _inside(check, entry, place) for place, (check, entry) in enumerate(zip(checks, value, strict=True))
        ]

    return checked


def mapping_of(check: Check, *, most: int, keys: Check | None = None) -> Check:
    """Check for a mapping with any keys, whose values are all of one kind.

    Args:
        check: check for a value.
        most: largest number of keys.
        keys: check for a key; texts of up to 1,000 characters when not given.
    """
    named = keys or text(1_000)

    def checked(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping) or len(value) > most:
            raise _wrong(value, f"a mapping of at most {most:,} keys")
        return {named(key): _inside(check, entry, key) for key, entry in value.items()}

    return checked


def record(
    fields: Mapping[str, Check], others: Mapping[str, Check] | None = None, *, open_end: bool = False
) -> Check:
    """Check for a mapping of known keys.

    Args:
        fields: check for the value of every key that must be there.
        others: checks for keys that may be missing.
        open_end: whether there may be further keys, which are left out of what the check returns.
    """
    known = {**fields, **(others or {})}

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _wrong(value, "a mapping")
        missing = next((key for key in fields if key not in value), None)
        if missing is not None:
            raise FormatError(f"has no {missing!r}", "")
        stranger = next((key for key in value if key not in known), None)
        if stranger is not None and not open_end:
            raise FormatError(f"has {_shown(stranger)}, which is none of its keys", "")
        return {key: _inside(check, value[key], key) for key, check in known.items() if key in value}

    return checked


def array(kind: str, *shape: int | None, finite: bool = True) -> Check:
    """Check for a NumPy array.

    Args:
        kind: letters of the allowed kinds of its type, as in `numpy.dtype.kind`: `f`, `iu`, `b`.
        shape: length of every dimension; None: any length.
        finite: whether its numbers must be finite.
    """
    import numpy as np  # files of settings hold no arrays, and are read before anything that takes time

    sizes = " x ".join("any" if size is None else str(size) for size in shape)

    def check(value: Any) -> np.ndarray:
        right = isinstance(value, np.ndarray) and value.dtype.kind in kind and value.ndim == len(shape)
        if not right or any(size not in (None, found) for size, found in zip(shape, value.shape, strict=True)):
            here = f"an array {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else _shown(value)
            raise FormatError(f"is {here}", f"an array of {sizes}")
        if finite and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise FormatError("has numbers that are not finite", "")
        return value

    return check


def _inside(check: Check, value: Any, place: Any) -> Any:
    """The checked value of an entry; an error says in which entry."""
    shown = (
        f".{place}"
        if isinstance(place, str) and place.isidentifier() and len(place) <= _SHOWN
        else f"[{_shown(place)}]"
    )
    try:
        return check(value)
    except FormatError as error:
        raise error.inside(shown) from None
    except (UserError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FormatError(f"is {_shown(value)}: {reason}", "").inside(shown) from error


# --- JSON -------------------------------------------------------------------------------------------------------


def json_content(content: str | bytes, check: Check) -> Any:
    """The checked content of a JSON text, which may come from a stranger.

    Args:
        content: text, or UTF-8 bytes, of a length that the caller has bounded.
        check: check for the whole of it.

    Raises:
        FormatError: it is no JSON, is nested too deeply, or not as `check` wants it.
    """
    try:
        return check(json.loads(content))
    except RecursionError:
        raise FormatError("is nested too deeply", "") from None
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"is no JSON ({str(error)[:100]})", "") from error


NOTES: Check = list_of(text(), most=1_000)
"""Check for notes: a sentence for each request that was not carried out as it was made."""
