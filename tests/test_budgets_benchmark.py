"""The suite `budgets` times a whole call, and says whether its budget was kept."""

from __future__ import annotations

from benchmarks.budgets import SUITE, allowed, run
from benchmarks.cells import OK, Cell, Record


def test_a_search_is_timed_from_the_call_to_its_return() -> None:
    cell = Cell("budgets", "regression", "8x20", 1, {"seconds": 2.0})
    measured = run(cell)
    assert 0 < measured["seconds"] < 60
    assert 0 < measured["before"] <= measured["peak"] < 3
    assert measured["front"] >= 1
    late = Record(Cell("budgets", "regression", "8x20", 2, {"seconds": 2.0}), OK, measured | {"seconds": 3.3})
    [grid] = SUITE.report([Record(cell, OK, measured | {"seconds": 3.1}), late]).grids
    [row] = grid.rows
    assert row[:4] == ["regression", "8x20", "2", "3.30"]
    assert "NO" in row
    assert allowed(2.0) == 3.2
