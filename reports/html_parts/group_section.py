"""The runs of a group on the page: what they found, how they did on average, and each of them folded away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.html_parts.allowance import Allowance
from reports.html_parts.escaping import escape
from reports.html_parts.formulas import equation
from reports.html_parts.numbers import breakable, code, cut, number, spread
from reports.html_parts.run_groups import Group, Spread
from runs.reader import Run

__all__ = ["equations_of", "runs_of"]

EQUATIONS = 6
"""Number of a group's targets that are shown; a run of many problems has more."""
LONGEST_CODE = 1000
"""Number of characters of an equation as text."""
LONGEST_SETTINGS = 300
_CODE_OF_A_RUN = 160

_SCORES = (
    ("complexity", "nodes"), ("train_r2", "train R²"), ("test_r2", "test R²"), ("test_mse", "test MSE"),
    ("recovered", "recovered"), ("equivalent", "equivalent"), ("seconds", "seconds"),
)  # fmt: skip


def equations_of(group: Group, numbers: Mapping[int, int], formulas: Allowance) -> str:
    """A group's heading and the best equation of every target, with the mean scores of all its runs.

    Args:
        group: runs that differ in their seed.
        numbers: number of each run that is shown in full, by its `id`.
        formulas: room for typeset equations.
    """
    count = f"{len(group.runs)} run{'s' * (len(group.runs) != 1)}"
    settings = cut(group.settings, LONGEST_SETTINGS)
    facts = " · ".join(escape(text) for text in (settings, count, group.seeds) if text)
    head = f'<h3>{escape(group.model) or "unknown model"}</h3><p class="facts">{facts}</p>'
    found = group.equations()
    if not found:
        return f'{head}<p class="note">No equation yet.</p>'
    rows = list(found.items())[:EQUATIONS]
    keys = [(key, name) for key, name in _SCORES if any(_values(each, key) for _, each in rows)]
    bodies = "".join(_target(target, each, keys, numbers, formulas) for (_, target), each in rows)
    heads = "".join(f'<th class="n">{name}</th>' for _, name in keys)
    more = len(found) - len(rows)
    note = f'<p class="note">{more} more equations in results.json of these runs.</p>' if more else ""
    return (
        f'{head}<div class="wide"><table class="equations"><thead><tr><th>target</th>{heads}</tr></thead>'
        f"{bodies}</table></div>{note}"
    )


def runs_of(group: Group, numbers: Mapping[int, int], metrics: Sequence[str]) -> Iterator[str]:
    """A row for each run of a group.

    Args:
        group: runs that differ in their seed.
        numbers: number of each run that is shown in full, by its `id`.
        metrics: columns of the table.
    """
    for run in group.runs:
        cells = [f"<td>{_link(run, numbers)}</td><td>{escape(run.seed)}</td>"]
        cells.append(f'<td><span class="state {escape(run.state)}">{escape(run.state)}</span></td>')
        cells += [f'<td class="n">{number(run.metrics.get(metric))}</td>' for metric in metrics]
        first = str(run.equations[0].get("infix", "")) if run.equations else ""
        cells.append(f"<td>{code(first, _CODE_OF_A_RUN) if first else ''}</td>")
        yield f"<tr>{''.join(cells)}</tr>"


def _target(
    target: str,
    found: Sequence[tuple[Run, Mapping[str, Any]]],
    keys: Sequence[tuple[str, str]],
    numbers: Mapping[int, int],
    formulas: Allowance,
) -> str:
    """The best equation of one target, and the scores over all runs."""
    run, row = found[0]
    cells = "".join(f'<td class="n">{_score(found, key)}</td>' for key, _ in keys)
    best = f"the best of {len(found)}, " if len(found) > 1 else ""
    drawn = equation(target, str(row.get("infix", "")), formulas, LONGEST_CODE)
    score = f"test R² {number(row.get('test_r2'))}, " if len(found) > 1 else ""
    return (
        f'<tbody><tr class="scores"><td>{breakable(target)}</td>{cells}</tr>'
        f'<tr><td colspan="{len(keys) + 1}" class="equation">{drawn}'
        f'<p class="note">{best}{score}{_link(run, numbers)}</p></td></tr></tbody>'
    )


def _link(run: Run, numbers: Mapping[int, int]) -> str:
    """Name of a run, which leads to where the run is shown in full."""
    name = breakable(run.name)
    return f'<a href="#run-{numbers[id(run)]}">{name}</a>' if id(run) in numbers else name


def _values(found: Sequence[tuple[Run, Mapping[str, Any]]], key: str) -> list[Any]:
    return [row[key] for _, row in found if row.get(key) is not None]


def _score(found: Sequence[tuple[Run, Mapping[str, Any]]], key: str) -> str:
    """A score over the runs: mean and deviation, or how many of them have it; of a single run as it is."""
    values = _values(found, key)
    if len(values) < 2 or not all(isinstance(value, int | float) for value in values):
        return number(values[0] if values else None)
    if all(isinstance(value, bool) for value in values):
        return f"{sum(values)} of {len(values)}"
    return spread(Spread.of(values))
