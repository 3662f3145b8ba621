"""How likely a picked equation is the law: features, misfit, competitors, a deciding measurement, words, files."""

from __future__ import annotations

import io
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from expressions.measurements import Measurements
from expressions.parsing import parse
from foundation.schema import FormatError
from rediscover import SymbolicRegressor
from reports.discovery import Discovery, read, write
from reports.discovery_parts.shown import ShownEquations
from reports.discovery_parts.terminal import summary
from reports.discovery_parts.trust_words import trust_words
from reports.discovery_parts.verdict import verdict
from searches.common.regression_task import RegressionTask
from searches.law_probability import (
    CERTAIN,
    FIT,
    LIKELY,
    ONE_OF_SEVERAL,
    WORDS,
    Competitor,
    DecidingMeasurement,
    LawProbability,
    is_settled,
    law_probability,
    word_of,
)
from searches.pareto_front import ParetoFront, pick
from searches.search_result import SearchResult
from searches.trust.calibration import packaged_calibration, read_calibration
from searches.trust.deciding_measurement import deciding_measurement
from searches.trust.features import FEATURES, features_of
from searches.trust.misfit import along_inputs, among_neighbours, beyond_errors
from searches.trust.rivalry import Rivalry
from searches.trust.stored import TRUST, plain_trust, restored_trust
from searches.trust.straight_line import is_straight_line

Rows = tuple[np.ndarray, np.ndarray]


def rows_of(law: str, count: int, noise: float, columns: int = 2) -> Rows:
    """Rows of a law in 1 to 3, with noise in the target's own unit."""
    rng = np.random.default_rng(5)
    inputs = rng.uniform(1.0, 3.0, (count, columns))
    return inputs, parse(law)(inputs) + noise * rng.normal(size=count)


def front_of(rows: Rows, *equations: str) -> ParetoFront:
    """A front of equations, their constants fitted and what they cost counted, as searches end."""
    task = RegressionTask(*rows)
    fitted = [task.refit(parse(text), iterations=20) for text in equations]
    return ParetoFront([task.charged(task.judge(each, len(each))) for each in fitted])


def facts(rows: Rows, *equations: str, place: int = -1, sigma: np.ndarray | None = None) -> dict[str, float]:
    """Features of an equation of a front by name."""
    front = front_of(rows, *equations)
    found = features_of(Rivalry.of(front, front[place], Measurements.of(*rows, sigma=sigma)))
    return dict(zip(FEATURES, found.tolist(), strict=True))


def trust(rows: Rows, *equations: str) -> LawProbability:
    front = front_of(rows, *equations)
    return law_probability(front, pick(front), Measurements.of(*rows))


FRONT = ("4.9", "2.6*x0", "1.5*x0 + 1.1*x1")


# --- features ---------------------------------------------------------------------------------------------------


def test_a_plain_law_stands_alone() -> None:
    found = facts(rows_of("1.5*x0 + x1", 200, 0.1), *FRONT)
    assert found["lead"] > 3.0
    assert found["gain"] > math.log1p(100.0)
    assert found["exact"] == 0.0
    assert found["misfit"] > -2.0
    assert found["constants"] == pytest.approx(math.log(3))
    assert (found["functions"], found["variables"]) == (0.0, 2.0)


def test_functions_are_counted_once_and_powers_are_none_but_broken_ones() -> None:
    rows = rows_of("1.5*x0 + x1", 30, 0.1)
    for text, count in (("sin(x0) + sin(x1) + 2.1", 1.0), ("x0**2/x1 - x0**3", 0.0), ("x0**1.3 + exp(x1)", 2.0)):
        assert facts(rows, text)["functions"] == count


def test_what_the_data_do_not_tell_apart_has_rivals() -> None:
    found = facts(rows_of("1.5*x0 + x1", 12, 2.5), *FRONT, place=1)
    assert found["lead"] < 2.0
    assert found["gain"] < math.log1p(10.0)


