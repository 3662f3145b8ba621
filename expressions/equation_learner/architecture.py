"""Layers of an equation learner: function nodes, and connections that choose among the nodes before.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2,
    section 3. Every input of a function node is a *connection*: it chooses one output of the layer before and
    multiplies it by a weight. What all connections choose is the *structure* of an instance of the network, and
    such an instance is an equation. A `sum` node is dense: it adds all outputs of the layer before, each with a
    weight of its own, and chooses nothing.

A layer is written as text, the names of its nodes with multiplicities, in any order:

    layers: ["id*3 square cube sin*2 mul div", "add mul*2 id sum", "add mul sqrt id"]

`id` passes its input on; every other name is a row of `expressions/operators.py`. The first layer chooses among
the input columns and, where asked for, the constant 1; after the last one the output, one more connection,
chooses which of its nodes is the equation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.operators import BY_NAME
from foundation.errors import UserError, near

__all__ = ["IDENTITY", "SUM", "Architecture", "ArchitectureError", "Layer"]

IDENTITY, SUM = "id", "sum"
_MOST_NODES = 200  # of a layer
_MIX = 0x9E3779B97F4A7C15


class ArchitectureError(UserError):
    """What is wrong with the description of an architecture, as one sentence."""


@dataclass(frozen=True)
class Layer:
    """One layer of nodes and the connections into it.

    Attributes:
        nodes: functions of the nodes, nodes of the same function beside each other, sums last.
        sources: number of outputs of the layer before that a connection chooses from.
        first_connection: number of this layer's first connection among those of the whole network.
        arguments: connections of every node, counted within the layer; empty for a sum. The first arguments
            of neighbours with the same function are neighbours, and so are the second ones.
        connections: number of connections that lead into the layer.
        sums: number of dense nodes.
    """

    nodes: tuple[str, ...]
    sources: int
    first_connection: int
    arguments: tuple[tuple[int, ...], ...]
    connections: int
    sums: int

    @property
    def weights(self) -> int:
        """Weights of the layer: one a connection, then `sources` for every sum."""
        return self.connections + self.sums * self.sources


class Architecture:
    """The nodes of a network and how a structure becomes an equation.

    A structure is an array `[connections]` of what each connection chooses, layer by layer; the last connection is
    the output's. Weights are an array `[weights]`, layer by layer as well: one for each connection, then one for
    each source of each sum.

    Args:
        layers: one text for each layer, as above, from the input to the output.
        features: number of input columns.
        constant: whether the first layer may also choose the constant 1, which is the last of its sources.

    Raises:
        ArchitectureError: an unknown function, a layer without nodes, no layer at all.
    """

    def __init__(self, layers: Sequence[str], features: int, constant: bool = True) -> None:
        if not layers:
            raise ArchitectureError("an architecture needs at least one layer, such as 'id*2 mul sin'")
        if features < 1:
            raise ArchitectureError(f"features={features} must be at least 1")
        self.features, self.constant = features, constant
        self.layers: list[Layer] = []
        sources, first = features + constant, 0
        for text in [*layers, IDENTITY]:
            layer = _layer(_nodes(text), sources, first)
            self.layers.append(layer)
            sources, first = len(layer.nodes), first + layer.connections
        self._mixing = [_Mixing.of(layer) for layer in self.layers]
        self.connections = first
        self.weights = sum(layer.weights for layer in self.layers)
        self.choices = np.repeat(
            [layer.sources for layer in self.layers], [layer.connections for layer in self.layers]
        )
        """`[connections]` how many sources each connection chooses from."""

    # --- structures -----------------------------------------------------------------------------------------

    def reachable(self, structures: np.ndarray) -> np.ndarray:
        """Which connections the output depends on. `[instances, connections] -> [instances, connections]` bool"""
        instances = np.arange(len(structures))
        reached = np.zeros(structures.shape, dtype=bool)
        wanted = np.ones((len(structures), 1), dtype=bool)  # nodes of the layer in hand
        for layer in reversed(self.layers):
            before = np.zeros((len(structures), layer.sources), dtype=bool)
            for node, arguments in enumerate(layer.arguments):
                if not arguments:
                    before |= wanted[:, node, None]
                for argument in arguments:
                    connection = layer.first_connection + argument
                    reached[:, connection] = wanted[:, node]
                    before[instances, structures[:, connection]] |= wanted[:, node]
            wanted = before
        return reached

    def keys(self, structures: np.ndarray) -> np.ndarray:
        """Hash of the equation that each structure stands for, whatever its weights.

        Two structures have the same key if they differ only in connections that the output does not depend on, in
        the order of the arguments of a commutative function, in which of several equal nodes they use, or in
        nodes that pass on what they get.

        Args:
            structures: `[instances, connections]`.

        Returns:
            `[instances]` uint64.
        """
        values = _mixed(np.arange(1, self.layers[0].sources + 1, dtype=np.uint64))
        values = np.broadcast_to(values, (len(structures), self.layers[0].sources))
        for layer, mixing in zip(self.layers, self._mixing, strict=True):
            first = layer.first_connection
            chosen = structures[:, first : first + layer.connections].astype(np.int64)
            arguments = np.take_along_axis(values, chosen, axis=1)
            scrambled = _mixed(arguments)
            left, right = scrambled[:, mixing.left], scrambled[:, mixing.right]
            following = _mixed(left + right * mixing.factor + mixing.number)
            following[:, mixing.passes_on] = arguments[:, mixing.left[mixing.passes_on]]
            if layer.sums:
                total = _mixed(_mixed(values).sum(axis=1, dtype=np.uint64) + np.uint64(_NUMBERS[SUM]))
                following = np.concatenate([following, np.repeat(total[:, None], layer.sums, axis=1)], axis=1)
            values = following
        return np.asarray(values[:, 0])

    # --- equations ------------------------------------------------------------------------------------------

    def expression(self, structure: np.ndarray, weights: np.ndarray) -> Expression:
        """The equation of an instance, literally: every connection that is reached multiplies by its weight.

        Args:
            structure: `[connections]`.
            weights: `[weights]`.
        """
        values = [Expression.variable(j) for j in range(self.features)]
        if self.constant:
            values.append(Expression.constant(1.0))
        first_weight = 0
        for layer in self.layers:
            own = np.asarray(weights[first_weight : first_weight + layer.weights], dtype=np.float64)
            dense = own[layer.connections :].reshape(layer.sums, layer.sources)
            sums = iter(dense)
            following: list[Expression] = []
            for name, arguments in zip(layer.nodes, layer.arguments, strict=True):
                if name == SUM:
                    terms = [_weighted(w, value) for w, value in zip(next(sums), values, strict=True)]
                else:
                    terms = [_weighted(own[k], values[structure[layer.first_connection + k]]) for k in arguments]
                following.append(_applied(name, terms))
            values, first_weight = following, first_weight + layer.weights
        return values[0]


def _nodes(text: str) -> list[str]:
    """The functions of a layer, equal ones together, sums last."""
    counts: dict[str, int] = {}
    for word in str(text).split():
        match = re.fullmatch(r"([a-z0-9_]+?)(?:\*([1-9]\d{0,3}))?", word)
        name = match[1] if match else word
        if match is None or (name not in BY_NAME and name not in (IDENTITY, SUM)):
            raise ArchitectureError(
                f"'{word}' in the layer '{text}' is not a function, or a function*count; "
                + near(name, [IDENTITY, SUM, *BY_NAME])
            )
        counts[name] = counts.get(name, 0) + int(match[2] or 1)
    if not counts or sum(counts.values()) > _MOST_NODES:
        raise ArchitectureError(f"the layer '{text}' must have 1 to {_MOST_NODES} nodes")
    dense = counts.pop(SUM, 0)
    return [name for name, count in counts.items() for _ in range(count)] + [SUM] * dense


def _layer(nodes: list[str], sources: int, first_connection: int) -> Layer:
    arguments: list[tuple[int, ...]] = []
    taken = 0
    for name in dict.fromkeys(nodes):
        count, arity = nodes.count(name), _arity(name)
        arguments += [tuple(taken + argument * count + k for argument in range(arity)) for k in range(count)]
        taken += count * arity
    return Layer(tuple(nodes), sources, first_connection, tuple(arguments), taken, nodes.count(SUM))


def _arity(name: str) -> int:
    return 0 if name == SUM else 1 if name == IDENTITY else BY_NAME[name].arity


def _weighted(weight: float, value: Expression) -> Expression:
    return Expression.apply("mul", Expression.constant(float(weight)), value)


def _applied(name: str, terms: list[Expression]) -> Expression:
    if name == IDENTITY:
        return terms[0]
    if name != SUM:
        return Expression.apply(name, *terms)
    total = terms[0]
    for term in terms[1:]:
        total = Expression.apply("add", total, term)
    return total


# --- hashing ------------------------------------------------------------------------------------------------

_NUMBERS = {name: (k + 1) << 32 for k, name in enumerate([IDENTITY, SUM, *BY_NAME])}


@dataclass(frozen=True)
class _Mixing:
    """How the keys of a layer's nodes, its sums apart, follow from those of their arguments, all nodes at once.

    Attributes:
        left, right: `[nodes]` connection of the first and of the second argument; of a unary function the first.
        factor: `[nodes]` multiplier that tells the second argument from the first: 1 where they may be swapped,
            0 where there is none.
        number: `[nodes]` number of the function.
        passes_on: `[nodes]` whether the key is the argument's own.
    """

    left: np.ndarray
    right: np.ndarray
    factor: np.ndarray
    number: np.ndarray
    passes_on: np.ndarray

    @classmethod
    def of(cls, layer: Layer) -> _Mixing:
        names = layer.nodes[: len(layer.nodes) - layer.sums]
        arguments = layer.arguments[: len(names)]
        factors = [
            0 if len(a) == 1 else 1 if BY_NAME[n].commutative else _MIX
            for n, a in zip(names, arguments, strict=True)
        ]
        return cls(
            np.array([a[0] for a in arguments], dtype=np.int64),
            np.array([a[-1] for a in arguments], dtype=np.int64),
            np.array(factors, dtype=np.uint64),
            np.array([_NUMBERS[name] for name in names], dtype=np.uint64),
            np.array([name == IDENTITY for name in names], dtype=bool),
        )


def _mixed(values: np.ndarray) -> np.ndarray:
    """Scramble 64 bits (the finaliser of splitmix64); overflow is meant."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
