"""Equations for tables of numbers, found in the latent space of a map of equations, after its training.

    search = CMAESSearch(run_dir="logs/mine", problems=["nguyen"], seconds=20)
    trainer = Trainer(callbacks=[search])
    trainer.fit(cvae, datamodule)     # searches in on_fit_end

One search a problem, spread over ranks and cores. Each leaves a resumable state after every generation and a
result at its end under `search/`; a run that was killed goes on from there.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from callbacks.equation_report import Finding, SearchLog, draw_curves, draw_fit, report_findings
from callbacks.progress import duration
from callbacks.run_record import record_metrics, write_atomically
from callbacks.search_files import SearchFiles, place
from datamodules.tables.problems import Problem, draw_tables, names_of, problem
from datamodules.tables.table import Table, TableError
from datamodules.tabular import TabularData
from expressions.goodness_of_fit import nmse
from foundation.errors import UserError
from searches.common.parallel import cores
from searches.common.search_state import fingerprint
from searches.latent_space.jobs import search_one
from searches.latent_space.settings import LatentSearchSettings
from searches.search_result import SearchResult

__all__ = ["CMAESSearch"]

_MAP_CLASS = "modules.networks.equation_map.latent_map.LatentMap"
_VALIDATION_SHARE = 0.25  # of the training rows, where they are noisy and something has to choose
_SAYS_SO_SECONDS = 60.0
_MOST_PLOTS = 24  # findings that get plots of their own


class CMAESSearch(Callback):
    """Looks for the equations of problems in the latent space of a model.

    The LightningModule must have `export_map(path)`, which writes a file that the class named by its attribute
    `map_class` loads; without that attribute it is `modules.networks.equation_map.latent_map.LatentMap`.

    Example:
        ```yaml
        search:
          _target_: callbacks.cmaes_search.CMAESSearch
          problems: [nguyen, I.12.1]
          seconds: 20
        ```

    Args:
        run_dir: where results go.
        deferred: do not search in `on_fit_end`; `search(trainer, module)` will be called later.
        seed: of all searches, each of which derives its own, and of the rows of problems.
        problems: names and suites of the catalogue (`datamodules.tables.problems`).
        heldout: how many generated equations are searched for, too, that the training has not seen; where the
            LightningDataModule has none (`heldout_problems(count)`), none.
        table: a table of your own: a file, or what else `datamodules.tabular.TabularData` reads. None: none.
        target: its column to explain.
        features: its columns to explain it by; None: all others.
        noise_level: of the training rows of problems, as a share of their target's root mean square; a quarter of
            the rows then serves to choose by.
        workers: processes on this machine; None: one for every core, or one where the map is on a GPU.
        settings: of the search, see `searches.latent_space.settings.LatentSearchSettings`.

    Raises:
        UserError: a setting is unknown or not allowed, a problem does not exist, or there is nothing to search
            for.
    """

    def __init__(
        self,
        run_dir: str = ".",
        deferred: bool = False,
        seed: int = 0,
        problems: Sequence[str] | str = (),
        heldout: int = 4,
        table: str | None = None,
        target: str | None = None,
        features: Sequence[str] | None = None,
        noise_level: float = 0.0,
        workers: int | None = None,
        **settings: Any,
    ) -> None:
        self.run_dir, self.deferred, self.seed = Path(run_dir), deferred, seed
        names = [problems] if isinstance(problems, str) else [str(name) for name in problems]
        self.problems = names_of(",".join(names)) if names else ()
        self.heldout, self.noise_level, self.workers = heldout, noise_level, workers
        self.table, self.target, self.features = table, target, features
        if table is not None and target is None:
            raise UserError(f"search.table={table} needs search.target, the column to explain")
        if not self.problems and not heldout and table is None:
            raise UserError("there is nothing to search for: give search.problems, search.heldout or search.table")
        self.settings = LatentSearchSettings.of(settings)
        self.files = SearchFiles(self.run_dir / "search")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search, unless somebody else will say when."""
        if not self.deferred:
            self.search(trainer, pl_module)

    def search(
        self, trainer: Trainer, module: LightningModule, datamodule: LightningDataModule | None = None
    ) -> list[Finding]:
        """Search for the equation of every problem, and report; on ranks other than the first, this rank's share.

        Nothing here is collective: a rank that waits for another would be timed out by the process group.

        Args:
            trainer: of the fit.
            module: the model.
            datamodule: gives the held-out problems; the one of the fit when not given.

        Returns:
            What was found, empty on ranks other than the first. After Ctrl-C, what was found until then.

        Raises:
            UserError: a problem cannot be searched, the searches of another rank did not end, or the disk is full;
                the equations are on the terminal by then.
        """
        try:
            return self._search(trainer, module, datamodule or trainer.datamodule)  # type: ignore[attr-defined]
        except OSError as error:
            raise UserError(
                f"{self.run_dir} cannot be written to ({error.strerror or error}): make room, then "
                f"resume={self.run_dir}"
            ) from error

    def _search(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[Finding]:
        begun = time.perf_counter()
        rank, ranks = place(trainer)
        jobs = self._jobs(datamodule)
        map_file = self._exported(module, rank)
        identities = {job.label: self._identity(job, map_file.identity) for job in jobs}
        mine = jobs[rank::ranks]
        log = SearchLog(trainer)
        self._run(mine, identities, map_file, trainer, log)

        def found(some: Sequence[_Job]) -> list[Finding]:
            results = [(job, self.files.result(job.label, identities[job.label])) for job in some]
            return [_finding(job, result) for job, result in results if result is not None]

        if rank:
            if any(result["unwritten"] for result in self.files.kept.values()):
                self._tell(found(mine))
            self.files.complain()
            return []
        others = [job for job in jobs if job not in mine]
        self.files.wait_for({job.label: identities[job.label] for job in others}, time.perf_counter() - begun)
        for job in others:
            log.generations(
                job.label, (self.files.result(job.label, identities[job.label]) or {}).get("history", [])
            )
        findings = found(jobs)
        self._tell(findings)
        if len(findings) < len(jobs):
            print(
                f"{len(jobs) - len(findings)} searches had not begun: resume={self.run_dir} does them", flush=True
            )
        if findings:
            results = [self.files.result(job.label, identities[job.label]) for job in jobs]
            self._report(findings, [r for r in results if r is not None], log, time.perf_counter() - begun)
        self.files.complain()
        return findings

    # --- what is searched ---------------------------------------------------------------------------------------

    def _jobs(self, datamodule: Any) -> list[_Job]:
        jobs = [self._of_problem(problem(name)) for name in self.problems]
        draw = getattr(datamodule, "heldout_problems", None)
        if self.heldout and draw is not None:
            jobs += [self._of_problem(each, heldout=True) for each in draw(self.heldout)]
        if self.table is not None:
            jobs.append(self._of_table(self.table))
        if not jobs:
            raise UserError(
                "there is nothing to search for, since the data have no held-out problems: give search.problems "
                "or search.table"
            )
        return jobs

    def _of_problem(self, each: Problem, heldout: bool = False) -> _Job:
        rows = each.train_rows
        own = round(_VALIDATION_SHARE * rows) if self.noise_level else None
        tables = draw_tables(
            each,
            train_rows=rows - (own or 0),
            validation_rows=own,
            noise_level=self.noise_level,
            seed=self.seed,
        )
        return _Job(each.name, str(each.target_name), tables, each, heldout)

    def _of_table(self, path: str) -> _Job:
        data = TabularData(path, self.target, self.features, split_seed=self.seed)
        tables = data.make_tables()
        if not tables["train"].feature_names:
            raise TableError(f"{path} has no column but {self.target}: there is nothing to explain it by")
        return _Job(str(tables["train"].target_name), str(tables["train"].target_name), tables)

    # --- running ------------------------------------------------------------------------------------------------

    def _exported(self, module: LightningModule, rank: int) -> _MapFile:
        """The model's weights as a file of this process, and what tells them from others."""
        if self.settings.method == "none":
            return _MapFile(None, "", "")
        export: Any = getattr(module, "export_map", None)
        if export is None:
            raise UserError(
                f"{type(module).__name__} is no map of equations, in which this search looks: choose model=cvae, "
                "or another search"
            )
        path = self.files.folder / f"map_{rank}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        export(path)
        weights = [parameter.detach().cpu().numpy() for _, parameter in sorted(module.named_parameters())]
        return _MapFile(str(path), str(getattr(module, "map_class", _MAP_CLASS)), fingerprint(*weights))

    def _identity(self, job: _Job, map_identity: str) -> str:
        return fingerprint(*job.rows("train"), asdict(self.settings), self.seed, job.label, map_identity)

    def _run(
        self,
        jobs: Sequence[_Job],
        identities: Mapping[str, str],
        map_file: _MapFile,
        trainer: Trainer,
        log: SearchLog,
    ) -> None:
        open_jobs = [job for job in jobs if self.files.finished(job.label, identities[job.label]) is None]
        if not open_jobs:
            return
        device = "cpu" if map_file.path is None else str(trainer.strategy.root_device)
        at_once = min(self._workers(device, trainer), len(open_jobs))
        self._announce(len(open_jobs), at_once)

        def on_entry(label: str, entry: dict[str, float]) -> float:
            log.generations(label, [entry])
            return self._share_spent(entry)

        arguments = [self._arguments(job, identities[job.label], map_file, device) for job in open_jobs]
        self.files.run(search_one, arguments, at_once, on_entry)

    def _workers(self, device: str, trainer: Trainer) -> int:
        if self.workers is None and not device.startswith("cpu"):
            return 1  # searches beside each other on a GPU would only take turns
        _, ranks = place(trainer)
        return max(1, (self.workers or cores()) // max(1, ranks // trainer.num_nodes))

    def _announce(self, jobs: int, at_once: int) -> None:
        seconds = self.settings.seconds
        length = ""
        if seconds is not None and seconds * math.ceil(jobs / at_once) > _SAYS_SO_SECONDS:
            length = f", up to {duration(seconds * math.ceil(jobs / at_once))}"
        print(f"searching equations: {jobs} problems, {at_once} at a time{length}", flush=True)

    def _share_spent(self, entry: Mapping[str, float]) -> float:
        settings = self.settings
        limits = {"seconds": settings.seconds}
        if settings.polish == "none":
            limits["decodes"] = settings.decodes
        return max((entry[name] / limit for name, limit in limits.items() if limit), default=0.0)

    def _arguments(self, job: _Job, identity: str, map_file: _MapFile, device: str) -> dict[str, Any]:
        self._forget_other_maps(job.label, map_file.identity)
        validation = None if job.tables["validation"] is job.tables["train"] else job.rows("validation")
        inputs, target = job.rows("train")
        return {
            "map_class": map_file.map_class,
            "map_path": map_file.path,
            "device": device,
            "inputs": inputs,
            "target": target,
            "validation": validation,
            "names": job.names,
            "settings": self.settings,
            "seed": int(np.random.SeedSequence([self.seed, zlib.crc32(job.label.encode())]).generate_state(1)[0]),
            "folder": str(self.files.folder),
            "label": job.label,
            "map_identity": map_file.identity,
            "identity": identity,
        }

    def _forget_other_maps(self, label: str, map_identity: str) -> None:
        """Where the model is no longer the same, say after more epochs, the search begins anew."""
        path = self.files.folder / f"{label}_map.txt"
        try:
            before = path.read_text(encoding="utf-8")
        except OSError:
            before = ""
        if before != map_identity:
            for suffix in (".state", ".polish", ".json"):
                (self.files.folder / f"{label}{suffix}").unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, map_identity)

    # --- reporting ----------------------------------------------------------------------------------------------

    def _tell(self, findings: Sequence[Finding]) -> None:
        """The equations on the terminal, before anything is written: a full disk must not lose them."""
        for finding in findings:
            inputs, target = finding.test
            name = "" if finding.problem == finding.target else f"{finding.problem}: "
            score = 1.0 - nmse(target, finding.chosen.expression(inputs))
            print(
                f"{name}{finding.target} = {finding.chosen.expression.infix(finding.names)}\n"
                f"  test R2 {score:.6f} with {finding.chosen.complexity} nodes; {finding.stopped} after "
                f"{finding.seconds:.1f} s",
                flush=True,
            )

    def _report(
        self, findings: Sequence[Finding], results: Sequence[Mapping[str, Any]], log: SearchLog, seconds: float
    ) -> None:
        for note in dict.fromkeys(f"{result['label']}: {note}" for result in results for note in result["notes"]):
            print(note, flush=True)
        names: list[str] = []  # every finding has its own
        report_findings(self.run_dir, findings, names, seconds)
        totals = {
            name: float(sum(result["counts"][name] for result in results)) for name in ("decodes", "skeletons")
        }
        record_metrics(self.run_dir, {f"search/{name}": value for name, value in totals.items()})
        plots: list[Path] = []
        for finding in findings[:_MOST_PLOTS]:
            plots += draw_fit(self.run_dir, finding)
        plots += draw_curves(self.run_dir, findings[:_MOST_PLOTS])
        log.findings(self.run_dir, findings, names, plots)


@dataclass(frozen=True, eq=False)
class _Job:
    """One search.

    Attributes:
        label: name, also of its files.
        target: what is searched for, in words.
        tables: `train`, `validation`, which may be the same, and `test`.
        problem: where it comes from, None for a table of the user's.
        heldout: whether it is one of the datamodule's.
    """

    label: str
    target: str
    tables: Mapping[str, Table]
    problem: Problem | None = None
    heldout: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.tables["train"].feature_names)

    def rows(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Inputs `[rows, variables]` and target `[rows]`."""
        table = self.tables[split]
        assert table.target is not None
        return table.inputs, table.target


@dataclass(frozen=True)
class _MapFile:
    """Weights that searches load: the file, the class that reads it, and what tells them from other weights."""

    path: str | None
    map_class: str
    identity: str


def _finding(job: _Job, result: Mapping[str, Any]) -> Finding:
    found = SearchResult.of_plain(result)
    return Finding(
        problem=job.label,
        target=job.target,
        trial=0,
        front=found.front,
        chosen=found.best,
        history=found.history,
        seconds=found.seconds,
        evaluations=found.evaluations,
        stopped=found.stopped,
        train=job.rows("train"),
        test=job.rows("test"),
        truth=None if job.problem is None else job.problem.truth,
        names=job.names,
    )
