"""The report of `compare.py`: one HTML file that needs no other file, no network and no script.

Equations come first: runs are grouped by data, model and settings, the best equation of every group is typeset,
and scores are means over its seeds. Behind them stand the single runs. Equations are MathML, learning curves SVG:
both take the text's colour, so the page follows the reader's light or dark scheme and prints. Whatever comes from
a run is escaped: a report may show a stranger's runs. Every part has a number of bytes to spend, so the page stays
below a megabyte however many runs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import writing
from reports.html_parts.allowance import Allowance
from reports.html_parts.escaping import escape
from reports.html_parts.group_section import equations_of, runs_of
from reports.html_parts.numbers import breakable, cut, spread
from reports.html_parts.run_details import details_of, heading_of, plots_of
from reports.html_parts.run_groups import Group, Spread, grouped
from reports.html_parts.style import STYLE
from reports.run_comparison import lower_is_better
from runs.reader import Run

__all__ = ["write_report"]

GROUPS, RUNS, DETAILS, PLOTS = 400_000, 280_000, 200_000, 60_000
"""Bytes of groups, of single runs, of runs in full, and of plots, which get what others leave."""
FORMULAS = 250_000
"""Bytes of groups that typeset equations may take."""
LONGEST_NAME = 120
"""Number of characters of a model's name and of settings in a table."""


