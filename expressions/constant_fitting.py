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
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.fitting.columns import Columns, blocks
from expressions.fitting.differentiation import Tape, Workspace, parameters_in_order
from expressions.fitting.projection import Instances, damped_step, eliminate, is_stale, projected_step, scaled
from expressions.fitting.reading import read
from expressions.fitting.starts import StartingPoints
from expressions.fitting.table import Table

__all__ = ["FitResult", "fit_constants"]

_WORKSPACE_BYTES = 32 << 20  # of node values and adjoints at a time; smaller chunks cost more NumPy calls
_COLUMN_BYTES = 256 << 20  # of constant-free subtrees at a time
_FIRST_DAMPING = 0.1
_DAMPING_DOWN, _DAMPING_UP = 0.1, 6.0
_LARGEST_DAMPING = 1e8
_CONVERGED = 1e-6  # relative decrease of the squared error, by an accepted step or as any step promises
_STALE = 0.3  # relative change of a linear constant that makes derivatives useless
_SUSPECT = 1e-3  # ... that makes them suspect when a step failed
_WORTH_A_TAPE = 4 / 3  # a schedule of fewer instances pays when so many times as many are carried along
_FRESH_STARTS = 3  # attempts to find finite values for a start that has none


@dataclass(frozen=True)
class FitResult:
    """Fitted expressions, in the order they were given.

    Attributes:
        expressions: programs as they were given, with fitted constants.
        errors: `[expressions]` mean squared error (weighted mean where weights were given) of
            `scale * expression + offset`; inf where no start gave finite values on all rows.
        scale: `[expressions]` outer factor; 1 unless `affine`.
        offset: `[expressions]` outer offset; 0 unless `affine`.
        evaluations: computations of one expression on the whole table, all starts together.
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
        expressions: equations to fit; those without constants are only scored.
        inputs: values of the variables. `[rows, variables]`
        target: values to fit to. `[rows]`
        iterations: trial steps per start; expressions with linear constants only need none.
        starts: starting points per expression, at least 1.
        rng: source of the random starts; a fixed one when not given.
        weights: weights of the squared residuals, none negative. `[rows]`
        fixed: flags of the constants that keep their value, for every expression `[constants]` bool.
        affine: whether to solve for an outer scale and offset too, `scale * f + offset`. They are returned beside
            the expressions, not written into them. A constant of `f` that is such a scale or offset by itself
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
    table = Table.of(inputs, target, weights, np.dtype(dtype), expressions)
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


def _parts(expressions: Sequence[Expression], table: Table) -> list[list[int]]:
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


class _Fit:
    """Fits one part of a batch."""

    def __init__(
        self,
        expressions: list[Expression],
        table: Table,
        affine: bool,
        fixed: list[np.ndarray] | None = None,
    ) -> None:
        self.expressions, self.table, self.affine = expressions, table, affine
        self.trees, self.free, linear = read([expression.tokens for expression in expressions], affine, fixed)
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

    def _tape(self, instances: Instances) -> Tape:
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
        ended = instances.moved(projected_step(instances))
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

    def _instances(self, chunk: np.ndarray, starts: int, drawn: StartingPoints) -> Instances:
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
        return Instances(expression, constants, which, linear, factors, scaled_by, nothing > 0, damping)

    def _rank_of_scale(
        self, instance: np.ndarray, position: np.ndarray, rank: np.ndarray, expression: np.ndarray
    ) -> np.ndarray:
        """For every parameter, given as `[parameters]` arrays, the rank of the one that scales it; -1: none."""
        above = self.scale_position[position, expression[instance]]
        ranks = np.full((len(self.free), len(expression)), -1, dtype=np.int64)
        ranks[position, instance] = rank
        return np.where(above > 0, ranks[above, instance], -1)

    def _begin(self, instances: Instances, tape: Tape, drawn: StartingPoints) -> np.ndarray:
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
            solved = again.moved(projected_step(again))
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

    def _project(self, instances: Instances, gram: np.ndarray) -> None:
        """Put a new Gram matrix in place: eliminate the linear constants."""
        instances.tableau, instances.scale = scaled(gram)
        eliminate(instances.tableau, instances.linear)
        error = np.maximum(instances.tableau[-1, -1], 0.0) * instances.scale[-1] ** 2
        finite = np.isfinite(error) & np.isfinite(instances.constants).all(axis=1)
        instances.error = np.where(finite, error, np.inf)
        instances.stale = is_stale(instances, _STALE)

    def _iterate(self, instances: Instances, tape: Tape, iterations: int) -> None:
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

    def _step(self, here: Instances, tape: Tape, running: np.ndarray) -> np.ndarray:
        """One trial step of every running instance; returns which of them should go on.

        Those that are done are evaluated too, until the tape is scheduled anew, but they stay where they are: how
        long they are carried along depends on their neighbours.
        """
        looks_again = here.stale
        damped, promised = damped_step(here)
        steps = np.where(looks_again, projected_step(here), damped)
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
        here.stale = ~looks_again & is_stale(here, _SUSPECT)
        trial.damping = here.damping
        better = np.flatnonzero(accepted & running)
        trial.stale &= ~looks_again
        here.store(better, trial.select(better))
        return np.asarray(goes_on | looks_again)

    def _exact(self, instances: Instances) -> np.ndarray:
        # A projected error far below the error it was projected from is what rounding left of it.
        return np.asarray(np.maximum(instances.error, 1e-12 * instances.scale[-1] ** 2) <= self.table.floor)

    def _solved(self, instances: Instances) -> np.ndarray:
        """Whether this or another start of the same expression has nothing but rounding left."""
        exact = np.zeros(len(self.expressions), dtype=bool)
        exact[instances.expression[self._exact(instances)]] = True
        return exact[instances.expression]


def _group_index(sorted_like: np.ndarray) -> np.ndarray:
    """Number of the run of equal neighbours that every entry is in."""
    return np.cumsum(np.concatenate([[0], (sorted_like[1:] != sorted_like[:-1]).astype(np.int64)]))


def _group_starts(sorted_like: np.ndarray) -> np.ndarray:
    """First index of every run of equal neighbours."""
    return np.flatnonzero(np.concatenate([[True], sorted_like[1:] != sorted_like[:-1]]))
