"""A damped oscillator, and a network that learns its motion and its parameters from a few points and the equation.

Source: M. Raissi, P. Perdikaris, G. E. Karniadakis, Physics-informed neural networks, Journal of Computational
Physics 378, 2019, section 4: parameters of a differential equation are learned with the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Motion", "Oscillator", "learned", "physical_loss", "random_motion"]

_UNITS = 32
_POINTS = 40  # measured
_BATCHES = 8
_PLACES = 128  # where the equation is to hold
_SECONDS = 6.0
_WEIGHT = 0.1  # of the equation against the points


@dataclass(frozen=True)
class Motion:
    """The motion of an oscillator: x'' + 2 damping x' + frequency^2 x = 0, from rest at 1.

    Attributes:
        damping: half the friction over the mass, in 1/s.
        frequency: root of the stiffness over the mass, in 1/s.
    """

    damping: float
    frequency: float

    @property
    def observed_frequency(self) -> float:
        """Frequency of the damped motion, in 1/s."""
        return math.sqrt(self.frequency**2 - self.damping**2)

    @property
    def formula(self) -> str:
        """The motion as an equation of the time x0."""
        slow = self.observed_frequency
        sine = f"{self.damping / slow!r}*sin({slow!r}*x0)"
        return f"exp(-{self.damping!r}*x0)*(cos({slow!r}*x0) + {sine})"

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Places at times. `[times]`"""
        turn = self.observed_frequency * times
        wave = np.cos(turn) + self.damping / self.observed_frequency * np.sin(turn)
        return np.asarray(np.exp(-self.damping * times) * wave)


def random_motion(*, seed: int) -> Motion:
    """An oscillator that swings one to two times while it dies down."""
    rng = np.random.default_rng([seed, 23])
    return Motion(float(rng.uniform(0.15, 0.4)), float(rng.uniform(1.2, 2.2)))


class Oscillator(nn.Module):
    """The motion as a network, and the parameters of its equation.

    Attributes:
        motion: block that gives the place at a time. `[rows, 1] -> [rows, 1]`
        parameters_of: logarithms of damping and frequency.
    """

    def __init__(self) -> None:
        super().__init__()
        self.motion = nn.Sequential(
            nn.Linear(1, _UNITS), nn.Tanh(), nn.Linear(_UNITS, _UNITS), nn.Tanh(), nn.Linear(_UNITS, 1)
        )
        self.parameters_of = nn.Parameter(torch.tensor([-1.0, 0.0]))

    def forward(self, times: Tensor) -> Tensor:
        """Places `[rows, 1]` at times `[rows, 1]`."""
        places: Tensor = self.motion(times)
        return places

    @property
    def damping(self) -> float:
        """Damping that was learned, in 1/s."""
        return math.exp(float(self.parameters_of[0].detach()))

    @property
    def frequency(self) -> float:
        """Frequency without damping that was learned, in 1/s."""
        return math.exp(float(self.parameters_of[1].detach()))


def physical_loss(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Squared error at the measured points, and by how much the equation of motion fails elsewhere.

    Args:
        network: an `Oscillator`, with a network or with equations in it.
        batch: `times` at which the equation is to hold; `measured_times` and `measured_places` of the points.
    """
    held: Tensor = network.parameters_of  # type: ignore[assignment]
    times = batch["times"].clone().requires_grad_()
    place = network(times)
    speed = _slope(place, times)
    acceleration = _slope(speed, times)
    damping, frequency = held.exp()
    failure = acceleration + 2 * damping * speed + frequency**2 * place
    error = network(batch["measured_times"]) - batch["measured_places"]
    return error.square().mean() + _WEIGHT * failure.square().mean()


def _slope(values: Tensor, times: Tensor) -> Tensor:
    """Derivative by the time; 0 where values do not depend on it, as those of an equation may."""
    [found] = torch.autograd.grad(values.sum(), times, create_graph=True, materialize_grads=True)
    return found


def learned(motion: Motion, *, noise: float, steps: int, seed: int) -> tuple[Oscillator, list[dict[str, Tensor]]]:
    """A network that has learned a motion, and batches to judge it by.

    Args:
        motion: motion of which points are measured.
        noise: standard deviation of the measurements.
        steps: number of steps of L-BFGS.
        seed: random seed for weights, noise and points.

    Returns:
        The network, and batches of other times with the same measured points.
    """
    rng = np.random.default_rng([seed, 29])
    torch.manual_seed(seed)
    times = np.sort(rng.uniform(0.0, _SECONDS, _POINTS))
    places = motion(times) + rng.normal(0.0, noise, _POINTS)
    measured = {"measured_times": _column(times), "measured_places": _column(places)}
    batches = [{"times": _column(rng.uniform(0.0, _SECONDS, _PLACES)), **measured} for _ in range(_BATCHES)]
    network = Oscillator()
    _train(network, {"times": _column(np.linspace(0.0, _SECONDS, _PLACES)), **measured}, steps)
    return network.eval(), batches


def _train(network: Oscillator, batch: Mapping[str, Tensor], steps: int) -> None:
    optimizer = torch.optim.LBFGS(
        network.parameters(),
        max_iter=steps,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-12,
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = physical_loss(network, batch)
        found.backward()
        return found

    optimizer.step(loss)  # type: ignore[arg-type]


def _column(values: np.ndarray) -> Tensor:
    return torch.tensor(values[:, None], dtype=torch.float32)
