"""From a hard structure of the network to its skeleton: the equation with only those constants that it needs.

Taken literally, every connection of an instance has a weight, and most of them mean the same: the weights inside
and outside of a product or a power are one factor. Fitting such an equation wastes time, comparing it is hopeless.
A skeleton has constants only where they can change the function it stands for, and it is put in order, so that
structures which compute the same mostly have the same skeleton:

- a factor passes outwards through powers, products, quotients and roots, and ends in the coefficient of a term;
- sums in sums are one sum, equal terms are one term, and every term has its coefficient;
- two terms that look alike are equal only where no constant inside, such as a frequency, tells them apart: sin(x)
  of one node used twice is one term, sin(x) of two nodes are two;
- inside a sine, an exponential or another function that no factor passes through, all coefficients are kept;
- what depends on no input is one constant, and the whole equation may have an offset.

A dense `sum` node has a *gate* for each of its sources here, so that a structure says which terms it has. The
gates come behind the connections: 0 is closed, 1 is open.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, TOKEN
from modules.networks.architecture import IDENTITY, SUM, Architecture

__all__ = ["Skeleton", "Skeletons"]

Tokens = tuple[int, ...]

# f(c g) = c' f(g): a factor passes through. Roots are like this but for its sign: a sum in one keeps all its own.
_HOMOGENEOUS = {"inv", "abs", "square", "cube", "pow4", "pow5", "pow6"}
_ROOTS = {"sqrt", "safe_sqrt"}
_QUOTIENTS = {"div", "safe_div"}


@dataclass(frozen=True)
class _Part:
    """A program, and where the values of its constants come from.

    Attributes:
        tokens: without a coefficient; `()` is the constant alone.
        origin: of its constants, None where there are none: two parts are the same function of the inputs,
            whatever the weights, if and only if both attributes are equal.
    """

    tokens: Tokens
    origin: Hashable = None


@dataclass(frozen=True)
class _Value:
    """What a node computes, up to a factor: one term, or a sum of terms of which each has a coefficient.

    Attributes:
        terms: `_UNIT`, alone or last, is the constant.
        origin: of the coefficients of a sum.
    """

    terms: tuple[_Part, ...]
    origin: Hashable = None

    @property
    def is_constant(self) -> bool:
        return self.terms == (_UNIT,)

    @property
    def is_sum(self) -> bool:
        return len(self.terms) > 1


_UNIT = _Part(())  # the term of a sum that is the constant alone
_ONE = _Value((_UNIT,))


@dataclass(frozen=True)
class Skeleton:
    """An equation whose constants are still to be fitted.

    Attributes:
        tokens: its prefix program.
        used: `[connections + gates]` bool, what of the structure it depends on.
    """

    tokens: Tokens
    used: np.ndarray

    def expression(self) -> Expression:
        """The equation with every constant 1."""
        return Expression._trusted(np.array(self.tokens, dtype=np.int16), np.ones(self.tokens.count(CONSTANT)))


class Skeletons:
    """The skeletons of an architecture.

    Args:
        architecture: of the network.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        gates = sum(layer.sums * layer.sources for layer in architecture.layers)
        self.choices = np.concatenate([architecture.choices, np.full(gates, 2)]).astype(np.int64)
        """`[connections + gates]` how many choices each has."""
        self.is_gate = np.arange(len(self.choices)) >= architecture.connections
        self._layers = self._places()
        self._inputs = [_Value((_Part((FIRST_VARIABLE + j,)),)) for j in range(architecture.features)]
        if architecture.constant:
            self._inputs.append(_ONE)

    def _places(self) -> list[list[tuple[str, list[int]]]]:
        """For every layer and node: its function, and where its connections or gates are in a structure."""
        gate = self.architecture.connections
        layers = []
        for layer in self.architecture.layers:
            nodes = []
            for name, arguments in zip(layer.nodes, layer.arguments, strict=True):
                if name == SUM:
                    nodes.append((name, list(range(gate, gate + layer.sources))))
                    gate += layer.sources
                else:
                    nodes.append((name, [layer.first_connection + k for k in arguments]))
            layers.append(nodes)
        return layers

    def of(self, structure: np.ndarray) -> Skeleton:
        """The skeleton of one structure.

        Args:
            structure: `[connections + gates]`, what each connection chooses and which gates are open.
        """
        choice = structure.tolist()
        used: list[int] = []
        known: dict[tuple[int, int], _Value] = {}

        def value(layer: int, node: int) -> _Value:
            if layer < 0:
                return self._inputs[node]
            place = (layer, node)
            if place not in known:
                name, connections = self._layers[layer][node]
                used.extend(connections)
                if name == SUM:
                    open_gates = [source for source, gate in enumerate(connections) if choice[gate]]
                    known[place] = _sum([value(layer - 1, source) for source in open_gates], place)
                else:
                    known[place] = _apply(name, [value(layer - 1, choice[k]) for k in connections], place)
            return known[place]

        whole = _sum([value(len(self._layers) - 1, 0), _ONE], None)
        mask = np.zeros(len(choice), dtype=bool)
        mask[used] = True
        return Skeleton(_with_coefficients(whole), mask)


