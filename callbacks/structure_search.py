"""The structure search of system 2, run during a fit: a training step is one generation.

    search = StructureSearch(run_dir="logs/mine", seconds=60)
    trainer = Trainer(callbacks=[search], max_epochs=-1)
    trainer.fit(GMEQL(in_features=3, layers=[...]), datamodule)     # ends by itself

The model learns from a sample of the elites; then the search (`searches.structures`) has it propose structures,
and fits their skeletons. It ends when an equation is exact, when its time or its instances are used up, or with
Ctrl-C; then it reports.
"""

from __future__ import annotations

import csv
import io
import math
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerStatus

from callbacks.checkpoints import EpochCheckpoint
from callbacks.equation_search import EquationSearch
from callbacks.logging.search_log import SearchLog
from expressions.goodness_of_fit import nmse
from expressions.numbering import check_numbers, numbers_of
from foundation.durations import duration
from foundation.errors import Interrupted, UserError
from foundation.files import replace_file
from foundation.schema import Check, FormatError, empty_or, record
from foundation.terminal import say
from modules.gmeql import GMEQL, Elites
from modules.networks.stored_tensors import tensor
from reports.finding_plots import draw_curves, draw_fit
from reports.findings import Finding, heading_of_target, report_findings
from reports.optional import optional
from runs.interruption import how_to_go_on
from runs.record import record_metrics
from searches.gumbel_structures.course import Found, SearchCourse
from searches.gumbel_structures.settings import StructureSearchSettings

__all__ = ["StructureSearch"]

_SAYS_SO_SECONDS = 60.0
_ARRAYS = ("structures", "used", "seen")


