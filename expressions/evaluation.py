"""Values of a whole batch of different expressions on one table, every common subtree computed once.

Populations of a search repeat themselves: of the nodes of an evolved population only about a tenth are distinct.
So a batch is first *hash-consed* into one straight-line program (`Plan`), in which equal subtrees are one node,
and then run: by NumPy a node at a time, whole columns in recycled buffers that stay in the cache (`Evaluator`), or
by torch a level at a time, which a GPU needs (`evaluate_torch`). Sharing changes no value: the result equals the
one-by-one evaluation bit for bit.

float32 is for searching, float64 for reporting. There is no protection anywhere: where an expression is not
defined, its value is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS, by_token

_UNARY: list[bool] = by_token(False, lambda row: row.arity == 1)
_COMMUTATIVE: list[bool] = by_token(False, lambda row: row.commutative)
_FUNCTION: list[Any] = by_token(None, lambda row: row.numpy)
# A ufunc reads each element before it writes it, so it may write over its own argument.
_IN_PLACE: list[bool] = by_token(False, lambda row: isinstance(row.numpy, np.ufunc))
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
        known: list[dict[int, int]] = [{} for _ in range(len(OPERATORS) + 1)]
        constant_nodes: dict[float, int] = {}
        programs: dict[tuple[bytes, bytes], int] = {}  # evolved populations hold many individuals twice
        for expression in expressions:
            program = expression.tokens.tobytes(), expression.constants.tobytes()
            root = programs.get(program)
            if root is None:
                root = programs[program] = plan._intern(expression, known, constant_nodes)
            plan.roots.append(root)
        return plan

    def _intern(
        self, expression: Expression, known: list[dict[int, int]], constant_nodes: dict[float, int]
    ) -> int:
        """Node of an expression, adding what is new. The loop is the hot path of every search."""
        operators, first, second = self.operators, self.first, self.second
        variables = self.variables
        unary, commutative = _UNARY, _COMMUTATIVE
        stack: list[int] = []
        pop, push = stack.pop, stack.append
        constants = expression.constants.tolist()
        for token in expression.tokens.tolist()[::-1]:
            if token >= FIRST_VARIABLE:
                node = token - FIRST_VARIABLE
                if node >= variables:
                    raise ValueError(f"variable {node} of a table with {variables} columns")
                push(node)
                continue
            if token == CONSTANT:
                value = constants.pop()
                found = constant_nodes.get(value)
                # 0.0 == -0.0 as dictionary keys, but 1/0.0 != 1/-0.0: a zero is never shared.
                if found is None or value == 0.0:
                    found = variables + len(operators)
                    operators.append(CONSTANT)
                    first.append(-1)
                    second.append(-1)
                    self.values[found] = value
                    constant_nodes[value] = found
                push(found)
                continue
            a = pop()
            if unary[token]:
                b = -1
                key = a
            else:
                b = pop()
                if a > b and commutative[token]:  # a + b and b + a are one node: IEEE sums commute
                    a, b = b, a
                key = (a << _SHIFT) | b
            found = known[token].get(key)
            if found is None:
                found = known[token][key] = variables + len(operators)
                operators.append(token)
                first.append(a)
                second.append(b)
            push(found)
        return stack[0]

    def last_readers(self, kept: Iterable[int] = ()) -> tuple[list[bool], list[bool], list[bool]]:
        """Whether each operator is the last to read its first argument, its second, and whether nothing reads it.

        `[nodes]` each. An argument that is both counts as the first. Columns of the table, constants and the nodes
        `kept` are never read for the last time.
        """
        first, second = np.array(self.first, dtype=np.int64), np.array(self.second, dtype=np.int64)
        number = np.arange(len(first))
        last = np.full((2, self.variables + len(first) + 1), -1)
        last[0, first] = number  # of equal indices the last one stays; "no argument", -1, falls on the spare entry
        last[1, second] = number
        reader = last.max(axis=0)
        unread = reader[self.variables : -1] < 0
        reader[: self.variables] = reader[-1] = -1
        reader[[*kept, *self.values]] = -1
        ends_first = reader[first] == number
        ends_second = (reader[second] == number) & (first != second)
        return ends_first.tolist(), ends_second.tolist(), unread.tolist()

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
        inputs: values of the variables. `[rows, variables]`
        dtype: type to compute in, `np.float32` (about 15 times faster in sines and logarithms) or `np.float64`.
    """

    def __init__(self, inputs: np.ndarray, dtype: Any = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.rows, self.variables = inputs.shape
        with np.errstate(over="ignore"):  # beyond float32's range: infinite, hence invalid there
            self.columns = [np.ascontiguousarray(inputs[:, j], dtype=self.dtype) for j in range(self.variables)]
        self._spare: list[np.ndarray] = []

    def values(self, expressions: Sequence[Expression], out: np.ndarray | None = None) -> np.ndarray:
        """Values of every expression. `[expressions, rows]`

        Args:
            expressions: equations to evaluate.
            out: array to write to, of the evaluator's dtype. Fresh memory costs about as much as the arithmetic
                (page faults), so a search should bring its own. `[expressions or more, rows]`

        Returns:
            The first `len(expressions)` rows of `out`, or a new array.

        Raises:
            ValueError: `out` has another type, too few rows or the wrong length.
        """
        if out is None:
            out = np.empty((len(expressions), self.rows), dtype=self.dtype)
        elif out.dtype != self.dtype or out.ndim != 2 or len(out) < len(expressions) or out.shape[1] != self.rows:
            raise ValueError(
                f"out is {out.dtype} {out.shape}, not {self.dtype} ({len(expressions)} or more, {self.rows})"
            )
        result = out[: len(expressions)]
        plan = Plan.of(expressions, self.variables)
        first_index: dict[int, int] = {}
        copies = []
        for index, root in enumerate(plan.roots):
            source = first_index.setdefault(root, index)
            if source != index:
                copies.append((index, source))
        # A root is computed where its values belong, and read there.
        homes = {root: result[index] for root, index in first_index.items()}
        columns = self._run(plan, homes, (), _ignore)
        for root, home in homes.items():
            if columns[root] is not home:  # a column of the table or a constant
                home[...] = columns[root]
        for index, source in copies:
            result[index] = result[source]
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

        def ready(node: int, column: np.ndarray) -> None:
            for index in indices[node]:
                consume(index, column)

        for root in indices:
            if root < self.variables:
                ready(root, self.columns[root])
        self._run(plan, {}, indices, ready)

    def _run(
        self,
        plan: Plan,
        homes: Mapping[int, np.ndarray],
        watched: Container[int],
        ready: Callable[[int, np.ndarray], None],
    ) -> list[np.ndarray]:
        """Run a plan, a node at a time. A buffer is free as soon as its last reader has run.

        Args:
            plan: program to run.
            homes: arrays to write some of the nodes to; these are not recycled.
            watched: nodes whose values are handed to `ready` as soon as they are there.
            ready: function `ready(node, values)` for the nodes in `watched`.

        Returns:
            For every node the array that it was written to, one entry long where it is a constant; only those of
            columns, constants and nodes with a home still hold its values.
        """
        spare, rows, dtype = self._spare, self.rows, self.dtype
        columns = [*self.columns]
        push, take, give = columns.append, spare.pop, spare.append
        functions, in_place, home = _FUNCTION, _IN_PLACE, homes.get
        steps = zip(plan.operators, plan.first, plan.second, *plan.last_readers(homes), strict=True)
        node = self.variables - 1
        out: np.ndarray | None
        with np.errstate(all="ignore"):
            for token, a, b, ends_a, ends_b, unread in steps:
                node += 1
                if token == CONSTANT:
                    out = np.array([plan.values[node]]).astype(dtype)
                elif b < 0:
                    left = columns[a]
                    out = home(node) if len(left) == rows else np.empty(1, dtype)
                    ends_a = ends_a and len(left) == rows
                    if out is None:
                        out = left if ends_a and in_place[token] else take() if spare else np.empty(rows, dtype)
                    functions[token](left, out)
                    if ends_a and out is not left:
                        give(left)
                else:
                    left, right = columns[a], columns[b]
                    wide_a, wide_b = len(left) == rows, len(right) == rows
                    ends_a, ends_b = ends_a and wide_a, ends_b and wide_b
                    out = home(node) if wide_a or wide_b else np.empty(1, dtype)
                    if out is None:
                        if in_place[token] and (ends_a or ends_b):
                            out = left if ends_a else right
                        else:
                            out = take() if spare else np.empty(rows, dtype)
                    functions[token](left, right, out)
                    if ends_a and out is not left:
                        give(left)
                    if ends_b and out is not right:
                        give(right)
                push(out)
                if node in watched:
                    ready(node, out)
                    if unread and len(out) == rows and token != CONSTANT:
                        give(out)
        return columns


def _ignore(node: int, column: np.ndarray) -> None:
    pass


def evaluate_torch(expressions: Sequence[Expression], inputs: Any) -> Any:
    """Values of a batch on a torch device, all nodes of a level that share an operator in one kernel.

    Args:
        expressions: equations to evaluate.
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
            constants = torch.tensor(
                [plan.values[int(k)] for k in nodes], dtype=inputs.dtype, device=inputs.device
            )
            values[target] = constants[:, None].expand(-1, rows)
            continue
        row = OPERATORS[token - 1]
        arguments = [gather(first[nodes - variables])]
        if row.arity == 2:
            arguments.append(gather(second[nodes - variables]))
        values[target] = row.torch(torch, *arguments)
    return gather(np.array(plan.roots, dtype=np.int64))
