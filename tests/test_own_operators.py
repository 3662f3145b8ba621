"""Operators of one's own: everywhere what a shipped row is, refused where they cannot be, and never mixed up."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expressions.canonical_form import canonical
from expressions.complexity import complexity
from expressions.constant_fitting import fit_constants
from expressions.evaluation import Evaluator, evaluate_torch
from expressions.numbering import NumberingError, plain, restored
from expressions.numpy_source import SourceError, numpy_source
from expressions.operators import ARITY, BY_NAME, OPERATORS, SHIPPED, TOKEN
from expressions.own_operators import CustomOperator, OperatorError, definitions, register
from expressions.parsing import ParseError, parse
from expressions.simplest_form import simplify
from reports.discovery import Discovery, read, write
from searches.common.regression_task import RegressionTask
from searches.evolution.island_hosts import RemoteIslands
from searches.evolution.settings import GeneticProgrammingSettings
from searches.links.terms import small_functions
from searches.pareto_front import Candidate, ParetoFront
from searches.portfolio_members.member import Offer
from searches.portfolio_members.workers import RemoteCrew

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(-2, 2, (60, 2))


def softplus(a: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(a))


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(a * a + b * b)


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    """Operators for a test; the table is as before when it ends."""
    register({"softplus": softplus, "distance": distance})
    yield
    _shorten(len(SHIPPED))


def _shorten(rows: int) -> None:
    """Take the last rows out again, which no program may do that keeps equations."""
    from expressions import operators

    for row in OPERATORS[rows:]:
        BY_NAME.pop(row.name, None)
        TOKEN.pop(row.name, None)
    ARITY[rows + 1 : -1] = -1
    del OPERATORS[rows:]
    for entries, _ in operators._BY_TOKEN:
        del entries[rows + 1 :]


def test_a_function_of_one_and_of_two_arguments_works_everywhere() -> None:
    equation = parse("1.5*softplus(2*x0) + distance(x0, 0.5*x1)")
    truth = 1.5 * softplus(2 * INPUTS[:, 0]) + distance(INPUTS[:, 0], 0.5 * INPUTS[:, 1])
    assert parse(equation.infix()) == equation
    assert equation.latex().startswith(r"1.5 \, \operatorname{softplus}\left(2 \, x_{0}\right)")
    assert np.array_equal(equation(INPUTS), truth)
    assert np.array_equal(Evaluator(INPUTS, np.float64).values([equation])[0], truth)
    assert np.allclose(Evaluator(INPUTS, np.float32).values([equation])[0], truth, rtol=1e-5)
    assert np.allclose(evaluate_torch([equation], torch.from_numpy(INPUTS))[0].numpy(), truth)
    assert str(equation.to_sympy()) == "distance(x0, 0.5*x1) + 1.5*softplus(2*x0)"
    assert complexity(parse("softplus(x0)")) == 2
    assert canonical(parse("softplus(x0) + 2*softplus(x0)")).infix() == "3*softplus(x0)"
    assert canonical(parse("softplus(-x0)")).infix() == "softplus(-x0)"  # no property is claimed
    assert simplify(parse("softplus(x0) + softplus(x0)"), seconds=1.0).infix() == "2*softplus(x0)"
    assert pickle.loads(pickle.dumps(equation)) == equation == copy.deepcopy(equation)


@pytest.mark.parametrize("derivative", [None, lambda a: 1 / (1 + np.exp(-a))])
def test_constants_inside_are_fitted_with_and_without_a_derivative(derivative: Callable[..., Any] | None) -> None:
    register({"bend": CustomOperator(softplus, derivative=derivative)})
    equation = parse("1.5*bend(2*x0 - 0.3) + 0.25*x1")
    start = equation.with_constants([1.0, 1.0, 0.0, 1.0])
    fit = fit_constants([start], INPUTS, equation(INPUTS), iterations=30)
    assert fit.errors[0] < 1e-20
    [slope] = BY_NAME["bend"].partials(np, None, INPUTS[:, 0])
    assert np.allclose(slope, 1 / (1 + np.exp(-INPUTS[:, 0])), rtol=1e-9)


def test_torch_knows_the_derivative() -> None:
    inputs = torch.tensor(INPUTS, requires_grad=True)
    evaluate_torch([parse("softplus(x0)*x1")], inputs)[0].sum().backward()
    assert inputs.grad is not None
    assert np.allclose(inputs.grad[:, 0], INPUTS[:, 1] / (1 + np.exp(-INPUTS[:, 0])))


def test_a_sympy_form_is_used_where_it_is_given() -> None:
    import sympy

    register({"bend": CustomOperator(softplus, sympy=lambda a: sympy.log(1 + sympy.exp(a)))})
    assert str(parse("bend(x0)").to_sympy()) == "log(exp(x0) + 1)"


@pytest.mark.parametrize(
    ("name", "function", "words"),
    [
        ("2d", softplus, "cannot be the name of an operator"),
        ("lambda", softplus, "cannot be the name of an operator"),
        ("sin", softplus, "has a meaning already"),
        ("x3", softplus, "has a meaning already"),
        ("bad", 3, "is 3, not a function"),
        ("bad", lambda a, b, c: a, "takes 3 arguments"),
        ("bad", lambda: 1.0, "takes 0 arguments"),
        ("bad", math.lgamma, "fails on an array of numbers .*np.vectorize"),
        ("bad", lambda a: a[:3], r"makes float32 \(3,\) of numbers \(13,\)"),
        ("bad", lambda a: float(a.mean()), r"makes float64 \(\) of numbers"),
        ("bad", lambda a: a + 1j, "makes complex64"),
        ("bad", lambda a: a * np.nan, "is not finite at any of"),
    ],
)
def test_what_cannot_be_an_operator_is_refused_in_a_sentence(name: str, function: Any, words: str) -> None:
    rows = len(OPERATORS)
    with pytest.raises(OperatorError, match=words):
        register({name: function})
    assert len(OPERATORS) == rows
    assert issubclass(OperatorError, ValueError)


def test_the_same_function_is_one_row_and_another_one_leaves_old_equations_as_they_are() -> None:
    def make(factor: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda a: factor * a

    register({"times": make(2.0)})
    rows = len(OPERATORS)
    old = parse("times(x0)")
    register({"times": make(2.0), "softplus": softplus})
    assert len(OPERATORS) == rows
    register({"times": make(3.0)})
    new = parse("times(x0)")
    column = np.ones((1, 1))
    assert (old(column), new(column)) == (2.0, 3.0)
    assert copy.deepcopy(old)(column) == 2.0
    register({"times": make(2.0)})  # the first meaning again: its own row
    assert len(OPERATORS) == rows + 1
    assert parse("times(x0)") == old


def test_files_name_it_and_are_refused_where_it_is_unknown() -> None:
    stored = json.loads(json.dumps(plain(parse("softplus(x0) + 1"))))
    assert restored(stored, "it", "ask its author") == parse("softplus(x0) + 1")
    bytes_ = pickle.dumps(parse("softplus(x0)"))
    _shorten(len(SHIPPED))
    with pytest.raises(NumberingError, match=r"uses the operator 'softplus'.*operators=\{'softplus': …\}"):
        restored(stored, "it", "ask its author")
    with pytest.raises(ParseError, match="unknown function 'softplus'"):
        parse("softplus(x0)")
    with pytest.raises(Exception, match="operator 'softplus', which is not known here"):
        pickle.loads(bytes_)


def test_another_process_has_a_lambda_too() -> None:
    register({"twice": lambda a: a + a})
    content = pickle.dumps((definitions(), parse("twice(x0) + softplus(x0)")))
    code = """
