"""What leaves a door: one sentence where the user can mend it, and the fault itself where only we can."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from foundation.errors import UserError
from foundation.terminal import warn

__all__ = ["refused", "sentence_of"]

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO}
"""Faults of a disk or of rights to it."""
UNFIT = {errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY, errno.EINVAL}
"""Faults of a path."""
_BEGIN, _END = 1_500, 500  # characters of a long sentence that are shown
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "Cannot allocate memory")

Explain = Callable[[Exception], str | None]


def refused(error: Exception, *explain: Explain) -> bool:
    """Say on stderr, in one line, what the user can mend.

    Args:
        error: error that has come to a door.
        explain: functions that have a sentence for errors of other packages, or None.

    Returns:
        Whether there was something to say; otherwise the error is a fault of the program.
    """
    sentence = sentence_of(error, *explain)
    if sentence is not None:
        warn(f"error: {_shown(sentence)}")
    return sentence is not None


def _shown(sentence: str) -> str:
    """A sentence that a screen holds: a name in it may be as long as a file, and what to do stands at the end."""
    return sentence if len(sentence) <= _BEGIN + _END else f"{sentence[:_BEGIN]} … {sentence[-_END:]}"


def sentence_of(error: BaseException, *explain: Explain) -> str | None:
    """The sentence for an error, or for what has caused it; None for a fault of the program."""
    seen: BaseException | None = error
    while seen is not None:
        sentences = (_own(seen), *(each(seen) for each in explain if isinstance(seen, Exception)))
        sentence = next((text for text in sentences if text is not None), None)
        if sentence is not None:
            return " ".join(sentence.split())
        seen = seen.__cause__
    return None


def _own(error: BaseException) -> str | None:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    ):
        return "there is not enough memory: use fewer rows, smaller batches, a smaller model or fewer processes"
    if not isinstance(error, OSError):
        return None
    if error.errno in FULL:
        where = f" to {error.filename}" if error.filename else ""
        return f"cannot write{where}: {os.strerror(error.errno)}; make room, then resume=RUN_DIR"
    if error.errno in UNFIT and error.filename:
        return f"{error.filename} cannot be used: {os.strerror(error.errno)}; give another path"
    return None
