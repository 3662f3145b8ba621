"""Genetic programming on every latent of an autoencoder, after training.

    search = GPSearch(run_dir="logs/mine", trials=3, seconds=30)
    trainer = Trainer(callbacks=[search])
    trainer.fit(autoencoder, datamodule)     # searches in on_fit_end

One search a latent and trial, spread over ranks and cores. Each leaves a resumable state after every generation
and a result at its end under `search/`; a run that was killed goes on from there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from callbacks.equation_report import Finding, SearchLog, draw_curves, draw_figures, polynomial_r2, report_findings
from callbacks.progress import duration
from callbacks.run_record import write_atomically
from callbacks.search_files import SearchFiles, place
from expressions.expression import Expression
from foundation.errors import UserError
from searches.common.parallel import cores
from searches.common.saved_search import search_and_save
from searches.common.search_state import fingerprint
from searches.evolution.archive import Entry, add_to_archive, check_archive, seeds_from
from searches.evolution.settings import GeneticProgrammingSettings
from searches.pareto_front import Candidate, ParetoFront
from searches.search_result import SearchResult

_CONSTANT = 1e-6  # range over magnitude, below which float32 shows rounding and no function
_ENCODE_ROWS = 65_536


@dataclass(frozen=True)
class _Job:
    """One search: a latent and a trial."""

    latent: int
    trial: int

    @property
    def label(self) -> str:
        return f"latent_{self.latent}_trial_{self.trial}"


class GPSearch(Callback):
    """Rewrites the latents of an autoencoder as equations.

    The LightningModule must have `encode(inputs [batch, features]) -> [batch, latents]`, the LightningDataModule
    `table(split)` with the inputs in the units that the equations are to have.

    Example:
        ```yaml
        search:
          _target_: callbacks.gp_search.GPSearch
          trials: 10
          seconds: 30
        ```

    Args:
        run_dir: where results go.
        deferred: do not search in `on_fit_end`; `search(trainer, module)` will be called later.
        seed: of all searches, each of which derives its own.
        trials: repetitions for every latent.
        archive: file with the best equations of all runs; searches start from them and add theirs. None: neither.
        workers: processes on this machine; None: one for every core.
        islands: populations of a search; None: as many as there are cores for it.
        settings: of the search, see `searches.evolution.settings.GeneticProgrammingSettings`.

    Raises:
        UserError: a setting is unknown or not allowed.
    """

    def __init__(
        self,
        run_dir: str = ".",
        deferred: bool = False,
        seed: int = 0,
        trials: int = 1,
        archive: str | None = None,
        workers: int | None = None,
        islands: int | None = None,
        **settings: Any,
    ) -> None:
        self.run_dir = Path(run_dir)
        self.deferred = deferred
        self.seed = seed
        self.trials = trials
        self.archive = Path(archive) if archive else None
        if self.archive is not None:
            check_archive(self.archive)
        self.workers = workers or cores()
        self.islands = islands
        self.settings = GeneticProgrammingSettings.of(settings)
        self.files = SearchFiles(self.run_dir / "search")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search, unless somebody else will say when."""
        if not self.deferred:
            self.search(trainer, pl_module)

    def search(
        self, trainer: Trainer, module: LightningModule, datamodule: LightningDataModule | None = None
    ) -> list[Finding]:
        """Search every latent, and report; on ranks other than the first, search this rank's share.

        Nothing here is collective: a rank that waits for another would be timed out by the process group.

        Args:
            trainer: of the fit.
            module: the network.
            datamodule: gives the rows; the one of the fit when not given.

        Returns:
            What was found, empty on ranks other than the first. After Ctrl-C, what was found until then.

        Raises:
            UserError: a latent is not finite, the searches of another rank did not end, or the disk is full; the
                equations are on the terminal by then.
        """
        try:
            return self._search(trainer, module, datamodule)
        except OSError as error:
            raise UserError(
                f"{self.run_dir} cannot be written to ({error.strerror or error}): make room, then "
                f"resume={self.run_dir}"
            ) from error

    def _search(
        self, trainer: Trainer, module: LightningModule, datamodule: LightningDataModule | None
    ) -> list[Finding]:
        begun = time.perf_counter()
        rank, ranks = place(trainer)
        datamodule = datamodule or trainer.datamodule  # type: ignore[attr-defined]
        if datamodule is None:  # it stayed in the processes of the fit
            raise UserError("after a fit in forked processes the search has no rows: use trainer.strategy=ddp")
        data = _Data.of(datamodule, module)
        jobs = [_Job(k, t) for k in range(data.latents.shape[1]) for t in range(self.trials)]
        searched = [job for job in jobs if not data.is_constant(job.latent)]
        mine = searched[rank::ranks]
        log = SearchLog(trainer)
        workers = max(1, self.workers // max(1, ranks // trainer.num_nodes))
        self._run(mine, data, log, workers)
        if rank:
            if any(result["unwritten"] for result in self.files.kept.values()):
                self._tell([self._finding(job, data) for job in mine if self._result(job, data)], data.names)
            self.files.complain()
            return []
        others = [job for job in searched if job not in mine]
        waited_for = {job.label: self._identity(job, data) for job in others}
        self.files.wait_for(waited_for, time.perf_counter() - begun)
        for job in others:
            log.generations(job.label, (self._result(job, data) or {}).get("history", []))
        findings = [self._finding(job, data) for job in jobs if job not in searched or self._result(job, data)]
        self._tell(findings, data.names)
        if len(findings) < len(jobs):
            print(
                f"{len(jobs) - len(findings)} searches had not begun: resume={self.run_dir} does them", flush=True
            )
        report_findings(self.run_dir, findings, data.names, time.perf_counter() - begun)
        plots = draw_curves(self.run_dir, findings)
        for finding in findings:
            latent = int(finding.problem.removeprefix("latent_"))
            plots += draw_figures(self.run_dir, finding, data.names, _latent_function(module, latent))
        log.findings(self.run_dir, findings, data.names, plots)
        self._add_to_archive(findings, data)
        self.files.complain()
        return findings

    # --- running ------------------------------------------------------------------------------------------------

    def _run(self, jobs: Sequence[_Job], data: _Data, log: SearchLog, workers: int) -> None:
        each = max(1, workers // min(workers, max(1, len(jobs))))  # cores for the islands of one search
        open_jobs = [job for job in jobs if self._finished(job, data) is None]
        if not open_jobs:
            return
        at_once = min(workers, len(open_jobs))
        self._announce(len(open_jobs), at_once)
        arguments = [self._arguments(job, data, each) for job in open_jobs]

        def on_entry(label: str, entry: dict[str, float]) -> float:
            log.generations(label, [entry])
            return _share_spent(self.settings, entry)

        self.files.run(search_and_save, arguments, at_once, on_entry)

    def _announce(self, jobs: int, at_once: int) -> None:
        seconds = self.settings.seconds
        length = "" if seconds is None else f", about {duration(seconds * math.ceil(jobs / at_once))}"
        print(f"searching equations: {jobs} searches, {at_once} at a time{length}", flush=True)

    def _arguments(self, job: _Job, data: _Data, workers: int) -> dict[str, Any]:
        train = data.rows("train", job.latent)
        start = self._start(job, data, self.islands or workers)
        return {
            "inputs": train[0],
            "target": train[1],
            "validation": data.rows("validation", job.latent),
            "settings": replace(self.settings, islands=self.islands or start["islands"]),
            "seed": int(np.random.SeedSequence([self.seed, job.latent, job.trial]).generate_state(1)[0]),
            "seeds": start["seeds"],
            "workers": workers,
            "folder": str(self.files.folder),
            "label": job.label,
            "identity": self._identity(job, data),
        }

    def _identity(self, job: _Job, data: _Data) -> str:
        return fingerprint(
            *data.rows("train", job.latent), asdict(self.settings), self.islands, self.seed, job.label
        )

    def _start(self, job: _Job, data: _Data, islands: int) -> dict[str, Any]:
        """What a search begins with beside its settings: written down, since a resumed one must have the same.

        The archive may have grown meanwhile, and another machine may have other cores. Where the network is no
        longer the same, say after more epochs, the search begins anew.
        """
        path = self.files.folder / f"{job.label}_start.json"
        own = fingerprint(*data.rows("train", job.latent))
        try:
            start = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            start = {}
        if start.get("data") == own:
            return start
        for suffix in (".state", ".json"):
            (self.files.folder / f"{job.label}{suffix}").unlink(missing_ok=True)
        seeds = [] if self.archive is None else seeds_from(self.archive, data.names, own)
        start = {"data": own, "islands": islands, "seeds": [seed.infix() for seed in seeds]}
        self.files.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(start))
        return start

    # --- results ------------------------------------------------------------------------------------------------

    def _result(self, job: _Job, data: _Data) -> dict[str, Any] | None:
        """The result of a search with these data and settings, None where there is none."""
        return self.files.result(job.label, self._identity(job, data))

    def _finished(self, job: _Job, data: _Data) -> dict[str, Any] | None:
        """The same, of a search that was not cut short."""
        return self.files.finished(job.label, self._identity(job, data))

    def _finding(self, job: _Job, data: _Data) -> Finding:
        common: dict[str, Any] = {
            "problem": f"latent_{job.latent}",
            "target": f"latent {job.latent}",
            "trial": job.trial,
            "train": data.rows("train", job.latent),
            "test": data.rows("test", job.latent),
        }
        if data.is_constant(job.latent):  # a collapsed latent: the equation is its value
            value = float(data.rows("train", job.latent)[1][0])
            candidate = Candidate(Expression.constant(value), 1, 0.0, 0.0)
            return Finding(
                **common,
                front=ParetoFront([candidate]),
                chosen=candidate,
                history=[],
                seconds=0.0,
                evaluations=0,
                stopped="constant",
            )
        result = self._result(job, data)
        if result is None:
            raise UserError(f"the result of {job.label} in {self.files.folder} cannot be read any more: resume")
        found = SearchResult.of_plain(result)
        return Finding(
            **common,
            front=found.front,
            chosen=found.best,
            history=found.history,
            seconds=found.seconds,
            evaluations=found.evaluations,
            stopped=found.stopped,
        )

    def _tell(self, findings: Sequence[Finding], names: Sequence[str]) -> None:
        """The equations on the terminal, before anything is written: a full disk must not lose them."""
        for finding in findings:
            inputs, target = finding.test
            if finding.stopped == "constant":
                value = finding.chosen.expression.infix(names)
                print(f"{finding.target} = {value}\n  the network gives the same value on every row", flush=True)
                continue
            values = finding.chosen.expression(inputs)
            error = float(np.mean((values - target) ** 2) / max(float(np.var(target)), 1e-300))
            linear, cubic = (polynomial_r2(finding.train, finding.test, degree) for degree in (1, 3))
            print(
                f"{finding.target} = {finding.chosen.expression.infix(names)}\n"
                f"  test R2 {1 - error:.6f} with {finding.chosen.complexity} nodes "
                f"(linear fit {_shown(linear)}, cubic fit {_shown(cubic)})",
                flush=True,
            )

    def _add_to_archive(self, findings: Sequence[Finding], data: _Data) -> None:
        if self.archive is None:
            return
        entries = [
            Entry(
                fingerprint=fingerprint(*finding.train),
                names=tuple(data.names),
                target=finding.target,
                infix=candidate.expression.infix(data.names),
                complexity=candidate.complexity,
                nmse=candidate.error,
            )
            for finding in findings
            for candidate in finding.front
        ]
        add_to_archive(self.archive, entries)


@dataclass(frozen=True)
class _Data:
    """The rows of every split with the latents that the network gives them."""

    names: list[str]
    tables: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    @classmethod
    def of(cls, datamodule: Any, module: LightningModule) -> _Data:
        tables = {split: datamodule.table(split).inputs for split in ("train", "validation", "test")}
        values = {split: encode(module, inputs) for split, inputs in tables.items()}
        for latent in range(values["train"].shape[1]):
            wrong = sum(int((~np.isfinite(v[:, latent])).sum()) for v in values.values())
            if wrong:
                raise UserError(
                    f"latent {latent} of the network is not finite on {wrong} rows, so the training diverged: "
                    "lower model.learning_rate"
                )
        return cls(list(datamodule.feature_names), tables, values)

    @property
    def latents(self) -> np.ndarray:
        return self.values["train"]

    def rows(self, split: str, latent: int) -> tuple[np.ndarray, np.ndarray]:
        return self.tables[split], self.values[split][:, latent]

    def is_constant(self, latent: int) -> bool:
        """Whether the latent has collapsed: what varies, if anything, is rounding."""
        values = self.latents[:, latent]
        return float(np.ptp(values)) <= _CONSTANT * float(np.abs(values).max())


def encode(module: LightningModule, inputs: np.ndarray) -> np.ndarray:
    """Latents of a table in float64, computed by the network as it is. `[rows, features] -> [rows, latents]`"""
    network: Any = module
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        parts = [
            network.encode(torch.tensor(inputs[k : k + _ENCODE_ROWS], dtype=torch.float32, device=module.device))
            for k in range(0, len(inputs), _ENCODE_ROWS)
        ]
    module.train(was_training)
    return torch.cat(parts).double().cpu().numpy()


def _latent_function(module: LightningModule, latent: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda inputs: encode(module, inputs)[:, latent]


def _share_spent(settings: GeneticProgrammingSettings, entry: Mapping[str, float]) -> float:
    limits = {
        "seconds": settings.seconds,
        "evaluations": settings.evaluations,
        "generation": settings.generations,
    }
    return max((entry[name] / limit for name, limit in limits.items() if limit), default=1.0)


def _shown(score: float | None) -> str:
    return "too many monomials" if score is None else f"{score:.6f}"
