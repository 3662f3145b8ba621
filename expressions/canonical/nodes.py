"""Canonical subtrees, and the programs that they are written as."""

from __future__ import annotations

from typing import Any

from expressions.operators import CONSTANT, FIRST_VARIABLE, POWER_ROWS, TOKEN

__all__ = ["ATOM", "FUNCTION", "PRODUCT", "SUM", "Node", "new_product"]

ATOM, FUNCTION, SUM, PRODUCT = range(4)

_ADD, _SUB, _MUL, _DIV, _POW = (TOKEN[name] for name in ("add", "sub", "mul", "div", "pow"))
_NEG, _INV = TOKEN["neg"], TOKEN["inv"]
_POWER_TOKENS = {exponent: TOKEN[name] for exponent, name in POWER_ROWS.items()}


class Node:
    """A canonical subtree. Equal subtrees are one object, so that identity is equality.

    Attributes:
        kind: one of ATOM (constant or variable), FUNCTION, SUM and PRODUCT.
        tokens, constants: program of the node.
        order: sort key among the terms of a sum; whole powers and products come before single variables.
        factor_order: sort key among the factors of a product; variables come first.
        terms, constant: view of the node as a sum.
        coefficient, factors: view of the node as a product; `factors` is None in a sum until it is asked for.
        operator, arguments: token and arguments of a function; the token is 0 in other nodes.
        dense: whether it is defined everywhere but at isolated points (overflow aside).
        analytic: whether it combines analytic functions alone, so that it is constant on a region only if it is
            constant everywhere.
        not_flat: whether it takes no value on a whole region, so that its zeros are isolated.
        not_negative: whether it is never below 0 where it is defined.
    """

    __slots__ = (
        "analytic", "arguments", "coefficient", "constant", "constants", "dense", "digests", "factor_order",
        "factors", "kind", "not_flat", "not_negative", "operator", "order", "parts", "terms", "tokens",
    )  # fmt: skip

    kind: int
    tokens: tuple[int, ...]
    constants: tuple[float, ...]
    order: tuple[tuple[int, ...], tuple[float, ...]]
    factor_order: tuple[bool, tuple[int, ...], tuple[float, ...]]
    terms: dict[Node, float]
    constant: float
    coefficient: float
    factors: dict[Node, int] | None
    operator: int
    arguments: tuple[Node, ...]
    parts: Any  # of a product: (numerator factors, its tokens, its constants, denominator's tokens, its constants)
    dense: bool
    analytic: bool
    not_flat: bool
    not_negative: bool
    digests: dict[bool, bytes] | None

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.operator = 0
        self.not_negative = False
        self.digests = None

    def __getattr__(self, name: str) -> Any:
        """Called for slots that are not set yet: what most nodes are never asked for.

        The program of a sum is written when something is made of the sum, since most sums only wait for their next
        term. Every other node has its program from the start, so that this never calls itself.
        """
        if name == "order":
            self.order = (self.tokens, self.constants)
        elif name == "factor_order":
            self.factor_order = (self.tokens[0] < FIRST_VARIABLE, self.tokens, self.constants)
        elif name in ("tokens", "constants") and self.kind == SUM:
            self.tokens, self.constants = _emit_sum(self.terms, self.constant)
        else:
            raise AttributeError(name)
        return getattr(self, name)

    def stand_alone(self) -> None:
        """Set both views of a node that is neither a sum nor a product nor a constant."""
        self.terms = {self: 1.0}
        self.constant = 0.0
        self.coefficient = 1.0
        self.factors = {self: 1}


