"""Parts of a report that a run can do without."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from foundation.terminal import warn

__all__ = ["optional"]

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def optional(what: str) -> Iterator[None]:
    """Go on without a part of a report that fails; what counts has been written before it.

    The traceback goes to the log, at the level of debugging.

    Args:
        what: Part that would be missing, such as "plots".
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _LOG.debug("no %s", what, exc_info=True)
        warn(f"warning: {what} are missing ({reason:.200}); everything else is on disk")
