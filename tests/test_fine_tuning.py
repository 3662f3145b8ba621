"""Fine-tuning: constants reach what the network's own loss asks for, and nothing else changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from expressions.parsing import parse
from foundation.errors import UserError
from modules.equation_module import EquationModule
from modules.fine_tuning import FineTuning, fine_tune
from modules.rounded_constants import round_constants
from modules.training.relative_adam import RelativeAdam

WANTED = "12500*x0 + 0.00025*x1**2"


def batches(seed: int, count: int = 40) -> list[tuple[Tensor, Tensor]]:
    """Columns of sizes so different that the two constants are, too."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand((count, 32, 2), generator=generator, dtype=torch.float64) * torch.tensor([1e-3, 200.0])
    law = EquationModule([parse(WANTED)], 2)
    return [(each, law(each).detach()) for each in inputs]


def squared_error(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.mse_loss(network(batch[0]), batch[1])


def network_of(text: str) -> nn.Sequential:
    """Equations, and behind them a layer with weights of its own that changes nothing."""
    layer = nn.Linear(1, 1, dtype=torch.float64)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(EquationModule([parse(text)], 2), nn.Dropout(0.5), layer)


def test_constants_of_any_size_are_found_and_no_other_weight_moves() -> None:
    network = network_of("12000*x0 + 0.00026*x1**2").train()
    others = copy.deepcopy(network[2].state_dict())
    found = fine_tune(network, squared_error, batches(0), batches(1, 4), epochs=6, learning_rate=5e-3)
    assert found.after < 0.01 * found.before
    assert network[0].equations()[0].constants == pytest.approx([12500, 0.00025], rel=0.01)
    assert all(torch.equal(network[2].state_dict()[name], value) for name, value in others.items())
    assert all(each.requires_grad and each.grad is None for each in network.parameters())


def test_what_is_no_better_is_not_kept() -> None:
    network = network_of(WANTED)
    before = network[0].equations()
    found = fine_tune(network, squared_error, batches(0, 5), batches(1, 2), learning_rate=0.5)
    assert found.after == found.before
    assert network[0].equations() == before


def test_a_batch_without_a_finite_loss_teaches_nothing() -> None:
    network = nn.Sequential(EquationModule([parse("1.5*sqrt(x0)")], 1))
    inputs = torch.linspace(0.5, 2.0, 20, dtype=torch.float64)[:, None]
    good = (inputs, 2.0 * inputs.sqrt())
    bad = (-inputs, inputs)
    found = fine_tune(network, squared_error, [good, bad] * 60, [good], learning_rate=0.02)
    assert found.skipped == 60
    assert found.after < 0.1 * found.before


def test_a_loss_of_derivatives_and_a_mapping_will_do() -> None:
    """dy/dx = 2 x is the loss, as that of a network that knows physics."""

    def step(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        inputs = batch["x"].clone().requires_grad_()
        [slope] = torch.autograd.grad(network(inputs).sum(), inputs, create_graph=True)
        return {"loss": (slope - 2 * inputs).square().mean()}

    network = nn.Sequential(EquationModule([parse("0.9*x0**2 + 3.0")], 1))
    data = [{"x": torch.linspace(-1, 1, 30, dtype=torch.float64)[:, None]}] * 100
    found = fine_tune(network, step, data, data[:1])
    assert found.after < 0.01 * found.before
    assert network[0].equations()[0].constants == pytest.approx([1.0, 3.0], abs=0.02)


def test_relative_steps_are_shares_of_every_entry() -> None:
    values = nn.Parameter(torch.tensor([1e-6, -3.0, 1e6, 0.0]))
    optimizer = RelativeAdam([values], lr=0.01)
    before = values.detach().clone()
    (values * torch.tensor([1e6, 1.0, 1e-6, 1.0])).sum().backward()
    optimizer.step()
    assert torch.allclose((values.detach() - before)[:3], -0.01 * before.abs()[:3], rtol=1e-2)
    assert float(values[3].detach()) == pytest.approx(-1e-5, rel=1e-2)


def test_what_cannot_be_tuned_gets_one_sentence() -> None:
    with pytest.raises(UserError, match="no equations with constants"):
        FineTuning(nn.Linear(2, 2), squared_error)
    with pytest.raises(UserError, match="no equations with constants"):
        FineTuning(EquationModule([parse("x0")]), squared_error)
    with pytest.raises(UserError, match="learning_rate=0 is not allowed"):
        FineTuning(EquationModule([parse("2*x0")]), squared_error, learning_rate=0.0)
    inputs = -torch.ones(4, 1, dtype=torch.float64)
    with pytest.raises(UserError, match="the loss is nan"):
        fine_tune(EquationModule([parse("2*sqrt(x0)")], 1), squared_error, [], [(inputs, inputs)])


# --- rounding ---------------------------------------------------------------------------------------------------


def test_constants_lose_the_digits_that_the_loss_does_not_need() -> None:
    data = batches(0, 3)
    network = network_of("12500.4567*x0 + 0.000250012345*x1**2 + 0.00312345").eval()

    def loss(each: nn.Module) -> float:
        return float(sum(squared_error(each, batch) for batch in data).detach())

    before, found = loss(network), round_constants(network, loss, tolerance=0.01)
    assert found == loss(network) <= 1.01 * before
    assert len(network[0].equations()[0].infix()) < len("12500.4567*x0 + 0.000250012345*x1**2 + 0.00312345") - 5
    assert network[0].equations()[0].constants == pytest.approx([12500.4567, 0.000250012345, 0.00312345], rel=0.05)


def test_a_loss_of_nothing_stays_nothing() -> None:
    data = batches(0, 2)
    network = network_of("12500.0000000001*x0 + 0.00025*x1**2").eval()
    exact = network_of(WANTED).eval()

    def loss(each: nn.Module) -> float:
        return float(sum((each(batch[0]) - exact(batch[0])).square().sum() for batch in data).detach())

    assert round_constants(network, loss) <= 1e-12
    assert network[0].equations()[0].infix() == WANTED


def test_a_loss_that_nothing_may_pass_is_not_passed() -> None:
    data = batches(0, 3)
    text = "12500.4567*x0 + 0.000250012345*x1**2 + 0.00312345"
    network, same = (network_of(text).eval() for _ in range(2))

    def loss(each: nn.Module) -> float:
        return float(sum(squared_error(each, batch) for batch in data).detach())

    before = loss(network)
    assert round_constants(network, loss, tolerance=0.5, largest=1.0001 * before) <= 1.0001 * before
    assert round_constants(same, loss, tolerance=0.5, largest=0.5 * before) == before
    assert same[0].equations()[0] == parse(text)


def test_many_constants_are_rounded_together() -> None:
    equations = [parse(f"{row}.123456789*x0**2 + {row}.987654321*x0**3") for row in range(40)]
    network = nn.Sequential(EquationModule(equations, 1))
    inputs = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    target = network(inputs).detach() + 0.01
    calls = []

    def loss(each: nn.Module) -> float:
        calls.append(1)
        return float(nn.functional.mse_loss(each(inputs), target).detach())

    before = loss(network)
    assert round_constants(network, loss, tolerance=0.05) <= 1.05 * before
    assert len(calls) < 20
    assert max(len(f"{value:.12g}") for each in network[0].equations() for value in each.constants) <= 7
