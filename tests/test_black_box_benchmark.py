"""The suite `blackbox`, tiny: its tables, its splits, its medians; no timing is asserted."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import blackbox
from benchmarks.black_box_tables import TABLES, installed_tables, read_table
from benchmarks.cells import FAILED, OK, Cell, Record
from benchmarks.regressors import REGRESSORS, regress
from benchmarks.rils_rols import from_rils_rols
from benchmarks.suites import suite
from expressions.parsing import parse
from foundation.errors import UserError

SETTINGS = blackbox.SUITE.settings | {"seconds": 0.5}


@pytest.mark.parametrize("name", installed_tables())
def test_every_table_has_measured_numbers_of_the_promised_size(name: str) -> None:
    inputs, target, features = read_table(name)
    assert 100 <= len(target) <= 20_640
    assert inputs.shape == (len(target), len(features))
    assert 3 <= len(features) <= 100
    assert np.isfinite(inputs).all()
    assert np.isfinite(target).all()
    assert (inputs.std(axis=0) > 0).all()
    assert TABLES[name].target not in features


def test_there_are_enough_tables() -> None:
    assert len(TABLES) >= 12
    assert set(installed_tables()) >= {name for name, table in TABLES.items() if table.package == "sklearn"}


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install faraway"):
        read_table("ozone")


def test_splits_hold_every_row_once_and_follow_from_the_seed() -> None:
    parts = blackbox.split(101, 3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(101))
    assert [len(part) for part in parts] == [57, 19, 25]
    assert [part.tolist() for part in blackbox.split(101, 3)] == [part.tolist() for part in parts]
    assert blackbox.split(101, 4)[2].tolist() != parts[2].tolist()


def test_methods_are_measured_and_an_absent_one_does_not_spoil_the_table() -> None:
    cells = [Cell("blackbox", method, "iris", 1, SETTINGS) for method in ("linear", "genetic_programming")]
    records = [Record(cell, OK, blackbox.run(cell)) for cell in cells]
    for record in records:
        json.dumps(record.result)
        assert 0.8 < record.result["r2"] < 1.0
        parse(record.result["infix"])
    lost = Record(Cell("blackbox", "gplearn", "iris", 1, SETTINGS), FAILED, reason="gone")
    grids = blackbox.report([*records, lost]).grids
    assert [row[0] for row in grids[0].rows] == ["linear", "genetic_programming", "gplearn"]
    assert grids[0].rows[0][3] == f"{records[0].result['r2']:.3f}"
    assert grids[0].rows[2][1] == FAILED
    assert grids[1].rows[0][0] == "iris, 150 x 3"


def test_a_failure_counts_as_one_and_sizes_are_medians() -> None:
    def record(method: str, seed: int, r2: float | None, size: int = 9) -> Record:
        cell = Cell("blackbox", method, "wine", seed, SETTINGS)
        facts = {"r2": r2, "size": size, "cpu_seconds": 1.0, "rows": 178, "features": 12}
        return Record(cell, FAILED, reason="gone") if r2 is None else Record(cell, OK, facts)

    records = [record("linear", seed, 0.5) for seed in (1, 2, 3)]
    records += [record("pyoperon", 1, None), record("pyoperon", 2, 0.9, 7), record("pyoperon", 3, 0.4, 31)]
    row = blackbox.report(records).grids[0].rows[1]
    assert row == ["pyoperon", "1", "3", "0.400", "0.40 wine", "1", "19", "1.0"], "median of -inf, .4 and .9"


@pytest.mark.parametrize("method", REGRESSORS)
def test_regressions_are_tuned_and_fit(method: str) -> None:
    rng = np.random.default_rng(1)
    inputs = rng.uniform(-2, 2, (80, 2))
    target = inputs[:, 0] ** 2 + inputs[:, 1]
    fitted = regress(method, inputs, target, 1)
    assert np.corrcoef(fitted.predict(inputs), target)[0, 1] > 0.9
    assert (fitted.size is None) == (method == "kernel_ridge")
    assert fitted.size is None or fitted.size > 20


def test_models_of_rils_rols_are_read() -> None:
    text = "((((x0/x1)*1.500000)+(-2.000000*(ln(x1))))+((sin(x0))**2))"
    rows = np.random.default_rng(2).uniform(1.0, 2.0, (9, 2))
    expected = 1.5 * rows[:, 0] / rows[:, 1] - 2 * np.log(rows[:, 1]) + np.sin(rows[:, 0]) ** 2
    assert np.allclose(from_rils_rols(text)(rows), expected)


@pytest.mark.skipif(importlib.util.find_spec("rils_rols") is None, reason="rils-rols is not installed")
def test_rils_rols_predicts_what_its_text_says() -> None:
    from benchmarks.rils_rols import search

    inputs = np.random.default_rng(3).uniform(1.0, 2.0, (50, 2))
    equation, predict = search(inputs, inputs[:, 0] * inputs[:, 1], seconds=1, seed=1)
    assert np.allclose(predict(inputs), equation(inputs), atol=1e-4)


def test_unknown_words_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean kernel_ridge"):
        suite("blackbox").cells(methods=["kernel"], problems=[], seeds=[1], settings={}, out=str(tmp_path))
