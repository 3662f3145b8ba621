"""The numbers behind the probability that an equation is the law: how they are fitted, and how they are judged."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import trust_calibration
from benchmarks.cells import OK, Cell, Ledger, Record
from benchmarks.trust_calibration import (
    Bin,
    Facts,
    brier_score,
    error_by_chance,
    expected_calibration_error,
    facts_of_pick,
    fitted,
    forecasts_of,
    is_law,
    reliability,
    said,
)
from benchmarks.trust_fronts import front_record
from benchmarks.trust_laws import Law
from benchmarks.trust_tables import NoisyTable, name_of, noisy_table
from expressions.expression import Expression
from expressions.measurements import Measurements
from expressions.parsing import parse
from searches.common.regression_task import RegressionTask
from searches.pareto_front import ParetoFront, pick
from searches.trust.calibration import read_calibration
from searches.trust.features import FEATURES, features_of
from searches.trust.rivalry import Rivalry


def result_of(table: NoisyTable, *front: Expression) -> tuple[dict[str, Any], ParetoFront]:
    """The result of a cell whose search found some equations, and the front itself."""
    weights = None if table.sigma is None else table.sigma**-2.0
    task = RegressionTask(table.inputs, table.target, weights=weights)
    fitted_ones = [task.refit(each, iterations=20) for each in front]
    found = ParetoFront([task.charged(task.judge(each, len(each))) for each in fitted_ones])
    result: dict[str, Any] = {
        "table": {},
        "rows": len(table),
        "places": None,
        "known_errors": table.sigma is not None,
        "front": front_record(list(found), table.inputs, table.target, weights, table),
    }
    return result, found


def tables(folder: Path, count: int) -> list[NoisyTable]:
    every = (noisy_table(name_of("templates_any", number), folder) for number in range(1_000))
    return [table for table, _ in zip((t for t in every if t.law.kind == "template"), range(count), strict=False)]


def test_what_is_fitted_is_what_the_product_sees(tmp_path: Path) -> None:
    for table in tables(tmp_path, 8):
        assert table.law.truth is not None
        result, front = result_of(table, parse("1.5"), parse("1.5*x0"), table.law.truth)
        features, entry = facts_of_pick(result, table)
        measurements = Measurements.of(table.inputs, table.target, sigma=table.sigma)
        assert features == pytest.approx(features_of(Rivalry.of(front, pick(front), measurements)))
        assert entry["infix"] == pick(front).expression.infix()


def test_another_spelling_of_the_law_is_the_law() -> None:
    truth = parse("(x1 - 2.0)/x0")
    inputs = np.random.default_rng(0).uniform(1.0, 3.0, (40, 2))
    law = Law("drawn", "", truth, truth, (1.0, 1.0), (3.0, 3.0))
    target = truth(inputs) + 0.01 * np.random.default_rng(1).normal(size=40)
    table = NoisyTable("by-hand", law, inputs, target, truth(inputs), None, 0.01, None, "uniform")
    found = ("x1/x0 - 2.1/x0", "x1/x0 - 2.1/x0 + 0.1*sin(x0)*x1 + 0.2", "x1/x0", "(x1 - 1.9)/x0")
    result, _ = result_of(table, *(parse(each) for each in found))
    assert [is_law(entry) for entry in result["front"]] == [True, False, False, True]
    longer = {"right": False, "fits": True, "spurious": 1}
    assert [is_law({**longer, "nmse": error}) for error in (1e-30, 1e-15)] == [True, False]


def test_a_constant_is_no_law_and_is_not_asked_about(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "trust.jsonl")
    table = tables(tmp_path / "trust", 1)[0]
    for seed, equation in enumerate((parse("1.5"), table.law.truth)):
        assert equation is not None
        result, _ = result_of(table, equation)
        ledger.add(Record(Cell("trust", "auto", table.name, seed, {"seconds": 2.0}), OK, result))
    facts = Facts.of([ledger.path])
    assert facts.constant.tolist() == [True, False]
    assert facts.right.tolist() == [False, True]
    assert facts.features.shape == (2, len(FEATURES))
    forecasts = forecasts_of(fitted(np.eye(len(FEATURES)), np.arange(len(FEATURES)) % 2 == 0, {}), facts)
    assert forecasts.probabilities[0] == 0.0 < forecasts.probabilities[1]


def test_the_judgement_by_hand() -> None:
    forecasts = np.array([0.1, 0.18, 0.96, 1.0])
    right = np.array([False, True, True, True])
    assert reliability(forecasts, right) == [Bin(2, pytest.approx(0.14), 0.5), Bin(2, pytest.approx(0.98), 1.0)]
    assert expected_calibration_error(forecasts, right) == pytest.approx(0.5 * 0.36 + 0.5 * 0.02)
    assert error_by_chance(np.full(100, 0.5)) == pytest.approx(0.04, abs=0.01)  # the mean of a normal deviation
    assert error_by_chance(np.ones(10)) == 0.0
    assert brier_score(forecasts, right) == pytest.approx((0.01 + 0.6724 + 0.0016) / 4)
    assert said(forecasts, np.array([False, True, True, False]), 0.95) == (0.5, 0.5)
    assert math.isnan(said(forecasts[:2], right[:2], 0.95)[1])


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and what comes true by a known chance."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, len(FEATURES))) * 3.0 + 1.0
    chance = 1.0 / (1.0 + np.exp(-(features[:, 0] - 0.5 * features[:, 3])))
    return features, rng.random(count) < chance


def test_a_regression_is_calibrated_on_what_it_has_not_seen() -> None:
    calibration = fitted(*drawn(2_000, 3), {})
    features, right = drawn(2_000, 4)
    forecasts = calibration.probabilities(features)
    assert expected_calibration_error(forecasts, right) < 0.05
    assert calibration.weights[0] > 0 > calibration.weights[3]
    assert brier_score(forecasts, right) < 0.8 * right.mean() * (1 - right.mean())


def test_the_command_fits_judges_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def facts(ledgers: list[Path]) -> Facts:
        features, right = drawn(400, len(ledgers))
        return Facts(features, right, np.zeros(400, dtype=bool), np.arange(400) % 4 == 0, np.full(400, 3.0))

    monkeypatch.setattr(Facts, "of", facts)
    written = tmp_path / "calibration.json"
    trust_calibration.main(["fit.jsonl", "--judge", "judge.jsonl", "--write", str(written)])
    told = capsys.readouterr().out
    assert "expected calibration error" in told
    assert "without noise: share certain" in told
    found = read_calibration(written.read_bytes())
    assert found.origin["fitted, tables"] == 400
    assert found.origin["fitted, seconds of a search"] == "3"
    assert found.origin["judged, all: tables"] == 400
    assert "fit.jsonl --judge judge.jsonl" in str(found.origin["command"])
    trust_calibration.main(["--keep", "--judge", "judge.jsonl"])
    assert "Reliability" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        trust_calibration.main(["fit.jsonl", "--keep", "--judge", "judge.jsonl"])
