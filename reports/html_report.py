"""The report of `compare.py`: one HTML file that needs no other file, no network and no script.

Equations are typeset by matplotlib's mathtext into vector paths, learning curves are drawn as SVG, and both take
the text's colour, so the page follows the reader's light or dark scheme and prints. Whatever comes from a run
is escaped: a report may show a stranger's runs.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import writing
from reports.html_parts.curves import curves_svg
from reports.html_parts.escaping import escape
from reports.html_parts.style import STYLE
from reports.html_parts.typesetting import typeset
from runs.metrics_file import losses
from runs.reader import FINISHED, Run, digits, read_front

__all__ = ["write_report"]

EQUATIONS_OPEN = 12
"""A run's further equations are folded away."""
FRONTS_OPEN = 1
ROWS_OF_A_FRONT = 60
LARGEST_PLOT = 8 << 20

_PNG = b"\x89PNG\r\n\x1a\n"


def write_report(
    runs: Sequence[Run], metrics: Sequence[str], best: Mapping[str, float | None], path: str | Path
) -> None:
    """Write the report, whole or not at all.

    Args:
        runs: Runs in the order of the report, read with their curves.
        metrics: Columns of the first table.
        best: Best value of each column, or None.
        path: Path of the file.

    Raises:
        UserError: It cannot be written.
    """
    try:
        with writing(path) as stream:
            stream.write(render(runs, metrics, best).encode())
    except OSError as error:
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
        f"<title>Comparison of {len(runs)} runs</title><style>{STYLE}</style></head><body><main>",
        f"<header><h1>Comparison of {len(runs)} run{'s' * (len(runs) != 1)}</h1>",
        f'<p class="made">rediscover · {escape(made)}</p></header>',
        _overview(runs, metrics, best),
        *(_section(run, index) for index, run in enumerate(runs, 1)),
        "</main></body></html>\n",
    ]
    return "\n".join(parts)


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
