"""How equations are judged: an error is measured in the variance of the rows that it is the error on."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.expression import Expression
from expressions.goodness_of_fit import r2
from expressions.parsing import parse
from searches.common.regression_task import RegressionTask

X = np.random.default_rng(0).uniform(0.5, 2.0, (40, 2))


def judged(equation: Expression, target: np.ndarray, validation: tuple[np.ndarray, np.ndarray]) -> list[float]:
    candidate = RegressionTask(X, target, validation=validation).judge(equation, 1)
    return [candidate.train_nmse, candidate.validation_nmse]


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (50.0, 0.01), (-3.0, 100.0)])
def test_the_mean_of_held_out_rows_explains_nothing_of_them(shift: float, scale: float) -> None:
    """Wherever these rows lie: in the variance of the training rows, it would explain nearly all of them."""
    target, held_out = 3.0 * X[:, 0], shift + scale * X[:10, 1]
    constant = Expression.constant(float(held_out.mean()))
    _, error = judged(constant, target, (X[:10], held_out))
    assert 1.0 - error <= 1e-12
    assert error == pytest.approx(1.0, rel=1e-12)


def test_both_errors_are_one_minus_r2_of_their_own_rows() -> None:
    equation = parse("2.9*x0 + 0.1*x1")
    held_out = (X[:10] + 1.0, 3.0 * X[:10, 0] + 4.0)
    train, validation = judged(equation, 3.0 * X[:, 0], held_out)
    assert train == pytest.approx(1 - r2(3.0 * X[:, 0], equation(X)), rel=1e-12)
    assert validation == pytest.approx(1 - r2(held_out[1], equation(held_out[0])), rel=1e-12)


def test_held_out_rows_of_one_value_only_rule_out_what_is_not_finite() -> None:
    held_out = (np.array([[0.0, 1.0], [0.0, 2.0]]), np.full(2, 0.1))
    train, validation = judged(parse("2.9*x0"), 3.0 * X[:, 0], held_out)
    assert 0 < train == validation < 0.1
    assert judged(parse("1/x0"), 3.0 * X[:, 0], held_out)[1] == np.inf
