"""Powers of roots as a person writes them: `x**1.5` for `sqrt(x)**3`.

A search keeps powers of roots, whose exponents are no constants: they cost nothing to describe, and no fit moves
them. A reader finds one power shorter, so equations are spelled so once the search is over.
"""

from __future__ import annotations

from dataclasses import replace

from expressions.expression import Expression
from expressions.operators import CONSTANT, POWER_ROWS, TOKEN, Operator
from searches.pareto_front import ParetoFront

__all__ = ["as_broken_powers", "as_powers_of_roots", "spelled"]

_WHOLE = {name: float(power) for power, name in POWER_ROWS.items()}


def as_broken_powers(expression: Expression) -> Expression:
    """The equation with every power of a root, `sqrt(u)**3`, as a power of its base, `u**1.5`.

    `sqrt(u)**2` stays, which is not `u` where that is negative; so does `sqrt(u)` itself. Values agree up to
    rounding.

    Args:
        expression: any equation.
    """
    spelling: Expression = expression.fold(_leaf, _combined)
    return spelling


def as_powers_of_roots(expression: Expression) -> Expression:
    """The equation as a search has it, with `sqrt(u)**3` for `u**1.5`: what its description costs.

    Args:
        expression: any equation.
    """

    def combined(row: Operator, *arguments: Expression) -> Expression:
        whole = Expression.apply(row.name, *arguments)
        twice = 2.0 * _broken_exponent(whole)
        if abs(twice) not in POWER_ROWS:
            return whole
        power = Expression.apply(POWER_ROWS[int(abs(twice))], Expression.apply("sqrt", arguments[0]))
        return power if twice > 0.0 else Expression.apply("inv", power)

    rooted: Expression = expression.fold(_leaf, combined) if TOKEN["pow"] in expression.tokens else expression
    return rooted


def spelled(front: ParetoFront) -> ParetoFront:
    """The front with its equations as a person writes them; their scores are those that they have.

    Args:
        front: front of a search that is over, or is shown while it lasts.
    """
    return ParetoFront([replace(each, expression=as_broken_powers(each.expression)) for each in front])


def _leaf(token: int, value: float) -> Expression:
    return Expression.constant(value) if token == CONSTANT else Expression([token])


def _combined(row: Operator, *arguments: Expression) -> Expression:
    base = arguments[0]
    power = _WHOLE.get(row.name)
    if row.name == "pow" and len(arguments[1]) == 1 and len(arguments[1].constants):
        power = float(arguments[1].constants[0])
    if power is not None:
        while base.tokens[0] == TOKEN["sqrt"] and not (power / 2.0).is_integer():
            base, power = base.children()[0], power / 2.0
        if base is not arguments[0]:
            return Expression.apply("pow", base, Expression.constant(power))
    if row.name == "inv" and (exponent := _broken_exponent(base)):
        return Expression.apply("pow", base.children()[0], Expression.constant(-exponent))
    return Expression.apply(row.name, *arguments)


def _broken_exponent(expression: Expression) -> float:
    """The exponent of a power that is no whole number; 0 for everything else."""
    if expression.tokens[0] != TOKEN["pow"]:
        return 0.0
    exponent = expression.children()[1]
    value = float(exponent.constants[0]) if exponent.tokens[0] == CONSTANT else 0.0
    return 0.0 if value.is_integer() else value
