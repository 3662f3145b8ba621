"""Huber's loss: what outliers weigh, and a law that they would hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from expressions.equivalence import recovered
from expressions.parsing import parse
from foundation.errors import UserError
from rediscover import SymbolicRegressor, discover
from searches.common.robust_weights import first_weights, huber_weights

LAW = "2.5*x0*x1 + 1.5"
ROWS = 160


def outlying_table(noise: float = 0.02) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the law, of which one in twenty is far off; and which these are."""
    rng = np.random.default_rng(8)
    inputs = rng.uniform(0.5, 3.0, (ROWS, 2))
    target = parse(LAW)(inputs)
    size = target.std()
    target = target + noise * size * rng.normal(size=ROWS)
    outliers = np.arange(ROWS) % 20 == 7
    target[outliers] += rng.uniform(5.0, 20.0, int(outliers.sum())) * size
    return inputs, target, outliers


def regressor(loss: str) -> SymbolicRegressor:
    return SymbolicRegressor(
        max_time=None,
        max_evaluations=11_000,
        method="regression",
        operators=["mul", "add"],
        loss=loss,
        random_state=0,
    )


def test_huber_finds_the_law_that_gross_outliers_hide() -> None:
    inputs, target, _ = outlying_table()
    plain = parse(LAW)(inputs)
    hidden, found = (regressor(loss).fit(inputs, target) for loss in ("squares", "huber"))
    deviations = [float(np.std(model.predict(inputs) - plain) / plain.std()) for model in (hidden, found)]
    assert deviations[0] > 0.05
    assert deviations[1] < 0.01
    assert recovered(found.best_.expression, parse(LAW))
    intervals = found._fits[0].intervals[found._fits[0].chosen]
    assert intervals is not None
    assert intervals.noise < 0.05 * plain.std(), "outliers are no noise"


def test_weights_are_one_less_or_nothing() -> None:
    residuals = np.concatenate([np.linspace(-1.0, 1.0, 99), [2.5], [50.0], [np.nan]])
    weights = huber_weights(residuals, 10.0)
    assert (weights[:99] == 1.0).all()
    assert 0.0 < weights[99] < 1.0
    assert weights[100:].tolist() == [0.0, 0.0]


def test_errors_of_rounding_are_no_outliers() -> None:
    residuals = np.zeros(50)
    residuals[3], residuals[7] = 1e-16, 0.5
    assert np.flatnonzero(huber_weights(residuals, 1.0) < 1.0).tolist() == [7]


def test_the_first_weights_leave_gross_outliers_out_and_little_else() -> None:
    inputs, target, outliers = outlying_table()
    weights = first_weights(inputs, target)
    assert (weights[outliers] == 0.0).all()
    assert (weights[~outliers] > 0.0).all()


def test_a_loss_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(9.0), "b": np.arange(9.0) ** 2})
    with pytest.raises(UserError, match="loss='hubert' is unknown"):
        discover(frame, "b", loss="hubert", seconds=2.0)
    with pytest.raises(UserError, match="loss='hubert' is not allowed"):
        SymbolicRegressor(loss="hubert").fit(frame[["a"]], frame["b"])
