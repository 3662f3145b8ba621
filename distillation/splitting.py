"""Equations of a network found part by part: what a network says of its form makes several small searches of one.

Inputs that do not matter are held, parts of a sum or a product are searched alone on the network's own values,
and two inputs of which only the difference, sum, ratio or product counts become one. What is found is put
together, and its constants are fitted on the whole.

Source: S.-M. Udrescu and M. Tegmark, AI Feynman, Science Advances 6, 2020, which splits by a network that it has
trained for that; here, the network is what is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
from scipy.spatial import cKDTree

from distillation.asking import LIMIT, SYMMETRY_LIMIT, ask
from distillation.choosing.description import described_order
from distillation.questions.answers import Answers
from distillation.questions.findings import OutputFindings, Split
from distillation.questions.region import designed_points
from distillation.questions.slices import Slices
from distillation.questions.symmetries import Symmetry
from expressions.canonical_form import without_affine
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE
from searches.pareto_front import Candidate

__all__ = ["Search", "SplitSearch"]

Search = Callable[[np.ndarray, np.ndarray], Sequence[Expression]]
"""Inputs `[rows, inputs]` and target `[rows]` to equations of x0, x1 …, the best first."""
Values = Callable[[np.ndarray], np.ndarray]
"""Inputs `[rows, inputs]` to values `[rows]`."""

_ROWS = 400
_DEEPEST = 4
_EACH = 4  # equations of a part that are put together with those of the others
_MOST_TOGETHER, _WAYS = 40, 1_000
_KEPT = 5
_FIT_STEPS = 20


@dataclass
class SplitSearch:
    """A search for one output of a network by what it says of its form.

    Attributes:
        answers: network.
        output: number of the output.
        search: function that searches a small table.
        seed: random seed.
        searched: tables that were searched, as a sentence each.
    """

    answers: Answers
    output: int
    search: Search
    seed: int
    searched: list[str] = field(default_factory=list)

    def equations(self, inputs: np.ndarray, findings: OutputFindings | None = None) -> list[Expression]:
        """Equations of the output, the one with the smallest error at designed points first.

        Args:
            inputs: activations. `[rows, inputs]`
            findings: what is known of the output already; None: it is asked.

        Returns:
            Equations; none where the network has no form to split by, so that a search of the whole is all there
            is to do.
        """
        own = findings or self._asked(self._whole, inputs)
        if not _can_be_split(own, inputs.shape[1]):
            return []
        return self._solved(self._whole, inputs, own, 0)

    def _whole(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(self.answers(points)[:, self.output])

    def _solved(
        self, values: Values, inputs: np.ndarray, known: OutputFindings | None, depth: int
    ) -> list[Expression]:
        """Equations of a function of a table's columns."""
        own = known or self._asked(values, inputs)
        if depth < _DEEPEST and _can_be_split(own, inputs.shape[1]):
            points = designed_points(inputs, _ROWS, seed=self.seed).points
            found = self._split(values, inputs, own, depth)
            return _fitted(found, points, values(points))
        return self._searched(values, inputs)

    def _split(self, values: Values, inputs: np.ndarray, own: OutputFindings, depth: int) -> list[Expression]:
        mergers = _mergers(own)
        if own.split is not None and not (mergers and _is_clearer(mergers[0], own.split)):
            return self._parts(values, inputs, own.split, depth)
        if len(own.matters) < inputs.shape[1]:
            return self._parts(values, inputs, Split("sum", (own.matters,), 0.0, 0.0), depth)
        return self._merged(values, inputs, mergers[0], depth)

    def _parts(self, values: Values, inputs: np.ndarray, split: Split, depth: int) -> list[Expression]:
        """Equations of the parts, put together in all ways."""
        slices = Slices(values, inputs, split, seed=self.seed)
        found = []
        each_of = next(count for count in range(_EACH, 0, -1) if count == 1 or count ** len(split.parts) <= _WAYS)
        for number, part in enumerate(split.parts):
            columns = inputs[:, list(part)]
            equations = self._solved(slices.part(number), columns, None, depth + 1)[:each_of]
            found.append([_renamed(each, dict(enumerate(map(Expression.variable, part)))) for each in equations])
        ranks = sorted(
            product(*(range(len(each)) for each in found)), key=sum
        )  # all but one the best ones, and so on
        return [
            _together(split, [found[part][rank] for part, rank in enumerate(each)])
            for each in ranks[:_MOST_TOGETHER]
        ]

    def _merged(self, values: Values, inputs: np.ndarray, symmetry: Symmetry, depth: int) -> list[Expression]:
        """Equations with one input in the place of two."""
        merger = _Merger(symmetry, inputs)
        found = self._solved(lambda points: values(merger.apart(points)), merger.columns, None, depth + 1)
        return [_renamed(each, merger.variables) for each in found]

    def _searched(self, values: Values, inputs: np.ndarray) -> list[Expression]:
        points = designed_points(inputs, _ROWS, seed=self.seed)
        target = values(points.points)
        self.searched.append(f"{inputs.shape[1]} inputs: {points.words}")
        if np.ptp(target) == 0:
            return [Expression.constant(float(target[0]))]
        return list(self.search(points.points, target))

    def _asked(self, values: Values, inputs: np.ndarray) -> OutputFindings:
        def function(points: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(values(points.numpy()))

        return ask(Answers(function, dtype=torch.float64), inputs, seed=self.seed).outputs[0]


class _Merger:
    """One column in the place of two of which only their difference, sum, ratio or product counts."""

    def __init__(self, symmetry: Symmetry, inputs: np.ndarray) -> None:
        self.symmetry = symmetry
        self._others = [each for each in range(inputs.shape[1]) if each not in (symmetry.first, symmetry.second)]
        x, z = Expression.variable(symmetry.first), Expression.variable(symmetry.second)
        name = {"difference": "sub", "sum": "add", "ratio": "div", "product": "mul"}[symmetry.kind]
        merged = Expression.apply(name, x, z)
        self.variables = {0: merged, **{k + 1: Expression.variable(each) for k, each in enumerate(self._others)}}
        self.columns = np.column_stack([merged(inputs), inputs[:, self._others]])
        self._inputs = inputs
        self._scale = np.where(np.ptp(self.columns, axis=0) > 0, self.columns.std(axis=0), 1.0)

    def apart(self, points: np.ndarray) -> np.ndarray:
        """Rows of the first table for rows of the merged one, with the second input of the nearest activation."""
        nearest = cKDTree(self.columns / self._scale).query(points / self._scale)[1]
        found = self._inputs[nearest].copy()
        found[:, self._others] = points[:, 1:]
        merged, z = points[:, 0], found[:, self.symmetry.second]
        found[:, self.symmetry.first] = {
            "difference": merged + z,
            "sum": merged - z,
            "ratio": merged * z,
            "product": merged / z,
        }[self.symmetry.kind]
        return found


def _mergers(own: OutputFindings) -> list[Symmetry]:
    return [each for each in own.symmetries if each.kind != "exchange"]


def _is_clearer(symmetry: Symmetry, split: Split) -> bool:
    """Whether a symmetry is kept better than a form: a function of x/z is almost a product and an offset."""
    return symmetry.defect / SYMMETRY_LIMIT < split.defect / LIMIT


def _can_be_split(own: OutputFindings, inputs: int) -> bool:
    return bool(own.matters) and bool(own.split or _mergers(own) or len(own.matters) < inputs)


def _together(split: Split, parts: Sequence[Expression]) -> Expression:
    """Parts with a factor for each term and one offset in the place of their own: no two constants do the same."""
    terms = parts if split.kind == "sum" else [Expression.joined("mul", parts)]
    scaled = [Expression.apply("mul", Expression.constant(1.0), without_affine(each)) for each in terms]
    return Expression.joined("add", [*scaled, Expression.constant(split.offset)])


def _fitted(equations: Sequence[Expression], points: np.ndarray, target: np.ndarray) -> list[Expression]:
    """The best few equations with their constants fitted."""
    unique = list(dict.fromkeys(equations))
    if not unique:
        return []
    fitted = fit_constants(unique, points, target, iterations=_FIT_STEPS)
    errors = fitted.errors / max(float(np.var(target)), 1e-300)
    judged = [
        Candidate(each, len(each), error, error)
        for each, error in zip(fitted.expressions, errors.tolist(), strict=True)
        if np.isfinite(error)
    ]
    # Among the most accurate ones there may be none that does not follow the network's own errors.
    kept = [*sorted(judged, key=lambda each: each.error)[:_KEPT], *described_order(judged)[:_KEPT]]
    return list(dict.fromkeys(each.expression for each in sorted(kept, key=lambda each: each.error)))


def _renamed(equation: Expression, variables: Mapping[int, Expression]) -> Expression:
    """An equation with others in the place of its variables."""

    def leaf(token: int, value: float) -> Expression:
        return Expression.constant(value) if token == CONSTANT else variables[token - FIRST_VARIABLE]

    found: Expression = equation.fold(leaf, lambda row, *arguments: Expression.apply(row.name, *arguments))
    return found
