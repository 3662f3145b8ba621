"""What a Gumbel-max network can say at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.tables.problems import problem, suite
from expressions.canonical_form import canonical
from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.expressible import can_express
from expressions.parsing import parse

DEFAULT = (
    "id*3 square cube pow4 pow5 pow6 sin*2 cos*2 exp log mul*2 div*2",
    "add*2 mul*2 div id*4 square sin cos exp sum",
    "add mul*2 div sqrt exp log sin id*3 sum",
    "add*2 mul div id",
)


@pytest.mark.parametrize(
    ("layers", "text", "possible"),
    [
        (("id", "id"), "x0", True),
        (("id*2", "add"), "2*x0 - 3*x1", True),
        (("id", "add"), "2*x0 - 3*x1", False),  # one value is passed on, two are needed
        (("id*2", "add"), "x0*x1", False),
        (("mul",), "x0*x1 + 7", True),  # the offset comes free
        (("mul", "mul"), "x0**2*x1**2", True),  # one product, used twice
        (("mul", "id"), "x0**4", False),
        (("square", "square"), "x0**4", True),
        (("sin*2", "add"), "sin(2*x0) + sin(x1)", True),
        (("sin", "add"), "sin(2*x0) + sin(x1)", False),
        (("id*3", "sum", "sqrt"), "sqrt(x0 + 2*x1 + 3)", True),
        (("id*2", "div"), "1/x0", True),
        (("id*2", "mul", "sqrt"), "sqrt(x0*x1)", True),
        (("id*2", "div", "exp"), "exp(-x0/x1)", True),
        (("id*2", "div"), "exp(-x0/x1)", False),
    ],
)
def test_known_cases(layers: tuple[str, ...], text: str, possible: bool) -> None:
    assert can_express(Architecture(layers, 2), parse(text)) is possible


@pytest.mark.parametrize("name", suite("gmeql"))
def test_the_default_network_has_the_papers_problems(name: str) -> None:
    posed = problem(name)
    assert can_express(Architecture(DEFAULT, len(posed.variables)), posed.truth)


@pytest.mark.parametrize("name", ["Nguyen-11", "I.26.2", "test_10"])
def test_what_has_no_function_in_the_network_is_not_in_it(name: str) -> None:
    posed = problem(name)
    assert not can_express(Architecture(DEFAULT, len(posed.variables)), posed.truth)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_what_a_network_says_it_can_express(seed: int) -> None:
    """Whatever instance is drawn at random, it is found to be possible."""
    rng = np.random.default_rng(seed)
    layers = ("id*2 square sin mul", "add mul id*2", "add mul sqrt id")
    network = Architecture(layers, 2)
    structure = (rng.random(network.connections) * network.choices).astype(np.int64)
    equation = network.expression(structure, rng.uniform(0.5, 2.0, network.weights))
    if canonical(equation).variables:  # constants alone are nobody's equation
        assert can_express(network, equation)
