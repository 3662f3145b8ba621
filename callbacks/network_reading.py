"""The equations of small networks, read from their weights after the training of a reader.

    reading = NetworkReading(run_dir="logs/mine", examples=24)
    trainer = Trainer(callbacks=[reading])
    trainer.fit(weights_to_tokens, datamodule)     # reads in on_fit_end

Reads the network of `data.network`, where there is one, or else networks of the test, and writes `results.json`,
`equations.csv`, plots of network against equation, and a W&B table of what was true and what was read.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from callbacks.equation_search import EquationSearch
from callbacks.logging.search_log import SearchLog
from callbacks.settings.searches import NetworkReadingSettings
from expressions.expression import Expression
from expressions.goodness_of_fit import r2
from foundation.errors import UserError
from foundation.terminal import say, warn
from modules.networks.weights.small_networks import NetworkShape
from reports.finding_plots import draw_curves, formula
from reports.findings import Finding, report_findings
from reports.optional import optional
from runs.record import record_metrics
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["NetworkReading"]

_MOST_PLOTS = 6
_GOOD_R2 = 0.99


class NetworkReading(EquationSearch):
    """Reads networks with the averaged weights of a `modules.weights_to_tokens.WeightsToTokens`.

    Of the equations that a beam search finds, of those that are drawn, and of one whose coefficients are fitted to
    the network's outputs and rounded, the one is taken that agrees best with the network.

    Example:
        ```yaml
        search:
          _target_: callbacks.network_reading.NetworkReading
          examples: 24
        ```

    Args:
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.
        **options: settings by name, see `callbacks.settings.searches.NetworkReadingSettings`.
    """

    def __init__(self, run_dir: str = ".", deferred: bool = False, **options: Any) -> None:
        super().__init__(run_dir, deferred)
        self.settings = NetworkReadingSettings.of(options)

    def find_and_report(self, trainer: Trainer, module: Any, datamodule: Any) -> list[Finding]:
        """Read and report, in the first process alone.

        Raises:
            UserError: the encoder cannot take the network of the file, or the reader knows nothing yet.
        """
        if not trainer.is_global_zero:
            return []
        if datamodule.one is not None and not module.initialised and not trainer.global_step:
            raise UserError(
                "no trained reader fits these settings: give ckpt_path=FILE of one, or leave the settings of data "
                "and model as they are, for which the package has one"
            )
        began = time.perf_counter()
        reader = module.average.eval()
        names, shape, flat, truths = self._networks(reader, datamodule)
        read = reader.read(shape, flat.to(module.device), self.settings.beams).refit.cpu()
        seconds = (time.perf_counter() - began) / max(1, len(flat))
        x, outputs = reader.compared(shape, flat)
        findings = [
            _finding(names[row], reader.vocabulary.expression(read[row]), truths[row], x, outputs[row], seconds)
            for row in range(len(flat))
        ]
        record_metrics(self.run_dir, datamodule.facts())
        report_findings(self.run_dir, findings, ["x"], time.perf_counter() - began)
        texts = [reader.vocabulary.text(row) for row in read]
        self._show(findings, texts, datamodule.one is not None)
        plots: list[Path] = []
        with optional("plots"):
            plots += self._plots(findings, shape, flat)
            plots += draw_curves(self.run_dir, findings, ["x"])
        with optional("tables and plots in W&B"):
            log = SearchLog(trainer)
            log.findings(self.run_dir, findings, ["x"], plots)
            _log_table(log, findings, texts)
        return findings

    def _networks(
        self, reader: Any, datamodule: Any
    ) -> tuple[list[str], NetworkShape, Tensor, list[Expression | None]]:
        """Names, the shape, weights `[n, P]` and the true equations, where they are known."""
        if datamodule.one is not None:
            shape, flat = datamodule.one
            return [Path(datamodule.settings.network).stem], shape, flat, [None]
        part = datamodule.zoo["test"]
        rows = torch.arange(min(self.settings.examples, len(part.accepted)))
        truths = [reader.vocabulary.expression(ids) for ids in part.column("ids")[rows]]
        names = [f"network_{row:03d}" for row in rows.tolist()]
        return names, datamodule.settings.shape, part.column("weights")[rows], truths

    def _show(self, findings: list[Finding], texts: list[str], from_file: bool) -> None:
        for finding, text in zip(findings[:_MOST_PLOTS], texts, strict=False):
            true = "" if finding.truth is None else f", truth {finding.truth.infix(['x'])}"
            say(f"{finding.target}: y = {text}\n  R2 to the network {_network_r2(finding):.6f}{true}")
        score = _network_r2(findings[0])
        if from_file and not score >= _GOOD_R2:
            warn(
                f"warning: this network's best equation explains only R2 = {score:.3f}: the network may be "
                "untrained, or compute something else than what the model can write"
            )

    def _plots(self, findings: list[Finding], shape: NetworkShape, flat: Tensor) -> list[Path]:
        """Network and equation, as curves."""
        from reports import figures

        def curve(row: int) -> Path:
            def network(inputs: np.ndarray) -> np.ndarray:
                values: np.ndarray = shape.run(flat[row : row + 1], torch.from_numpy(inputs[:, 0]).float())[
                    0
                ].numpy()
                return values

            finding = findings[row]
            path = self.run_dir / "plots" / f"{finding.label}.png"
            return figures.surface(
                finding.test[0],
                network,
                finding.chosen.expression,
                path,
                finding.target,
                formula=formula(finding, ["x"]),
                name=finding.target,
                names=["x"],
            )

        return [curve(row) for row in range(min(_MOST_PLOTS, len(findings)))]


def _finding(
    name: str, equation: Expression, truth: Expression | None, x: np.ndarray, outputs: np.ndarray, seconds: float
) -> Finding:
    """A reading as other searches report theirs: trained on the network's outputs, tested on the true equation."""
    inputs = x[:, None]
    target = outputs if truth is None else np.broadcast_to(truth(inputs), outputs.shape).astype(np.float64)
    candidate = Candidate.of(equation, inputs, outputs)
    return Finding(
        problem=name,
        target=name,
        trial=0,
        front=ParetoFront([candidate]),
        chosen=candidate,
        history=[],
        seconds=seconds,
        evaluations=1,
        stopped="constant" if np.ptp(target) == 0 else "read",
        train=(inputs, outputs),
        test=(inputs, target),
        truth=truth,
    )


def _network_r2(finding: Finding) -> float:
    inputs, outputs = finding.train
    score = r2(outputs, finding.chosen.expression(inputs))
    return score if math.isfinite(score) else -math.inf


def _log_table(log: SearchLog, findings: list[Finding], texts: list[str]) -> None:
    """True against read."""
    if log.run is None:
        return
    import wandb

    table = wandb.Table(columns=["network", "true", "read", "r2_to_truth", "r2_to_network"])
    for finding, text in zip(findings, texts, strict=True):
        true = "" if finding.truth is None else finding.truth.infix(["x"])
        inputs, target = finding.test
        table.add_data(
            finding.target, true, text, r2(target, finding.chosen.expression(inputs)), _network_r2(finding)
        )
    log.media({"test/readings": table})
