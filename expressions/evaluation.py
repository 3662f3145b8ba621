"""Values of a whole batch of different expressions on one table, every common subtree computed once.

Populations of a search repeat themselves: of the nodes of an evolved population only about a tenth are distinct.
So a batch is first *hash-consed* into one straight-line program (`Plan`), in which two equal subtrees are one node,
and then run: by NumPy a node at a time, whole columns in recycled buffers that stay in the cache (`Evaluator`), or
by torch a level at a time, which a GPU needs (`evaluate_torch`). Sharing changes no value: the result equals the
one-by-one evaluation bit for bit.

float32 is for searching, float64 for reporting. There is no protection anywhere: where an expression is not
defined, its value is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.operators import ARITY, CONSTANT, FIRST_VARIABLE, OPERATORS

_ARITY: list[int] = ARITY.tolist()
_COMMUTATIVE: list[bool] = [False, *(row.commutative for row in OPERATORS)]
_FUNCTION: list[Callable[..., np.ndarray] | None] = [None, *(row.numpy for row in OPERATORS)]
_SHIFT = 24  # bits for a node number in an interning key; a plan holds at most 2**24 nodes


@dataclass
class Plan:
    """A straight-line program for a batch: nodes in an order in which arguments come first.

    Nodes 0 to `variables - 1` are the columns of the table; node `variables + k` is `operators[k]` applied to
    nodes `first[k]` and `second[k]` (-1 where there is none), or the constant `values[k]` where `operators[k]`
    is `CONSTANT`.
    """

    variables: int
    operators: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    second: list[int] = field(default_factory=list)
    values: dict[int, float] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.operators)

    @classmethod
    def of(cls, expressions: Sequence[Expression], variables: int) -> Plan:
        """Hash-cons a batch over `variables` columns.

        Raises:
            ValueError: an expression uses a variable that the table does not have.
        """
        plan = cls(variables)
        known: dict[int, int] = {}
        constant_nodes: dict[float, int] = {}
        for expression in expressions:
            plan.roots.append(plan._intern(expression, known, constant_nodes))
        return plan

    def _intern(self, expression: Expression, known: dict[int, int], constant_nodes: dict[float, int]) -> int:
        """Node of an expression, adding what is new. The loop is the hot path of every search."""
        operators, first, second = self.operators, self.first, self.second
        variables = self.variables
        stack: list[int] = []
        pop, push = stack.pop, stack.append
        constants = expression.constants.tolist()
        for token in reversed(expression.tokens.tolist()):
            if token >= FIRST_VARIABLE:
                if token - FIRST_VARIABLE >= variables:
                    raise ValueError(f"variable {token - FIRST_VARIABLE} of a table with {variables} columns")
                push(token - FIRST_VARIABLE)
                continue
            if token == CONSTANT:
                value = constants.pop()
                node = constant_nodes.get(value)
                # 0.0 == -0.0 as dictionary keys, but 1/0.0 != 1/-0.0: a zero is never shared.
                if node is None or value == 0.0:
                    node = variables + len(operators)
                    operators.append(CONSTANT)
                    first.append(-1)
                    second.append(-1)
                    self.values[node] = value
                    constant_nodes[value] = node
                push(node)
                continue
            a = pop()
            if _ARITY[token] == 2:
                b = pop()
                if a > b and _COMMUTATIVE[token]:  # a + b and b + a are one node: IEEE sums commute
                    a, b = b, a
                key = (((token << _SHIFT) | a) << _SHIFT) | b
            else:
                b = -1
                key = -((token << _SHIFT) | a)
            node = known.get(key)
            if node is None:
                node = variables + len(operators)
                operators.append(token)
                first.append(a)
                second.append(b)
                known[key] = node
            push(node)
        return stack[0]

    def uses(self) -> list[int]:
        """How often each node is read, as an argument or as a root. `[variables + nodes]`"""
        counts = np.zeros(self.variables + len(self.operators) + 1, dtype=np.int64)
        for indices in (self.first, self.second, self.roots):
            np.add.at(counts, np.array(indices, dtype=np.int64), 1)  # -1 falls on the spare last entry
        return counts[:-1].tolist()

    def levels(self) -> list[tuple[int, np.ndarray]]:
        """Nodes grouped by (level, operator), levels rising: `[(operator token, nodes), …]`."""
        level = [0] * (self.variables + len(self.operators) + 1)
        groups: dict[tuple[int, int], list[int]] = {}
        for k, token in enumerate(self.operators):
            node = self.variables + k
            if token != CONSTANT:
                level[node] = 1 + max(level[self.first[k]], level[self.second[k]])
            groups.setdefault((level[node], token), []).append(node)
        return [(token, np.array(nodes)) for (_, token), nodes in sorted(groups.items())]


class Evaluator:
    """Evaluates batches of expressions on one table with NumPy.

    Args:
        inputs: `[rows, variables]`
        dtype: `np.float32` (about 15 times faster in sines and logarithms) or `np.float64`.
    """

    def __init__(self, inputs: np.ndarray, dtype: Any = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.rows, self.variables = inputs.shape
        with np.errstate(over="ignore"):  # beyond float32's range: infinite, hence invalid there
            self.columns = [np.ascontiguousarray(inputs[:, j], dtype=self.dtype) for j in range(self.variables)]
        self._spare: list[np.ndarray] = []

    def values(self, expressions: Sequence[Expression]) -> np.ndarray:
        """Values of every expression. `[expressions, rows]`"""
        result = np.empty((len(expressions), self.rows), dtype=self.dtype)

        def store(index: int, column: np.ndarray) -> None:
            result[index] = column

        self.visit(expressions, store)
        return result

    def visit(self, expressions: Sequence[Expression], consume: Callable[[int, np.ndarray], None]) -> None:
        """Hand every expression's values to `consume(index, column)` while they are still in the cache.

        `column` has `rows` entries, or one where the expression is a constant; it is recycled as soon as `consume`
        returns and must not be changed. Expressions are visited in the order in which their values are ready.
        """
        plan = Plan.of(expressions, self.variables)
        indices: dict[int, list[int]] = {}
        for index, root in enumerate(plan.roots):
            indices.setdefault(root, []).append(index)
        buffers: list[np.ndarray | None] = [*self.columns, *([None] * len(plan))]
        for root in indices:
            if root < self.variables:
                for index in indices[root]:
                    consume(index, self.columns[root])
        uses = plan.uses()
        with np.errstate(all="ignore"):
            self._run(plan, buffers, uses, indices, consume)

    def _run(
        self,
        plan: Plan,
        buffers: list[Any],
        uses: list[int],
        indices: dict[int, list[int]],
        consume: Callable[[int, np.ndarray], None],
    ) -> None:
        spare, rows, dtype, variables = self._spare, self.rows, self.dtype, self.variables
        # Columns are never recycled: one use too many.
        uses[:variables] = [count + 1 for count in uses[:variables]]
        node = variables - 1
        for token, a, b in zip(plan.operators, plan.first, plan.second, strict=True):
            node += 1
            if token == CONSTANT:
                out = np.array([plan.values[node]]).astype(dtype)
            else:
                left = buffers[a]
                if b < 0:
                    out = spare.pop() if spare else np.empty(rows, dtype)
                    if left.shape[0] != rows:
                        spare.append(out)
                        out = np.empty(1, dtype)
                    _FUNCTION[token](left, out)  # type: ignore[misc]
                else:
                    right = buffers[b]
                    if left.shape[0] == rows or right.shape[0] == rows:
                        out = spare.pop() if spare else np.empty(rows, dtype)
                    else:
                        out = np.empty(1, dtype)
                    _FUNCTION[token](left, right, out)  # type: ignore[misc]
                    uses[b] -= 1
                    if not uses[b]:
                        if right.shape[0] == rows:
                            spare.append(right)
                        buffers[b] = None
                uses[a] -= 1
                if not uses[a]:
                    if left.shape[0] == rows:
                        spare.append(left)
                    buffers[a] = None
            buffers[node] = out
            if node in indices:
                for index in indices[node]:
                    consume(index, out)
                    uses[node] -= 1
                if not uses[node]:
                    if out.shape[0] == rows:
                        spare.append(out)
                    buffers[node] = None


def evaluate_torch(expressions: Sequence[Expression], inputs: Any) -> Any:
    """Values of a batch on a torch device, all nodes of a level that share an operator in one kernel.

    Args:
        inputs: float tensor on any device. `[rows, variables]`

    Returns:
        Tensor on the same device, of the same dtype. `[expressions, rows]`
    """
    import torch

    rows, variables = inputs.shape
    plan = Plan.of(expressions, variables)
    values = torch.empty((variables + len(plan), rows), dtype=inputs.dtype, device=inputs.device)
    values[:variables] = inputs.T
    first = np.array(plan.first, dtype=np.int64)
    second = np.array(plan.second, dtype=np.int64)

    def gather(nodes: np.ndarray) -> Any:
        return values.index_select(0, torch.as_tensor(nodes, device=inputs.device))

    for token, nodes in plan.levels():
        target = torch.as_tensor(nodes, device=inputs.device)
        if token == CONSTANT:
            constants = torch.tensor([plan.values[int(k)] for k in nodes], dtype=inputs.dtype, device=inputs.device)
            values[target] = constants[:, None].expand(-1, rows)
            continue
        row = OPERATORS[token - 1]
        arguments = [gather(first[nodes - variables])]
        if row.arity == 2:
            arguments.append(gather(second[nodes - variables]))
        values[target] = row.torch(torch, *arguments)
    return gather(np.array(plan.roots, dtype=np.int64))
