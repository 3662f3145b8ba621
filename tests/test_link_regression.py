"""Equations by regression: operators that are inverted, what they cost, and the sums that are found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest

from expressions.equivalence import recovered
from expressions.expression import Expression
from expressions.parsing import parse
from foundation.settings import SettingsError
from searches import genetic_programming
from searches.evolution.settings import DEFAULT_OPERATORS, GeneticProgrammingSettings
from searches.link_regression import LinkRegressionSettings, search
from searches.links.inverse_links import Divisors, InvertedTarget, inverted_once
from searches.links.sums import linked_sums, sums_of_parts
from searches.links.term_library import Material
from searches.links.terms import factors, monomial, small_functions
from searches.pareto_front import EXACT_NMSE

ROWS = np.random.default_rng(5).uniform(0.5, 3.0, (300, 4))
EVERYTHING = (*DEFAULT_OPERATORS, "inv", "atan", "asin", "acos")


def found(
    target: np.ndarray,
    inputs: np.ndarray = ROWS,
    operators: tuple[str, ...] = DEFAULT_OPERATORS,
    most: int = 20,
) -> list[Expression]:
    return linked_sums(inputs, target, operators, most)


def error(equation: Expression, truth: Callable[[np.ndarray], np.ndarray]) -> float:
    """On rows that nobody has seen, relative to the spread."""
    fresh = np.random.default_rng(6).uniform(0.5, 3.0, (300, 4))
    wanted = truth(fresh)
    return float(np.sqrt(np.mean(np.square(equation(fresh) - wanted))) / np.std(wanted))


# --- small functions --------------------------------------------------------------------------------------------


def test_monomials_are_products_and_quotients() -> None:
    assert monomial([(0, 2), (1, -1), (2, -3)]) == parse("x0**2/(x1*x2**3)", ["x0", "x1", "x2"])
    assert monomial([(1, -1), (0, -2)]).infix() == "1/(x1*x0**2)"


def test_no_small_function_is_listed_twice() -> None:
    levels = list(small_functions([0, 2, 3], EVERYTHING))
    everything = [function for level in levels for function in level]
    assert len(levels) == 3
    assert len(set(everything)) == len(everything) > 200
    assert {variable for function in levels[0] for variable in function.variables} == {0, 2, 3}
    assert max(len(function.variables) for function in levels[1]) == 2


def test_functions_are_of_the_operators_there_are() -> None:
    names = {"sin", "mul"}
    for function in [*factors([0, 1], names), *(f for level in small_functions([0, 1], names) for f in level)]:
        assert not {"cos(", "exp(", "log(", "tanh(", "sqrt("} & {
            part + "(" for part in function.infix().split("(")
        }


# --- inverting ---------------------------------------------------------------------------------------------------


def chains(target: np.ndarray, depth: int) -> list[InvertedTarget]:
    """Some of all targets with so many operators inverted."""
    divisors = Divisors.of([parse("x0"), parse("sin(x1)", ["x0", "x1"])], ROWS)
    rng = np.random.default_rng(0)
    level = [InvertedTarget((), target, np.ones_like(target))]
    for _ in range(depth):
        level = [each for one in level for each in inverted_once(one, EVERYTHING, divisors)]
        level = [level[k] for k in rng.permutation(len(level))[:40]]
    return level


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_is_inverted_can_be_restored(sign: float, depth: int) -> None:
    target = sign * np.random.default_rng(1).uniform(0.1, 0.9, len(ROWS))
    inverted = chains(target, depth)
    assert len(inverted) > 10
    for one in inverted:
        with_values = np.column_stack([ROWS, one.values])
        np.testing.assert_allclose(one.restored(Expression.variable(4))(with_values), target, rtol=1e-7)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_slopes_are_what_an_error_costs(sign: float) -> None:
    target = sign * np.random.default_rng(1).uniform(0.1, 0.9, len(ROWS))
    for one in [*chains(target, 1), *chains(target, 2)]:
        step = 1e-6 * np.abs(one.values)
        restored = one.restored(Expression.variable(4))
        up, down = (restored(np.column_stack([ROWS, one.values + s])) for s in (step, -step))
        np.testing.assert_allclose(np.abs(up - down) / (2 * step), one.slopes, rtol=1e-3)


def test_a_target_of_both_signs_has_no_root_and_no_logarithm() -> None:
    target = np.linspace(-1.0, 1.0, len(ROWS))
    nothing = Divisors.of([], ROWS)
    names = {
        one.steps[-1][0] for one in inverted_once(InvertedTarget((), target, np.ones(300)), EVERYTHING, nothing)
    }
    assert names == {"inv", "log", "asin", "atan"}


# --- what is found ----------------------------------------------------------------------------------------------

TRUTHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a sum": lambda x: 2.5 * x[:, 0] ** 2 - x[:, 1] / x[:, 2] + 0.3,
    "under a root": lambda x: np.sqrt(x[:, 0] ** 2 + 3 * x[:, 1] * x[:, 2] + 1.7),
    "one over a sum": lambda x: x[:, 3] / (1.5 + x[:, 0] / x[:, 1]),
    "over a difference": lambda x: (x[:, 0] * x[:, 2] + x[:, 1]) / (x[:, 0] + x[:, 3]),
    "an exponential": lambda x: x[:, 1] * np.exp(0.4 * x[:, 0] / x[:, 2] - x[:, 3]),
    "a product of powers": lambda x: 3.2 * x[:, 0] ** 1.5 / np.sqrt(x[:, 1] + x[:, 2]) * x[:, 3] ** 2,
    "negative": lambda x: -np.sqrt(2 * x[:, 0] + x[:, 1] ** 2) / x[:, 2],
    "a function with a scale": lambda x: x[:, 0] * np.tanh(x[:, 1] * x[:, 2]),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_equations_that_regression_finds(name: str) -> None:
    best, *_ = found(TRUTHS[name](ROWS))
    assert error(best, TRUTHS[name]) < 1e-9


def test_the_shortest_of_the_exact_ones_is_first() -> None:
    equations = found(2.0 * ROWS[:, 0] + ROWS[:, 1])
    exact = [one for one in equations if error(one, lambda x: 2 * x[:, 0] + x[:, 1]) < 1e-9]
    assert len(exact[0]) == min(map(len, exact)) <= 9
    assert equations[0] == exact[0]


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_units_do_not_matter(scale: float) -> None:
    truth = TRUTHS["one over a sum"]
    best, *_ = found(scale * truth(ROWS))
    assert error(best, lambda x: scale * truth(x)) < 1e-9


def test_noise_hides_digits_and_not_the_terms() -> None:
    rng = np.random.default_rng(3)
    clean = TRUTHS["under a root"](ROWS)
    equations = found(clean + 0.01 * clean.std() * rng.normal(size=len(clean)), most=100)
    assert min(error(one, TRUTHS["under a root"]) for one in equations) < 0.01


def test_the_same_equations_every_time() -> None:
    target = np.sin(ROWS[:, 0] * 1.7) + ROWS[:, 1]
    inputs = ROWS[:60, :2]
    assert found(target[:60], inputs) == found(target[:60], inputs)


def test_only_the_operators_there_are() -> None:
    for equation in found(TRUTHS["a sum"](ROWS), operators=("add", "mul")):
        assert not any(name in equation.infix() for name in ("sin", "exp", "sqrt", "log", "tanh"))


@pytest.mark.parametrize("rows", [2, 9])
def test_too_few_rows_give_nothing(rows: int) -> None:
    assert found(ROWS[:rows, 0], ROWS[:rows]) == []


def test_columns_that_say_nothing_are_no_harm() -> None:
    target = 3.0 * ROWS[:, 0] / ROWS[:, 1]
    inputs = np.column_stack([np.full(300, 7.0), ROWS, ROWS[:, 0], np.zeros(300), 1e200 * ROWS[:, 1]])
    best, *_ = found(target, inputs)
    np.testing.assert_allclose(best(inputs), target, rtol=1e-9)


HOSTILE: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "mostly 0": (ROWS, np.where(np.arange(300) < 200, 0.0, ROWS[:, 0])),
    "two values": (ROWS, np.where(ROWS[:, 0] > 1, 1.0, -1.0)),
    "one row apart": (ROWS, np.where(np.arange(300) == 0, 1e12, ROWS[:, 0])),
    "tiny": (1e-150 * ROWS, 1e-90 * ROWS[:, 0]),
    "huge": (1e150 * ROWS, 1e90 * ROWS[:, 0]),
    "nothing varies": (np.ones((300, 2)), ROWS[:, 0]),
    "all alike": (np.repeat(ROWS[:, :1], 4, axis=1), ROWS[:, 0] ** 2),
    "rows twice": (np.repeat(ROWS[:6], 50, axis=0), np.repeat(ROWS[:6, 0], 50)),
    "zeros": (np.where(ROWS > 1.5, 0.0, ROWS), ROWS[:, 0]),
    "one column": (ROWS[:, :1], ROWS[:, 1]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tables(name: str) -> None:
    inputs, target = HOSTILE[name]
    with np.errstate(all="ignore"):
        for equation in linked_sums(inputs, target, DEFAULT_OPERATORS, 10, seconds=1.0):
            assert np.isfinite(equation(inputs[:5])).all()


def test_of_many_columns_those_that_matter_are_looked_at() -> None:
    inputs = np.random.default_rng(8).uniform(0.5, 3.0, (300, 40))
    target = inputs[:, 31] ** 2 * inputs[:, 17] + inputs[:, 5]
    best, *_ = found(target, inputs)
    np.testing.assert_allclose(best(inputs), target, rtol=1e-9)


def test_a_limit_of_time_is_kept() -> None:
    target = np.random.default_rng(4).normal(size=300)
    begun = time.perf_counter()
    equations = linked_sums(ROWS, target, DEFAULT_OPERATORS, 10, seconds=0.0)
    limited = time.perf_counter() - begun
    linked_sums(ROWS, target, DEFAULT_OPERATORS, 10)
    assert equations
    assert limited < 0.7 * (time.perf_counter() - begun - limited)


# --- of parts of equations --------------------------------------------------------------------------------------

NAMES = ["x0", "x1", "x2", "x3"]


@pytest.mark.parametrize(
    ("truth", "others"),
    [
        ("atan(x0*(x0 - 1)) + 3*x1", ["0.3*sin(x1) + atan(x0*(x0 - 1))**2", "x1 + x2"]),
        ("2*sin(3.7*x0)*exp(0.4*x1*x2) - 5", ["x0 + sin(3.7*x0)", "1/(1 + exp(0.4*x1*x2))"]),
        ("x3/(1 + tanh(x0 + x1*x2))", ["log(2 + tanh(x0 + x1*x2))"]),
        ("sqrt(4 + cos(x0*x1*x2))", ["x3*cos(x0*x1*x2)"]),
    ],
)
def test_parts_of_equations_are_put_together(truth: str, others: list[str]) -> None:
    wanted = parse(truth, NAMES)
    equations = [parse(text, NAMES) for text in others]
    best, *_ = sums_of_parts(equations, ROWS, wanted(ROWS), EVERYTHING, 10)
    assert error(best, wanted) < 1e-9
    without = sums_of_parts([], ROWS, wanted(ROWS), EVERYTHING, 10)
    assert error(without[0], wanted) > 1e-3, "functions of one variable alone do not make it"


def test_of_parts_that_are_alike_the_first_counts() -> None:
    first = parse("sin(2*x0*x1)", NAMES)
    twins = [first, parse("sin(2.000001*x0*x1)", NAMES), parse("1 - 7*sin(2*x0*x1)", NAMES)]
    functions = Material.of_parts(twins, ROWS, EVERYTHING).libraries[0].functions
    assert [f for f in functions if "sin(2" in f.infix()] == [first]


def test_parts_that_are_nowhere_finite_and_too_few_rows_are_no_harm() -> None:
    hostile = [parse("log(x0 - 100)", NAMES), parse("exp(exp(exp(x0*x1)))", NAMES), Expression.constant(3.0)]
    [best] = sums_of_parts(hostile, ROWS, 2 * ROWS[:, 1] + 1, EVERYTHING, 1)
    assert error(best, lambda rows: 2 * rows[:, 1] + 1) < 1e-9
    assert sums_of_parts(hostile, ROWS[:9], ROWS[:9, 0], EVERYTHING, 5) == []
    assert sums_of_parts(hostile, ROWS, ROWS[:, 0], EVERYTHING, 0) == []


def test_no_equations_are_wanted() -> None:
    assert found(TRUTHS["a sum"](ROWS), most=0) == []
    assert len(found(TRUTHS["a sum"](ROWS), most=2)) == 2


# --- in a search ------------------------------------------------------------------------------------------------


def test_a_search_begins_with_them() -> None:
    truth = TRUTHS["over a difference"]
    options = {"generations": 0, "seconds": None, "simplify_seconds": 0.0, "population": 20}
    for count, exact in ((0, False), (40, True)):
        settings = GeneticProgrammingSettings(linked_sums=count, **options)  # type: ignore[arg-type]
        result = genetic_programming.search(ROWS, truth(ROWS), settings, seed=1)
        assert (error(result.best.expression, truth) < 1e-9) is exact
        assert (result.stopped == "exact") is exact


def test_operators_that_are_missing_are_written_otherwise() -> None:
    operators = ("add", "mul", "div", "sqrt")
    settings = GeneticProgrammingSettings(operators=operators, generations=0, seconds=None, simplify_seconds=0.0)
    result = genetic_programming.search(ROWS, TRUTHS["under a root"](ROWS), settings, seed=1)
    assert math.isclose(result.best.train_nmse, 0.0, abs_tol=1e-20)


# --- as a search ------------------------------------------------------------------------------------------------


def test_a_notebook_gets_a_front_from_regression_alone() -> None:
    settings = LinkRegressionSettings(simplify_seconds=0.0)
    rows = np.random.default_rng(2).uniform(0.5, 2.0, (300, 2))
    truth = parse("3*x0/sqrt(1 + x1**2)")
    result = search(rows[:200], truth(rows[:200]), settings, seed=0, validation=(rows[200:], truth(rows[200:])))
    assert result.stopped == "exact"
    assert result.best.error < EXACT_NMSE
    assert recovered(result.best.expression, truth)
    assert result.history == []
    assert 0 < result.counts["equations"] <= min(40, result.evaluations)
    sizes = [candidate.complexity for candidate in result.front]
    assert sizes == sorted(sizes)


def test_where_regression_finds_nothing_the_mean_stands() -> None:
    rows = ROWS[:5]
    result = search(rows, rows[:, 0], LinkRegressionSettings(simplify_seconds=0.0), seed=0)
    assert (result.stopped, result.counts["equations"]) == ("done", 0)
    assert float(result.best.expression.infix()) == pytest.approx(rows[:, 0].mean())


def test_its_settings_say_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"search\.equations=0 is not allowed"):
        LinkRegressionSettings.of({"equations": 0})
    with pytest.raises(SettingsError, match=r"search\.equation is not a key; did you mean search\.equations"):
        LinkRegressionSettings.of({"equation": 3})
    with pytest.raises(ValueError, match=r"the target is 1\.0 on every row"):
        search(ROWS, np.ones(len(ROWS)), seed=0)


def test_targets_over_many_decades_are_also_looked_at_with_relative_errors() -> None:
    rng = np.random.default_rng(3)
    inputs = rng.uniform([-15, -3, 0.01], [15, 3, 2], (200, 3))
    a, b, c = inputs.T
    target = np.exp(a) / (c**2 + b**2) ** 2
    best = linked_sums(inputs, target, DEFAULT_OPERATORS, 5)[0]
    assert np.abs(best(inputs) / target - 1.0).max() < 1e-8
