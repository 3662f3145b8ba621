"""The portfolio of all searches: one front, one budget, any units, any width, the same result again."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace

import numpy as np
import pytest

from expressions.equivalence import equivalent
from expressions.parsing import parse
from searches import portfolio
from searches.pareto_front import EXACT_NMSE
from searches.portfolio import METHODS, PortfolioSettings, Progress, search
from searches.portfolio_members import stock_taking
from searches.portfolio_members.allocation import Allocation, code_length
from searches.portfolio_members.crew import possible_methods
from searches.portfolio_members.screening import relevant_columns
from searches.portfolio_members.stock_taking import StockTaking
from searches.search_result import SearchResult

FEW = PortfolioSettings(seconds=None, evaluations=1500, polish_equations=2)
ENOUGH = replace(FEW, evaluations=20_000)  # for regression, too
EVOLVED = replace(FEW, methods=("genetic_programming", "structures"), polish_equations=1)
ROWS = np.random.default_rng(9).uniform(1, 3, (50, 60))


def table(rows: int = 80, columns: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A law that regression does not find at once, with noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(0.5, 2.5, (rows, columns))
    return inputs, np.sin(inputs[:, 0] * inputs[:, 1] + np.exp(inputs[:, 0])) + 0.1 * rng.normal(size=rows)


def equations(result: SearchResult) -> list[str]:
    return [candidate.expression.infix() for candidate in result.front]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_seed_finds_the_same_equations(workers: int) -> None:
    first, again = (search(*table(), EVOLVED, seed=3, workers=workers) for _ in range(2))
    assert equations(first) == equations(again)
    assert first.history[-1]["best_nmse"] == again.history[-1]["best_nmse"]
    assert first.stopped == "evaluations"


def test_every_method_has_turns_and_alone_each_finds_something() -> None:
    together = search(*table(), replace(EVOLVED, evaluations=9000), seed=0)
    assert all(together.counts[method] for method in ("genetic_programming", "structures"))
    for method in ("regression", "genetic_programming", "structures"):
        inputs = ROWS[:, :2]
        target = inputs[:, 0] * inputs[:, 1] + np.sqrt(inputs[:, 0])
        alone = search(inputs, target, replace(FEW, evaluations=600, methods=(method,)), seed=0)
        assert list(alone.counts) == [method]
        assert alone.best.error < 1e-3


@pytest.mark.parametrize("scale", [1e-80, 1e-30, 1.0, 1e30, 1e80])
def test_any_units_are_searched_in(scale: float) -> None:
    rng = np.random.default_rng(0)
    mass, speed = rng.uniform(1, 3, (2, 60)) * np.array([[scale], [1e3]])
    result = search(np.stack([mass, speed], axis=1), 0.5 * mass * speed**2, ENOUGH, seed=0)
    assert result.stopped == "exact"
    assert equivalent(result.best.expression, parse("0.5*x0*x1**2"), np.stack([mass, speed], axis=1))


def test_rows_of_weight_zero_do_not_count() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(1, 3, (80, 2))
    target, weights = inputs[:, 0] ** 2 * inputs[:, 1], np.ones(80)
    target[:10], weights[:10] = 1e3, 0.0
    result = search(
        inputs,
        target,
        PortfolioSettings(seconds=None, evaluations=8000, methods=("genetic_programming",)),
        seed=0,
        weights=weights,
    )
    assert equivalent(result.best.expression, parse("x0**2*x1"), ROWS)


def test_a_wide_table_is_searched_in_the_columns_that_matter() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(1, 3, (120, 60))
    result = search(inputs, inputs[:, 7] * inputs[:, 31] + 2 * inputs[:, 55], ENOUGH, seed=0)
    assert equivalent(result.best.expression, parse("x7*x31 + 2*x55"), ROWS)
    assert "12 of 60 columns" in result.notes[0]


def test_columns_that_matter_only_together_are_found() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(200, 40))
    chosen = relevant_columns(inputs, inputs[:, 5] * inputs[:, 6], 4)
    assert {5, 6} <= set(chosen.tolist())
    assert len(chosen) == 4


def test_a_long_table_is_refined_on_some_rows_and_scored_on_all() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(1, 3, (3000, 2))
    target = 1.7 * inputs[:, 0] / inputs[:, 1] + 0.01 * rng.normal(size=3000)
    settings = PortfolioSettings(seconds=None, evaluations=500, fit_rows=200, methods=("genetic_programming",))
    best = search(inputs, target, settings, seed=0, validation=(inputs[:900], target[:900])).best
    values = best.expression(inputs)
    assert best.train_nmse == pytest.approx(np.mean((values - target) ** 2) / np.var(target), rel=1e-9)
    slope = float(values @ target / (values @ values))
    assert slope == pytest.approx(1.0, abs=1e-4)  # as only a fit to all rows gives it


def test_a_guess_is_a_start() -> None:
    inputs, _ = table()
    guess = parse("sin(x0*x1 + exp(x0))")
    target = guess(inputs)
    settings = PortfolioSettings(seconds=None, evaluations=1, methods=("genetic_programming",))
    assert search(inputs, target, settings, seed=0, seeds=[guess]).best.error < EXACT_NMSE


def test_the_front_keeps_to_the_largest_complexity() -> None:
    settings = replace(EVOLVED, max_complexity=9)
    assert max(candidate.complexity for candidate in search(*table(), settings, seed=0).front) <= 9


def test_progress_is_reported_and_a_stop_is_heard() -> None:
    seen: list[Progress] = []
    settings = PortfolioSettings(seconds=60.0)
    begun = time.perf_counter()
    result = search(*table(), settings, seed=0, on_progress=seen.append, should_stop=lambda: bool(seen))
    assert result.stopped == "interrupted"
    assert len(seen) == 1
    assert len(seen[0].front)
    assert time.perf_counter() - begun < 30


def test_an_interrupt_gives_what_was_found() -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    result = search(*table(), PortfolioSettings(seconds=60.0), seed=0, on_progress=interrupt)
    assert result.stopped == "interrupted"
    assert len(result.front)


def test_a_worker_that_is_killed_is_gone_on_without() -> None:
    def kill(progress: Progress) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    result = search(*table(), replace(EVOLVED, evaluations=3000), seed=0, workers=2, on_progress=kill)
    assert result.stopped == "evaluations"
    assert "killed" in result.notes[-1]


def test_methods_that_cannot_work_are_left_out() -> None:
    assert possible_methods(METHODS, ("add", "mul"), has_map=True) == ["regression", "genetic_programming", "map"]
    with pytest.raises(ValueError, match="allow another method"):
        search(*table(), PortfolioSettings(seconds=None, evaluations=10, methods=("map",)), seed=0)


def test_time_goes_to_what_lowers_the_description_length() -> None:
    allocation = Allocation(["genetic_programming", "structures"])
    spent = {"genetic_programming": 0, "structures": 0}
    for _ in range(300):
        method = allocation.next(allocation.methods)
        spent[method] += 1
        allocation.note(method, 1.0, 5.0 if method == "structures" else 0.0)
    fair = Allocation(["genetic_programming", "structures"])
    for _ in range(300):
        method = fair.next(fair.methods)
        spent[f"fair {method}"] = spent.get(f"fair {method}", 0) + 1
        fair.note(method, 1.0, 0.0)
    assert spent["structures"] > 1.5 * spent["fair structures"]


def test_a_few_rows_allow_few_constants() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(1, 3, (9, 2))
    result = search(inputs, rng.normal(size=9), replace(ENOUGH, evaluations=22_000), seed=0)
    assert max(len(candidate.expression.constants) for candidate in result.front) <= 5


def test_a_longer_equation_must_pay_for_its_nodes() -> None:
    x, line = parse("x0"), parse("2*x0 + 1")
    better = {1: (1e-2, x), 5: (1e-4, line)}
    assert code_length(better, 100, 12) < code_length({1: (1e-2, x)}, 100, 12)
    assert code_length({1: (1e-2, x), 5: (0.0099, line)}, 100, 12) == code_length({1: (1e-2, x)}, 100, 12)


@pytest.mark.parametrize(("noise", "seed"), [(0.3, 2)])
def test_twice_the_time_does_not_pick_worse_on_these_tables(noise: float, seed: int) -> None:
    """By the rule that picks, on the same rows: two tables, no proof for all."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(0.5, 4.0, (60, 2))
    clean = 12.5 * inputs[:, 0] / (inputs[:, 0] + 1.75) + np.sin(2.0 * inputs[:, 1])
    target = clean + noise * clean.std() * rng.normal(size=60)
    held_out = (inputs[45:], target[45:])
    codes = [
        search(
            inputs[:45],
            target[:45],
            replace(ENOUGH, evaluations=budget, methods=("genetic_programming",), simplify_seconds=0.0),
            seed=seed,
            validation=held_out,
        ).best.code
        for budget in (18_000, 36_000)
    ]
    assert codes[1] <= codes[0]


