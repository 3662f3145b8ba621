"""The plots of a run: plain functions, each of which writes one PNG file whole or not at all.

No function here knows Lightning. Colours are those of `reports.figure_parts.canvas`, and viridis, which can be
told apart with any kind of colour vision, and in grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from reports.figure_parts.canvas import (
    BLACK,
    BLUE,
    GREEN,
    PLATE,
    VERMILLION,
    headed,
    limits,
    percentiles,
    plain,
    png,
    shortened,
)
from runs.metrics_file import losses, read_metrics

__all__ = [
    "latent_scatter",
    "learning_curve",
    "pareto_front",
    "search_curve",
    "surface",
]

ERROR_FLOOR = 1e-16
"""An exact equation has error 0, which a logarithmic axis cannot show; it is drawn here."""
GRID = 120
"""Points a side of a surface: fine enough for its contours, and 14,400 evaluations."""
MOST_DOTS = 2000
"""Rows drawn as dots; more of them are shown as counts, or thinned out."""

Values = Callable[[np.ndarray], np.ndarray]
"""Inputs `[points, features]` in the table's own units -> values `[points]`."""


def latent_scatter(
    true: np.ndarray,
    predicted: np.ndarray,
    path: str | Path,
    title: str = "",
    *,
    formula: str = "",
    name: str = "latent",
    source: str = "network",
) -> Path:
    """The equation's value against the network's or the measured one, row by row, with the line of agreement.

    Both axes end where 99.8 % of the true values do, widened by a tenth; rows outside are counted in the
    corner, and R2 (unclipped) is that of all rows.

    Args:
        true: `[rows]`, what the network says, or what was measured.
        predicted: `[rows]`, what the equation says; values that are not finite are counted, not drawn.
        path: The PNG file to write.
        title: One line above the plot.
        formula: Text of the equation, shown below the title.
        name: Name of the quantity, with its unit where it has one, for the axes.
        source: Where the true values come from: `network`, or `measured`.

    Returns:
        The path.
    """
    true = np.asarray(true, dtype=np.float64).ravel()
    predicted = np.asarray(predicted, dtype=np.float64).ravel()
    low, high = limits(true, 0.1)
    with png(path, (4.8, 4.5)) as figure:
        axes = figure.add_subplot(aspect="equal")
        inside = (true >= low) & (true <= high) & (predicted >= low) & (predicted <= high)
        if inside.sum() > MOST_DOTS:
            hexagons = axes.hexbin(
                true[inside], predicted[inside], gridsize=55, extent=(low, high, low, high), mincnt=1,
                norm=LogNorm(vmin=1), cmap="viridis_r", linewidths=0,
            )  # fmt: skip
            figure.colorbar(hexagons, ax=axes, label="rows in a cell", shrink=0.8)
        else:
            axes.plot(true[inside], predicted[inside], ".", color=BLUE, alpha=0.5, ms=4, mew=0)
        axes.plot([low, high], [low, high], color=VERMILLION, linewidth=1, label="equal")
        outside = int((~inside).sum())
        lines = [f"$R^2$ = {_r2_text(true, predicted)}"]
        lines += [f"{outside:,} of {len(true):,} rows outside"] if outside else []
        axes.text(0.03, 0.97, "\n".join(lines), transform=axes.transAxes, va="top", bbox=PLATE)
        headed(figure, axes, title, formula)
        axes.set(xlim=(low, high), ylim=(low, high))
        axes.set(xlabel=plain(f"{name}, {source}"), ylabel=plain(f"{name}, equation"))
    return Path(path)


