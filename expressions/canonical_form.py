"""The canonical form of an expression, and its hash: equal for expressions that are equal by simple rules.

`canonical` rewrites an expression bottom-up into a normal form in which commuted, reassociated and otherwise
trivially equal expressions coincide. Two shapes carry the arithmetic:

    sum       constant + sum of coefficient * term       (like terms collected, terms sorted)
    product   product of base ** whole number            (like factors collected, factors sorted, no coefficient)

Rules, each an identity over the reals wherever its left side is finite:

    a - b, -a, a/c            coefficients; c*(a + b) is distributed, and a coefficient shared by all terms is
                              written once: 2*x + 2*y -> 2*(x + y)
    a/b, 1/a, a**k            exponents, for whole |k| <= 1000 (a**2.0 too; a**0 and 1**a are 1 in IEEE for any a)
    (3*x + 1)*y               sums inside products get the leading coefficient 1: 3*((x + 1/3)*y)
    f(-a)                     odd f: -f(a); even f: f(a); |c*a| -> |c|*|a|
    |a|                       a, where a is an even power, exp, cosh, a root or a magnitude
    |a|**(2k), sqrt(a**(2k))  a**(2k), |a|**k
    a**0.5, a**-0.5           sqrt(a), 1/sqrt(a)
    log(exp(a)), tan(atan(a)) a
    max(a, max(b, a))         max(a, b), sorted; min likewise
    f(constants)              the number, where it is finite; log(-1) stays as it is

Domain. An invalid row is made valid only in the cases below; everything else keeps it invalid.

    removable points          a/a, a**3/a, 1/(1/a), a - a, 0*a lose the isolated points at which a is 0 or has a
                              pole. Where a is invalid on a whole region (log, sqrt, asin, acos, real powers) a
                              term that cancels stays as 0*a, a factor as a/a; where a may be 0 on a whole region
                              (through abs, max, min or a protected operator) a and 1/a do not cancel.
    overflow and underflow    of intermediate results, as in log(exp(1000)) or sqrt((1e-200*x)**2)

Not done, because it changes the domain or needs algebra: exp(log(a)), sqrt(a)**2, exp(a)*exp(b), sin**2 + cos**2,
products of sums multiplied out, common factors of sums taken out.
"""

from __future__ import annotations

import math
import struct
import threading
from hashlib import blake2b
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS, POWER_ROWS, TOKEN

__all__ = ["canonical", "canonical_key", "without_affine"]

MAX_LENGTH = 2_000  # longer programs are returned as they are: the time grows with the square of the length
_CAPACITY = 120_000  # remembered subtrees before the memory is cleared, about 150 MB
_MAX_EXPONENT = 1_000
_ROUNDING = 1e-15  # a sum of like terms that is this small beside them is rounding, and counts as 0

_ADD, _SUB, _MUL, _DIV, _POW = (TOKEN[name] for name in ("add", "sub", "mul", "div", "pow"))
_NEG, _INV, _SQRT, _ABS = (TOKEN[name] for name in ("neg", "inv", "sqrt", "abs"))
_POWERS = {TOKEN[name]: exponent for exponent, name in POWER_ROWS.items()}
_POWER_TOKENS = {exponent: token for token, exponent in _POWERS.items()}


# What stays as it stands: every row but those that sums and products are made of.
_ARITHMETIC = frozenset((_ADD, _SUB, _MUL, _DIV, _NEG, _INV, *_POWERS))
_FUNCTIONS = {token: OPERATORS[token - 1] for token in TOKEN.values() if token not in _ARITHMETIC}
_EXTREMA = frozenset((TOKEN["max"], TOKEN["min"]))
_ODD = frozenset(token for token, row in _FUNCTIONS.items() if row.odd)
_EVEN = frozenset(token for token, row in _FUNCTIONS.items() if row.even)
_NOT_NEGATIVE = frozenset(token for token, row in _FUNCTIONS.items() if row.non_negative)
_ANALYTIC = frozenset(token for token, row in _FUNCTIONS.items() if row.analytic)
_TOTAL = frozenset(token for token, row in _FUNCTIONS.items() if row.total)
# A level set of these is a countable union of level sets of the argument.
_NOT_FLAT = frozenset(token for token, row in _FUNCTIONS.items() if row.arity == 1 and not row.flat)
# (f, g) where f(g(a)) is a for every a, as log(exp(a)) is
_UNDOES = frozenset(
    (TOKEN[row.inverse], token)
    for token, row in _FUNCTIONS.items()
    if isinstance(row.inverse, str) and row.total and not row.even
)
_UNARY = [False, *(row.arity == 1 for row in OPERATORS)]

