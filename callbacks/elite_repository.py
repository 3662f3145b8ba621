"""The repository of elites of a Gumbel-max equation learner, during training, and its equations at the end.

    repository = EliteRepository(run_dir="logs/mine")
    trainer = Trainer(callbacks=[repository], max_epochs=108)
    trainer.fit(GMEQLPaper(in_features=3, layers=[...]), datamodule)     # reports in on_fit_end

What is reported of every restart is the best elite, with its choices made hard: a soft mixture of choices is no
equation, and its error says little about the one it leans to (0.017 became 16.7 in our measurements). Three errors
are therefore given side by side, as it was measured, with hard choices, and with hard choices and constants fitted
for it alone; and two equations:

- `shared`: hard choices with the weights that it was measured with, which all instances of the restart shared.
  This is the published method. A dense sum has a term for every source: those that together change the values by
  no more than 1 % of the target's standard deviation (root mean square, training rows) are left out, and the
  rest is simplified.
- `fitted`: the same structure with constants of its own, by Levenberg-Marquardt, and the ending of all our
  searches (`searches.common.refinement`).
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer

from callbacks.equation_search import EquationSearch
from callbacks.logging.search_log import SearchLog
from callbacks.settings.searches import EliteRepositorySettings
from expressions.canonical_form import canonical
from expressions.equivalence import equivalent
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.schema import EQUATION_TEXT
from foundation.errors import UserError
from foundation.files import replace_file
from foundation.schema import Check, FormatError, empty_or, list_of, number, record, row_of, whole
from foundation.terminal import say
from modules.gmeql_paper import GMEQLPaper
from modules.networks.gumbel_max.elite_errors import EliteErrors
from modules.networks.gumbel_max.instance_repository import InstanceRepository
from modules.networks.stored_tensors import tensor
from reports.finding_plots import draw_curves, draw_fit
from reports.findings import Finding, heading_of_target, report_findings
from reports.optional import optional
from runs.record import record_metrics
from searches.common.regression_task import RegressionTask
from searches.gumbel_structures.elite_equations import elite_equations
from searches.pareto_front import Candidate, ParetoFront, pick

__all__ = ["EliteRepository"]

_COUNT = whole(0, 10**15)
_MOST_IMPROVEMENTS = 10_000_000


class EliteRepository(EquationSearch):
    """Keeps the best instances that a `modules.gmeql_paper.GMEQLPaper` has seen, for it to copy and to learn from.

    Logged at the end of every epoch, medians over the restarts: `fit/best_mae` and `fit/mean_mae` of the
    repository (as they were measured), `search/instances` (of a restart) and `search/instances_per_second` (of
    all). In the run directory, `search/learning_curve.csv` has every improvement of a restart's best error,
    `search/improvements.csv` the best equation as text, at the epochs' ends, and `search/restarts.csv` the end.

    Under several processes the instances of all go into the repository of each, which therefore are equal.

    Example:
        ```yaml
        search:
          _target_: callbacks.elite_repository.EliteRepository
          size: 400
        ```

    Args:
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.
        **options: settings by name, see `callbacks.settings.searches.EliteRepositorySettings`.

    Raises:
        SettingsError: a setting is unknown or its value is not allowed.
    """

    def __init__(self, run_dir: str = ".", deferred: bool = False, **options: Any) -> None:
        super().__init__(run_dir, deferred)
        self.settings = EliteRepositorySettings.of(options)
        self.elites: InstanceRepository | None = None
        self._restored: Mapping[str, Any] | None = None
        self._curve: list[tuple[int, int, float]] = []  # restart, instances of it, best error
        self._improvements: list[dict[str, Any]] = []
        self._lowest = np.empty(0, dtype=np.float32)  # of every restart, as the curve has it
        self._told = np.empty(0, dtype=np.float32)  # the same, as the improvements have it
        self._seconds = 0.0  # of earlier epochs
        self._epoch_began = 0.0, 0  # time, iteration

    # --- training -------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Bring the model its repository."""
        if stage != "fit":
            return
        if not isinstance(pl_module, GMEQLPaper):
            raise UserError(
                "a repository of elites is for modules.gmeql_paper.GMEQLPaper: choose model=gmeql_paper"
            )
        self.elites = self._repository(pl_module)
        self._lowest = np.full(pl_module.restarts, np.inf, dtype=np.float32)
        self._told = self._lowest.copy()
        self._curve, self._improvements, self._seconds = [], [], 0.0
        pl_module.elites = self.elites

    def _repository(self, model: GMEQLPaper) -> InstanceRepository:
        """A new one for a model."""
        return InstanceRepository(model.restarts, self.settings.size, self.settings.exponent, model.elite_fields)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up what a checkpoint held, on the device of the fit."""
        assert self.elites is not None
        if self._restored is not None:
            self._take_up(self._restored)
            self._restored = None
        self.elites.to(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._epoch_began = time.perf_counter(), _model(pl_module).iteration

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        """Record improvements."""
        assert self.elites is not None
        better = self.elites.lowest < self._lowest
        if better.any():
            instances = self._instances(trainer, pl_module)
            for restart in np.flatnonzero(better):
                self._curve.append((int(restart), instances, float(self.elites.lowest[restart])))
            self._lowest = self.elites.lowest.copy()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, and write down what was found."""
        assert self.elites is not None
        model = _model(pl_module)
        began, iteration = self._epoch_began
        seconds = time.perf_counter() - began
        self._seconds += seconds
        counts = np.maximum(self.elites.counts, 1)
        filled = np.where(np.isfinite(self.elites.errors), self.elites.errors, 0.0)
        measured = (model.iteration - iteration) * model.instances * model.restarts * trainer.world_size
        pl_module.log_dict(
            {
                "fit/best_mae": float(np.median(self.elites.lowest)),
                "fit/mean_mae": float(np.median(filled.sum(axis=1) / counts)),
                "search/instances": float(self._instances(trainer, pl_module)),
                "search/instances_per_second": measured / max(seconds, 1e-9),
            },
            sync_dist=True,
        )
        if trainer.is_global_zero:
            self._write_down(trainer, model)

    def _instances(self, trainer: Trainer, module: LightningModule) -> int:
        """Instances of a restart that were measured so far."""
        model = _model(module)
        return model.iteration * model.instances * trainer.world_size

    def _write_down(self, trainer: Trainer, model: GMEQLPaper) -> None:
        """The equations of restarts that improved, and both tables."""
        assert self.elites is not None
        improved = np.flatnonzero(self.elites.lowest < self._told)
        if not len(improved):
            return
        self._told = self.elites.lowest.copy()
        names = getattr(getattr(trainer, "datamodule", None), "feature_names", None)
        choices, weights = (self.elites.best(field).cpu() for field in ("choices", "weights"))
        for restart in improved:
            equation = _equation(model, choices[restart], weights[restart])
            self._improvements.append(
                {
                    "restart": int(restart),
                    "iteration": model.iteration,
                    "instances": self._instances(trainer, model),
                    "mae": float(self.elites.lowest[restart]),
                    "equation": equation.infix(names),
                }
            )
        folder = self.run_dir / "search"
        folder.mkdir(parents=True, exist_ok=True)
        curve = [dict(zip(("restart", "instances", "mae"), entry, strict=True)) for entry in self._curve]
        replace_file(folder / "learning_curve.csv", _as_csv(curve))
        replace_file(folder / "improvements.csv", _as_csv(self._improvements))

    # --- checkpoints ----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The repository as tensors, the record as numbers and texts."""
        if self.elites is None:
            return {}
        return {
            "elites": self.elites.state_dict(),
            "curve": [list(entry) for entry in self._curve],
            "improvements": [dict(entry) for entry in self._improvements],
            "told": torch.from_numpy(self._told.copy()),
            "seconds": self._seconds,
        }

    def state_check(self, model: LightningModule) -> Check:
        """Check for what `state_dict` returned, of a model of the same sizes; it is empty before the fit."""
        learner = _model(model)
        restart = whole(0, learner.restarts - 1)
        improvement = {
            "restart": restart,
            "iteration": _COUNT,
            "instances": _COUNT,
            "mae": number(0.0),
            "equation": EQUATION_TEXT,
        }
        check = record(
            {
                "elites": self._repository(learner).state_check(),
                "curve": list_of(row_of(restart, _COUNT, number(0.0)), most=_MOST_IMPROVEMENTS),
                "improvements": list_of(record(improvement), most=_MOST_IMPROVEMENTS),
                "told": tensor("f", learner.restarts),
                "seconds": number(0.0, 1e9),
            }
        )
        return empty_or(check)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until there is a repository to put it in."""
        self._restored = state_dict or None

    def _take_up(self, state: Mapping[str, Any]) -> None:
        assert self.elites is not None
        try:
            self.elites.load_state_dict(state["elites"])
        except FormatError as error:
            raise UserError(
                f"the checkpoint's repository is another one ({error}): resume with the search.size that the run "
                "was started with"
            ) from error
        self._curve = [(int(r), int(n), float(e)) for r, n, e in state["curve"]]
        self._improvements = [dict(entry) for entry in state["improvements"]]
        self._lowest, self._told = self.elites.lowest.copy(), state["told"].numpy().copy()
        self._seconds = float(state["seconds"])

    # --- the end --------------------------------------------------------------------------------------------

    def find_and_report(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[Finding]:
        """Turn the best elite of every restart into an equation, and report on the first rank.

        Raises:
            UserError: no elite was finite on every row, or the target is constant.
        """
        if not trainer.is_global_zero:
            return []
        begun = time.perf_counter()
        ends = self._ends(_model(module), datamodule)
        if not ends:
            raise UserError("no elite was finite on every row: look at the data, or at model.layers")
        findings = [self._finding(trainer, module, end, datamodule) for end in ends]
        names = list(datamodule.feature_names)
        for finding, end in zip(findings, ends, strict=True):
            _tell(finding, end, names)
        self._report(trainer, findings, ends, names, time.perf_counter() - begun)
        return findings

    def _ends(self, model: GMEQLPaper, data: Any) -> list[_End]:
        """What became of every restart that has an elite whose equation is finite."""
        if self.elites is None:
            raise UserError("there is no repository: fit with this callback first")
        table, held_out = data.table("train"), data.table("validation")
        try:
            validation = None if held_out is table else (held_out.inputs, held_out.target)
            task = RegressionTask(table.inputs, table.target, validation=validation, linear_scaling=False)
        except ValueError as error:
            raise UserError(str(error)) from error
        weights = model.weights.detach()
        errors = EliteErrors.of(self.elites, model.network, weights, model.sampling, table.inputs, table.target)
        ends = []
        for restart in range(model.restarts):
            usable = np.flatnonzero(np.isfinite(errors.hard[restart, : self.elites.counts[restart]]))
            if len(usable):
                ends.append(self._end(model, restart, int(usable[0]), errors, task))
        return ends

    def _end(self, model: GMEQLPaper, restart: int, rank: int, errors: EliteErrors, task: RegressionTask) -> _End:
        assert self.elites is not None
        slot = int(self.elites.slots[restart, rank])
        choices, weights = (self.elites.fields[name][restart, slot].cpu() for name in ("choices", "weights"))
        equations = elite_equations(_equation(model, choices, weights), task, self.settings.simplify_seconds)
        return _End(
            restart=restart,
            rank=rank,
            soft=float(self.elites.errors[restart, rank]),
            soft_now=float(errors.soft_now[restart, rank]),
            hard=float(errors.hard[restart, rank]),
            hard_now=float(errors.hard_now[restart, rank]),
            shared=equations.shared,
            fitted=equations.fitted,
        )

    def _finding(self, trainer: Trainer, module: LightningModule, end: _End, data: Any) -> Finding:
        train, test = data.table("train"), data.table("test")
        problem = getattr(data, "problem", None)
        chosen = pick(end.fitted) if self.settings.constants == "fitted" and len(end.fitted) else end.shared
        # The published equation is reported whether or not others are both shorter and better.
        others = [candidate for candidate in end.fitted if candidate is not chosen]
        front = sorted([chosen, *others], key=lambda c: (c.complexity, c.error))
        return Finding(
            problem=str(data.target_name) if problem is None else problem.name,
            target=str(data.target_name),
            trial=end.restart,
            front=ParetoFront(front),
            chosen=chosen,
            history=[],
            seconds=self._seconds / _model(module).restarts,
            evaluations=self._instances(trainer, module),
            stopped="iterations",
            train=(train.inputs, train.target),
            test=(test.inputs, test.target),
            truth=None if problem is None else problem.truth,
            measured=heading_of_target(train),
        )

    def _report(
        self,
        trainer: Trainer,
        findings: Sequence[Finding],
        ends: Sequence[_End],
        names: Sequence[str],
        seconds: float,
    ) -> None:
        report_findings(self.run_dir, findings, names, self._seconds + seconds)
        rows = [_row(finding, end, names) for finding, end in zip(findings, ends, strict=True)]
        metrics = {
            f"search/{name}_mae_median": float(np.median([row[f"{name}_mae"] for row in rows]))
            for name in ("soft", "hard", "fitted")
        }
        metrics["test/nrmse"] = float(np.median([row["test_nrmse"] for row in rows]))
        if findings[0].truth is not None:
            metrics["test/fitted_equivalent_rate"] = float(np.mean([row["fitted_equivalent"] for row in rows]))
        if self._seconds:
            instances = sum(finding.evaluations for finding in findings)
            metrics["search/instances_per_second"] = instances / self._seconds
        record_metrics(self.run_dir, metrics)
        folder = self.run_dir / "search"
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "restarts.csv", _as_csv(rows))
        plots: list[Path] = []
        with optional("plots"):
            for finding in findings:
                plots += draw_fit(self.run_dir, finding, names)
            plots += draw_curves(self.run_dir, findings, names)
        with optional("course, tables and plots in W&B"):
            log = SearchLog(trainer)
            for finding in findings:
                points = [(n, e) for restart, n, e in self._curve if restart == finding.trial]
                log.generations(finding.label, ({"generation": n, "best_mae": e} for n, e in points))
            log.improvements(self._improvements)
            log.findings(self.run_dir, findings, names, plots)


@dataclass(frozen=True)
class _End:
    """What became of a restart.

    Attributes:
        restart, rank: the elite: the best one whose equation is finite on the training rows.
        soft, soft_now, hard, hard_now: its errors, see `EliteErrors`; `soft` as it was measured.
        shared: its equation with the weights that it was measured with.
        fitted: the front of its equation with constants of its own.
    """

    restart: int
    rank: int
    soft: float
    soft_now: float
    hard: float
    hard_now: float
    shared: Candidate
    fitted: ParetoFront


def _model(module: LightningModule) -> GMEQLPaper:
    assert isinstance(module, GMEQLPaper)
    return module


def _equation(model: GMEQLPaper, choices: torch.Tensor, weights: torch.Tensor) -> Expression:
    """The equation of one instance with its choices made hard."""
    structure = choices.argmax(dim=-1).numpy()
    return canonical(model.architecture.expression(structure, weights.double().numpy()))


def _row(finding: Finding, end: _End, names: Sequence[str]) -> dict[str, Any]:
    """One line of `restarts.csv`."""
    fitted = pick(end.fitted) if len(end.fitted) else end.shared
    inputs, target = finding.train
    truth = finding.truth
    return {
        "restart": end.restart,
        "rank": end.rank + 1,
        "soft_mae": end.soft,
        "soft_mae_now": end.soft_now,
        "hard_mae": end.hard,
        "hard_mae_now": end.hard_now,
        "fitted_mae": float(np.abs(fitted.expression(inputs) - target).mean()),
        "test_nrmse": math.sqrt(nmse(finding.test[1], finding.chosen.expression(finding.test[0]))),
        "shared": end.shared.expression.infix(names),
        "fitted": fitted.expression.infix(names),
        "fitted_equivalent": truth is not None and equivalent(fitted.expression, truth, finding.test[0]),
    }


def _tell(finding: Finding, end: _End, names: Sequence[str]) -> None:
    inputs, target = finding.test
    score = 1.0 - nmse(target, finding.chosen.expression(inputs))
    fitted = pick(end.fitted).train_nmse if len(end.fitted) else math.inf
    say(
        f"restart {end.restart}: {finding.target} = {finding.chosen.expression.infix(names)}\n"
        f"  test R2 {score:.6f} with {finding.chosen.complexity} nodes; mean absolute error {end.soft:.4g} as "
        f"sampled, {end.hard:.4g} with hard choices; with constants of its own 1 - R2 {fitted:.2e}"
    )


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
