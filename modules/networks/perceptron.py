"""Fully connected networks."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "Perceptron"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}


class Perceptron(nn.Module):
    """Linear layers with one activation between any two of them and none after the last.

    Args:
        sizes: Width of the input, of each hidden layer and of the output.
        activation: A key of `ACTIVATIONS`.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(sizes):
            layers += [nn.Linear(width_in, width_out), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `[batch, sizes[0]]` to `[batch, sizes[-1]]`."""
        outputs: Tensor = self.layers(inputs)
        return outputs
