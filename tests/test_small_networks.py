"""Small networks as rows of numbers: what changes a row without changing the function, and what does not."""

import pytest
import torch
from torch import Tensor

from modules.networks.weights.small_networks import NetworkShape, canonical_weights, rescaled, shuffled

POINTS = torch.linspace(-1.0, 1.0, 21, dtype=torch.float64)


def shape(activation: str, biases: bool) -> NetworkShape:
    return NetworkShape((1, 8, 7, 8, 1), activation, biases)


def rows(of: NetworkShape) -> Tensor:
    return torch.randn(5, of.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_order_and_sign_of_units_change_no_function(activation: str, biases: bool) -> None:
    own = shape(activation, biases)
    flat = rows(own)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = shuffled(own, flat)
    assert not torch.allclose(other, flat)
    for same in (other, canonical_weights(own, flat)):
        torch.testing.assert_close(own.run(same, POINTS), own.run(flat, POINTS))
    torch.testing.assert_close(canonical_weights(own, other), canonical_weights(own, flat))


def test_another_range_and_scale() -> None:
    own = shape("tanh", True)
    flat = rows(own)
    wide = rescaled(own, flat, centre=3.0, half=2.0, scale=5.0)
    torch.testing.assert_close(own.run(wide, 3.0 + 2.0 * POINTS), 5.0 * own.run(flat, POINTS))


def test_a_row_is_taken_apart_and_put_together() -> None:
    own = shape("tanh", True)
    flat = rows(own)
    assert torch.equal(own.join(own.split(flat)), flat)
