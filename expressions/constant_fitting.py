"""Fit the constants of many expressions at once.

`fit_constants` is a Levenberg-Marquardt method (Moré, The Levenberg-Marquardt algorithm, 1978) on all
expressions of a batch together, each from several starts. Constants in which an expression is affine are not
iterated: they are eliminated by variable projection in Kaufman's form (L. Kaufman, A variable projection
method for solving separable nonlinear least squares problems, BIT 15, 1975): one joint Gauss-Newton system in
which only the nonlinear constants are damped, and steps judged by the residual that is left *after* the best
linear constants. So an iteration costs one evaluation of values and Jacobian, and all the algebra happens on
the small Gram matrix of `[J, residual]`. Constants below one another, as in `a (g + b (h + c k))`, are eliminated
together: the expression is affine in `a`, `a b` and `a b c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from expressions.constant_starts import StartingPoints
from expressions.differentiation import (
    Columns,
    Linearity,
    Tape,
    Trees,
    Workspace,
    blocks,
    linear_constants,
    parameters_in_order,
    read_trees,
)
from expressions.expression import Expression
from expressions.operators import CONSTANT, TOKEN

__all__ = ["FitResult", "fit_constants", "reach_of_constants"]

_WORKSPACE_BYTES = 32 << 20  # of node values and adjoints at a time; smaller chunks cost more NumPy calls
_COLUMN_BYTES = 256 << 20  # of constant-free subtrees at a time
_SMALLEST_PIVOT = 1e-12  # of a column scaled to length 1: below, it depends on the columns before it
_FIRST_DAMPING = 0.1
_DAMPING_DOWN, _DAMPING_UP = 0.1, 6.0
_LARGEST_DAMPING = 1e8
_CONVERGED = 1e-6  # relative decrease of the squared error, by an accepted step or as any step promises
_STALE = 0.3  # relative change of a linear constant that makes derivatives useless
_SUSPECT = 1e-3  # ... that makes them suspect when a step failed
_CANCELLED = 1e-10  # projected against plain error: below, the projection has lost most of its digits
_WORTH_A_TAPE = 4 / 3  # a schedule of fewer instances pays when so many times as many are carried along
_FRESH_STARTS = 3  # attempts to find finite values for a start that has none


@dataclass(frozen=True)
class FitResult:
    """Fitted expressions, in the order they were given.

    Attributes:
        expressions: same programs, fitted constants.
        errors: `[expressions]` mean squared error (weighted mean where weights were given) of
            `scale * expression + offset`; inf where no start gave finite values on all rows.
        scale: `[expressions]` outer factor; 1 unless `affine`.
        offset: `[expressions]` outer offset; 0 unless `affine`.
        evaluations: how often the values of one expression were computed on the whole table, all starts
        together.
    """

    expressions: list[Expression]
    errors: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    evaluations: int


def fit_constants(
    expressions: Sequence[Expression],
    inputs: np.ndarray,
    target: np.ndarray,
    *,
    iterations: int = 10,
    starts: int = 1,
    rng: np.random.Generator | None = None,
    weights: np.ndarray | None = None,
    fixed: Sequence[np.ndarray] | None = None,
    affine: bool = False,
    dtype: type = np.float64,
) -> FitResult:
    """Least-squares fit of the constants of every expression to one target.

    The first start of an expression is the constants it comes with; the others are random magnitudes and
    signs on the scale of what the constant multiplies or shifts, and a spread of frequencies inside `sin` and
    `cos`. Random numbers depend on the generator and on the expression's own structure, never on its
    neighbours: neither the order of `expressions` nor the company changes a result.

    Args:
        expressions: what to fit; expressions without constants are only scored.
        inputs: `[rows, variables]`.
        target: `[rows]`.
        iterations: trial steps per start; expressions with linear constants only need none.
        starts: starting points per expression, at least 1.
        rng: source of the random starts; a fixed one when not given.
        weights: `[rows]`, not negative: weights of the squared residuals.
        fixed: for every expression `[constants]` bool, the constants that keep their value.
        affine: also solve for an outer scale and offset, `scale * f + offset`. They are returned beside the
            expressions, not written into them. A constant of `f` that is such a scale or offset by itself
            takes the role over, or keeps its value, so that no two constants mean the same.
        dtype: type to compute values and derivatives in. With `np.float32` (about twice as fast, far more for
            `sin` and `cos`) the algebra is still float64, but errors are only good to about 1e-7 of the
            target's size.

    Returns:
        The fits; an expression is never worse than its first start.

    Raises:
        ValueError: shapes do not fit together, there is no row, or `starts` is not positive.
    """
    inputs, target = np.asarray(inputs, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if inputs.ndim != 2 or target.shape != inputs.shape[:1] or not len(target):
        raise ValueError(f"inputs {inputs.shape} and target {target.shape} must be [rows, variables] and [rows]")
    if starts < 1 or iterations < 0:
        raise ValueError(f"starts = {starts} must be at least 1 and iterations = {iterations} at least 0")
    if weights is not None and np.shape(weights) != target.shape:
        raise ValueError(f"weights {np.shape(weights)} must be [rows] as the target {target.shape}")
    table = _Table.of(inputs, target, weights, np.dtype(dtype))
    key = 0 if rng is None else int(rng.integers(2**63))
    result = FitResult(
        list(expressions),
        np.full(len(expressions), np.inf),
        np.ones(len(expressions)),
        np.zeros(len(expressions)),
        0,
    )
    evaluations = 0
    for part in _parts(expressions, table):
        held = None if fixed is None else [np.asarray(fixed[i], dtype=bool) for i in part]
        fit = _Fit([expressions[i] for i in part], table, affine, held)
        best = fit.run(iterations, starts, key)
        evaluations += best.evaluations
        for k, i in enumerate(part):
            result.expressions[i] = best.expressions[k]
        result.errors[part], result.scale[part], result.offset[part] = best.errors, best.scale, best.offset
    return FitResult(result.expressions, result.errors, result.scale, result.offset, evaluations)


# --- what is fitted ---


@dataclass(frozen=True)
class _Table:
    """The data in the type that values are computed in."""

    inputs: np.ndarray  # [variables, rows]
    target: np.ndarray  # [rows]
    root_weights: np.ndarray | None  # [rows]
    total_weight: float
    floor: float  # squared error below which nothing but rounding is left
    dtype: np.dtype

    @classmethod
    def of(cls, inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None, dtype: np.dtype) -> _Table:
        """Convert a table."""
        weight = np.ones_like(target) if weights is None else np.asarray(weights, dtype=np.float64)
        squares = float(np.sum(weight * target * target))
        root = None if weights is None else np.sqrt(weight).astype(dtype)
        columns = np.ascontiguousarray(inputs.T, dtype=dtype)
        floor = (4.0 * np.finfo(dtype).eps) ** 2 * squares
        return cls(columns, target.astype(dtype), root, max(float(weight.sum()), 1e-300), floor, dtype)


def _parts(expressions: Sequence[Expression], table: _Table) -> list[list[int]]:
    """Split a batch so that its constant-free columns fit in memory; neighbours share the most."""
    budget = max(1, _COLUMN_BYTES // max(1, len(table.target) * table.dtype.itemsize))
    parts: list[list[int]] = [[]]
    nodes = 0
    for i, expression in enumerate(expressions):
        nodes += len(expression)
        if parts[-1] and nodes > budget:
            parts.append([])
            nodes = len(expression)
        parts[-1].append(i)
    return parts if parts[-1] else []


@dataclass
class _Instances:
    """State of the instances of a chunk; every array has the instances last, or alone.

    `instances = starts x expressions` of the chunk, those of one expression together. `width` is the largest
    number of free constants.
    """

    expression: np.ndarray  # [instances] index into the fit
    constants: np.ndarray  # [instances, constants], all of them, in prefix order
    which: np.ndarray  # [width, instances] constant that parameter k is, the linear ones first; -1 for none
    linear: np.ndarray  # [width, instances], eliminated
    factors: np.ndarray  # [width, instances], those of them that derivatives by the others depend on
    scaled_by: np.ndarray  # [width, instances], for those below a scale: which parameter that is; -1: none
    stale: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))  # [instances], see `_is_stale`
    damping: np.ndarray = field(default_factory=lambda: np.empty(0))  # [instances]
    tableau: np.ndarray = field(default_factory=lambda: np.empty(0))  # [width + 1, width + 1, instances]
    scale: np.ndarray = field(default_factory=lambda: np.empty(0))  # [width + 1, instances]
    error: np.ndarray = field(default_factory=lambda: np.empty(0))  # [instances] squared, linear constants at best

    def select(self, keep: np.ndarray) -> _Instances:
        """A copy of some of the instances."""
        return _Instances(
            self.expression[keep],
            self.constants[keep],
            self.which[:, keep],
            self.linear[:, keep],
            self.factors[:, keep],
            self.scaled_by[:, keep],
            self.stale[keep],
            self.damping[keep],
            self.tableau[..., keep],
            self.scale[:, keep],
            self.error[keep],
        )

    def store(self, at: np.ndarray, other: _Instances) -> None:
        """Write the state of `other` back to the instances `at`."""
        self.constants[at], self.damping[at], self.error[at] = other.constants, other.damping, other.error
        self.stale[at] = other.stale
        self.tableau[..., at], self.scale[:, at] = other.tableau, other.scale

    def moved(self, steps: np.ndarray) -> np.ndarray:
        """Constants after `steps [width, instances]`, `[instances, constants]`."""
        constants = self.constants.copy()
        parameter, instance = np.nonzero(self.which >= 0)
        constants[instance, self.which[parameter, instance]] += steps[parameter, instance]
        return constants


class _Fit:
    """Fits one part of a batch."""

    def __init__(
        self,
        expressions: list[Expression],
        table: _Table,
        affine: bool,
        fixed: list[np.ndarray] | None = None,
    ) -> None:
        self.expressions, self.table, self.affine = expressions, table, affine
        self.trees, self.free, linear = _read([expression.tokens for expression in expressions], affine, fixed)
        self.linear, self.factors = linear.chosen, linear.chosen & ~linear.offset
        self.scale_position = linear.scale
        with np.errstate(all="ignore"):
            self.columns = Columns(self.trees, table.inputs)
        self.workspace = Workspace(table.dtype)
        self.evaluations = 0
        self.given = self._given_constants()
        self.held = self._held_constants(fixed)

    def _held_constants(self, fixed: list[np.ndarray] | None) -> np.ndarray | None:
        """Which constants keep what was given, in every start. `[expressions, constants]` bool, None: none"""
        if fixed is None or not any(flags.any() for flags in fixed):
            return None
        held = np.zeros(self.given.shape, dtype=bool)
        for k, flags in enumerate(fixed):
            held[k, 1 if self.affine else 0 :][: len(flags)] = flags
        return held

    def _draw(self, drawn: StartingPoints, expression: np.ndarray, number: np.ndarray, starts: int) -> np.ndarray:
        """Random constants of a start, but for those that are held. `[instances, constants]`"""
        constants = drawn.draw(expression, number, starts)
        if self.held is None:
            return constants
        return np.where(self.held[expression], self.given[expression], constants)

    def _given_constants(self) -> np.ndarray:
        """`[expressions, constants]`, padded behind with 0."""
        counts = self.trees.constant_counts
        given = np.zeros((len(self.expressions), int(counts.max(initial=0))))
        for k, expression in enumerate(self.expressions):
            first = 1 if self.affine else 0
            given[k, first : first + len(expression.constants)] = expression.constants
        if self.affine:
            given[:, 0] = 1.0
        return given

    def run(self, iterations: int, starts: int, key: int) -> FitResult:
        """Fit everything, chunk by chunk."""
        count = len(self.expressions)
        constants, errors = self.given.copy(), np.full(count, np.inf)
        parameters = self.free.sum(axis=0)
        order = np.argsort(parameters, kind="stable")
        drawn = StartingPoints(self.trees, self.columns, self.given, key)
        with np.errstate(all="ignore"):
            for chunk in self._chunks(order, parameters, starts):
                constants[chunk], errors[chunk] = self._fit_chunk(chunk, iterations, starts, drawn)
        nowhere = np.isinf(errors)
        constants[nowhere] = self.given[nowhere]
        scale, offset = np.ones(count), np.zeros(count)
        first, last = 0, self.trees.constant_counts
        if self.affine:
            scale = constants[:, 0].copy()
            offset = constants[np.arange(count), last - 1].copy()
            first, last = 1, last - 1
        fitted = [
            e.with_constants(constants[k, first : last[k]]) if len(e.constants) else e
            for k, e in enumerate(self.expressions)
        ]
        return FitResult(fitted, errors / self.table.total_weight, scale, offset, self.evaluations)

    def _chunks(self, order: np.ndarray, parameters: np.ndarray, starts: int) -> list[np.ndarray]:
        """Split expressions, ordered by free constants, so that node values and adjoints stay in cache."""
        rows = max(stop - start for start, stop in blocks(len(self.table.target)))
        nodes = self.trees.varies.sum(axis=0)[order] + 1
        nodes = nodes * np.where(parameters[order] > 0, starts, 1)
        budget = max(1, _WORKSPACE_BYTES // (2 * rows * self.table.dtype.itemsize))
        chunks, low, total = [], 0, 0
        for i, size in enumerate(nodes.tolist()):
            total += size
            if total > budget and i > low:
                chunks.append(order[low:i])
                low, total = i, size
        return [*chunks, order[low:]] if len(order) else []

    def _tape(self, instances: _Instances) -> Tape:
        return Tape(
            self.trees,
            self.columns,
            instances.expression,
            self.free,
            self.table.inputs,
            self.workspace,
            width=len(instances.which),
            first=self.linear,
        )

    # --- one chunk ---

    def _fit_chunk(
        self, chunk: np.ndarray, iterations: int, starts: int, drawn: StartingPoints
    ) -> tuple[np.ndarray, np.ndarray]:
        """Best constants `[expressions of the chunk, constants]` and squared errors of them."""
        instances = self._instances(chunk, starts, drawn)
        first = instances.constants.copy()
        tape = self._tape(instances)
        first_error = self._begin(instances, tape, drawn)
        self._iterate(instances, tape, iterations)
        # Candidates: the projected end point, the point where its projection was computed, and the start itself.
        ended = instances.moved(_projected_step(instances))
        self.evaluations += tape.count
        end_error = self._squares(tape, ended)
        point_error = instances.scale[-1] ** 2
        point_error = np.where(np.isfinite(point_error) & (instances.error < np.inf), point_error, np.inf)
        best, error = ended, end_error
        for constants, candidate in ((instances.constants, point_error), (first, first_error)):
            better = candidate < error
            best = np.where(better[:, None], constants, best)
            error = np.where(better, candidate, error)
        # Best start of every expression; the first of equals.
        owner = _group_starts(instances.expression)
        ranks = np.lexsort((np.arange(len(error)), error, _group_index(instances.expression)))
        winner = ranks[owner]
        return best[winner], error[winner]

    def _squares(self, tape: Tape, constants: np.ndarray) -> np.ndarray:
        error = tape.squares(constants, self.table.target, self.table.root_weights)
        return np.where(np.isfinite(constants).all(axis=1), error, np.inf)

    def _gram(self, tape: Tape, constants: np.ndarray) -> np.ndarray:
        self.evaluations += tape.count
        return tape.gram(constants, self.table.target, self.table.root_weights)

    def _instances(self, chunk: np.ndarray, starts: int, drawn: StartingPoints) -> _Instances:
        """All starts of all expressions of a chunk."""
        nonlinear = (self.free & ~self.linear)[:, chunk].any(axis=0)
        repeats = np.where(nonlinear, starts, 1)  # linear constants have one solution, wherever they start
        expression = np.repeat(chunk, repeats)
        number = np.arange(len(expression)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        counts = self.free[:, expression].sum(axis=0)
        width = int(counts.max(initial=0))
        which = np.full((width, len(expression)), -1, dtype=np.int64)
        linear = np.zeros((width, len(expression)), dtype=bool)
        factors, scaled_by = np.zeros_like(linear), np.full_like(which, -1)
        instance, position = parameters_in_order(self.free, expression, self.linear)
        rank = np.arange(len(instance)) - np.repeat(np.cumsum(counts) - counts, counts)
        which[rank, instance] = self.trees.ordinal[position, expression[instance]]
        linear[rank, instance] = self.linear[position, expression[instance]]
        factors[rank, instance] = self.factors[position, expression[instance]]
        scaled_by[rank, instance] = self._rank_of_scale(instance, position, rank, expression)
        constants = self.given[expression].copy()
        later = number > 0
        if later.any():
            constants[later] = self._draw(drawn, expression[later], number[later], starts)
        nothing = np.zeros(len(expression))
        damping = nothing + _FIRST_DAMPING
        return _Instances(expression, constants, which, linear, factors, scaled_by, nothing > 0, damping)

    def _rank_of_scale(
        self, instance: np.ndarray, position: np.ndarray, rank: np.ndarray, expression: np.ndarray
    ) -> np.ndarray:
        """For every parameter, given as `[parameters]` arrays, the rank of the one that scales it; -1: none."""
        above = self.scale_position[position, expression[instance]]
        ranks = np.full((len(self.free), len(expression)), -1, dtype=np.int64)
        ranks[position, instance] = rank
        return np.where(above > 0, ranks[above, instance], -1)

    def _begin(self, instances: _Instances, tape: Tape, drawn: StartingPoints) -> np.ndarray:
        """Evaluate the starts, twice where there are linear constants to solve for.

        Returns:
            `[instances]` squared errors of the starts as they were given, before any constant was solved for.
        """
        gram = self._gram(tape, instances.constants)
        self._project(instances, gram)
        first_error = np.where(np.isfinite(gram[-1, -1]), gram[-1, -1], np.inf)
        hopeless = self._has_bad_column(instances.expression) | ~(instances.which >= 0).any(axis=0)
        for attempt in range(1, _FRESH_STARTS + 1):
            finite = np.zeros(len(self.expressions), dtype=bool)
            finite[instances.expression[instances.error < np.inf]] = True
            bad = np.flatnonzero(~finite[instances.expression] & ~hopeless)
            if not len(bad):
                break
            again = instances.select(bad)
            again.constants = self._draw(drawn, again.expression, np.full(len(bad), 1000 * attempt), 1)
            self._project(again, self._gram(self._tape(again), again.constants))
            instances.store(bad, again)
        # The nonlinear columns of the Jacobian depend on the linear constants: look again where those are at their
        # best, or the first step would have the wrong length.
        solvable = np.flatnonzero(instances.linear.any(axis=0) & (instances.error < np.inf))
        if len(solvable):
            again = instances if len(solvable) == tape.count else instances.select(solvable)
            solved = again.moved(_projected_step(again))
            if _WORTH_A_TAPE * len(solvable) > tape.count:  # the others are evaluated too, for nothing
                everyone = instances.constants.copy()
                everyone[solvable] = solved
                trial = self._gram(tape, everyone)[..., solvable]
            else:
                trial = self._gram(self._tape(again), solved)
            before = again.scale[-1] ** 2
            state = again.select(np.arange(len(solved)))
            state.constants = solved
            self._project(state, trial)
            better = np.flatnonzero(state.error <= before)
            instances.store(solvable[better], state.select(better))
        return first_error

    def _has_bad_column(self, expression: np.ndarray) -> np.ndarray:
        """Whether a constant-free subtree is not finite, so that new constants will hardly help."""
        bad = np.append(~np.isfinite(self.columns.values.sum(axis=1)), False)
        return np.asarray(bad[self.columns.slot[:, expression]].any(axis=0))

    def _project(self, instances: _Instances, gram: np.ndarray) -> None:
        """Put a new Gram matrix in place: eliminate the linear constants."""
        instances.tableau, instances.scale = _scaled(gram)
        _eliminate(instances.tableau, instances.linear)
        error = np.maximum(instances.tableau[-1, -1], 0.0) * instances.scale[-1] ** 2
        finite = np.isfinite(error) & np.isfinite(instances.constants).all(axis=1)
        instances.error = np.where(finite, error, np.inf)
        instances.stale = _is_stale(instances, _STALE)

    def _iterate(self, instances: _Instances, tape: Tape, iterations: int) -> None:
        """Levenberg-Marquardt on all instances; those that are done leave."""
        nonlinear = ((instances.which >= 0) & ~instances.linear).any(axis=0)
        active = np.flatnonzero(nonlinear & (instances.error < np.inf))
        active = active[~self._solved(instances)[active]]
        running = np.zeros(tape.count, dtype=bool)
        running[active] = True
        active = np.arange(tape.count)
        here = instances.select(active)
        for _ in range(iterations):
            if not running.any():
                break
            if _WORTH_A_TAPE * np.count_nonzero(running) <= len(running):
                instances.store(active, here)
                active = active[running]
                here = instances.select(active)
                tape = self._tape(here)
                running = np.ones(len(active), dtype=bool)
            running &= self._step(here, tape, running)
            running &= ~self._solved(here)
        instances.store(active, here)

    def _step(self, here: _Instances, tape: Tape, running: np.ndarray) -> np.ndarray:
        """One trial step of every running instance; returns which of them should go on.

        Those that are done are evaluated too, until the tape is scheduled anew, but they stay where they are: how
        long they are carried along depends on their neighbours.
        """
        looks_again = here.stale
        damped, promised = _damped_step(here)
        steps = np.where(looks_again, _projected_step(here), damped)
        trial = here.select(np.arange(tape.count))
        trial.constants = here.moved(steps)
        self._project(trial, self._gram(tape, trial.constants))
        # Looking again is the same point seen more clearly: its error replaces the estimate, whichever is smaller.
        bound = np.where(looks_again, here.scale[-1] ** 2, here.error)
        accepted = trial.error < bound
        decrease = here.error - trial.error
        goes_on = np.where(accepted, decrease > _CONVERGED * here.error, here.damping < _LARGEST_DAMPING)
        goes_on &= promised > 0.1 * _CONVERGED * here.error
        factor = np.where(accepted, _DAMPING_DOWN, _DAMPING_UP)
        here.damping = here.damping * np.where(looks_again, 1.0, factor)
        # After a step that failed, even slightly outdated derivatives are suspected first.
        here.stale = ~looks_again & _is_stale(here, _SUSPECT)
        trial.damping = here.damping
        better = np.flatnonzero(accepted & running)
        trial.stale &= ~looks_again
        here.store(better, trial.select(better))
        return np.asarray(goes_on | looks_again)

    def _exact(self, instances: _Instances) -> np.ndarray:
        # A projected error far below the error it was projected from is what rounding left of it.
        return np.asarray(np.maximum(instances.error, 1e-12 * instances.scale[-1] ** 2) <= self.table.floor)

    def _solved(self, instances: _Instances) -> np.ndarray:
        """Whether this or another start of the same expression has nothing but rounding left."""
        exact = np.zeros(len(self.expressions), dtype=bool)
        exact[instances.expression[self._exact(instances)]] = True
        return exact[instances.expression]


def _read(
    programs: list[np.ndarray], affine: bool, fixed: list[np.ndarray] | None
) -> tuple[Trees, np.ndarray, Linearity]:
    """The programs side by side, constants to fit, and of them those to eliminate."""
    if len(programs) > 1:
        trees = _trees(programs, affine)
        return trees, *_free_and_linear(trees, affine, fixed)
    held = None if fixed is None else np.asarray(fixed[0], dtype=bool).tobytes()
    return _read_one(programs[0].astype(np.int16).tobytes(), affine, held)


@lru_cache(maxsize=64)
def _read_one(tokens: bytes, affine: bool, held: bytes | None) -> tuple[Trees, np.ndarray, Linearity]:
    """`_read` for a single program: reading would be half of what rounding its constants takes."""
    fixed = None if held is None else [np.frombuffer(held, dtype=bool)]
    trees = _trees([np.frombuffer(tokens, dtype=np.int16)], affine)
    return trees, *_free_and_linear(trees, affine, fixed)


def _trees(programs: list[np.ndarray], affine: bool) -> Trees:
    """The programs side by side; with `affine` each as `scale * f + offset`, these constants like all others."""
    if affine:
        return read_trees(programs, before=(TOKEN["add"], TOKEN["mul"], CONSTANT), after=(CONSTANT,))
    return read_trees(programs)


def _free_and_linear(trees: Trees, affine: bool, fixed: list[np.ndarray] | None) -> tuple[np.ndarray, Linearity]:
    """Constants to fit `[positions + 1, expressions]`, and of them those to eliminate."""
    free = trees.is_constant.copy()
    if fixed is not None:
        position, expression = np.nonzero(free)
        held = np.zeros((len(fixed), int(trees.constant_counts.max(initial=0)) + 1), dtype=bool)
        for k, flags in enumerate(fixed):
            held[k, 1 if affine else 0 :][: len(flags)] = flags
        free[position, expression] = ~held[expression, trees.ordinal[position, expression]]
    if affine:
        inner = linear_constants(trees, free, root=3)
        # An offset inside means the same as the one outside, a scale outside the same as those inside.
        free &= ~inner.offset
        free[2] &= ~inner.homogeneous
    return free, linear_constants(trees, free)


def _group_index(sorted_like: np.ndarray) -> np.ndarray:
    """Number of the run of equal neighbours that every entry is in."""
    return np.cumsum(np.concatenate([[0], (sorted_like[1:] != sorted_like[:-1]).astype(np.int64)]))


def _group_starts(sorted_like: np.ndarray) -> np.ndarray:
    """First index of every run of equal neighbours."""
    return np.flatnonzero(np.concatenate([[True], sorted_like[1:] != sorted_like[:-1]]))


# --- small linear algebra, instances last ---


def _scaled(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrices `[n, n, instances]` of columns scaled to length 1, and the lengths `[n, instances]`."""
    length = np.sqrt(np.einsum("iik->ik", gram))
    length[length == 0] = 1.0
    return gram / length[:, None] / length[None], length


