"""Progress bars of searches that run side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class SearchProgress:
    """One line a search: its share done, its generation, its best error and length.

    Without a terminal it prints nothing while searching.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            auto_refresh=True,
            refresh_per_second=4,
        )
        self._tasks: dict[str, TaskID] = {
            label: self._progress.add_task(label, total=1.0, best="", start=False) for label in labels
        }
        self._started: dict[str, float] = {}

    def __enter__(self) -> SearchProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, label: str, share: float, generation: int, nmse: float, length: int) -> None:
        """Show the progress of a search.

        Args:
            label: label of the search.
            share: share of its budget that is spent, 0 to 1.
            generation: number of the last finished generation.
            nmse: normalised squared error of its most accurate equation.
            length: number of tokens of that equation's program.
        """
        task = self._tasks[label]
        if label not in self._started:
            self._started[label] = time.perf_counter()
            self._progress.start_task(task)
        best = f"generation {generation}, 1 - R2 = {nmse:.2e} with {length} tokens"
        self._progress.update(task, completed=min(1.0, share), best=best)
