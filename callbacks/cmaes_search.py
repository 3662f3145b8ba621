"""Equations for tables of numbers, found in the latent space of a map of equations, after its training.

    search = CMAESSearch(run_dir="logs/mine", problems=["nguyen"], seconds=20)
    trainer = Trainer(callbacks=[search])
    trainer.fit(cvae, datamodule)     # searches in on_fit_end

One search per problem, spread over ranks and cores (see `callbacks.spread_search`).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer

from callbacks.logging.search_log import SearchLog
from callbacks.settings.searches import CMAESSearchSettings, divided
from callbacks.spread_search import SpreadSearch
from callbacks.spreading.job import SearchJob
from datamodules.tables.problems import Problem, draw_tables, names_of, problem
from datamodules.tables.table import Table, TableError
from datamodules.tabular import TabularData
from expressions.goodness_of_fit import r2
from foundation.errors import UserError
from foundation.files import FileError, MissingFileError, read_regular, replace_file
from foundation.terminal import say
from reports.finding_plots import draw_curves, draw_fit
from reports.findings import Finding, heading_of_target, report_findings
from reports.optional import optional
from runs.record import record_metrics
from searches.common.search_state import fingerprint
from searches.latent_space.equation_map import MapFile
from searches.latent_space.settings import LatentSearchSettings
from searches.search_result import SearchResult

__all__ = ["CMAESSearch"]

_MAP_CLASS = "modules.networks.equation_map.latent_map.LatentMap"
_VALIDATION_SHARE = 0.25  # of the training rows, where they are noisy and something has to choose
_MOST_PLOTS = 24  # findings that get plots of their own
_LONGEST_IDENTITY = 1_000  # bytes

Tables = Mapping[str, Table]
"""A table per split: `train`, `validation`, which may be the same, and `test`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ProblemJob(SearchJob):
    """One search: a table, or a problem of the catalogue.

    Attributes:
        has_validation: whether some rows serve to choose by alone.
        map_file: the weights that are searched with; None for `method=none`.
    """

    has_validation: bool
    map_file: MapFile | None


