"""Batches of tiny networks: they fit, each by itself, and what is written down is what they compute."""

import pytest
import torch

from datamodules.zoo.network_training import (
    TrainingSettings,
    chebyshev_points,
    initial_weights,
    network_r2,
    train_networks,
)
from modules.networks.weights.small_networks import NetworkShape


@pytest.mark.parametrize(("activation", "biases"), [("tanh", True), ("softplus", False)])
@pytest.mark.parametrize(("optimizer", "steps"), [("gauss_newton", 20), ("adam", 200)])
def test_networks_learn_their_own_targets(activation: str, biases: bool, optimizer: str, steps: int) -> None:
    shape = NetworkShape(activation=activation, biases=biases)
    settings = TrainingSettings(optimizer=optimizer, steps=steps)
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.rand(32, 3, generator=generator) * 2 - 1
    start = initial_weights(shape, 32, settings, generator)
    x, dense = chebyshev_points(16, -1.0, 1.0), torch.linspace(-1, 1, 101)

    def values(x: torch.Tensor) -> torch.Tensor:
        return coefficients @ torch.stack([x**0, x, x**2])

    trained = train_networks(shape, start, x, values(x), settings)
    assert network_r2(shape, trained, dense, values(dense)).median() > 0.995
    assert network_r2(shape, start, dense, values(dense)).median() < 0.5
    alone = train_networks(shape, start[5:6], x, values(x)[5:6], settings)
    assert torch.allclose(shape.run(alone, dense), shape.run(trained[5:6], dense), atol=0.02)


def test_weights_lie_as_those_of_a_sequential_do() -> None:
    shape = NetworkShape((1, 4, 3, 1), "silu")
    net = torch.nn.Sequential(
        torch.nn.Linear(1, 4), torch.nn.SiLU(), torch.nn.Linear(4, 3), torch.nn.SiLU(), torch.nn.Linear(3, 1)
    )
    flat = torch.nn.utils.parameters_to_vector(net.parameters()).detach()[None]
    x = torch.linspace(-2, 2, 9)
    assert flat.shape[1] == shape.size
    assert torch.allclose(shape.run(flat, x)[0], net(x[:, None])[:, 0], atol=1e-6)
    assert torch.equal(shape.join(shape.split(flat)), flat)
