"""Which of many variables a target depends on; laws of few of many variables."""

from __future__ import annotations

import numpy as np
import pytest

from searches.direct import polynomials, rationals
from searches.direct.kinds import Find
from searches.direct.relevant_variables import relevant_variables
from searches.evolution.settings import DEFAULT_OPERATORS

INPUTS = np.random.default_rng(0).uniform(0.5, 2.0, (300, 20))


@pytest.mark.parametrize("count", [8, 20])
def test_variables_that_matter_alone_or_together(count: int) -> None:
    inputs = INPUTS[:, :count]
    target = np.sin(inputs[:, 1]) * inputs[:, 4] + 3 * inputs[:, 6]
    assert relevant_variables(inputs, target, 3).tolist() == [1, 4, 6]
    assert relevant_variables(inputs[:10], target[:10], 3).tolist() == list(range(count))  # too few to tell
    assert relevant_variables(inputs[:, :3], target, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("find", "target"),
    [
        (polynomials.find, 2 * INPUTS[:, 3] ** 7 - INPUTS[:, 3] ** 5 * INPUTS[:, 11] + 1),
        (rationals.find, (INPUTS[:, 2] + 3 * INPUTS[:, 7] ** 2) / (INPUTS[:, 12] ** 3 + INPUTS[:, 7] + 1.5)),
    ],
)
def test_a_law_of_high_degree_in_few_of_many_variables(find: Find, target: np.ndarray) -> None:
    found = list(find(INPUTS, target, DEFAULT_OPERATORS, float("inf")))
    errors = [np.mean(np.square(equation(INPUTS) - target)) / np.var(target) for equation in found]
    assert min(errors) < 1e-24
