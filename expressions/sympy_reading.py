"""SymPy trees to prefix programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expressions.operators import CONSTANT, FIRST_VARIABLE, POWER_ROWS, TOKEN, operator

__all__ = ["Program", "program_of"]

Program = tuple[list[int], list[float]]
"""Tokens of a prefix program, and the values of its constants."""


def program_of(tree: Any, names: Sequence[str] | None = None) -> Program:
    """Prefix program of a SymPy tree.

    Args:
        tree: expression of SymPy over real symbols.
        names: names of the symbols, in the order of the variables; x0, x1, … when not given.

    Raises:
        ValueError: a symbol is not in `names`, or a function has no row in the operator table.
    """
    import sympy as sp

    if tree.is_Symbol:
        return _variable(_variable_index(tree.name, names))
    if tree.is_number and tree.is_real:
        return _constant(float(tree))
    if tree.is_Add:
        return _sympy_sum(tree.as_ordered_terms(), names)
    if tree.is_Mul:
        return _sympy_product(tree, names)
    if isinstance(tree, sp.Pow):
        return _sympy_pow(tree.base, tree.exp, names)
    if isinstance(tree, sp.Max | sp.Min):
        name = "max" if isinstance(tree, sp.Max) else "min"
        result, *rest = [program_of(argument, names) for argument in tree.args]
        for argument in rest:
            result = _apply(name, result, argument)
        return result
    name = type(tree).__name__.lower()
    if name in TOKEN and len(tree.args) == 1 and operator(TOKEN[name]).arity == 1:
        return _apply(name, program_of(tree.args[0], names))
    raise ValueError(f"{type(tree).__name__} has no row in the operator table")


def _variable_index(name: str, names: Sequence[str] | None) -> int:
    if names is not None:
        if name in names:
            return list(names).index(name)
    elif name[:1] == "x" and name[1:].isdecimal():
        return int(name[1:])
    raise ValueError(f"the symbol {name} is not one of the variables {list(names) if names else 'x0, x1, …'}")


def _sympy_sum(terms: Sequence[Any], names: Sequence[str] | None) -> Program:
    """Positive terms first, so that the others can be subtracted."""
    plus = [t for t in terms if not t.could_extract_minus_sign()]
    minus = [t for t in terms if t.could_extract_minus_sign()]
    if not plus:
        plus, minus = [minus[0]], minus[1:]
    result = program_of(plus[0], names)
    for term in plus[1:]:
        result = _apply("add", result, program_of(term, names))
    for term in minus:
        result = _apply("sub", result, program_of(-term, names))
    return result


def _sympy_product(tree: Any, names: Sequence[str] | None) -> Program:
    import sympy as sp

    above: list[Any] = []
    below: list[Any] = []
    negative = False
    for factor in tree.args:
        if factor == -1:
            negative = True
        elif factor.is_Pow and factor.exp.is_number and factor.exp.is_negative:
            below.append(1 / factor)
        elif factor.is_Rational and not factor.is_Integer and abs(factor.p) == 1:
            negative = negative or factor.p < 0
            below.append(sp.Integer(factor.q))
        else:
            above.append(factor)
    _write_decimal_logarithm(above, below)
    result = _fold_product(above, names)
    if below:
        divisor = _fold_product(below, names)
        result = _apply("div", result, divisor) if above else _apply("inv", divisor)
    return _apply("neg", result) if negative else result


def _write_decimal_logarithm(above: list[Any], below: list[Any]) -> None:
    """`log(u)` over `log(10)`, as SymPy writes it, becomes `log10(u)`, in place."""
    import sympy as sp

    places = [k for k, factor in enumerate(above) if factor.func is sp.log]
    if places and sp.log(10) in below:
        below.remove(sp.log(10))
        above[places[0]] = sp.Function("log10")(*above[places[0]].args)


def _fold_product(factors: Sequence[Any], names: Sequence[str] | None) -> Program:
    if not factors:
        return _constant(1.0)
    result = program_of(factors[0], names)
    for factor in factors[1:]:
        result = _apply("mul", result, program_of(factor, names))
    return result


def _sympy_pow(base: Any, exponent: Any, names: Sequence[str] | None) -> Program:
    import sympy as sp

    if base == sp.E:
        return _apply("exp", program_of(exponent, names))
    if exponent.is_number and exponent.is_negative:
        return _apply("inv", program_of(1 / sp.Pow(base, exponent), names))
    argument = program_of(base, names)
    if exponent == sp.Rational(1, 2):
        return _apply("sqrt", argument)
    if exponent.is_Integer and int(exponent) in POWER_ROWS:
        return _apply(POWER_ROWS[int(exponent)], argument)
    return _apply("pow", argument, program_of(exponent, names))


def _variable(index: int) -> Program:
    return [FIRST_VARIABLE + index], []


def _constant(value: float) -> Program:
    return [CONSTANT], [value]


def _apply(name: str, *arguments: Program) -> Program:
    tokens, constants = [TOKEN[name]], []
    for own_tokens, own_constants in arguments:
        tokens += own_tokens
        constants += own_constants
    return tokens, constants
