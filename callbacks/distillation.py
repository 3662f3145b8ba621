"""The blocks of a trained network as equations, chosen by the network's own loss.

    search = Distillation(run_dir="logs/mine", seconds=30)
    trainer = Trainer(callbacks=[search])
    trainer.fit(autoencoder, datamodule)     # searches in on_fit_end

One search per output of a block, spread over ranks and cores (see `callbacks.spread_search`). Then the equations
are chosen that are as small as the loss of the whole network allows, their constants are trained, and the network
of equations is compared with the one that it explains.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from callbacks.distilled_network.comparison import compared
from callbacks.distilled_network.rows import RowBatches, row_batches
from callbacks.logging.search_log import SearchLog
from callbacks.settings.searches import DistillationSettings, divided
from callbacks.spread_search import SearchJob, SpreadSearch
from distillation.blocks.recording import Recording
from distillation.report import DistillationReport
from distillation.separate_searches import SeparateSearches
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse, r2
from foundation.durations import duration
from foundation.errors import UserError
from foundation.terminal import say
from reports.finding_plots import draw_curves
from reports.findings import Finding, report_findings
from reports.optional import optional
from runs.record import record_metrics
from searches.common.search_state import fingerprint
from searches.evolution.settings import GeneticProgrammingSettings
from searches.pareto_front import Candidate, ParetoFront
from searches.search_result import SearchResult

__all__ = ["Distillation"]

_CONSTANT = 1e-6  # range over magnitude, below which float32 shows rounding and no function
_CHOICE_SECONDS = 60.0  # after which no smaller equations are tried
_FOLDER = "distillation"

Names = tuple[Sequence[str], Sequence[str]]
"""Names of the inputs and of the outputs of a block."""


@dataclass(frozen=True, eq=False)
class OutputJob(SearchJob):
    """One search: an output of a block.

    Attributes:
        block: name of the block.
        output: number of the output.
        target: name of the output.
        rows: inputs of the block and values of the output, by split.
        names: names of the inputs.
    """

    block: str
    output: int
    target: str
    rows: Mapping[str, tuple[np.ndarray, np.ndarray]]
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name of the job in a sentence."""
        return f"{self.target} of {self.block}" if self.block else self.target