def surface(
    inputs: np.ndarray,
    network: Values,
    equation: Values,
    path: str | Path,
    title: str = "",
    *,
    formula: str = "",
    name: str = "value",
    names: Sequence[str] | None = None,
    important: tuple[int, int] | None = None,
) -> Path:
    """A latent as the network has it, as its equation has it, and the difference, over the inputs.

    Of more than two inputs, the two are varied whose shuffling changes the network's value most, the others
    stand at their medians; with a single one, curves are drawn in place of contours. Each axis ends at the
    1st and 99th percentile of the rows, where nearly all of the data are; dots are rows.

    Args:
        inputs: `[rows, features]`, the table's rows in its own units.
        network: The latent's value at any inputs.
        equation: The equation's value at any inputs; where it is not finite, the panel stays grey.
        path: The PNG file to write.
        title: One line above the plot.
        formula: Text of the equation, shown below the title.
        name: Name of the quantity, for the axes.
        names: Names of the features; None: x0, x1, ….
        important: Positions of the two features to vary, instead of the two found.

    Returns:
        The path.
    """
    inputs = np.asarray(inputs, dtype=np.float64)
    names = [f"x{index}" for index in range(inputs.shape[1])] if names is None else names
    if inputs.shape[1] == 1:
        return _curves(inputs, network, equation, Path(path), title, formula, (names[0], name))
    first, second = important or _two_most_important(inputs, network)
    x, y = (np.linspace(*percentiles(inputs[:, column], 1), GRID) for column in (first, second))
    points = np.tile(np.median(inputs, axis=0), (GRID * GRID, 1))
    points[:, first], points[:, second] = np.tile(x, GRID), np.repeat(y, GRID)
    true, found = (_call(function, points).reshape(GRID, GRID) for function in (network, equation))

    residual = found - true
    largest = percentiles(np.abs(residual[np.isfinite(residual)]), 1)[1]
    levels = np.asarray(MaxNLocator(20).tick_values(*percentiles(true[np.isfinite(true)], 0.5)))
    bounds = np.asarray(MaxNLocator(20, symmetric=True).tick_values(-largest, largest))
    with png(path, (11.6, 4.0)) as figure:
        panels = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, values, heading in zip(panels, (true, found), ("network", "equation"), strict=False):
            value = _contours(axes, x, y, values, levels, "viridis", heading)
        _colour_bar(figure, value, panels[:2], levels, plain(name))
        difference = _contours(panels[2], x, y, residual, bounds, "PuOr", "equation minus network")
        _colour_bar(figure, difference, panels[2], bounds, "difference")
        dots = _thinned(inputs)
        for axes in panels:
            axes.plot(dots[:, first], dots[:, second], "k.", alpha=0.18, markersize=2.2, markeredgewidth=0)
            axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel=plain(names[first]))
        panels[0].set_ylabel(plain(names[second]))
        notes = [plain(title)] if title else []
        notes += ["other inputs at their medians"] if inputs.shape[1] > 2 else []
        notes += [] if np.isfinite(residual).all() else ["grey: not a finite number"]
        lines = ["; ".join(notes), plain(shortened(formula, figure.get_figwidth() - 0.3, 11.0))]
        figure.suptitle("\n".join(line for line in lines if line), x=0.01, ha="left", fontsize=11)
    return Path(path)


