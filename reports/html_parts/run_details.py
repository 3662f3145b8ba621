"""One run in full: learning curve, Pareto fronts, all metrics, plots."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from reports.html_parts.curves import curves_svg
from reports.html_parts.escaping import escape
from reports.html_parts.numbers import breakable, code, number
from runs.metrics_file import losses
from runs.reader import FINISHED, Run, read_front

__all__ = ["details_of", "heading_of", "plots_of"]

FRONTS = 4
"""Number of Pareto fronts of a run that are shown."""
ROWS_OF_A_FRONT = 30
LONGEST_CODE = 300
"""Number of characters of an equation of a front."""
MOST_METRICS = 80
LARGEST_PLOT = 1 << 20

_PNG = b"\x89PNG\r\n\x1a\n"


def heading_of(run: Run, index: int) -> str:
    """Name, state and facts of a run, with the anchor `run-INDEX`."""
    facts = [("model", run.model), ("data", run.data), ("seed", run.seed), ("W&B run", run.wandb)]
    facts += [
        (key.removeprefix("seconds/"), f"{run.metrics[key]:.1f} s")
        for key in run.metrics
        if key.startswith("seconds/")
    ]
    line = " · ".join(f"{escape(name)} <b>{escape(value)}</b>" for name, value in facts if value)
    problem = f'<p class="problem">{escape(run.problem)}</p>' if run.problem else ""
    return (
        f'<h3 id="run-{index}"><span class="index">{index}</span> {breakable(run.name)} '
        f'<span class="state {escape(run.state)}">{escape(run.state)}</span></h3>'
        f'<p class="facts">{line}</p>{problem}'
    )


def details_of(run: Run) -> str:
    """Learning curve, Pareto fronts and metrics of a run."""
    return "\n".join(part for part in (_learning(run), _fronts(run), _all_metrics(run)) if part)


def plots_of(run: Run) -> Iterator[str]:
    """Each PNG file of a run as a figure with the picture inside."""
    for plot in run.plots:
        try:
            content = plot.read_bytes() if plot.stat().st_size <= LARGEST_PLOT else b""
        except OSError:
            content = b""
        if not content.startswith(_PNG):
            yield f'<p class="problem">{escape(plot.name)} is not a whole PNG file of at most 1 MB.</p>'
            continue
        name = escape(plot.stem.replace("_", " "))
        width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
        wide = ' class="double"' if width > 1.9 * height else ""
        source = base64.b64encode(content).decode("ascii")
        yield (
            f'<figure{wide}><img alt="{name}" src="data:image/png;base64,{source}">'
            f"<figcaption>{name}</figcaption></figure>"
        )


def _learning(run: Run) -> str:
    """The losses by epoch."""
    chosen = {name: points for name, points in losses(run.curves).items() if len(points) > 1}
    return f"<h4>Learning curve</h4>{curves_svg(chosen)}" if chosen else ""


def _fronts(run: Run) -> str:
    """The Pareto fronts of equations.csv, one a search."""
    fronts: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in read_front(run.path):
        fronts.setdefault(tuple(row.get(key, "") for key in ("problem", "target", "trial")), []).append(row)
    parts: list[str] = []
    for (problem, target, trial), rows in list(fronts.items())[:FRONTS]:
        title = " · ".join(part for part in (problem, target, f"trial {trial}" if trial else "") if part)
        parts.append(f"<details><summary>{escape(title)}</summary>{_front(rows)}</details>")
    if len(fronts) > FRONTS:
        parts.append(f'<p class="note">{len(fronts) - FRONTS} more fronts in equations.csv.</p>')
    return f"<h4>Pareto front{'s' * (len(fronts) > 1)}</h4>{''.join(parts)}" if parts else ""


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
        cells = "".join(f'<td class="n">{number(row.get(key))}</td>' for key, _ in keys)
        infix = f"{code(row.get('infix', ''), LONGEST_CODE)}{' <b>chosen</b>' if chosen else ''}"
        body.append(f"<tr{' class=chosen' if chosen else ''}>{cells}<td>{infix}</td></tr>")
    more = len(rows) - ROWS_OF_A_FRONT
    note = f'<p class="note">{more} more rows in equations.csv.</p>' if more > 0 else ""
    return (
        f'<div class="wide"><table class="front"><thead><tr>{head}<th>equation</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def _all_metrics(run: Run) -> str:
    """The numbers of a run, folded away."""
    if not run.metrics:
        return ""
    rows = "".join(
        f'<tr><td>{breakable(name)}</td><td class="n">{number(value)}</td></tr>'
        for name, value in sorted(run.metrics.items())[:MOST_METRICS]
    )
    title = "All metrics" if run.state == FINISHED else "Last logged"
    return (
        f"<details><summary>{title} ({len(run.metrics)})</summary><table class='metrics'>{rows}</table></details>"
    )