class Distillation(SpreadSearch[OutputJob]):
    """Writes blocks of a trained LightningModule as equations.

    The loss that judges is what `training_step` returns, in evaluation mode. A module may have
    `blocks(features, target)`, which names the blocks, their inputs and their outputs. A LightningDataModule with
    `table(part)` is needed where several ranks share the searches; else its loaders will do.

    What is written: what every search writes, the report in `distillation/` (`rediscover.DistillationReport.load`
    reads it), and as metrics `distill/loss`, that of the network on the test rows, `distill/loss_equations` and
    `distill/loss_tuned`, those with equations in the place of all blocks before and after their constants were
    trained, `distill/replaced`, the share of blocks that the tolerance allows to be equations, and
    `distill/speed`, the time of the blocks over that of their equations.

    Args:
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.
        **options: settings by name: those of `callbacks.settings.searches.DistillationSettings`, and of a search,
            see `searches.evolution.settings.GeneticProgrammingSettings`.

    Raises:
        UserError: a setting is unknown or not allowed.
    """

    function = "searches.genetic_programming.search"

    def __init__(self, run_dir: str = ".", deferred: bool = False, **options: Any) -> None:
        mine, others = divided(options, DistillationSettings)
        own = DistillationSettings.of(mine)
        super().__init__(run_dir, deferred, own.workers)
        self.own = own
        self.settings = GeneticProgrammingSettings.of(others)
        replace(self.settings, islands=own.islands or 1)  # what the machine cannot hold is refused now
        self.report_of_blocks: DistillationReport | None = None
        self._separate: SeparateSearches | None = None
        self._rows: RowBatches | None = None

    # --- the searches -------------------------------------------------------------------------------------------

    def jobs(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[OutputJob]:
        """A job for every output of every block.

        Raises:
            UserError: there are no rows, or a block cannot be written as equations.
        """
        if datamodule is None:  # it stayed in the processes of the fit
            raise UserError("after a fit in forked processes the search has no rows: use trainer.strategy=ddp")
        self._rows = row_batches(datamodule, trainer, seed=self.own.seed)
        named = _names_of(module, datamodule)
        blocks = self._blocks(module, named)
        with _alone(module):
            self._separate = SeparateSearches(
                module, self._rows.train, self._rows.validation, blocks, step=_loss, seed=self.own.seed
            )
            test = self._separate.recorded(self._rows.test)
        return [
            self._job(name, output, named.get(name), test[name])
            for name, table in self._separate.tables.items()
            for output in range(table.outputs.shape[1])
        ]

    def _blocks(self, module: LightningModule, named: Mapping[str, Names]) -> list[str]:
        """Names of the blocks, in the order of the report."""
        if self.own.blocks is not None:
            return [self.own.blocks] if isinstance(self.own.blocks, str) else list(self.own.blocks)
        weighted = [name for name, part in module.named_children() if next(part.parameters(), None) is not None]
        return list(named) or weighted

    def _job(self, block: str, output: int, names: Names | None, test: Recording) -> OutputJob:
        assert self._separate is not None
        table = self._separate.tables[block]
        rows = {
            "train": (table.inputs, table.outputs[:, output]),
            "validation": (table.judge_inputs, table.judge_outputs[:, output]),
            "test": (test.inputs, test.outputs[:, output]),
        }
        inputs, outputs = names or ([f"x{k}" for k in range(table.inputs.shape[1])], [])
        target = outputs[output] if output < len(outputs) else f"y{output}"
        label = "_".join([*block.split("."), str(output)]) if block else f"output_{output}"
        identity = fingerprint(*rows["train"], asdict(self.settings), self.own.islands, self.own.seed, label)
        return OutputJob(
            label, identity, _known_result(rows["train"][1]), block, output, target, rows, tuple(inputs)
        )

    def arguments(self, job: OutputJob, workers: int) -> dict[str, Any]:
        """Keyword arguments of `searches.genetic_programming.search`."""
        inputs, target = job.rows["train"]
        own = [self.own.seed, *map(ord, job.label)]
        return {
            "inputs": inputs,
            "target": target,
            "settings": replace(self.settings, islands=self.own.islands or 1),
            "seed": int(np.random.SeedSequence(own).generate_state(1)[0]),
            "validation": job.rows["validation"],
            "workers": workers,
        }

    def budgets(self) -> dict[str, float | None]:
        """Limits of a search by the key of the history that counts towards them."""
        settings = self.settings
        return {
            "seconds": settings.seconds,
            "evaluations": settings.evaluations,
            "generation": settings.generations,
        }

    def duration(self, rounds: int) -> str:
        """How long `rounds` searches after each other take."""
        seconds = self.settings.seconds
        return "" if seconds is None else f", about {duration(seconds * rounds)}"

    # --- the report ---------------------------------------------------------------------------------------------

    def finding(self, job: OutputJob, result: SearchResult) -> Finding:
        """A result with the rows of its output."""
        return Finding(
            problem=job.label,
            target=job.title,
            trial=0,
            front=result.front,
            chosen=result.best,
            history=result.history,
            seconds=result.seconds,
            evaluations=result.evaluations,
            stopped=result.stopped,
            train=job.rows["train"],
            test=job.rows["test"],
            names=job.names,
        )

    def text(self, finding: Finding) -> str:
        """The most accurate equation, and how good it is."""
        inputs, target = finding.test
        equation = finding.chosen.expression
        score = "" if finding.stopped == "constant" else f"\n  test R2 {r2(target, equation(inputs)):.6f}"
        return f"{finding.target} = {equation.infix(finding.names)}{score}"

    def report(
        self,
        findings: Sequence[Finding],
        results: Mapping[OutputJob, SearchResult],
        log: SearchLog,
        seconds: float,
    ) -> None:
        """Results as they are; where no search is missing, the choice, the training of the constants, W&B."""
        report_findings(self.run_dir, findings, (), seconds)
        if self.interrupted:
            return
        assert self._separate is not None
        equations: dict[str, list[list[Expression]]] = {}
        for job, result in results.items():
            equations.setdefault(job.block, []).append([each.expression for each in result.front])
        found = self._separate.report(equations, tolerance=self.own.tolerance, seconds=_CHOICE_SECONDS)
        assert self._rows is not None
        found, metrics = compared(self._separate, found, self._rows, _loss, epochs=self.own.tuning_epochs)
        self.report_of_blocks = found
        found.save(self.run_dir / _FOLDER)
        findings = [_chosen(found, job, finding) for job, finding in zip(results, findings, strict=True)]
        report_findings(self.run_dir, findings, (), seconds)
        record_metrics(self.run_dir, metrics)
        say(_words(found, metrics, findings))
        plots: list[Path] = []
        with optional("plots"):
            plots += draw_curves(self.run_dir, findings, ())
        log.numbers(metrics)
        with optional("tables and plots in W&B"):
            log.findings(self.run_dir, findings, (), plots)


def _loss(module: nn.Module, batch: Any) -> Any:
    """What a LightningModule learns by."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*self\.log\(\)")  # outside a fit, nothing is logged
        return module.training_step(batch, 0)  # type: ignore[operator]


def _chosen(found: DistillationReport, job: OutputJob, finding: Finding) -> Finding:
    """A finding whose chosen equation is that of the report, with the constants that it has learned."""
    [block] = [each for each in found.blocks if each.name == job.block]
    first = equation = block.outputs[job.output].expression
    if block.replaced and found.module is not None:
        replacement: Any = found.module.get_submodule(block.name)
        equation = replacement.equations()[job.output]
    errors = [nmse(target, equation(inputs)) for inputs, target in (job.rows["train"], job.rows["validation"])]
    own = next((each for each in finding.front if each.expression == first), finding.chosen)
    chosen = replace(own, expression=equation, train_nmse=errors[0], validation_nmse=errors[1])
    front = ParetoFront([chosen if each is own else each for each in finding.front])
    return replace(finding, front=front, chosen=chosen)


def _words(found: DistillationReport, metrics: Mapping[str, float], findings: Sequence[Finding]) -> str:
    """What was decided, for the terminal."""
    lines = [f"  {each.target} = {each.chosen.expression.infix(each.names)}" for each in findings]
    for block in found.blocks:
        fate = (
            f"{block.size} nodes in its place"
            if block.replaced
            else f"stays a network: {found.loss_limit:.6g} is "
        )
        fate += "" if block.replaced else f"allowed, and its equations alone make a loss of {block.loss_alone:.6g}"
        lines.append(f"{block.name or 'the network'}: {fate}")
    losses = f"test loss {metrics['distill/loss']:.6g}; all equations {metrics['distill/loss_equations']:.6g}"
    if "distill/loss_tuned" in metrics:
        losses += f", and {metrics['distill/loss_tuned']:.6g} after their constants were trained"
    slower = 1 / metrics["distill/speed"]
    return "\n".join([*lines, f"{losses}; they take {slower:.3g} times as long as the blocks"])


def _known_result(values: np.ndarray) -> SearchResult | None:
    """The equation of an output that is constant up to rounding; None for one that is not."""
    if float(np.ptp(values)) > _CONSTANT * float(np.abs(values).max()):
        return None
    candidate = Candidate(Expression.constant(float(values[0])), 1, 0.0, 0.0)
    return SearchResult(ParetoFront([candidate]), history=[], seconds=0.0, evaluations=0, stopped="constant")


def _names_of(module: LightningModule, datamodule: Any) -> Mapping[str, Names]:
    """Blocks as the module names them; empty where it names none."""
    if not hasattr(module, "blocks") or not hasattr(datamodule, "feature_names"):
        return {}
    found: Mapping[str, Names] = module.blocks(datamodule.feature_names, datamodule.target_name)  # type: ignore[operator]
    return found


@contextmanager
def _alone(module: LightningModule) -> Iterator[None]:
    """The module without its trainer, which no copy of it is to have."""
    trainer, module._trainer = module._trainer, None
    try:
        yield
    finally:
        module._trainer = trainer
