"""What is said before a long table is read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["reading_line"]

LONG_BYTES = 20_000_000
"""Size of a file that is read within a second or so."""


def reading_line(path: str) -> str | None:
    """What is printed before a long table is read, which takes seconds; None for a short one.

    Args:
        path: path of the table, or whatever else stands for one.
    """
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):  # the reader says what is wrong
        return None
    return None if size < LONG_BYTES else f"reading {path}, {size / 1e6:,.0f} MB"
