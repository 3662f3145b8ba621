"""From a hard structure of the network to its skeleton: the equation with only those constants that it needs.

Taken literally, every connection of an instance has a weight, and most of them mean the same. A skeleton has
constants only where they make a difference (`expressions.constant_placement`), so that structures which compute
the same mostly have the same skeleton. The whole equation may have an offset.

A dense `sum` node has a *gate* for each of its sources here, so that a structure says which terms it has. The
gates come behind the connections: 0 is closed, 1 is open. Connections and gates are the *places* of a structure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expressions.constant_placement import ONE, Tokens, Value, applied, summed, variable
from expressions.equation_learner.architecture import SUM, Architecture
from expressions.expression import Expression
from expressions.operators import CONSTANT

__all__ = ["DecodedStructure", "StructureSpace"]


@dataclass(frozen=True)
class DecodedStructure:
    """Skeleton of a structure, all of whose constants are still to be fitted.

    Attributes:
        tokens: prefix program of the skeleton.
        used: mask of the places that the skeleton depends on. `[places]` bool
    """

    tokens: Tokens
    used: np.ndarray

    def expression(self) -> Expression:
        """The equation with every constant 1."""
        return Expression._trusted(np.array(self.tokens, dtype=np.int16), np.ones(self.tokens.count(CONSTANT)))


class StructureSpace:
    """All hard structures of an architecture, and their skeletons.

    Args:
        architecture: layers of the network.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        gates = sum(layer.sums * layer.sources for layer in architecture.layers)
        self.choices = np.concatenate([architecture.choices, np.full(gates, 2)]).astype(np.int64)
        """Number of choices of every place. `[places]`"""
        self.is_gate = np.arange(len(self.choices)) >= architecture.connections
        self._layers = self._places()
        self._inputs = [variable(j) for j in range(architecture.features)]
        if architecture.constant:
            self._inputs.append(ONE)

    def _places(self) -> list[list[tuple[str, list[int]]]]:
        """For every layer and node: its function, and the places of its connections or gates."""
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

    def decode(self, structure: np.ndarray) -> DecodedStructure:
        """The skeleton of one structure.

        Args:
            structure: source that each connection chooses, and 1 for each open gate. `[places]`
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
        return DecodedStructure(whole.with_coefficients(), mask)
