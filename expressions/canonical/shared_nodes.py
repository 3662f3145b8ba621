"""Canonical subtrees that are made once: equal ones are the same object."""

from __future__ import annotations

from typing import Any

from expressions.canonical.nodes import ATOM, FUNCTION, SUM, Node
from expressions.operators import CONSTANT, OPERATORS, POWER_ROWS, TOKEN

__all__ = ["FUNCTIONS", "SharedNodes"]

_POW = TOKEN["pow"]
# What stays as it stands: every row but those that sums and products are made of.
_ARITHMETIC = frozenset(TOKEN[name] for name in ("add", "sub", "mul", "div", "neg", "inv", *POWER_ROWS.values()))
FUNCTIONS = {token: OPERATORS[token - 1] for token in TOKEN.values() if token not in _ARITHMETIC}
"""Token -> row of every operator that is a function, and no part of a sum, a product or a whole power."""
_NOT_NEGATIVE = frozenset(token for token, row in FUNCTIONS.items() if row.non_negative)
_ANALYTIC = frozenset(token for token, row in FUNCTIONS.items() if row.analytic)
_TOTAL = frozenset(token for token, row in FUNCTIONS.items() if row.total)
# A level set of these is a countable union of level sets of the argument.
_NOT_FLAT = frozenset(token for token, row in FUNCTIONS.items() if row.arity == 1 and not row.flat)

# Of numbers, shared and never changed.
_NUMBER_PROGRAM = (CONSTANT,)
_NO_TERMS: dict[Node, float] = {}
_NO_FACTORS: dict[Node, int] = {}


class SharedNodes:
    """All canonical subtrees met so far, whose like parts are already collected."""

    def __init__(self) -> None:
        self.memory: dict[Any, Node] = {}  # (operator, arguments) -> canonical node
        self.variables: dict[int, Node] = {}
        self.numbers: dict[float, Node] = {}
        self.compounds: dict[Any, Node] = {}

    def variable(self, token: int) -> Node:
        """The node of a variable."""
        node = Node(ATOM)
        node.tokens, node.constants = (token,), ()
        node.stand_alone()
        node.dense = node.analytic = node.not_flat = True
        self.variables[token] = node
        return node

    def number(self, value: float) -> Node:
        """The node of a constant."""
        value = value + 0.0  # no negative zero
        node = self.numbers.get(value)
        if node is None:
            node = Node(ATOM)
            node.tokens, node.constants = _NUMBER_PROGRAM, (value,)
            node.terms, node.constant = _NO_TERMS, value
            node.coefficient, node.factors = value, _NO_FACTORS
            node.dense = node.analytic = True
            node.not_flat = False
            self.numbers[value] = node
        return node

    def function(self, token: int, *arguments: Node) -> Node:
        """The operator as it stands."""
        key = (token, *arguments)
        node = self.compounds.get(key)
        if node is None:
            tokens: tuple[int, ...] = (token,)
            constants: tuple[float, ...] = ()
            for argument in arguments:
                tokens += argument.tokens
                constants += argument.constants
            node = Node(FUNCTION)
            node.tokens, node.constants = tokens, constants
            node.stand_alone()
            node.operator = token
            node.arguments = arguments
            first = arguments[0]
            node.analytic = token in _ANALYTIC and first.analytic
            if token in _TOTAL:
                node.dense = all(argument.dense for argument in arguments)
            else:  # the poles of a tangent are isolated where its argument is not constant on a region
                node.dense = token in _ANALYTIC and first.dense and first.analytic
            node.not_flat = first.not_flat and (
                token in _NOT_FLAT or (token == _POW and not arguments[1].terms and arguments[1].constant != 0.0)
            )
            node.not_negative = token in _NOT_NEGATIVE
            self.compounds[key] = node
        return node

    def sum(self, terms: dict[Node, float], constant: float) -> Node:
        """Node of a sum whose like terms are already collected; takes the dict over."""
        if not terms:
            return self.number(constant)
        if len(terms) == 1 and constant == 0.0:
            [(only, coefficient)] = terms.items()
            if coefficient == 1.0:
                return only
        key = (frozenset(terms.items()), constant)
        node = self.compounds.get(key)
        if node is None:
            node = Node(SUM)
            node.terms, node.constant = terms, constant
            node.factors = None
            node.dense = node.analytic = True
            for term in terms:
                node.dense = node.dense and term.dense
                node.analytic = node.analytic and term.analytic
            node.not_flat = node.analytic or (len(terms) == 1 and next(iter(terms)).not_flat)
            self.compounds[key] = node
        return node
