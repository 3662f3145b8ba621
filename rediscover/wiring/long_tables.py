"""What is said before a long table is read."""

from __future__ import annotations

import math
from pathlib import Path

from foundation.durations import duration

__all__ = ["reading_line"]

LONG_BYTES = 20_000_000
"""Size of a file that is read within a second or so."""
TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat")
BYTES_A_SECOND = 1.5e8
"""Bytes of text that a core reads and checks in a second, about."""
LARGEST_SHARE = 0.5
"""Share of a budget beyond which reading leaves too little for the search."""


def reading_line(path: str, seconds: float | None = None) -> str | None:
    """What is printed before a long table is read, which takes seconds; None for a short one.

    Args:
        path: path of the table, or whatever else stands for one.
        seconds: budget that reading is a part of; None: there is none.
    """
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):  # the reader says what is wrong
        return None
    if size < LONG_BYTES:
        return None
    line = f"reading {path}, {size / 1e6:,.0f} MB"
    if not path.lower().endswith(TEXT):  # what is compressed has no such rate
        return line
    reading = max(1.0, size / BYTES_A_SECOND)
    line = f"{line}, takes about {duration(reading).replace('1 seconds', 'a second')}"
    if seconds is None or reading < LARGEST_SHARE * seconds:
        return line
    more = 10 * math.ceil(reading)
    return f"{line}, and {seconds:g} are given for everything: write --seconds {more} or so, to have a search"
