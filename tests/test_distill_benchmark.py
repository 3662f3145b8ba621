"""The suite `distill`: what counts as a law that was read back, the networks it trains, and its tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import distilling
from benchmarks.cells import FAILED, OK, Cell, Record
from benchmarks.distilled_networks import LawNetwork, factor_block
from benchmarks.distilling import BLOCK, judge
from distillation.fitting.factors import rank_of
from expressions.parsing import parse

TRUTH = parse("x0*sin(x1) + 0.604*x0")
X = np.random.default_rng(0).uniform(0.5, 3.0, (400, 2))


@pytest.mark.parametrize(
    ("found", "right", "law"),
    [
        ("x0*(sin(x1) + 0.604)", True, True),
        ("x0*sin(x1) + 0.606*x0", True, True),
        ("x0*sin(x1) + 0.61*x0", True, False),
        ("1.0002*x0*sin(x1) + 0.604*x0 + 1e-5*x1**2 + 2e-6", False, False),
        ("x0*sin(x1)", False, False),
    ],
)
def test_a_law_has_its_structure_and_its_constants(found: str, right: bool, law: bool) -> None:
    verdict = judge(parse(found), TRUTH, X, TRUTH(X))
    assert (verdict["right"], verdict["law"]) == (right, law)


def test_a_network_learns_a_law_in_its_own_units() -> None:
    torch.manual_seed(0)
    network = LawNetwork(2, 16, 2, nn.Tanh)
    target = 1e3 * (X[:, :1] * X[:, 1:]) + 5e4
    network.fit(torch.from_numpy(X), torch.from_numpy(target), 60)
    found = network(torch.from_numpy(X).float()).double().numpy()
    assert np.square(found - target).mean() < 1e-3 * target.var()
    assert not any(each.requires_grad for each in network.parameters())


def test_a_block_mixes_as_many_laws_as_it_says() -> None:
    block, inputs = factor_block(12, 3, seed=3)
    outputs = block(torch.from_numpy(inputs).float()).double().numpy()
    assert outputs.shape == (len(inputs), 12)
    assert rank_of(outputs) == 3


def test_networks_and_blocks_have_a_table_each() -> None:
    network = {"law": True, "right": True, "in_front": True, "nmse": 1e-9, "size": 5, "cpu_seconds": 20.0}
    block = {
        "good": 60, "median_nmse": 1e-5, "size": 90.0, "shared_size": 900, "wall_seconds": 50.0, "cpu_seconds": 9,
    }  # fmt: skip
    cells = [Cell("distill", "asked", name, 1, distilling.SUITE.settings) for name in ("m01", "m02", BLOCK)]
    found = distilling.report(
        [
            Record(cells[0], OK, result=network),
            Record(cells[1], FAILED, reason="killed"),
            Record(cells[2], OK, result=block),
        ]
    )
    first, second = found.grids
    assert first.rows[0][2] == "50.0 %"
    assert second.rows[0][2] == "93.8 %"
    assert distilling.SUITE.expand("first3") == ["m01", "m02", "m03"]