def test_an_exact_equation_has_no_residuals_to_look_at() -> None:
    found = facts(rows_of("1.5*x0 + x1", 30, 0.0), *FRONT)
    assert found["exact"] == 1.0
    assert found["misfit"] == 0.0


def test_a_law_with_a_spare_constant_is_no_rival_but_another_shape_is() -> None:
    rows = rows_of("1.5*x0", 60, 0.3)
    front = front_of(rows, "1.4*x0", "1.4*x0 + 0.1", "1.4*x0 + 0.1*x0*sin(x1)")
    measurements = Measurements.of(*rows)
    assert Rivalry.of(front, front[0], measurements).others == ()
    assert set(Rivalry.of(front, front[1], measurements).others) == {front[0], front[2]}
    other = front_of(rows, "1.4*x0", "x0**1.4")
    assert Rivalry.of(other, other[0], measurements).others == (other[1],)


def test_another_spelling_of_the_same_function_is_no_rival() -> None:
    rows = rows_of("1.7*x1*exp(-x0) + 0.4", 200, 0.01)
    front = front_of(rows, "1.7*x1*exp(-x0) + 0.4", "1.7*exp(log(x1) - x0) + 0.4", "0.5*x1 - 0.3*x0 + 1.0")
    rivalry = Rivalry.of(front, pick(front), Measurements.of(*rows))
    assert ["exp" in each.expression.infix() for each in rivalry.others] == [False]
    assert not law_probability(front, pick(front), Measurements.of(*rows)).competitors


def test_a_fuller_equation_that_describes_better_is_a_rival() -> None:
    rows = rows_of("1.5*x0 + 2", 60, 0.1)
    front = front_of(rows, "2.4*x0", "1.5*x0 + 1.9")
    assert Rivalry.of(front, front[0], Measurements.of(*rows)).gaps[0] < 0.0


def test_neither_the_order_of_rows_nor_the_unit_of_weights_matters() -> None:
    inputs, target = rows_of("1.5*x0 + x1", 80, 0.5)
    front = front_of((inputs, target), *FRONT)
    weights = np.linspace(0.5, 2.0, 80)
    order = np.random.default_rng(1).permutation(80)
    one = features_of(Rivalry.of(front, front[2], Measurements.of(inputs, target, weights)))
    two = features_of(
        Rivalry.of(front, front[2], Measurements.of(inputs[order], target[order], 7.0 * weights[order]))
    )
    assert one == pytest.approx(two)


def test_an_equation_that_is_not_defined_on_a_row_is_no_law() -> None:
    inputs, target = rows_of("1.5*x0", 40, 0.1)
    front = front_of((inputs, target), "1.4*x0")
    inputs[0, 0] = -1.0
    bad = ParetoFront([replace(front[0], expression=parse("1.4*sqrt(x0)"))])
    found = Rivalry.of(bad, bad[0], Measurements.of(inputs, target))
    assert np.isfinite(features_of(found)).all()
    assert law_probability(bad, bad[0], Measurements.of(inputs, target)).word == FIT


# --- misfit -----------------------------------------------------------------------------------------------------


def test_independent_residuals_are_no_evidence() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.uniform(size=(100, 3))
    for test in (along_inputs, among_neighbours):
        found = np.array([test(inputs, rng.normal(size=100)) for _ in range(100)])
        assert np.mean(found < 0.05) < 0.15
    assert along_inputs(inputs, np.zeros(100)) == among_neighbours(inputs, np.zeros(100)) == 1.0


def test_a_misfit_of_one_input_and_one_of_two_together_are_seen() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.uniform(-1.0, 1.0, size=(200, 2))
    noise = 0.5 * rng.normal(size=200)
    assert along_inputs(inputs, np.sin(6.0 * inputs[:, 1]) + noise) < 1e-4
    assert among_neighbours(inputs, 2.0 * inputs[:, 0] * inputs[:, 1] + noise) < 1e-4


