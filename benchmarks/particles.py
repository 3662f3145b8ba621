"""Particles that pull at each other, and a network of messages that learns how they move.

Source: M. Cranmer, A. Sanchez-Gonzalez, P. Battaglia, R. Xu, K. Cranmer, D. Spergel, S. Ho, Discovering symbolic
models from deep learning with inductive biases, NeurIPS 2020: under a penalty on the size of messages, those that
remain are linear in the true forces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FORCES", "Messages", "Particles", "learned", "scenes"]

FORCES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "springs": lambda distance: (distance - 1.0) / distance,
    "inverse_square": lambda distance: 1.0 / distance**3,
}
"""Name of a force -> its size over the distance: the force is this times the displacement to the other one."""

_PARTICLES = 4
_WIDTH = 3.0  # side of the box
_CLOSEST = 0.5
_MESSAGES = 8
_UNITS = 48
_BATCH = 64
_PENALTY = 1e-2  # on the mean size of messages, as in the paper
_KEPT = 2  # messages, as many as space has dimensions


@dataclass(frozen=True)
class Particles:
    """Scenes of particles of mass 1.

    Attributes:
        places: places in the plane. `[scenes, particles, 2]`
        accelerations: what the forces of all others do. `[scenes, particles, 2]`
    """

    places: Tensor
    accelerations: Tensor


def scenes(force: str, count: int, *, seed: int) -> Particles:
    """Random scenes in which no two particles are close.

    Args:
        force: name of the force, see `FORCES`.
        count: number of scenes.
        seed: random seed.
    """
    rng = np.random.default_rng([seed, 17])
    drawn = rng.uniform(0.0, _WIDTH, (8 * count, _PARTICLES, 2))
    apart = drawn[:, None] - drawn[:, :, None]
    distance = np.linalg.norm(apart, axis=-1) + 10.0 * np.eye(_PARTICLES)
    kept = np.flatnonzero(distance.min(axis=(1, 2)) > _CLOSEST)[:count]
    pull = FORCES[force](distance[kept])[..., None] * apart[kept]
    return Particles(
        torch.tensor(drawn[kept], dtype=torch.float32), torch.tensor(pull.sum(axis=2), dtype=torch.float32)
    )


class Messages(nn.Module):
    """Every particle sends every other one a message; the sum of the messages tells how a particle moves.

    Attributes:
        edge: block that writes a message from displacement and distance. `[..., 3] -> [..., messages]`
        node: block that makes an acceleration of the sum of messages. `[..., messages] -> [..., 2]`
    """

    def __init__(self) -> None:
        super().__init__()
        self.edge: Any = nn.Sequential(
            nn.Linear(3, _UNITS), nn.Tanh(), nn.Linear(_UNITS, _UNITS), nn.Tanh(), nn.Linear(_UNITS, _MESSAGES)
        )
        self.node: Any = nn.Sequential(nn.Linear(_MESSAGES, _UNITS), nn.Tanh(), nn.Linear(_UNITS, 2))

    def messages(self, places: Tensor) -> Tensor:
        """Messages to every particle (second axis) from every other. `[scenes, particles, others, messages]`"""
        found: Tensor = self.edge(edges(places))
        return found

    def forward(self, places: Tensor) -> Tensor:
        """Accelerations `[scenes, particles, 2]` for places `[scenes, particles, 2]`."""
        accelerations: Tensor = self.node(self.messages(places).sum(dim=2))
        return accelerations

    @torch.no_grad()
    def keep_largest(self, places: Tensor) -> None:
        """Keep the messages that vary most, as many as space has dimensions; their mean stands for the others."""
        found = self.messages(places)
        order = torch.argsort(found.flatten(0, 2).std(dim=0), descending=True)
        kept, left = order[:_KEPT].sort().values, order[_KEPT:]
        silent = found.sum(dim=2).mean(dim=(0, 1))[left]
        written, read = self.edge[-1], self.node[0]
        for each, weight, bias in (
            (written, written.weight[kept], written.bias[kept]),
            (read, read.weight[:, kept], read.bias + read.weight[:, left] @ silent),
        ):
            each.weight, each.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
            each.out_features, each.in_features = weight.shape


def edges(places: Tensor) -> Tensor:
    """Displacement and distance from every particle to every other one. `[scenes, particles, others, 3]`"""
    apart = places[:, None] - places[:, :, None]
    others = ~torch.eye(places.shape[1], dtype=torch.bool)
    apart = apart[:, others].reshape(len(places), places.shape[1], places.shape[1] - 1, 2)
    return torch.cat([apart, apart.norm(dim=-1, keepdim=True)], dim=-1)


def learned(data: Particles, *, steps: int, seed: int) -> Messages:
    """A network that has learned accelerations, with few messages; then those that vary most, a little further.

    Args:
        data: scenes.
        steps: number of steps of Adam.
        seed: random seed.
    """
    torch.manual_seed(seed)
    network = Messages()
    _train(network, data, steps, _PENALTY, seed)
    network.keep_largest(data.places)
    _train(network, data, steps, 0.0, seed + 1)
    return network.eval()


def _train(network: Messages, data: Particles, steps: int, penalty: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(data.places), (_BATCH,), generator=generator)
        messages = network.messages(data.places[rows])
        error = (network.node(messages.sum(dim=2)) - data.accelerations[rows]).abs().mean()
        loss = error + penalty * messages.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
