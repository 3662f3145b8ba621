"""Values and Jacobians of many different expressions at once, by one forward and one reverse pass.

`df/dc` of every constant `c` of every expression of a batch costs about as much as the values themselves when
it is computed in reverse (Griewank and Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 3). What
dominates small tables is the price of a NumPy call, not the arithmetic, so the whole batch is one program:

1. `read_trees` reads all prefix programs side by side (one loop over positions, not over expressions).
2. `Columns` evaluates what holds no constant: once, and once for all expressions that share it.
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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expressions.operators import ARITY, CONSTANT, FIRST_VARIABLE, OPERATORS, TOKEN

_ADD, _SUB, _NEG, _MUL, _DIV = (TOKEN[name] for name in ("add", "sub", "neg", "mul", "div"))
_PAD = -1
_BLOCK_ROWS = 2048

Index = Any  # a slice or an integer array: what selects rows of a workspace


# --- reading ---


@dataclass(frozen=True)
class Trees:
    """Prefix programs side by side; every array is `[positions + 1, expressions]`, the last row a sentinel.

    Attributes:
        tokens: tokens, -1 behind the end of a program.
        second: position of the second argument (the first is the next position); 0 without one.
        height: steps before the node can be computed. Subtrees that hold a constant count from their
            constants, the others from their variables.
        varies: whether the subtree holds a constant.
        digest: 64-bit hash of the subtree, constants all alike.
        ordinal: how many constants stand before the position; at a constant, its index.
        lengths: `[expressions]`, nodes of every program.
    """

    tokens: np.ndarray
    second: np.ndarray
    height: np.ndarray
    varies: np.ndarray
    digest: np.ndarray
    ordinal: np.ndarray
    lengths: np.ndarray

    def select(self, expressions: np.ndarray) -> Trees:
        """Some of the expressions. `[selected]`"""
        return Trees(
            self.tokens[:, expressions],
            self.second[:, expressions],
            self.height[:, expressions],
            self.varies[:, expressions],
            self.digest[:, expressions],
            self.ordinal[:, expressions],
            self.lengths[expressions],
        )

    @property
    def is_constant(self) -> np.ndarray:
        """Where a constant stands, `[positions + 1, expressions]` bool."""
        return self.tokens == CONSTANT

    @property
    def constant_counts(self) -> np.ndarray:
        """Constants of every expression, `[expressions]`."""
        return self.ordinal[-1]


def read_trees(programs: Sequence[np.ndarray], before: Sequence[int] = (), after: Sequence[int] = ()) -> Trees:
    """Read prefix programs, each put between the same two runs of tokens.

    Args:
        programs: one array of tokens an expression, valid in prefix order.
        before: tokens put in front of every program.
        after: tokens put behind every program.
    """
    own = np.array([len(program) for program in programs], dtype=np.int64)
    lengths = own + len(before) + len(after)
    count, longest = len(own), int(lengths.max(initial=0))
    tokens = np.full((longest + 1, count), _PAD, dtype=np.int16)
    column = np.repeat(np.arange(count), own)
    position = np.arange(int(own.sum())) - np.repeat(np.cumsum(own) - own, own) + len(before)
    if count:
        tokens[position, column] = np.concatenate(programs)
    for i, token in enumerate(before):
        tokens[i] = token
    for i, token in enumerate(after):
        tokens[len(before) + own + i, np.arange(count)] = token

    arity = np.where(tokens == _PAD, 0, ARITY[np.minimum(tokens, FIRST_VARIABLE)])
    size = np.ones_like(tokens, dtype=np.int32)
    second = np.zeros_like(size)
    height = np.zeros_like(size)
    varies = tokens == CONSTANT
    with np.errstate(over="ignore"):
        digest = _mix(_digest_words(tokens) + np.uint64(0x9E3779B97F4A7C15))
        everyone = np.arange(count)
        for i in np.flatnonzero((arity > 0).any(axis=1))[::-1].tolist():
            unary, binary = arity[i] >= 1, arity[i] == 2
            other = np.where(binary, i + 1 + size[i + 1], 0)
            second[i] = other
            size[i] += unary * size[i + 1] + binary * size[other, everyone]
            varies_1, varies_2 = unary & varies[i + 1], binary & varies[other, everyone]
            varies[i] |= varies_1 | varies_2
            # A node waits only for children of its own kind: the others are ready before it starts.
            waits_1 = unary & (varies_1 == varies[i])
            waits_2 = binary & (varies_2 == varies[i])
            height_1, height_2 = height[i + 1], height[other, everyone]
            height[i] = unary * (1 + np.maximum(waits_1 * height_1, waits_2 * height_2))
            children = digest[i + 1] * np.uint64(0xD6E8FEB86659FD93) + binary * (
                digest[other, everyone] * np.uint64(0xA0761D6478BD642F) + np.uint64(1)
            )
            digest[i] = np.where(unary, _mix(digest[i] ^ children), digest[i])
    is_constant = tokens == CONSTANT
    ordinal = np.cumsum(is_constant, axis=0, dtype=np.int32) - is_constant
    return Trees(tokens, second, height, varies, digest, ordinal, lengths)


def _digest_words(tokens: np.ndarray) -> np.ndarray:
    """Tokens with variables numbered from 31, as when the first results were recorded.

    The random starts of a fit are drawn by digest, so this numbering is a part of every result.
    """
    words = tokens.astype(np.int64)
    words -= (tokens >= FIRST_VARIABLE) * np.int64(FIRST_VARIABLE - 31)
    return words.astype(np.uint64)


def _mix(word: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on 64-bit words of any shape."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def uniforms(*words: np.ndarray | int) -> np.ndarray:
    """Numbers in [0, 1) that depend on the words alone: no state, so no order of drawing.

    Args:
        words: unsigned 64-bit words (or non-negative integers) that broadcast against each other.
    """
    with np.errstate(over="ignore"):
        state: np.ndarray = np.zeros((), dtype=np.uint64)
        for word in words:
            state = _mix(np.asarray(state + np.asarray(word, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    return (np.asarray(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


# --- linear constants ---


@dataclass(frozen=True)
class Linearity:
    """A set of constants that have best values in closed form while the others stand still.

    Attributes:
        chosen: `[positions + 1, expressions]`, at the constants of the set.
        offset: those of them that are added to the whole expression (with either sign).
        scale: at those of them that another one of the set multiplies, the position of the nearest such; else 0.
        homogeneous: `[expressions]`, whether the expression is 0 when the chosen constants are.
    """

    chosen: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    homogeneous: np.ndarray


def linear_constants(trees: Trees, free: np.ndarray, root: int = 0) -> Linearity:
    """Choose the linear constants by structure.

    A sum offers what both sides offer, a negation what its argument does, a quotient what its numerator does, a
    constant itself, everything else nothing. A product offers what both sides do if one of them is a mere scale,
    such as `c g`, and the other is not 0 with its constants; else the larger offer of the two.

    Below a scale a constant's term has the product of all scales above as its factor: in `a (g + b (h + c k))`
    the terms have the factors `a`, `a b` and `a b c`. Each constant brings a term of its own, so the expression is
    affine in these products, and any values of the products are had by some constants.

    Args:
        trees: the expressions.
        free: `[positions + 1, expressions]`, which constants may be chosen at all.
        root: position of the subtree to look at; what stands outside it is never chosen.
    """
    tokens, second = trees.tokens, trees.second
    longest, count = len(tokens) - 1, tokens.shape[1]
    everyone = np.arange(count)
    offer = (free & trees.is_constant).astype(np.int32)
    vanishes = offer > 0  # the subtree is 0 when what it offers is 0
    only = np.arange(longest + 1)[:, None] * offer  # position of what a mere scale offers
    all_sums, products = (tokens == _ADD) | (tokens == _SUB), tokens == _MUL
    all_first_only = (tokens == _NEG) | (tokens == _DIV)
    all_passing = all_sums | products | all_first_only
    scales_second, scales_first = np.zeros_like(vanishes), np.zeros_like(vanishes)
    inner = np.flatnonzero((all_passing & trees.varies).any(axis=1))
    inner = inner[inner >= root].tolist()
    for i in reversed(inner):
        other, sums, passing = second[i], all_sums[i], all_passing[i]
        offer_1, offer_2 = offer[i + 1], offer[other, everyone]
        zero_1, zero_2 = vanishes[i + 1], vanishes[other, everyone]
        scales_second[i] = products[i] & zero_1 & (offer_1 == 1) & ~zero_2 & (offer_2 > 0)
        scales_first[i] = products[i] & zero_2 & (offer_2 == 1) & ~zero_1 & (offer_1 > 0)
        both = sums | scales_second[i] | scales_first[i]
        second_wins = products[i] & (offer_2 > offer_1)
        got = np.where(both, offer_1 + offer_2, np.where(second_wins, offer_2, offer_1))
        offer[i] = np.where(passing, got, offer[i])
        zero = np.where(sums, zero_1 & zero_2, np.where(second_wins, zero_2, zero_1))
        zero |= scales_second[i] | scales_first[i]
        vanishes[i] = np.where(passing, zero & (got > 0), vanishes[i])
        only[i] = np.where(passing, np.where(second_wins, only[other, everyone], only[i + 1]), only[i])
    chosen, offset = np.zeros_like(vanishes), np.zeros_like(vanishes)
    scale = np.zeros_like(only)
    chosen[root] = offset[root] = True
    passes_offset = all_sums | (tokens == _NEG)
    for i in inner:
        if not chosen[i].any():
            continue
        other, sums = second[i], all_sums[i]
        both = sums | scales_second[i] | scales_first[i]
        to_second = products[i] & (offer[other, everyone] > offer[i + 1])
        to_first = all_passing[i] & (both | ~to_second)
        chosen[i + 1] |= chosen[i] & to_first
        offset[i + 1] |= offset[i] & passes_offset[i]
        above = np.where(scales_first[i], only[other, everyone], scale[i])
        scale[i + 1] = np.where(chosen[i] & to_first, above, scale[i + 1])
        at = np.flatnonzero((both | to_second) & chosen[i])
        chosen[other[at], at] |= chosen[i, at]
        offset[other[at], at] |= offset[i, at] & sums[at]
        scale[other[at], at] = np.where(scales_second[i, at], only[i + 1, at], scale[i, at])
    constant = free & trees.is_constant
    chosen &= constant
    return Linearity(chosen, offset & constant, scale * chosen, vanishes[root])


# --- what holds no constant ---


class Columns:
    """Values of the subtrees without constants that the other nodes need, each distinct one once.

    Attributes:
        slot: `[positions + 1, expressions]`, which row of `values` belongs to the subtree; -1 where none is
        kept.
        values: `[columns, rows]`.
    """

    def __init__(self, trees: Trees, inputs: np.ndarray) -> None:
        """Evaluate.

        Args:
            trees: the expressions.
            inputs: `[variables, rows]`, contiguous, in the type to compute in.
        """
        fixed = (trees.tokens != _PAD) & ~trees.varies
        position, column = np.nonzero(fixed)
        _, first, inverse = np.unique(trees.digest[position, column], return_index=True, return_inverse=True)
        identity = np.full(trees.tokens.shape, -1, dtype=np.int64)
        identity[position, column] = inverse
        position, column = position[first], column[first]
        tokens = trees.tokens[position, column].astype(np.int64)
        left = identity[np.minimum(position + 1, len(identity) - 1), column]
        right = identity[trees.second[position, column], column]
        kept = np.unique(identity[_is_needed(trees, fixed)])
        self.values = _evaluate_fixed(tokens, left, right, trees.height[position, column], kept, inputs)
        renumbered = np.full(len(tokens) + 1, -1, dtype=np.int64)  # the last entry answers for identity -1
        renumbered[kept] = np.arange(len(kept))
        self.slot = renumbered[identity]

    def select(self, expressions: np.ndarray) -> Columns:
        """The columns that some of the expressions need. `[selected]`"""
        slot = self.slot[:, expressions]
        used = np.unique(slot[slot >= 0])
        renumbered = np.full(len(self.values) + 1, -1, dtype=np.int64)
        renumbered[used] = np.arange(len(used))
        selected = object.__new__(Columns)
        selected.slot, selected.values = renumbered[slot], self.values[used]
        return selected


def _is_needed(trees: Trees, fixed: np.ndarray) -> np.ndarray:
    """Fixed subtrees that a node with constants takes as its argument, or that are a whole expression."""
    needed = np.zeros_like(fixed)
    needed[0] = fixed[0]
    arity = np.where(trees.varies, ARITY[np.minimum(trees.tokens, FIRST_VARIABLE)], 0)
    needed[1:] |= (arity[:-1] >= 1) & fixed[1:]
    position, column = np.nonzero(arity == 2)
    other = trees.second[position, column]
    needed[other, column] |= fixed[other, column]
    return needed


def _evaluate_fixed(
    tokens: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    height: np.ndarray,
    kept: np.ndarray,
    inputs: np.ndarray,
) -> np.ndarray:
    """Evaluate a directed acyclic graph of `[nodes]` and return the kept nodes' values `[kept, rows]`."""
    order = np.lexsort((tokens, height))
    slot = np.empty_like(order)
    slot[order] = np.arange(len(order))
    steps = []
    key = height[order].astype(np.int64) * (2 * FIRST_VARIABLE) + np.minimum(tokens[order], FIRST_VARIABLE)
    for low, high in _runs(key):
        members = order[low:high]
        steps.append((int(min(tokens[members[0]], FIRST_VARIABLE)), low, high, members))
    rows = inputs.shape[1]
    values = np.empty((len(kept), rows), dtype=inputs.dtype)
    for start, stop in blocks(rows):
        work = np.empty((len(tokens), stop - start), dtype=inputs.dtype)
        for token, low, high, members in steps:
            if token == FIRST_VARIABLE:
                work[low:high] = inputs[tokens[members] - FIRST_VARIABLE, start:stop]
                continue
            row = OPERATORS[token - 1]
            arguments = [work[slot[left[members]]]]
            if row.arity == 2:
                arguments.append(work[slot[right[members]]])
            row.numpy(*arguments, out=work[low:high])
        values[:, start:stop] = work[slot[kept]]
    return values


