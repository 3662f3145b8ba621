"""The size of an equation while genetic programming searches: nearly its complexity, and fast."""

from __future__ import annotations

from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE, TOKEN, by_token

__all__ = ["tree_size"]

# SymPy nodes of a constant and of every operator; a variable counts 1.
_NODES: list[int] = by_token(1, lambda row: row.complexity)
_SUMS = frozenset((TOKEN["add"], TOKEN["sub"]))
_ARITIES: list[int] = by_token(0, lambda row: row.arity)
_PRODUCTS = frozenset((TOKEN["mul"], TOKEN["div"]))


def tree_size(expression: Expression) -> int:
    """Nodes of the SymPy tree if SymPy merged nested sums and products and did nothing else.

    A hundred times faster than `expressions.complexity.complexity`, the exact number, by which equations are
    reported.
    """
    nodes = 0
    parents = [0]  # a stack: parents of the arguments that are still to come
    for token in expression.tokens.tolist():
        parent = parents.pop()
        nodes += _NODES[token] if token < FIRST_VARIABLE else 1
        if (token in _SUMS and parent in _SUMS) or (token in _PRODUCTS and parent in _PRODUCTS):
            nodes -= 1
        parents += [token] * (_ARITIES[token] if token < FIRST_VARIABLE else 0)
    return nodes