def test_known_errors_tell_what_is_too_much() -> None:
    rng = np.random.default_rng(3)
    left = rng.normal(size=300)
    assert 0.02 < beyond_errors(left, 2) < 0.98
    assert beyond_errors(1.3 * left, 2) < 1e-4
    assert beyond_errors(left[:2], 2) == 1.0
    rows = rows_of("1.5*x0 + x1", 200, 0.1)
    misfits = [facts(rows, *FRONT, sigma=np.full(200, size))["misfit"] for size in (0.1, 0.05)]
    assert misfits[0] > -2.0
    assert misfits[1] < -8.0


# --- the probability --------------------------------------------------------------------------------------------


def test_of_very_many_columns_those_of_the_equations_are_looked_along() -> None:
    inputs, target = rows_of("1.5*x0 + x35**2", 200, 0.1, columns=40)
    right = facts((inputs, target), "1.4*x0", "1.5*x0 + 1.1*x35**2")
    wrong = facts((inputs, target), "1.4*x0", "1.5*x0 + 4*x35")
    assert right["misfit"] > -2.0 > -8.0 > wrong["misfit"]


def test_words_are_for_ranges_of_the_probability() -> None:
    assert [word_of(each) for each in (0.99, 0.95, 0.94, 0.6, 0.59, 0.2, 0.19, 0.0)] == [
        CERTAIN, CERTAIN, LIKELY, LIKELY, ONE_OF_SEVERAL, ONE_OF_SEVERAL, FIT, FIT,
    ]  # fmt: skip
    assert sorted(WORDS.values(), reverse=True) == list(WORDS.values())


def test_a_law_without_noise_is_certain_and_one_in_noise_is_not() -> None:
    clean = trust(rows_of("1.5*x0*exp(x1)", 200, 0.0), "4.9", "2.6*x0", "1.4*x0*exp(x1)")
    assert (clean.word, clean.competitors, clean.measurement) == (CERTAIN, (), None)
    noisy = trust(rows_of("1.5*x0 + x1", 12, 2.5), *FRONT)
    assert noisy.probability < 0.6


def test_a_search_is_settled_where_only_noise_is_left_and_nothing_competes() -> None:
    rows = rows_of("x0/x1", 200, 0.01)
    inputs, target = rows
    wavy = inputs, target + 0.05 * np.sin(6.0 * inputs[:, 0])
    for law, some, settled in (
        ("x0/x1", rows, True),
        ("x0/x1", wavy, False),  # what is left is no noise
        ("0.9*x0 - 0.4*x1", rows, False),
    ):
        front = front_of(some, "1.1", law)
        assert is_settled(front, front[1], Measurements.of(*some)) == settled, law


def test_a_misfit_lowers_the_probability() -> None:
    law = trust(rows_of("1.5*x0*exp(x1)", 200, 0.1), "2.6*x0", "1.4*x0*exp(x1)")
    fit = trust(rows_of("1.5*x0*exp(x1)", 200, 0.1), "2.6*x0", "x0*(3*x1 + 1)**2")
    assert law.probability > 0.8 > 0.5 > fit.probability


def test_nothing_better_than_the_mean_is_a_fit() -> None:
    found = trust(rows_of("0*x0", 100, 1.0), "0.1", "0.1*x0")
    assert (found.probability, found.word) == (0.0, FIT)


def test_competitors_are_what_the_data_do_not_tell_apart() -> None:
    """Two columns that nearly follow each other: either may be the cause, but no curve of one is."""
    rng = np.random.default_rng(0)
    first = rng.uniform(1.0, 3.0, 30)
    inputs = np.stack([first, first + 0.02 * rng.normal(size=30)], axis=1)
    rows = inputs, 2.0 * first + 0.4 * rng.normal(size=30)
    front = front_of(rows, "2*x0", "2*x1", "2*x0 + 0.1", "0.1*exp(x1)")
    found = law_probability(front, front[0], Measurements.of(*rows))
    assert [each.candidate for each in found.competitors] == [front[1]]
    assert abs(found.competitors[0].nats) < 3.0
    assert found.measurement is not None
    one, other = found.measurement.place  # where the columns do not follow each other
    assert abs(one - other) > 0.5
    without = law_probability(front, front[0], Measurements.of(*rows), deciding=False)
    assert without == replace(found, measurement=None)


