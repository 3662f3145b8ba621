"""Where an equation needs constants: only there where they can change the function that it stands for.

Taken literally, every connection of a network or every place of an equation could have a factor, and most of them
mean the same: those inside and outside of a product or a power are one. Fitting all of them wastes time, comparing
such equations is hopeless. Here an equation gets a constant wherever one makes a difference, and is put in order:

- a factor passes outwards through powers, products, quotients and roots, and ends in the coefficient of a term;
- sums in sums are one sum, equal terms are one term, and every term has its coefficient;
- two terms that look alike are equal only where no constant inside, such as a frequency, tells them apart: sin(x)
  of one node used twice is one term, sin(x) of two nodes are two;
- inside a sine, an exponential or another function that no factor passes through, all coefficients are kept;
- what depends on no input is one constant.

A `Value` is what a node of a network or of an equation computes, up to a factor; `applied` says what a function
makes of such values.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import count

from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, OPERATORS, TOKEN, Operator

__all__ = ["ONE", "Tokens", "Value", "applied", "generalised", "summed", "variable", "without_coefficients"]

Tokens = tuple[int, ...]

# f(c g) = c' f(g): a factor passes through. Roots are like this but for its sign: a sum in one keeps all its own.
_HOMOGENEOUS = {row.name for row in OPERATORS if row.passes == "all"}
_ROOTS = {row.name for row in OPERATORS if row.passes == "positive"}
_QUOTIENTS = {row.name for row in OPERATORS if "div" in (row.name, row.protects)}


@dataclass(frozen=True)
class _Part:
    """A program, and where the values of its constants come from.

    Attributes:
        tokens: program without a coefficient; `()` is the constant alone.
        origin: place where its constants come from, None without any: two parts are the same function of the
            inputs, whatever the weights, if and only if both attributes are equal.
    """

    tokens: Tokens
    origin: Hashable = None


@dataclass(frozen=True)
class Value:
    """What a node computes, up to a factor: one term, or a sum of terms of which each has a coefficient.

    Attributes:
        terms: parts of the sum; `_UNIT`, alone or last, is the constant.
        origin: place where the coefficients of a sum come from.
    """

    terms: tuple[_Part, ...]
    origin: Hashable = None

    @property
    def is_constant(self) -> bool:
        """Whether it depends on no input."""
        return self.terms == (_UNIT,)

    @property
    def is_sum(self) -> bool:
        """Whether it has several terms."""
        return len(self.terms) > 1

    def with_coefficients(self) -> Tokens:
        """Its program, each term with a coefficient."""
        return _added([_weighted(term) for term in self.terms])

    def bare(self) -> Tokens:
        """Its program up to a factor: the first term has the coefficient 1."""
        return _bare(self).tokens


_UNIT = _Part(())  # the term of a sum that is the constant alone
ONE = Value((_UNIT,))


def variable(number: int) -> Value:
    """An input."""
    return Value((_Part((FIRST_VARIABLE + number,)),))


def generalised(equation: Expression) -> Tokens:
    """The program that has a constant wherever one makes a difference, but for an outer factor and offset.

    All its constants are free; the equation is one of those that it can become, up to an outer factor and offset.
    """
    numbers = count()

    def leaf(token: int, _: float) -> Value:
        return ONE if token == CONSTANT else variable(token - FIRST_VARIABLE)

    def node(row: Operator, *arguments: Value) -> Value:
        return applied(row.name, list(arguments), next(numbers))

    whole: Value = equation.fold(leaf, node)
    terms = tuple(term for term in whole.terms if term != _UNIT)
    return Value(terms, whole.origin).bare() if terms else (CONSTANT,)


def without_coefficients(tokens: Tokens) -> Tokens:
    """A program of `generalised` without its factors; the constants that are terms of a sum are still there."""
    kept: list[int] = []
    place = 0
    while place < len(tokens):
        if tokens[place : place + 2] == (TOKEN["mul"], CONSTANT):
            place += 2
        else:
            kept.append(tokens[place])
            place += 1
    return tuple(kept)


def summed(values: Sequence[Value], place: Hashable) -> Value:
    """One sum of all terms, each of them once, the constant last; no values are the constant."""
    different = set(values)
    if len(different) == 1:
        return values[0]
    terms = {term for value in different for term in value.terms}
    return Value(tuple(sorted(terms, key=_in_a_sum)), place) if terms else ONE


def applied(name: str, arguments: list[Value], place: Hashable) -> Value:
    """What a function makes of its arguments.

    Args:
        name: function's name in the operator table, or `id` for a connection that only passes a value on.
        arguments: values that the function is applied to, as many as it takes.
        place: label of the node: constants of the same node are the same.
    """
    if name in ("id", "neg"):
        return arguments[0]
    if name in ("add", "sub"):
        return summed(arguments, place)
    if all(argument.is_constant for argument in arguments):
        return ONE
    if name == "mul":
        return _product(*arguments)
    if name in _QUOTIENTS:
        return _quotient(name, *arguments)
    parts = [_argument(name, argument, place) for argument in arguments]
    return _term(name, *(sorted(parts, key=_in_a_product) if BY_NAME[name].commutative else parts))


def _in_a_sum(term: _Part) -> tuple[bool, int, Tokens]:
    return term == _UNIT, len(term.tokens), term.tokens


def _argument(name: str, value: Value, place: Hashable) -> _Part:
    if name in _HOMOGENEOUS:
        return _bare(value)
    if name in _ROOTS:
        return _Part(value.with_coefficients(), value.origin) if value.is_sum else _bare(value)
    if name == "exp" and value.is_sum:  # exp(a + b) = exp(a) exp(b): the constant is a factor outside
        value = Value(tuple(term for term in value.terms if term != _UNIT))
    return _Part(value.with_coefficients(), place)


def _product(left: Value, right: Value) -> Value:
    if left.is_constant or right.is_constant:
        return right if left.is_constant else left
    first, second = sorted((_bare(left), _bare(right)), key=_in_a_product)
    return _term("square", first) if first == second else _term("mul", first, second)


def _in_a_product(part: _Part) -> tuple[int, Tokens]:
    return len(part.tokens), part.tokens


def _quotient(name: str, left: Value, right: Value) -> Value:
    if right.is_constant:
        return left
    divisor = _bare(right)
    if left.is_constant:
        return _term(name, _Part((CONSTANT,)), divisor) if BY_NAME[name].protected else _term("inv", divisor)
    dividend = _bare(left)
    return ONE if dividend == divisor else _term(name, dividend, divisor)


def _term(name: str, *arguments: _Part) -> Value:
    tokens: Tokens = (TOKEN[name],)
    for argument in arguments:
        tokens += argument.tokens
    origins = tuple(argument.origin for argument in arguments)
    if CONSTANT not in tokens:
        return Value((_Part(tokens),))
    return Value((_Part(tokens, origins[0] if len(origins) == 1 else origins),))


def _bare(value: Value) -> _Part:
    """The program of a value without a factor: the first term of a sum has the coefficient 1."""
    first, *others = value.terms
    if not others:
        return first
    return _Part(_added([first.tokens, *map(_weighted, others)]), value.origin)


def _weighted(term: _Part) -> Tokens:
    return (CONSTANT,) if term == _UNIT else (TOKEN["mul"], CONSTANT, *term.tokens)


def _added(terms: Sequence[Tokens]) -> Tokens:
    total, *others = terms
    for term in others:
        total = (TOKEN["add"], *total, *term)
    return total
