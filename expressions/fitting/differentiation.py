"""Values and Jacobians of many different expressions at once, by one forward and one reverse pass.

`df/dc` of every constant `c` of every expression of a batch costs about as much as the values themselves when
it is computed in reverse (Griewank and Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 3). What
dominates small tables is the price of a NumPy call, not the arithmetic, so the whole batch is one program:

1. `expressions.fitting.trees` reads all prefix programs side by side (one loop over positions, not over
   expressions).
2. `expressions.fitting.columns` evaluates what holds no constant: once, and once for all expressions that
   share it.
3. `Tape` schedules what is left by (height, operator). A step of the schedule is one call of the operator's
   row on `[members, rows]`; its inputs are gathered from a workspace `[nodes, rows]` and its outputs are
   neighbours in it. Every node left belongs to one expression and has one parent, so its adjoint is written
   once and never summed, and the adjoint of a constant is its column of the Jacobian. Adjoints of sums,
   differences and negations are those of their parent up to the sign, hence never computed at all.

Rows are worked through in blocks, so that the workspace stays in cache and what least squares needs of a
table of any length is the Gram matrix of `[J, residual]`, summed over blocks. Blocks depend on the table
alone, and no number depends on which other expressions are in the batch.

Notation: an *instance* is one expression with one vector of constants; one expression may have several
(several starts). Positions run along the first axis of the arrays of `Trees`, expressions along the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from expressions.fitting.columns import Columns, blocks, runs
from expressions.fitting.trees import Trees
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS, TOKEN

__all__ = ["Tape", "Workspace", "parameters_in_order"]

_ADD, _SUB, _NEG, _MUL = (TOKEN[name] for name in ("add", "sub", "neg", "mul"))

Index = Any  # a slice or an integer array: what selects rows of a workspace


def parameters_in_order(
    free: np.ndarray, members: np.ndarray, first: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Instance and position of every free constant: instance by instance, those of `first` before the others.

    Args:
        free: flags of the constants to look at. `[positions + 1, expressions]`
        members: expression that each instance belongs to. `[instances]`
        first: flags of the constants that come first, shaped as `free`; None keeps prefix order.
    """
    instance, position = np.nonzero(free[:, members].T)
    if first is None:
        return instance, position
    order = np.lexsort((~first[position, members[instance]], instance))
    return instance[order], position[order]


