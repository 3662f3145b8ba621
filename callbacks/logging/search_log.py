"""Searches in W&B: generations under a step of their own, improvements, equations and plots."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger

from foundation.terminal import warn
from reports.findings import Finding, scores_of

__all__ = ["SearchLog"]


class SearchLog:
    """Sends searches to W&B under a step of their own; does nothing where there is no W&B logger.

    A fault of W&B ends no search: it is said once a run, and nothing more is sent.

    Attributes:
        run: run of W&B; None: there is none, or it has failed.
    """

    def __init__(self, trainer: Trainer) -> None:
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        self._logger: Any = loggers[0] if loggers and trainer.is_global_zero else None
        self.run: Any = None
        self._defined: set[str] = set()
        with self._while_it_works():
            if self._logger is not None and not getattr(self._logger, "lost", False):
                self.run = self._logger.experiment

    def generations(self, label: str, entries: Iterable[Mapping[str, float]]) -> None:
        """Generations of one search: best error, complexity, evaluations per second, front size."""
        with self._while_it_works():
            for entry in entries:
                self._generation(label, {f"search/{label}/{key}": value for key, value in entry.items()})

    def _generation(self, label: str, named: Mapping[str, float]) -> None:
        if self.run is None:
            return
        if label not in self._defined:  # exact names: a glob would not give them a step of their own
            self._defined.add(label)
            step = f"search/{label}/generation"
            self.run.define_metric(step)
            for name in named:
                self.run.define_metric(name, step_metric=step)
        self.run.log(dict(named))

    def numbers(self, values: Mapping[str, float]) -> None:
        """Numbers that a search has once."""
        with self._while_it_works():
            if self.run is not None:
                self.run.log(dict(values))

    def media(self, values: Mapping[str, Any]) -> None:
        """Pictures, tables and charts: they belong to the history, and are no fields of the run's summary."""
        with self._while_it_works():
            if self.run is None:
                return
            self.run.log(dict(values))
            for name in values:
                for field in (name, f"{name}_table"):  # a chart is logged as the table behind it
                    with contextlib.suppress(KeyError):
                        del self.run.summary[field]

    def improvements(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """The best equation as text at each improvement."""
        if self.run is None or not entries:
            return
        import wandb

        with self._while_it_works():
            table = wandb.Table(columns=list(entries[0]), data=[list(entry.values()) for entry in entries])
            self.media({"search/improvements": table})

    def findings(
        self, run_dir: Path, findings: Sequence[Finding], names: Sequence[str], plots: Sequence[Path]
    ) -> None:
        """The equations as tables with LaTeX, the fronts as plots and as an artifact.

        Args:
            run_dir: Run directory.
            findings: Results of all searches.
            names: Variable names.
            plots: Paths of the plots.
        """
        if self.run is None:
            return
        import wandb

        with self._while_it_works():
            front = _fronts(findings, names)
            self.media(
                {
                    "search/equations": _chosen(findings, names),
                    "search/front": front,
                    "search/front_plot": wandb.plot.scatter(
                        front, "complexity", "train_nmse", title="Pareto front"
                    ),
                    **{f"plots/{path.stem}": wandb.Image(str(path)) for path in plots},
                }
            )
            if self.run is not None:
                artifact = wandb.Artifact(f"equations-{self.run.id}", type="equations")
                artifact.add_file(str(run_dir / "equations.csv"))
                self.run.log_artifact(artifact)

    @contextlib.contextmanager
    def _while_it_works(self) -> Iterator[None]:
        """What is done in here is given up where W&B fails."""
        try:
            yield
        except Exception as error:  # whatever becomes of its process
            self.run = None
            if not getattr(self._logger, "lost", False):
                self._logger.lost = True
                warn(
                    f"warning: W&B has stopped ({type(error).__name__}): the search goes on, its files have "
                    "everything"
                )


def _chosen(findings: Sequence[Finding], names: Sequence[str]) -> Any:
    """W&B table of the equations that are shown first."""
    import wandb

    table = wandb.Table(columns=["problem", "trial", "equation", "latex", "complexity", "test_r2", "test_mse"])
    for finding in findings:
        scores = scores_of(finding.chosen, finding, names)
        latex = wandb.Html(f"\\({scores['latex']}\\)", inject=False)
        table.add_data(
            finding.problem, finding.trial, scores["infix"], latex,
            scores["complexity"], scores["test_r2"], scores["test_mse"],
        )  # fmt: skip
    return table


def _fronts(findings: Sequence[Finding], names: Sequence[str]) -> Any:
    """W&B table of all Pareto fronts."""
    import wandb

    table = wandb.Table(columns=["search", "complexity", "train_nmse", "validation_nmse", "equation"])
    for finding in findings:
        for c in finding.front:
            infix = c.expression.infix(finding.names or names)
            table.add_data(finding.label, c.complexity, c.train_nmse, c.validation_nmse, infix)
    return table
