"""The results of searches that are spread over processes: each is a file, and the first process gathers them.

Nothing here is collective: a rank that waits for another in a collective call would be timed out by the process
group long before a search ends, so the first one watches the files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher

from foundation.errors import UserError
from runs.search_progress import SearchProgress
from searches.common.parallel import run_jobs
from searches.search_result import UNFINISHED

__all__ = ["SearchFiles", "place"]

_WAIT_SECONDS = 60.0  # without any news in the files of other ranks, at the least
_GRACE_SECONDS = 5.0  # the same after Ctrl-C


class SearchFiles:
    """`LABEL.json` and `LABEL.state` of every search of a run.

    A result says by its `identity` what it is the result of; one of other data or settings does not count.

    Args:
        folder: where the files are, `search/` in the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, dict[str, Any]] = {}
        """Results of this attempt and process by label, in case that the disk is full."""

    def result(self, label: str, identity: str) -> dict[str, Any] | None:
        """The result of a search, None where there is none."""
        result: Any = self.kept.get(label)
        if result is None:
            try:
                result = json.loads((self.folder / f"{label}.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return None
        return result if isinstance(result, dict) and result.get("identity") == identity else None

    def finished(self, label: str, identity: str) -> dict[str, Any] | None:
        """The same, of a search that was not cut short."""
        result = self.result(label, identity)
        return None if result is None or result["stopped"] in UNFINISHED else result

    def run(
        self,
        function: Callable[..., Any],
        jobs: Sequence[Mapping[str, Any]],
        workers: int,
        on_entry: Callable[[str, dict[str, float]], float],
    ) -> None:
        """Run searches side by side, and keep what they return.

        Args:
            function: see `searches.common.parallel.run_jobs`; it reports entries of the history.
            jobs: its arguments; `label` names a search.
            workers: processes at a time.
            on_entry: called with the label and an entry; returns the share of the budget that is spent.
        """
        labels = [str(job["label"]) for job in jobs]
        with SearchProgress(labels) as progress:

            def on_message(number: int, entry: dict[str, float]) -> None:
                share = on_entry(labels[number], entry)
                generation, length = int(entry["generation"]), int(entry["best_length"])
                progress.update(labels[number], share, generation, entry["best_nmse"], length)

            results = run_jobs(function, jobs, workers, on_message)
        self.kept = {result["label"]: result for result in results if result is not None}

    def wait_for(self, searches: Mapping[str, str], own_seconds: float) -> None:
        """Wait for the results of other ranks for as long as the files change.

        Args:
            searches: label -> identity.
            own_seconds: what this rank's own searches took; others may take as long without any news.

        Raises:
            UserError: the files have stopped changing, and a result is missing.
        """
        if any(result["stopped"] == "interrupted" for result in self.kept.values()):
            patience = _GRACE_SECONDS  # Ctrl-C was for the other ranks, too
        else:
            patience = max(_WAIT_SECONDS, own_seconds)
        news: Any = None
        deadline = time.perf_counter() + patience
        missing = self._missing(searches)
        while missing:
            files = [path for path in self.folder.glob("*.*") if not path.name.startswith(".")]
            latest = [(path.name, path.stat().st_mtime_ns) for path in sorted(files)]
            if latest != news:
                news, deadline = latest, time.perf_counter() + patience
            if time.perf_counter() > deadline:
                lost = [label for label in missing if self.result(label, searches[label]) is None]
                if not lost or patience == _GRACE_SECONDS:
                    return
                raise UserError(
                    f"no result of {', '.join(lost)}, searched by other processes: resume={self.folder.parent} "
                    "goes on from what they wrote"
                )
            time.sleep(0.2)
            missing = self._missing(searches)

    def _missing(self, searches: Mapping[str, str]) -> list[str]:
        return [label for label, identity in searches.items() if self.finished(label, identity) is None]

    def complain(self) -> None:
        """Say what could not be written, once all else is done.

        Raises:
            UserError: the state or the result of a search of this process was not.
        """
        unwritten = [result for result in self.kept.values() if result["unwritten"]]
        if unwritten:
            raise UserError(
                f"the state of {len(unwritten)} searches could not be written to {self.folder}, so they ended "
                f"early with the equations above: make room, then resume={self.folder.parent} goes on"
            )


def place(trainer: Trainer) -> tuple[int, int]:
    """Number of this process among those that search, and how many they are.

    A strategy that forks or spawns its processes ends them with the fit: after it there is only the first.
    """
    launched = isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)
    if launched and not torch.distributed.is_initialized():
        return 0, 1
    return trainer.global_rank, trainer.world_size