class StructureSearch(EquationSearch):
    """Finds the structures that a `modules.gmeql.GMEQL` learns from, and the equation.

    Logged at the end of every epoch: `search/best_nmse`, `search/instances`, `search/skeletons`,
    `search/instances_per_second`, `search/starts`; each improvement is a line of `search/improvements.csv` and, in
    the end, of a W&B table.

    Under several processes each proposes and fits its own structures, and all share what was found.

    Example:
        ```yaml
        search:
          _target_: callbacks.structure_search.StructureSearch
          seconds: 60
        ```

    Args:
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.
        seed: random seed for every draw.
        options: settings of the search by name, see `searches.gumbel_structures.settings`.

    Raises:
        SettingsError: a setting is unknown or not allowed, or nothing limits the search.
    """

    def __init__(self, run_dir: str = ".", deferred: bool = False, seed: int = 0, **options: Any) -> None:
        super().__init__(run_dir, deferred)
        self.seed = seed
        self.settings = StructureSearchSettings.of(options)
        self.course: SearchCourse | None = None
        self._restored: dict[str, Any] | None = None
        self._rng = np.random.default_rng()
        self._interrupted = False
        self._previous_handler: Any = None

    # --- on disk --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Numbers, texts and tensors only, so that it loads with `weights_only=True`."""
        if self.course is None:
            return {}
        state = self.course.state()
        return state | {name: torch.from_numpy(state[name]) for name in _ARRAYS} | {"numbers": numbers_of()}

    def state_check(self, model: LightningModule) -> Check:
        """Check for the kinds of what `state_dict` returned; the search checks the rest once it has its data."""
        arrays: dict[str, Check] = {
            "structures": tensor("i", None, len(_model(model).space.choices)),
            "used": tensor("b", None, len(_model(model).space.choices)),
            "seen": tensor("i", None),
        }
        others = dict.fromkeys(("course", "history", "best", "elites", "numbers"), _anything)
        return empty_or(record({**arrays, **others}))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the data are there.

        Raises:
            UserError: its programs are of operators that have other numbers here, or no names.
        """
        if not state_dict:  # of a fit that had not begun
            return
        check_numbers(state_dict.get("numbers"), "the checkpoint's search", "fit again, without resume")
        self._restored = state_dict

    # --- the fit --------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the data, and go on where a checkpoint has left off."""
        model = _model(pl_module)
        self.course = course = self._course(trainer.datamodule, model)  # type: ignore[attr-defined]

        def elites() -> Elites:
            structures, used = course.examples(self._rng)
            return torch.from_numpy(structures).long(), torch.from_numpy(used)

        model.elites = elites
        course.start_clock()
        seconds = self.settings.seconds
        if trainer.is_global_zero and seconds is not None and seconds > _SAYS_SO_SECONDS:
            say(f"The search takes up to {duration(seconds)}, less if it is exact.")

    def _course(self, data: Any, model: GMEQL) -> SearchCourse:
        """The search in the data of a fit, as far as a checkpoint has it."""
        train, validation = data.table("train"), data.table("validation")
        try:
            course = SearchCourse(
                train.inputs,
                train.target,
                model.space,
                self.settings,
                seed=self.seed,
                validation=None if validation is train else (validation.inputs, validation.target),
                names=list(data.feature_names),
            )
        except ValueError as error:
            raise UserError(f"{data.target_name}: {error}") from error
        if self._restored is not None:
            state, self._restored = self._restored, None
            try:
                course.load(course.state_check()({name: _plain(value) for name, value in state.items()}))
            except FormatError as error:
                raise UserError(
                    f"the checkpoint's search is not one of this program ({error}): fit again, without resume"
                ) from error
        return course

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on, Ctrl-C ends the search and not the run; a second one ends that, too.

        A search that was done when the run was cut off begins no further epoch.
        """

        def listen(*_: Any) -> None:
            self._interrupted = True
            self._listen_no_longer()

        self._interrupted = False
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGINT, listen)
        self._stop_if_done(trainer)

    def _listen_no_longer(self) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
        self._previous_handler = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave Ctrl-C to others again."""
        self._listen_no_longer()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch draws from a generator of its own: a resumed run repeats nothing, and processes differ."""
        assert self.course is not None
        self._rng = np.random.default_rng([self.seed, trainer.current_epoch, trainer.global_rank])
        if not self.course.progress.starts:
            self.course.begin(_model(pl_module))
        self._stop_if_done(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One generation, after the model has learned from the elites of those before."""
        assert self.course is not None
        model = _model(pl_module)

        def exchange(mine: Found) -> list[Found]:
            parts: list[Any] = [mine] * trainer.world_size
            if trainer.world_size > 1:
                torch.distributed.all_gather_object(parts, mine)
            return parts

        self.course.generation(model, self._rng, exchange)
        model.equation = self.course.equation
        self._stop_if_done(trainer)

    def _stop_if_done(self, trainer: Trainer) -> None:
        assert self.course is not None
        reason = self.course.finished
        if reason is None:
            somewhere = trainer.strategy.reduce_boolean_decision
            if somewhere(self.course.late or self._interrupted, all=False):
                reason = "interrupted" if somewhere(self._interrupted, all=False) else "seconds"
        if reason is not None:
            self.course.progress.stopped = reason
            trainer.should_stop = True
        if reason == "interrupted":
            trainer.state.status = TrainerStatus.INTERRUPTED  # no checkpoint is of a part of an epoch

    def fit_progress(self) -> tuple[float, str]:
        """Share of the budget that is spent, and what was found, for `callbacks.progress.EpochProgress`."""
        if self.course is None:
            return 0.0, ""
        progress = self.course.progress
        return self.course.share_spent, f"{progress.instances} instances, 1 - R2 = {progress.best_nmse:.2e}"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the course of the search."""
        assert self.course is not None
        progress = self.course.progress
        values = {
            "best_nmse": progress.best_nmse,
            "instances": progress.instances,
            "skeletons": progress.skeletons,
            "starts": progress.starts,
            "instances_per_second": progress.instances / max(self.course.seconds, 1e-9),
        }
        for name, value in values.items():
            pl_module.log(f"search/{name}", float(value), sync_dist=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, and leave Ctrl-C to others again."""
        assert self.course is not None
        self.course.stop_clock()
        self._listen_no_longer()

    # --- the end --------------------------------------------------------------------------------------------

    def find_and_report(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[Finding]:
        """Report the Pareto front of what the fit has found, on the first rank.

        Raises:
            UserError: there is no equation, or the processes of the fit have taken it with them.
            Interrupted: Ctrl-C came before there was an equation.
        """
        if not trainer.is_global_zero:
            return []
        if self.course is None:
            self._take_up(trainer, module, datamodule)
        begun = time.perf_counter()
        finding = self._finding(datamodule)
        names = list(datamodule.feature_names)
        self._tell(finding, names)
        self.interrupted = finding.stopped == "interrupted"
        self._report(trainer, finding, names, time.perf_counter() - begun)
        return [finding]

    def _take_up(self, trainer: Trainer, module: LightningModule, data: Any) -> None:
        """What the fit has found, after one in forked processes, which end with it: from its last checkpoint."""
        paths = [callback.path for callback in trainer.callbacks if isinstance(callback, EpochCheckpoint)]  # type: ignore[attr-defined]
        if data is None or not paths:
            raise UserError("a fit in forked processes leaves nothing behind: use trainer.strategy=ddp")
        states = torch.load(paths[0], map_location="cpu", weights_only=True)["callbacks"]
        self.load_state_dict(states[self.state_key])
        self.course = self._course(data, _model(module))
        self.course.progress.stopped = self.course.progress.stopped or "interrupted"  # it is of a fit not yet over

    def _finding(self, data: Any) -> Finding:
        assert self.course is not None
        result = self.course.result()
        if not len(result.front):
            if result.stopped == "interrupted":
                raise Interrupted(f"interrupted before there was an equation: {how_to_go_on(self.run_dir)}")
            raise UserError("no equation was finite on every row: look at the data, or at model.layers")
        train, test = data.table("train"), data.table("test")
        problem = getattr(data, "problem", None)
        return Finding(
            problem=str(data.target_name) if problem is None else problem.name,
            target=str(data.target_name),
            trial=0,
            front=result.front,
            chosen=result.best,
            history=result.history,
            seconds=result.seconds,
            evaluations=result.evaluations,
            stopped=result.stopped,
            train=(train.inputs, train.target),
            test=(test.inputs, test.target),
            truth=None if problem is None else problem.truth,
            measured=heading_of_target(train),
        )

    def _tell(self, finding: Finding, names: Sequence[str]) -> None:
        assert self.course is not None
        inputs, target = finding.test
        score = 1.0 - nmse(target, finding.chosen.expression(inputs))
        say(
            f"{finding.target} = {finding.chosen.expression.infix(names)}\n"
            f"  test R2 {score:.6f} with {finding.chosen.complexity} nodes; {finding.stopped} after "
            f"{finding.seconds:.1f} s, {finding.evaluations} instances, {self.course.progress.starts} starts"
        )

    def _report(self, trainer: Trainer, finding: Finding, names: Sequence[str], seconds: float) -> None:
        assert self.course is not None
        report_findings(self.run_dir, [finding], names, finding.seconds + seconds)
        inputs, target = finding.test
        error = math.sqrt(nmse(target, finding.chosen.expression(inputs)))
        rate = finding.evaluations / max(finding.seconds, 1e-9)
        record_metrics(self.run_dir, {"test/nrmse": error, "search/instances_per_second": rate})
        folder = self.run_dir / "search"
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "improvements.csv", _as_csv(self.course.history))
        plots: list[Path] = []
        with optional("plots"):
            plots += draw_fit(self.run_dir, finding, names)
            plots += draw_curves(self.run_dir, [finding], names)
        with optional("course, tables and plots in W&B"):
            log = SearchLog(trainer)
            log.generations(finding.label, finding.history)
            log.improvements(self.course.history)
            log.findings(self.run_dir, [finding], names, plots)


def _anything(value: Any) -> Any:
    return value


def _plain(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else value


def _model(module: LightningModule) -> GMEQL:
    assert isinstance(module, GMEQL)
    return module


def _as_csv(history: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]) if history else ["generation"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
