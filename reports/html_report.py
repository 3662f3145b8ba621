"""The report of `compare.py`: one HTML file that needs no other file, no network and no script.

Equations are typeset by matplotlib's mathtext into vector paths, learning curves are drawn as SVG, and both take
the text's colour, so the page follows the reader's light or dark scheme and prints. Whatever comes from a run
is escaped: a report may show a stranger's runs.
"""

from __future__ import annotations

import base64
import html
import math
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from runs.metrics_file import Curve, losses
from runs.reader import FINISHED, Run, digits, read_front

__all__ = ["typeset", "write_report"]

EQUATIONS_OPEN = 12
"""A run's further equations are folded away."""
FRONTS_OPEN = 1
ROWS_OF_A_FRONT = 60
LONGEST_LATEX = 4000
"""Longer equations are shown as text: nobody reads them typeset, and mathtext takes seconds."""
LINE_WIDTH = 56.0
"""Width of a line of an equation, in units of the font size; longer ones are broken before a + or -."""
LARGEST_PLOT = 8 << 20

_PNG = b"\x89PNG\r\n\x1a\n"
_DASHES = ("", "6 3", "2 2", "8 3 2 3")


def write_report(
    runs: Sequence[Run], metrics: Sequence[str], best: Mapping[str, float | None], path: str | Path
) -> None:
    """Writes the report, whole or not at all.

    Args:
        runs: In the order in which they are to stand; read with their curves.
        metrics: Columns of the first table.
        best: The best value of each column, or None.
        path: The file to write.

    Raises:
        UserError: It cannot be written.
    """
    path = Path(path)
    text = render(runs, metrics, best)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)  # mkstemp's own mode lets nobody else look
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or type(error).__name__
        raise UserError(f"the report {str(path)!r} cannot be written ({reason}): give another file.") from error


def render(runs: Sequence[Run], metrics: Sequence[str], best: Mapping[str, float | None]) -> str:
    """The report as HTML text; arguments as in `write_report`."""
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing on this page may fetch or run anything, even if something slipped through the escaping.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">',
        f"<title>Comparison of {len(runs)} runs</title><style>{_STYLE}</style></head><body><main>",
        f"<header><h1>Comparison of {len(runs)} run{'s' * (len(runs) != 1)}</h1>",
        f'<p class="made">rediscover · {escape(made)}</p></header>',
        _overview(runs, metrics, best),
        *(_section(run, index) for index, run in enumerate(runs, 1)),
        "</main></body></html>\n",
    ]
    return "\n".join(parts)


def escape(text: Any) -> str:
    """Text that is only text in HTML, in attributes too."""
    return html.escape(str(text), quote=True)


# --------------------------------------------------------------------------------------------- overview


def _overview(runs: Sequence[Run], metrics: Sequence[str], best: Mapping[str, float | None]) -> str:
    """The table of all runs, each a link to its section."""
    heads = [f"<th>{text}</th>" for text in ("run", "model", "data", "seed", "state")]
    heads += [f'<th class="n">{_breakable(metric)}</th>' for metric in metrics]
    rows = []
    for index, run in enumerate(runs, 1):
        cells = [f'<td><a href="#run-{index}">{_breakable(run.name)}</a></td>']
        cells += [f"<td>{escape(text)}</td>" for text in (run.model, run.data, run.seed)]
        cells.append(f'<td><span class="state {escape(run.state)}">{escape(run.state)}</span></td>')
        for metric in metrics:
            value = run.metrics.get(metric)
            marked = value is not None and run.state == FINISHED and value == best.get(metric)
            cells.append(f'<td class="n{" best" if marked else ""}">{_number(value)}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    legend = (
        "<p class='note'>Bold: the best of its column among finished runs.</p>"
        if any(value is not None for value in best.values())
        else ""
    )
    return (
        f'<div class="wide"><table class="overview"><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{legend}"
    )


def _breakable(text: str) -> str:
    """Escaped text that may break behind a slash or an underscore."""
    return re.sub(r"([/_])", r"\1<wbr>", escape(text))