def pareto_front(
    complexity: Sequence[float],
    error: Sequence[float],
    path: str | Path,
    title: str = "",
    *,
    formula: str = "",
    validation: Sequence[float] | None = None,
    chosen: int | None = None,
    baselines: Mapping[str, float] | None = None,
) -> Path:
    """The error that each complexity buys.

    Args:
        complexity: `[points]`, nodes of each equation.
        error: `[points]`, its normalised squared error, 1 - R2, on the rows it was fitted to; 0 is drawn at
        1e-16.
        path: The PNG file to write.
        title: One line above the plot.
        formula: Text of the equation that was picked, shown below the title.
        validation: `[points]`, the error on rows it was not fitted to.
        chosen: Which point was picked.
        baselines: Name -> error of other models, drawn as lines, such as a linear and a cubic fit.

    Returns:
        The path.
    """
    size = np.asarray(complexity, dtype=np.float64)
    order = np.argsort(size, kind="stable")
    with png(path, (6.0, 4.2)) as figure:
        axes = figure.add_subplot()
        curves = [("fitted rows", error, BLUE, "o-")]
        curves += [] if validation is None else [("held-out rows", validation, GREEN, "s--")]
        for label, values, colour, style in curves:
            shown = _floored(values)
            axes.plot(size[order], shown[order], style, color=colour, markersize=4.5, label=label)
            if chosen is not None and label == curves[-1][0]:
                axes.plot(size[chosen], shown[chosen], "o", markersize=13, markerfacecolor="none",
                          markeredgecolor=VERMILLION, markeredgewidth=2, label="chosen")  # fmt: skip
        for index, (label, value) in enumerate((baselines or {}).items()):
            axes.axhline(
                _floored([value])[0], color="#777777", linewidth=1, linestyle=((":", "-.", "--")[index % 3])
            )
            axes.annotate(plain(label), (1, _floored([value])[0]), xycoords=("axes fraction", "data"), ha="right",
                          va="bottom", fontsize=8.5, color="#555555")  # fmt: skip
        _log_axis(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        headed(figure, axes, title, formula)
        axes.set(xlabel="complexity (nodes)", ylabel="error $1 - R^2$")
        axes.legend()
    return Path(path)


def learning_curve(metrics_csv: str | Path, path: str | Path, title: str = "", *, formula: str = "") -> Path:
    """Losses and errors by epoch.

    Args:
        metrics_csv: The file that Lightning's CSVLogger writes, even with an incomplete last line.
        path: The PNG file to write.
        title: One line above the plot.
        formula: Text of the equation that the model led to, shown below the title.

    Returns:
        The path; where no loss was logged, the plot says so.
    """
    curves = losses(read_metrics(metrics_csv))
    with png(path, (6.0, 4.0)) as figure:
        axes = figure.add_subplot()
        for name, points in curves.items():
            x, y = np.array(points).T
            axes.plot(x, y, "-" if len(x) > 1 else "o", label=plain(name))
        positive = [value for points in curves.values() for _, value in points]
        if positive and min(positive) > 0 and max(positive) / min(positive) > 20:
            _log_axis(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        headed(figure, axes, title, formula)
        axes.set(xlabel="epoch", ylabel="loss")
        if curves:
            axes.legend()
        else:
            axes.text(0.5, 0.5, "no loss was logged", transform=axes.transAxes, ha="center", color="#777777")
    return Path(path)


def search_curve(
    history: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]],
    path: str | Path,
    title: str = "",
    *,
    formula: str = "",
    error: str = "best_nmse",
    length: str = "best_length",
) -> Path:
    """The best equation's error and length, generation by generation.

    Args:
        history: One mapping per generation with `generation` and the two keys below; or several such histories,
            by the name of their search.
        path: The PNG file to write.
        title: One line above the plot.
        formula: Text of the best equation, shown below the title.
        error: Key of the best error, 1 - R2; 0 is drawn at 1e-16.
        length: Key of the number of tokens in the best equation's program.

    Returns:
        The path.
    """
    searches = history if isinstance(history, Mapping) else {"": history}
    with png(path, (6.0, 4.8)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        for name, rows in searches.items():
            generation = [row.get("generation", index) for index, row in enumerate(rows)]
            errors = _floored([_value(row.get(error)) for row in rows])
            style = {"linewidth": 1.2, "alpha": 0.9} if len(searches) > 1 else {}
            upper.plot(generation, errors, drawstyle="steps-post", label=plain(name), **style)
            sizes = [_value(row.get(length)) for row in rows]
            lower.plot(generation, sizes, drawstyle="steps-post", **style)
        _log_axis(upper)
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        headed(figure, upper, title, formula)
        upper.set(ylabel="best error $1 - R^2$")
        lower.set(xlabel="generation", ylabel="tokens of the best", ylim=(0, None))
        if len(searches) > 1:
            columns = math.ceil(len(searches) / 6)
            upper.legend(ncols=columns, fontsize=8 if columns > 1 else 9)
    return Path(path)


def error_bands(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    path: str | Path,
    title: str = "",
    *,
    x_label: str = "instances",
    y_label: str = "best mean absolute error",
) -> Path:
    """Mean and standard deviation of several runs' best error, for each of some methods.

    Args:
        curves: Method -> instances, mean and standard deviation, `[points]` each.
        path: The PNG file to write.
        title: One line above the plot.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.

    Returns:
        The path.
    """
    with png(path, (6.0, 4.0)) as figure:
        axes = figure.add_subplot()
        for name, (x, mean, deviation) in curves.items():
            (line,) = axes.plot(x, mean, label=plain(name))
            axes.fill_between(
                x, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2, linewidth=0
            )
        axes.set(xscale="log", ylim=(0, None), xlabel=x_label, ylabel=y_label, title=plain(title))
        if curves:
            axes.legend()
    return Path(path)


# --------------------------------------------------------------------------------------------- details


def _contours(
    axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: np.ndarray, colours: str, heading: str
) -> ContourSet:
    """Filled contours of `values [y, x]` under a heading; grey where they are not finite."""
    shown = np.ma.masked_invalid(values)
    filled = axes.contourf(x, y, shown, levels=levels, cmap=colours, extend="both")
    axes.contour(x, y, shown, levels=levels[::4], colors="white", linewidths=0.6, linestyles="solid")
    axes.set(title=heading, facecolor="#cccccc")
    axes.grid(False)
    return filled


def _colour_bar(figure: Figure, filled: ContourSet, axes: Any, levels: np.ndarray, label: str) -> None:
    """A colour bar whose ticks lie within the levels."""
    ticks = np.asarray(MaxNLocator(6).tick_values(levels[0], levels[-1]))
    inside = (ticks >= levels[0]) & (ticks <= levels[-1])
    figure.colorbar(filled, ax=axes, shrink=0.9, label=label, ticks=ticks[inside])


def _curves(
    inputs: np.ndarray,
    network: Values,
    equation: Values,
    path: Path,
    title: str,
    formula: str,
    labels: tuple[str, str],
) -> Path:
    """`surface` of a single input, with the labels of its two axes."""
    x = np.linspace(*percentiles(inputs[:, 0], 1), 4 * GRID)
    true, found = (_call(function, x[:, None]) for function in (network, equation))
    with png(path, (6.0, 4.8)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot(x, true, color=BLUE, linewidth=2.5, label="network")
        upper.plot(x, found, color=VERMILLION, linewidth=1.2, linestyle="--", label="equation")
        dots = _thinned(inputs)[:, 0]
        upper.plot(
            dots, np.zeros_like(dots), "|", color="black", alpha=0.15, transform=upper.get_xaxis_transform()
        )
        lower.plot(x, found - true, color=BLACK, linewidth=1)
        headed(figure, upper, title, formula)
        upper.set(ylabel=plain(labels[1]), xlim=(x[0], x[-1]))
        lower.set(xlabel=plain(labels[0]), ylabel="difference")
        upper.legend()
    return path


def _call(function: Values, points: np.ndarray) -> np.ndarray:
    """Values `[points]`, float64; a constant equation may give a single one."""
    with np.errstate(all="ignore"):  # what is not finite is shown as such
        values = np.asarray(function(points), dtype=np.float64)
    return np.broadcast_to(values.reshape(-1) if values.size > 1 else values.reshape(1), (len(points),))


def _two_most_important(inputs: np.ndarray, network: Values) -> tuple[int, int]:
    """Positions of the two features whose shuffling changes the value most, in the features' order."""
    rng = np.random.default_rng(0)
    rows = inputs[rng.permutation(len(inputs))[:MOST_DOTS]]
    before = _call(network, rows)
    change = []
    for column in range(inputs.shape[1]):
        shuffled = rows.copy()
        shuffled[:, column] = rng.permutation(rows[:, column])
        change.append(np.nanmean(np.abs(_call(network, shuffled) - before)))
    first, second = sorted(np.argsort(np.nan_to_num(change), kind="stable")[::-1][:2].tolist())
    return first, second


def _thinned(inputs: np.ndarray) -> np.ndarray:
    """At most `MOST_DOTS` rows, the same ones every time."""
    return inputs[np.random.default_rng(0).permutation(len(inputs))[:MOST_DOTS]]


def _floored(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Errors as a logarithmic axis can show them; NaN where there is none."""
    errors = np.asarray(values, dtype=np.float64)
    errors = np.where(np.isfinite(errors), errors, np.nan)
    return np.maximum(errors, ERROR_FLOOR)


def _log_axis(axes: Axes) -> None:
    """A logarithmic y axis with labelled powers of ten, and 2s and 5s where these are few."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if low > 0 and high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _r2_text(true: np.ndarray, predicted: np.ndarray) -> str:
    """R2 of all rows: with the digits that tell a good equation from a better one."""
    if not np.all(np.isfinite(predicted)):
        return f"undefined ({int((~np.isfinite(predicted)).sum()):,} rows not finite)"
    total = np.sum((true - true.mean()) ** 2)
    score = 1 - np.sum((true - predicted) ** 2) / total if total > 0 else math.nan
    return f"{score:.6f}" if score > 0.99 else f"{score:.4g}"


def _value(number: Any) -> float:
    """A number for a plot: NaN, which is not drawn, for None."""
    return math.nan if number is None else float(number)