def write_report(runs: Sequence[Run], metrics: Sequence[str], path: str | Path) -> None:
    """Write the report, whole or not at all.

    Args:
        runs: runs in the order of the report, read with their curves.
        metrics: columns of the tables.
        path: path of the file.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with writing(path) as stream:
            stream.write(render(runs, metrics).encode())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"the report {str(path)!r} cannot be written ({reason}): give another file.") from error


def render(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    """The report as HTML text; arguments as in `write_report`."""
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    groups = grouped(runs)
    ordered = [run for group in groups for run in group.runs]
    page = _Page(metrics, ordered)
    sections = [page.section(data, members) for data, members in _by_data(groups)]
    told = [section for section in sections if section]
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing on this page may fetch or run anything, even if something slipped through the escaping.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">',
        f"<title>Comparison of {len(runs)} runs</title><style>{STYLE}</style></head><body><main>",
        f"<header><h1>Comparison of {len(runs)} run{'s' * (len(runs) != 1)}</h1>",
        f'<p class="made">rediscover · {escape(made)}</p></header>',
        *told,
        _left_out(len(sections) - len(told), "data sets"),
        page.runs_in_full(),
        "</main></body></html>\n",
    ]
    return "\n".join(parts)


def _by_data(groups: Sequence[Group]) -> Iterator[tuple[str, list[Group]]]:
    for data in dict.fromkeys(group.data for group in groups):
        yield data, [group for group in groups if group.data == data]


class _Page:
    """The parts of a page and the bytes that each may still spend.

    Args:
        metrics: columns of the tables.
        runs: runs in the order of the page.
    """

    def __init__(self, metrics: Sequence[str], runs: Sequence[Run]) -> None:
        self.metrics, self.runs = metrics, runs
        self.group_room, self.formula_room, self.row_room = Allowance(GROUPS), Allowance(FORMULAS), Allowance(RUNS)
        self.full_room = Allowance(DETAILS)
        self.full = self.full_room.afforded(
            f"{heading_of(run, number)}{_shown(details_of, run)}" for number, run in enumerate(runs, 1)
        )
        self.numbers = {id(run): number for number, run in enumerate(runs[: len(self.full)], 1)}
        """Number of each run that is shown in full, by its `id`."""

    def section(self, data: str, groups: Sequence[Group]) -> str:
        """A data set: the equations of its groups, their mean metrics, and their single runs folded away."""
        head = f"<section><h2>{breakable(data) or 'unknown data'}</h2>"
        if not self.group_room.spend(head):
            return ""
        told = self.group_room.afforded(
            _shown(equations_of, group, self.numbers, self.formula_room) for group in groups
        )
        shown = groups[: len(told)]
        left_out = _left_out(len(groups) - len(told), "groups of runs")
        parts = [head, *told, left_out, self._means(shown), *(self._single_runs(group) for group in shown)]
        return "\n".join(part for part in [*parts, "</section>"] if part)

    def _means(self, groups: Sequence[Group]) -> str:
        """The metrics of every group, averaged over its finished runs."""
        means = [[group.metric(metric) for metric in self.metrics] for group in groups]
        columns = zip(*means, strict=True)
        best = [_best(metric, column) for metric, column in zip(self.metrics, columns, strict=False)]
        rows = []
        for group, row in zip(groups, means, strict=True):
            words = (group.model, group.settings, group.seeds)
            cells = [f"<td>{escape(cut(text, LONGEST_NAME))}</td>" for text in words]
            cells.append(f'<td class="n">{len(group.runs)}</td>')
            for value, mark in zip(row, best, strict=True):
                marked = value is not None and value.mean == mark
                cells.append(f'<td class="n{" best" if marked else ""}">{spread(value)}</td>')
            rows.append(f"<tr>{''.join(cells)}</tr>")
        heads = "".join(f"<th>{name}</th>" for name in ("model", "settings", "seeds"))
        heads += '<th class="n">runs</th>'
        heads += "".join(f'<th class="n">{breakable(metric)}</th>' for metric in self.metrics)
        legend = "<p class='note'>Means ± standard deviations of finished runs; bold: the best of its column.</p>"
        table = (
            f'<div class="wide"><table class="overview"><thead><tr>{heads}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>{legend}"
        )
        return table if rows and self.group_room.spend(table) else ""

    def _single_runs(self, group: Group) -> str:
        """The runs of a group, folded away."""
        heads = "".join(f"<th>{name}</th>" for name in ("run", "seed", "state"))
        heads += "".join(f'<th class="n">{breakable(metric)}</th>' for metric in self.metrics)
        rows = self.row_room.afforded(runs_of(group, self.numbers, self.metrics))
        if not rows or not self.row_room.spend(heads):
            return ""
        title = " · ".join(escape(cut(text, LONGEST_NAME)) for text in (group.model, group.settings) if text)
        more = _left_out(len(group.runs) - len(rows), "runs")
        count = f"{len(group.runs)} single run{'s' * (len(group.runs) != 1)}"
        return (
            f'<details><summary>{count}{f" of {title}" if title else ""}</summary><div class="wide">'
            f'<table class="overview"><thead><tr>{heads}<th>first equation</th></tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>{more}</details>"
        )

    def runs_in_full(self) -> str:
        """As many runs as there is room for; their plots take up what other parts have left."""
        room = Allowance(PLOTS + sum(each.left for each in (self.group_room, self.row_room, self.full_room)))
        parts = []
        for run, body in zip(self.runs, self.full, strict=False):
            plots = room.afforded(plots_of(run))
            missing = _left_out(len(run.plots) - len(plots), f"plots in {run.path / 'plots'}")
            parts.append(body)
            if plots or missing:
                parts.append(f'<h4>Plots</h4><div class="plots">{"".join(plots)}</div>{missing}')
        left_out = _left_out(len(self.runs) - len(self.full), "runs in full")
        return "\n".join(["<section><h2>Runs</h2>", *parts, left_out, "</section>"])


def _shown(part: Callable[..., str], *arguments: Any) -> str:
    """A part of the page; a line in its place where a run holds what cannot be shown: it is one of many."""
    try:
        return part(*arguments)
    except Exception as error:
        reason = escape(f"{type(error).__name__}: {error}"[:200])
        return f'<p class="problem">What is here cannot be shown ({reason}).</p>'


def _best(metric: str, column: Sequence[Spread | None]) -> float | None:
    """The best mean of a column; None where the means do not differ, or better is unknown."""
    means = [value.mean for value in column if value is not None]
    lower = lower_is_better(metric)
    if lower is None or len(set(means)) < 2:
        return None
    return min(means) if lower else max(means)


def _left_out(count: int, what: str) -> str:
    """A line about what the page has no room for; empty where it shows all."""
    line = f'<p class="note">{count} more {escape(what)}, for which this page has no room.</p>'
    return line if count > 0 else ""
