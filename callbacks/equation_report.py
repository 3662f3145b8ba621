"""What a search found, written down once for all systems: results.json, equations.csv, plots and W&B."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger

from callbacks.run_record import record_equations, record_metrics, write_atomically
from expressions.equivalence import equivalent, recovered
from expressions.expression import Expression
from expressions.goodness_of_fit import mse, r2
from searches.pareto_front import Candidate, ParetoFront

ACCURATE_R2 = 0.999  # SRBench's accuracy solution
_MOST_MONOMIALS = 2_000
_COLUMNS = (
    "problem", "target", "trial", "chosen", "infix", "latex", "complexity",
    "train_r2", "validation_r2", "test_r2", "test_mse",
)  # fmt: skip

Rows = tuple[np.ndarray, np.ndarray]
"""Inputs `[rows, variables]` and target `[rows]`."""


@dataclass(frozen=True)
class Finding:
    """One search's result with the data it is reported on.

    Attributes:
        problem: short name, used in file names and metric names.
        target: what was searched for, in words.
        trial: number of the repetition.
        front: all equations on the Pareto front.
        chosen: the one that is shown first.
        history: one entry a generation.
        seconds, evaluations, stopped: of the search.
        train, test: rows to report on.
        truth: the formula behind the data, where it is known.
        names: of the variables, where they are not those of all findings of the run.
    """

    problem: str
    target: str
    trial: int
    front: ParetoFront
    chosen: Candidate
    history: list[dict[str, float]]
    seconds: float
    evaluations: int
    stopped: str
    train: Rows
    test: Rows
    truth: Expression | None = None
    names: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """Name that no other finding of the run has."""
        return f"{self.problem}_trial_{self.trial}"


def report_findings(
    run_dir: Path, findings: Sequence[Finding], names: Sequence[str], seconds: float
) -> dict[str, float]:
    """Write results.json and equations.csv.

    Args:
        run_dir: the run directory.
        findings: of all searches.
        names: of the variables.
        seconds: that all searches took together, by the clock.

    Returns:
        The flat metrics that were written.
    """
    rows = [_result(finding, names) for finding in findings]
    metrics = _summary(rows, seconds)
    write_atomically(run_dir / "equations.csv", _front_table(findings, names))
    record_equations(run_dir, rows)
    record_metrics(run_dir, metrics)
    return metrics


def _result(finding: Finding, names: Sequence[str]) -> dict[str, Any]:
    """One entry of results.json."""
    candidate, truth = finding.chosen, finding.truth
    inputs, target = finding.test
    return {
        "problem": finding.problem,
        "target": finding.target,
        "trial": finding.trial,
        **_scores(candidate, finding, names),
        "recovered": None if truth is None else recovered(candidate.expression, truth),
        "equivalent": None if truth is None else equivalent(candidate.expression, truth, inputs),
        "linear_test_r2": polynomial_r2(finding.train, finding.test, 1),
        "cubic_test_r2": polynomial_r2(finding.train, finding.test, 3),
        "target_variance": float(np.var(target)),
        "seconds": finding.seconds,
        "evaluations": finding.evaluations,
        "stopped": finding.stopped,
    }


def _scores(candidate: Candidate, finding: Finding, names: Sequence[str]) -> dict[str, Any]:
    equation = candidate.expression
    inputs, target = finding.test
    values = equation(inputs)
    names = finding.names or names
    return {
        "infix": equation.infix(names),
        "latex": equation.latex(names),
        "complexity": candidate.complexity,
        "train_r2": 1.0 - candidate.train_nmse,
        "test_r2": r2(target, values),
        "test_mse": mse(target, values),
    }


def _front_table(findings: Sequence[Finding], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for finding in findings:
        for candidate in finding.front:
            writer.writerow(
                {
                    "problem": finding.problem,
                    "target": finding.target,
                    "trial": finding.trial,
                    "chosen": candidate is finding.chosen,
                    "validation_r2": 1.0 - candidate.validation_nmse,
                    **_scores(candidate, finding, names),
                }
            )
    return text.getvalue()


def _summary(rows: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, float]:
    """Flat metrics that all systems share; a constant target has no R2 and counts in none of the scores."""
    constants = sum(row["stopped"] == "constant" for row in rows)
    metrics = {
        "search/evaluations": float(sum(row["evaluations"] for row in rows)),
        "search/seconds": seconds,
    }
    if constants:
        metrics["search/constant_targets"] = float(constants)
    rows = [row for row in rows if row["stopped"] != "constant"]
    if not rows:
        return metrics
    scores = np.array([row["test_r2"] for row in rows])
    metrics |= {
        "test/r2_median": float(np.median(scores)),
        "test/r2_min": float(scores.min()),
        "test/accuracy_rate": float(np.mean(scores > ACCURATE_R2)),
        "search/1-r2_median": float(np.median(1.0 - scores)),
        "search/complexity_median": float(np.median([row["complexity"] for row in rows])),
    }
    known = [row for row in rows if row["recovered"] is not None]
    if known:
        metrics["test/recovered_rate"] = float(np.mean([bool(row["recovered"]) for row in known]))
        metrics["test/equivalent_rate"] = float(np.mean([bool(row["equivalent"]) for row in known]))
    return metrics


def polynomial_r2(train: Rows, test: Rows, degree: int) -> float | None:
    """Held-out R2 of the least-squares polynomial with all monomials up to `degree`: what an equation must beat.

    None where there would be more than 2,000 monomials or as many as rows.
    """
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    rows, variables = train[0].shape
    monomials = math.comb(variables + degree, degree)
    if monomials > min(_MOST_MONOMIALS, rows - 1):
        return None
    # Scaled first: cubes of raw columns would lose half of the digits.
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(degree, include_bias=False), StandardScaler(), LinearRegression()
    )
    return r2(test[1], model.fit(*train).predict(test[0]))


# --- figures ----------------------------------------------------------------------------------------------------


def draw_figures(run_dir: Path, finding: Finding, names: Sequence[str], network: Any) -> list[Path]:
    """Plots of one finding under `plots/`.

    Args:
        run_dir: the run directory.
        finding: what was found.
        names: of the variables.
        network: what was rewritten, `[points, variables] -> [points]`.
    """
    from reports import figures

    folder = run_dir / "plots"
    inputs, target = finding.test
    equation = finding.chosen.expression
    title = f"{finding.target}, trial {finding.trial}"
    baselines = {
        name: 1.0 - score
        for name, degree in (("linear", 1), ("cubic", 3))
        if (score := polynomial_r2(finding.train, finding.test, degree)) is not None
    }
    return [
        figures.latent_scatter(target, equation(inputs), folder / f"{finding.label}_values.png", title),
        figures.surface(inputs, network, equation, folder / f"{finding.label}_surface.png", title, names=names),
        figures.pareto_front(
            [c.complexity for c in finding.front],
            [c.train_nmse for c in finding.front],
            folder / f"{finding.label}_front.png",
            title,
            validation=[c.validation_nmse for c in finding.front],
            chosen=finding.front.candidates.index(finding.chosen),
            baselines=baselines,
        ),
    ]


def draw_fit(run_dir: Path, finding: Finding) -> list[Path]:
    """Plots of one finding where there is no network beside it: target against equation, and the front."""
    from reports import figures

    folder = run_dir / "plots"
    inputs, target = finding.test
    title = finding.target if finding.problem == finding.target else f"{finding.problem}: {finding.target}"
    return [
        figures.latent_scatter(
            target, finding.chosen.expression(inputs), folder / f"{finding.label}_values.png", title
        ),
        figures.pareto_front(
            [c.complexity for c in finding.front],
            [c.train_nmse for c in finding.front],
            folder / f"{finding.label}_front.png",
            title,
            validation=[c.validation_nmse for c in finding.front],
            chosen=finding.front.candidates.index(finding.chosen),
        ),
    ]


def draw_curves(run_dir: Path, findings: Sequence[Finding]) -> list[Path]:
    """The learning curve of the model and the course of the searches, under `plots/`."""
    from reports import figures

    plots: list[Path] = []
    if (run_dir / "metrics.csv").exists():
        plots.append(figures.learning_curve(run_dir / "metrics.csv", run_dir / "plots" / "learning_curve.png"))
    histories = {finding.label: finding.history for finding in findings if finding.history}
    if histories:
        plots.append(figures.search_curve(histories, run_dir / "plots" / "search_curve.png"))
    return plots


# --- W&B --------------------------------------------------------------------------------------------------------


class SearchLog:
    """Sends searches to W&B under a step of their own; does nothing where there is no W&B logger."""

    def __init__(self, trainer: Trainer) -> None:
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        self.run: Any = loggers[0].experiment if loggers and trainer.is_global_zero else None
        self._defined: set[str] = set()

    def generations(self, label: str, entries: Iterable[Mapping[str, float]]) -> None:
        """Generations of one search: best error, complexity, evaluations per second, front size."""
        if self.run is None:
            return
        step = f"search/{label}/generation"
        for entry in entries:
            named = {f"search/{label}/{key}": value for key, value in entry.items()}
            if label not in self._defined:  # exact names: a glob would not give them a step of their own
                self._defined.add(label)
                self.run.define_metric(step)
                for name in named:
                    self.run.define_metric(name, step_metric=step)
            self.run.log(named)

    def improvements(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """The best equation as text at each improvement."""
        if self.run is None or not entries:
            return
        import wandb

        table = wandb.Table(columns=list(entries[0]), data=[list(entry.values()) for entry in entries])
        self.run.log({"search/improvements": table})

    def findings(
        self, run_dir: Path, findings: Sequence[Finding], names: Sequence[str], plots: Sequence[Path]
    ) -> None:
        """The equations as tables with LaTeX, the fronts as plots and as an artifact."""
        if self.run is None:
            return
        import wandb

        chosen = wandb.Table(
            columns=["problem", "trial", "equation", "latex", "complexity", "test_r2", "test_mse"]
        )
        front = wandb.Table(columns=["search", "complexity", "train_nmse", "validation_nmse", "equation"])
        for finding in findings:
            scores = _scores(finding.chosen, finding, names)
            latex = wandb.Html(f"\\({scores['latex']}\\)", inject=False)
            chosen.add_data(
                finding.problem, finding.trial, scores["infix"], latex,
                scores["complexity"], scores["test_r2"], scores["test_mse"],
            )  # fmt: skip
            for c in finding.front:
                infix = c.expression.infix(finding.names or names)
                front.add_data(finding.label, c.complexity, c.train_nmse, c.validation_nmse, infix)
        self.run.log(
            {
                "search/equations": chosen,
                "search/front": front,
                "search/front_plot": wandb.plot.scatter(front, "complexity", "train_nmse", title="Pareto front"),
                **{f"plots/{path.stem}": wandb.Image(str(path)) for path in plots},
            }
        )
        artifact = wandb.Artifact(f"equations-{self.run.id}", type="equations")
        artifact.add_file(str(run_dir / "equations.csv"))
        self.run.log_artifact(artifact)
