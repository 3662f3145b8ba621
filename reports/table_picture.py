"""A picture of what a run found: rows of a table, the equation of its target, and how well the two agree.

python -m reports.table_picture RUN_DIR TABLE.csv PICTURE.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from datamodules.tables.table import check_table
from expressions.parsing import parse
from foundation.errors import UserError
from foundation.terminal import say
from reports.figure_parts.canvas import BLUE, VERMILLION, plain, png
from reports.findings import heading_of_target
from runs.reader import read_run

__all__ = ["table_picture"]

ROWS = 6
"""Number of the table's rows that are shown."""
LARGEST = 20.0
"""Size of an equation that has room, in points."""
GREY, DARK = "#777777", "#222222"


def table_picture(run_dir: str | Path, table: str | Path, path: str | Path) -> Path:
    """Draw the table, its equation, and the equation's values against the measured ones.

    Args:
        run_dir: run directory whose first equation is drawn; the equation's variables are columns of the table.
        table: file with the table that the run has searched.
        path: PNG file to write.

    Returns:
        The path.

    Raises:
        UserError: the run has no equation, or the table cannot be read or lacks its columns.
    """
    equations = read_run(Path(run_dir)).equations
    if not equations:
        raise UserError(f"{str(run_dir)!r} holds no equation: give a run whose search has ended")
    equation = equations[0]
    read = check_table(table, str(equation["target"]))
    assert read.target is not None
    expression = parse(str(equation["infix"]), read.feature_names)
    target = heading_of_target(read)
    columns = dict(zip([*read.columns, target], [*read.inputs.T, read.target], strict=True))
    with png(path, (11.0, 3.0)) as figure:
        figure.set_layout_engine("none")
        _draw_rows(figure.add_axes((0.0, 0.02, 0.38, 0.96)), pd.DataFrame(columns), target)
        _draw_arrow(figure, (0.392, 0.54), (0.425, 0.54))
        latex = expression.latex(read.feature_names, digits=3)
        _draw_equation(figure.add_axes((0.437, 0.0, 0.313, 1.0)), latex, equation)
        agreement = figure.add_axes((0.83, 0.21, 0.16, 0.7))
        _draw_agreement(agreement, read.target, expression(read.inputs), target)
    return Path(path)


def _draw_rows(axes: Axes, frame: pd.DataFrame, target: str) -> None:
    """The head of the table: columns as wide as their names, the target in a colour of its own."""
    axes.set_axis_off()
    widths = np.array([max(len(str(name)), 7) + 2 for name in frame.columns], dtype=np.float64)
    edges = np.cumsum(widths)
    axes.set(xlim=(0, edges[-1] + 1), ylim=(-ROWS - 1.4, 0.6))
    for edge, name in zip(edges, frame.columns, strict=True):
        style: dict[str, Any] = {
            "ha": "right",
            "va": "center",
            "fontsize": 10,
            "color": VERMILLION if name == target else DARK,
        }
        decimals = max(len(f"{value:g}".partition(".")[2]) for value in frame[name].head(ROWS))
        axes.text(edge, 0, plain(str(name)), weight="bold", **style)
        for row, value in enumerate(frame[name].head(ROWS)):
            axes.text(edge, -row - 1, f"{value:.{decimals}f}", **style)
    axes.plot((1, edges[-1]), (-0.5, -0.5), color="#bbbbbb", linewidth=0.8)
    axes.text(edges[-1], -ROWS - 1, f"… {len(frame):,} rows", ha="right", va="center", fontsize=9, color=GREY)


def _draw_equation(axes: Axes, latex: str, found: Mapping[str, Any]) -> None:
    """The equation, as large as its room allows, and its scores."""
    axes.set_axis_off()
    target = str(found["target"]).replace("_", r"\_")
    roomy = latex.replace(r"\frac", r"\dfrac").replace(r"\,", r"\;\,")
    formula = rf"$\mathrm{{{target}}} \;=\; {roomy}$"
    text = axes.text(0.5, 0.55, formula, ha="center", va="center", fontsize=LARGEST, color=DARK)
    share = text.get_window_extent().width / axes.get_window_extent().width
    text.set_fontsize(LARGEST / max(1.0, share))
    note = f"{found['complexity']} nodes · $R^2$ = {found['test_r2']:.5f} on test rows"
    axes.text(0.5, 0.16, note, ha="center", va="center", fontsize=9.5, color=GREY)


def _draw_agreement(axes: Axes, measured: np.ndarray, predicted: np.ndarray, target: str) -> None:
    limits = (0.0 if measured.min() >= 0 else float(measured.min()), 1.05 * float(measured.max()))
    axes.plot(limits, limits, color=VERMILLION, linewidth=1.2)
    axes.plot(measured, predicted, "o", color=BLUE, markersize=4, markeredgewidth=0, alpha=0.55)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set(xlabel=plain(f"{target}, measured"), ylabel=plain(f"{target}, equation"))
    axes.locator_params(nbins=3)


def _draw_arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", color=GREY, linewidth=1.6, mutation_scale=16)
    arrow.set_transform(figure.transFigure)
    figure.add_artist(arrow)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m reports.table_picture", description="Draw a run's equation.")
    parser.add_argument("run", metavar="RUN_DIR", help="run directory")
    parser.add_argument("table", metavar="TABLE.csv", help="table that the run has searched")
    parser.add_argument("picture", metavar="PICTURE.png", help="file to write")
    options = parser.parse_args(arguments)
    say(f"wrote {table_picture(options.run, options.table, options.picture)}")


if __name__ == "__main__":
    main()
