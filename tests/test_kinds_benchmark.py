"""The suite `kinds`: every generator's problems, and one block of each method's answers; no timing is asserted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import kinds
from benchmarks.cells import FAILED, OK, Cell, Record
from benchmarks.kind_problems.registry import KIND_PROBLEMS
from benchmarks.suites import suite

SETTINGS = kinds.SUITE.settings | {"seconds": 0.5}
SOME = (0, 1, 2, 3, 64, 70)


@pytest.mark.parametrize("kind", KIND_PROBLEMS)
def test_a_number_and_a_seed_give_one_problem_with_finite_rows(kind: str) -> None:
    problems = [KIND_PROBLEMS[kind](number, 24) for number in SOME]
    assert problems == [KIND_PROBLEMS[kind](number, 24) for number in SOME]
    assert len({problem.formula for problem in problems}) == len(SOME)
    assert problems[0].formula != KIND_PROBLEMS[kind](0, 25).formula
    for problem in problems:
        inputs, target = problem.sample(400, np.random.default_rng(1))
        assert inputs.shape == (400, len(problem.variables))
        assert np.isfinite(target).all()
        assert np.ptp(target) > 1e-9 * np.abs(target).max()


def test_a_block_is_answered_and_reported() -> None:
    cell = Cell("kinds", "direct", "polynomials/1", 1, SETTINGS)
    result = kinds.run(cell)
    json.dumps(result)
    names = [answer["name"] for answer in result["problems"]]
    assert names == [f"polynomials-{number:03d}" for number in range(1, 11)]
    lost = Record(Cell("kinds", "direct", "polynomials/2", 1, SETTINGS), FAILED, reason="killed")
    [grid] = kinds.report([Record(cell, OK, result=result), lost]).grids
    share = 100 * sum(answer["exact"] for answer in result["problems"]) / 20  # of both blocks
    assert grid.rows[0][:3] == ["direct", "20", f"{share:.1f} %"]


def test_a_search_answers_with_its_best_equation() -> None:
    [posed] = [KIND_PROBLEMS["polynomials"](0, 24)]
    cell = Cell("kinds", "regression", "polynomials/1", 1, SETTINGS)
    answer = kinds._answer(cell, posed)
    assert answer["size"] > 0
    assert 0 <= answer["nmse"] < 1
    assert answer["exact"] == (answer["nmse"] < kinds.EXACT_NMSE)


def test_a_kind_stands_for_its_blocks() -> None:
    cells = suite("kinds").cells(methods=["direct"], problems=["rationals"], seeds=[1], settings={}, out="")
    assert [cell.problem for cell in cells] == [f"rationals/{block}" for block in range(1, 21)]
