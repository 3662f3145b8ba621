"""The random numbers of the Gumbel-max equation learner, many iterations at once.

None of them depends on what is learned: drawing them one iteration at a time would cost as much as the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modules.networks.gumbel_max.choices import gumbel_noise
from modules.networks.gumbel_max.network import GumbelMaxNetwork

__all__ = ["Draw", "Draws"]

_AHEAD = 25  # iterations


@dataclass(frozen=True)
class Draw:
    """The random numbers of one iteration, of R restarts with p instances each.

    Attributes:
        parents: from 0 to 1, to choose the elites that instances copy; None where everything is fresh. `[R, p]`
        recalled: from 0 to 1, to choose elites for offline training. `[R, recalled]`
        places: connections drawn afresh, numbered over all instances: `instance * C + connection`. `[fresh]`
        owners: whose logits they have: `restart * C + connection`. `[fresh]`
        noise: their Gumbel noise. `[fresh, choices]`
    """

    parents: np.ndarray | None
    recalled: np.ndarray
    places: Tensor
    owners: Tensor
    noise: Tensor


class Draws:
    """An endless stream of draws.

    Args:
        entropy: decides everything that is drawn.
        network: whose connections are drawn, and where.
        restarts: R.
        instances: p, of a restart.
        resampled: connections of an instance that are drawn afresh, always as many.
        recalled: elites for offline training, of a restart.
    """

    def __init__(
        self,
        entropy: np.random.SeedSequence,
        network: GumbelMaxNetwork,
        restarts: int,
        instances: int,
        resampled: int,
        recalled: int,
    ) -> None:
        self.device, self.choices = network.device, network.choices
        self.connections = network.architecture.connections
        self.restarts, self.instances = restarts, instances
        self.resampled, self.recalled = min(resampled, self.connections), recalled
        self._numbers = np.random.default_rng(entropy)
        self._noise = torch.Generator(self.device).manual_seed(int(self._numbers.integers(2**62)))
        every = torch.arange(restarts * instances * self.connections, device=self.device)
        instance, connection = every // self.connections, every % self.connections
        self._every = every, instance // instances * self.connections + connection
        self._stream = self._forever()

    def next(self) -> Draw:
        """The random numbers of the next iteration."""
        return next(self._stream)

    def everywhere(self, draw: Draw) -> Draw:
        """A draw with all connections of all instances drawn afresh, in the place of another."""
        return Draw(None, draw.recalled, *self._every, self._gumbel(len(self._every[0])))

    def _forever(self) -> Iterator[Draw]:
        while True:
            parents = self._numbers.random((_AHEAD, self.restarts, self.instances))
            recalled = self._numbers.random((_AHEAD, self.restarts, self.recalled))
            if self.resampled == self.connections:
                for k in range(_AHEAD):
                    yield Draw(None, recalled[k], *self._every, self._gumbel(len(self._every[0])))
                continue
            places, owners = self._some()
            noise = self._gumbel(_AHEAD, places.shape[1])
            for k in range(_AHEAD):
                yield Draw(parents[k], recalled[k], places[k], owners[k], noise[k])

    def _some(self) -> tuple[Tensor, Tensor]:
        """Places and owners of a few connections of every instance. `[iterations, fresh]` each"""
        every = self._every[0].view(1, -1, self.connections).expand(_AHEAD, -1, -1)
        scores = torch.rand(every.shape, device=self.device, generator=self._noise)
        chosen = scores.topk(self.resampled, dim=-1, sorted=False).indices
        places = every.gather(-1, chosen).flatten(1)
        return places, self._every[1][places]

    def _gumbel(self, *shape: int) -> Tensor:
        return gumbel_noise((*shape, self.choices), self.device, self._noise)
