"""Plots of what a search found, under `plots/` in the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports import figures
from reports.findings import Finding
from reports.polynomial_baselines import polynomial_r2

__all__ = ["draw_curves", "draw_figures", "draw_fit"]


def draw_figures(run_dir: Path, finding: Finding, names: Sequence[str], network: figures.Values) -> list[Path]:
    """Draw an equation that rewrites a network: values, surface, Pareto front with polynomial baselines.

    Args:
        run_dir: Run directory.
        finding: Result of the search.
        names: Variable names.
        network: Function that was rewritten, `[points, variables] -> [points]`.
    """
    title = f"{finding.target}, trial {finding.trial}"
    baselines = {
        name: 1.0 - score
        for name, degree in (("linear", 1), ("cubic", 3))
        if (score := polynomial_r2(finding.train, finding.test, degree)) is not None
    }
    surface = run_dir / "plots" / f"{finding.label}_surface.png"
    equation = finding.chosen.expression
    return [
        _values(run_dir, finding, title),
        figures.surface(finding.test[0], network, equation, surface, title, names=names),
        _front(run_dir, finding, title, baselines),
    ]


def draw_fit(run_dir: Path, finding: Finding) -> list[Path]:
    """Draw an equation that has no network beside it: target against equation, and the Pareto front.

    Args:
        run_dir: Run directory.
        finding: Result of the search.
    """
    title = finding.target if finding.problem == finding.target else f"{finding.problem}: {finding.target}"
    return [_values(run_dir, finding, title), _front(run_dir, finding, title)]


def draw_curves(run_dir: Path, findings: Sequence[Finding]) -> list[Path]:
    """Draw the learning curve of the model and the course of the searches.

    Args:
        run_dir: Run directory.
        findings: Results of all searches.
    """
    plots: list[Path] = []
    if (run_dir / "metrics.csv").exists():
        plots.append(figures.learning_curve(run_dir / "metrics.csv", run_dir / "plots" / "learning_curve.png"))
    histories = {finding.label: finding.history for finding in findings if finding.history}
    if histories:
        plots.append(figures.search_curve(histories, run_dir / "plots" / "search_curve.png"))
    return plots


def _values(run_dir: Path, finding: Finding, title: str) -> Path:
    inputs, target = finding.test
    path = run_dir / "plots" / f"{finding.label}_values.png"
    return figures.latent_scatter(target, finding.chosen.expression(inputs), path, title)


def _front(run_dir: Path, finding: Finding, title: str, baselines: dict[str, float] | None = None) -> Path:
    return figures.pareto_front(
        [candidate.complexity for candidate in finding.front],
        [candidate.train_nmse for candidate in finding.front],
        run_dir / "plots" / f"{finding.label}_front.png",
        title,
        validation=[candidate.validation_nmse for candidate in finding.front],
        chosen=finding.front.candidates.index(finding.chosen),
        baselines=baselines,
    )
