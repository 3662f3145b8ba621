"""A discovery in a terminal: the Pareto front as a table, the picked formula set in characters, the scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from expressions.expression import Expression
from foundation.terminal import printable
from reports.discovery_parts.intervals import MEANING
from reports.discovery_parts.result import Discovery, Score
from reports.discovery_parts.shown import ShownEquations, r2_text
from reports.discovery_parts.trust_words import trust_words
from reports.discovery_parts.verdict import verdict
from reports.typeset.terminal import formula_lines
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["Formula", "few_digits", "front_table", "score_table", "summary"]

_PICKED = "\N{BLACK RIGHT-POINTING POINTER}"
_LIVE_DIGITS = 4


def front_table(
    front: ParetoFront,
    chosen: Candidate | None,
    names: Sequence[str],
    target: str,
    *,
    shown: ShownEquations | None = None,
) -> Table:
    """A Pareto front as a table that fits into the terminal, the picked row marked.

    Args:
        front: equations, shortest first.
        chosen: equation that is picked, if any.
        names: names of the variables, any text.
        target: name of the target, any text.
        shown: equations with the digits that the data support, wrapped where they are long; when not given, as
            while a search runs, constants have four digits, and long equations are cut.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", width=1)
    table.add_column("nodes", justify="right", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    table.add_column("R²", justify="right", no_wrap=True)
    whole = shown is not None
    table.add_column(Text(f"{printable(target)} ="), overflow="fold" if whole else "ellipsis", no_wrap=not whole)
    plain = [printable(name) for name in names]
    for candidate in front:
        picked = chosen is not None and candidate == chosen
        equation = few_digits(candidate.expression) if shown is None else shown.of(candidate)
        table.add_row(
            _PICKED if picked else "",
            str(candidate.complexity),
            f"{candidate.error:.2g}",
            r2_text(1.0 - candidate.error),
            Text(equation.infix(plain)),
            style="bold green" if picked else None,
        )
    return table


def score_table(scores: Mapping[str, Score]) -> Table:
    """Held-out R2 of the equation and of what it is compared with."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("on held-out rows")
    table.add_column("R²", justify="right")
    table.add_column("size", justify="right")
    for place, (name, score) in enumerate(scores.items()):
        size = "" if score.complexity is None else str(score.complexity)
        table.add_row(Text(name), r2_text(score.r2), size, style="bold" if place == 0 else None)
    return table


@dataclass(frozen=True)
class Formula:
    """An equation set in as many lines as it takes, on one line where the terminal is too narrow for that.

    Attributes:
        expression: equation to set.
        names: names of the variables, any text.
        target: name of the target, any text.
    """

    expression: Expression
    names: Sequence[str]
    target: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        """The lines, for the width that there is."""
        width = 0 if options.ascii_only else options.max_width
        for line in formula_lines(self.expression, self.names, self.target, width):
            yield Text(line, no_wrap=width > 0 and len(line) <= width, overflow="fold")


def summary(discovery: Discovery, shown: ShownEquations | None = None) -> Group:
    """All that a search shows at its end: the front, the picked formula, the scores.

    Args:
        discovery: equations and scores to show.
        shown: equations with the digits that the data support; computed when not given.
    """
    shown = ShownEquations.of_discovery(discovery) if shown is None else shown
    names, target = discovery.names, discovery.target_name
    parts: list[RenderableType] = [
        front_table(discovery.front, discovery.chosen, names, target, shown=shown),
        Padding(Formula(shown.of(discovery.chosen), names, target), (1, 2)),
    ]
    if shown.intervals:
        parts.append(Padding(Text(f"{MEANING}: {', '.join(shown.intervals)}."), (0, 0, 1, 0)))
    parts += _trust(discovery, shown)
    if sentence := verdict(discovery):
        parts.append(Text(sentence, style="yellow"))
    if discovery.scores:
        parts.append(score_table(discovery.scores))
    return Group(*parts)


def _trust(discovery: Discovery, shown: ShownEquations) -> list[RenderableType]:
    """How far the picked formula can be trusted."""
    words = trust_words(discovery, shown)
    if words is None:
        return []
    parts: list[RenderableType] = [Text(words.probability, style="bold")]
    if words.competitors:
        parts.append(Text("The data do not tell it from"))
        parts += [Padding(Text(f"{text}   ({behind})"), (0, 2)) for text, behind in words.competitors]
    if words.measurement:
        parts.append(Text(words.measurement))
    return [Padding(Group(*parts), (0, 0, 1, 0))]


def few_digits(expression: Expression) -> Expression:
    """The expression with four digits a constant, for a look while a search runs."""
    return expression.with_constants(
        [float(f"{value:.{_LIVE_DIGITS - 1}e}") for value in expression.constants.tolist()]
    )