def test_a_result_of_a_search_says_it_of_its_own_rows() -> None:
    rows = rows_of("1.5*x0*exp(x1)", 100, 0.0)
    front = front_of(rows, "4.9", "1.4*x0*exp(x1)")
    result = SearchResult(front, [], 1.0, 10, "exact")
    assert result.trust(*rows) == law_probability(front, front[1], Measurements.of(*rows))


def test_the_calibration_is_data_with_its_origin() -> None:
    shipped = packaged_calibration()
    assert {"command", "commit", "fitted, tables", "judged, expected calibration error"} <= set(shipped.origin)
    assert read_calibration(shipped.text()) == shipped
    features = np.full((1, len(FEATURES)), 1e6)  # far from every table of the calibration
    assert 0.01 <= shipped.probabilities(features)[0] <= 0.99
    plain = json.loads(shipped.text())
    for changes in ({"features": ["lead"]}, {"means": [0.0]}, {"intercept": 1e9}, {"format": "another"}):
        with pytest.raises(FormatError):
            read_calibration(json.dumps(plain | changes))


# --- the deciding measurement -----------------------------------------------------------------------------------


def test_a_measurement_decides_where_the_predictions_part() -> None:
    inputs, target = rows_of("2*x0", 40, 0.1)
    line, power = front_of((inputs, target), "2*x0", "x0**2/2 + 1.4")
    measurements = Measurements.of(inputs, target)
    found = deciding_measurement(line.expression, power.expression, measurements)
    assert found is not None
    assert found.columns == (0,)
    assert found.values == (
        pytest.approx(line.expression(np.array([found.place]))[0]),
        pytest.approx(power.expression(np.array([found.place]))[0]),
    )
    assert abs(found.values[0] - found.values[1]) > 0.1 * found.deviations > 0.1
    if not found.is_beyond:
        assert inputs[:, 0].min() <= found.place[0] <= inputs[:, 0].max()


def test_a_place_outside_of_the_data_is_named_only_where_it_tells_twice_as_much() -> None:
    inputs, target = rows_of("2*x0", 40, 0.1)
    measurements = Measurements.of(inputs, target)
    line = front_of((inputs, target), "2*x0")[0].expression
    steep = front_of((inputs, target), "2*x0 + 1e-5*exp(4*x0)")[0].expression
    far = deciding_measurement(line, steep, measurements)
    assert far is None or far.is_beyond or far.place[0] <= inputs[:, 0].max()
    wave = parse("2*x0 + 0.3*sin(9*x0)")
    near = deciding_measurement(line, wave, measurements)
    assert near is not None
    assert not near.is_beyond


def test_equal_predictions_are_told_apart_nowhere() -> None:
    rows = rows_of("2*x0", 40, 0.1)
    line = front_of(rows, "2*x0")[0].expression
    assert deciding_measurement(line, line, Measurements.of(*rows)) is None
    assert deciding_measurement(parse("1.0"), parse("2.0"), Measurements.of(*rows)) is None


def test_a_positive_column_stays_positive() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0.01, 3.0, (40, 1))
    target = np.log(inputs[:, 0]) + 0.05 * rng.normal(size=40)
    found = deciding_measurement(parse("log(x0)"), parse("0.9*x0 - 1"), Measurements.of(inputs, target))
    assert found is not None
    assert found.place[0] > 0.0


# --- where it is shown and kept ---------------------------------------------------------------------------------


def discovery() -> Discovery:
    rows = rows_of("2*x0", 40, 0.1)
    front = front_of(rows, "4.0", "2*x0", "x0**2/2 + 1.4")
    told = LawProbability(
        0.47,
        ONE_OF_SEVERAL,
        (Competitor(front[2], 1.26),),
        DecidingMeasurement((0,), (2.875,), (5.75, 5.53), 2.12, True),
    )
    return Discovery(
        "t.csv", "y", ("a", "b"), "y", ("a", "b"), front, front[1], train=rows, rows=40, trust=told
    )  # fmt: skip


