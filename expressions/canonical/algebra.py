"""What every operator makes of canonical subtrees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from expressions.canonical.nodes import FUNCTION, PRODUCT, SUM, Node, new_product
from expressions.canonical.powers import broken_exponent, float_power, is_broken_power_of, is_split, is_whole, tidy
from expressions.canonical.shared_nodes import FUNCTIONS, SharedNodes
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS, POWER_ROWS, TOKEN, by_token

__all__ = ["Algebra", "OutOfRangeError"]

_CAPACITY = 120_000  # remembered subtrees before the memory is cleared, about 150 MB
_MAX_EXPONENT = 1_000
_ROUNDING = 1e-15  # a sum of like terms that is this small beside them is rounding, and counts as 0

_ADD, _SUB, _MUL, _DIV, _POW = (TOKEN[name] for name in ("add", "sub", "mul", "div", "pow"))
_NEG, _INV, _SQRT, _ABS = (TOKEN[name] for name in ("neg", "inv", "sqrt", "abs"))
_MERGED = frozenset((_ABS, _POW, _SQRT))
_POWERS = {TOKEN[name]: exponent for exponent, name in POWER_ROWS.items()}

_EXTREMA = frozenset((TOKEN["max"], TOKEN["min"]))
_ODD = frozenset(token for token, row in FUNCTIONS.items() if row.odd)
_EVEN = frozenset(token for token, row in FUNCTIONS.items() if row.even)
# (f, g) where f(g(a)) is a for every a, as log(exp(a)) is
_UNDOES = frozenset(
    (TOKEN[row.inverse], token)
    for token, row in FUNCTIONS.items()
    if isinstance(row.inverse, str) and row.total and not row.even
)
_UNARY = by_token(False, lambda row: row.arity == 1)


class OutOfRangeError(Exception):
    """A coefficient or exponent left the range in which the rules are exact; the operator stays as written."""


def _checked(value: float, *inputs: float) -> float:
    """`value`, unless it overflowed, or underflowed although no input is 0."""
    if not math.isfinite(value) or (value == 0.0 and 0.0 not in inputs):
        raise OutOfRangeError
    return value


class Algebra(SharedNodes):
    """All canonical subtrees met so far, and what every operator makes of them."""

    def read(self, expression: Expression) -> Node:
        """Canonical node of an expression, bottom-up."""
        if len(self.memory) + len(self.numbers) > _CAPACITY:
            self.__init__()  # type: ignore[misc]
        memory, variables, numbers = self.memory, self.variables, self.numbers
        stack: list[Node] = []
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

    def apply(self, token: int, a: Node, b: Node | None = None) -> Node:
        """The node of an operator's value; the plain function where a rewritten constant leaves its range."""
        try:
            if b is None:
                return self.unary(token, a)
            return self.binary(token, a, b)
        except OutOfRangeError:
            return self.function(token, a) if b is None else self.function(token, a, b)

    def binary(self, token: int, a: Node, b: Node) -> Node:
        """The node of an operator of two arguments."""
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

    def unary(self, token: int, a: Node) -> Node:
        """The node of an operator of one argument."""
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

    # --- functions -------------------------------------------------------------------------------

    def plain_function(self, token: int, a: Node) -> Node:
        """The node of a function; its argument's own argument where the function undoes the argument."""
        if a.kind == FUNCTION and (token, a.operator) in _UNDOES:
            return a.arguments[0]
        return self.function(token, a)

    def magnitude(self, a: Node) -> Node:
        """The node of `abs(a)`."""
        coefficient, factors = self.as_product(a)
        core = self.product(1.0, dict(factors))
        if not core.not_negative:
            core = self.function(_ABS, core)
        return self.scale(core, abs(coefficient))

    def square_root(self, a: Node) -> Node:
        """The node of `sqrt(a)`."""
        if a.kind == PRODUCT or (a.kind == SUM and len(a.terms) == 1 and a.constant == 0.0):
            coefficient, factors = self.as_product(a)
            if len(factors) == 1 and coefficient > 0.0:
                [(base, exponent)] = factors.items()
                if exponent % 2 == 0 and exponent != 0:
                    root = self.power(self.magnitude(base), abs(exponent) // 2)
                    return self.scale(root if exponent > 0 else self.inverse(root), math.sqrt(coefficient))
                if base.operator == _SQRT and exponent and coefficient == 1.0:
                    return self.broken_power(base.arguments[0], exponent / 4)
        elif a.operator == _POW and (broken := broken_exponent(a)):
            return self.broken_power(a.arguments[0], broken / 2)
        return self.function(_SQRT, a)

    def real_power(self, a: Node, b: Node) -> Node:
        """The node of `a**b` for any exponent."""
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
            return self.broken_power(a, exponent)
        if not a.terms and a.constant == 1.0:
            return a
        return self.function(_POW, a, b)

    def broken_power(self, a: Node, exponent: float) -> Node:
        """The node of `a**exponent` where the exponent is no whole number, so that no negative `a` has a power."""
        if not a.terms and a.constant == 1.0:
            return a
        if a.kind == PRODUCT or (a.kind == SUM and len(a.terms) == 1 and a.constant == 0.0):
            coefficient, factors = self.as_product(a)
            if coefficient > 0.0 and coefficient != 1.0:
                power = self.broken_power(self.product(1.0, dict(factors)), exponent)
                return self.scale(power, _checked(coefficient**exponent, coefficient))
            if coefficient == 1.0 and len(factors) == 1:
                [(base, whole)] = factors.items()
                inner = whole * broken_exponent(base)
                if inner and not is_whole(inner * exponent):
                    return self.broken_power(base.arguments[0], inner * exponent)
                if whole % 2 and not is_whole(whole * exponent):
                    return self.plain_power(base, whole * exponent)
        if a.kind == FUNCTION and (inner := broken_exponent(a)) and not is_whole(inner * exponent):
            return self.broken_power(a.arguments[0], inner * exponent)
        return self.plain_power(a, exponent)

    def plain_power(self, base: Node, exponent: float) -> Node:
        """The node of a broken power of a base as it stands; of its root, where that has a whole power."""
        if is_whole(2.0 * exponent):
            power = self.power(self.square_root(base), abs(round(2.0 * exponent)))
            return power if exponent > 0.0 else self.inverse(power)
        return self.product(1.0, {self.function(_POW, base, self.number(tidy(exponent))): 1})

    def extremum(self, token: int, a: Node, b: Node) -> Node:
        """The node of `min(a, b)` or `max(a, b)`."""
        numbers: list[float] = []
        found: set[Node] = set()
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

    def add(self, a: Node, b: Node, sign: float) -> Node:
        """The node of `a + sign * b`."""
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

    def scale(self, a: Node, factor: float, divide: bool = False) -> Node:
        """`a * factor`, or `a / factor`."""
        if factor == 1.0:
            return a
        if factor == 0.0:
            if divide:
                raise OutOfRangeError
            return self.sum({node: 0.0 for node in a.terms if not node.dense}, 0.0)
        if divide:
            terms = {node: _checked(value / factor, value) for node, value in a.terms.items()}
            return self.sum(terms, _checked(a.constant / factor, a.constant) + 0.0)
        terms = {node: _checked(value * factor, value) for node, value in a.terms.items()}
        return self.sum(terms, _checked(a.constant * factor, a.constant) + 0.0)

    @staticmethod
    def leading_coefficient(a: Node) -> float:
        """Coefficient of the first term that has one; 0 for a constant."""
        if a.kind != SUM:
            return 1.0 if a.terms else 0.0
        if len(a.terms) == 1:
            return next(iter(a.terms.values()))
        return a.terms[min((node for node, c in a.terms.items() if c), key=_order, default=next(iter(a.terms)))]

    # --- products -------------------------------------------------------------------------------------------

    def as_product(self, a: Node) -> tuple[float, dict[Node, int]]:
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
                    except OutOfRangeError:
                        pass
        assert a.factors is not None
        return a.coefficient, a.factors

    def multiply(self, a: Node, b: Node) -> Node:
        """The node of `a * b`."""
        if not a.terms:
            return self.scale(b, a.constant)
        if not b.terms:
            return self.scale(a, b.constant)
        left, factors = self.as_product(a)
        right, others = self.as_product(b)
        return self.product(_checked(left * right, left, right), _merge(factors, others))

    def divide(self, a: Node, b: Node) -> Node:
        """The node of `a / b`."""
        if not b.terms and b.constant != 0.0:
            return self.scale(a, b.constant, divide=True)
        right, others = self.as_product(b)
        if not b.terms or right == 0.0:
            return self.multiply(a, self.function(_INV, b))
        left, factors = self.as_product(a)
        if left == 0.0 and not a.terms:
            return self.scale(self.inverse(b), 0.0)
        return self.product(_checked(left / right, left), _merge(factors, self.inverted(others)))

    def inverse(self, a: Node) -> Node:
        """The node of `1 / a`."""
        if not a.terms:
            if a.constant == 0.0:
                return self.function(_INV, a)
            return self.number(_checked(1.0 / a.constant, 1.0))
        coefficient, factors = self.as_product(a)
        if coefficient == 0.0:
            return self.function(_INV, a)
        return self.product(_checked(1.0 / coefficient, 1.0), self.inverted(factors))

    def inverted(self, factors: dict[Node, int]) -> dict[Node, int]:
        """Factors of the reciprocal.

        What may be 0 on a whole region must not cancel with itself, so its reciprocal is a factor of its own.
        """
        return {
            (base if base.not_flat else self.function(_INV, base)): -exponent if base.not_flat else exponent
            for base, exponent in factors.items()
        }

    def power(self, a: Node, exponent: int) -> Node:
        """The node of `a**exponent` for an integer exponent."""
        if not a.terms:
            return self.number(_checked(float_power(a.constant, exponent), a.constant))
        if exponent == 1:
            return a
        coefficient, factors = self.as_product(a)
        coefficient = _checked(float_power(coefficient, exponent), coefficient)
        return self.product(coefficient, {base: old * exponent for base, old in factors.items()})

    def product(self, coefficient: float, factors: dict[Node, int]) -> Node:
        """Node of a product whose like factors are already collected; takes the dict over."""
        for base, exponent in factors.items():
            if base.operator in _MERGED:
                if base.operator == _ABS and exponent % 2 == 0 and exponent != 0:
                    return self.without_magnitude(coefficient, factors, base)
                if (broken := broken_exponent(base)) and is_split(factors, base, broken):
                    return self.product(coefficient, self.with_one_power(factors, base.arguments[0]))
            if not -_MAX_EXPONENT <= exponent <= _MAX_EXPONENT:
                raise OutOfRangeError
        if not factors:
            return self.number(coefficient)
        node: Node | None = None
        if len(factors) == 1:
            [(base, exponent)] = factors.items()
            if exponent == 1:
                if base.kind == SUM:
                    return self.scale(base, coefficient)
                node = base
        if node is None:
            key = frozenset(factors.items())
            node = self.compounds.get(key)
            if node is None:
                node = self.compounds[key] = new_product(factors)
        if coefficient == 1.0:
            return node
        if coefficient == 0.0 and node.dense:
            return self.number(0.0)
        return self.sum({node: coefficient + 0.0}, 0.0)

    def with_one_power(self, factors: dict[Node, int], base: Node) -> dict[Node, int]:
        """The factors with all powers of a base as one: x*x**0.3 -> x**1.3, x**2/sqrt(x) -> sqrt(x)**3.

        Where the exponents add up to a whole number, an even power of the root says that the base is not negative.
        """
        kept: dict[Node, int] = {}
        total = 0.0
        for factor, exponent in factors.items():
            if factor is base:
                total += exponent
            elif is_broken_power_of(factor, base):
                total += exponent * broken_exponent(factor)
            else:
                kept[factor] = exponent
        root = self.function(_SQRT, base)
        if is_whole(2.0 * total):
            kept[root] = round(2.0 * total)
        else:
            kept[self.function(_POW, base, self.number(tidy(total)))] = 1
        return kept

    def without_magnitude(self, coefficient: float, factors: dict[Node, int], base: Node) -> Node:
        """|a|**(2k) -> a**(2k)."""
        exponent = factors[base]
        rest = self.product(coefficient, {other: e for other, e in factors.items() if other is not base})
        even = self.power(base.arguments[0], abs(exponent))
        return self.multiply(rest, even if exponent > 0 else self.inverse(even))


# --- helpers without state ---


def _order(node: Node) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return node.order


def _cancel(a: float, b: float) -> float:
    """`a + b`, with what is only rounding set to 0."""
    total = a + b
    if not math.isfinite(total):
        raise OutOfRangeError
    return 0.0 if abs(total) <= _ROUNDING * abs(a) else total


def _fold(token: int, *values: float) -> float | None:
    """The operator's value on numbers, as the evaluators compute it; None where it is not finite."""
    with np.errstate(all="ignore"):
        value = float(OPERATORS[token - 1].numpy(*(np.array([v]) for v in values), np.empty(1))[0])
    return value if math.isfinite(value) else None


def _merge(left: dict[Node, int], right: dict[Node, int]) -> dict[Node, int]:
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