@pytest.mark.parametrize(
    ("seconds", "first", "kept"),
    [(0.3, 0.18, 0.09), (1.0, 0.6, 0.3), (3.0, 0.75, 0.45), (10.0, 2.5, 1.5), (100.0, 5.0, 6.0)],
)
def test_a_short_search_leaves_time_to_search(seconds: float, first: float, kept: float) -> None:
    assert portfolio._first_seconds(seconds) == pytest.approx(first)
    assert portfolio._refining_seconds(seconds) == pytest.approx(kept)


@pytest.mark.parametrize(
    ("law", "stops", "stopped"),
    [("x0/x1", True, "settled"), ("x0/x1", False, "evaluations"), ("x0/x1 + 0.1*sin(9*x0)", True, "evaluations")],
)
def test_a_search_ends_when_only_noise_is_left(law: str, stops: bool, stopped: str) -> None:
    rng = np.random.default_rng(4)
    inputs = rng.uniform(0.5, 4.0, (200, 2))
    target = parse(law)(inputs) + 0.01 * rng.normal(size=200)
    settings = PortfolioSettings(
        seconds=None,
        evaluations=3_000,
        operators=("add", "sub", "mul", "div"),
        methods=("genetic_programming",),
        simplify_seconds=0.0,
        stop_when_settled=stops,
    )
    found = search(inputs, target, settings, seed=1)
    assert found.stopped == stopped
    assert found.best.expression.infix() == "x0/x1" or "sin" in law


@pytest.mark.parametrize(("fewest", "some"), [(0.0, True), (1e9, False)])
def test_stock_is_taken_after_some_seconds(monkeypatch: pytest.MonkeyPatch, fewest: float, some: bool) -> None:
    looks: list[float] = []
    monkeypatch.setattr(StockTaking, "_look", lambda taking, limit: looks.append(limit))
    monkeypatch.setattr(stock_taking, "_FEWEST_SECONDS", fewest)
    rng = np.random.default_rng(3)
    settings = PortfolioSettings(seconds=1e6, evaluations=4_000, methods=("genetic_programming",))
    search(rng.normal(size=(60, 2)), rng.normal(size=60), settings, seed=1)
    assert bool(looks) == some
