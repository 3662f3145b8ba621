"""Statistics of a table: what they say, and that nothing but the table decides it."""

import pytest
import torch
from torch import Tensor

from modules.networks.equation_map.set_encoder import point_features
from modules.networks.equation_map.table_statistics import statistic_width

VARIABLES = 4
ROWS = VARIABLES * (VARIABLES + 1) // 2  # one a variable, one a pair
EXPONENT, POWER_SHARE, LINEAR_SHARE = 15, 17, 16  # places in the row of a variable


def statistics(inputs: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
    here = torch.ones(len(inputs), inputs.shape[2], dtype=torch.bool) if present is None else present
    return point_features(inputs, target, here).statistics


@pytest.fixture
def inputs() -> Tensor:
    return 1.0 + 4.0 * torch.rand(1, 80, VARIABLES, generator=torch.Generator().manual_seed(0))


def test_the_exponents_of_a_product_of_powers_are_seen(inputs: Tensor) -> None:
    target = 3.0 * inputs[..., 0] ** 2 * inputs[..., 1] / inputs[..., 2].sqrt()
    rows = statistics(inputs, target)[0]
    assert rows[:VARIABLES, EXPONENT] == pytest.approx([2.0, 1.0, -0.5, 0.0], abs=0.02)
    assert rows[0, POWER_SHARE] == pytest.approx(1.0, abs=0.01)
    assert rows[0, LINEAR_SHARE] < 0.97


def test_the_right_function_of_a_pair_correlates(inputs: Tensor) -> None:
    rows = statistics(inputs, inputs[..., 1] * inputs[..., 3])[0]
    pair = VARIABLES + [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)].index((1, 3))
    assert rows[pair, 0] == pytest.approx(1.0, abs=1e-3)
    assert rows[pair, 22 : 22 + VARIABLES].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert rows[VARIABLES, 0] < 0.9


def test_the_order_of_the_points_does_not_matter(inputs: Tensor) -> None:
    target = inputs[..., 0].sin() + inputs[..., 1]
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    one, other = statistics(inputs, target), statistics(inputs[:, order], target[:, order])
    assert torch.allclose(one, other, atol=1e-4)


def test_absent_variables_have_empty_rows(inputs: Tensor) -> None:
    present = torch.tensor([[True, False, True, False]])
    rows = statistics(inputs, inputs[..., 0], present)[0]
    empty = [bool((row == 0).all()) for row in rows]
    #                 x0     x1    x2     x3    01    02     03    12    13    23
    assert empty == [False, True, False, True, True, False, True, True, True, True]


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("points", [1, 2, 30])
def test_all_is_finite(size: float, points: int) -> None:
    table = size * torch.randn(2, points, 3, generator=torch.Generator().manual_seed(2))
    for target in (table[..., 0], torch.zeros(2, points), torch.full((2, points), 1e37)):
        assert torch.isfinite(statistics(table, target)).all()


@pytest.mark.parametrize("variables", [1, 2, 10])
def test_shapes(variables: int) -> None:
    rows = statistics(torch.rand(3, 7, variables), torch.rand(3, 7))
    assert rows.shape == (3, variables * (variables + 1) // 2, statistic_width(variables))