def _number(value: Any) -> str:
    """A number as a table shows it; an en dash where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "\N{EN DASH}" if value in (None, "") else escape(value)
    if not math.isfinite(number):
        return escape(number)
    mantissa, _, exponent = digits(number).partition("e")
    shown = mantissa.replace("-", "\N{MINUS SIGN}")
    return f"{shown}·10<sup>{int(exponent)}</sup>".replace("<sup>-", "<sup>\N{MINUS SIGN}") if exponent else shown


# --------------------------------------------------------------------------------------------- a run


def _section(run: Run, index: int) -> str:
    """Everything about one run."""
    facts = [("model", run.model), ("data", run.data), ("seed", run.seed), ("W&B run", run.wandb)]
    facts += [
        (key.removeprefix("seconds/"), f"{run.metrics[key]:.1f} s")
        for key in run.metrics
        if key.startswith("seconds/")
    ]
    line = " · ".join(f"{escape(name)} <b>{escape(value)}</b>" for name, value in facts if value)
    problem = f'<p class="problem">{escape(run.problem)}</p>' if run.problem else ""
    parts = [
        f'<section id="run-{index}"><h2><span class="index">{index}</span> {_breakable(run.name)} '
        f'<span class="state {escape(run.state)}">{escape(run.state)}</span></h2>',
        f'<p class="facts">{line}</p>{problem}',
        _equations(run),
        _plots(run),
        _learning(run),
        _fronts(run),
        _all_metrics(run),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _equations(run: Run) -> str:
    """The equations, typeset, with their scores."""
    if not run.equations:
        return ""
    several = len({row.get("trial") for row in run.equations}) > 1
    keys = [("complexity", "nodes"), ("train_r2", "train R²"), ("test_r2", "test R²"), ("test_mse", "test MSE"),
            ("recovered", "recovered"), ("equivalent", "equivalent"), ("seconds", "seconds"),
            ("evaluations", "evaluations")]  # fmt: skip
    keys = [(key, name) for key, name in keys if any(row.get(key) is not None for row in run.equations)]
    bodies = []
    for row in run.equations:
        trial = f" (trial {escape(row['trial'])})" if several and row.get("trial") is not None else ""
        cells = "".join(f'<td class="n">{_number(row.get(key))}</td>' for key, _ in keys)
        bodies.append(
            f'<tbody><tr class="scores"><td>{_breakable(str(row.get("target", "")))}{trial}</td>{cells}</tr>'
            f'<tr><td colspan="{len(keys) + 1}" class="equation">{_equation(row)}</td></tr></tbody>'
        )
    head = "".join(f'<th class="n">{name}</th>' for _, name in keys)
    head = f"<thead><tr><th>target</th>{head}</tr></thead>"
    shown = f'<div class="wide"><table class="equations">{head}{"".join(bodies[:EQUATIONS_OPEN])}</table></div>'
    if len(bodies) > EQUATIONS_OPEN:
        rest = "".join(bodies[EQUATIONS_OPEN:])
        shown += (
            f"<details><summary>{len(bodies) - EQUATIONS_OPEN} more equations</summary>"
            f'<div class="wide"><table class="equations">{head}{rest}</table></div></details>'
        )
    return f"<h3>Equations</h3>{shown}"


def _equation(row: Mapping[str, Any]) -> str:
    """One equation: typeset where mathtext can, and its text to copy."""
    infix, latex = str(row.get("infix", "")), str(row.get("latex", ""))
    code = f"<code>{escape(infix)}</code>"
    drawn = typeset(latex, infix) if latex else None
    return code if drawn is None else f"{drawn}<details class='text'><summary>as text</summary>{code}</details>"


def _plots(run: Run) -> str:
    """Its PNG files, inside the page."""
    figures = []
    for plot in run.plots:
        try:
            content = plot.read_bytes() if plot.stat().st_size <= LARGEST_PLOT else b""
        except OSError:
            content = b""
        if not content.startswith(_PNG):
            figures.append(f'<p class="problem">{escape(plot.name)} is not a whole PNG file.</p>')
            continue
        name = escape(plot.stem.replace("_", " "))
        width = int.from_bytes(content[16:20], "big")
        wide = ' class="double"' if width > 1.9 * int.from_bytes(content[20:24], "big") else ""
        source = base64.b64encode(content).decode("ascii")
        figures.append(
            f'<figure{wide}><img alt="{name}" src="data:image/png;base64,{source}">'
            f"<figcaption>{name}</figcaption></figure>"
        )
    return f'<h3>Plots</h3><div class="plots">{"".join(figures)}</div>' if figures else ""


def _learning(run: Run) -> str:
    """The losses by epoch."""
    chosen = {name: points for name, points in losses(run.curves).items() if len(points) > 1}
    return f"<h3>Learning curve</h3>{curves_svg(chosen)}" if chosen else ""


def _fronts(run: Run) -> str:
    """The Pareto fronts of equations.csv, one a search."""
    fronts: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in read_front(run.path):
        fronts.setdefault(tuple(row.get(key, "") for key in ("problem", "target", "trial")), []).append(row)
    parts: list[str] = []
    for (problem, target, trial), rows in fronts.items():
        title = " · ".join(part for part in (problem, target, f"trial {trial}" if trial else "") if part)
        opened = " open" if len(parts) < FRONTS_OPEN else ""
        parts.append(f"<details{opened}><summary>{escape(title)}</summary>{_front(rows)}</details>")
    return f"<h3>Pareto front{'s' * (len(parts) > 1)}</h3>{''.join(parts)}" if parts else ""


def _front(rows: Sequence[Mapping[str, str]]) -> str:
    names = {
        "complexity": "nodes",
        "train_r2": "train R²",
        "validation_r2": "validation R²",
        "test_r2": "test R²",
        "test_mse": "test MSE",
    }
    keys = [(key, name) for key, name in names.items() if any(row.get(key) for row in rows)]
    head = "".join(f'<th class="n">{name}</th>' for _, name in keys)
    body = []
    for row in rows[:ROWS_OF_A_FRONT]:
        chosen = row.get("chosen", "").strip().lower() in ("true", "1", "yes")
        cells = "".join(f'<td class="n">{_number(row.get(key))}</td>' for key, _ in keys)
        infix = f"<code>{escape(row.get('infix', ''))}</code>{' <b>chosen</b>' if chosen else ''}"
        body.append(f"<tr{' class=chosen' if chosen else ''}>{cells}<td>{infix}</td></tr>")
    more = len(rows) - ROWS_OF_A_FRONT
    note = f'<p class="note">{more} more rows in equations.csv.</p>' if more > 0 else ""
    return (
        f'<div class="wide"><table class="front"><thead><tr>{head}<th>equation</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def _all_metrics(run: Run) -> str:
    """Every number of the run, folded away."""
    if not run.metrics:
        return ""
    rows = "".join(
        f'<tr><td>{_breakable(name)}</td><td class="n">{_number(value)}</td></tr>'
        for name, value in sorted(run.metrics.items())
    )
    title = "All metrics" if run.state == FINISHED else "Last logged"
    return (
        f"<details><summary>{title} ({len(run.metrics)})</summary><table class='metrics'>{rows}</table></details>"
    )


# --------------------------------------------------------------------------------------------- equations as paths


def typeset(latex: str, label: str = "") -> str | None:
    """An equation as an inline SVG of one path a line, in the text's colour.

    Args:
        latex: What stands between two dollar signs; long ones are broken before a + or - that is in no bracket.
        label: The equation as text, for those who cannot see it.

    Returns:
        The SVG element, or None where mathtext cannot set it.
    """
    if len(latex) > LONGEST_LATEX:
        return None
    try:
        lines = _broken(latex)
    except Exception:  # mathtext raises ValueError, and IndexError, RuntimeError and others from inside its parser
        return None
    drawn, top, width = [], 0.0, 0.0
    for index, (path, box) in enumerate(lines):
        left = 0.0 if index == 0 else 2.0
        baseline = top + box[3]
        drawn.append(f'<path transform="translate({left - box[0]:.2f} {baseline:.2f}) scale(1 -1)" d="{path}"/>')
        top = baseline - min(box[1], 0.0) + 0.6
        width = max(width, left + box[2] - box[0])
    height = top - 0.6
    return (
        f'<svg class="math" role="img" aria-label="{escape(label or latex)}" '
        f'width="{width:.2f}em" height="{height:.2f}em" '
        f'viewBox="-0.05 -0.05 {width + 0.1:.2f} {height + 0.1:.2f}" fill="currentColor">{"".join(drawn)}</svg>'
    )


Line = tuple[str, tuple[float, float, float, float]]
"""Path data with y upwards, and (left, bottom, right, top), both in units of the font size."""


def _broken(latex: str) -> list[Line]:
    """The lines of an equation, each at most `LINE_WIDTH` wide where there is a place to break it."""
    whole = _line(latex)
    if whole[1][2] <= LINE_WIDTH:
        return [whole]
    lines, width = [""], 0.0
    for term in _terms(latex):
        box = _line(rf"{{}} {term}")[1]  # {} keeps a leading + or - a binary one
        added = box[2] - box[0] + 0.25  # and the space before the sign
        if lines[-1] and width + added > LINE_WIDTH:
            lines.append("{}")
            width = 0.0
        lines[-1] = f"{lines[-1]} {term}".strip()
        width += added
    return [_line(line) for line in lines]


def _terms(latex: str) -> list[str]:
    """Cuts LaTeX before every + and - that is in no brace, no bracket and no \\left … \\right."""
    terms, start, depth = [], 0, 0
    for found in re.finditer(r"\\left|\\right|\\[a-zA-Z]+|\\.|[{}()\[\]]|(?<=\s)[+-](?=\s)", latex):
        mark = found.group()
        if mark in ("{", "(", "["):
            depth += 1
        elif mark in ("}", ")", "]"):
            depth -= 1
        elif mark in ("+", "-") and depth == 0 and found.start() > start:
            terms.append(latex[start : found.start()].strip())
            start = found.start()
    return [term for term in [*terms, latex[start:].strip()] if term]


@lru_cache(maxsize=4096)
def _line(latex: str) -> Line:
    """One line as a path.

    Raises:
        ValueError: mathtext cannot set it.
    """
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    size = 100.0
    with mpl.rc_context({"mathtext.fontset": "cm", "axes.unicode_minus": True}):
        display = latex.replace(r"\frac", r"\dfrac")  # mathtext sets all in text style, where fractions are small
        path = TextPath((0, 0), f"${display}$", size=size, prop=FontProperties(family="DejaVu Serif"))
    if not len(path.vertices):
        raise ValueError("an empty formula")
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    steps, last = [], 0
    for (x, y), code in zip(path.vertices / size, path.codes, strict=True):
        if code == 79:
            steps.append("Z")
        elif code == last and code in (3, 4):
            steps.append(f" {x:.3f} {y:.3f}")
        else:
            steps.append(f"{letters[int(code)]}{x:.3f} {y:.3f}")
        last = code
    box = path.get_extents()
    return "".join(steps), (box.x0 / size, box.y0 / size, box.x1 / size, box.y1 / size)


# --------------------------------------------------------------------------------------------- curves as SVG


def curves_svg(curves: Mapping[str, Curve]) -> str:
    """Curves over the epochs as an inline SVG; logarithmic where they are positive and span more than a decade.

    Args:
        curves: Name -> (x, y), finite, at least two points each.
    """
    width, height, left, right, top, bottom = 720, 260, 64, 12, 12, 40
    xs = [x for points in curves.values() for x, _ in points]
    ys = [y for points in curves.values() for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > 10
    up = math.log10 if logarithmic else float
    low, high = up(min(ys)), up(max(ys))
    if high == low:
        low, high = low - 0.5, high + 0.5
    first, last = min(xs), max(xs)
    last = last if last > first else first + 1

    def across(x: float) -> float:
        return left + (x - first) / (last - first) * (width - left - right)

    def down(y: float) -> float:
        return height - bottom - (up(y) - low) / (high - low) * (height - top - bottom)

    parts = [f'<svg class="curves" viewBox="0 0 {width} {height}" role="img" aria-label="losses by epoch">']
    for value in _ticks(low, high, logarithmic):
        y = down(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    parts += [
        f'<text x="{across(value):.1f}" y="{height - bottom + 18}" text-anchor="middle">{value:g}</text>'
        for value in _ticks(first, last, False)
    ]
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 4}" text-anchor="middle">epoch</text>')
    for index, (name, points) in enumerate(list(curves.items())[:8]):
        line = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in _fewer(points))
        dash = _DASHES[index // 4 % len(_DASHES)]
        style = f'class="c{index % 4}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        parts.append(f'<polyline {style} points="{line}"/>')
        y = top + 14 + 18 * index
        parts.append(f'<line {style} x1="{width - right - 26}" x2="{width - right}" y1="{y - 4}" y2="{y - 4}"/>')
        parts.append(f'<text x="{width - right - 32}" y="{y}" text-anchor="end">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round values between two bounds; of a logarithmic axis the bounds are exponents."""
    if logarithmic:
        subs = (1, 2, 5) if high - low < 2 else (1,)
        powers = range(math.floor(low), math.ceil(high) + 1)
        values = [sub * 10.0**power for power in powers for sub in subs]
        inside = [value for value in values if low <= math.log10(value) <= high]
        return inside[:: math.ceil(len(inside) / 7) or 1]
    rough = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _fewer(points: Curve, most: int = 800) -> Curve:
    """Every so-many-th point, and the last: no screen shows more."""
    step = math.ceil(len(points) / most)
    return points if step == 1 else [*points[:-1:step], points[-1]]


_STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--soft:#666;--rule:#d5d5d5;--paper:#fff;--tint:#f5f5f2;--link:#0b5394;
--good:#1b6e3c;--warn:#8a5a00;--bad:#a52714;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#aa5f8c}
@media(prefers-color-scheme:dark){:root{--ink:#e6e4df;--soft:#9b988f;--rule:#3b3a37;--paper:#181817;--tint:#232321;
--link:#8ab8e6;--good:#7ccf9a;--warn:#e0b35a;--bad:#f0907f;--c0:#56b4e9;--c1:#f08a4b;--c2:#3cc99d;--c3:#d99bc0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 Charter,"Bitstream Charter","Source Serif 4","Noto Serif",Georgia,"DejaVu Serif",serif}
main{max-width:78rem;margin:0 auto;padding:2.5rem 1.5rem 5rem}
h1{font-size:1.75rem;margin:0;font-weight:600}
h2{font-size:1.25rem;margin:0 0 .3rem;font-weight:600;overflow-wrap:anywhere}
h3{font-size:1rem;margin:1.8rem 0 .5rem;font-weight:600}
.made,.note,.facts{color:var(--soft);font-size:.875rem;margin:.25rem 0}
.facts b{color:var(--ink);font-weight:600}
header{margin-bottom:1.5rem}
section{margin-top:3.5rem;padding-top:1.5rem;border-top:1px solid var(--rule)}
.index{color:var(--soft);font-weight:400;margin-right:.35rem}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums lining-nums}
.overview,.equations,.front{width:100%;border-top:2px solid var(--ink);border-bottom:2px solid var(--ink)}
th{font-weight:600;text-align:left;vertical-align:bottom;border-bottom:1px solid var(--ink)}
th,td{padding:.3rem .7rem}
th:first-child,td:first-child{padding-left:.2rem}th:last-child,td:last-child{padding-right:.2rem}
td{vertical-align:top}
.n{text-align:right;white-space:nowrap}th.n{white-space:normal}
.overview tbody tr:hover,.front tbody tr:hover{background:var(--tint)}
.best{font-weight:700}.overview th,.overview td{padding:.3rem .5rem}.overview td:first-child{min-width:14rem}
.state{font:600 .75rem/1.4 system-ui,sans-serif;white-space:nowrap;color:var(--warn)}
.state.finished{color:var(--good)}.state.torn,.problem{color:var(--bad)}
h2 .state{margin-left:.4rem;vertical-align:.1em}
.equations tbody{border-bottom:1px solid var(--rule)}.equations tbody:last-child{border-bottom:0}
.scores td{padding-top:.6rem}
.equation{padding:.4rem 1.2rem 1rem!important}
.math{display:block;font-size:1.2rem;margin:.4rem 0;overflow:visible}
code{font:.8125rem/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--soft);font-size:.875rem}
details.text{margin:0}details.text summary{font-size:.75rem}
tr.chosen{background:var(--tint)}
.metrics td{padding:.1rem .8rem .1rem .2rem}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem;align-items:end}
figure{margin:0}figure.double{grid-column:1/-1}
figure img{display:block;width:100%;height:auto;max-height:34rem;object-fit:contain;background:#fff;
border:1px solid var(--rule);border-radius:3px}
figcaption{font-size:.8125rem;color:var(--soft);margin-top:.25rem}
.curves{width:100%;max-width:48rem;height:auto;display:block}
.curves text{font:11px system-ui,sans-serif;fill:var(--soft)}
.curves .grid{stroke:var(--rule);stroke-width:1}
.curves .c0,.curves .c1,.curves .c2,.curves .c3{fill:none;stroke-width:1.6;stroke-linejoin:round}
.curves .c0{stroke:var(--c0)}.curves .c1{stroke:var(--c1)}
.curves .c2{stroke:var(--c2)}.curves .c3{stroke:var(--c3)}
@media print{main{max-width:none;padding:0}section{break-before:page}.wide{overflow:visible}}
"""
