"""The plots of a discovery's page, as inline SVG without a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from expressions.constant_intervals import ConstantIntervals
from expressions.expression import Expression
from expressions.gradient import gradient
from reports.discovery_parts.result import Discovery
from reports.html_parts.axes import Frame, Scale
from reports.html_parts.escaping import escape
from reports.polynomial_baselines import Rows
from searches.pareto_front import Candidate

__all__ = [
    "Sensitivity", "Sheet", "front_plot", "prediction_plot", "residual_plot", "sensitivities", "sensitivity_plot",
    "slice_plot",
]  # fmt: skip

_MOST_DOTS = 750  # of the rows of the fit, and as many of those held out
_CURVE_POINTS = 160
_DECADES = 3.0  # that positive values span where their axis is logarithmic
_FLOOR = 1e-34  # an error of 0 on a logarithmic axis


@dataclass(frozen=True)
class Sheet:
    """The rows that are drawn: some of the fit and some held out, the same ones every time, where all is finite.

    Attributes:
        inputs: values of the variables. `[dots, variables]`
        target: values of the target. `[dots]`
        predicted: values of the equation. `[dots]`
        held_out: whether a row is held out. `[dots]` bool
        left_out: number of drawn rows where the equation is not finite.
    """

    inputs: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    held_out: np.ndarray
    left_out: int

    @classmethod
    def of(cls, expression: Expression, train: Rows, held_out: Rows | None) -> Sheet:
        """Some of the rows, with the equation's values."""
        tables = [_some(train), *([] if held_out is None else [_some(held_out)])]
        inputs = np.concatenate([table[0] for table in tables])
        target = np.concatenate([table[1] for table in tables])
        is_held_out = np.repeat([False, True][: len(tables)], [len(table[1]) for table in tables])
        predicted = expression(inputs)
        kept = np.isfinite(predicted)
        return cls(
            inputs[kept], target[kept], predicted[kept], is_held_out[kept], int(len(kept) - np.count_nonzero(kept))
        )


def _some(rows: Rows) -> Rows:
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows[1]))[:_MOST_DOTS])
    return rows[0][chosen], rows[1][chosen]


@dataclass(frozen=True)
class Sensitivity:
    """What a variable does to the equation's value.

    Attributes:
        variable: position among the inputs.
        share: mean magnitude of the derivative times the variable's standard deviation, as a share of the sum over
            all variables.
    """

    variable: int
    share: float


def sensitivities(expression: Expression, inputs: np.ndarray) -> list[Sensitivity]:
    """Shares of the variables that occur, the largest first; empty where no derivative is finite."""
    sizes = {}
    for variable, slopes in gradient(expression, inputs).items():
        finite = np.abs(slopes[np.isfinite(slopes)])
        with np.errstate(over="ignore"):
            sizes[variable] = float(np.mean(finite) * np.std(inputs[:, variable])) if len(finite) else 0.0
    total = sum(sizes.values())
    if not 0.0 < total < np.inf:
        return []
    return sorted((Sensitivity(k, size / total) for k, size in sizes.items()), key=lambda each: -each.share)


# --- plots ---------------------------------------------------------------------------------------------------


def prediction_plot(sheet: Sheet, target: str) -> str:
    """Predicted against true values."""
    both = np.concatenate([sheet.target, sheet.predicted]).tolist()
    scale = Scale.around(both, _DECADES, 0.04)
    frame = Frame(scale, scale, 420, 340, left=72)
    corners = (frame.left, frame.height - frame.bottom), (frame.width - frame.right, frame.top)
    diagonal = f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y in corners)}"/>'
    return _svg(
        frame,
        f"equation against {target}",
        [
            *frame.axes(f"{target}, true", "equation", 5),
            diagonal,
            *_two_kinds(frame, sheet, sheet.target, sheet.predicted),
        ],
    )


def residual_plot(sheet: Sheet, target: str) -> str:
    """Residuals against predicted values."""
    residual = sheet.target - sheet.predicted
    frame = Frame(
        Scale.around(sheet.predicted.tolist(), _DECADES, 0.04),
        Scale.around([*residual.tolist(), 0.0], margin=0.04), 420, 340, left=72,
    )  # fmt: skip
    zero = f'<line class="line" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{{0}}" y2="{{0}}"/>'
    return _svg(
        frame,
        f"residuals of {target}",
        [
            *frame.axes("equation", f"{target}: true \N{MINUS SIGN} equation", 5),
            zero.format(f"{frame.down(0.0):.1f}"),
            *_two_kinds(frame, sheet, sheet.predicted, residual),
        ],
    )


def front_plot(discovery: Discovery, texts: Sequence[str]) -> str:
    """Errors against complexity; an equation is shown when the pointer rests on its mark."""
    errors = [max(candidate.error, _FLOOR) for candidate in discovery.front]
    sizes = [float(candidate.complexity) for candidate in discovery.front]
    frame = Frame(Scale.around(sizes, margin=0.04), Scale.around(errors, 0.5, 0.06), 720, 280)
    marks = [
        _mark(frame, candidate, error, text, candidate == discovery.chosen)
        for candidate, error, text in zip(discovery.front, errors, texts, strict=True)
    ]
    steps = _line(frame, sizes, errors, "line")
    return _svg(frame, "Pareto front", [*frame.axes("complexity (nodes)", "error (NMSE)"), steps, *marks])


