"""Whether a Gumbel-max network of some architecture has a structure for an equation at all.

What decides most about an equation learner is what its network cannot say. `can_express` looks for a structure
from the output to the inputs: a layer must have a node for each value that the layer above needs, so many of each
kind at most, and what these nodes need is asked of the layer below. Weights come free: a value is known up to a
factor, a term of a sum up to its coefficient.

The search is complete for an equation *as it is spelled*: of `x*(y + z)` and `x*y + x*z` a network may have one
and not the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

from expressions.equation_learner.architecture import IDENTITY, SUM, Architecture
from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, POWER_ROWS, Operator

__all__ = ["can_express"]

_POWERS = {name: exponent for exponent, name in POWER_ROWS.items()}
_MOST_SPLITS = 200  # ways to split one sum or product in two


@dataclass(frozen=True)
class _Form:
    """A value up to a factor: a leaf, a function of a form, a sum of terms, or a product of powers.

    Attributes:
        kind: `one`, `variable`, `sum`, `product`, or the name of a function.
        parts: number of the variable, argument, terms, or pairs of base and exponent.
    """

    kind: str
    parts: frozenset[Any] = frozenset()


_ONE = _Form("one")
Needs = frozenset[_Form]


def can_express(architecture: Architecture, equation: Expression) -> bool:
    """Whether some structure and weights of a network are the equation, up to an offset.

    Args:
        architecture: layers of the network.
        equation: equation whose variables are columns of the network; its constants may have any value but 0.
    """
    wanted = equation.fold(_leaf, _applied)
    if wanted.kind == "sum":
        wanted = _sum(wanted.parts - {_ONE})
    inputs = {_variable(j) for j in range(architecture.features)} | ({_ONE} if architecture.constant else set())
    counts = [Counter(layer.nodes) for layer in architecture.layers]

    @cache
    def can(layer: int, needs: Needs) -> bool:
        if layer < 0:
            return needs <= inputs
        if len(needs) > len(architecture.layers[layer].nodes) or max(map(_depth, needs)) > layer + 1:
            return False
        return assign(layer, tuple(sorted(needs, key=_hardest_first)), Counter(), frozenset())

    def assign(layer: int, needs: tuple[_Form, ...], used: Counter[str], below: Needs) -> bool:
        if not needs:
            return can(layer - 1, below)
        first, *rest = needs
        can_pass = used[IDENTITY] < counts[layer][IDENTITY]
        for node, asked in _ways(first):
            if can_pass and first in asked and node != IDENTITY:
                continue  # passed on as it is, for which a node that can do nothing else is as good
            free = used[node] < counts[layer][node]
            if free and assign(layer, tuple(rest), used + Counter([node]), below | asked):
                return True
        return False

    return can(len(counts) - 1, frozenset([wanted]))


@cache
def _depth(form: _Form) -> int:
    """Layers that the value takes at the least."""
    if form.kind in ("one", "variable"):
        return 0
    if form.kind == "product":
        return 1 + max(_depth(base) for base, _ in form.parts)
    return 1 + max((_depth(part) for part in form.parts if isinstance(part, _Form)), default=0)


def _hardest_first(form: _Form) -> tuple[bool, str]:
    """What has the fewest ways comes first; the rest of the order only has to be an order."""
    return form.kind in ("sum", "product"), repr(form.kind) + repr(sorted(map(repr, form.parts)))


def _ways(form: _Form) -> Iterator[tuple[str, Needs]]:
    """Nodes whose output the value may be, and what each must be given."""
    alone = frozenset([form])
    yield IDENTITY, alone
    yield SUM, form.parts if form.kind == "sum" else alone
    yield "add", alone  # to itself
    yield "mul", alone | {_ONE}
    yield "div", alone | {_ONE}
    if form == _ONE:
        for name in BY_NAME:  # whatever is done to constants
            yield name, alone
    elif form.kind == "sum":
        for one, other in _split_sums(form):
            yield "add", frozenset([one, other])
    elif form.kind == "product":
        yield from _ways_to_multiply(form)
    elif form.kind != "variable":
        [argument] = form.parts
        yield form.kind, frozenset([argument])


def _ways_to_multiply(form: _Form) -> Iterator[tuple[str, Needs]]:
    factors = dict(form.parts)
    for name, exponent in _POWERS.items():
        if all((own / exponent).denominator == 1 for own in factors.values()):
            yield name, frozenset([_raised(form, Fraction(1, exponent))])
    if any(own.denominator == 2 for own in factors.values()):
        yield "sqrt", frozenset([_raised(form, Fraction(2))])
    negative = [base for base, own in factors.items() if own < 0]
    if negative:
        yield "inv", frozenset([_raised(form, Fraction(-1))])
    for one, other in _split_products(factors):
        yield "mul", frozenset([one, other])
        yield "div", frozenset([one, _raised(other, Fraction(-1))])
        yield "div", frozenset([other, _raised(one, Fraction(-1))])
    if negative and len(negative) == len(factors):
        yield "div", frozenset([_ONE, _raised(form, Fraction(-1))])


def _split_sums(form: _Form) -> Iterator[tuple[_Form, _Form]]:
    first, *others = sorted(form.parts, key=repr)
    for chosen in list(product((False, True), repeat=len(others)))[:_MOST_SPLITS]:
        left = frozenset([first, *(term for term, is_left in zip(others, chosen, strict=True) if is_left)])
        if left != form.parts:
            yield _sum(left), _sum(form.parts - left)


def _split_products(factors: dict[_Form, Fraction]) -> Iterator[tuple[_Form, _Form]]:
    """Every product of whole powers that divides this one, with what is left of it; each pair once or twice."""
    bases = sorted(factors, key=repr)
    shares = [_shares(factors[base]) for base in bases]
    for chosen in list(product(*shares))[:_MOST_SPLITS]:
        left = _product(dict(zip(bases, chosen, strict=True)))
        right = _product({base: factors[base] - share for base, share in zip(bases, chosen, strict=True)})
        if _ONE not in (left, right):
            yield left, right


def _shares(exponent: Fraction) -> list[Fraction]:
    if exponent.denominator > 1:
        return [Fraction(0), exponent]
    sign = 1 if exponent > 0 else -1
    return [Fraction(sign * share) for share in range(abs(int(exponent)) + 1)]


# --- from an equation to forms ----------------------------------------------------------------------------------


def _variable(number: int) -> _Form:
    return _Form("variable", frozenset([number]))


def _leaf(token: int, value: float) -> _Form:
    return _ONE if token == CONSTANT else _variable(token - FIRST_VARIABLE)


def _applied(row: Operator, *arguments: _Form) -> _Form:
    first = arguments[0]
    if row.name == "neg":
        return first
    if row.name in ("add", "sub"):
        return _sum(frozenset().union(*(form.parts if form.kind == "sum" else {form} for form in arguments)))
    if row.name == "mul":
        return _multiplied(first, arguments[1])
    if row.name == "div":
        return _multiplied(first, _raised(arguments[1], Fraction(-1)))
    if row.name == "inv":
        return _raised(first, Fraction(-1))
    if row.name in _POWERS:
        return _raised(first, Fraction(_POWERS[row.name]))
    if row.name == "sqrt":
        return _raised(first, Fraction(1, 2))
    if all(form == _ONE for form in arguments):
        return _ONE
    if row.name == "exp" and first.kind == "sum":  # exp(a + b) = exp(a) exp(b): the constant is a factor
        first = _sum(first.parts - {_ONE})
    return _Form(row.name, frozenset([first]) if row.arity == 1 else frozenset([("of", *arguments)]))


def _sum(terms: frozenset[_Form]) -> _Form:
    return next(iter(terms)) if len(terms) == 1 else _Form("sum", terms) if terms else _ONE


def _factors(form: _Form) -> dict[_Form, Fraction]:
    if form == _ONE:
        return {}
    return dict(form.parts) if form.kind == "product" else {form: Fraction(1)}


def _product(factors: dict[_Form, Fraction]) -> _Form:
    factors = {base: exponent for base, exponent in factors.items() if exponent}
    if not factors:
        return _ONE
    if list(factors.values()) == [Fraction(1)]:
        return next(iter(factors))
    return _Form("product", frozenset(factors.items()))


def _multiplied(one: _Form, other: _Form) -> _Form:
    factors = _factors(one)
    for base, exponent in _factors(other).items():
        factors[base] = factors.get(base, Fraction(0)) + exponent
    return _product(factors)


def _raised(form: _Form, exponent: Fraction) -> _Form:
    return _product({base: own * exponent for base, own in _factors(form).items()})
