"""The suite `coverage`, tiny: its laws, its errors, its shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.cells import OK, Cell, Record
from benchmarks.coverage import SUITE, laws, run, table_of
from datamodules.tables.problems import Problem

SETTINGS = SUITE.settings | {"laws": 6, "bootstrap_every": 3, "resamples": 20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coverage")


@pytest.fixture(scope="module")
def found(folder: Path) -> list[Problem]:
    return laws(6, 5, folder / "coverage")


def test_laws_are_known_and_their_constants_can_be_told(found: list[Problem], folder: Path) -> None:
    again = laws(6, 5, folder / "coverage")  # from the file
    assert [(law.truth, law.source) for law in again] == [(law.truth, law.source) for law in found]
    assert len({law.truth for law in found}) == 6
    assert all(0 < len(law.truth.constants) <= 5 for law in found)


@pytest.mark.parametrize("errors", coverage.ERRORS)
def test_a_table_is_as_noisy_as_its_name_says(errors: str, found: list[Problem]) -> None:
    law = found[0]
    inputs, target, spread = table_of(law, 5_000, 20, errors, np.random.default_rng(0))
    truth = law.truth(inputs)
    assert np.std(target - truth) / np.std(truth) == pytest.approx(0.2, rel=0.1)
    assert np.std((target - truth) / spread) == pytest.approx(1.0, rel=0.1)
    assert (np.ptp(spread) == 0) == (errors == "equal")


def test_cells_are_told_apart_in_the_table(found: list[Problem], folder: Path) -> None:
    records = []
    for method in coverage.METHODS:
        cell = Cell("coverage", method, "rows20_noise5_equal", 1, SETTINGS, str(folder))
        records.append(Record(cell, OK, run(cell)))
    [grid] = SUITE.report(records).grids
    by_method = {row[0]: dict(zip(grid.columns, row, strict=True)) for row in grid.rows}
    assert set(by_method) == {f"{method}, equal" for method in coverage.METHODS}
    whole, part = by_method["interval, equal"], by_method["bootstrap, equal"]
    assert int(whole["constants"]) > int(part["constants"]) > 0
    assert float(whole["held"].split()[0]) > 50.0
    assert 0.5 < float(part["width"]) < 2.0
    assert whole["width"] == part["curve"] == "-"
    assert float(whole["curve"].split()[0]) > 50.0


def test_a_missed_constant_is_counted_on_its_side() -> None:
    cell = Cell("coverage", "interval", "rows20_noise5_equal", 1, SETTINGS)
    table = {
        "held": [True, True, False, False], "below": [False, False, True, False],
        "parabola": [False] * 4,
        "bounded": [True, False, True, True], "ratio": [], "band": [0.5, 1.0],
    }  # fmt: skip
    [grid] = SUITE.report([Record(cell, OK, {"tables": [table], "cpu_seconds": 0.01})]).grids
    [row] = grid.rows
    assert row[3:] == ["4", "50.0 %", "0.0 %", "25.0 %", "25.0 %", "25.0 %", "-", "50.0 %", "100.0 %", "10.0"]


def test_a_kind_of_errors_stands_for_all_of_its_problems() -> None:
    assert len(SUITE.expand("growing")) == 9
    assert set(SUITE.expand("growing")) <= set(SUITE.problems(SETTINGS))
    assert SUITE.expand("rows20_noise5_equal") == ["rows20_noise5_equal"]
