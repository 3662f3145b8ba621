"""The equation that a small trained network has learned, read from the file with its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from datamodules.zoo.network_file import read_network as network_in_file
from expressions.goodness_of_fit import r2
from modules.networks.weights.reader import PRETRAINED, load_reader
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["NetworkEquations", "read_network"]

BEAMS = 16
"""Number of beams of the search, and of draws."""
GOOD_R2 = 0.99
"""R2 to the network below which an equation says little about it."""


@dataclass(frozen=True)
class NetworkEquations:
    """Equations of a network, and how well they agree with it.

    Attributes:
        network: widths and activation of the network, such as `1-8-7-8-1 tanh`.
        low: lower end of the range of inputs on which network and equations are compared.
        high: upper end of that range.
        front: equations of which none is both shorter and closer to the network than another; errors are
            1 - R2 to the network.
        best: equation that agrees best with the network; of a constant network, any.
        best_r2: R2 of the best equation to the network; -inf where it is not finite.
    """

    network: str
    low: float
    high: float
    front: ParetoFront
    best: Candidate
    best_r2: float

    @property
    def agrees(self) -> bool:
        """Whether the best equation explains nearly all of what the network does."""
        return self.best_r2 >= GOOD_R2

    def __str__(self) -> str:
        head = f"a network {self.network}, compared with its equations for x from {self.low:g} to {self.high:g}"
        lines = [head, "  nodes  R2 to the network  equation"]
        for candidate in self.front:
            mark = "*" if candidate is self.best else " "
            score = f"{1 - candidate.error:.6f}"
            lines.append(f"{mark} {candidate.complexity:5}  {score:>17}  y = {candidate.expression.infix(['x'])}")
        if not self.agrees:
            lines.append(
                f"warning: even the best equation explains only R2 = {self.best_r2:.3f}: the network may be "
                "untrained, or compute something that this reader cannot write"
            )
        return "\n".join(lines)


def read_network(file: str | Path, *, activation: str = "tanh") -> NetworkEquations:
    """Read the equation of a network with one input and one output.

    The reader that comes with the package writes sums of powers of x up to the second, with coefficients of one
    decimal and at most 5 in magnitude, for x from -1 to 1.

    Example:
        ```python
        print(read_network("net.onnx"))
        ```

    Args:
        file: path of a safetensors file, of a state dict that torch saved, of an npz file with the matrices
            `[out, in]` and biases from input to output, or of an ONNX file.
        activation: name of the activation between the layers; an ONNX file says it itself.

    Returns:
        The equations.

    Raises:
        UserError: the file cannot be read safely, or holds another kind of network.
    """
    shape, weights = network_in_file(file, activation)
    reader = load_reader(PRETRAINED)
    read = reader.read(shape, weights, BEAMS)
    x, outputs = reader.compared(shape, weights)
    inputs, target = x[:, None], outputs[0]
    equations = {reader.vocabulary.expression(ids) for ids in read.candidates[0]}
    judged = [Candidate.of(equation, inputs, target) for equation in equations]
    front = ParetoFront.of(judged)
    best = front[-1] if len(front) else judged[0]  # a constant network leaves no error to compare
    score = r2(target, best.expression(inputs))
    return NetworkEquations(
        network=str(shape),
        low=reader.low,
        high=reader.high,
        front=front,
        best=best,
        best_r2=score if math.isfinite(score) else -math.inf,
    )
