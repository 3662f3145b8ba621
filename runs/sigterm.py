"""SIGTERM ends this process in bounded time, whatever it is doing.

A handler in Python runs between two instructions of the main thread. A main thread that waits in foreign code, for
other processes or for a device, would never hear of the signal. So the operating system also tells a thread, which
gives the main thread some seconds to leave by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time

from foundation.terminal import warn

__all__ = ["EXIT_CODE", "GRACE_SECONDS", "deafen", "end_soon", "listen", "received"]

EXIT_CODE = 128 + signal.SIGTERM  # 143, what a shell reports
GRACE_SECONDS = 12.0  # schedulers send SIGKILL after 30

_received = threading.Event()
_heard: socket.socket | None = None


def listen() -> None:
    """From now on SIGTERM raises SystemExit(143) in the main thread, and ends the process after the grace."""
    global _heard
    _received.clear()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_CODE))
    if _heard is None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        _heard = theirs
        threading.Thread(target=_wait_for_signal, args=(ours,), name="sigterm", daemon=True).start()
        os.register_at_fork(before=lambda: _wake(None), after_in_parent=lambda: _wake(_heard))
    _wake(_heard)


def deafen() -> None:
    """Undo the thread's part of `listen`; the thread ends."""
    global _heard
    _wake(None)
    if _heard is not None:
        _heard.close()
    _heard = None


def received() -> bool:
    """Whether SIGTERM has come, from wherever."""
    return _received.is_set()


def end_soon(sentence: str, code: int) -> None:
    """End this process from a thread: send SIGTERM to the main thread, which may say why it leaves.

    Args:
        sentence: sentence for the terminal if the main thread does not leave in time; empty: none.
        code: exit code in that case.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        _exit(sentence, code)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    _exit(sentence, code)


def _wake(end: socket.socket | None) -> None:
    """Choose where the system writes signals; a forked child has no place, or it would speak for its parent."""
    with contextlib.suppress(ValueError):  # outside the main thread
        signal.set_wakeup_fd(-1 if end is None else end.fileno(), warn_on_full_buffer=False)


def _wait_for_signal(ours: socket.socket) -> None:
    while signal.SIGTERM not in (heard := ours.recv(64)):
        if not heard:  # nobody listens any longer
            return
    _received.set()
    time.sleep(GRACE_SECONDS + 1.0)  # `end_soon` knows more, and speaks first
    _exit("ended by SIGTERM while it was busy: resume=RUN_DIR goes on from the last checkpoint", EXIT_CODE)


def _exit(sentence: str, code: int) -> None:
    if sentence:
        warn(f"error: {sentence}")
    os._exit(code)
