"""Small networks as data: their shape, the order of their weights in a row of numbers, and their outputs.

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

from foundation.errors import UserError, near

__all__ = ["ACTIVATIONS", "NetworkShape", "canonical_weights", "rescaled", "shuffled"]

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

Layers = list[tuple[Tensor, Tensor | None]]
"""Of each layer the matrices `[N, out, in]` and the biases `[N, out]`, None without."""
_TINY = 1e-12


@dataclass(frozen=True)
class NetworkShape:
    """Shape of a small network, which gives a row of weights its meaning.

    Attributes:
        widths: number of units of the input (1), of every hidden layer and of the output (1).
        activation: a key of `ACTIVATIONS`, behind every layer but the last.
        biases: whether layers have biases.
    """

    widths: tuple[int, ...] = (1, 8, 7, 8, 1)
    activation: str = "tanh"
    biases: bool = True

    @classmethod
    def of(cls, widths: str, activation: str, biases: bool) -> NetworkShape:
        """The shape that a text such as `1-8-7-8-1` names.

        Raises:
            UserError: the text is no shape of a network with one input and one output.
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
        """Number P of weights."""
        return sum(out * (inputs + self.biases) for inputs, out in itertools.pairwise(self.widths))

    @cached_property
    def is_bias(self) -> Tensor:
        """Whether each weight is a bias. `[P]` bool"""
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
        """Outputs of the networks, differentiable in both arguments.

        Args:
            flat: weights of the networks. `[N, P]`
            x: points, the same ones for all networks. `[X]`

        Returns:
            Outputs. `[N, X]`
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


def rescaled(shape: NetworkShape, flat: Tensor, centre: float, half: float, scale: float) -> Tensor:
    """Networks g such that g(x) = scale * f((x - centre) / half), for networks f.

    Args:
        shape: shape of all networks; one without biases can only have the centre 0.
        flat: weights of the networks. `[N, P]`
        centre: centre of the range that becomes [-1, 1].
        half: half the width of that range.
        scale: factor of the outputs.
    """
    layers = shape.split(flat)
    (first, bias), (last, last_bias) = layers[0], layers[-1]
    layers[0] = (first / half, None if bias is None else bias - first[:, :, 0] * (centre / half))
    layers[-1] = (last * scale, None if last_bias is None else last_bias * scale)
    return shape.join(layers)


def shuffled(shape: NetworkShape, flat: Tensor) -> Tensor:
    """The same functions, with units in random order and, where that changes nothing, of random sign.

    Draws from the global generator. `[N, P] -> [N, P]`
    """
    layers = shape.split(flat)
    for number, width in enumerate(shape.widths[1:-1]):
        order = torch.rand(len(flat), width, device=flat.device).argsort(dim=1)
        layers = _reordered(layers, number, order)
        if shape.activation in ODD:
            signs = torch.randint(2, (len(flat), width), device=flat.device).to(flat.dtype) * 2 - 1
            layers = _signed(layers, number, signs)
    return shape.join(layers)


def canonical_weights(shape: NetworkShape, flat: Tensor) -> Tensor:
    """Weights of the same functions, the same whatever the order (and sign) of the units.

    From the first layer to the last: where the activation is odd, a unit's sign is such that its bias, or without
    biases the sum of its incoming weights, is positive; then units are sorted by where they switch in the first
    layer (bias by weight; by weight without biases), and by their mean incoming weight, relative to its size, in
    the others.
    `[N, P] -> [N, P]`
    """
    layers = shape.split(flat)
    for number in range(shape.layers - 1):
        if shape.activation in ODD:
            matrix, bias = layers[number]
            decides = matrix.sum(dim=2) if bias is None else bias
            layers = _signed(layers, number, torch.where(decides < 0, -1.0, 1.0).to(flat.dtype))
        matrix, bias = layers[number]
        if number > 0:
            key = matrix.sum(dim=2) / (matrix.square().sum(dim=2).sqrt() + _TINY)
        else:
            slope = matrix[:, :, 0]
            key = slope if bias is None else bias / torch.where(slope.abs() < _TINY, _TINY, slope)
        layers = _reordered(layers, number, key.argsort(dim=1))
    return shape.join(layers)


def _reordered(layers: Layers, number: int, order: Tensor) -> Layers:
    """The units of a hidden layer in another order, `[N, H]`, with their incoming and outgoing weights."""
    (into, bias), (out, out_bias) = layers[number], layers[number + 1]
    into = into.gather(1, order[:, :, None].expand_as(into))
    out = out.gather(2, order[:, None, :].expand_as(out))
    changed = list(layers)
    changed[number] = (into, None if bias is None else bias.gather(1, order))
    changed[number + 1] = (out, out_bias)
    return changed


def _signed(layers: Layers, number: int, signs: Tensor) -> Layers:
    """The units of a hidden layer with other signs, `[N, H]`, which an odd activation carries through."""
    (into, bias), (out, out_bias) = layers[number], layers[number + 1]
    changed = list(layers)
    changed[number] = (into * signs[:, :, None], None if bias is None else bias * signs)
    changed[number + 1] = (out * signs[:, None, :], out_bias)
    return changed