def new_product(factors: dict[Node, int]) -> Node:
    """The node of a product of powers, its factors in canonical order, negative exponents in the divisor."""
    above: list[tuple[Node, int]] = []
    below: list[tuple[Node, int]] = []
    for base, exponent in sorted(factors.items(), key=lambda item: item[0].factor_order):
        if base.operator == _INV and _is_base(base.arguments[0]):
            below.append((base.arguments[0], exponent))
            continue
        if exponent >= 0:
            above.append((base, exponent or 1))
        if exponent <= 0:
            below.append((base, -exponent or 1))
    numerator, numerator_constants = _emit_powers(above)
    denominator, denominator_constants = _emit_powers(below)
    tokens = (_MUL,) * (len(above) - 1) + numerator
    if below:
        denominator = (_MUL,) * (len(below) - 1) + denominator
        tokens = (_DIV, *tokens, *denominator) if above else (_INV, *denominator)
    node = Node(PRODUCT)
    node.tokens, node.constants = tokens, numerator_constants + denominator_constants
    node.parts = (len(above), numerator, numerator_constants, denominator, denominator_constants)
    node.terms, node.constant = {node: 1.0}, 0.0
    node.coefficient, node.factors = 1.0, factors
    node.dense = node.analytic = node.not_negative = True
    for base, exponent in factors.items():
        node.dense = node.dense and base.dense
        node.analytic = node.analytic and base.analytic
        node.not_negative = node.not_negative and (exponent % 2 == 0 or base.not_negative)
    node.not_flat = node.analytic or (len(factors) == 1 and next(iter(factors)).not_flat)
    return node


def _is_base(node: Node) -> bool:
    """Whether the node is a factor by itself, and not a number, a product or a multiple of a term."""
    if node.kind == SUM:
        return len(node.terms) > 1 or node.constant != 0.0
    return node.kind == FUNCTION or (node.kind == ATOM and bool(node.terms))


# --- programs ---


def _emit_sum(terms: dict[Node, float], constant: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Program of a sum: added terms, then subtracted ones, then the constant."""
    items = sorted(terms.items(), key=lambda item: item[0].order) if len(terms) > 1 else list(terms.items())
    shared = items[0][1]
    if len(items) > 1 and abs(shared) not in (0.0, 1.0) and all(abs(c) == abs(shared) for _, c in items):
        tokens, constants = _emit_sum({node: c / shared for node, c in items}, 0.0)
        tokens, constants = (_MUL, CONSTANT, *tokens), (shared, *constants)
        return ((_ADD, *tokens, CONSTANT), (*constants, constant)) if constant else (tokens, constants)
    pieces = [_emit_term(node, c) for node, c in items if c != -1.0]
    operators = [_ADD] * (len(pieces) - 1)
    subtracted = [(node.tokens, node.constants) for node, c in items if c == -1.0]
    if not pieces and not constant:
        pieces, subtracted = [((_NEG, *subtracted[0][0]), subtracted[0][1])], subtracted[1:]
    if constant:
        if pieces and subtracted:
            operators += [_SUB] * len(subtracted) + [_ADD]
            pieces += [*subtracted, ((CONSTANT,), (constant,))]
            subtracted = []
        else:
            operators += [_ADD] * bool(pieces)
            pieces.append(((CONSTANT,), (constant,)))
    operators += [_SUB] * len(subtracted)
    pieces += subtracted
    all_tokens = operators[::-1]
    all_constants: list[float] = []
    for piece_tokens, piece_constants in pieces:
        all_tokens += piece_tokens
        all_constants += piece_constants
    return tuple(all_tokens), tuple(all_constants)


def _emit_term(node: Node, coefficient: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
    if coefficient == 1.0:
        return node.tokens, node.constants
    if node.kind != PRODUCT:
        return (_MUL, CONSTANT, *node.tokens), (coefficient, *node.constants)
    count, numerator, _, denominator, _ = node.parts
    product = (_MUL,) * count + (CONSTANT, *numerator)
    tokens = (_DIV, *product, *denominator) if denominator else product
    return tokens, (coefficient, *node.constants)


def _emit_powers(factors: list[tuple[Node, int]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    tokens: list[int] = []
    constants: list[float] = []
    for base, exponent in factors:
        if exponent > 1:
            tokens.append(_POWER_TOKENS.get(exponent, _POW))
        tokens += base.tokens
        constants += base.constants
        if exponent > 1 and exponent not in _POWER_TOKENS:
            tokens.append(CONSTANT)
            constants.append(float(exponent))
    return tuple(tokens), tuple(constants)
