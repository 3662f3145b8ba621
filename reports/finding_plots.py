"""Plots of what a search found, under `plots/` in the run directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from reports import figures
from reports.findings import Finding

__all__ = ["draw_curves", "draw_figures", "draw_fit", "formula"]


def draw_figures(run_dir: Path, finding: Finding, names: Sequence[str], network: figures.Values) -> list[Path]:
    """Draw an equation that rewrites a network: values, surface, Pareto front with polynomial baselines.

    Args:
        run_dir: Run directory.
        finding: Result of the search.
        names: Variable names.
        network: Function that was rewritten, `[points, variables] -> [points]`.
    """
    title = f"{finding.target}, trial {finding.trial}"
    rows = "" if finding.polynomial_rows is None else f", {finding.polynomial_rows:,} rows"
    baselines = {f"{name}{rows}": 1.0 - score for name, score in finding.polynomials.items() if score is not None}
    surface = figures.surface(
        finding.test[0],
        network,
        finding.chosen.expression,
        run_dir / "plots" / f"{finding.label}_surface.png",
        title,
        formula=formula(finding, names),
        name=finding.target,
        names=names,
    )
    return [
        _values(run_dir, finding, names, title),
        surface,
        _front(run_dir, finding, names, title, baselines),
    ]


def draw_fit(run_dir: Path, finding: Finding, names: Sequence[str]) -> list[Path]:
    """Draw an equation that has no network beside it: target against equation, and the Pareto front.

    Args:
        run_dir: Run directory.
        finding: Result of the search.
        names: Variable names, where the finding has none of its own.
    """
    quantity = finding.measured or finding.target
    title = quantity if finding.problem == finding.target else f"{finding.problem}: {quantity}"
    return [_values(run_dir, finding, names, title), _front(run_dir, finding, names, title)]


def draw_curves(run_dir: Path, findings: Sequence[Finding], names: Sequence[str]) -> list[Path]:
    """Draw the learning curve of the model and the course of the searches, with the formula of a single search.

    Args:
        run_dir: Run directory.
        findings: Results of all searches.
        names: Variable names, where the findings have none of their own.
    """
    folder, plots = run_dir / "plots", []
    found = formula(findings[0], names) if len(findings) == 1 else ""
    if (run_dir / "metrics.csv").exists():
        curve = folder / "learning_curve.png"
        plots.append(figures.learning_curve(run_dir / "metrics.csv", curve, "learning curve", formula=found))
    histories = {finding.label: finding.history for finding in findings if finding.history}
    if histories:
        curve = folder / "search_curve.png"
        plots.append(figures.search_curve(histories, curve, "course of the search", formula=found))
    return plots


def formula(finding: Finding, names: Sequence[str], digits: int = 4) -> str:
    """The picked equation as a line for the eye, with the name of its target and rounded constants.

    Args:
        finding: Result of the search.
        names: Variable names, where the finding has none of its own.
        digits: Number of significant digits of the constants.
    """
    text = finding.chosen.expression.infix(finding.names or names)
    rounded = re.sub(r"(?<![\w.])\d+\.\d+(e[+-]?\d+)?", lambda number: f"{float(number[0]):.{digits}g}", text)
    return f"{finding.measured or finding.target} = {rounded}"


def _values(run_dir: Path, finding: Finding, names: Sequence[str], title: str) -> Path:
    inputs, target = finding.test
    return figures.latent_scatter(
        target,
        finding.chosen.expression(inputs),
        run_dir / "plots" / f"{finding.label}_values.png",
        title,
        formula=formula(finding, names),
        name=finding.measured or finding.target,
        source="network" if finding.measured is None else "measured",
    )


def _front(
    run_dir: Path, finding: Finding, names: Sequence[str], title: str, baselines: dict[str, float] | None = None
) -> Path:
    return figures.pareto_front(
        [candidate.complexity for candidate in finding.front],
        [candidate.train_nmse for candidate in finding.front],
        run_dir / "plots" / f"{finding.label}_front.png",
        title,
        formula=formula(finding, names),
        validation=[candidate.validation_nmse for candidate in finding.front],
        chosen=finding.front.candidates.index(finding.chosen),
        baselines=baselines,
    )
