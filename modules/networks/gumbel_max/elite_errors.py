"""Errors of the elites of a Gumbel-max network: as sampled, and with their choices made hard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modules.networks.gumbel_max.choices import selected
from modules.networks.gumbel_max.instance_repository import InstanceRepository
from modules.networks.gumbel_max.network import GumbelMaxNetwork

__all__ = ["EliteErrors"]


@dataclass(frozen=True)
class EliteErrors:
    """Mean absolute errors on the training rows of all elites, by rank. `[R, size]` each

    Attributes:
        soft_now: errors of the elites as sampled, with the current weights of their restart.
        hard: errors with hard choices and the weights with which the elites were measured.
        hard_now: errors with hard choices and the current weights of their restart.
    """

    soft_now: np.ndarray
    hard: np.ndarray
    hard_now: np.ndarray

    @classmethod
    def of(
        cls,
        elites: InstanceRepository,
        network: GumbelMaxNetwork,
        weights: Tensor,
        sampling: str,
        inputs: np.ndarray,
        target: np.ndarray,
    ) -> EliteErrors:
        """Measure all elites.

        Args:
            elites: repository of the elites.
            network: network whose instances they are.
            weights: current weights of every restart. `[R, weights]`
            sampling: kind of the samples, see `modules.settings.gmeql.SAMPLINGS`.
            inputs: training rows. `[rows, variables]`
            target: target of the training rows. `[rows]`
        """
        device = weights.device
        choices, own = (elites.take(name, elites.slots).to(device) for name in ("choices", "weights"))
        now = weights.repeat_interleave(elites.size, dim=0)
        columns = network.to(device).columns(torch.tensor(inputs, dtype=torch.float32, device=device))
        wanted = torch.tensor(target, dtype=torch.float32, device=device)

        def errors(kind: str, weights: Tensor) -> np.ndarray:
            found = network.errors(selected(choices, kind), weights, columns, wanted)
            return found.view(elites.restarts, elites.size).cpu().numpy()

        return cls(errors(sampling, now), errors("hard", own), errors("hard", now))
