"""Variables that stand together: a table of fewer columns, in which x - z, x*z or x**2 + z**2, say, replaces two.

A function of x - z has slopes by x and z that cancel, one of x/z has x*f_x + z*f_z = 0, whatever is around it. The
slopes are those of a polynomial through the rows (`searches.direct.surrogates`): pairs that look like it are put
together, one after the other, as long as the polynomial tells rows it has not seen better with one variable less.
As in S.-M. Udrescu et al., "AI Feynman 2.0: Pareto-optimal symbolic regression exploiting graph modularity",
NeurIPS 2020, where a network takes the part of the polynomial.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE
from searches.common.chosen_rows import evenly_spread
from searches.direct.surrogates import Surrogate, surrogate
from searches.direct.writing import Writer

__all__ = ["Reduced", "reduced"]

_FEWEST_ROWS, _MOST_ROWS = 60, 400
_MOST_VARIABLES = 9
_LIKELY = 0.4  # share of the slopes that does not cancel, up to which a pair is tried
_TRIED = 5  # pairs
_BETTER = 1.0  # of the error on unseen rows, at which a pair is one: another makes it many times as large
_UNKNOWN = 0.5  # error at which the polynomial says nothing
_KNOWN = 1e-20  # error at which more cannot be told


@dataclass(frozen=True)
class Reduced:
    """A table of fewer columns.

    Attributes:
        inputs: values of the new columns. `[rows, fewer]`
        columns: the new columns as expressions of the table's own.
        scales: flags of the columns that the polynomial sees as their logarithms.
    """

    inputs: np.ndarray
    columns: tuple[Expression, ...]
    scales: tuple[bool, ...]

    def restored(self, expression: Expression) -> Expression:
        """An equation of the new columns as one of the table's own."""
        return replaced(expression, self.columns)

    def seen(self) -> np.ndarray:
        """The columns, some as their logarithms. `[rows, fewer]`"""
        return np.where(self.scales, np.log(np.where(self.scales, self.inputs, 1.0)), self.inputs)


def replaced(expression: Expression, columns: Sequence[Expression]) -> Expression:
    """The expression with other expressions in the place of its variables."""
    found: Expression = expression.fold(
        lambda token, value: (
            columns[token - FIRST_VARIABLE] if token >= FIRST_VARIABLE else Expression.constant(value)
        ),
        lambda row, *arguments: Expression.apply(row.name, *arguments),
    )
    return found


def reduced(inputs: np.ndarray, target: np.ndarray, operators: Collection[str]) -> Reduced | None:
    """The table with as few columns as its symmetries leave; None where it has none, or none can be seen.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        operators: names of the operators that may occur.
    """
    rows, variables = inputs.shape
    if rows < _FEWEST_ROWS or not 2 <= variables <= _MOST_VARIABLES or not np.ptp(inputs, axis=0).all():
        return None
    some = evenly_spread(rows, _MOST_ROWS)
    now, values, before = _smoothest(inputs[some], target[some])
    writer = Writer(operators)
    while _KNOWN < before.error < _UNKNOWN and len(now.columns) > 1:
        best: tuple[Surrogate, Reduced] | None = None
        for pair in _pairs(now, before, writer)[:_TRIED]:
            for trial in _joined(now, pair):
                after = surrogate(trial.seen(), values)
                if after.error < (_BETTER * before.error if best is None else best[0].error):
                    best = after, trial
        if best is None:
            break
        before, now = best
    if len(now.columns) == variables:
        return None
    with np.errstate(all="ignore"):
        every = np.column_stack([column(inputs) for column in now.columns])
    return replace(now, inputs=every) if np.isfinite(every).all() else None


def _smoothest(inputs: np.ndarray, target: np.ndarray) -> tuple[Reduced, np.ndarray, Surrogate]:
    """The table and the target as a polynomial tells them best: what follows holds for any scale of both."""
    plain = tuple(Expression.variable(column) for column in range(inputs.shape[1]))
    positive = tuple((inputs.min(axis=0) > 0).tolist())
    middle = float(np.median(target))
    width = float(np.median(np.abs(target - middle))) or float(np.std(target))
    targets = [target, np.arcsinh((target - middle) / width)]
    if target.min() > 0 or target.max() < 0:
        targets.append(np.log(np.abs(target)))
    fits = []
    for scales in dict.fromkeys([(False,) * len(plain), positive]):
        table = Reduced(inputs, plain, scales)
        fits += [(table, values, surrogate(table.seen(), values)) for values in targets]
    return min(fits, key=lambda fit: fit[2].error)


def _pairs(table: Reduced, smooth: Surrogate, writer: Writer) -> list[Expression]:
    """Functions of two columns whose slopes nearly cancel, the likeliest first."""
    inputs, scales = table.inputs, np.array(table.scales)
    over_logs = smooth.slopes(table.seen())
    some = np.where(inputs == 0, 1.0, inputs)
    slopes = np.where(scales, over_logs / some, over_logs)
    choices: list[tuple[float, int, Expression]] = []
    for one, other in itertools.combinations(range(inputs.shape[1]), 2):
        for name, power, parts, sign in (
            ("sub", 1, slopes, 1.0),
            ("add", 1, slopes, -1.0),
            ("div", 1, inputs * slopes, 1.0),
            ("mul", 1, inputs * slopes, -1.0),
            ("add", 2, slopes / some, -1.0),
            ("sub", 2, slopes / some, 1.0),
        ):
            left = float(np.abs(parts[:, one] + sign * parts[:, other]).sum())
            size = float(np.abs(parts[:, [one, other]]).sum())
            bases = [writer.power(Expression.variable(column), power) for column in (one, other)]
            if _may_occur(name, writer) and None not in bases and size > 0 and left <= _LIKELY * size:
                choices.append((left / size, len(choices), Expression.apply(name, *bases)))  # type: ignore[arg-type]
    return [pair for _, _, pair in sorted(choices, key=lambda choice: choice[:2])]


def _may_occur(name: str, writer: Writer) -> bool:
    return writer.products if name == "mul" else writer.quotients if name == "div" else writer.sums


def _joined(table: Reduced, pair: Expression) -> Iterator[Reduced]:
    """The table with one column in the place of two, as it is and over its logarithm, where these are finite."""
    with np.errstate(all="ignore"):
        values = pair(table.inputs)
    if not np.isfinite(values).all() or not np.ptp(values) > 0:
        return
    rest = [column for column in range(len(table.columns)) if column not in pair.variables]
    inputs = np.column_stack([table.inputs[:, rest], values])
    columns = (*(table.columns[column] for column in rest), replaced(pair, table.columns))
    kept = tuple(table.scales[column] for column in rest)
    yield Reduced(inputs, columns, (*kept, False))
    if values.min() > 0:
        yield Reduced(inputs, columns, (*kept, True))