def sensitivity_plot(found: Sequence[Sensitivity], names: Sequence[str]) -> str:
    """One bar a variable, with its share."""
    height, left, width = 26, 220, 720
    parts = []
    for place, each in enumerate(found):
        y, length = place * height, each.share * (width - left - 70)
        name = names[each.variable]
        parts.append(
            f'<text class="name" x="{left - 10}" y="{y + 17}" text-anchor="end">{escape(_short(name))}'
            f"<title>{escape(name)}</title></text>"
            f'<rect class="bar" x="{left}" y="{y + 6}" width="{length:.1f}" height="{height - 12}"/>'
            f'<text x="{left + length + 8:.1f}" y="{y + 17}">{100 * each.share:.3g} %</text>'
        )
    box = f"0 0 {width} {height * len(found)}"
    return f'<svg class="curves" viewBox="{box}" role="img" aria-label="sensitivity">{"".join(parts)}</svg>'


def slice_plot(
    expression: Expression,
    sheet: Sheet,
    variable: int,
    name: str,
    target: str,
    intervals: ConstantIntervals | None = None,
) -> str:
    """The equation along one variable, the others at their medians, the residuals around it, and its bands.

    Args:
        expression: equation.
        sheet: rows that are drawn.
        variable: position of the variable among the inputs.
        name: name of the variable.
        target: name of the target.
        intervals: intervals of the constants, which give a wide band for a new measurement and a narrow one for
            the law; None: there is no band.
    """
    column = sheet.inputs[:, variable]
    middle = np.median(sheet.inputs, axis=0)
    places = Scale.around(column.tolist(), _DECADES)
    ends = places.low, places.high
    points = np.logspace(*ends, _CURVE_POINTS) if places.logarithmic else np.linspace(*ends, _CURVE_POINTS)
    along, at_rows = np.tile(middle, (_CURVE_POINTS, 1)), np.tile(middle, (len(column), 1))
    along[:, variable], at_rows[:, variable] = points, column
    curve, dots = expression(along), expression(at_rows) + (sheet.target - sheet.predicted)
    drawn = np.isfinite(dots)
    if not drawn.any() or not np.isfinite(curve).any():
        return ""
    bands = (
        [] if intervals is None else [intervals.measurement(expression, along), intervals.curve(expression, along)]
    )
    values = [*curve[np.isfinite(curve)].tolist(), *dots[drawn].tolist()]
    frame = Frame(
        Scale.around(column.tolist(), _DECADES, 0.03), Scale.around(values, _DECADES, 0.04), 420, 300, left=72
    )
    shown = Sheet(sheet.inputs[drawn], sheet.target[drawn], sheet.predicted[drawn], sheet.held_out[drawn], 0)
    return _svg(
        frame,
        f"{target} along {name}",
        [
            *frame.axes(name, target, 5),
            *(part for half in bands for part in _band(frame, points, curve, half)),
            *_two_kinds(frame, shown, column[drawn], dots[drawn]),
            *(_line(frame, points[part], curve[part], "curve") for part in _finite_parts(curve)),
        ],
    )


# --- details -------------------------------------------------------------------------------------------------


def _svg(frame: Frame, label: str, parts: Iterable[str]) -> str:
    box = f"0 0 {frame.width} {frame.height}"
    return f'<svg class="curves" viewBox="{box}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _two_kinds(frame: Frame, sheet: Sheet, x: np.ndarray, y: np.ndarray) -> list[str]:
    """Dots of the rows of the fit, and over them those of the rows held out."""
    return [
        _dots(frame, x[kind], y[kind], f"c{place}")
        for place, kind in enumerate((~sheet.held_out, sheet.held_out))
        if kind.any()
    ]


def _dots(frame: Frame, x: np.ndarray, y: np.ndarray, colour: str) -> str:
    """Dots as one path of points: a tenth of the size of so many circles."""
    steps = (f"M{frame.across(a):.1f} {frame.down(b):.1f}h0" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f'<path class="dots {colour}" d="{"".join(steps)}"/>'


def _line(frame: Frame, x: Iterable[float], y: Iterable[float], kind: str) -> str:
    points = " ".join(f"{frame.across(a):.1f},{frame.down(b):.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{kind}" points="{points}"/>'


def _band(frame: Frame, x: np.ndarray, middle: np.ndarray, half: np.ndarray) -> list[str]:
    """Areas between a curve minus and plus some half widths, cut where they leave the plot."""
    with np.errstate(all="ignore"):
        low, high = middle - half, middle + half
    return [
        _area(frame, x[part].tolist(), low[part].tolist(), high[part].tolist())
        for part in _finite_parts(low + high)
    ]


def _area(frame: Frame, x: list[float], low: list[float], high: list[float]) -> str:
    forth = [f"{frame.across(a):.1f} {_inside(frame, b):.1f}" for a, b in zip(x, high, strict=True)]
    back = [f"{frame.across(a):.1f} {_inside(frame, b):.1f}" for a, b in zip(x[::-1], low[::-1], strict=True)]
    return f'<path class="band" d="M{"L".join([*forth, *back])}Z"/>'


def _inside(frame: Frame, y: float) -> float:
    """Vertical place of a value, that of the nearer edge for a value outside of the plot."""
    if frame.y.logarithmic and not y > 0:
        return float(frame.height - frame.bottom)
    return min(max(frame.down(y), float(frame.top)), float(frame.height - frame.bottom))


def _mark(frame: Frame, candidate: Candidate, error: float, text: str, chosen: bool) -> str:
    place = f'cx="{frame.across(candidate.complexity):.1f}" cy="{frame.down(error):.1f}"'
    return (
        f'<circle class="mark{" chosen" * chosen}" {place} r="{7 if chosen else 5}">'
        f"<title>{escape(text)}\nerror {candidate.error:.3g}, {candidate.complexity} nodes</title></circle>"
    )


def _finite_parts(values: np.ndarray) -> list[slice]:
    """Runs of two or more finite values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.isfinite(values), [False]]).astype(np.int8)))
    return [slice(a, b) for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True) if b - a > 1]


def _short(name: str, most: int = 30) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