_ATOM, _FUNCTION, _SUM, _PRODUCT = range(4)


class _Node:
    """A canonical subtree. Equal subtrees are one object, so that identity is equality.

    Attributes:
        kind: _ATOM (constant or variable), _FUNCTION, _SUM or _PRODUCT.
        tokens, constants: the program.
        order: sorts the terms of a sum; whole powers and products before single variables.
        factor_order: sorts the factors of a product; variables first.
        terms, constant: the node as a sum.
        coefficient, factors: the node as a product; `factors` is None in a sum until it is asked for.
        operator, arguments: of a function.
        dense: defined everywhere but at isolated points (overflow aside).
        analytic: a combination of analytic functions, so constant on a region only if constant everywhere.
        not_flat: takes no value on a whole region, so that its zeros are isolated.
        not_negative: never below 0 where it is defined.
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
    terms: dict[_Node, float]
    constant: float
    coefficient: float
    factors: dict[_Node, int] | None
    operator: int
    arguments: tuple[_Node, ...]
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
        elif name in ("tokens", "constants") and self.kind == _SUM:
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


# Of numbers, shared and never changed.
_NUMBER_PROGRAM = (CONSTANT,)
_NO_TERMS: dict[_Node, float] = {}
_NO_FACTORS: dict[_Node, int] = {}


class _OutOfRangeError(Exception):
    """A coefficient or exponent left the range in which the rules are exact; the operator stays as written."""


def _checked(value: float, *inputs: float) -> float:
    """`value`, unless it overflowed, or underflowed although no input is 0."""
    if not math.isfinite(value) or (value == 0.0 and 0.0 not in inputs):
        raise _OutOfRangeError
    return value


class _Algebra:
    """All canonical subtrees met so far, and what every operator makes of them."""

    def __init__(self) -> None:
        self.memory: dict[Any, _Node] = {}  # (operator, arguments) -> canonical node
        self.variables: dict[int, _Node] = {}
        self.numbers: dict[float, _Node] = {}
        self.compounds: dict[Any, _Node] = {}

    def read(self, expression: Expression) -> _Node:
        """Canonical node of an expression, bottom-up."""
        if len(self.memory) + len(self.numbers) > _CAPACITY:
            self.__init__()  # type: ignore[misc]
        memory, variables, numbers = self.memory, self.variables, self.numbers
        stack: list[_Node] = []
        pop, push = stack.pop, stack.append
        values = expression.constants.tolist()
        key: Any
        for token in expression.tokens.tolist()[::-1]:
            if token >= FIRST_VARIABLE:
                push(variables.get(token) or self.variable(token))
                continue
            if token == CONSTANT:
                value = values.pop()
                push(numbers.get(value) or self.number(value))
                continue
            key = (token, pop()) if _UNARY[token] else (token, pop(), pop())
            node = memory.get(key)
            if node is None:
                node = memory[key] = self.apply(*key)
            push(node)
        return stack[0]

    def apply(self, token: int, a: _Node, b: _Node | None = None) -> _Node:
        try:
            if b is None:
                return self.unary(token, a)
            return self.binary(token, a, b)
        except _OutOfRangeError:
            return self.function(token, a) if b is None else self.function(token, a, b)

    def binary(self, token: int, a: _Node, b: _Node) -> _Node:
        if token == _ADD:
            return self.add(a, b, 1.0)
        if token == _SUB:
            return self.add(a, b, -1.0)
        if token == _MUL:
            return self.multiply(a, b)
        if token == _DIV:
            return self.divide(a, b)
        if not a.terms and not b.terms and (folded := _fold(token, a.constant, b.constant)) is not None:
            return self.number(folded)
        if token == _POW:
            return self.real_power(a, b)
        if token in _EXTREMA:
            return self.extremum(token, a, b)
        return self.function(token, a, b)

    def unary(self, token: int, a: _Node) -> _Node:
        if token == _NEG:
            return self.scale(a, -1.0)
        if token == _INV:
            return self.inverse(a)
        if token in _POWERS:
            return self.power(a, _POWERS[token])
        if not a.terms and (folded := _fold(token, a.constant)) is not None:
            return self.number(folded)
        if token == _ABS:
            return self.magnitude(a)
        if token in _ODD or token in _EVEN:
            if self.leading_coefficient(a) < 0.0:
                mirrored = self.plain_function(token, self.scale(a, -1.0))
                return mirrored if token in _EVEN else self.scale(mirrored, -1.0)
        elif token == _SQRT:
            return self.square_root(a)
        return self.plain_function(token, a)

    # --- leaves and functions -------------------------------------------------------------------------------

    def variable(self, token: int) -> _Node:
        node = _Node(_ATOM)
        node.tokens, node.constants = (token,), ()
        node.stand_alone()
        node.dense = node.analytic = node.not_flat = True
        self.variables[token] = node
        return node

    def number(self, value: float) -> _Node:
        value = value + 0.0  # no negative zero
        node = self.numbers.get(value)
        if node is None:
            node = _Node(_ATOM)
            node.tokens, node.constants = _NUMBER_PROGRAM, (value,)
            node.terms, node.constant = _NO_TERMS, value
            node.coefficient, node.factors = value, _NO_FACTORS
            node.dense = node.analytic = True
            node.not_flat = False
            self.numbers[value] = node
        return node

    def function(self, token: int, *arguments: _Node) -> _Node:
        """The operator as it stands."""
        key = (token, *arguments)
        node = self.compounds.get(key)
        if node is None:
            tokens: tuple[int, ...] = (token,)
            constants: tuple[float, ...] = ()
            for argument in arguments:
                tokens += argument.tokens
                constants += argument.constants
            node = _Node(_FUNCTION)
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
            node.not_flat = token in _NOT_FLAT and first.not_flat
            node.not_negative = token in _NOT_NEGATIVE
            self.compounds[key] = node
        return node

    def plain_function(self, token: int, a: _Node) -> _Node:
        if a.kind == _FUNCTION and (token, a.operator) in _UNDOES:
            return a.arguments[0]
        return self.function(token, a)

    def magnitude(self, a: _Node) -> _Node:
        coefficient, factors = self.as_product(a)
        core = self.product(1.0, dict(factors))
        if not core.not_negative:
            core = self.function(_ABS, core)
        return self.scale(core, abs(coefficient))

    def square_root(self, a: _Node) -> _Node:
        if a.kind == _PRODUCT or (a.kind == _SUM and len(a.terms) == 1 and a.constant == 0.0):
            coefficient, factors = self.as_product(a)
            if len(factors) == 1 and coefficient > 0.0:
                [(base, exponent)] = factors.items()
                if exponent % 2 == 0 and exponent != 0:
                    root = self.power(self.magnitude(base), abs(exponent) // 2)
                    return self.scale(root if exponent > 0 else self.inverse(root), math.sqrt(coefficient))
        return self.function(_SQRT, a)

    def real_power(self, a: _Node, b: _Node) -> _Node:
        if not b.terms:
            exponent = b.constant
            if exponent == 0.0:
                return self.number(1.0)
            if exponent.is_integer() and abs(exponent) <= _MAX_EXPONENT:
                power = self.power(a, abs(int(exponent)))
                return power if exponent > 0 else self.inverse(power)
            if abs(exponent) == 0.5:
                root = self.square_root(a)
                return root if exponent > 0 else self.inverse(root)
        if not a.terms and a.constant == 1.0:
            return a
        return self.function(_POW, a, b)

    def extremum(self, token: int, a: _Node, b: _Node) -> _Node:
        numbers: list[float] = []
        found: set[_Node] = set()
        work = [a, b]
        while work:
            node = work.pop()
            if node.operator == token:
                work += node.arguments
            elif node.terms:
                found.add(node)
            else:
                numbers.append(node.constant)
        operands = sorted(found, key=lambda node: node.order)
        if numbers:
            operands.append(self.number(max(numbers) if token == TOKEN["max"] else min(numbers)))
        result = operands[0]
        for operand in operands[1:]:
            result = self.function(token, result, operand)
        return result

    # --- sums -----------------------------------------------------------------------------------------------

    def add(self, a: _Node, b: _Node, sign: float) -> _Node:
        terms = dict(a.terms)
        for node, coefficient in b.terms.items():
            coefficient *= sign
            if node in terms:
                total = _cancel(terms[node], coefficient)
                if total == 0.0 and node.dense:
                    del terms[node]
                    continue
                coefficient = total
            terms[node] = coefficient
        return self.sum(terms, _cancel(a.constant, sign * b.constant))

    def scale(self, a: _Node, factor: float, divide: bool = False) -> _Node:
        """`a * factor`, or `a / factor`."""
        if factor == 1.0:
            return a
        if factor == 0.0:
            if divide:
                raise _OutOfRangeError
            return self.sum({node: 0.0 for node in a.terms if not node.dense}, 0.0)
        if divide:
            terms = {node: _checked(value / factor, value) for node, value in a.terms.items()}
            return self.sum(terms, _checked(a.constant / factor, a.constant) + 0.0)
        terms = {node: _checked(value * factor, value) for node, value in a.terms.items()}
        return self.sum(terms, _checked(a.constant * factor, a.constant) + 0.0)

    def sum(self, terms: dict[_Node, float], constant: float) -> _Node:
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
            node = _Node(_SUM)
            node.terms, node.constant = terms, constant
            node.factors = None
            node.dense = node.analytic = True
            for term in terms:
                node.dense = node.dense and term.dense
                node.analytic = node.analytic and term.analytic
            node.not_flat = node.analytic or (len(terms) == 1 and next(iter(terms)).not_flat)
            self.compounds[key] = node
        return node

    @staticmethod
    def leading_coefficient(a: _Node) -> float:
        """Coefficient of the first term that has one; 0 for a constant."""
        if a.kind != _SUM:
            return 1.0 if a.terms else 0.0
        if len(a.terms) == 1:
            return next(iter(a.terms.values()))
        return a.terms[min((node for node, c in a.terms.items() if c), key=_order, default=next(iter(a.terms)))]

    # --- products -------------------------------------------------------------------------------------------

    def as_product(self, a: _Node) -> tuple[float, dict[_Node, int]]:
        """Coefficient and factors. A sum becomes its leading coefficient times one factor."""
        if a.factors is None:
            if len(a.terms) == 1 and a.constant == 0.0:
                [(term, a.coefficient)] = a.terms.items()
                a.factors = term.factors
            else:
                a.coefficient, a.factors = 1.0, {a: 1}
                leading = self.leading_coefficient(a)
                if leading not in (0.0, 1.0):
                    try:
                        a.factors = {self.scale(a, leading, divide=True): 1}
                        a.coefficient = leading
                    except _OutOfRangeError:
                        pass
        assert a.factors is not None
        return a.coefficient, a.factors

    def multiply(self, a: _Node, b: _Node) -> _Node:
        if not a.terms:
            return self.scale(b, a.constant)
        if not b.terms:
            return self.scale(a, b.constant)
        left, factors = self.as_product(a)
        right, others = self.as_product(b)
        return self.product(_checked(left * right, left, right), _merge(factors, others))

    def divide(self, a: _Node, b: _Node) -> _Node:
        if not b.terms and b.constant != 0.0:
            return self.scale(a, b.constant, divide=True)
        right, others = self.as_product(b)
        if not b.terms or right == 0.0:
            return self.multiply(a, self.function(_INV, b))
        left, factors = self.as_product(a)
        if left == 0.0 and not a.terms:
            return self.scale(self.inverse(b), 0.0)
        return self.product(_checked(left / right, left), _merge(factors, self.inverted(others)))

    def inverse(self, a: _Node) -> _Node:
        if not a.terms:
            if a.constant == 0.0:
                return self.function(_INV, a)
            return self.number(_checked(1.0 / a.constant, 1.0))
        coefficient, factors = self.as_product(a)
        if coefficient == 0.0:
            return self.function(_INV, a)
        return self.product(_checked(1.0 / coefficient, 1.0), self.inverted(factors))

    def inverted(self, factors: dict[_Node, int]) -> dict[_Node, int]:
        """Factors of the reciprocal.

        What may be 0 on a whole region must not cancel with itself, so its reciprocal is a factor of its own.
        """
        return {
            (base if base.not_flat else self.function(_INV, base)): -exponent if base.not_flat else exponent
            for base, exponent in factors.items()
        }

    def power(self, a: _Node, exponent: int) -> _Node:
        if not a.terms:
            return self.number(_checked(_float_power(a.constant, exponent), a.constant))
        if exponent == 1:
            return a
        coefficient, factors = self.as_product(a)
        coefficient = _checked(_float_power(coefficient, exponent), coefficient)
        return self.product(coefficient, {base: old * exponent for base, old in factors.items()})

    def product(self, coefficient: float, factors: dict[_Node, int]) -> _Node:
        """Node of a product whose like factors are already collected; takes the dict over."""
        for base, exponent in factors.items():
            if base.operator == _ABS and exponent % 2 == 0 and exponent != 0:
                return self.without_magnitude(coefficient, factors, base)
            if not -_MAX_EXPONENT <= exponent <= _MAX_EXPONENT:
                raise _OutOfRangeError
        if not factors:
            return self.number(coefficient)
        node: _Node | None = None
        if len(factors) == 1:
            [(base, exponent)] = factors.items()
            if exponent == 1:
                if base.kind == _SUM:
                    return self.scale(base, coefficient)
                node = base
        if node is None:
            key = frozenset(factors.items())
            node = self.compounds.get(key)
            if node is None:
                node = self.compounds[key] = _new_product(factors)
        if coefficient == 1.0:
            return node
        if coefficient == 0.0 and node.dense:
            return self.number(0.0)
        return self.sum({node: coefficient + 0.0}, 0.0)

    def without_magnitude(self, coefficient: float, factors: dict[_Node, int], base: _Node) -> _Node:
        """|a|**(2k) -> a**(2k)."""
        exponent = factors[base]
        rest = self.product(coefficient, {other: e for other, e in factors.items() if other is not base})
        even = self.power(base.arguments[0], abs(exponent))
        return self.multiply(rest, even if exponent > 0 else self.inverse(even))


# --- helpers without state --------------------------------------------------------------------------------------


def _order(node: _Node) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return node.order


def _float_power(value: float, exponent: int) -> float:
    try:
        return value**exponent
    except OverflowError:
        return math.inf


def _cancel(a: float, b: float) -> float:
    """`a + b`, with what is only rounding set to 0."""
    total = a + b
    if not math.isfinite(total):
        raise _OutOfRangeError
    return 0.0 if abs(total) <= _ROUNDING * abs(a) else total


def _fold(token: int, *values: float) -> float | None:
    """The operator's value on numbers, as the evaluators compute it; None where it is not finite."""
    with np.errstate(all="ignore"):
        value = float(OPERATORS[token - 1].numpy(*(np.array([v]) for v in values), np.empty(1))[0])
    return value if math.isfinite(value) else None