def _eliminate(tableau: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Gauss-Jordan elimination of parameters in place, skipping those that depend on the ones before.

    Afterwards the last column holds, in the rows of the eliminated parameters, the least-squares solution
    with the others at 0, and in its last entry the squared residual that is left. Columns before an eliminated
    one are not kept up: in no instance may one that stays come before one that goes.

    Args:
        tableau: `[width + 1, width + 1, instances]`, the right-hand side last.
        which: `[width, instances]`, what to eliminate.

    Returns:
        `[width, instances]`, what was eliminated.
    """
    done = np.zeros_like(which)
    for k in np.flatnonzero(which.any(axis=1)):
        rest = tableau[:, k:]
        pivot = tableau[k, k]
        usable = which[k] & (pivot > _SMALLEST_PIVOT)
        row = np.where(usable, rest[k] / np.where(usable, pivot, 1.0), 0.0)
        rest -= rest[:, :1] * row
        rest[k] = np.where(usable, row, rest[k])
        done[k] = usable
    return done


def _projected_step(instances: _Instances) -> np.ndarray:
    """Step `[width, instances]` of the linear constants to their best values, the others staying."""
    solution = instances.tableau[:-1, -1] * (instances.scale[-1] / instances.scale[:-1])
    return _with_moving_scales(instances, np.where(instances.linear & np.isfinite(solution), solution, 0.0))


def _with_moving_scales(instances: _Instances, step: np.ndarray) -> np.ndarray:
    """The step `[width, instances]` of constants whose scales move too.

    The expression is affine not in a constant `c` but in its product with the scales `a_i` above it. The linear
    system gives that product's relative change as `dc / c + sum_i da_i / a_i`; with `R` the sum, as it is for the
    scales alone, `c` reaches it by moving by `dc / (1 + R)`. So the linear constants are exactly at their best.
    """
    scaled = instances.scaled_by >= 0
    if not scaled.any():
        return step
    constants = instances.constants[np.arange(step.shape[1]), np.maximum(instances.which, 0)]
    own = np.where(constants == 0, 0.0, step / np.where(constants == 0, 1.0, constants))
    above = np.zeros_like(step)
    for _ in range(len(step)):  # once for every scale that stands below another, and once to see that it is done
        before = above
        above = np.where(scaled, np.take_along_axis(own + before, instances.scaled_by, axis=0), 0.0)
        if np.array_equal(above, before, equal_nan=True):
            break
    moved = step / np.where(above == -1.0, 1.0, 1.0 + above)
    return np.where(scaled & np.isfinite(moved), moved, step)


def _is_stale(instances: _Instances, tolerance: float) -> np.ndarray:
    """Whether the derivatives were taken too far from the best linear constants `[instances]`.

    A derivative by a nonlinear constant is proportional to some linear constants; where those change by much,
    or change sign, it points the wrong way, and the values must be looked at again before the next step.
    """
    step = _projected_step(instances)
    instance = np.arange(step.shape[1])
    best = instances.constants[instance, np.maximum(instances.which, 0)] + step
    nonlinear = ((instances.which >= 0) & ~instances.linear).any(axis=0)
    moved = (instances.factors & (np.abs(step) > tolerance * np.abs(best))).any(axis=0)
    # The same holds where the projected error is lost in the rounding of the error that it was projected from.
    return nonlinear & (moved | (instances.error < _CANCELLED * instances.scale[-1] ** 2))


def _damped_step(instances: _Instances) -> tuple[np.ndarray, np.ndarray]:
    """One joint step of all constants, the nonlinear ones damped (Kaufman 1975).

    Returns:
        The step `[width, instances]` and the decrease of the squared error that the linearised expression promises
        `[instances]`.
    """
    tableau = instances.tableau.copy()
    nonlinear = (instances.which >= 0) & ~instances.linear
    for k in np.flatnonzero(nonlinear.any(axis=1)):
        tableau[k, k] *= 1.0 + instances.damping * nonlinear[k]
    solved = _eliminate(tableau, nonlinear)
    solution = tableau[:-1, -1] * (instances.scale[-1] / instances.scale[:-1])
    step = np.where((solved | instances.linear) & np.isfinite(solution), solution, 0.0)
    step = _with_moving_scales(instances, step)
    promised = (instances.tableau[-1, -1] - tableau[-1, -1]) * instances.scale[-1] ** 2
    return step, promised


# --- how well they are determined ---


def reach_of_constants(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    settled: np.ndarray,
    allowed: float,
) -> np.ndarray | None:
    """How far each constant may be moved, while the others are fitted again, at a mean squared error of `allowed`.

    Moving constant `k` by `d` raises the sum of squares by `d^2 / (H^-1)_kk`, where `H` is the Gauss-Newton matrix
    of the constants that are not settled.

    Returns:
        One distance for every constant that is not `settled [constants]`; None where the error is larger already,
        or a value is not finite.
    """
    table = _Table.of(np.asarray(inputs, float), np.asarray(target, float), weights, np.dtype(np.float64))
    fit = _Fit([expression], table, False, [settled])
    order = np.zeros(1, dtype=np.int64)
    with np.errstate(all="ignore"):
        tape = Tape(fit.trees, fit.columns, order, fit.free, table.inputs, fit.workspace)
        gram = tape.gram(fit.given, table.target, table.root_weights)[..., 0]
    room = allowed - gram[-1, -1] / table.total_weight
    if not np.isfinite(gram).all() or room < 0:
        return None
    scaled, length = _scaled(gram[..., None])
    values, vectors = np.linalg.eigh(scaled[:-1, :-1, 0])
    spread = np.sum(vectors**2 / np.maximum(values, 1e-15), axis=1) / length[:-1, 0] ** 2
    reach: np.ndarray = np.sqrt(room * table.total_weight * spread)
    return reach
