"""The suite `generated`, tiny: its problems, its budgets, its shares; no timing is asserted."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import generated
from benchmarks.cells import FAILED, OK, Cell, Record
from benchmarks.generated_problems import generated_problems, is_a_question
from benchmarks.srbench import sample
from datamodules.settings.streams import PoolSettings
from datamodules.streams.skeleton_pool import benchmark_fingerprints, split_of
from datamodules.tables.problems import Problem, Uniform
from expressions.parsing import parse
from expressions.skeleton import fingerprints, skeleton_of

SETTINGS = generated.SUITE.settings | {"seconds": 0.6, "count": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


def test_problems_are_balanced_held_out_and_none_of_the_catalogue(folder: Path) -> None:
    problems = generated_problems(5, 7, folder / "generated")
    assert list(problems) == ["g001", "g002", "g003", "g004", "g005"]
    assert [len(problem.variables) for problem in problems.values()] == [2, 3, 4, 5, 6]
    keys = fingerprints([skeleton_of(problem.truth) for problem in problems.values()])
    assert not benchmark_fingerprints(PoolSettings().exclude) & set(keys)
    assert {split_of(key) for key in keys} == {"test"}
    assert all(len(skeleton_of(problem.truth)) <= 20 for problem in problems.values())
    again = generated_problems(5, 7, folder / "generated")  # from the file
    assert again == problems


@pytest.mark.parametrize(
    ("formula", "question"),
    [("2*x0 - x1/3 + 1", False), ("x0*x1", True), ("x0**2 + 0*x1", False), ("x0**2 + 1e-7*x1", False)],
)
def test_lines_and_idle_variables_are_left_out(formula: str, question: bool) -> None:
    posed = Problem("one", ("one",), formula, ("x0", "x1"), "y", parse(formula), Uniform((1, 1), (2, 3)), 300, 300)
    assert is_a_question(posed) == question


def test_rows_to_judge_by_are_fresh_and_a_simulation_has_enough(folder: Path) -> None:
    from datamodules.tables.problems import problem

    inputs, target, test_inputs, test_target = generated.rows_of(problem("I.12.5"), 1)
    assert inputs.shape == test_inputs.shape == (300, 2)
    assert not set(map(tuple, inputs)) & set(map(tuple, test_inputs))
    assert len(generated.rows_of(problem("strogatz_lv1"), 1)[3]) == 100
    assert np.isfinite(target).all()
    assert np.isfinite(test_target).all()


def test_budgets_are_those_below_the_longest_and_the_longest() -> None:
    assert generated.budgets({"seconds": 30.0}) == [1.0, 3.0, 10.0, 30.0]
    assert generated.budgets({"seconds": 10.0}) == [1.0, 3.0, 10.0]
    assert generated.budgets({"seconds": 5.0}) == [1.0, 3.0, 5.0]


def test_an_exact_run_is_scored_on_fresh_rows(folder: Path) -> None:
    cell = Cell("generated", "regression", "I.12.5", 1, SETTINGS, str(folder))
    result = generated.run(cell)
    json.dumps(result)
    only = result["budgets"]["0.6"]
    assert only["exact"]
    assert only["size"] == result["true_size"] == 3
    assert only["first_seconds"] > 0
    cell = Cell("generated", "genetic_programming", "g001", 1, SETTINGS, str(folder))
    assert generated.run(cell)["budgets"]["0.6"]["nmse"] >= 0


def test_shares_count_failures_and_sets_stand_apart() -> None:
    def record(name: str, error: float | None) -> Record:
        cell = Cell("generated", "pyoperon", name, 1, SETTINGS)
        if error is None:
            return Record(cell, FAILED, reason="gone")
        run = {
            "nmse": error,
            "exact": error < 1e-12,
            "refitted": error < 1e-4,
            "size": 7,
            "first_seconds": None,
            "cpu_seconds": 2.0,
        }
        return Record(cell, OK, {"budgets": {"1": run}, "true_size": 5})

    records = [record("g001", 1e-13), record("g002", 1e-5), record("g003", 0.5), record("g004", None)]
    grids = generated.report([*records, record("I.12.5", 0.0), record("I.39.1", 0.0)]).grids
    assert grids[0].rows == [["pyoperon, 1 s", "4", "25.0 %", "50.0 %", "50.0 %", "7.0", "-", "2.0", "2.0"]]
    assert grids[1].title.endswith("sample44")
    assert grids[1].rows[0][2] == "100.0 %"


def test_constants_of_single_precision_are_fitted_again() -> None:
    from datamodules.tables.problems import problem

    rows = generated.rows_of(problem("I.39.1"), 1)  # 3/2*pr*V
    assert generated._error(parse("1.50001*x0*x1"), *rows[2:]) > generated.EXACT_NMSE
    assert generated._refitted_error(parse("1.50001*x0*x1"), *rows) < generated.EXACT_NMSE
    assert generated._refitted_error(parse("1.5*x0*x1**2"), *rows) > generated.EXACT_NMSE


def test_budgets_stand_in_order_whatever_the_order_of_their_texts() -> None:
    run = {"nmse": 0.5, "exact": False, "refitted": False, "size": 7, "first_seconds": 0.1, "cpu_seconds": 2.0}
    cell = Cell("generated", "auto", "g001", 1, SETTINGS)
    budgets = dict.fromkeys(("1", "10", "3"), run)  # as the ledger sorts them
    grids = generated.report([Record(cell, OK, {"budgets": budgets, "true_size": 5})]).grids
    assert [row[0] for row in grids[0].rows] == ["auto, 1 s", "auto, 3 s", "auto, 10 s"]


def test_words_stand_for_sets_of_problems() -> None:
    cells = generated.SUITE.cells(
        methods=["auto"], problems=["first3", "sample44"], seeds=[1], settings={}, out=""
    )
    assert [cell.problem for cell in cells] == ["g001", "g002", "g003", *sample()]
