"""Small networks as data: their shape, how their weights lie in one row of numbers, and what they compute.

A network has one input and one output; its weights are a row: of each layer the matrix `[out, in]`, row by row,
then the biases `[out]`, as `torch.nn.utils.parameters_to_vector` puts those of a `torch.nn.Sequential`.

Notation, in shapes: networks N, weights P of each, points X, hidden units H of a layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from expressions.errors import UserError, near

__all__ = ["ACTIVATIONS", "NetworkShape"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "softplus": functional.softplus,
}
ODD = ("tanh",)
"""Activations with f(-x) = -f(x): the sign of a hidden unit means nothing."""


@dataclass(frozen=True)
class NetworkShape:
    """What a row of weights is the weights of.

    Attributes:
        widths: of the input, which is 1, of every hidden layer and of the output, which is 1.
        activation: a key of `ACTIVATIONS`, behind every layer but the last.
        biases: whether layers have them.
    """

    widths: tuple[int, ...] = (1, 8, 7, 8, 1)
    activation: str = "tanh"
    biases: bool = True

    @classmethod
    def of(cls, widths: str, activation: str, biases: bool) -> NetworkShape:
        """From text such as `1-8-7-8-1`.

        Raises:
            UserError: it is no shape of a network with one input and one output.
        """
        try:
            numbers = tuple(int(word) for word in str(widths).split("-"))
        except ValueError:
            numbers = ()
        if len(numbers) < 3 or numbers[0] != 1 or numbers[-1] != 1 or min(numbers) < 1:
            raise UserError(f"widths={widths} must be numbers from input to output, both 1, such as 1-8-7-8-1")
        if activation not in ACTIVATIONS:
            raise UserError(f"activation={activation} does not exist; {near(activation, ACTIVATIONS)}")
        return cls(numbers, activation, bool(biases))

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.widths))} {self.activation}{'' if self.biases else ' without biases'}"

    @property
    def layers(self) -> int:
        """Number of matrices."""
        return len(self.widths) - 1

    @cached_property
    def size(self) -> int:
        """P."""
        return sum(out * (inputs + self.biases) for inputs, out in itertools.pairwise(self.widths))

    @cached_property
    def is_bias(self) -> Tensor:
        """Which of the numbers are biases. `[P]` bool"""
        parts = []
        for inputs, out in itertools.pairwise(self.widths):
            parts += [torch.zeros(out * inputs, dtype=torch.bool), torch.ones(out * self.biases, dtype=torch.bool)]
        return torch.cat(parts)

    def split(self, flat: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Matrices `[N, out, in]` and biases `[N, out]` (None without) of `flat [N, P]`, as views."""
        return list(self._split(flat))

    def _split(self, flat: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        begin = 0
        for inputs, out in itertools.pairwise(self.widths):
            middle = begin + out * inputs
            end = middle + out * self.biases
            yield flat[:, begin:middle].reshape(-1, out, inputs), flat[:, middle:end] if self.biases else None
            begin = end

    def join(self, layers: list[tuple[Tensor, Tensor | None]]) -> Tensor:
        """The inverse of `split`."""
        parts = [part.flatten(1) for layer in layers for part in layer if part is not None]
        return torch.cat(parts, dim=1)

    def run(self, flat: Tensor, x: Tensor) -> Tensor:
        """What the networks compute; differentiable in both.

        Args:
            flat: `[N, P]`
            x: the same points for all networks, `[X]`.

        Returns:
            `[N, X]`
        """
        function = ACTIVATIONS[self.activation]
        (first, bias), *others = self.split(flat)
        states = first * x
        if bias is not None:
            states = states + bias[:, :, None]
        for matrix, bias in others:
            states = function(states)
            states = matrix @ states if bias is None else torch.baddbmm(bias[:, :, None], matrix, states)
        return states[:, 0]
