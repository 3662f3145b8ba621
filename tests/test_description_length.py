"""What an equation costs in a description of a table, and that picks follow it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expressions.parsing import parse
from searches.common.description_length import FUNCTION_NATS, NODE_NATS, NODE_NATS_HELD_OUT, constants_nats
from searches.common.refinement import Refinement
from searches.common.regression_task import RegressionTask
from searches.pareto_front import ParetoFront, pick

RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(0.5, 3.0, (60, 2))
LINE = 1.7318 * INPUTS[:, 0]
NATS_OF_A_SIGN = math.log(2.0)


def nats(text: str, error: float = 0.01, rows: float = 60.0) -> float:
    return constants_nats(parse(text), INPUTS, LINE, error=error, rows=rows)


def test_an_equation_without_constants_costs_no_digits() -> None:
    assert nats("x0*sin(x1)") == 0.0


def test_a_constant_costs_what_its_fisher_information_resolves() -> None:
    """Bartlett, Desmond and Ferreira 2023: log(theta) + log(I)/2 - log(3)/2, I the sum of x^2 / variance."""
    information = np.sum(INPUTS[:, 0] ** 2) / 0.01
    expected = math.log(1.7318) + 0.5 * math.log(information / 3.0)
    assert nats("1.7318*x0") == pytest.approx(expected + NATS_OF_A_SIGN, rel=1e-9)


def test_ten_times_smaller_errors_make_a_constant_a_digit_longer() -> None:
    assert nats("1.73184321*x0", 1e-4) - nats("1.73184321*x0", 1e-2) == pytest.approx(math.log(10.0), rel=1e-9)


def test_a_constant_of_few_digits_costs_no_more_than_these() -> None:
    assert nats("2*x0", 1e-20) == pytest.approx(math.log(10.0) + NATS_OF_A_SIGN)
    assert nats("2.1234567891*x0", 1e-20) > nats("2*x0", 1e-20)


def test_a_constant_that_the_data_do_not_resolve_costs_its_sign_alone() -> None:
    assert nats("x0 + 0.00012345", 1.0) == pytest.approx(NATS_OF_A_SIGN)


def test_weights_of_one_change_nothing() -> None:
    equal = constants_nats(parse("1.7*x0"), INPUTS, LINE, error=0.1, rows=60, weights=np.ones(60))
    assert equal == pytest.approx(nats("1.7*x0", 0.1))


@pytest.mark.parametrize("seed", range(5))
def test_the_law_is_picked_before_an_equation_that_follows_the_noise(seed: int) -> None:
    """Of the same size, and more accurate by less than its constants cost."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(0.5, 3.0, (40, 2))
    clean = inputs[:, 0] * inputs[:, 1]
    target = clean + 0.05 * clean.std() * rng.normal(size=40)
    task = RegressionTask(inputs, target)
    refinement = Refinement(task, simplify_seconds=0.0)
    law = refinement.judged(parse("x0*x1"))
    rivals = [
        refinement.judged(task.refit(parse(text), 20))
        for text in ("1.0*x0*x1 + 0.01", "1.0*x0*x1 + 0.01*sin(3*x0)", "1.01*x0*x1 + 0.01*x0 - 0.01*x1 + 0.02")
    ]
    assert all(rival.error < law.error for rival in rivals)
    assert pick(ParetoFront.of([*rivals, law])).expression == law.expression


def test_a_charge_is_of_all_rows_that_judge() -> None:
    """Twice the rows, half the charge; and a node costs less where some of them are held out."""
    task = RegressionTask(INPUTS, LINE)
    both = RegressionTask(INPUTS, LINE, validation=(INPUTS, LINE))
    candidate = task.judge(parse("x0*sin(x1)"), 4)
    assert task.charged(candidate).charge == pytest.approx(2 * (4 * NODE_NATS + FUNCTION_NATS) / 60)
    assert both.charged(candidate).charge == pytest.approx(2 * (4 * NODE_NATS_HELD_OUT + FUNCTION_NATS) / 120)


def test_noise_alone_puts_no_function_in_the_place_of_a_quotient() -> None:
    """On this stretch `sin(1/x)` is nearly `1/x`: by the luck of the noise it is often a nat or two shorter."""
    picked = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        inputs = rng.uniform(5.0, 30.0, (200, 1))
        target = 8.3 / inputs[:, 0] + 0.02 * rng.normal(size=200)
        held_out = (inputs[150:], target[150:])
        refinement = Refinement(RegressionTask(inputs[:150], target[:150], validation=held_out))
        texts = ("8.3/x0", "8.3*sin(1/x0)", "8.3*tanh(1/x0)")
        forms = [refinement.judged(refinement.task.refit(parse(text))) for text in texts]
        picked.append(pick(ParetoFront.of(forms)).expression == forms[0].expression)
    assert np.mean(picked) >= 0.8
