"""The history of a search: complete at first, then thinned out, so that a week's is no larger than a day's."""

from __future__ import annotations

from typing import Any

__all__ = ["MOST_ENTRIES", "add_entry"]

MOST_ENTRIES = 1_000
"""Largest number of entries: the state on disk, which is written after every generation, holds them all."""


def add_entry(history: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """Append an entry; where there are too many, every second one is left out, but not the new one.

    Args:
        history: entries of generations, the oldest first.
        entry: entry of the newest generation.
    """
    history.append(entry)
    if len(history) > MOST_ENTRIES:
        del history[-2::-2]