@pytest.mark.parametrize(
    ("equation", "line"),
    [
        ("2*x0", True),
        ("1.5 - (2*x0 + exp(2.0)*x1)/3", True),
        ("4.0", False),
        ("x0*x1", False),
        ("3/x0", False),
        ("x0 + sin(x1)", False),
    ],
)
def test_a_straight_line_in_noise_is_called_one(equation: str, line: bool) -> None:
    assert is_straight_line(parse(equation)) == line
    made = discovery()
    assert made.trust is not None
    found = replace(made, chosen=replace(made.chosen, expression=parse(equation)))
    assert ("straight line" in verdict(found)) == line
    sure = replace(found, trust=replace(made.trust, word=CERTAIN))
    assert "straight line" not in verdict(sure)


SAID = (
    "Probability that this is the law: 0.47 (one of several).",
    "1.3 nats longer",
    "at a = 2.875 (outside of the data)",
    "2.1 standard deviations",
)


def test_a_discovery_shows_and_keeps_it(tmp_path: Path) -> None:
    made = discovery()
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(summary(made))
    write(tmp_path, made)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in SAID:
        assert words in page
    text = console.export_text()
    assert all(words in text for words in SAID)
    assert SAID[0] in (tmp_path / "equation.py").read_text(encoding="utf-8")
    table = (tmp_path / "equations.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[-3:] for line in table[1:]] == [
        ["", "", ""],
        ["0.47", ONE_OF_SEVERAL, ""],
        ["", "", "1.26"],
    ]
    again = read(tmp_path)
    assert again.trust is not None
    assert made.trust is not None
    assert again.trust.measurement == made.trust.measurement
    assert again.trust.competitors[0].candidate.expression == made.front[2].expression
    assert (again.trust.probability, again.trust.word) == (0.47, ONE_OF_SEVERAL)


def test_where_no_competitor_was_met_others_are_still_possible() -> None:
    made = discovery()
    assert made.trust is not None
    shown = ShownEquations.of_discovery(made)
    for word, competitors, told in (
        (ONE_OF_SEVERAL, (), True),
        (ONE_OF_SEVERAL, made.trust.competitors, False),
        (LIKELY, (), False),
    ):
        trust = replace(made.trust, word=word, competitors=competitors, measurement=None)
        words = trust_words(replace(made, trust=trust), shown)
        assert words is not None
        assert ("has met no other" in words.probability) == told


def test_what_a_file_says_of_another_table_is_refused() -> None:
    made = discovery()
    front = list(made.front)
    plain = TRUST(plain_trust(made.trust, front))
    assert restored_trust(plain, front, 2) == made.trust
    with pytest.raises(FormatError, match="competitor"):
        restored_trust(plain, front[:2], 2)
    with pytest.raises(FormatError, match="other columns"):
        restored_trust(plain, front, 0)
    with pytest.raises(FormatError):
        TRUST({**plain, "word": "perhaps"})


def test_an_estimator_tells_it_and_keeps_it(tmp_path: Path) -> None:
    inputs, target = rows_of("1.5*x0*x1", 60, 0.0)
    model = SymbolicRegressor(max_time=None, max_evaluations=400, random_state=0).fit(inputs, target)
    told = model.trust_
    assert isinstance(told, LawProbability)
    assert told.word == CERTAIN
    assert f"{told.probability:.2f} ({CERTAIN})" in model._html_repr()
    table = model.equations_
    assert table.trust[table.picked].tolist() == [CERTAIN]
    assert table.probability[table.picked].tolist() == [told.probability]
    assert table.probability[~table.picked].isna().all()
    model.save(tmp_path / "model.json")
    assert SymbolicRegressor.load(tmp_path / "model.json").trust_ == told
    assert pickle.loads(pickle.dumps(model)).trust_ == told
