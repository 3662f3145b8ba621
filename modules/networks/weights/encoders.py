"""Five encoders of a small network's weights as a vector.

`flat`, `flat_bias` and `canonical` read the weights as a row of numbers. `graph` reads a graph whose nodes are
units and whose edges are weights; its vector does not depend on the order of the units, and it reads networks of
other widths and depths. `probe` runs the network that the weights describe on a few learned inputs; its vector
depends on the network's function alone.

Sources: `flat` is the encoder of B. Saiprasad, D. Singh, "Symbolic Regression via Neural Network weights"; `graph`
follows D. Lim et al., "Graph metanetworks for processing diverse neural architectures", ICLR 2024; `probe` follows
J. Kahana et al., "Deep linear probe generators for weight space learning", ICLR 2025, but learns its inputs
themselves, since they are single numbers.

Notation, in shapes: networks B, weights P of each, latents Z, width D, probes K, units H of a layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from modules.networks.ranks import of_all_ranks
from modules.networks.transformer.attention import feed_forward
from modules.networks.weights.small_networks import NetworkShape, canonical_weights
from modules.settings.weights_to_tokens import ReaderSize

__all__ = ["GraphEncoder", "ProbeEncoder", "RowEncoder", "WeightEncoder", "build_encoder"]

_LEAST_DEVIATION = 1e-12
_OCTAVES = 7  # octaves of the waves of a probe's numbers: the shortest resolves the last decimal


def build_encoder(size: ReaderSize, shape: NetworkShape, low: float, high: float, scale: float) -> WeightEncoder:
    """The encoder that a reader's size names.

    Args:
        size: size of the reader.
        shape: shape of the networks of the training.
        low: lower end of the range of the networks' inputs.
        high: upper end of that range.
        scale: size of the networks' outputs.
    """
    latents, width, layers = size.latents, size.encoder_width, size.encoder_layers
    if size.encoder == "probe":
        return ProbeEncoder(low, high, scale, latents, width, layers, size.probes)
    if size.encoder == "graph":
        return GraphEncoder(latents, width, layers)
    sees_biases, sorts = size.encoder != "flat", size.encoder == "canonical"
    return RowEncoder(shape, latents, width, layers, size.probes, sees_biases, sorts)


class WeightEncoder(nn.Module):
    """Base class of all encoders.

    Attributes:
        any_shape: whether networks of other widths and depths than those of the training can be read.
        runs: whether the network is run, so that its outputs and not its weights are read.
    """

    any_shape = False
    runs = False

    def forward(self, shape: NetworkShape, flat: Tensor) -> Tensor:
        """`[B, P] -> [B, Z]`"""
        raise NotImplementedError


class RowEncoder(WeightEncoder):
    """A residual network on the row of weights, each divided by its standard deviation over the zoo.

    It also reads sums of the weights and waves of the sums, because it must tell digits (see `ProbeEncoder`).

    Args:
        shape: shape of all networks.
        latents: number Z of latents.
        width: width D of the layers.
        layers: number of residual blocks.
        sums: number K of sums whose waves are read.
        biases: whether biases are read.
        sorted_units: whether units are sorted first.
    """

    def __init__(
        self,
        shape: NetworkShape,
        latents: int,
        width: int,
        layers: int,
        sums: int,
        biases: bool,
        sorted_units: bool,
    ) -> None:
        super().__init__()
        self.sorted_units = sorted_units
        looked_at = torch.arange(shape.size) if biases else (~shape.is_bias).nonzero()[:, 0]
        self.looked_at: Tensor
        self.register_buffer("looked_at", looked_at, persistent=False)
        self.norm = _Standardised(len(looked_at))
        self.mix = nn.Linear(len(looked_at), sums)
        self.read = _Residual(len(looked_at) + sums * (1 + 2 * _OCTAVES), latents, width, layers)

    def forward(self, shape: NetworkShape, flat: Tensor) -> Tensor:
        """`[B, P] -> [B, Z]`; the shape is that of the training."""
        if self.sorted_units:
            flat = canonical_weights(shape, flat)
        row = self.norm(flat[:, self.looked_at])
        latents: Tensor = self.read(_with_waves(row, self.mix(row)))
        return latents


class ProbeEncoder(WeightEncoder):
    """Runs the network on K inputs and reads its outputs, the numbers themselves and waves of them.

    A digit of a coefficient is a function that rises and falls many times over the range of the outputs, which a
    network learns slowly from a number and fast from waves of it (M. Tancik et al., "Fourier features let networks
    learn high frequency functions in low dimensional domains", NeurIPS 2020).

    Args:
        low: lower end of the range of inputs.
        high: upper end of that range.
        scale: size of the outputs.
        latents: number Z of latents.
        width: width D of the layers.
        layers: number of residual blocks.
        probes: number K of inputs.
    """

    any_shape = runs = True

    def __init__(
        self, low: float, high: float, scale: float, latents: int, width: int, layers: int, probes: int
    ) -> None:
        super().__init__()
        self.low, self.high, self.scale = low, high, scale
        spread = torch.cos((torch.arange(probes) + 0.5) * (math.pi / probes))
        self.places = nn.Parameter(torch.atanh(0.999 * spread))
        self.mix = nn.Linear(probes, probes)
        self.read = _Residual(probes * (2 + 2 * _OCTAVES), latents, width, layers)

    @property
    def inputs(self) -> Tensor:
        """Inputs on which networks are run, always inside the range. `[K]`"""
        return self.low + (self.high - self.low) * (torch.tanh(self.places) + 1) / 2

    def forward(self, shape: NetworkShape, flat: Tensor) -> Tensor:
        """`[B, P] -> [B, Z]`"""
        outputs = shape.run(flat, self.inputs) / self.scale
        latents: Tensor = self.read(_with_waves(outputs, self.mix(outputs)))
        return latents


class GraphEncoder(WeightEncoder):
    """A graph network that sends messages along the weights, forwards and backwards, between connected units.

    Its vector does not depend on the order of a layer's units. A layer is marked as the input, a hidden layer or
    the output, so that the same parameters read networks of any depth.

    Args:
        latents: number Z of latents.
        width: width D of the units' states.
        layers: number of rounds of messages.
    """

    any_shape = True

    def __init__(self, latents: int, width: int, layers: int) -> None:
        super().__init__()
        self.kind = nn.Embedding(3, width)  # input, hidden, output
        self.bias = nn.Linear(2, width)
        self.rounds = nn.ModuleList(_Round(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.read = _Residual(4 * width, latents, 2 * width, 2)

    def forward(self, shape: NetworkShape, flat: Tensor) -> Tensor:
        """`[B, P] -> [B, Z]`"""
        layers = shape.split(flat)
        matrices = [matrix for matrix, _ in layers]
        states = [self.kind.weight[0].expand(len(flat), 1, -1)]
        for number, (matrix, bias) in enumerate(layers):
            own = matrix.new_zeros(matrix.shape[:2]) if bias is None else bias
            kind = self.kind.weight[1 if number < shape.layers - 1 else 2]
            states.append(self.bias(_both(own)) + kind)
        for one in self.rounds:
            states = one(matrices, states)
        hidden = self.norm(torch.cat(states[1:-1], dim=1))
        ends = [self.norm(states[0][:, 0]), self.norm(states[-1][:, 0])]
        latents: Tensor = self.read(torch.cat([hidden.mean(dim=1), hidden.amax(dim=1), *ends], dim=1))
        return latents


class _Round(nn.Module):
    """One round of messages: a unit receives a message from every connected unit, scaled by the weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.forwards, self.backwards = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.join = _feed_forward(5 * width, width)

    def forward(self, matrices: list[Tensor], states: list[Tensor]) -> list[Tensor]:
        """New states of the units, from each layer's matrix `[B, out, in]` and states `[B, H, D]`."""
        normed = [self.norm(state) for state in states]
        updated = []
        for place, state in enumerate(states):
            heard = [normed[place]]
            if place > 0:
                heard += self._heard(matrices[place - 1], self.forwards(normed[place - 1]))
            else:
                heard += [torch.zeros_like(state)] * 2
            if place < len(matrices):
                heard += self._heard(matrices[place].transpose(1, 2), self.backwards(normed[place + 1]))
            else:
                heard += [torch.zeros_like(state)] * 2
            updated.append(state + self.join(torch.cat(heard, dim=2)))
        return updated

    @staticmethod
    def _heard(weights: Tensor, said: Tensor) -> list[Tensor]:
        """Messages times the weights and times the squashed weights. `[B, H, other] x [B, other, 2 D]`"""
        first, second = said.chunk(2, dim=2)
        return [weights @ first, torch.tanh(weights) @ second]


def _with_waves(numbers: Tensor, mixed: Tensor) -> Tensor:
    """Numbers `[B, N]`, sums of them `[B, K]`, and sines and cosines of the sums, an octave apart each."""
    angles = mixed[:, :, None] * (math.pi * 2.0 ** torch.arange(_OCTAVES, device=mixed.device))
    return torch.cat([numbers, mixed, torch.sin(angles).flatten(1), torch.cos(angles).flatten(1)], dim=1)


class _Standardised(nn.Module):
    """Numbers standardised by their mean and deviation over all networks of the training so far.

    A batch's own mean, as batch normalisation takes it, is off by a tenth of a deviation, which hides digits.

    Args:
        size: number of columns.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.count: Tensor
        self.mean: Tensor
        self.squares: Tensor
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("squares", torch.zeros(size))

    def forward(self, numbers: Tensor) -> Tensor:
        """Standardised numbers. `[B, size] -> [B, size]`"""
        if self.training:
            self._look_at(numbers.detach())
        deviation = (self.squares / self.count.clamp(min=1)).sqrt().clamp(min=_LEAST_DEVIATION)
        return (numbers - self.mean) / deviation

    def _look_at(self, numbers: Tensor) -> None:
        """Update mean and variance by the rows of all ranks."""
        rows = numbers.new_full((1,), len(numbers), dtype=torch.float32)
        mean = numbers.mean(dim=0)
        squares = (numbers - mean).square().sum(dim=0)
        for part in of_all_ranks(torch.cat([rows, mean, squares])):
            self._add(part[0], *part[1:].chunk(2))

    def _add(self, rows: Tensor, mean: Tensor, squares: Tensor) -> None:
        """Add a batch (Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983)"""
        count = self.count + rows
        apart = mean - self.mean
        self.squares += squares + apart.square() * (self.count * rows / count)
        self.mean += apart * rows / count
        self.count.copy_(count)


class _Residual(nn.Module):
    """A linear layer, residual blocks, and a linear layer.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        width: width D of the blocks.
        layers: number of blocks.
    """

    def __init__(self, inputs: int, outputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.begin = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), feed_forward(width, 1)) for _ in range(layers)
        )
        self.end = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, numbers: Tensor) -> Tensor:
        """`[B, inputs] -> [B, outputs]`"""
        states = self.begin(numbers)
        for block in self.blocks:
            states = states + block(states)
        outputs: Tensor = self.end(states)
        return outputs


def _feed_forward(inputs: int, outputs: int) -> nn.Sequential:
    """Two layers with SiLU between them."""
    return nn.Sequential(nn.Linear(inputs, 2 * outputs), nn.SiLU(), nn.Linear(2 * outputs, outputs))


def _both(numbers: Tensor) -> Tensor:
    """A number and its squashed copy, in which large numbers do not hide small ones. `[...] -> [..., 2]`"""
    return torch.stack([numbers, torch.tanh(numbers)], dim=-1)
