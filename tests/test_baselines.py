"""What a formula is compared with: right, quick, and silent where rows are too few."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from expressions.goodness_of_fit import r2
from expressions.parsing import parse
from reports.baselines import LEAST_HELD_OUT, GradientBoosting, polynomial_score, quick_scores
from reports.findings import Finding, report_findings
from reports.polynomial_baselines import MOST_ROWS, Rows, drawn, polynomial_r2
from searches.pareto_front import Candidate, ParetoFront


def table(rows: int, columns: int = 3, noise: float = 0.1, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(1.0, 3.0, (rows, columns)) * 10.0 ** rng.integers(-9, 9, columns)
    scaled = inputs / inputs.max(axis=0)
    return inputs, 5.0 + scaled[:, 0] ** 2 / scaled[:, 1] + noise * rng.normal(size=rows)


@pytest.mark.parametrize("degree", [1, 3])
@pytest.mark.parametrize("rows", [60, 2_000])
def test_least_squares_agree_with_scikit_learn(degree: int, rows: int) -> None:
    inputs, target = table(2 * rows)
    train, test = (inputs[:rows], target[:rows]), (inputs[rows:], target[rows:])
    model = make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False), LinearRegression())
    expected = r2(test[1], model.fit(*train).predict(test[0]))
    assert polynomial_r2(train, test, degree) == pytest.approx(expected, abs=1e-9)
    assert polynomial_r2(train, test, 25) is None


def test_a_long_table_is_fitted_and_scored_on_some_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(MOST_ROWS + 5_000, columns=2)
    fewer = drawn(rows, MOST_ROWS)
    assert len(fewer[1]) == MOST_ROWS
    assert polynomial_r2(rows, rows, 3) == polynomial_r2(fewer, fewer, 3)
    monkeypatch.setattr("reports.polynomial_baselines._MOST_NUMBERS", 10_000)  # of the 10 monomials
    assert polynomial_r2(rows, rows, 3) == polynomial_r2(drawn(rows, 1_000), fewer, 3)


def test_the_ridge_finds_an_exact_cubic_and_tames_a_wild_one() -> None:
    inputs, _ = table(400)
    scaled = inputs / inputs.max(axis=0)
    target = 1e9 + 1e6 * scaled[:, 0] ** 3 - 2e6 * scaled[:, 1] * scaled[:, 2]
    rows = slice(0, 200), slice(200, 400)
    train, test = ((inputs[part], target[part]) for part in rows)
    score = polynomial_score(train, test, 3)
    assert score is not None
    assert score.r2 == pytest.approx(1.0, abs=1e-9)
    assert score.complexity == 20
    inputs, target = table(1_170, columns=10, noise=1.0)
    train, test = (inputs[:870], target[:870]), (inputs[870:], target[870:])
    ridge, plain = polynomial_score(train, test, 3), polynomial_r2(train, test, 3)
    assert ridge is not None
    assert plain is not None
    assert ridge.r2 > plain + 0.2


def test_a_constant_column_and_a_constant_target_do_no_harm() -> None:
    inputs, target = table(200)
    inputs[:, 1] = 7.0
    score = polynomial_score((inputs[:100], target[:100]), (inputs[100:], target[100:]), 3)
    assert score is not None
    assert np.isfinite(score.r2)
    flat = np.full(100, 3.0)
    score = polynomial_score((inputs[:100], flat), (inputs[100:], flat), 1)
    assert score is not None


def test_too_many_coefficients_are_not_fitted() -> None:
    inputs, target = table(500, columns=10)  # a cubic has 286
    assert polynomial_score((inputs, target), (inputs, target), 3) is None
    wide = np.random.default_rng(0).normal(size=(9_000, 60))
    assert polynomial_score((wide, wide[:, 0]), (wide, wide[:, 0]), 3) is None


def test_nothing_is_claimed_of_few_rows() -> None:
    inputs, target = table(100)
    chosen = Candidate(parse("x0"), 1, 0.5, 0.5)
    few = inputs[: LEAST_HELD_OUT - 1], target[: LEAST_HELD_OUT - 1]
    assert quick_scores(chosen, (inputs, target), few) == {}
    assert quick_scores(chosen, (inputs, target), None) == {}
    assert list(quick_scores(chosen, (inputs, target), (inputs, target))) == ["this equation", "linear", "cubic"]


def test_gradient_boosting_answers_from_its_own_process() -> None:
    inputs, target = table(400)
    score = GradientBoosting((inputs[:300], target[:300]), (inputs[300:], target[300:])).result(60.0)
    assert score is not None
    assert 0.5 < score.r2 < 1.0
    assert score.complexity is None


def test_gradient_boosting_ends_when_its_time_is_over() -> None:
    boosting = GradientBoosting(table(5_000, 40), table(5_000, 40))
    assert boosting.process is not None
    assert boosting.result(0.0) is None
    assert boosting.process.poll() is not None


def test_a_full_disk_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    boosting = GradientBoosting(table(50), table(50))
    assert boosting.result(1.0) is None
    boosting.stop()


def test_a_report_of_a_long_table_says_how_many_rows_the_polynomials_saw(tmp_path: Path) -> None:
    long, short = table(MOST_ROWS + 1, columns=2), table(100, columns=2)
    candidate = Candidate.of(parse("x0"), *short)
    for rows, expected in ((long, MOST_ROWS), (short, None)):
        finding = Finding("y", "y", 0, ParetoFront([candidate]), candidate, [], 1.0, 1, "seconds", short, rows)
        report_findings(tmp_path, [finding], ["a", "b"], 1.0)
        [entry] = json.loads((tmp_path / "results.json").read_text())["equations"]
        assert entry.get("polynomial_rows") == expected
        assert entry["linear_test_r2"] is not None
