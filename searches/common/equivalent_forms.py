"""Other forms of an equation with the same values on the data, of which a search reports the plainest.

Constants in other places: `1.140175*sqrt(0.923077*x + 1)` is `sqrt(1.2*x + 1.3)`, and `0.833333/(x + 1.083333)` is
`1/(1.2*x + 1.3)`. The factor of a product can be moved into a sum that is one of its factors, under a root or in a
divisor. A fit cannot tell which was meant; a reader prefers the one whose constants are short.

Less of the equation: without functions that only narrow its domain, or magnitudes of what the data show positive;
`sin(2*x)` for `2*sin(x)*cos(x)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, POWER_ROWS, TOKEN, Operator, operator

__all__ = [
    "common_divisors",
    "completed_powers",
    "digits",
    "doubled",
    "spellings",
    "spread_out",
    "tied",
    "unrooted",
    "unsigned",
    "widened",
]

_SUMS = {TOKEN["add"], TOKEN["sub"]}
_POWERS = {TOKEN["sqrt"]: 0.5, TOKEN["square"]: 2.0, TOKEN["inv"]: -1.0}
_MOST = 12  # spellings of one equation
_MOST_TIED = 8  # terms of a sum that are tied in pairs
_NEARLY_EQUAL = (0.7, 1.4)  # ratio of two factors that may be one
_WHOLE_POWERS = {TOKEN[name]: power for power, name in POWER_ROWS.items()}
_PLAIN = (1e-30, 1e30)  # factors that are moved, and
_LARGEST = 1e150  # what they may make of a constant: the rest is nothing to read


def digits(expression: Expression) -> int:
    """Significant digits of all constants together: how much there is to read."""
    return sum(len(_significant(value)) for value in expression.constants.tolist())


def _significant(value: float) -> str:
    mantissa = repr(abs(value)).split("e")[0]
    return mantissa.replace(".", "").strip("0") or "0"


def spellings(expression: Expression) -> list[Expression]:
    """The equation as it is, and with the factor of one of its products moved into a sum.

    A negative factor leaves its sign behind. Values agree up to rounding, wherever the equation is finite.
    """
    found = [expression]
    for spelling in _respelled(expression):
        if len(found) == _MOST:
            break
        found.append(spelling)
    return found


def tied(expression: Expression) -> Iterator[Expression]:
    """The equation with two nearly equal factors of a sum as one: `3.95/x - 3.93/y` as `3.95*(1/x - 1/y)`.

    Every pair of terms of every sum, one at a time. Values differ a little: the factor is to be fitted again.
    """
    terms = _terms(expression)
    for i, one in enumerate(terms[:_MOST_TIED] if len(terms) > 1 else []):
        for j in range(i + 1, min(len(terms), _MOST_TIED)):
            pair = _tied_pair(one, terms[j])
            if pair is not None:
                others = [term for k, term in enumerate(terms) if k not in (i, j)]
                yield Expression.joined("add", [pair, *others])
    children = terms if len(terms) > 1 else expression.children()
    for k, child in enumerate(children):
        for form in tied(child):
            parts = [*children[:k], form, *children[k + 1 :]]
            yield Expression.joined("add", parts) if len(terms) > 1 else _rebuilt(expression, parts)


def _tied_pair(one: Expression, other: Expression) -> Expression | None:
    """Two terms of a sum with one factor; None where theirs are not nearly equal, or are none to read."""
    (first, parts), (second, others) = _factors(one), _factors(other)
    low, high = _NEARLY_EQUAL
    if abs(first) == 1.0 == abs(second) or not low * abs(first) < abs(second) < high * abs(first):
        return None
    units = [_product(1.0, some) if some else Expression.constant(1.0) for some in (parts, others)]
    operation = "add" if (first > 0) == (second > 0) else "sub"
    return Expression.apply("mul", Expression.constant(first), Expression.apply(operation, *units))


def common_divisors(expression: Expression) -> Iterator[Expression]:
    """A constant beside a quotient, both as one quotient: `2.3 - 3.3/(u + 1.44)` as `2.3*u/(u + 1.44)`.

    They are equal where the numerator's constant, here `2.3*1.44 - 3.3`, is 0: constants are to be fitted again.
    """
    for start in range(len(expression)):
        terms = _terms(expression.subtree(start)) if int(expression.tokens[start]) in _SUMS else []
        offsets = [value for term in terms if (value := _constant_value(term)) is not None]
        for k, term in enumerate(terms if len(offsets) == 1 else []):
            _, parts = _factors(term)
            for divisor, power in parts if len(parts) == 1 else ():
                if power > 0:
                    continue
                rest = [each for each in _terms(divisor) if _constant_value(each) is None]
                if not 0 < len(rest) < len(_terms(divisor)):
                    continue
                scaled = _scaled(Expression.joined("add", rest), offsets[0])
                others = [each for j, each in enumerate(terms) if j != k and _constant_value(each) is None]
                together = Expression.joined("add", [Expression.apply("div", scaled, divisor), *others])
                yield expression.with_subtree(start, together)


def completed_powers(expression: Expression) -> Iterator[Expression]:
    """A polynomial of one part as a power of it: `2*u**2 - 12*u + 18` as `2*(u - 3)**2`, and with an offset.

    They are equal where the lower terms are those of the power: constants are to be fitted again.
    """
    terms = _terms(expression)
    if len(terms) == 1:
        for k, child in enumerate(children := expression.children()):
            for form in completed_powers(child):
                yield _rebuilt(expression, [*children[:k], form, *children[k + 1 :]])
        return
    read = [_monomial(term) for term in terms]
    for base, power, leading in read:
        lower = [k for k, (other, less, _) in enumerate(read) if other == base and less < power]
        slopes = [read[k][2] for k in lower if read[k][1] == power - 1]
        if base is None or power not in POWER_ROWS or len(slopes) != 1 or not leading:
            continue
        moved = Expression.apply("add", base, Expression.constant(slopes[0] / (power * leading)))
        whole = Expression.apply("mul", Expression.constant(leading), Expression.apply(POWER_ROWS[power], moved))
        gone = {*lower, *(k for k, each in enumerate(read) if each[:2] == (base, power))}
        others = [term for k, term in enumerate(terms) if k not in gone and _constant_value(term) is None]
        yield Expression.joined("add", [whole, *others])
        yield Expression.joined("add", [whole, *others, Expression.constant(0.1)])  # no whole number, which stays


def _monomial(term: Expression) -> tuple[Expression | None, int, float]:
    """Base, whole power and factor of a term; no base where it is another product, or a number."""
    factor, parts = _factors(term)
    bases: list[Expression] = []
    for part, sign in parts:
        power = _WHOLE_POWERS.get(int(part.tokens[0]), 1)
        base = part if power == 1 else part.children()[0]
        if sign < 0:
            return None, 0, factor
        bases += [base] * power
    if not bases or any(base != bases[0] for base in bases):
        return None, 0, factor
    return bases[0], len(bases), factor


def spread_out(expression: Expression) -> Iterator[Expression]:
    """A product with a sum among its factors as a sum of products: `3*(x - y)/(x*y)` as `3*(x/(x*y) - y/(x*y))`.

    Every product of every sum, one at a time. Values agree up to rounding.
    """
    for start in range(len(expression)):
        factor, parts = _factors(expression.subtree(start))
        if len(parts) < 2 or not math.isfinite(factor):
            continue
        for k, (part, power) in enumerate(parts):
            terms = _terms(part) if power > 0 else []
            if len(terms) > 1:
                others = [*parts[:k], *parts[k + 1 :]]
                total = Expression.joined("add", [_product(1.0, [(term, 1.0), *others]) for term in terms])
                scaled = total if factor == 1.0 else Expression.apply("mul", Expression.constant(factor), total)
                yield expression.with_subtree(start, scaled)


def widened(expression: Expression) -> Expression:
    """The equation without what only narrows where it is finite: `0*log(x)` is 0, and `exp(5*log(x))` is `x**5`.

    Nor with factors of 1, and `sqrt(x)**2` is `x`. Such things are what a search and a rounding leave behind. They
    are equal wherever the equation was finite, and what is returned is finite in more places, so a canonical form
    must not do this, but a reader would.
    """

    def combine(row: Operator, *arguments: Expression) -> Expression:
        zero = [_constant_value(argument) == 0.0 for argument in arguments]
        if (row.name == "mul" and any(zero)) or (row.name == "div" and zero[0]):
            return Expression.constant(0.0)
        if row.name in ("add", "sub") and zero[-1]:
            return arguments[0]
        if row.name == "add" and zero[0]:
            return arguments[1]
        if row.name == "mul" and 1.0 in (factors := [_constant_value(argument) for argument in arguments]):
            return arguments[1 - factors.index(1.0)]
        if row.name == "exp":
            return _exponential(arguments[0])
        if row.name == "square" and arguments[0].tokens[0] == TOKEN["sqrt"]:
            return arguments[0].children()[0]
        return Expression.apply(row.name, *arguments)

    widest: Expression = expression.fold(_leaf, combine)
    return widest


def unsigned(expression: Expression) -> Expression:
    """The equation with every `abs(u)` replaced by `u`: the same where no `u` is negative, as data can say."""
    tokens = expression.tokens[expression.tokens != TOKEN["abs"]]
    return Expression(tokens, expression.constants)


def unrooted(expression: Expression) -> Expression:
    """The equation with `u * sqrt(v)` for `sqrt(u**2 * v)`: the same where no `u` is negative, as data can say."""

    def combine(row: Operator, *arguments: Expression) -> Expression:
        whole = Expression.apply(row.name, *arguments)
        if row.name != "sqrt":
            return whole
        factor, parts = _factors(arguments[0])
        outside = [(part.children()[0], power) for part, power in parts if part.tokens[0] == TOKEN["square"]]
        if not outside or not math.isfinite(factor):
            return whole
        inside = [(part, power) for part, power in parts if part.tokens[0] != TOKEN["square"]]
        if factor != 1.0 or not inside:
            inside.append((Expression.constant(factor), 1.0))
        return _product(1.0, [*outside, (Expression.apply("sqrt", _product(1.0, inside)), 1.0)])

    return expression.fold(_leaf, combine)


def doubled(expression: Expression) -> Expression:
    """The equation with `sin(2*u)/2` for `sin(u)*cos(u)`, everywhere the same."""

    def combine(row: Operator, *arguments: Expression) -> Expression:
        whole = Expression.apply(row.name, *arguments)
        if row.name not in ("mul", "div", "inv"):
            return whole
        factor, parts = _factors(whole)
        pair = _sine_and_cosine(parts)
        if pair is None or not math.isfinite(factor):
            return whole
        others = [part for part in parts if part not in pair]
        (sine, power), _ = pair
        twice = Expression.apply("sin", _scaled(sine.children()[0], 2.0))
        factor *= 2.0**-power
        return _scaled(_product(1.0, [*others, (twice, power)]), factor)

    return expression.fold(_leaf, combine)


def _sine_and_cosine(parts: Sequence[tuple[Expression, float]]) -> list[tuple[Expression, float]] | None:
    """The sine and the cosine of the same argument among the factors of a product."""
    for part, power in parts:
        if part.tokens[0] == TOKEN["sin"]:
            other = (Expression.apply("cos", *part.children()), power)
            if other in parts:
                return [(part, power), other]
    return None


def _leaf(token: int, value: float) -> Expression:
    return Expression.constant(value) if token == CONSTANT else Expression([token])


def _exponential(exponent: Expression) -> Expression:
    """exp of an expression, its terms that are multiples of logarithms as powers."""
    powers: list[Expression] = []
    others: list[Expression] = []
    for term in _terms(exponent):
        power = _logarithm(term)
        (others if power is None else powers).append(term if power is None else power)
    if not powers:
        return Expression.apply("exp", exponent)
    if others:
        powers.append(Expression.apply("exp", Expression.joined("add", others)))
    return Expression.joined("mul", powers)


def _terms(expression: Expression) -> list[Expression]:
    """What an expression is the sum of."""
    token = int(expression.tokens[0])
    if token not in _SUMS:
        return [expression]
    first, second = (_terms(child) for child in expression.children())
    return first + (second if token == TOKEN["add"] else [_scaled(term, -1.0) for term in second])


def _logarithm(term: Expression) -> Expression | None:
    """`u**a` of a term `a*log(u)`, None of any other."""
    token, children = int(term.tokens[0]), term.children()
    if token == TOKEN["log"]:
        return children[0]
    if token == TOKEN["neg"]:
        power = _logarithm(children[0])
        return None if power is None else Expression.apply("inv", power)
    if token == TOKEN["mul"]:
        for factor, logarithm in (children, children[::-1]):
            power_of = _constant_value(factor)
            if power_of is not None and int(logarithm.tokens[0]) == TOKEN["log"]:
                base = logarithm.children()[0]
                if power_of in POWER_ROWS:
                    return Expression.apply(POWER_ROWS[int(power_of)], base)
                return _with_power(base, power_of)
    return None


def _constant_value(expression: Expression) -> float | None:
    return float(expression.constants[0]) if int(expression.tokens[0]) == CONSTANT else None


def _respelled(expression: Expression) -> Iterator[Expression]:
    """Every way to move one factor, anywhere in the equation."""
    factor, parts = _factors(expression)
    if abs(factor) != 1.0 and _PLAIN[0] < abs(factor) < _PLAIN[1]:
        for k, (part, power) in enumerate(parts):
            inner, total = _sum_inside(part, power)
            if inner is None or abs(total) < 0.25:
                continue
            scale = abs(factor) ** (1.0 / total)
            if scale * np.abs(inner.constants).max(initial=1.0) < _LARGEST:
                scaled = _with_power(_scaled(inner, scale), total / power)
                moved = [*parts[:k], (scaled, power), *parts[k + 1 :]]
                yield _product(math.copysign(1.0, factor), moved)
    children = expression.children()
    for k, child in enumerate(children):
        for spelling in _respelled(child):
            yield _rebuilt(expression, [*children[:k], spelling, *children[k + 1 :]])


def _factors(expression: Expression) -> tuple[float, list[tuple[Expression, float]]]:
    """A product as a number and factors with the powers 1 and -1."""
    token = int(expression.tokens[0])
    if token == CONSTANT:
        return float(expression.constants[0]), []
    children = expression.children()
    if token == TOKEN["neg"]:
        factor, parts = _factors(children[0])
        return -factor, parts
    if token in (TOKEN["mul"], TOKEN["div"], TOKEN["inv"]):
        divides = token != TOKEN["mul"]
        first, parts = _factors(children[0]) if token != TOKEN["inv"] else (1.0, [])
        second, others = _factors(children[-1])
        if divides and second == 0.0:
            return math.nan, []
        factor, sign = (first / second, -1.0) if divides else (first * second, 1.0)
        return factor, parts + [(part, sign * power) for part, power in others]
    return 1.0, [(expression, 1.0)]


def _sum_inside(part: Expression, power: float) -> tuple[Expression | None, float]:
    """The sum that a factor is a power of, and that power; None if it is no such thing.

    The root of a square is none: it is the sum's magnitude.
    """
    rooted = False
    while int(part.tokens[0]) in _POWERS:
        if rooted and part.tokens[0] == TOKEN["square"]:
            return None, power
        rooted |= part.tokens[0] == TOKEN["sqrt"]
        power *= _POWERS[int(part.tokens[0])]
        part = part.children()[0]
    return (part, power) if int(part.tokens[0]) in _SUMS else (None, power)


def _with_power(base: Expression, power: float) -> Expression:
    names = {0.5: "sqrt", 2.0: "square", -1.0: "inv"}
    if power == 1.0:
        return base
    if power in (-0.5, -2.0):
        return Expression.apply("inv", _with_power(base, -power))
    if power in names:
        return Expression.apply(names[power], base)
    return Expression.apply("pow", base, Expression.constant(power))


def _scaled(total: Expression, factor: float) -> Expression:
    """A sum with every term multiplied by `factor`."""
    if int(total.tokens[0]) in _SUMS:
        return _rebuilt(total, [_scaled(child, factor) for child in total.children()])
    if int(total.tokens[0]) == CONSTANT:
        return Expression.constant(factor * float(total.constants[0]))
    children = total.children()
    if int(total.tokens[0]) == TOKEN["mul"]:
        for k, child in enumerate(children):
            if int(child.tokens[0]) == CONSTANT:
                return _rebuilt(total, [*children[:k], _scaled(child, factor), *children[k + 1 :]])
    return Expression.apply("mul", Expression.constant(factor), total)


def _product(sign: float, parts: Sequence[tuple[Expression, float]]) -> Expression:
    above = [part for part, power in parts if power > 0]
    below = [part for part, power in parts if power < 0]
    total = Expression.joined("mul", above) if above else None
    if below:
        divisor = Expression.joined("mul", below)
        total = Expression.apply("inv", divisor) if total is None else Expression.apply("div", total, divisor)
    assert total is not None  # there is at least the sum that took the factor
    return Expression.apply("neg", total) if sign < 0 else total


def _rebuilt(expression: Expression, children: Sequence[Expression]) -> Expression:
    return Expression.apply(operator(int(expression.tokens[0])).name, *children)
