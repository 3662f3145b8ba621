"""The heartbeat of the processes of a run, in the store through which they have met.

Every process writes a new beat from time to time. The first one watches all others, they watch the first one, and
what it decides ends them all. Nothing here is collective: a main thread that waits for another process is no
obstacle.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["FAILED", "LEFT", "SILENT_BEATS", "STOPPED", "Heartbeat"]

SILENT_BEATS = 12  # a process that is silent for so long is lost
LEFT, FAILED, STOPPED = "left", "failed", "stopped"  # last words: all is done, an error, SIGTERM
_VERDICT = "verdict"


class Heartbeat:
    """The beat of this process, and what it hears of the others.

    Args:
        connect: function that connects to the store, a `torch.distributed.TCPStore` or one with its interface.
        rank: number of this process.
        size: number of processes.
        beat_seconds: time between two beats.
    """

    def __init__(self, connect: Callable[[], Any], rank: int, size: int, beat_seconds: float) -> None:
        self.rank, self.size, self.beat_seconds = rank, size, beat_seconds
        self.beats = 0
        """Number of beats that have reached the store."""
        self.verdict: str | None = None
        """Why all processes must end: a sentence, FAILED where the first one says it, or STOPPED; else None."""
        self._connect = connect
        self._last_word: str | None = None
        self._said = threading.Event()
        self._silent = dict.fromkeys(range(1, size) if rank == 0 else (0,), 0)
        self._heard: dict[int, str] = {}

    def start(self) -> None:
        """Beat, in a thread of its own."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def say(self, last_word: str) -> None:
        """Tell the others how this process ends; returns when they know, or cannot know any more.

        Args:
            last_word: LEFT, FAILED or STOPPED.
        """
        self._last_word = last_word
        if self.beats:
            self._said.wait(3 * self.beat_seconds)
        if self.rank == 0 and self._silent and self.verdict is not None:
            time.sleep(2 * self.beat_seconds)  # the store may end with this process

    def _run(self) -> None:
        try:
            store = self._connect()
            while not self._said.is_set():
                self.beat(store)
                time.sleep(self.beat_seconds)
        except RuntimeError:  # the store is gone, and with it the first process, or its launcher
            self._said.set()

    def beat(self, store: Any) -> None:
        """Say that this process lives, or its last word, and hear of the others."""
        word = self._last_word
        store.set(_key(self.rank), word or str(self.beats))
        if self.rank == 0:
            self._judge(store, word)
        else:
            self._obey(store)
        self.beats += 1
        if word is not None:
            self._said.set()

    def _judge(self, store: Any, own_word: str | None) -> None:
        """What the first process decides about all."""
        verdicts = [own_word if own_word in (FAILED, STOPPED) else None]
        verdicts += [self._of(rank, self._listen(store, rank)) for rank in list(self._silent)]
        if self.verdict is None:
            self.verdict = next((verdict for verdict in verdicts if verdict is not None), None)
        if self.verdict is not None:
            store.set(_VERDICT, self.verdict)

    def _obey(self, store: Any) -> None:
        """What the first process has decided, or what follows from its silence."""
        silence = self._of(0, self._listen(store, 0))
        if store.check([_VERDICT]):
            self.verdict = STOPPED if store.get(_VERDICT).decode() == STOPPED else FAILED
        elif self._silent[0] >= SILENT_BEATS:
            self.verdict = silence

    def _listen(self, store: Any, rank: int) -> str:
        """The newest beat or the last word of a process, empty before the first."""
        word = store.get(_key(rank)).decode() if store.check([_key(rank)]) else ""
        self._silent[rank] = self._silent[rank] + 1 if word == self._heard.get(rank, "") else 0
        self._heard[rank] = word
        if word == LEFT and rank > 0:
            del self._silent[rank]
        return word

    def _of(self, rank: int, word: str) -> str | None:
        """The verdict on one process, None where nothing is wrong with it."""
        if word == STOPPED:
            return STOPPED
        if word == FAILED:
            return f"process {rank} of {self.size} has failed, its lines above say why"
        if word != LEFT and self._silent[rank] >= SILENT_BEATS:
            return f"process {rank} of {self.size} has ended without a word"
        return None


def _key(rank: int) -> str:
    return f"beat/{rank}"
