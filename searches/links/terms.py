"""Small functions of one, two and three variables, listed in full: what a regression may choose its terms from."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence

from expressions.expression import Expression
from expressions.operators import OPERATORS, POWER_ROWS, SHIPPED

__all__ = ["factors", "monomial", "small_functions"]

_USUAL = ("sin", "cos", "tan", "exp", "log", "sqrt", "tanh", "asin", "acos", "atan", "sinh", "cosh")
_FUNCTIONS = (
    *_USUAL,
    *(
        row.name
        for row in OPERATORS
        if row.name not in _USUAL
        and row.family not in ("polynomial", "rational")
        and not row.protected
        and (row.analytic or row.inverse is not None)
    ),
)
"""Smooth functions of one argument, the usual ones first: of functions that are as good, the first is chosen."""
_OF_ONE = (-2, -1, 1, 2, 3, 4)  # exponents
_OF_TWO = (-2, -1, 1, 2)
_OF_THREE = (-1, 1)

Powers = Sequence[tuple[int, int]]
"""Variables and their exponents."""


def monomial(powers: Powers) -> Expression:
    """A product of powers of variables; one with negative exponents alone is the inverse of a product."""
    above = [_power(variable, exponent) for variable, exponent in powers if exponent > 0]
    below = [_power(variable, -exponent) for variable, exponent in powers if exponent < 0]
    if not below:
        return Expression.joined("mul", above)
    if not above:
        return Expression.apply("inv", Expression.joined("mul", below))
    return Expression.apply("div", Expression.joined("mul", above), Expression.joined("mul", below))


def _power(variable: int, exponent: int) -> Expression:
    base = Expression.variable(variable)
    return base if exponent == 1 else Expression.apply(POWER_ROWS[exponent], base)


def factors(variables: Sequence[int], operators: Collection[str]) -> Iterator[Expression]:
    """What a function may be multiplied by to become a larger one: powers and functions of one variable, functions
    of the sum and the difference of two."""
    functions = _functions(operators)
    for variable in variables:
        yield from (monomial([(variable, exponent)]) for exponent in _OF_TWO)
        yield from (Expression.apply(name, Expression.variable(variable)) for name in functions)
    for pair in itertools.combinations(variables, 2):
        yield from _monomials(pair, _OF_THREE)
        for name in ("sub", "add"):
            argument = Expression.apply(name, *map(Expression.variable, pair))
            yield from (Expression.apply(function, argument) for function in functions)


def small_functions(variables: Sequence[int], operators: Collection[str]) -> Iterator[list[Expression]]:
    """Three lists, the simplest first.

    Powers and functions of one variable; products and quotients of powers of two; products and quotients of three,
    and functions of sums, differences, products and quotients of two.
    """
    functions = _functions(operators)
    pairs, triples = (list(itertools.combinations(variables, count)) for count in (2, 3))
    ones = [Expression.variable(variable) for variable in variables]
    yield [
        *(monomial([(variable, exponent)]) for variable in variables for exponent in _OF_ONE),
        *(function for one in ones for function in _functions_of(one, functions)),
    ]
    yield [product for pair in pairs for product in _monomials(pair, _OF_TWO)]
    yield [
        *(product for triple in triples for product in _monomials(triple, _OF_THREE)),
        *(function for pair in pairs for function in _functions_of_two(pair, functions)),
        *(product for triple in triples for product in _monomials(triple, _OF_TWO, squares=1)),
    ]


def _functions(operators: Collection[str]) -> list[str]:
    """Names of the functions of one argument that may occur, those of one's own behind the others."""
    own = {row.name for row in OPERATORS[len(SHIPPED) :] if row.arity == 1}
    return [*(name for name in _FUNCTIONS if name in operators), *(name for name in operators if name in own)]


def _functions_of_two(pair: Sequence[int], functions: Sequence[str]) -> Iterator[Expression]:
    one, other = pair
    for name in ("sub", "add"):
        argument = Expression.apply(name, Expression.variable(one), Expression.variable(other))
        yield from (Expression.apply(power, argument) for power in ("square", "inv"))
        yield from _functions_of(argument, functions)
    for powers in (((one, 1), (other, 1)), ((one, 1), (other, -1)), ((one, -1), (other, 1))):
        yield from _functions_of(monomial(powers), functions)


def _monomials(
    variables: Sequence[int], exponents: Sequence[int], squares: int | None = None
) -> Iterator[Expression]:
    """Products with all choices of exponents, or those with so many squares."""
    for chosen in itertools.product(exponents, repeat=len(variables)):
        if squares is None or sum(abs(exponent) == 2 for exponent in chosen) == squares:
            yield monomial(list(zip(variables, chosen, strict=True)))


def _functions_of(argument: Expression, functions: Sequence[str]) -> Iterator[Expression]:
    for name in functions:
        yield Expression.apply(name, argument)
        if name == "exp":  # of the others, a change of sign is a change of sign or nothing
            yield Expression.apply(name, Expression.apply("neg", argument))