import pickle, sys
import numpy as np
_, equation = pickle.load(sys.stdin.buffer)
print(equation(np.zeros((1, 1)))[0], equation.infix())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    ended = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, env=environment)
    assert ended.stdout.decode().split(maxsplit=1) == ["0.6931471805599453", "twice(x0) + softplus(x0)\n"]


def test_islands_in_another_process_search_with_it() -> None:
    register({"fold": lambda a: np.abs(np.mod(a, 2.0) - 1.0)})
    settings = GeneticProgrammingSettings(
        operators=("add", "mul", "fold"), population=20, generations=1, seconds=None, linked_sums=0, bank_size=0
    )
    task = RegressionTask(INPUTS, 3 * np.abs(np.mod(INPUTS[:, 0], 2.0) - 1.0) + 1)
    hosts = RemoteIslands(task, settings, 0, [parse("fold(x0)")], workers=1)
    try:
        [report] = hosts.begin()
    finally:
        hosts.close()
    error, found = min(report["best"].values(), key=lambda pair: pair[0])
    assert error < 1e-12
    assert found == parse("fold(x0)")


def test_regression_has_it_among_its_small_functions() -> None:
    terms = [term.infix() for level in small_functions([0, 1], ["add", "mul", "softplus"]) for term in level]
    assert {"softplus(x0)", "softplus(x0 + x1)", "softplus(x0*x1)"} <= set(terms)
    assert not any("softplus" in f.infix() for level in small_functions([0], ["add", "sin"]) for f in level)


def test_a_function_of_numpy_has_a_source_and_another_is_named() -> None:
    register({"arsinh": np.arcsinh})
    assert "np.array(2*np.arcsinh(a))" in numpy_source(parse("2*arsinh(x0)"), ["a"])
    with pytest.raises(SourceError, match="operator 'softplus' has no form"):
        numpy_source(parse("softplus(x0)"), ["a"])


def test_a_discovery_without_a_source_keeps_its_other_files(tmp_path: Path) -> None:
    chosen = Candidate(parse("softplus(x0) + distance(x0, x1)"), 6, 0.0, 0.0)
    rows = INPUTS, chosen.expression(INPUTS)
    made = Discovery("t.csv", "y", ("a", "b"), "y", ("a", "b"), ParetoFront([chosen]), chosen, train=rows)
    names = [path.name for path in write(tmp_path, made)]
    assert names == ["equations.csv", "equation.tex", "model.json", "report.html"]
    assert read(tmp_path).chosen == chosen
    assert "softplus" in (tmp_path / "report.html").read_text()


def test_a_crew_in_another_process_knows_it() -> None:
    register({"fold": lambda a: np.abs(np.mod(a, 2.0) - 1.0)})
    task = RegressionTask(INPUTS, 3 * np.abs(np.mod(INPUTS[:, 0], 2.0) - 1.0) + 1)
    offer = Offer((0, 1), ("add", "mul", "fold"), 20, None, (parse("fold(x0)"),), evaluations=1)
    crew = RemoteCrew(task, offer, None)
    try:
        assert crew.is_up(wait=True)
        crew.begin_turn("genetic_programming", [], None)
        found = crew.report().found
    finally:
        crew.end()
    assert min(found, key=lambda pair: pair[0])[1] == parse("fold(x0)")
