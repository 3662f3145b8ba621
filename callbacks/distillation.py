"""The blocks of a trained network as equations, chosen by the network's own loss.

    search = Distillation(run_dir="logs/mine", seconds=30)
    trainer = Trainer(callbacks=[search])
    trainer.fit(autoencoder, datamodule)     # searches in on_fit_end

One search per output of a block, or per factor of its outputs, spread over ranks and cores (see
`callbacks.spread_search`). Then the equations are chosen that are as small as the loss of the whole network
allows, their constants are trained, and the network of equations is compared with the one that it explains.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from callbacks.distilled_network.comparison import compared
from callbacks.distilled_network.equations import equations_of_blocks, words_of
from callbacks.distilled_network.job import OutputJob
from callbacks.distilled_network.names import BlockNames
from callbacks.distilled_network.rows import RowBatches, row_batches
from callbacks.logging.search_log import SearchLog
from callbacks.settings.searches import DistillationSettings, divided
from callbacks.spread_search import SpreadSearch
from callbacks.spreading.job import constant_result
from distillation.blocks.recording import Recording
from distillation.choosing.greedy import Rivals
from distillation.fitting.blocks import Form, worth_searching
from distillation.fitting.outputs import pickled
from distillation.parent.judge import copied
from distillation.preparation import Preparation
from distillation.report import DistillationReport
from expressions.goodness_of_fit import r2
from foundation.errors import UserError
from foundation.terminal import say
from reports.finding_plots import draw_curves
from reports.findings import Finding, report_findings
from reports.optional import optional
from runs.record import record_metrics
from searches.common.search_state import fingerprint
from searches.portfolio_members.settings import PortfolioSettings
from searches.search_result import SearchResult

__all__ = ["Distillation"]

_CHOICE_SECONDS = 60.0  # after which no smaller equations are tried
_CONSTANTS_SECONDS = 30.0  # after which no further constant is looked at by itself
_FOLDER = "distillation"


@dataclass(frozen=True)
class _Prepared:
    """What the searches begin with, and what judges what they find.

    Attributes:
        model: copy of the module as it was.
        blocks: tables of its blocks.
        rows: batches of the run.
        test: activations of the blocks on the test rows, by name.
        names: names of the inputs and outputs of its blocks.
    """

    model: nn.Module
    blocks: Preparation
    rows: RowBatches
    test: Mapping[str, Recording]
    names: BlockNames


class Distillation(SpreadSearch[OutputJob]):
    """Writes blocks of a trained LightningModule as equations, by the steps of `rediscover.distill`.

    The network is asked where that helps, outputs that mix few factors are searched by these, and the loss of the
    whole network chooses. A search that was cut off begins anew when the run is resumed; those that had ended are
    not repeated.

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
            see `searches.portfolio_members.settings.PortfolioSettings`.

    Raises:
        UserError: a setting is unknown or not allowed.
    """

    function = "distillation.output_search.search"
    settings: PortfolioSettings

    def __init__(self, run_dir: str = ".", deferred: bool = False, **options: Any) -> None:
        mine, others = divided(options, DistillationSettings)
        own = DistillationSettings.of(mine)
        super().__init__(run_dir, deferred, own.workers)
        self.own = own
        self.settings = PortfolioSettings.of(others)
        self.report_of_blocks: DistillationReport | None = None
        self._prepared: _Prepared | None = None

    # --- the searches -------------------------------------------------------------------------------------------

    def jobs(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[OutputJob]:
        """A job for every output of every block, and for every factor where outputs are mixtures of few.

        Raises:
            UserError: there are no rows, or a block cannot be written as equations.
        """
        if datamodule is None:  # it stayed in the processes of the fit
            raise UserError("after a fit in forked processes the search has no rows: use trainer.strategy=ddp")
        rows, names = row_batches(datamodule, trainer, seed=self.own.seed), BlockNames.of(module, datamodule)
        blocks = self._blocks(module, names)
        with _alone(module):
            model = copied(module)
            prepared = Preparation(
                module, rows.train, rows.validation, blocks, step=_loss, seed=self.own.seed, ask=self.own.ask
            )
        self._prepared = _Prepared(model, prepared, rows, prepared.recorded(rows.test), names)
        return [
            self._job(name, form, place)
            for name in prepared.tables
            for form in worth_searching(prepared.forms(name))
            for place in range(form.count)
        ]

    def _blocks(self, module: LightningModule, names: BlockNames) -> list[str]:
        """Names of the blocks, in the order of the report."""
        if self.own.blocks is not None:
            return [self.own.blocks] if isinstance(self.own.blocks, str) else list(self.own.blocks)
        weighted = [name for name, part in module.named_children() if next(part.parameters(), None) is not None]
        return list(names.known) or weighted

    def _job(self, block: str, form: Form, place: int) -> OutputJob:
        assert self._prepared is not None
        test = self._prepared.test[block]
        table, names, is_factor = form.table, self._prepared.names, form.outputs is not None
        label = names.label(block, place, is_factor)
        target = f"factor {place}" if is_factor else names.output(block, place)
        title = f"{target} of {block}" if block else target
        own = table.output(place)
        outputs = self._prepared.blocks.tables[block].outputs
        what = (table.inputs, outputs, asdict(self.settings), self.own.ask, self.own.seed, label)
        return OutputJob(
            label=label,
            identity=fingerprint(*what),
            known=constant_result(own.outputs[:, 0]),
            title=title,
            problem=label,
            target=title,
            rows={
                "train": (own.inputs, own.outputs[:, 0]),
                "validation": (own.judge_inputs, own.judge_outputs[:, 0]),
                "test": (test.inputs, form.searched_values(test.outputs)[:, place]),
            },
            names=names.inputs(block, table.inputs.shape[1]),
            block=block,
            form=form,
            place=place,
        )

    def arguments(self, job: OutputJob, workers: int) -> dict[str, Any]:
        """Keyword arguments of `distillation.output_search.search`."""
        own = [self.own.seed, *map(ord, job.label)]
        return {
            "table": job.form.table.output(job.place),
            "place": job.place,
            "answers": pickled(job.form.answers),
            "settings": self.settings,
            "seed": int(np.random.SeedSequence(own).generate_state(1)[0]),
            "workers": workers,
        }

    # --- the report ---------------------------------------------------------------------------------------------

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
        assert self._prepared is not None
        found = self._prepared.blocks.report(
            self._rivals(results), tolerance=self.own.tolerance, seconds=_CHOICE_SECONDS
        )
        tables, epochs = self._prepared.blocks.tables, self.own.tuning_epochs
        found, metrics = compared(
            self._prepared.model,
            found,
            tables,
            self._prepared.rows,
            _loss,
            epochs=epochs,
            seconds=_CONSTANTS_SECONDS,
        )
        self.report_of_blocks = found
        found.save(self.run_dir / _FOLDER)
        searches = list(zip(results, findings, strict=True))
        findings = equations_of_blocks(found, searches, tables, self._prepared.test, self._prepared.names)
        report_findings(self.run_dir, findings, (), seconds)
        record_metrics(self.run_dir, metrics)
        say(words_of(found, metrics, findings))
        plots: list[Path] = []
        with optional("plots"):
            plots += draw_curves(self.run_dir, findings, ())
        log.numbers(metrics)
        with optional("tables and plots in W&B"):
            log.findings(self.run_dir, findings, (), plots)

    def _rivals(self, results: Mapping[OutputJob, SearchResult]) -> dict[str, list[Rivals]]:
        """What was found for every block, in the forms in which it was searched."""
        assert self._prepared is not None
        forms: dict[tuple[str, int], tuple[Form, list[Any]]] = {}
        for job, result in results.items():
            _, equations = forms.setdefault((job.block, job.form.count), (job.form, []))
            equations.append([each.expression for each in result.front])
        rivals: dict[str, list[Rivals]] = {}
        for (block, _), (form, equations) in forms.items():
            rivals.setdefault(block, []).append(self._prepared.blocks.rivals_of(block, form, equations))
        return rivals


def _loss(module: nn.Module, batch: Any) -> Any:
    """What a LightningModule learns by."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*self\.log\(\)")  # outside a fit, nothing is logged
        return module.training_step(batch, 0)  # type: ignore[operator]


@contextmanager
def _alone(module: LightningModule) -> Iterator[None]:
    """The module without its trainer, which no copy of it is to have."""
    trainer, module._trainer = module._trainer, None
    try:
        yield
    finally:
        module._trainer = trainer
