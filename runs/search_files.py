"""The results of searches that are spread over processes: each is a file, and the first process gathers them.

Nothing here is collective: a rank that waits for another in a collective call would be timed out by the process
group long before a search ends, so the first one watches the files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import FileError, read_regular
from foundation.schema import FormatError, json_content
from runs.search_progress import SearchProgress
from searches.common.parallel import run_jobs
from searches.common.saved_search import SavedSearch, run_saved_search
from searches.search_result import UNFINISHED, SearchResult

__all__ = ["SearchFiles"]

_LARGEST_FILE = 1 << 26  # bytes
_WAIT_SECONDS = 60.0  # without any news in the files of other ranks, at the least
_GRACE_SECONDS = 5.0  # the same after Ctrl-C


def _as_it_is(value: Any) -> Any:
    return value


class SearchFiles:
    """`LABEL.json` and `LABEL.state` of every search of a run.

    A result says by its `identity` what it is the result of; one of other data or settings does not count.

    Args:
        folder: directory of the files, `search/` in the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, dict[str, Any]] = {}
        """Results of this attempt and process by label, in case that the disk is full."""

    def result(self, label: str, identity: str) -> dict[str, Any] | None:
        """The result of a search, None where there is none, or one that a search could not have written."""
        result: Any = self.kept.get(label)
        if result is None:
            try:
                content = read_regular(self.folder / f"{label}.json", most=_LARGEST_FILE)
                result = json_content(content, _as_it_is)
                SearchResult.of_plain(result)
            except (FileError, FormatError):
                return None
        return result if result.get("identity") == identity else None

    def finished(self, label: str, identity: str) -> dict[str, Any] | None:
        """The same, of a search that was not cut short."""
        result = self.result(label, identity)
        return None if result is None or result["stopped"] in UNFINISHED else result

    def run(
        self, searches: Sequence[SavedSearch], workers: int, on_entry: Callable[[str, dict[str, float]], float]
    ) -> None:
        """Run searches side by side, each in a process of its own, and keep what they return.

        Args:
            searches: searches with different labels.
            workers: number of processes at a time.
            on_entry: function that is called with the label of a search and an entry of its history, and returns
                the share of the budget that is spent.
        """
        labels = [saved.label for saved in searches]
        with SearchProgress(labels) as progress:

            def on_message(number: int, entry: dict[str, float]) -> None:
                share = on_entry(labels[number], entry)
                generation, length = int(entry["generation"]), int(entry["best_length"])
                progress.update(labels[number], share, generation, entry["best_nmse"], length)

            results = run_jobs(run_saved_search, [{"saved": saved} for saved in searches], workers, on_message)
        self.kept = {result["label"]: result for result in results if result is not None}

    def forget(self, label: str) -> None:
        """Delete what an earlier run left of a search, so that it begins anew."""
        for suffix in (".state", ".polish", ".json"):
            (self.folder / f"{label}{suffix}").unlink(missing_ok=True)

    def wait_for(self, searches: Mapping[str, str], own_seconds: float) -> None:
        """Wait for the results of other ranks for as long as the files change.

        Args:
            searches: identity of every search by its label.
            own_seconds: time that this rank's own searches took; others may take as long without any news.

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