def _merge(left: dict[_Node, int], right: dict[_Node, int]) -> dict[_Node, int]:
    """Factors of a product of two products. `a/a` disappears if `a` is defined (almost) everywhere."""
    factors = dict(left)
    for base, exponent in right.items():
        if base in factors:
            exponent += factors[base]
            if exponent == 0 and base.dense:
                del factors[base]
                continue
        factors[base] = exponent
    return factors


def _new_product(factors: dict[_Node, int]) -> _Node:
    above: list[tuple[_Node, int]] = []
    below: list[tuple[_Node, int]] = []
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
    node = _Node(_PRODUCT)
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


def _is_base(node: _Node) -> bool:
    """Whether the node is a factor by itself, and not a number, a product or a multiple of a term."""
    if node.kind == _SUM:
        return len(node.terms) > 1 or node.constant != 0.0
    return node.kind == _FUNCTION or (node.kind == _ATOM and bool(node.terms))


def _emit_powers(factors: list[tuple[_Node, int]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
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


def _emit_sum(terms: dict[_Node, float], constant: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
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


def _emit_term(node: _Node, coefficient: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
    if coefficient == 1.0:
        return node.tokens, node.constants
    if node.kind != _PRODUCT:
        return (_MUL, CONSTANT, *node.tokens), (coefficient, *node.constants)
    count, numerator, _, denominator, _ = node.parts
    product = (_MUL,) * count + (CONSTANT, *numerator)
    tokens = (_DIV, *product, *denominator) if denominator else product
    return tokens, (coefficient, *node.constants)


# --- what others call -------------------------------------------------------------------------------------------


class _Local(threading.local):
    """One memory a thread, so that no lock is needed and a fork never inherits a held one."""

    def __init__(self) -> None:
        self.algebra = _Algebra()


_LOCAL = _Local()


def canonical(expression: Expression) -> Expression:
    """Normal form of an expression by the rules at the top of this module. Idempotent.

    The values agree up to rounding wherever the expression is finite. Subtrees met before are remembered.

    Args:
        expression: any expression; one of more than `MAX_LENGTH` tokens is returned as it is.
    """
    if len(expression) > MAX_LENGTH:
        return expression
    node = _LOCAL.algebra.read(expression)
    return Expression._trusted(np.array(node.tokens, dtype=np.int16), np.array(node.constants, dtype=np.float64))


def without_affine(expression: Expression) -> Expression:
    """The canonical form without an outer scale and offset: `3.2*x - 6.4*y + 1` becomes `x - 2*y`.

    The first term of a sum gets the coefficient 1, as sums in products do. A constant stays as it is.
    """
    if len(expression) > MAX_LENGTH:
        return expression
    algebra = _LOCAL.algebra
    node = algebra.read(expression)
    if node.kind == _SUM:
        try:
            node = algebra.sum(dict(node.terms), 0.0)
            node = algebra.scale(node, algebra.leading_coefficient(node) or 1.0, divide=True)
        except _OutOfRangeError:
            pass
    return Expression._trusted(np.array(node.tokens, dtype=np.int16), np.array(node.constants, dtype=np.float64))


def canonical_key(expression: Expression, constants: bool = True) -> bytes:
    """Hash of the canonical form, the same in every process and run.

    Args:
        expression: any expression.
        constants: tell expressions with different constants apart, to 12 significant digits. If False, the key is
            that of the skeleton: constants count by where they stand, not by their values, except that what
            disappears (0, 1, -1 and whole exponents) is gone: `x`, `c*x` and `x + c` are three skeletons.

    Returns:
        16 bytes (BLAKE2b). Equal keys for expressions that the rules make equal; different keys otherwise, but
        for collisions of probability 2**-128.
    """
    if len(expression) > MAX_LENGTH:
        return _digest(expression.tokens.tolist(), expression.constants.tolist() if constants else ())
    node = _LOCAL.algebra.read(expression)
    if node.digests is None:
        node.digests = {}
    if constants not in node.digests:
        node.digests[constants] = _digest(node.tokens, node.constants if constants else ())
    return node.digests[constants]


def _digest(tokens: Any, constants: Any) -> bytes:
    data = struct.pack(f"<{len(tokens)}h", *tokens)
    if constants:
        data += b"|" + " ".join([f"{value:.11e}" for value in constants]).encode()
    return blake2b(data, digest_size=16).digest()
