"""The network of the Gumbel-max equation learner: every equation against a literal version, gradients by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import RelaxedOneHotCategorical

from expressions.equation_learner.architecture import IDENTITY, SUM, Architecture
from expressions.goodness_of_fit import mae
from expressions.operators import BY_NAME, OPERATORS
from modules.networks.gumbel_max import network as gumbel_max
from modules.networks.gumbel_max.choices import (
    distance_gradient,
    gumbel_noise,
    likelihood_gradient,
    relaxed,
    selected,
    soft_gradient,
)
from modules.networks.gumbel_max.network import GumbelMaxNetwork, mean_absolute_error

PAPER = ["id square cube pow4 pow5 pow6 sin cos", "add mul div sum", "add mul"]
PROTOTYPE = ["id*3 square cube pow4 pow5 pow6 sin*2 cos*2 mul div", "add mul*2 div id*2 sum", "add mul*2 sqrt id"]
EVERYTHING = [" ".join(row.name for row in OPERATORS) + " id*2 sum*2", "sum mul id", "safe_div sub"]
LAMBDA = 2 / 3


def instances(layers: list[str], count: int = 7, features: int = 3, rows: int = 11, seed: int = 0) -> tuple:
    """A network with random instances and a table."""
    generator = torch.Generator().manual_seed(seed)
    network = GumbelMaxNetwork(Architecture(layers, features))
    shape = (count, *network.barrier.shape)
    logits = torch.randn(shape, generator=generator) * 0.5 + network.barrier
    log_choices = relaxed(logits, gumbel_noise(shape, torch.device("cpu"), generator), LAMBDA)
    weights = 1.0 + 0.1 * torch.randn(count, network.architecture.weights, generator=generator)
    inputs = 0.2 + 0.7 * torch.rand(rows, features, generator=generator)
    target = torch.randn(rows, generator=generator)
    return network, log_choices, weights, inputs, target


def literal_output(architecture: Architecture, selection: Tensor, weights: Tensor, row: Tensor) -> Tensor:
    """One instance on one row, node by node."""
    values = [*row, torch.ones(())]
    weight = 0
    for layer in architecture.layers:
        own = weights[weight : weight + layer.weights]
        arguments = []
        for k in range(layer.connections):
            choice = selection[layer.first_connection + k]
            arguments.append(own[k] * sum(choice[s] * values[s] for s in range(layer.sources)))
        following, sums = [], 0
        for name, places in zip(layer.nodes, layer.arguments, strict=True):
            if name == SUM:
                dense = own[layer.connections + sums * layer.sources :]
                following.append(sum(dense[s] * values[s] for s in range(layer.sources)))
                sums += 1
            elif name == IDENTITY:
                following.append(arguments[places[0]])
            else:
                following.append(BY_NAME[name].torch(torch, *(arguments[k] for k in places)))
        values, weight = following, weight + layer.weights
    return values[0]


# --- eq. 1 and 2 --------------------------------------------------------------------------------------------


def test_soft_choices_are_eq_2() -> None:
    logits, noise = torch.tensor([0.3, -1.0, 0.8]), torch.tensor([0.1, 2.0, -0.4])
    powers = [math.exp((z + g) / LAMBDA) for z, g in zip(logits.tolist(), noise.tolist(), strict=True)]
    expected = torch.tensor([power / sum(powers) for power in powers])
    torch.testing.assert_close(relaxed(logits, noise, LAMBDA).exp(), expected)


def test_the_largest_entry_is_drawn_with_the_probability_of_the_logits() -> None:
    logits = torch.tensor([0.5, -0.5, 1.0, -math.inf])
    noise = gumbel_noise((40_000, 4), torch.device("cpu"), torch.Generator().manual_seed(1))
    hard = selected(relaxed(logits, noise, LAMBDA), "hard")
    assert noise.isfinite().all()
    torch.testing.assert_close(hard.mean(0), logits.softmax(0), atol=0.01, rtol=0)


def test_kinds_of_samples() -> None:
    _, log_choices, *_ = instances(PAPER)
    soft, hard = selected(log_choices, "soft"), selected(log_choices, "hard")
    torch.testing.assert_close(soft.sum(-1), torch.ones(soft.shape[:-1]))
    assert torch.equal(hard, selected(log_choices, "straight_through"))
    assert torch.equal(hard.argmax(-1), soft.argmax(-1))
    assert torch.equal(hard.sum(-1), torch.ones(hard.shape[:-1]))


def test_the_loss_is_eq_1() -> None:
    outputs, target = torch.tensor([[1.0, 2.0, 4.0], [math.nan, 0.0, 0.0], [math.inf, 0.0, 0.0]]), torch.ones(3)
    assert mean_absolute_error(outputs, target).tolist() == [pytest.approx(4 / 3), math.inf, math.inf]


def test_the_gradient_through_soft_choices_is_autograds() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64).masked_fill(torch.arange(4) > 2, -math.inf).requires_grad_()
    noise, gradient = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    log_choices = relaxed(logits, noise, LAMBDA)
    log_choices.exp().backward(gradient)
    expected = logits.grad
    torch.testing.assert_close(soft_gradient(log_choices.detach(), gradient, LAMBDA), expected)


# --- eq. 7 and 11 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sources", [1, 2, 5])
def test_the_offline_gradient_is_that_of_the_likelihood(sources: int) -> None:
    generator = torch.Generator().manual_seed(sources)
    logits = torch.randn(6, sources, generator=generator, dtype=torch.float64).requires_grad_()
    log_choices = relaxed(torch.randn(6, sources, dtype=torch.float64), torch.zeros(sources), LAMBDA)
    density = RelaxedOneHotCategorical(torch.tensor(LAMBDA), logits=logits, validate_args=False)
    density.log_prob(log_choices.exp()).sum().backward()
    # The density is invariant to a shift of z, eq. (7) is written for exp(z) that are not normalised: the same.
    gradient = likelihood_gradient(logits.detach(), log_choices, LAMBDA)
    torch.testing.assert_close(gradient, logits.grad)


def test_offline_gradients_literally() -> None:
    logits, choices = [0.4, -0.3, 0.9], [0.2, 0.5, 0.3]
    powers = [math.exp(z - LAMBDA * math.log(v)) for z, v in zip(logits, choices, strict=True)]
    likelihood = [1 - 3 * power / sum(powers) for power in powers]
    distance = [2 * (math.exp(z) - v**LAMBDA) * math.exp(z) for z, v in zip(logits, choices, strict=True)]
    padded = torch.tensor([*logits, -math.inf]), torch.tensor([*map(math.log, choices), -math.inf])
    torch.testing.assert_close(likelihood_gradient(*padded, LAMBDA), torch.tensor([*likelihood, 0.0]))
    torch.testing.assert_close(distance_gradient(*padded, LAMBDA), torch.tensor([*distance, 0.0]))


def test_the_offline_gradients_vanish_where_they_should() -> None:
    """Eq. (7) where z equals the noise-free choice, eq. (11) at exp(z) = V^lambda."""
    logits = torch.tensor([0.4, -0.3, 0.9], dtype=torch.float64)
    choices = relaxed(logits, torch.zeros(3), LAMBDA)
    assert likelihood_gradient(logits, choices, LAMBDA).abs().max() < 1e-12
    assert distance_gradient(LAMBDA * choices, choices, LAMBDA).abs().max() < 1e-12


# --- the passes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [PAPER, PROTOTYPE, ["sin"], ["sum*2 id", "mul sum"]])
@pytest.mark.parametrize("sampling", ["soft", "hard"])
def test_the_forward_pass_is_the_literal_one(layers: list[str], sampling: str) -> None:
    network, log_choices, weights, inputs, _ = instances(layers, count=3, rows=4)
    selection = selected(log_choices, sampling)
    values = network.forward(selection, weights, network.columns(inputs))
    for i in range(3):
        for j in range(4):
            literal = literal_output(network.architecture, selection[i], weights[i], inputs[j])
            torch.testing.assert_close(values[i, j], literal, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_a_hard_instance_is_its_expression() -> None:
    network, log_choices, weights, inputs, target = instances(PROTOTYPE, count=20)
    errors = network.errors(selected(log_choices, "hard"), weights, network.columns(inputs), target)
    for error, choices, own in zip(errors, log_choices, weights, strict=True):
        equation = network.architecture.expression(choices.argmax(-1).numpy(), own.numpy())
        with np.errstate(all="ignore"):
            expected = mae(target.numpy(), equation(inputs.double().numpy()))
        assert error.item() == pytest.approx(expected, rel=1e-3) or expected > 1e6


@pytest.mark.parametrize("layers", [PAPER, PROTOTYPE, EVERYTHING, ["sin"], ["sum*2 id", "mul sum"]])
@pytest.mark.parametrize("block", [3, 100])
def test_gradients_by_hand_are_autograds(layers: list[str], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gumbel_max, "_BLOCK_VALUES", block * 11)
    network, log_choices, weights, inputs, target = instances(layers)
    selection = selected(log_choices, "soft").requires_grad_()
    weights.requires_grad_()
    columns = network.columns(inputs)
    errors = mean_absolute_error(network.forward(selection, weights, columns), target)
    errors.sum().backward()
    for _ in range(2):  # a second time in the same memory
        measured = network.measure(selection.detach(), weights.detach(), columns, target)
        good = measured.errors.isfinite()
        assert good.any()
        torch.testing.assert_close(measured.errors, errors.detach(), rtol=1e-4, atol=1e-5)
        for ours, theirs in (
            (measured.selection_gradient, selection.grad),
            (measured.weight_gradient, weights.grad),
        ):
            torch.testing.assert_close(ours[good], theirs[good], rtol=1e-3, atol=1e-4)


def test_gradients_by_hand_are_numerically_right() -> None:
    network, log_choices, weights, inputs, target = instances(PAPER, count=1, rows=5)
    network = network.to(network.device, torch.float64)
    selection, columns = selected(log_choices.double(), "soft"), network.columns(inputs.double())
    weights, target = weights.double(), target.double()
    measured = network.measure(selection, weights, columns, target)
    step = 1e-6
    for values, gradient in ((selection, measured.selection_gradient), (weights, measured.weight_gradient)):
        flat = values.view(-1)
        for k in range(0, len(flat), 3):
            before = flat[k].item()
            ends = []
            for sign in (1, -1):
                flat[k] = before + sign * step
                ends.append(network.errors(selection, weights, columns, target).item())
            flat[k] = before
            assert gradient.reshape(-1)[k].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-4)


def test_what_stands_for_no_source_has_no_gradient() -> None:
    network, log_choices, weights, inputs, target = instances(PROTOTYPE)
    measured = network.measure(selected(log_choices, "soft"), weights, network.columns(inputs), target)
    assert not measured.selection_gradient[:, network.barrier.isinf()].any()


def test_instances_that_are_not_finite_stay_alone() -> None:
    network, log_choices, weights, inputs, target = instances(["sqrt id exp", "div add"], count=6)
    weights[1] = -1.0  # the root of a negative number
    weights[2] = 1e30
    weights[3, :3] = 0.0  # a root at 0: finite, but with an infinite slope
    selection, columns = selected(log_choices, "soft"), network.columns(inputs)
    alone = network.measure(selection[[0, 4, 5]], weights[[0, 4, 5]], columns, target)
    measured = network.measure(selection, weights, columns, target)
    assert measured.errors.isinf().tolist() == [False, True, True, False, False, False]
    for ours, theirs in zip(vars(measured).values(), vars(alone).values(), strict=True):
        torch.testing.assert_close(ours[[0, 4, 5]], theirs)
    assert not measured.selection_gradient[1:4].any()
    assert not measured.weight_gradient[1:4].any()


def test_rows_that_are_not_numbers_spoil_no_gradient() -> None:
    network, log_choices, weights, inputs, target = instances(PAPER)
    inputs[2, 0] = math.nan
    measured = network.measure(selected(log_choices, "soft"), weights, network.columns(inputs), target)
    assert measured.errors.isinf().all()
    assert not measured.selection_gradient.any()
    assert not measured.weight_gradient.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_computes_the_same() -> None:
    network, log_choices, weights, inputs, target = instances(PROTOTYPE, count=300)
    gpu = network.to(torch.device("cuda"))
    selection = selected(log_choices, "soft")
    ours = network.measure(selection, weights, network.columns(inputs), target)
    theirs = gpu.measure(selection.cuda(), weights.cuda(), gpu.columns(inputs.cuda()), target.cuda())
    torch.testing.assert_close(theirs.errors.cpu(), ours.errors, rtol=1e-3, atol=1e-4)
