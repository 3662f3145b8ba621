"""From a hard structure of the network to its skeleton: the equation with only those constants that it needs.

Taken literally, every connection of an instance has a weight, and most of them mean the same. A skeleton has
constants only where they make a difference (`expressions.constant_placement`), so that structures which compute
the same mostly have the same skeleton. The whole equation may have an offset.

A dense `sum` node has a *gate* for each of its sources here, so that a structure says which terms it has. The
gates come behind the connections: 0 is closed, 1 is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expressions.constant_placement import ONE, Tokens, Value, applied, summed, variable
from expressions.expression import Expression
from expressions.operators import CONSTANT
from modules.networks.gumbel_max.architecture import SUM, Architecture

__all__ = ["Skeleton", "Skeletons"]


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
        self._inputs = [variable(j) for j in range(architecture.features)]
        if architecture.constant:
            self._inputs.append(ONE)

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
        known: dict[tuple[int, int], Value] = {}

        def value(layer: int, node: int) -> Value:
            if layer < 0:
                return self._inputs[node]
            place = (layer, node)
            if place not in known:
                name, connections = self._layers[layer][node]
                used.extend(connections)
                if name == SUM:
                    open_gates = [source for source, gate in enumerate(connections) if choice[gate]]
                    known[place] = summed([value(layer - 1, source) for source in open_gates], place)
                else:
                    known[place] = applied(name, [value(layer - 1, choice[k]) for k in connections], place)
            return known[place]

        whole = summed([value(len(self._layers) - 1, 0), ONE], None)
        mask = np.zeros(len(choice), dtype=bool)
        mask[used] = True
        return Skeleton(whole.with_coefficients(), mask)
