"""The frame of the callbacks that run several searches after a fit, spread over ranks and cores.

Every search has a label, a process of its own, and files of its own under `search/`: a state after every
generation, from which a run that was killed goes on, and its result at the end. The first rank waits for the files
of the others, and reports.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher

from callbacks.equation_search import EquationSearch
from callbacks.logging.search_log import SearchLog
from callbacks.spreading.job import SearchJob
from foundation.durations import duration
from foundation.machine import cores
from foundation.settings import Settings
from foundation.terminal import say
from reports.findings import Finding
from runs.search_files import SearchFiles
from searches.common.saved_search import SavedSearch
from searches.search_result import SearchResult

__all__ = ["SpreadSearch"]

_BUDGETS = {"seconds": "seconds", "evaluations": "evaluations", "generation": "generations", "decodes": "decodes"}
"""Key of a history -> setting that limits it."""


Job = TypeVar("Job", bound=SearchJob)


class SpreadSearch(EquationSearch, Generic[Job]):
    """Several searches after a fit, spread over ranks and cores.

    A concrete callback says what its jobs are (`jobs`), what their search function is given (`arguments`), what
    the terminal shows of a result (`text`), and what is written down of all (`report`). Its `settings` are those
    of one search.

    Args:
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.
        workers: number of processes on this machine; None: one for every core.
    """

    function: ClassVar[str]
    """Place of the search function, `package.module.function`."""
    unit: ClassVar[str] = "searches"
    """Word for the jobs on the terminal."""
    settings: Settings

    def __init__(self, run_dir: str = ".", deferred: bool = False, workers: int | None = None) -> None:
        super().__init__(run_dir, deferred)
        self.workers = workers
        self.files = SearchFiles(self.run_dir / "search")

    # --- what a concrete callback says --------------------------------------------------------------------------

    @abstractmethod
    def jobs(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> Sequence[Job]:
        """All searches of the run, in the order of the report; the same on every rank."""

    @abstractmethod
    def arguments(self, job: Job, workers: int) -> dict[str, Any]:
        """Keyword arguments of the search function for a job, which may use `workers` cores."""

    @abstractmethod
    def text(self, finding: Finding) -> str:
        """The lines that the terminal shows of a finding."""

    @abstractmethod
    def report(
        self, findings: Sequence[Finding], results: Mapping[Job, SearchResult], log: SearchLog, seconds: float
    ) -> None:
        """Write everything down; `seconds` is the time by the clock since the searches began."""

    # --- what follows from jobs and settings --------------------------------------------------------------------

    def budgets(self) -> Mapping[str, float | None]:
        """Limits of a search by the key of the history that counts towards them; None: no limit."""
        return {key: getattr(self.settings, name, None) for key, name in _BUDGETS.items()}

    def duration(self, rounds: int) -> str:
        """Words for how long `rounds` searches after each other take at most; empty without a limit."""
        seconds: float | None = self.budgets()["seconds"]
        return "" if seconds is None else f", up to {duration(seconds * rounds)}"

    def processes(self, trainer: Trainer) -> int:
        """Processes that this rank may use: its share of the machine's."""
        _, ranks = _place(trainer)
        return max(1, (self.workers or cores()) // max(1, ranks // trainer.num_nodes))

    # --- the frame ----------------------------------------------------------------------------------------------

    def find_and_report(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[Finding]:
        """Do this rank's share of the searches; on the first rank, gather and report all."""
        begun = time.perf_counter()
        rank, ranks = _place(trainer)
        jobs = self.jobs(trainer, module, datamodule)
        searched = [job for job in jobs if job.known is None]
        mine, log = searched[rank::ranks], SearchLog(trainer)
        self._run(mine, trainer, log)
        if rank:
            self._leave(mine)
            return []
        self._wait_for([job for job in searched if job not in mine], log, time.perf_counter() - begun)
        results = self._results(jobs)
        unfinished = [job for job in jobs if job not in results or results[job].stopped == "interrupted"]
        self.interrupted = bool(unfinished)
        findings = [job.finding(result) for job, result in results.items()]
        self._tell(findings)
        if len(findings) < len(jobs):
            left = len(jobs) - len(findings)
            say(f"{left} searches had not begun: resume={self.run_dir} does them")
        if findings:
            self.report(findings, results, log, time.perf_counter() - begun)
        self.files.complain()
        return findings

    def _run(self, jobs: Sequence[Job], trainer: Trainer, log: SearchLog) -> None:
        """Run the searches that have no result yet, side by side."""
        processes = self.processes(trainer)
        each = max(1, processes // min(processes, max(1, len(jobs))))  # cores of one search
        waiting = [job for job in jobs if self.files.finished(job.label, job.identity) is None]
        if not waiting:
            return
        at_once = min(processes, len(waiting))
        length = self.duration(-(-len(waiting) // at_once))
        say(f"searching equations: {len(waiting)} {self.unit}, {at_once} at a time{length}")

        def on_entry(label: str, entry: dict[str, float]) -> float:
            log.generations(label, [entry])
            limits = {key: limit for key, limit in self.budgets().items() if limit}
            return max((entry[key] / limit for key, limit in limits.items()), default=0.0)

        self.files.run([self._saved(job, each) for job in waiting], at_once, on_entry)

    def _saved(self, job: Job, workers: int) -> SavedSearch:
        return SavedSearch(
            function=self.function,
            arguments=self.arguments(job, workers),
            folder=str(self.files.folder),
            label=job.label,
            title=job.title,
            identity=job.identity,
        )

    def _leave(self, mine: Sequence[Job]) -> None:
        """End on a rank that does not report: it tells what it found only if that is nowhere on disk."""
        if any(result["unwritten"] for result in self.files.kept.values()):
            self._tell([job.finding(result) for job, result in self._results(mine).items()])
        self.files.complain()

    def _wait_for(self, others: Sequence[Job], log: SearchLog, own_seconds: float) -> None:
        """Wait for the searches of other ranks, and log their histories."""
        self.files.wait_for({job.label: job.identity for job in others}, own_seconds)
        for job, result in self._results(others).items():
            log.generations(job.label, result.history)

    def _results(self, jobs: Sequence[Job]) -> dict[Job, SearchResult]:
        """The results that there are, in the order of the jobs."""
        found: dict[Job, SearchResult] = {}
        for job in jobs:
            plain = self.files.result(job.label, job.identity) if job.known is None else None
            result = job.known
            if plain is not None:
                result = SearchResult.of_plain(plain)
                result = result.borne_out(*job.rows["train"])
            if result is not None:
                found[job] = result
        return found

    def _tell(self, findings: Sequence[Finding]) -> None:
        """The equations on the terminal, before anything is written: a full disk must not lose them."""
        for finding in findings:
            say(self.text(finding))


def _place(trainer: Trainer) -> tuple[int, int]:
    """Number of this process among those that search, and how many they are.

    A strategy that forks or spawns its processes ends them with the fit: after it there is only the first.
    """
    launched = isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)
    if launched and not torch.distributed.is_initialized():
        return 0, 1
    return trainer.global_rank, trainer.world_size
