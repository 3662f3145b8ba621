"""The one measure of an equation's size: the nodes of its SymPy tree, as SRBench counts them."""

from __future__ import annotations

import math
from functools import lru_cache

from expressions import sympy_worker
from expressions.expression import Expression
from expressions.operators import CONSTANT, POWER_ROWS, Operator

__all__ = ["complexity", "out_of_range"]

_POWER_OF = {name: exponent for exponent, name in POWER_ROWS.items()}
_LONGEST = 5_000  # tokens; SymPy's time grows with the square of the length


@lru_cache(maxsize=50_000)
def complexity(expression: Expression) -> int:
    """Nodes of the expression's SymPy tree, as SRBench counts: `sum(1 for _ in sympy.preorder_traversal(tree))`.

    SymPy merges nested sums and products, writes a - b as a + (-1)*b, a/b as a*b**-1, sqrt(a) as a**(1/2), and
    more. A protected operator counts as the plain one (SRBench reads them so). SymPy is asked in its worker, some
    2 ms an expression; recent answers are remembered.

    The operators' own `complexity` is added up instead where SymPy might meet numbers beyond 10**1000 or below
    10**-1000 (`out_of_range`), would be asked for more than 5,000 tokens, or gives no answer within 5 seconds.
    """
    nodes = None
    if len(expression) <= _LONGEST and not out_of_range(expression):
        nodes = sympy_worker.count_nodes(expression)
    return _sum_over_operators(expression) if nodes is None else nodes


def _sum_over_operators(expression: Expression) -> int:
    return int(expression.fold(lambda *_: 1, lambda row, *arguments: row.complexity + sum(arguments)))


def out_of_range(expression: Expression) -> bool:
    """Whether SymPy, which computes with exact integers, might meet a number of more than a thousand digits.

    A float of such a size counts, too: SymPy holds it, but nothing here could take it back.
    """

    def combine(row: Operator, *digits: float) -> float:
        if row.name in _POWER_OF:
            return _POWER_OF[row.name] * digits[0]
        if row.name == "pow":
            return digits[0] * 10.0 ** min(digits[1], 300.0)
        return sum(digits) + 1.0 if row.arity == 2 else digits[0]

    def leaf(token: int, value: float) -> float:
        return abs(math.log10(abs(value))) if token == CONSTANT and value != 0.0 else 0.0

    return bool(expression.fold(leaf, combine) > 1_000.0)
