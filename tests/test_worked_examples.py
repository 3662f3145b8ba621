"""The networks of the worked examples: what they learn from is right, and what is measured of them is, too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.oscillator import Motion, Oscillator, physical_loss, random_motion
from benchmarks.oscillator import learned as learned_motion
from benchmarks.particles import FORCES, Messages, edges, learned, scenes
from benchmarks.worked_examples import _has_form, _linear_r2, _parameters
from expressions.parsing import parse


def table(count: int = 300) -> np.ndarray:
    apart = np.random.default_rng(0).uniform(-2.0, 2.0, (count, 2))
    return np.column_stack([apart, np.linalg.norm(apart, axis=1)])


@pytest.mark.parametrize("force", FORCES)
def test_accelerations_are_the_sums_of_forces(force: str) -> None:
    data = scenes(force, 20, seed=0)
    assert data.places.shape == data.accelerations.shape == (20, 4, 2)
    found = edges(data.places).double().numpy()
    pull = FORCES[force](found[..., 2:]) * found[..., :2]
    assert np.allclose(pull.sum(axis=2), data.accelerations.numpy(), atol=1e-4)
    assert found[..., 2].min() > 0.5
    assert np.abs(data.accelerations.sum(dim=1)).max() < 1e-4, "actio = reactio"


def test_the_largest_messages_are_kept_and_the_others_are_their_mean() -> None:
    torch.manual_seed(0)
    network, places = Messages(), scenes("springs", 50, seed=1).places
    with torch.no_grad():
        network.edge[-1].weight[[0, 1, 3, 4, 6, 7]] *= 1e-3
        before = network(places)
        network.keep_largest(places)
        after = network(places)
        assert network.messages(places).shape == (50, 4, 3, 2)
    assert torch.allclose(before, after, atol=2e-3)


def test_a_network_of_messages_learns_and_its_messages_are_near_the_force() -> None:
    data = scenes("springs", 600, seed=0)
    network = learned(data, steps=250, seed=0)
    found = edges(data.places).reshape(-1, 3)
    force = FORCES["springs"](found[:, 2:].double().numpy()) * found[:, :2].double().numpy()
    with torch.no_grad():
        assert _linear_r2(force, network.edge(found).double().numpy()) > 0.9


def test_equations_are_told_to_have_the_form_of_the_law() -> None:
    rows = table()
    force = FORCES["springs"](rows[:, 2])[:, None] * rows[:, :2]
    assert _has_form(parse("1.2*(x0 + 2*x1)*(1 - 1.01/x2) + 0.3"), rows, force)
    assert not _has_form(parse("1.2*(x0 + 2*x1)*log(x2)"), rows, force)


def test_the_motion_obeys_its_equation_and_its_parameters_are_read_back() -> None:
    motion = random_motion(seed=3)
    rows = np.linspace(0.0, 6.0, 400)[:, None]
    formula = parse(motion.formula)
    assert np.allclose(formula(rows), motion(rows[:, 0]))
    assert motion(np.zeros(1)) == pytest.approx([1.0])
    assert _parameters(formula, rows) == pytest.approx((motion.damping, motion.frequency), rel=1e-4)
    assert _parameters(parse("1.5"), rows)[1] == pytest.approx(0.0, abs=1e-6)


def test_the_loss_of_the_oscillator_is_small_where_it_has_learned() -> None:
    motion = Motion(0.2, 1.4)
    network, batches = learned_motion(motion, noise=0.0, steps=150, seed=0)
    start = float(physical_loss(Oscillator(), batches[0]).detach())
    assert float(physical_loss(network, batches[0]).detach()) < 0.05 * start
    assert network.frequency == pytest.approx(1.4, rel=0.05)


def test_the_loss_takes_equations_that_do_not_depend_on_the_time() -> None:
    _, batches = learned_motion(Motion(0.2, 1.4), noise=0.0, steps=1, seed=0)

    class Still(Oscillator):
        def forward(self, times: torch.Tensor) -> torch.Tensor:
            return self.parameters_of[:1].expand(len(times))[:, None]

    assert np.isfinite(float(physical_loss(Still(), batches[0]).detach()))
