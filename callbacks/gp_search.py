"""Genetic programming on every latent of an autoencoder, after training.

    search = GPSearch(run_dir="logs/mine", trials=3, seconds=30)
    trainer = Trainer(callbacks=[search])
    trainer.fit(autoencoder, datamodule)     # searches in on_fit_end

One search per latent and trial, spread over ranks and cores (see `callbacks.spread_search`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer

from callbacks.logging.search_log import SearchLog
from callbacks.settings.searches import GPSearchSettings, divided
from callbacks.spread_search import SpreadSearch
from callbacks.spreading.job import SearchJob, constant_result
from expressions.goodness_of_fit import r2
from expressions.schema import equation
from foundation.errors import UserError
from foundation.files import FileError, read_regular, replace_file
from foundation.schema import FormatError, json_content, list_of, record, text, whole
from foundation.terminal import say
from reports.finding_plots import draw_curves, draw_figures
from reports.findings import Finding, report_findings
from reports.optional import optional
from searches.common.search_state import fingerprint
from searches.evolution.archive import Entry, add_to_archive, check_archive, seeds_from
from searches.evolution.settings import GeneticProgrammingSettings
from searches.search_result import SearchResult

__all__ = ["GPSearch", "encode"]

_ENCODE_ROWS = 65_536
_LARGEST_START = 1 << 22  # bytes
_START = record({"data": text(100), "islands": whole(1, 100_000), "seeds": list_of(equation(), most=1_000)})


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentJob(SearchJob):
    """One search: a latent and a trial.

    Attributes:
        latent: number of the latent.
        network: the latent as a function, `[rows, variables] -> [rows]`.
    """

    latent: int
    network: Callable[[np.ndarray], np.ndarray]

    @property
    def data(self) -> str:
        """Fingerprint of the training rows."""
        return fingerprint(*self.rows["train"])


class GPSearch(SpreadSearch[LatentJob]):
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
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.
        **options: settings by name: those of `callbacks.settings.searches.GPSearchSettings`, and of a search, see
            `searches.evolution.settings.GeneticProgrammingSettings`.

    Raises:
        UserError: a setting is unknown or not allowed.
    """

    function = "searches.genetic_programming.search"
    settings: GeneticProgrammingSettings

    def __init__(self, run_dir: str = ".", deferred: bool = False, **options: Any) -> None:
        mine, others = divided(options, GPSearchSettings)
        own = GPSearchSettings.of(mine)
        super().__init__(run_dir, deferred, own.workers)
        self.own = own
        self.settings = GeneticProgrammingSettings.of(others)
        replace(self.settings, islands=own.islands or 1)  # what the machine cannot hold is refused now
        self.archive = Path(own.archive) if own.archive else None
        if self.archive is not None:
            check_archive(self.archive)

    # --- the searches -------------------------------------------------------------------------------------------

    def jobs(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[LatentJob]:
        """A job for every latent and trial.

        Raises:
            UserError: there are no rows, or a latent is not finite.
        """
        if datamodule is None:  # it stayed in the processes of the fit
            raise UserError("after a fit in forked processes the search has no rows: use trainer.strategy=ddp")
        inputs = {split: datamodule.table(split).inputs for split in ("train", "validation", "test")}
        latents = {split: encode(module, table) for split, table in inputs.items()}
        _check_finite(latents)
        names = tuple(datamodule.feature_names)
        jobs = []
        for latent in range(latents["train"].shape[1]):
            network = _latent_function(module, latent)
            rows = {split: (table, latents[split][:, latent]) for split, table in inputs.items()}
            known = constant_result(rows["train"][1])
            for trial in range(self.own.trials):
                label = f"latent_{latent}_trial_{trial}"
                identity = fingerprint(
                    *rows["train"], asdict(self.settings), self.own.islands, self.own.seed, label
                )
                jobs.append(
                    LatentJob(
                        label=label,
                        identity=identity,
                        known=known,
                        title=label.replace("_", " "),
                        problem=f"latent_{latent}",
                        target=f"latent {latent}",
                        rows=rows,
                        names=names,
                        trial=trial,
                        latent=latent,
                        network=network,
                    )
                )
        return jobs

    def arguments(self, job: LatentJob, workers: int) -> dict[str, Any]:
        """Keyword arguments of `searches.genetic_programming.search`."""
        start = self._start(job, self.own.islands or workers)
        inputs, target = job.rows["train"]
        return {
            "inputs": inputs,
            "target": target,
            "settings": replace(self.settings, islands=self.own.islands or start["islands"]),
            "seed": int(np.random.SeedSequence([self.own.seed, job.latent, job.trial]).generate_state(1)[0]),
            "validation": job.rows["validation"],
            "seeds": start["seeds"],
            "workers": workers,
        }

    def _start(self, job: LatentJob, islands: int) -> dict[str, Any]:
        """What a search begins with beside its settings: written down, since a resumed one must have the same.

        The archive may have grown meanwhile, and another machine may have other cores. Where the network is no
        longer the same, say after more epochs, the search begins anew.
        """
        path = self.files.folder / f"{job.label}_start.json"
        try:
            start: dict[str, Any] = json_content(read_regular(path, most=_LARGEST_START), _START)
        except (FileError, FormatError):
            start = {}
        if start.get("data") == job.data:
            return start
        self.files.forget(job.label)
        seeds = [] if self.archive is None else seeds_from(self.archive, job.names, job.data)
        self.files.folder.mkdir(parents=True, exist_ok=True)
        start = {"data": job.data, "islands": islands, "seeds": seeds}
        replace_file(path, json.dumps({**start, "seeds": [seed.infix() for seed in seeds]}))
        return start

    # --- the report ---------------------------------------------------------------------------------------------

    def text(self, finding: Finding) -> str:
        """An equation, and how good it is."""
        equation = finding.chosen.expression
        first = f"{finding.target} = {equation.infix(finding.names)}"
        if finding.stopped == "constant":
            return f"{first}\n  the network gives the same value on every row"
        inputs, target = finding.test
        return f"{first}\n  test R2 {r2(target, equation(inputs)):.6f} with {finding.chosen.complexity} nodes"

    def report(
        self,
        findings: Sequence[Finding],
        results: Mapping[LatentJob, SearchResult],
        log: SearchLog,
        seconds: float,
    ) -> None:
        """Results and the archive; then polynomials to compare with, plots, W&B."""
        names = findings[0].names or ()
        report_findings(self.run_dir, findings, names, seconds)
        self._add_to_archive(findings)
        with optional("comparisons with polynomials"):
            for finding in findings:
                if finding.stopped != "constant":
                    fits = ", ".join(f"{name} fit {_shown(score)}" for name, score in finding.polynomials.items())
                    few = "" if finding.polynomial_rows is None else f" of {finding.polynomial_rows:,} rows"
                    say(f"{finding.target}, trial {finding.trial}, test R2 of polynomials{few}: {fits}")
        plots: list[Path] = []
        with optional("plots"):
            plots += draw_curves(self.run_dir, findings, names)
            for job, finding in zip(results, findings, strict=True):
                plots += draw_figures(self.run_dir, finding, names, job.network)
        with optional("tables and plots in W&B"):
            log.findings(self.run_dir, findings, names, plots)

    def _add_to_archive(self, findings: Sequence[Finding]) -> None:
        if self.archive is None:
            return
        entries = [
            Entry(
                fingerprint=fingerprint(*finding.train),
                names=finding.names or (),
                target=finding.target,
                infix=candidate.expression.infix(finding.names),
                complexity=candidate.complexity,
                nmse=candidate.error,
            )
            for finding in findings
            for candidate in finding.front
        ]
        add_to_archive(self.archive, entries)


def _check_finite(latents: Mapping[str, np.ndarray]) -> None:
    """Raise a UserError for a latent that is not finite on every row of every split, `[rows, latents]` each."""
    for latent in range(latents["train"].shape[1]):
        wrong = sum(int((~np.isfinite(values[:, latent])).sum()) for values in latents.values())
        if wrong:
            raise UserError(
                f"latent {latent} of the network is not finite on {wrong} rows, so the training diverged: "
                "lower model.learning_rate"
            )


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


def _shown(score: float | None) -> str:
    return "too many monomials" if score is None else f"{score:.6f}"
