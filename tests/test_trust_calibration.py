"""The probability that an equation is the law: its features, its regression, and how it is judged."""

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.trust_calibration import (
    FEATURES,
    Bin,
    brier_score,
    certain,
    expected_calibration_error,
    features_of,
    fitted,
    reliability,
    residual_dependence,
)
from benchmarks.trust_fronts import front_record
from benchmarks.trust_laws import Law
from benchmarks.trust_tables import NoisyTable
from expressions.parsing import parse
from searches.pareto_front import Candidate


def found_on(rows: int, noise: float, *front: str, uneven: bool = False) -> dict[str, float]:
    """Features of the pick from a front of equations for `1.5*x0 + x1`, and the number of the pick."""
    truth = parse("1.5*x0 + x1")
    rng = np.random.default_rng(5)
    inputs = rng.uniform(1.0, 3.0, (rows, 2))
    clean = truth(inputs)
    sigma = noise * np.linspace(0.2, 2.0, rows)
    target = clean + (sigma if uneven else noise) * rng.normal(size=rows)
    law = Law("drawn", "", truth, truth, (1.0, 1.0), (3.0, 3.0))
    table = NoisyTable("by-hand", law, inputs, target, clean, sigma if uneven else None, noise, None, "uniform")
    weights = sigma**-2.0 if uneven else None
    candidates = [Candidate.of(parse(text), inputs, target) for text in front]
    centred = target - np.average(target, weights=weights)
    result: dict[str, Any] = {
        "rows": rows,
        "places": None,
        "known_errors": uneven,
        "total_squares": float(centred**2 @ (np.ones(rows) if weights is None else weights)),
        "front": front_record(candidates, inputs, target, weights, table),
    }
    pick, features = features_of(result, table)
    return {"pick": pick, **dict(zip(FEATURES, features.tolist(), strict=True))}


FRONT = ("4.9", "2.6*x0", "1.5*x0 + 1.1*x1")


@pytest.mark.parametrize("uneven", [False, True])
def test_a_plain_law_stands_alone(uneven: bool) -> None:
    found = found_on(200, 0.1, *FRONT, uneven=uneven)
    assert found["pick"] == 2
    assert found["gap"] > np.log1p(20.0)
    assert found["rivals"] == 0.0
    assert found["same_picks"] == 1.0
    assert found["exact"] == 0.0
    assert found["dependence"] > -2.0
    assert found["rows_a_constant"] == pytest.approx(np.log(200 / 3))


def test_what_the_data_do_not_tell_apart_has_rivals_and_is_not_always_picked() -> None:
    found = found_on(12, 2.5, *FRONT)
    assert found["gap"] < np.log1p(3.0)
    assert found["rivals"] > 0.0
    assert found["same_picks"] < 1.0


def test_a_misfit_is_seen_in_the_order_of_an_input() -> None:
    found = found_on(200, 0.01, "2.6*x0", "1.4*x0 + 0.5*x0*x1")
    assert found["dependence"] < -3.0


def test_an_exact_equation_has_no_residuals_to_look_at() -> None:
    found = found_on(30, 0.0, *FRONT[:2], "1.5*x0 + x1")
    assert found["exact"] == 1.0
    assert found["dependence"] == 0.0


def test_independent_residuals_are_no_evidence() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.uniform(size=(100, 3))
    found = [residual_dependence(inputs, rng.normal(size=100)) for _ in range(60)]
    assert np.mean(np.array(found) < 0.05) < 0.15
    assert residual_dependence(inputs, np.sin(6.0 * inputs[:, 1]) + 0.5 * rng.normal(size=100)) < 1e-4
    assert residual_dependence(inputs, np.zeros(100)) == 1.0


def test_the_judgement_by_hand() -> None:
    forecasts = np.array([0.1, 0.18, 0.96, 1.0])
    right = np.array([False, True, True, True])
    assert reliability(forecasts, right) == [Bin(2, pytest.approx(0.14), 0.5), Bin(2, pytest.approx(0.98), 1.0)]
    assert expected_calibration_error(forecasts, right) == pytest.approx(0.5 * 0.36 + 0.5 * 0.02)
    assert brier_score(forecasts, right) == pytest.approx((0.01 + 0.6724 + 0.0016) / 4)
    assert certain(forecasts, np.array([False, True, True, False])) == (0.5, 0.5)
    assert math.isnan(certain(forecasts[:2], right[:2])[1])


def test_a_regression_is_calibrated_on_what_it_has_not_seen() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(4_000, len(FEATURES))) * 3.0 + 1.0
    chance = 1.0 / (1.0 + np.exp(-(features[:, 0] - 0.5 * features[:, 3])))
    right = rng.random(4_000) < chance
    calibration = fitted(features[:2_000], right[:2_000])
    forecasts = calibration.probabilities(features[2_000:])
    assert expected_calibration_error(forecasts, right[2_000:]) < 0.05
    assert calibration.weights[0] > 0 > calibration.weights[3]
    assert brier_score(forecasts, right[2_000:]) < 0.8 * right.mean() * (1 - right.mean())
