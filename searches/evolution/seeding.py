"""Equations of earlier searches in the operators of this one.

What a search reports has been brought into canonical form and simplified, with scale and offset written in. That
form uses operators, such as `neg` and `inv`, that the search itself may not have been given, and is a few nodes
longer than its limit. Here it is brought back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS, POWER_ROWS

# The protected operators give the same values wherever the plain ones are finite.
_PROTECTED = {row.protects: row.name for row in OPERATORS if row.protects}
_POWERS = {name: exponent for exponent, name in POWER_ROWS.items()}
_LARGEST_POWER = 12


def adapted(
    expressions: Iterable[Expression], operators: Collection[str], *, constants: bool, linear_scaling: bool
) -> list[Expression]:
    """The expressions in other operators; those that cannot be written in them are left out.

    Args:
        expressions: equations of other searches.
        operators: names of the operators that may occur.
        constants: whether constants may occur.
        linear_scaling: whether the search fits an outer scale and offset itself, so that they are removed here.
    """
    rewriter = _Rewriter(frozenset(operators), constants)
    kept: list[Expression] = []
    for expression in expressions:
        try:
            kept.append(rewriter.rewritten(_bare(expression) if linear_scaling else expression))
        except _NotPossibleError:
            continue
    return kept


class _NotPossibleError(Exception):
    """An expression that the operators cannot write."""


def _name(expression: Expression) -> str | None:
    token = int(expression.tokens[0])
    return OPERATORS[token - 1].name if CONSTANT < token < FIRST_VARIABLE else None


def _is_constant(expression: Expression) -> bool:
    return not expression.variables


def _bare(expression: Expression) -> Expression:
    """The expression without outer factors and summands that are constant."""
    while True:
        name, children = _name(expression), expression.children()
        varying = [child for child in children if not _is_constant(child)]
        if name == "neg" or (name in ("add", "sub", "mul") and len(varying) == 1):
            expression = varying[0] if varying else children[0]
        elif name == "div" and len(varying) == 1 and varying[0] == children[0]:
            expression = varying[0]
        else:
            return expression


@dataclass(frozen=True)
class _Rewriter:
    operators: frozenset[str]
    constants: bool

    def rewritten(self, expression: Expression) -> Expression:
        """The same function in the available operators.

        Raises:
            _NotPossibleError: no rewriting rule leads to the available operators.
        """
        name = _name(expression)
        if name is None:
            if len(expression.constants) and not self.constants:
                raise _NotPossibleError
            return expression
        arguments = expression.children()
        if name == "pow" and name not in self.operators:
            return self._power(*arguments)
        return self._apply(name, *(self.rewritten(argument) for argument in arguments))

    def _apply(self, name: str, *arguments: Expression) -> Expression:
        if name in self.operators:
            return Expression.apply(name, *arguments)
        if name in _POWERS:
            return self._product([arguments[0]] * _POWERS[name])
        if name == "neg":
            return self._apply("mul", self._constant(-1.0), *arguments)
        if name == "inv":
            return self._apply("div", self._constant(1.0), *arguments)
        if name == "sub":
            return self._apply("add", arguments[0], self._apply("neg", arguments[1]))
        if name == "abs":
            return self._apply("sqrt", self._product([arguments[0]] * 2))
        if name == "div" and "inv" in self.operators:
            return self._apply("mul", arguments[0], self._apply("inv", arguments[1]))
        if _PROTECTED.get(name) in self.operators:
            return Expression.apply(_PROTECTED[name], *arguments)
        raise _NotPossibleError

    def _power(self, base: Expression, exponent: Expression) -> Expression:
        value = float(exponent.constants[0]) if len(exponent) == 1 and len(exponent.constants) else 0.0
        if value == 0.5:
            return self._apply("sqrt", self.rewritten(base))
        if value != round(value) or not 1 <= abs(value) <= _LARGEST_POWER:
            raise _NotPossibleError
        power = self._product([self.rewritten(base)] * round(abs(value)))
        return power if value > 0 else self._apply("inv", power)

    def _product(self, factors: list[Expression]) -> Expression:
        """A product of equal factors, by squares where the operators include them."""
        count, factor = len(factors), factors[0]
        if count == 1:
            return factor
        if "square" in self.operators and count % 2 == 0:
            return self._product([Expression.apply("square", factor)] * (count // 2))
        return self._apply("mul", factor, self._product(factors[1:]))

    def _constant(self, value: float) -> Expression:
        if not self.constants:
            raise _NotPossibleError
        return Expression.constant(value)
