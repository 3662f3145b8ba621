"""Genetic programming: what it finds, what it respects, and what it does with hostile data."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from expressions.canonical_form import canonical_key
from expressions.equivalence import equivalent
from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, OPERATORS
from expressions.parsing import parse
from searches.common.regression_task import RegressionTask
from searches.evolution.island import Island
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search
from searches.pareto_front import EXACT_NMSE
from searches.search_result import SearchResult


def normal(*size: int) -> np.ndarray:
    """The same numbers in whatever order tests run."""
    return np.random.default_rng(size).normal(size=size)


INPUTS = normal(100, 3)
HARD = INPUTS[:, 0] * np.exp(INPUTS[:, 1]) + np.sin(3 * INPUTS[:, 2]) + 0.01 * normal(100)
PAPER: dict[str, Any] = {
    "selection": "tournament",
    "constants": False,
    "linear_scaling": False,
    "always_vary": False,
    "refuse_duplicates": False,
    "mutations": {"subtree": 1.0},
}


def settings(**changes: Any) -> GeneticProgrammingSettings:
    short: dict[str, Any] = {"population": 40, "generations": 5, "seconds": None, "simplify_seconds": 0.0}
    return GeneticProgrammingSettings(**({"linked_sums": 0} | short | changes))


def run(target: np.ndarray, inputs: np.ndarray = INPUTS, seed: int = 1, **changes: Any) -> SearchResult:
    call = {key: changes.pop(key) for key in ("validation", "seeds", "workers", "on_generation") if key in changes}
    return search(inputs, target, settings(**changes), seed=seed, **call)


def found(result: SearchResult) -> list[Any]:
    return [(c.expression.infix(), c.complexity, c.train_nmse, c.validation_nmse) for c in result.front]


# --- what it finds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("x0**2 + x1", {}),
        ("sin(x0) + x1 + 2", {}),
        ("x0/x2", {}),
        ("3.25*x1 - 1.5", {}),
        ("exp(-x0**2)", {}),
        ("x0**2 + x1", {"linear_scaling": False}),
        ("x1*sin(x0) + x2", PAPER | {"population": 150}),
    ],
)
def test_finds_the_formula_and_stops(text: str, changes: dict[str, Any]) -> None:
    truth = parse(text)
    result = run(truth(INPUTS), generations=200, simplify_seconds=3.0, **changes)
    assert result.stopped == "exact"
    assert result.counts["generations"] < 200
    assert result.best.error < EXACT_NMSE
    assert equivalent(result.best.expression, truth, normal(50, 3))
    assert result.best.complexity <= 12


def test_without_stop_when_exact_it_goes_on() -> None:
    result = run(parse("x0*x1")(INPUTS), generations=4, stop_when_exact=False)
    assert (result.stopped, result.counts["generations"]) == ("generations", 4)
    assert result.best.error < EXACT_NMSE


def test_same_seed_same_result_and_another_seed_another() -> None:
    before = np.random.get_state()[1].sum()  # noqa: NPY002
    first = found(run(HARD, seed=3))
    assert found(run(HARD, seed=3)) == first
    assert found(run(HARD, seed=4)) != first
    assert np.random.get_state()[1].sum() == before, "nobody else's generator is touched"  # noqa: NPY002


def test_the_number_of_workers_changes_nothing() -> None:
    islands = {"islands": 3, "migration_interval": 2, "migrants": 5, "population": 20}
    alone, spread = run(HARD, **islands), run(HARD, workers=2, **islands)
    assert found(spread) == found(alone)
    assert spread.evaluations == alone.evaluations
    assert [e["best_nmse"] for e in spread.history] == [e["best_nmse"] for e in alone.history]


def test_migration_carries_the_best_to_the_next_island() -> None:
    seed = parse("x0*exp(x1) + sin(3*x2)")
    islands = {"islands": 2, "population": 20, "migration_interval": 1, "migrants": 2, "generations": 2}
    task = RegressionTask(INPUTS, HARD)
    second = Island(task, settings(**islands), (1, 1))
    second.begin()
    alone = min(error for error, _ in second.best.values())
    first = Island(task, settings(**islands), (1, 0))
    first.begin([seed])
    best = min(error for error, _ in first.best.values())
    second.immigrate(first.emigrants(2))
    assert alone > 10 * best
    assert min(error for error, _ in second.best.values()) <= best * 1.001


def test_history_tells_of_every_generation() -> None:
    told: list[tuple[float, str]] = []
    result = run(HARD, on_generation=lambda entry, best: told.append((entry["generation"], best.infix())))
    assert [number for number, _ in told] == list(range(6))
    assert set(result.history[0]) == {
        "generation", "seconds", "evaluations", "evaluations_per_second",
        "best_nmse", "best_length", "front_size",
    }  # fmt: skip
    for name, direction in (("best_nmse", -1), ("evaluations", 1), ("seconds", 1)):
        assert all(direction * np.diff([entry[name] for entry in result.history]) >= 0)
    assert result.evaluations == result.history[-1]["evaluations"]


def test_a_front_is_scored_as_it_stands() -> None:
    held_out = normal(60, 3)
    truth = held_out[:, 0] * np.exp(held_out[:, 1]) + np.sin(3 * held_out[:, 2])
    result = run(HARD, validation=(held_out, truth))
    assert len(result.front) > 1
    for c in result.front:
        again = parse(c.expression.infix())
        for nmse, inputs, target in ((c.train_nmse, INPUTS, HARD), (c.validation_nmse, held_out, truth)):
            assert nmse == pytest.approx(np.mean((again(inputs) - target) ** 2) / np.var(target), rel=1e-12)
    others = [c for c in result.front if c is not result.best]
    for shorter, longer in pairwise(others):
        assert shorter.complexity < longer.complexity
        assert longer.error < shorter.error
    assert result.best in list(result.front)


# --- what it respects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", ["nsga2", "tournament"])
def test_limits_on_length_and_height(selection: str) -> None:
    limits = settings(max_length=9, max_height=4, selection=selection)
    island = Island(RegressionTask(INPUTS, HARD), limits, (1, 0))
    island.begin()
    for _ in range(4):
        island.step()
    assert island.population
    assert len(island.population) <= limits.population + 1
    for individual in island.population:
        assert len(individual) <= 9
        assert individual.height <= 4
    for _, expression in island.best.values():
        assert len(expression) <= 9
        assert expression.depth <= 4


def test_no_constant_where_none_is_allowed() -> None:
    result = run(HARD, constants=False, linear_scaling=False)
    assert all(not len(c.expression.constants) for c in result.front)
    scaled = run(HARD, constants=False)  # scale and offset are not part of the tree
    assert all(len(c.expression.constants) <= 2 for c in scaled.front)
    assert scaled.best.error < result.best.error


def test_only_the_operators_given() -> None:
    result = run(HARD, operators=("add", "mul", "sin"), linear_scaling=False)
    used = {
        OPERATORS[token - 1].name
        for c in result.front
        for token in c.expression.tokens.tolist()
        if CONSTANT < token < FIRST_VARIABLE
    }
    # the canonical form may write a sum with a negative constant as a difference, a product of equals as a power
    assert used <= {"add", "mul", "sin", "sub", "neg", "square", "cube", "pow4", "pow5", "pow6"}


@pytest.mark.parametrize("constants", [True, False])
def test_known_skeletons_are_refused(constants: bool) -> None:
    once = settings(skeleton_tries=1, constants=constants)
    island = Island(RegressionTask(INPUTS, HARD), once, (1, 0))
    tried: list[bytes] = []
    screen = island.task.screen

    def watched(expressions: Any) -> np.ndarray:
        tried.extend(canonical_key(e, constants=not constants) for e in expressions)
        return screen(expressions)

    island.task.screen = watched  # type: ignore[method-assign]
    island.begin()
    for _ in range(4):
        island.step()
    assert len(tried) > 60
    assert len(set(tried)) == len(tried)
    keys = [individual.key for individual in island.population]
    assert len(set(keys)) == len(keys)


def test_linear_scaling_is_least_squares() -> None:
    target = 7.0 * np.tanh(INPUTS[:, 0]) - 300.0
    task = RegressionTask(INPUTS, target)
    expressions = [parse(text) for text in ("tanh(x0)", "x0", "x1", "2.5", "log(x0)")]
    errors = task.screen(expressions)
    for expression, error in zip(expressions[:3], errors[:3], strict=True):
        values = expression(INPUTS)
        fit = np.polynomial.Polynomial.fit(values, target, 1)(values)
        assert error == pytest.approx(np.mean((fit - target) ** 2) / np.var(target), rel=1e-4, abs=1e-10)
    assert errors[3] == pytest.approx(1.0)
    assert errors[4] == np.inf
    (equation,) = task.complete(expressions[:1], iterations=0)
    np.testing.assert_allclose(equation(INPUTS), target, rtol=1e-12)


def test_rows_that_are_searched_hold_the_extremes() -> None:
    inputs = normal(5000, 4)
    inputs[17, 2] = 1e6
    task = RegressionTask(inputs, inputs.sum(axis=1), search_rows=300)
    assert len(task.search_target) == 300
    assert task.search_inputs.max() == 1e6
    for j in range(4):
        assert inputs[:, j].min() in task.search_inputs[:, j]
        assert inputs[:, j].max() in task.search_inputs[:, j]


# --- seeds ------------------------------------------------------------------------------------------------------


def test_a_seed_that_is_the_answer_is_found_at_once() -> None:
    truth = "x1*sin(x0**2 + 3)/(1.5 + exp(x2))"
    target = parse(truth)(INPUTS)
    result = run(target, seeds=[parse("x0"), parse(truth)], generations=100)
    assert (result.stopped, result.counts["generations"]) == ("exact", 0)
    assert equivalent(result.best.expression, parse(truth), INPUTS)


def test_a_seed_in_other_operators_is_used_all_the_same() -> None:
    text = "-(1/x2)*2 - x0**3 + 5"
    result = run(parse(text)(INPUTS), seeds=[parse(text)], generations=100)
    assert (result.stopped, result.counts["generations"]) == ("exact", 0)


def test_seeds_that_cannot_be_used_are_passed_over() -> None:
    seeds = [parse("atan(x0)"), parse("x0**x1"), parse("x7 + x0"), parse("+".join(["x0"] * 90))]
    assert found(run(HARD, seeds=seeds, generations=1)) == found(run(HARD, generations=1))


# --- budgets ----------------------------------------------------------------------------------------------------


def test_generations() -> None:
    result = run(HARD, generations=0)
    assert (result.stopped, result.counts["generations"], len(result.history)) == ("generations", 0, 1)
    assert run(HARD, generations=3).counts["generations"] == 3


def test_evaluations() -> None:
    limit = run(HARD, generations=1).evaluations + 1
    result = run(HARD, generations=None, evaluations=limit)
    assert (result.stopped, result.counts["generations"]) == ("evaluations", 2)
    assert result.history[-2]["evaluations"] < limit <= result.evaluations


def test_seconds() -> None:
    begun = time.perf_counter()
    result = run(HARD, generations=None, seconds=1.0, stop_when_exact=False)
    assert result.stopped == "seconds"
    assert time.perf_counter() - begun < 10
    result = run(HARD, generations=None, seconds=1e-6)
    assert (result.stopped, result.counts["generations"]) == ("seconds", 0), "one generation there is always"


# --- hostile data -----------------------------------------------------------------------------------------------

QUADRATIC = INPUTS[:, 0] ** 2 + INPUTS[:, 1]


@pytest.mark.parametrize(
    ("inputs", "target", "words"),
    [
        (INPUTS, np.full(100, 0.1), "the target is 0.1 on every row"),
        (INPUTS[:1], HARD[:1], "on every row"),
        (INPUTS[:0], HARD[:0], "not \\[rows, variables\\]"),
        (INPUTS, HARD[:50], "not \\[rows, variables\\]"),
        (INPUTS[:, 0], HARD, "not \\[rows, variables\\]"),
        (np.where(INPUTS > 2, np.nan, INPUTS), HARD, "not finite"),
        (INPUTS, np.where(HARD > 1, np.inf, HARD), "not finite"),
        (INPUTS, HARD * 1e200, "scale it"),
        (INPUTS, HARD * 1e-200, "scale it"),
    ],
)
def test_data_that_cannot_be_searched(inputs: np.ndarray, target: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(target, inputs)


def test_two_rows() -> None:
    """Every line meets two rows, so none is called exact."""
    result = run(HARD[:2], INPUTS[:2])
    assert result.stopped == "generations"
    assert not result.best.exact
    assert np.isfinite(result.best.expression(INPUTS[:2])).all()


@pytest.mark.parametrize("scale", [1e30, 1e-30, 1e60, 1e-60])
@pytest.mark.parametrize("linear_scaling", [True, False])
def test_huge_and_tiny_targets(scale: float, linear_scaling: bool) -> None:
    result = run(scale * QUADRATIC, generations=20, linear_scaling=linear_scaling)
    assert result.best.error < (1e-9 if linear_scaling else 1.1)


@pytest.mark.parametrize("offset", [1e6, 1e9, -1e12])
def test_a_target_far_from_zero(offset: float) -> None:
    result = run(QUADRATIC + offset, generations=60)
    assert result.best.error < 1e-6


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_huge_and_tiny_inputs(scale: float) -> None:
    task = RegressionTask(INPUTS * scale, INPUTS[:, 0] + INPUTS[:, 1])
    assert task.screen([parse("x0 + x1")])[0] < 1e-10
    assert task.screen([parse("x0 - x1"), parse("x0 + x1"), parse("2.0")])[1] < 1e-10
    result = run(INPUTS[:, 0] + INPUTS[:, 1], INPUTS * scale, generations=10)
    assert result.best.error < 1e-9


def test_a_constant_column_and_one_that_is_nearly_constant() -> None:
    inputs = INPUTS.copy()
    inputs[:, 2] = 5.0
    assert run(QUADRATIC, inputs, generations=20).best.error < 1e-9
    inputs[:, 2] += 1e-13 * normal(100)
    assert run(QUADRATIC, inputs, generations=20).best.error < 1e-9


def test_thirty_columns_of_noise_and_one_that_counts() -> None:
    inputs = normal(200, 31)
    result = run(inputs[:, 30] ** 2, inputs, generations=60, search_rows=100, simplify_seconds=3.0)
    assert result.best.error < EXACT_NMSE
    assert 30 in result.best.expression.variables
    assert len(result.best.expression.variables) <= 2


def test_outliers_keep_it_finite() -> None:
    target = QUADRATIC.copy()
    target[:3] = 1e6
    result = run(target)
    assert result.best.error < 1.0
    assert np.isfinite(result.best.expression(INPUTS)).all()


@pytest.mark.parametrize("linked_sums", [0, 40])
def test_equations_that_fail_on_a_held_out_row_are_left_out(linked_sums: int) -> None:
    inputs = np.abs(INPUTS) + 0.1
    held_out = (-inputs, inputs[:, 0])
    result = run(np.log(inputs[:, 0]), inputs, validation=held_out, stop_when_exact=False, linked_sums=linked_sums)
    assert all(np.isfinite(c.expression(-inputs)).all() for c in result.front)


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operators": ("add", "sinus")}, "'sinus' is unknown; did you mean sin"),
        ({"operators": ("sin", "cos")}, "none with two arguments"),
        ({"operators": ()}, "none with two arguments"),
        ({"operators": "add"}, "it must be a list"),
        ({"mutations": {"exchange": 1.0}}, "'exchange' is unknown; allowed: affine"),
        ({"mutations": {"term": -1.0}}, "mutations.term=-1.0"),
        ({"mutations": ["term"]}, "it must be a mapping"),
        ({"selection": "roulette"}, "it must be one of nsga2, tournament"),
        ({"population": 0}, "population=0 is not allowed: it must be a whole number, at least 2"),
        ({"population": "many"}, "population=many is not allowed"),
        ({"islands": 0}, "islands=0"),
        ({"constants": "yes"}, "constants=yes is not allowed: it must be true or false"),
        ({"crossover": 1.5}, "crossover=1.5 is not allowed: it must be a number from 0 to 1"),
        ({"first_height": (3, 1)}, "first_height"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"generations": None}, "no budget"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings(**changes)


def test_limits_that_nothing_can_keep_are_refused() -> None:
    with pytest.raises(ValueError, match="max_length=1 and max_height=12"):
        run(HARD, max_length=1)


def test_a_mutation_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the mutations ridge"):
        run(HARD, mutations={"ridge": 1.0}, constants=False)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_operator_of_the_table_can_be_searched_with(name: str) -> None:
    operators = ("add", name) if name != "add" else ("add",)
    result = run(HARD, operators=operators, generations=2, population=15)
    assert result.best.error <= 1.0 + 1e-9
    assert isinstance(result.best.expression, Expression)