class CMAESSearch(SpreadSearch[ProblemJob]):
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
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.
        **options: settings by name: those of `callbacks.settings.searches.CMAESSearchSettings`, and of a search,
            see `searches.latent_space.settings.LatentSearchSettings`.

    Raises:
        UserError: a setting is unknown or not allowed, a problem does not exist, or there is nothing to search
            for.
    """

    function = "searches.latent_cmaes.search"
    unit = "problems"
    settings: LatentSearchSettings

    def __init__(self, run_dir: str = ".", deferred: bool = False, **options: Any) -> None:
        if isinstance(options.get("problems"), str):
            options["problems"] = [options["problems"]]
        mine, others = divided(options, CMAESSearchSettings)
        own = CMAESSearchSettings.of(mine)
        super().__init__(run_dir, deferred, own.workers)
        self.own = own
        self.problems = names_of(",".join(map(str, own.problems))) if own.problems else ()
        self.settings = LatentSearchSettings.of(others)

    # --- the searches -------------------------------------------------------------------------------------------

    def jobs(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[ProblemJob]:
        """A job for every problem, and one for the table.

        Raises:
            UserError: there is nothing to search for, a table cannot be read, or the model has no map.
        """
        searched = self._tables(datamodule)
        map_file = self._exported(trainer, module)
        map_identity = "" if map_file is None else map_file.identity
        jobs = []
        for label, tables, each in searched:
            identity = fingerprint(
                *_rows(tables["train"]), asdict(self.settings), self.own.seed, label, map_identity
            )
            train = tables["train"]
            jobs.append(
                ProblemJob(
                    label=label,
                    identity=identity,
                    title=label,
                    problem=label,
                    target=str(train.target_name),
                    rows={split: _rows(table) for split, table in tables.items()},
                    names=tuple(train.feature_names),
                    truth=None if each is None else each.truth,
                    measured=heading_of_target(train),
                    has_validation=tables["validation"] is not train,
                    map_file=map_file,
                )
            )
        return jobs

    def _tables(self, datamodule: Any) -> list[tuple[str, Tables, Problem | None]]:
        """What is searched: labels, tables, and the problems that the tables are rows of."""
        problems = [problem(name) for name in self.problems]
        draw = getattr(datamodule, "heldout_problems", None)
        explored = getattr(datamodule, "explored", None)
        if self.own.heldout and draw is not None and explored is None:
            problems += draw(self.own.heldout)
        searched: list[tuple[str, Tables, Problem | None]] = [
            (each.name, self._drawn(each), each) for each in problems
        ]
        if self.own.table is not None:
            tables = self._own_table(self.own.table)
            searched.append((str(tables["train"].target_name), tables, None))
        if explored is not None:
            tables = {split: explored.table(split) for split in ("train", "validation", "test")}
            each = getattr(explored, "problem", None)
            label = str(tables["train"].target_name) if each is None else each.name
            searched = [(label, tables, each), *(other for other in searched if other[0] != label)]
        if not searched:
            raise UserError(
                "there is nothing to search for, since the data have no held-out problems: give search.problems "
                "or search.table"
            )
        return searched

    def _drawn(self, each: Problem) -> Tables:
        """Rows of a problem; with noise, some of the training rows serve to choose by."""
        own = round(_VALIDATION_SHARE * each.train_rows) if self.own.noise_level else None
        return draw_tables(
            each,
            train_rows=each.train_rows - (own or 0),
            validation_rows=own,
            noise_level=self.own.noise_level,
            seed=self.own.seed,
        )

    def _own_table(self, path: str) -> Tables:
        tables = TabularData(path, self.own.target, self.own.features, split_seed=self.own.seed).make_tables()
        if not tables["train"].feature_names:
            raise TableError(f"{path} has no column but {self.own.target}: there is nothing to explain it by")
        return tables

    def _exported(self, trainer: Trainer, module: LightningModule) -> MapFile | None:
        """The model's weights as a file of this process; None for a search without a map."""
        if self.settings.method == "none":
            return None
        export: Any = getattr(module, "export_map", None)
        if export is None:
            raise UserError(
                f"{type(module).__name__} is no map of equations, in which this search looks: choose model=cvae, "
                "or another search"
            )
        path = self.files.folder / f"map_{trainer.global_rank}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        export(path)
        weights = [parameter.detach().cpu().numpy() for _, parameter in sorted(module.named_parameters())]
        map_class = str(getattr(module, "map_class", _MAP_CLASS))
        return MapFile(str(path), map_class, fingerprint(*weights), str(trainer.strategy.root_device))

    def arguments(self, job: ProblemJob, workers: int) -> dict[str, Any]:
        """Keyword arguments of `searches.latent_cmaes.search`."""
        self._forget_other_maps(job)
        inputs, target = job.rows["train"]
        seeds = np.random.SeedSequence([self.own.seed, zlib.crc32(job.label.encode())])
        return {
            "inputs": inputs,
            "target": target,
            "settings": self.settings,
            "latent_map": job.map_file,
            "seed": int(seeds.generate_state(1)[0]),
            "validation": job.rows["validation"] if job.has_validation else None,
            "names": job.names,
        }

    def _forget_other_maps(self, job: ProblemJob) -> None:
        """Where the model is no longer the same, say after more epochs, the search begins anew."""
        identity = "" if job.map_file is None else job.map_file.identity
        path = self.files.folder / f"{job.label}_map.txt"
        before: str | None
        try:
            before = read_regular(path, most=_LONGEST_IDENTITY).decode(errors="replace")
        except MissingFileError:
            before = ""
        except FileError:  # nothing that we have written
            before = None
        if before != identity:
            self.files.forget(job.label)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, identity)

    def processes(self, trainer: Trainer) -> int:
        """One where the map is on a GPU: searches beside each other would only take turns."""
        on_gpu = self.settings.method != "none" and trainer.strategy.root_device.type != "cpu"
        return 1 if self.workers is None and on_gpu else super().processes(trainer)

    def budgets(self) -> Mapping[str, float | None]:
        """Limits of a search: with a polish, all decodes are not its end."""
        budgets = super().budgets()
        return budgets if self.settings.polish == "none" else {**budgets, "decodes": None}

    # --- the report ---------------------------------------------------------------------------------------------

    def text(self, finding: Finding) -> str:
        """An equation, how good it is, and why its search ended."""
        inputs, target = finding.test
        equation = finding.chosen.expression
        name = "" if finding.problem == finding.target else f"{finding.problem}: "
        return (
            f"{name}{finding.target} = {equation.infix(finding.names)}\n"
            f"  test R2 {r2(target, equation(inputs)):.6f} with {finding.chosen.complexity} nodes; "
            f"{finding.stopped} after {finding.seconds:.1f} s"
        )

    def report(
        self,
        findings: Sequence[Finding],
        results: Mapping[ProblemJob, SearchResult],
        log: SearchLog,
        seconds: float,
    ) -> None:
        """Notes, results, plots, W&B."""
        for job, result in results.items():
            for note in dict.fromkeys(result.notes):
                say(f"{job.label}: {note}")
        names: list[str] = []  # every finding has its own
        report_findings(self.run_dir, findings, names, seconds)
        totals = {
            f"search/{name}": float(sum(result.counts.get(name, 0) for result in results.values()))
            for name in ("decodes", "skeletons")
        }
        record_metrics(self.run_dir, totals)
        plots: list[Path] = []
        with optional("plots"):
            for finding in findings[:_MOST_PLOTS]:
                plots += draw_fit(self.run_dir, finding, names)
            plots += draw_curves(self.run_dir, findings[:_MOST_PLOTS], names)
        with optional("tables and plots in W&B"):
            log.findings(self.run_dir, findings, names, plots)


def _rows(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Inputs `[rows, variables]` and target `[rows]`."""
    assert table.target is not None
    return table.inputs, table.target