class Workspace:
    """Buffers that are reused from tape to tape, since fresh memory costs page faults."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self._buffers: dict[str, np.ndarray] = {}

    def take(self, name: str, rows: int, columns: int) -> np.ndarray:
        """A contiguous `[rows, columns]` view of the buffer called `name`; earlier views of it are void."""
        size = max(1, rows * columns)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size + size // 4, dtype=self.dtype)
            self._buffers[name] = buffer
        return buffer[: rows * columns].reshape(rows, columns)


@dataclass(frozen=True)
class _Step:
    """All nodes of one height, one operator and one pattern of varying arguments.

    Attributes:
        token: token of the operator.
        low, high: rows of the value workspace that the step writes.
        left, right: rows that it reads; right is None for a unary operator.
        above: rows of the adjoint workspace with the nodes' own adjoints; None where all of them are 1.
        below_left, below_right: first row of the adjoint workspace for the arguments' adjoints; None where
            the argument holds no constant or takes over the node's own adjoint.
    """

    token: int
    low: int
    high: int
    left: Index
    right: Index | None
    above: Index | None
    below_left: int | None
    below_right: int | None


class Tape:
    """A schedule that evaluates and differentiates a set of instances.

    Attributes:
        parameters: number of free constants of every instance, never decreasing. `[instances]`
        width: largest of these numbers.
    """

    def __init__(
        self,
        trees: Trees,
        columns: Columns,
        members: np.ndarray,
        free: np.ndarray,
        inputs: np.ndarray,
        workspace: Workspace,
        width: int = 0,
        first: np.ndarray | None = None,
    ) -> None:
        """Schedule.

        Args:
            trees: expressions, side by side.
            columns: constant-free subtrees of these on `inputs`.
            members: expression that each instance belongs to, ordered by free constants. `[instances]`
            free: flags of the constants to differentiate by. `[positions + 1, expressions]`
            inputs: values of the variables. `[variables, rows]`
            workspace: buffers to use.
            width: free constants to make room for in Gram matrices, if more than any instance has.
            first: flags of free constants that come before the others; None for none.
                `[positions + 1, expressions]`

        Raises:
            ValueError: the instances are not ordered by their number of free constants.
        """
        self._columns, self._workspace, self._rows = columns, workspace, inputs.shape[1]
        self.parameters = free[:, members].sum(axis=0)
        if np.any(np.diff(self.parameters) < 0):
            raise ValueError("instances must be ordered by their number of free constants")
        self.width = int(self.parameters.max(initial=width))
        self.count = len(members)
        slots = self._place_nodes(trees, members)
        adjoint, negative = self._schedule_adjoints(slots)
        self._place_jacobian(*parameters_in_order(free, members, first), adjoint, negative)
        self._groups = [
            (int(self.parameters[low]), low, high, int(self._offsets[low]), int(self._offsets[high]))
            for low, high in runs(self.parameters)
        ]

    def _place_nodes(self, trees: Trees, members: np.ndarray) -> np.ndarray:
        """Give every node a row of the value workspace, in the order of computation."""
        varies = trees.varies[:, members]
        position, instance = np.nonzero(varies)
        tokens = trees.tokens[position, members[instance]].astype(np.int64)
        seconds = trees.second[position, members[instance]].astype(np.int64)
        after = np.minimum(position + 1, len(varies) - 1)
        pattern = 2 * varies[after, instance] + varies[seconds, instance] * (seconds > 0)
        pattern[tokens == CONSTANT] = 0
        key = (trees.height[position, members[instance]].astype(np.int64) * FIRST_VARIABLE + tokens) * 4 + pattern
        order = np.argsort(key, kind="stable")
        self._key, self._position, self._instance = key[order], position[order], instance[order]
        self._tokens, self._seconds, self._pattern = tokens[order], seconds[order], pattern[order]
        # Only the columns that these instances need are copied into the workspace.
        slots = columns_of = self._columns.slot[:, members]
        used = np.unique(columns_of[columns_of >= 0])
        local = np.full(len(self._columns.values) + 1, -1, dtype=np.int64)
        local[used] = np.arange(len(used))
        slots = local[columns_of]
        slots[self._position, self._instance] = len(used) + np.arange(len(order))
        self._used = used
        self._nodes = len(used) + len(order)
        self._roots = slots[0]
        constants = int(np.count_nonzero(self._tokens == CONSTANT))  # height 0: they come first
        self._constant_rows = slice(len(used), len(used) + constants)
        which = trees.ordinal[self._position[:constants], members[self._instance[:constants]]]
        self._constant_of = (self._instance[:constants], which)
        return slots

    def _schedule_adjoints(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Walk from the roots down and give every varying node a row of the adjoint workspace and a sign.

        Returns:
            Both as `[positions + 1, instances]`; the sign as whether it is negative.
        """
        # One flat array for both: twice the row plus the sign. Row 0 holds ones: the adjoint of every root.
        codes = np.zeros(slots.size, dtype=np.int64)
        first_row, count = len(self._used), slots.shape[1]
        first_child = (self._position + 1) * count + self._instance
        second_child = self._seconds * count + self._instance
        node = self._position * count + self._instance
        left, right = slots.ravel()[first_child], slots.ravel()[second_child]
        steps: list[_Step] = []
        next_row = 1
        for low, high in reversed(runs(self._key)):
            token = int(self._tokens[low])
            if token == CONSTANT:
                continue
            pattern = int(self._pattern[low])
            own = codes[node[low:high]]
            below: list[int | None] = [None, None]
            for side, (varying, child) in enumerate(((pattern & 2, first_child), (pattern & 1, second_child))):
                if not varying:
                    continue
                if token in (_ADD, _SUB, _NEG):
                    flips = token == _NEG or (token == _SUB and side == 1)
                    codes[child[low:high]] = own ^ 1 if flips else own
                else:
                    below[side] = next_row
                    codes[child[low:high]] = np.arange(2 * next_row, 2 * (next_row + high - low), 2) + (own & 1)
                    next_row += high - low
            needs_own = below[0] is not None or below[1] is not None
            above = own >> 1 if needs_own else own
            steps.append(
                _Step(
                    token=token,
                    low=first_row + low,
                    high=first_row + high,
                    left=_as_slice(left[low:high]),
                    right=_as_slice(right[low:high]) if OPERATORS[token - 1].arity == 2 else None,
                    above=_as_slice(above) if needs_own and above.any() else None,
                    below_left=below[0],
                    below_right=below[1],
                )
            )
        self._backward = [step for step in steps if step.below_left is not None or step.below_right is not None]
        self._forward = steps[::-1]
        self._adjoints = next_row
        self._largest = max((step.high - step.low for step in steps), default=0)
        return (codes >> 1).reshape(slots.shape), (codes & 1).astype(bool).reshape(slots.shape)

    def _place_jacobian(
        self, instance: np.ndarray, position: np.ndarray, adjoint: np.ndarray, negative: np.ndarray
    ) -> None:
        """Lay out the matrix `[J_1 .. J_p, residual]` of every instance, one below the other."""
        offsets = np.concatenate([[0], np.cumsum(self.parameters + 1)])
        rows = np.arange(len(instance)) + instance  # every instance before adds one row for its residual
        source = np.zeros(int(offsets[-1]), dtype=np.int64)
        flip = np.zeros(int(offsets[-1]), dtype=bool)
        source[rows], flip[rows] = adjoint[position, instance], negative[position, instance]
        self._offsets = offsets
        self._source = source
        self._flip = np.flatnonzero(flip)
        self._residual_rows = offsets[1:] - 1

    # --- running ---

    def _values(self, constants: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Value workspace `[nodes, stop - start]` for `constants [instances, constants]`."""
        space, width = self._workspace, stop - start
        work = space.take("values", self._nodes, width)
        work[: len(self._used)] = self._columns.values[self._used, start:stop]
        work[self._constant_rows] = constants[self._constant_of][:, None]
        left = space.take("left", self._largest, width)
        right = space.take("right", self._largest, width)
        for step in self._forward:
            row = OPERATORS[step.token - 1]
            a = _gather(work, step.left, left)
            if step.right is None:
                row.numpy(a, out=work[step.low : step.high])
            else:
                row.numpy(a, _gather(work, step.right, right), out=work[step.low : step.high])
        return work

    def _sweep_back(self, work: np.ndarray) -> np.ndarray:
        """Adjoint workspace for the values of a block."""
        space, width = self._workspace, work.shape[1]
        adjoint = space.take("adjoints", self._adjoints, width)
        adjoint[0] = 1.0
        left = space.take("left", self._largest, width)
        right = space.take("right", self._largest, width)
        above = space.take("above", self._largest, width)
        for step in self._backward:
            partials = _partials(step, work, left, right)
            own = None if step.above is None else _gather(adjoint, step.above, above)
            members = step.high - step.low
            for below, partial in zip((step.below_left, step.below_right), partials, strict=True):
                if below is None or partial is None:
                    continue
                out = adjoint[below : below + members]
                if own is None:
                    out[...] = partial
                else:
                    np.multiply(own, partial, out)
        return adjoint

    def _matrix(self, constants: np.ndarray, target: np.ndarray, start: int, stop: int) -> np.ndarray:
        """`[sum(parameters + 1), rows of the block]`: Jacobian rows and residual row of every instance."""
        work = self._values(constants, start, stop)
        adjoint = self._sweep_back(work)
        matrix = self._workspace.take("matrix", len(self._source), stop - start)
        adjoint.take(self._source, 0, matrix, "clip")
        if len(self._flip):
            matrix[self._flip] *= -1.0
        matrix[self._residual_rows] = target[start:stop] - work[self._roots]
        return matrix

    def gram(self, constants: np.ndarray, target: np.ndarray, root_weights: np.ndarray | None) -> np.ndarray:
        """Gram matrices of `[J, residual]`.

        Args:
            constants: values of all constants in prefix order, padded behind. `[instances, constants]`
            target: values to fit to, in the type of the workspace. `[rows]`
            root_weights: square roots of the weights, or None. `[rows]`

        Returns:
            `[width + 1, width + 1, instances]` float64; the residual is the last row and column, unused
            parameters are 0.
        """
        sums = [np.zeros((high - low, p + 1, p + 1)) for p, low, high, _, _ in self._groups]
        for start, stop in blocks(self._rows):
            matrix = self._matrix(constants, target, start, stop)
            if root_weights is not None:
                matrix *= root_weights[start:stop]
            exact = matrix.astype(np.float64, copy=False)  # products of float32 numbers are exact in float64
            for total, (p, low, high, top, bottom) in zip(sums, self._groups, strict=True):
                part = exact[top:bottom].reshape(high - low, p + 1, stop - start)
                product = np.matmul(part, part.transpose(0, 2, 1))
                if not np.isfinite(product).all():
                    product = _without_poles(part, product)
                total += product
        out = np.zeros((self.width + 1, self.width + 1, self.count))
        for total, (p, low, high, _, _) in zip(sums, self._groups, strict=True):
            turned = total.transpose(1, 2, 0)
            out[:p, :p, low:high] = turned[:p, :p]
            out[:p, -1, low:high] = out[-1, :p, low:high] = turned[:p, p]
            out[-1, -1, low:high] = turned[p, p]
        return out

    def squares(self, constants: np.ndarray, target: np.ndarray, root_weights: np.ndarray | None) -> np.ndarray:
        """Weighted sum of squared residuals `[instances]` float64, inf where a value is not finite."""
        total = np.zeros(self.count)
        for start, stop in blocks(self._rows):
            residual = target[start:stop] - self._values(constants, start, stop)[self._roots]
            if root_weights is not None:
                residual *= root_weights[start:stop]
            total += np.einsum("ij,ij->i", residual, residual)
        return np.where(np.isfinite(total), total, np.inf)

    def jacobians(self, constants: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Values `[instances, rows]` and, for every instance, its Jacobian `[free constants, rows]`."""
        values = np.empty((self.count, self._rows), dtype=self._workspace.dtype)
        jacobians = [np.empty((p, self._rows), dtype=self._workspace.dtype) for p in self.parameters]
        zero = np.zeros(self._rows, dtype=self._workspace.dtype)
        for start, stop in blocks(self._rows):
            matrix = self._matrix(constants, zero, start, stop)
            values[:, start:stop] = -matrix[self._residual_rows]
            for k, jacobian in enumerate(jacobians):
                jacobian[:, start:stop] = matrix[self._offsets[k] : self._offsets[k + 1] - 1]
        return values, jacobians


def _as_slice(index: np.ndarray) -> Index:
    """The same selection as a slice where it is one: a view costs nothing, a gather copies."""
    first, span = int(index[0]), len(index) - 1
    if int(index[-1]) - first == span and (span < 2 or bool((index[1:] - index[:-1] == 1).all())):
        return slice(first, first + len(index))
    return index


def _gather(source: np.ndarray, index: Index, buffer: np.ndarray) -> np.ndarray:
    """Selected rows of `source`: a view for a slice, else a copy in `buffer`."""
    if isinstance(index, slice):
        return source[index]
    out = buffer[: len(index)]
    source.take(index, 0, out, "clip")  # "raise", the default, would copy twice
    return out


def _partials(
    step: _Step, work: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Partial derivatives of a step by its two arguments; those not asked for may be missing."""
    if step.token == _MUL:  # the most common step: gather only the side that is used
        by_left = None if step.below_left is None or step.right is None else _gather(work, step.right, right)
        by_right = None if step.below_right is None else _gather(work, step.left, left)
        return by_left, by_right
    partials: Callable[..., tuple[Any, ...]] = OPERATORS[step.token - 1].partials
    a = _gather(work, step.left, left)
    if step.right is None:
        return partials(np, work[step.low : step.high], a)[0], None
    both = partials(np, work[step.low : step.high], a, _gather(work, step.right, right))
    return both[0], both[1]


def _without_poles(part: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Gram matrices of `part [instances, parameters + 1, rows]` with infinite derivatives left out.

    `sqrt(c*x)` at `x = 0` has a finite value and the derivative `0 * inf`; the rest of its rows can still
    lead the way. Residuals keep what they are, so an expression that is not finite stays so.
    """
    bad = ~np.isfinite(product).all(axis=(1, 2))
    cleaned = part[bad]
    slopes = cleaned[:, :-1]
    slopes[~np.isfinite(slopes)] = 0.0
    product = product.copy()
    product[bad] = np.matmul(cleaned, cleaned.transpose(0, 2, 1))
    return product
