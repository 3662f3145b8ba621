"""The search of system 2: hard structures are proposed, fitted, kept if they are good, and learned from.

    search = StructureSearch(run_dir="logs/mine", seconds=60)
    trainer = Trainer(callbacks=[search], max_epochs=-1)
    trainer.fit(GMEQL(in_features=3, layers=[...]), datamodule)     # ends by itself

A training step is one generation: the model learns from elites, new structures are proposed from elites and from
the model, and their skeletons are fitted. A search that no longer gets better begins anew; what it found is kept.
It ends when an equation is exact, when its time or its instances are used up, or with Ctrl-C; then it reports.
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
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from callbacks.checkpoints import EpochCheckpoint
from callbacks.logging.search_log import SearchLog
from expressions.goodness_of_fit import nmse
from expressions.numbering import check_numbers, numbers_of
from foundation.durations import duration
from foundation.errors import UserError
from foundation.files import replace_file
from modules.gmeql import GMEQL
from reports.finding_plots import draw_curves, draw_fit
from reports.findings import Finding, report_findings
from runs.record import record_metrics
from searches.common.refinement import Refinement
from searches.common.skeleton_fitting import Fitted, SkeletonFitter
from searches.gumbel_structures.repository import Elite, StructureRepository
from searches.pareto_front import pick

__all__ = ["StructureSearch"]

_SAYS_SO_SECONDS = 60.0
_BETTER = 1e-3  # that much lower must a score be to count as progress
_MOST_SEEN = 1_000_000  # skeletons that are known to be old; 8 MB of a checkpoint


class StructureSearch(Callback):
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
        run_dir: where results go.
        deferred: do not report in `on_fit_end`; `search(trainer, module)` will be called later.
        seed: of all that is drawn.
        seconds: of the fit, those of a resumed run's earlier attempts included; None: no limit.
        instances: structures to propose at most, those of all processes; None: no limit.
        proposals: structures of a generation and process.
        capacity, power, resampled, fresh: of the repository, see `searches.gumbel_structures.repository`.
        examples: elites that a step learns from.
        fitted_share: a screened skeleton is fitted if its score is better than that of the elite at this share of
            the repository.
        patience: new skeletons without progress after which a search begins anew.
        parsimony, longest, search_rows, screen_rows, frequency_starts, starts: see
            `searches.common.skeleton_fitting`.
        polish_equations, simplify_seconds: see `searches.common.refinement.Refinement`.
        stop_when_exact: whether to end when an equation leaves nothing but rounding.

    Raises:
        UserError: neither a time nor a number of instances limits the search.
    """

    def __init__(
        self,
        run_dir: str = ".",
        deferred: bool = False,
        seed: int = 0,
        seconds: float | None = 60.0,
        instances: int | None = None,
        proposals: int = 600,
        capacity: int = 400,
        power: float = 1.5,
        resampled: float = 0.2,
        fresh: float = 0.1,
        examples: int = 40,
        fitted_share: float = 0.125,
        patience: int = 3000,
        parsimony: float = 0.2,
        longest: int = 60,
        search_rows: int = 300,
        screen_rows: int = 64,
        frequency_starts: int = 4,
        starts: int = 2,
        polish_equations: int = 6,
        simplify_seconds: float = 3.0,
        stop_when_exact: bool = True,
    ) -> None:
        if seconds is None and instances is None:
            raise UserError("the search needs search.seconds or search.instances, or it would never end")
        self.run_dir, self.deferred, self.seed = Path(run_dir), deferred, seed
        self.seconds, self.instances, self.stop_when_exact = seconds, instances, stop_when_exact
        self.proposals, self.examples = proposals, examples
        self.fitted_share, self.patience = fitted_share, patience
        self.refinement: dict[str, Any] = {"equations": polish_equations, "simplify_seconds": simplify_seconds}
        self.fitting: dict[str, Any] = {
            "parsimony": parsimony,
            "longest": longest,
            "search_rows": search_rows,
            "screen_rows": screen_rows,
            "frequency_starts": frequency_starts,
            "starts": starts,
        }
        self.repository = StructureRepository(capacity, power, resampled, fresh)
        self.fitter: SkeletonFitter | None = None
        self.course = _Course()
        self.history: list[dict[str, Any]] = []
        self._seen: set[int] = set()  # hashes of all skeletons so far, those of other processes too
        self._names: list[str] | None = None
        self._restored: dict[str, Any] | None = None
        self._rng = np.random.default_rng()
        self._began = 0.0
        self._interrupted = False
        self._previous_handler: Any = None

    # --- on disk --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Numbers, texts and tensors only, so that it loads with `weights_only=True`."""
        elites = self.repository.elites
        return {
            "course": {**vars(self.course), "seconds": self._seconds()},
            "history": self.history,
            "best": [] if self.fitter is None else self.fitter.state(),
            "numbers": numbers_of(),
            "elites": [[elite.score, list(elite.tokens)] for elite in elites],
            "structures": torch.from_numpy(_stacked([elite.structure for elite in elites], np.int16)),
            "used": torch.from_numpy(_stacked([elite.used for elite in elites], np.bool_)),
            "seen": torch.from_numpy(np.fromiter(self._seen, np.int64, len(self._seen))),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the data are there.

        Raises:
            UserError: its programs are of operators that have other numbers here, or no names.
        """
        check_numbers(state_dict.get("numbers"), "the checkpoint's search", "fit again, without resume")
        self._restored = state_dict

    def _restore(self) -> None:
        if self._restored is None or self.fitter is None:
            return
        state, self._restored = self._restored, None
        self.course = _Course(**state["course"])
        self.history = list(state["history"])
        self._seen = set(state["seen"].tolist())
        self.fitter.load(state["best"])
        structures, used = state["structures"].numpy(), state["used"].numpy()
        self.repository.clear()
        self.repository.add(
            [
                Elite(float(score), tuple(tokens), structures[k], used[k])
                for k, (score, tokens) in enumerate(state["elites"])
            ]
        )

    # --- the fit --------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the data, and go on where a checkpoint has left off."""
        self._look_at(trainer.datamodule)  # type: ignore[attr-defined]
        self._restore()
        self._began = time.perf_counter()
        if trainer.is_global_zero:
            self._announce()

    def _look_at(self, datamodule: Any) -> None:
        train, validation = datamodule.table("train"), datamodule.table("validation")
        held_out = None if validation is train else (validation.inputs, validation.target)
        try:
            self.fitter = SkeletonFitter(
                train.inputs, train.target, validation=held_out, seed=self.seed, **self.fitting
            )
        except ValueError as error:
            raise UserError(f"{datamodule.target_name}: {error}") from error
        self._names = list(datamodule.feature_names)

    def _announce(self) -> None:
        if self.seconds is not None and self.seconds > _SAYS_SO_SECONDS:
            print(f"The search takes up to {duration(self.seconds)}, less if it is exact.", flush=True)

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
        assert isinstance(pl_module, GMEQL)
        self._rng = np.random.default_rng([self.seed, trainer.current_epoch, trainer.global_rank])
        if trainer.current_epoch == 0 and not self.course.starts:
            self._start(pl_module)
        self._stop_if_done(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Give the model what it learns from in this step."""
        assert isinstance(pl_module, GMEQL)
        pl_module.examples = None
        if len(self.repository):
            structures, used = self.repository.examples(self.examples, self._rng)
            device = pl_module.device
            pl_module.examples = (
                torch.from_numpy(structures).long().to(device),
                torch.from_numpy(used).to(device),
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One generation."""
        assert isinstance(pl_module, GMEQL)
        assert self.fitter is not None
        found = self._generation(pl_module, trainer)
        self.repository.add([elite for elite, _ in found])
        for elite, fitted in found:
            self.fitter.note(elite.tokens, fitted)
        self.course.generations += 1
        self.course.instances += self.proposals * trainer.world_size
        self._note_progress(pl_module)
        if self.course.idle > self.patience:
            self._start(pl_module)
        self._stop_if_done(trainer)

    def _generation(self, model: GMEQL, trainer: Trainer) -> list[tuple[Elite, Fitted]]:
        """New structures that are good enough, with their fits: those of all processes, in the same order."""
        assert self.fitter is not None
        structures = model.sample(self.proposals, self._rng)
        if len(self.repository):
            parents, anew = self.repository.parents(self.proposals, self._rng)
            structures = np.where(anew, structures, parents)
        skeletons = [model.skeletons.of(structure) for structure in structures]
        fits = self.fitter.fit([s.tokens for s in skeletons], self.repository.bar(self.fitted_share))
        found = [
            (Elite(fit.score, skeleton.tokens, structure, skeleton.used), fit)
            for fit, skeleton, structure in zip(fits, skeletons, structures, strict=True)
            if fit is not None
        ]
        tried = [hash(s.tokens) for s in skeletons if len(s.tokens) <= self.fitter.longest]
        parts: list[Any] = [(found, tried)]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, (found, tried))
        self._note_new({number for _, numbers in parts for number in numbers})
        return [each for founds, _ in parts for each in founds]

    def _note_new(self, tried: set[int]) -> None:
        """Count the skeletons that no generation has tried before.

        Which these are is a part of the state, not what the fitter remembers: a resumed run must lose its patience
        when the uninterrupted one does.
        """
        new = len(tried - self._seen)
        if len(self._seen) > _MOST_SEEN:
            self._seen.clear()
        self._seen |= tried
        self.course.skeletons += new
        self.course.idle += new

    def _note_progress(self, model: GMEQL) -> None:
        assert self.fitter is not None
        if not len(self.repository):
            return
        if self.repository.elites[0].score < self.course.best_score - _BETTER:
            self.course.best_score, self.course.idle = self.repository.elites[0].score, 0
        error, equation = min(self.fitter.best.values(), key=lambda found: found[0])
        if error < self.course.best_nmse:
            self.course.best_nmse = error
            self.history.append(
                {
                    "generation": self.course.generations,
                    "instances": self.course.instances,
                    "seconds": self._seconds(),
                    "best_nmse": error,
                    "best_length": len(equation),
                    "equation": equation.infix(self._names),
                }
            )
        model.equation = equation

    def _start(self, model: GMEQL) -> None:
        """Begin anew, with the same logits on all ranks."""
        self.repository.clear()
        model.initialise(np.random.default_rng([self.seed, 1_000_003, self.course.starts]))
        self.course.starts += 1
        self.course.best_score, self.course.idle = math.inf, 0

    def _stop_if_done(self, trainer: Trainer) -> None:
        reason = None
        assert self.fitter is not None
        late = self.seconds is not None and self._seconds() >= self.seconds
        if self.stop_when_exact and self.fitter.exact:
            reason = "exact"
        elif self.instances is not None and self.course.instances >= self.instances:
            reason = "instances"
        elif trainer.strategy.reduce_boolean_decision(late or self._interrupted, all=False):
            reason = "interrupted" if self._interrupted else "seconds"
        if reason is not None:
            self.course.stopped = reason
            trainer.should_stop = True

    def _seconds(self) -> float:
        """Time of the search, the attempts before a resume included."""
        return self.course.seconds + (time.perf_counter() - self._began if self._began else 0.0)

    def fit_progress(self) -> tuple[float, str]:
        """Share of the budget that is spent, and what was found, for `callbacks.progress.EpochProgress`."""
        spent = [
            used / limit
            for used, limit in ((self._seconds(), self.seconds), (self.course.instances, self.instances))
            if limit
        ]
        found = f"{self.course.instances} instances, 1 - R2 = {self.course.best_nmse:.2e}"
        return min(1.0, max(spent, default=0.0)), found

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the course of the search."""
        values = {
            "best_nmse": self.course.best_nmse,
            "instances": self.course.instances,
            "skeletons": self.course.skeletons,
            "starts": self.course.starts,
            "instances_per_second": self.course.instances / max(self._seconds(), 1e-9),
        }
        for name, value in values.items():
            pl_module.log(f"search/{name}", float(value), sync_dist=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, and leave Ctrl-C to others again."""
        self.course.seconds, self._began = self._seconds(), 0.0
        self._listen_no_longer()

    # --- the end --------------------------------------------------------------------------------------------

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, unless somebody else will say when."""
        if not self.deferred:
            self.search(trainer, pl_module)

    def search(
        self, trainer: Trainer, module: LightningModule, datamodule: LightningDataModule | None = None
    ) -> list[Finding]:
        """The Pareto front of what the fit has found, fitted, pruned, rounded and reported.

        Args:
            trainer: of the fit.
            module: the model.
            datamodule: gives the rows; the one of the fit when not given.

        Returns:
            What was found, empty on ranks other than the first.

        Raises:
            UserError: there is no equation, the processes of the fit have taken it with them, or the disk is full.
        """
        if not trainer.is_global_zero:
            return []
        data: Any = datamodule or trainer.datamodule  # type: ignore[attr-defined]
        if self.fitter is None:
            self._take_up(trainer, data)
        begun = time.perf_counter()
        finding = self._finding(data)
        names = list(data.feature_names)
        self._tell(finding, names)
        try:
            self._report(trainer, finding, names, time.perf_counter() - begun)
        except OSError as error:
            raise UserError(
                f"{self.run_dir} cannot be written to ({error.strerror or error}): make room, then "
                f"resume={self.run_dir}"
            ) from error
        return [finding]

    def _take_up(self, trainer: Trainer, data: Any) -> None:
        """What the fit has found, after one in forked processes, which end with it: from its last checkpoint."""
        paths = [callback.path for callback in trainer.callbacks if isinstance(callback, EpochCheckpoint)]  # type: ignore[attr-defined]
        if data is None or not paths:
            raise UserError("a fit in forked processes leaves nothing behind: use trainer.strategy=ddp")
        states = torch.load(paths[0], map_location="cpu", weights_only=True)["callbacks"]
        self._look_at(data)
        self.load_state_dict(states[self.state_key])
        self._restore()

    def _finding(self, data: Any) -> Finding:
        assert self.fitter is not None
        front = Refinement(self.fitter.task, **self.refinement).front(self.fitter.best)
        if not len(front):
            if self.course.stopped == "interrupted":
                raise UserError(f"interrupted before there was an equation: resume={self.run_dir} goes on")
            raise UserError("no equation was finite on every row: look at the data, or at model.layers")
        train, test = data.table("train"), data.table("test")
        problem = getattr(data, "problem", None)
        return Finding(
            problem=str(data.target_name) if problem is None else problem.name,
            target=str(data.target_name),
            trial=0,
            front=front,
            chosen=pick(front),
            history=[{key: value for key, value in entry.items() if key != "equation"} for entry in self.history],
            seconds=self.course.seconds,
            evaluations=self.course.instances,
            stopped=self.course.stopped,
            train=(train.inputs, train.target),
            test=(test.inputs, test.target),
            truth=None if problem is None else problem.truth,
        )

    def _tell(self, finding: Finding, names: Sequence[str]) -> None:
        inputs, target = finding.test
        score = 1.0 - nmse(target, finding.chosen.expression(inputs))
        print(
            f"{finding.target} = {finding.chosen.expression.infix(names)}\n"
            f"  test R2 {score:.6f} with {finding.chosen.complexity} nodes; {finding.stopped} after "
            f"{finding.seconds:.1f} s, {finding.evaluations} instances, {self.course.starts} starts",
            flush=True,
        )

    def _report(self, trainer: Trainer, finding: Finding, names: Sequence[str], seconds: float) -> None:
        report_findings(self.run_dir, [finding], names, finding.seconds + seconds)
        inputs, target = finding.test
        error = math.sqrt(nmse(target, finding.chosen.expression(inputs)))
        rate = finding.evaluations / max(finding.seconds, 1e-9)
        record_metrics(self.run_dir, {"test/nrmse": error, "search/instances_per_second": rate})
        folder = self.run_dir / "search"
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "improvements.csv", _as_csv(self.history))
        log = SearchLog(trainer)
        log.generations(finding.label, finding.history)
        log.improvements(self.history)
        plots = [*draw_fit(self.run_dir, finding), *draw_curves(self.run_dir, [finding])]
        log.findings(self.run_dir, [finding], names, plots)


class _Course:
    """How far a search is; plain numbers, for the checkpoint.

    Attributes:
        generations, instances, skeletons: done, proposed, screened.
        starts: times that it began.
        seconds: of earlier attempts.
        idle: skeletons since the last progress of this start.
        best_score: of this start.
        best_nmse: of all starts.
        stopped: why it ended, empty while it has not.
    """

    def __init__(
        self,
        generations: int = 0,
        instances: int = 0,
        skeletons: int = 0,
        starts: int = 0,
        seconds: float = 0.0,
        idle: int = 0,
        best_score: float = math.inf,
        best_nmse: float = math.inf,
        stopped: str = "",
    ) -> None:
        self.generations, self.instances, self.skeletons = generations, instances, skeletons
        self.starts, self.seconds, self.idle = starts, seconds, idle
        self.best_score, self.best_nmse, self.stopped = best_score, best_nmse, stopped


def _stacked(rows: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.stack(rows).astype(dtype) if rows else np.empty((0, 0), dtype=dtype)


def _as_csv(history: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]) if history else ["generation"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