def _runs(key: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of every run of equal neighbours."""
    if not len(key):
        return []
    edges = np.flatnonzero(key[1:] != key[:-1]) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(key)], strict=True))


def blocks(rows: int) -> list[tuple[int, int]]:
    """Split `rows` into the fewest nearly equal blocks that fit the cache; it depends on nothing else."""
    count = max(1, -(-rows // _BLOCK_ROWS))
    size = max(1, -(-rows // count))
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


# --- the tape ---


def parameters_in_order(
    free: np.ndarray, members: np.ndarray, first: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Instance and position of every free constant: instance by instance, those of `first` before the others.

    Args:
        free: `[positions + 1, expressions]`, at the constants to look at.
        members: `[instances]`, which expression each instance belongs to.
        first: as `free`; None: all of an instance are in prefix order.
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
        token: the operator.
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
        parameters: `[instances]`, free constants of every instance; never decreasing.
        width: the largest of them.
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
            trees: the expressions.
            columns: their constant-free subtrees on `inputs`.
            members: `[instances]`, which expression each instance belongs to, ordered by free constants.
            free: `[positions + 1, expressions]`, at the constants to differentiate by.
            inputs: `[variables, rows]`.
            workspace: buffers to use.
            width: free constants to make room for in Gram matrices, if more than any instance has.
            first: `[positions + 1, expressions]`, free constants that come before the others; None: none do.

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
            for low, high in _runs(self.parameters)
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
        for low, high in reversed(_runs(self._key)):
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
            constants: `[instances, constants]`, every constant in prefix order, padded behind.
            target: `[rows]`, in the type of the workspace.
            root_weights: `[rows]`, square roots of the weights, or None.

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
