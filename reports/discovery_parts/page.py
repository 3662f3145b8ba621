"""`report.html`: a discovery on one page that needs no other file, no network and no script.

Formulas are MathML, plots inline SVG, and both follow the reader's light or dark scheme. All text of the table is
escaped, and the page stays below 500 kB for a table of any length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from expressions.constant_intervals import LEVEL
from foundation.terminal import printable
from reports.discovery_parts import plots
from reports.discovery_parts.intervals import MEANING
from reports.discovery_parts.result import Discovery
from reports.discovery_parts.shown import ShownEquations, r2_text
from reports.discovery_parts.trust_words import trust_words
from reports.discovery_parts.verdict import verdict
from reports.html_parts.escaping import escape
from reports.html_parts.style import PLOTS, STYLE
from reports.typeset.mathml import mathml

__all__ = ["page"]

_MOST_SLICES = 3
_LEAST_SHARE = 0.02  # of a variable whose curve is drawn
_MOST_EQUATIONS = 60  # of the front's table
_MOST_BARS = 30
_MOST_NOTES = 50
_LONGEST_EQUATION, _LONGEST_NAME = 1_500, 120  # characters
_TYPESET_TOKENS = 60  # of an equation of the front's table
_TYPESET_TOTAL = 150_000  # characters of all of them
_BANDS = (
    " If it is the law, a new measurement lies in the light band, and the law itself in the dark one, with "
    f"{100 * LEVEL:.0f} % confidence at each place."
)


def page(discovery: Discovery, shown: ShownEquations) -> str:
    """The page as HTML text.

    Args:
        discovery: equations, rows and scores; without rows, as it was read from disk, there are no plots of them.
        shown: equations with the digits that the data support.
    """
    title = f"{_name(discovery.target)} from {_name(discovery.source)}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing on this page may fetch or run anything, even if something slipped through the escaping.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{STYLE}{PLOTS}</style></head><body><main>",
        f"<header><h1>{escape(title)}</h1>{_facts(discovery)}</header>",
        _equation(discovery, shown),
        _scores(discovery),
        *_rows(discovery),
        _front(discovery, shown),
        _notes(discovery),
        "</main></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _name(text: str) -> str:
    """Text of the table on one line, cut where it is very long."""
    plain = printable(text)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}…"


def _facts(discovery: Discovery) -> str:
    held_out = 0 if discovery.held_out is None else len(discovery.held_out[1])
    facts = [
        f"{discovery.rows:,} rows" + (f", {held_out:,} of them held out" if held_out else ""),
        f"{len(discovery.features)} column{'s' * (len(discovery.features) != 1)}",
        f"{discovery.seconds:.1f} s of search, {discovery.evaluations:,} evaluations, seed {discovery.seed}",
    ]
    return f'<p class="made">rediscover · {escape(" · ".join(facts))}</p>'


def _equation(discovery: Discovery, shown: ShownEquations) -> str:
    """The picked equation, typeset and as text, and what its names stand for."""
    chosen = shown.of(discovery.chosen)
    text = f"{discovery.target_name} = {chosen.infix(discovery.names)}"
    named = [(discovery.target_name, discovery.target)]
    named += [(discovery.names[index], discovery.features[index]) for index in chosen.variables]
    legend = ", ".join(
        f"<code>{escape(name)}</code> is {escape(_name(own))}" for name, own in named[:_MOST_NOTES] if name != own
    )
    sure = f"{MEANING}: {escape(', '.join(shown.intervals))}."
    typeset = mathml(chosen, [_name(name) for name in discovery.names], _name(discovery.target_name))
    return (
        f'<div class="formula">{typeset}</div>'
        + _trust(discovery, shown)
        + (f'<p class="problem">{escape(sentence)}</p>' if (sentence := verdict(discovery)) else "")
        + (f'<p class="note">{legend}</p>' if legend else "")
        + (f'<p class="note">{sure}</p>' if shown.intervals else "")
        + f"<details class='text'><summary>as text</summary><code>{escape(_cut(text))}</code></details>"
    )


def _trust(discovery: Discovery, shown: ShownEquations) -> str:
    """How far the picked equation can be trusted, and which others the data cannot tell from it."""
    words = trust_words(discovery, shown)
    if words is None:
        return ""
    rivals = "".join(
        f"<li><code>{escape(_cut(text))}</code> ({escape(behind)})</li>" for text, behind in words.competitors
    )
    return (
        f'<p class="trust"><strong>{escape(words.probability)}</strong></p>'
        + (f'<p class="note">The data do not tell it from</p><ul class="note">{rivals}</ul>' if rivals else "")
        + (f'<p class="note">{escape(_cut(words.measurement))}</p>' if words.measurement else "")
    )


def _scores(discovery: Discovery) -> str:
    if not discovery.scores:
        return ""
    rows = [
        f'<tr{" class=chosen" if place == 0 else ""}><td>{escape(name)}</td><td class="n">{r2_text(score.r2)}</td>'
        f'<td class="n">{"" if score.complexity is None else score.complexity}</td></tr>'
        for place, (name, score) in enumerate(discovery.scores.items())
    ]
    head = '<tr><th>model</th><th class="n">R² on held-out rows</th><th class="n">nodes or coefficients</th></tr>'
    return f"<h3>Beside other models</h3><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _rows(discovery: Discovery) -> list[str]:
    """Plots of the rows; none where the equation has no finite value on any that would be drawn."""
    if discovery.train is None:
        return []
    expression = discovery.chosen.expression
    sheet = plots.Sheet.of(expression, discovery.train, discovery.held_out)
    if not len(sheet.target):
        return ['<p class="problem">The equation is finite on no row that would be drawn.</p>']
    target = _name(discovery.target)
    legend = "Blue: rows of the fit; orange: rows held out." if discovery.held_out is not None else ""
    left_out = f" The equation is not finite on {sheet.left_out} rows." if sheet.left_out else ""
    drawn = f"{len(sheet.target):,} rows are drawn."
    return [
        f"<h3>Rows</h3><div class='pair'>{plots.prediction_plot(sheet, target)}"
        f"{plots.residual_plot(sheet, target)}</div>",
        f'<p class="note">{drawn} {legend}{left_out}</p>',
        *_within(discovery, sheet),
        *_variables(discovery, sheet, [_name(each) for each in discovery.features], target),
    ]


def _within(discovery: Discovery, sheet: plots.Sheet) -> list[str]:
    """How near to the equation a new measurement is to be expected."""
    intervals = discovery.intervals_of(discovery.chosen)
    if intervals is None:
        return []
    halves = intervals.measurement(discovery.chosen.expression, sheet.inputs)
    half = float(np.median(halves[np.isfinite(halves)])) if np.isfinite(halves).any() else math.nan
    if not math.isfinite(half):
        return []
    return [
        f'<p class="note">If this is the law, a new measurement lies within ± {half:.2g} of the equation with '
        f"{100 * intervals.level:.0f} % confidence (median of the rows that are drawn).</p>"
    ]


def _variables(discovery: Discovery, sheet: plots.Sheet, names: Sequence[str], target: str) -> list[str]:
    """What each variable does: its share, and the equation along the most telling ones."""
    expression, intervals = discovery.chosen.expression, discovery.intervals_of(discovery.chosen)
    found = plots.sensitivities(expression, sheet.inputs)
    if not found:
        return []
    slices = [
        plots.slice_plot(expression, sheet, each.variable, names[each.variable], target, intervals)
        for each in found[:_MOST_SLICES]
        if each.share >= _LEAST_SHARE
    ]
    return [
        f"<h3>Sensitivity</h3>{plots.sensitivity_plot(found[:_MOST_BARS], names)}",
        '<p class="note">Mean of |∂f/∂x| times the standard deviation of x, as a share of the sum.</p>',
        f"<h3>Along one variable</h3><div class='pair'>{''.join(slices)}</div>",
        '<p class="note">The line is the equation with all other variables at their medians; a dot is its value '
        f"plus the residual of a row.{_BANDS if intervals is not None else ''}</p>",
    ]


def _front(discovery: Discovery, shown: ShownEquations) -> str:
    """The Pareto front as a plot and as a table."""
    texts = [shown.of(candidate).infix(discovery.names) for candidate in discovery.front]
    names = [_name(name) for name in discovery.names]
    rows, room = [], _TYPESET_TOTAL
    for candidate, text in list(zip(discovery.front, texts, strict=True))[:_MOST_EQUATIONS]:
        equation = shown.of(candidate)
        drawn = mathml(equation, names, display=False) if len(equation) <= _TYPESET_TOKENS and room > 0 else ""
        room -= len(drawn)
        rows.append(
            f"<tr{' class=chosen' if candidate == discovery.chosen else ''}>"
            f'<td class="n">{candidate.complexity}</td><td class="n">{candidate.error:.3g}</td>'
            f'<td class="n">{r2_text(1.0 - candidate.error)}</td>'
            f"<td>{drawn or f'<code>{escape(_cut(text))}</code>'}</td></tr>"
        )
    more = len(texts) - len(rows)
    note = f'<p class="note">{more} more equations in equations.csv.</p>' if more > 0 else ""
    titles = [_cut(text, 300 if len(texts) <= _MOST_EQUATIONS else 60) for text in texts]
    head = '<tr><th class="n">nodes</th><th class="n">error</th><th class="n">R²</th><th>equation</th></tr>'
    return (
        f"<h3>Pareto front</h3>{plots.front_plot(discovery, titles)}"
        f'<div class="wide"><table class="front"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'{note}<p class="note">The error is the mean squared error over the variance of the target.</p>'
    )


def _notes(discovery: Discovery) -> str:
    notes = "".join(f"<li>{escape(_cut(printable(note), 500))}</li>" for note in discovery.notes[:_MOST_NOTES])
    return f"<h3>Notes</h3><ul>{notes}</ul>" if notes else ""


def _cut(text: str, most: int = _LONGEST_EQUATION) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
