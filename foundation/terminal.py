"""Text that a terminal shows and does not obey.

Names of columns, metrics and runs may come from a stranger's file. Escape sequences in them could move the cursor,
change the title of the window or hide a line, and marks of writing direction could turn a line around.
"""

from __future__ import annotations

import io
import sys

__all__ = ["encode_anything", "printable", "say", "warn"]


_MARK = "\N{REPLACEMENT CHARACTER}"


def printable(text: object, *, lines: bool = False) -> str:
    """A text in which a mark stands for every character that a terminal obeys and does not show.

    Args:
        text: Anything that has a text.
        lines: Whether the text may have several lines; otherwise a mark stands for a line end, too.
    """
    return "".join(letter if letter.isprintable() or (lines and letter == "\n") else _MARK for letter in str(text))


def encode_anything() -> None:
    """Have a `?` stand for every character that the terminal, or the file that output goes to, cannot hold."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(text: object) -> None:
    """Print lines of text at once, as `printable` has them."""
    print(printable(text, lines=True), flush=True)


def warn(text: object) -> None:
    """Print lines of text to standard error at once, as `printable` has them."""
    print(printable(text, lines=True), file=sys.stderr, flush=True)
