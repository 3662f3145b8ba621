"""The error that a user can correct.

Every mistake of a user (a wrong key, a bad cell, a torn file) raises :class:`UserError` or a subclass that
lives next to the code which raises it. The doors (`train.py`, `compare.py`) print it as one line, `error:
...`, and exit with code 2 without a traceback; every other exception is a fault of the program and keeps
its traceback.
"""

import difflib
from collections.abc import Iterable

__all__ = ["Interrupted", "UserError", "near"]


class UserError(Exception):
    """One clear sentence: the value that was given, what is allowed, and what to do."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in work that can go on later: one sentence that says where it stopped and what to type."""


def near(word: str, allowed: Iterable[str], prefix: str = "") -> str:
    """Name the allowed words, the close ones first.

    Args:
        word: What the user wrote.
        allowed: Everything that would have been accepted.
        prefix: Text before every allowed word, which the user must write too.

    Returns:
        `did you mean a or b?` when something is close, otherwise `allowed: a, b, c`.
    """
    words = sorted({str(item) for item in allowed})
    lowered = {item.lower(): item for item in words}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(prefix + lowered[item] for item in close)}?"
    return f"allowed: {', '.join(prefix + word for word in words)}" if words else "nothing is allowed here"
