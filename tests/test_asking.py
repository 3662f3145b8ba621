"""Asking a network: what its answers say of its form, and searches that are split by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from distillation.asking import ask, designed_points
from distillation.questions.answers import Answers
from distillation.questions.findings import OutputFindings, Split
from distillation.questions.region import Region
from distillation.splitting import SplitSearch
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.parsing import parse
from modules.equation_module import EquationModule


def table(variables: int, low: float = 0.5, high: float = 2.5) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (1000, variables))


def asked(*texts: str, variables: int = 3) -> tuple[OutputFindings, ...]:
    return ask(EquationModule([parse(text) for text in texts], variables), table(variables), seed=0).outputs


# --- where it is asked ------------------------------------------------------------------------------------------


def test_places_fill_the_region_and_no_more_than_was_asked_lie_outside() -> None:
    inputs = table(3)
    found = designed_points(inputs, 500, seed=0)
    assert found.points.shape == (500, 3)
    assert found.points.min() > 0.3
    assert found.points.max() < 2.7
    assert 0 < found.beyond.mean() < 0.3
    region = Region(inputs, seed=0)
    assert (region.distances(found.points) <= region.radius + 0.1 + 1e-9).all()
    assert found.words.startswith("the network was asked at 500 places")


def test_places_stay_near_a_curve_where_the_activations_are_one() -> None:
    turn = np.random.default_rng(1).uniform(0, 2 * np.pi, 2000)
    inputs = np.column_stack([np.cos(turn), np.sin(turn), np.full(2000, 7.0)])
    found = designed_points(inputs, 300, beyond=0.05, seed=0)
    assert len(found.points) == 300
    assert np.abs(np.hypot(found.points[:, 0], found.points[:, 1]) - 1).max() < 0.1
    assert (found.points[:, 2] == 7.0).all()


def test_the_same_seed_asks_at_the_same_places() -> None:
    first, second = (designed_points(table(2), 50, seed=3).points for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, designed_points(table(2), 50, seed=4).points)


# --- what is found ----------------------------------------------------------------------------------------------


def test_inputs_that_matter_are_told_from_those_that_do_not() -> None:
    several = asked("x0*x2", "sin(x1) + 0.001*x0", variables=4)
    assert [each.matters for each in several] == [(0, 2), (1,)]
    assert several[1].effects == pytest.approx([0.001, 1.0, 0.0, 0.0], abs=0.01)


def test_sums_and_products_are_seen_with_their_offset_and_their_defect() -> None:
    total, whole, shifted, neither = asked(
        "sin(x0) + x1*x2", "x0*exp(-x1)*(x2 + 2)", "3.0 + x0*sin(x1*x2)", "sin(x0*x1 + x2)"
    )
    assert total.split is not None
    assert (total.split.kind, total.split.parts) == ("sum", ((0,), (1, 2)))
    assert total.pair_defects[1, 2] > 0.1
    assert whole.split is not None
    assert (whole.split.kind, whole.split.parts, whole.split.offset) == ("product", ((0,), (1,), (2,)), 0.0)
    assert shifted.split is not None
    assert shifted.split.parts == ((0,), (1, 2))
    assert shifted.split.offset == pytest.approx(3.0, abs=1e-3)
    assert max(each.split.defect for each in (total, whole, shifted) if each.split) < 1e-4
    assert neither.split is None
    assert "a sum of functions of x0; x1, x2 (defect 0.0%)" in total.words


def test_symmetries_are_seen() -> None:
    texts = ("sin(x0 - x1)*x2**2", "(x0 + x1)**2/x2", "log(x0/x1 + x2)", "exp(-x0*x1) + x2", "sqrt(x0**2 + x1**2)")
    kinds = [
        {each.kind for each in row.symmetries if (each.first, each.second) == (0, 1)} for row in asked(*texts)
    ]
    assert kinds == [{"difference"}, {"sum", "exchange"}, {"ratio"}, {"product", "exchange"}, {"exchange"}]


def test_what_crosses_zero_has_no_ratio() -> None:
    function = EquationModule([parse("x0*x1")], 2)
    [found] = ask(function, table(2, -1.0, 1.0), seed=0).outputs
    assert {each.kind for each in found.symmetries} == {"exchange"}


def test_a_constant_output_and_a_constant_input_are_no_trouble() -> None:
    inputs = np.column_stack([table(1), np.full(1000, 4.0)])
    constant, plain = ask(EquationModule([parse("3.5"), parse("x0*x1")], 2), inputs, seed=0).outputs
    assert constant.matters == ()
    assert plain.matters == (0,)


def test_a_trained_network_keeps_the_form_of_its_law() -> None:
    torch.manual_seed(0)
    inputs = table(3)
    x = torch.tensor(inputs, dtype=torch.float32)
    target = torch.tensor(parse("2.0*sin(1.5*x0) + x1*x2")(inputs), dtype=torch.float32)[:, None]
    network = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=120, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = nn.functional.mse_loss(network(x), target)
        error.backward()
        return error

    optimizer.step(loss)
    [found] = ask(network, inputs, seed=0).outputs
    assert found.split is not None
    assert found.split.parts == ((0,), (1, 2))


# --- searches that are split by it ------------------------------------------------------------------------------


def one_variable(inputs: np.ndarray, target: np.ndarray) -> Sequence[Expression]:
    """A search that knows functions of one variable only."""
    assert inputs.shape[1] == 1, "the search was not split"
    shapes = (
        "1.0*x0 + 0.0",
        "1.0*x0**2 + 0.0",
        "1.0*sin(1.4*x0) + 0.0",
        "1.0*exp(-1.0*x0) + 0.0",
        "1.0*sqrt(x0) + 0.0",
    )
    fitted = fit_constants([parse(shape) for shape in shapes], inputs, target, iterations=30)
    return [fitted.expressions[k] for k in np.argsort(fitted.errors)]


def no_two_constants_do_the_same(equation: Expression, inputs: np.ndarray) -> bool:
    """Whether the derivatives of the values by the constants are independent."""
    steps = 1e-6 * np.eye(len(equation.constants))
    slopes = np.stack(
        [
            equation.with_constants(equation.constants + step)(inputs)
            - equation.with_constants(equation.constants - step)(inputs)
            for step in steps
        ]
    )
    return bool(
        np.linalg.matrix_rank(slopes / np.linalg.norm(slopes, axis=1, keepdims=True), tol=1e-6) == len(steps)
    )


@pytest.mark.parametrize(
    "text",
    [
        "2.5*sin(1.5*x0) + x1**2 - exp(-0.5*x2)",
        "1.5*x0**2*exp(-0.5*x1)*sin(x2)",
        "3.0 + x0*sin(1.25*x1)",
        "sin(x0 - x1)*x2**2",
        "exp(-0.3*x0/x1) + sqrt(x2)",
    ],
)
def test_parts_are_searched_alone_and_put_together(text: str) -> None:
    law, inputs = parse(text), table(4)
    split = SplitSearch(Answers(EquationModule([law], 4), dtype=torch.float64), 0, one_variable, seed=0)
    best, *_ = split.equations(inputs)
    assert nmse(law(inputs), best(inputs)) < 1e-6
    assert set(best.variables) == set(law.variables)
    assert no_two_constants_do_the_same(best, inputs), best.infix()
    assert len(split.searched) == len(law.variables) - text.count("x0 - x1") - text.count("x0/x1")
    assert all("outside its activations" in each for each in split.searched)


def test_what_has_no_form_is_not_split() -> None:
    split = SplitSearch(Answers(EquationModule([parse("sin(x0*x1 + x2)")], 3)), 0, one_variable, seed=0)
    neither = ask(split.answers, table(3), seed=0, symmetry_limit=-1.0).outputs[0]
    assert split.equations(table(3), neither) == []


def test_of_every_part_more_than_the_best_equation_is_put_together() -> None:
    """Also of the first of many parts, and of twenty parts in no endless time."""
    split = Split("sum", tuple((each,) for each in range(4)), 0.0, 0.0)
    offered = [parse("x0"), parse("x0**2"), parse("sin(x0)"), parse("exp(x0)")]
    inputs = np.random.default_rng(0).uniform(0.5, 2.0, (200, 20))
    answers = Answers(lambda rows: rows[:, :1].exp() + rows[:, 1:4].sum(dim=1, keepdim=True), dtype=torch.float64)
    search = SplitSearch(answers, 0, lambda some, target: offered, seed=0)
    found = search._parts(lambda points: answers(points)[:, 0], inputs[:, :4], split, 5)
    assert any(parse("exp(x0)") in [each.subtree(k) for k in range(len(each))] for each in found)
    wide = Split("sum", tuple((each,) for each in range(20)), 0.0, 0.0)
    assert len(search._parts(lambda points: answers(points)[:, 0], inputs, wide, 5)) == 1