def _sum(values: Sequence[_Value], place: Hashable) -> _Value:
    """One sum of all terms, each of them once, the constant last; no values are the constant."""
    different = set(values)
    if len(different) == 1:
        return values[0]
    terms = {term for value in different for term in value.terms}
    return _Value(tuple(sorted(terms, key=_in_a_sum)), place) if terms else _ONE


def _in_a_sum(term: _Part) -> tuple[bool, int, Tokens]:
    return term == _UNIT, len(term.tokens), term.tokens


def _apply(name: str, arguments: list[_Value], place: Hashable) -> _Value:
    if name in (IDENTITY, "neg"):
        return arguments[0]
    if name in ("add", "sub"):
        return _sum(arguments, place)
    if all(argument.is_constant for argument in arguments):
        return _ONE
    if name == "mul":
        return _product(*arguments)
    if name in _QUOTIENTS:
        return _quotient(name, *arguments)
    parts = [_argument(name, argument, place) for argument in arguments]
    return _term(name, *(sorted(parts, key=_in_a_product) if BY_NAME[name].commutative else parts))


def _argument(name: str, value: _Value, place: Hashable) -> _Part:
    if name in _HOMOGENEOUS:
        return _bare(value)
    if name in _ROOTS:
        return _Part(_with_coefficients(value), value.origin) if value.is_sum else _bare(value)
    if name == "exp" and value.is_sum:  # exp(a + b) = exp(a) exp(b): the constant is a factor outside
        value = _Value(tuple(term for term in value.terms if term != _UNIT))
    return _Part(_with_coefficients(value), place)


def _product(left: _Value, right: _Value) -> _Value:
    if left.is_constant or right.is_constant:
        return right if left.is_constant else left
    first, second = sorted((_bare(left), _bare(right)), key=_in_a_product)
    return _term("square", first) if first == second else _term("mul", first, second)


def _in_a_product(part: _Part) -> tuple[int, Tokens]:
    return len(part.tokens), part.tokens


def _quotient(name: str, left: _Value, right: _Value) -> _Value:
    if right.is_constant:
        return left
    divisor = _bare(right)
    if left.is_constant:
        return _term(name, _Part((CONSTANT,)), divisor) if BY_NAME[name].protected else _term("inv", divisor)
    dividend = _bare(left)
    return _ONE if dividend == divisor else _term(name, dividend, divisor)


def _term(name: str, *arguments: _Part) -> _Value:
    tokens: Tokens = (TOKEN[name],)
    for argument in arguments:
        tokens += argument.tokens
    origins = tuple(argument.origin for argument in arguments)
    if CONSTANT not in tokens:
        return _Value((_Part(tokens),))
    return _Value((_Part(tokens, origins[0] if len(origins) == 1 else origins),))


def _bare(value: _Value) -> _Part:
    """The program of a value without a factor: the first term of a sum has the coefficient 1."""
    first, *others = value.terms
    if not others:
        return first
    return _Part(_added([first.tokens, *map(_weighted, others)]), value.origin)


def _with_coefficients(value: _Value) -> Tokens:
    return _added([_weighted(term) for term in value.terms])


def _weighted(term: _Part) -> Tokens:
    return (CONSTANT,) if term == _UNIT else (TOKEN["mul"], CONSTANT, *term.tokens)


def _added(terms: Sequence[Tokens]) -> Tokens:
    total, *others = terms
    for term in others:
        total = (TOKEN["add"], *total, *term)
    return total
