"""`SymbolicRegressor` keeps scikit-learn's conventions, and everything that its documentation promises."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import rediscover
from expressions.own_operators import CustomOperator
from expressions.parsing import ParseError, parse
from foundation.errors import UserError
from rediscover import SymbolicRegressor
from rediscover.estimator.options import Budget, operator_names, settings_of
from rediscover.estimator.rows import merged_rows
from rediscover.estimator.saving import ModelFileError
from searches.portfolio import METHODS

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"max_time": None, "max_evaluations": 300, "method": "genetic_programming", "random_state": 0}
RNG = np.random.default_rng(0)
GAS = pd.DataFrame(RNG.uniform(1, 3, (60, 3)), columns=["n", "T [K]", "V"])
PRESSURE = pd.Series(8.314 * GAS["n"] * GAS["T [K]"] / GAS["V"], name="P")
LAW = "8.314*n*T_K/V"


def quick(**others: Any) -> SymbolicRegressor:
    """A regressor whose fit takes a fraction of a second."""
    return SymbolicRegressor(**{**QUICK, **others})


@pytest.fixture(scope="module")
def gas() -> SymbolicRegressor:
    return quick(guesses=["n*T_K/V"]).fit(GAS, PRESSURE)


# --- scikit-learn -----------------------------------------------------------------------------------------------


def test_every_check_of_scikit_learn_passes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended = check_estimator(quick(max_evaluations=1, random_state=None), on_fail=None, on_skip=None)
    not_passed = {each["check_name"]: each["status"] for each in ended if each["status"] != "passed"}
    assert set(not_passed.items()) <= {("check_array_api_input", "skipped")}  # needs a variable of the environment
    assert len(ended) > 40


def test_it_works_in_a_pipeline_a_grid_search_and_cross_validation() -> None:
    X, y = GAS.to_numpy()[:30], PRESSURE.to_numpy()[:30]
    model = make_pipeline(StandardScaler(), quick(max_evaluations=1))
    assert cross_val_score(model, X, y, cv=2).shape == (2,)
    guessed = quick(max_evaluations=1, guesses="x0*x1/x2")
    grid = GridSearchCV(guessed, {"max_complexity": [1, 9]}, cv=2, n_jobs=1).fit(X, y)
    assert grid.best_params_ == {"max_complexity": 9}
    assert grid.best_estimator_.best_.complexity <= 9


def test_the_package_is_imported_without_torch_and_the_regressor_too() -> None:
    code = (
        "import sys, rediscover\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'torch'} & sys.modules.keys()\n"
        "from rediscover import SymbolicRegressor\n"
        "print(heavy, {'torch', 'matplotlib', 'sympy', 'lightning', 'wandb'} & sys.modules.keys())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout == "set() set()\n", ended.stderr
    assert "SymbolicRegressor" in rediscover.__all__


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"max_time": -1}, "max_time=-1 is not allowed: it must be a number of seconds above 0, or None"),
        ({"max_evaluations": 1.5}, "max_evaluations=1.5 is not allowed: it must be a whole number, at least 1"),
        ({"max_evaluations": None}, "give max_time or max_evaluations"),
        (
            {"method": "genetic_programing"},
            "method='genetic_programing' is not allowed: did you mean genetic_programming",
        ),
        ({"operators": "add"}, "give a list of names, or a mapping"),
        ({"operators": ["add", "sine"]}, "the operator 'sine' is unknown"),
        ({"operators": ["sin"]}, "none with two arguments"),
        ({"max_complexity": 0}, "max_complexity=0 is not allowed"),
        ({"n_jobs": 0}, "n_jobs=0 is not allowed"),
        ({"guesses": ["n*volume"]}, "unknown name 'volume'"),
        ({"guesses": [3]}, "3 is no equation"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused_in_a_sentence(parameters: Any, words: str) -> None:
    model = quick(**parameters)  # the constructor only stores
    with pytest.raises(UserError, match=words):
        model.fit(GAS, PRESSURE)


# --- a fit ------------------------------------------------------------------------------------------------------


def test_a_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = quick(guesses=["n*T_K/V"], progress=True)
    model.fit(GAS, PRESSURE)
    table = model.equations_
    columns = ["picked", "complexity", "loss", "r2", "equation", "latex", "intervals"]
    assert list(table.columns) == [*columns, "probability", "trust", "behind"]
    assert table[table.picked].equation.item() == LAW
    assert table.loss.is_monotonic_decreasing
    assert table.complexity.is_monotonic_increasing
    assert model.best_.expression.infix(["n", "T", "V"]) == "8.314*n*T/V"
    assert model.score(GAS, PRESSURE) == 1.0
    assert np.allclose(model.predict(GAS), PRESSURE)
    assert not np.allclose(model.predict(GAS, index=0), PRESSURE)
    assert str(model.sympy()) == "8.314*T_K*n/V"
    assert model.latex() == table[table.picked].latex.item()
    scores = model.score_equation("8*n*T_K/V", GAS, PRESSURE)
    assert scores.equation.tolist() == ["8*n*T_K/V", LAW]
    assert scores.r2["as given"] < scores.r2["fitted"] == pytest.approx(1.0)
    space: dict[str, Any] = {}
    exec(model.source(), space)
    assert space["FEATURES"] == ["n", "T [K]", "V"]
    assert np.array_equal(space["predict"](GAS), model.predict(GAS))
    page = model._repr_mimebundle_()["text/html"]
    assert "<math" in page
    assert "8.314" in page
    assert f"P = {LAW}" in capsys.readouterr().err
    model.save(tmp_path / "model.json")
    assert np.array_equal(SymbolicRegressor.load(tmp_path / "model.json").predict(GAS), model.predict(GAS))


def test_names_are_kept_and_checked(gas: SymbolicRegressor) -> None:
    assert gas.feature_names_in_.tolist() == ["n", "T [K]", "V"]
    with pytest.raises(ValueError, match="feature names"):
        gas.predict(GAS.rename(columns={"n": "moles"}))
    assert (
        "x0"
        in quick(max_evaluations=1, guesses="x0*x1/x2").fit(GAS.to_numpy(), PRESSURE).equations_.equation.iloc[-1]
    )


def test_the_same_fit_gives_the_same_equations_bit_for_bit() -> None:
    noisy = PRESSURE + RNG.normal(size=60)
    first, second = (quick().fit(GAS, noisy) for _ in range(2))
    assert [c.expression for c in first._fits[0].candidates] == [c.expression for c in second._fits[0].candidates]
    assert first.equations_.equals(second.equations_)
    other = clone(first).set_params(random_state=1).fit(GAS, noisy)
    assert not other.equations_.equals(first.equations_)


def test_a_weight_of_two_is_the_row_twice_and_a_weight_of_zero_is_no_row() -> None:
    weights = RNG.integers(0, 3, 60)
    weights[:2] = 0, 2
    noisy = (PRESSURE + RNG.normal(size=60)).to_numpy()
    X = GAS.to_numpy()
    weighted = quick().fit(X, noisy, sample_weight=weights)
    order = RNG.permutation(np.repeat(np.arange(60), weights))
    repeated = quick().fit(X[order], noisy[order])
    assert np.array_equal(weighted.predict(X), repeated.predict(X))
    one, other = (model.equations_.drop(columns="intervals") for model in (weighted, repeated))
    assert one.equals(other)
    with pytest.raises(ValueError, match="at least one non-zero"):
        quick().fit(X, noisy, sample_weight=np.zeros(60))


def test_weights_pull_an_equation() -> None:
    x = np.linspace(0, 1, 20)
    y = np.where(x < 0.5, 1.0, 3.0) + 0.01 * x
    heavy = quick(max_complexity=1).fit(x[:, None], y, sample_weight=np.where(x < 0.5, 1000.0, 1.0))
    assert heavy.predict([[0.0]]) == pytest.approx(1.0, abs=0.05)


def test_merged_rows_are_sorted_and_weigh_what_they_were() -> None:
    inputs = np.array([[2.0], [1.0], [2.0], [-0.0], [0.0]])
    target = np.array([5.0, 4.0, 5.0, 1.0, 1.0])
    rows, values, weights = merged_rows(inputs, target, np.array([1.0, 2.5, 0.5, 1.0, 0.0]))
    assert rows.ravel().tolist() == [0.0, 1.0, 2.0]
    assert values.tolist() == [1.0, 4.0, 5.0]
    assert weights is not None
    assert weights.tolist() == [1.0, 2.5, 1.5]
    assert merged_rows(rows, values, None)[2] is None
    many = np.arange(10_001.0)[::-1]
    assert merged_rows(many[:, None], many, None)[0][0] == 10_000.0


def test_several_targets() -> None:
    both = pd.DataFrame({"sum": GAS["n"] + GAS["V"], "product": 2 * GAS["n"] * GAS["V"]})
    model = quick(guesses=["n*V"]).fit(GAS, both)
    assert set(model.equations_.target) == {"sum", "product"}
    assert [best.expression.infix() for best in model.best_] == ["x0 + x2", "2*x0*x2"]
    assert np.allclose(model.predict(GAS), both)
    assert model.torch_module()(torch.tensor(GAS.to_numpy())).shape == (60, 2)
    rows = [0, len(model.equations_) - 1]
    assert np.allclose(model.predict(GAS, index=rows)[:, 1], both["product"])
    with pytest.raises(ValueError, match="a list with a row of equations_ for every target"):
        model.predict(GAS, index=0)
    assert len(model.latex()) == 2
    assert "sum" in model._html_repr()
    assert np.array_equal(SymbolicRegressor.from_json(model.to_json()).predict(GAS), model.predict(GAS))


def test_where_the_equation_is_not_defined_predictions_are_finite_with_one_warning() -> None:
    x = np.linspace(1, 4, 30)[:, None]
    target = np.log(x[:, 0]) + 1 / x[:, 0]
    model = quick(guesses=["log(x0) + 1/x0"], operators=["add", "log", "div"]).fit(x, target)
    assert model.equations_.equation.iloc[-1] == "1/x0 + log(x0)"
    fit = model._fits[0]
    with pytest.warns(UserWarning, match="not defined on 1 of 2 rows") as seen:
        found = model.predict([[-1.0], [2.0]])
    assert len(seen) == 1
    assert found[0] == fit.mean
    assert found[1] == pytest.approx(np.log(2) + 0.5)
    values, bad = fit.values(fit.chosen, np.array([[1e-320], [np.e]]))
    assert bad == 1
    assert values[0] == fit.high


def test_it_goes_on_from_the_last_fit_and_from_guesses() -> None:
    noisy = PRESSURE + 0.01 * RNG.normal(size=60)
    model = quick(max_evaluations=1, guesses=["n*T_K/V"]).fit(GAS, noisy)
    assert model.score(GAS, noisy) > 0.999
    cold = clone(model).set_params(guesses=None).fit(GAS, noisy)
    assert cold.score(GAS, noisy) < 0.999
    warm = model.set_params(guesses=None, warm_start=True).fit(GAS, noisy)
    assert warm.score(GAS, noisy) > 0.999


def test_a_callback_sees_the_front_and_ends_the_search() -> None:
    fronts = []

    def stop(progress: Any) -> bool:
        fronts.append(progress.front)
        return True

    noisy = PRESSURE + RNG.normal(size=60)
    model = quick(max_evaluations=10**9, callback=stop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(GAS, noisy)
    assert len(fronts) == 1
    assert len(fronts[0]) > 0
    both = quick(max_evaluations=10**9, callback=stop).fit(GAS, np.column_stack([noisy, noisy]))
    assert len(fronts) == 2  # one more: the second target is not searched
    assert both.predict(GAS).shape == (60, 2)


def test_ctrl_c_keeps_the_best_so_far() -> None:
    def interrupt(progress: Any) -> None:
        raise KeyboardInterrupt

    noisy = PRESSURE + RNG.normal(size=60)
    with pytest.warns(UserWarning, match="the search for P was interrupted: the best equations so far are kept"):
        model = quick(max_evaluations=10**9, callback=interrupt).fit(GAS, noisy)
    assert model.score(GAS, noisy) > 0.5


def test_a_method_alone_is_the_only_one() -> None:
    assert settings_of(Budget(1.0, None), "structures", ["add"], None).methods == ("structures",)
    assert settings_of(Budget(1.0, None), "auto", ["add"], None).methods == METHODS


def test_nothing_that_needs_a_clock_is_used_without_a_time() -> None:
    settings = settings_of(Budget(None, 10), "auto", ["add"], None)
    assert settings.simplify_seconds == 0
    assert "map" not in settings.methods
    assert settings_of(Budget(None, 10), "map", ["add"], None).methods == ("map",)


def test_targets_share_the_time_and_what_one_leaves_goes_to_the_next() -> None:
    budget = Budget.of(10, 100)
    assert budget.share(0.0, 2) == Budget(5.0, 50)
    assert budget.share(2.0, 1) == Budget(8.0, 100)
    assert budget.share(99.0, 1).seconds == pytest.approx(0.0, abs=0.01)


# --- other forms ------------------------------------------------------------------------------------------------


def test_constants_of_the_module_of_torch_are_parameters(gas: SymbolicRegressor) -> None:
    module = gas.torch_module()
    [constants] = module.parameters()
    assert constants.dtype == torch.float64
    assert constants.tolist() == gas.best_.expression.constants.tolist()
    inputs = torch.tensor(GAS.to_numpy())
    assert np.allclose(module(inputs).detach(), gas.predict(GAS))
    assert module(inputs.reshape(3, 20, 3)).shape == (3, 20)
    loss = ((module(inputs) - 2 * torch.tensor(PRESSURE.to_numpy())) ** 2).sum()
    loss.backward()
    with torch.no_grad():
        constants *= 2
    assert constants.grad is not None
    assert module.equations()[0].infix() == "16.628*x0*x1/x2"


def test_json_and_pickles_keep_everything(gas: SymbolicRegressor) -> None:
    for copy in (SymbolicRegressor.from_json(gas.to_json()), pickle.loads(pickle.dumps(gas)), clone(gas)):
        assert copy.get_params() == gas.get_params()
        if hasattr(copy, "_fits"):
            assert copy._fits == gas._fits
            assert copy.feature_names_in_.tolist() == gas.feature_names_in_.tolist()
            assert copy.equations_.equals(gas.equations_)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: "{}", "is not a model of SymbolicRegressor"),
        (lambda content: "nonsense", "is not a model of SymbolicRegressor"),
        (lambda content: json.dumps({**content, "targets": [{}]}), "is damaged"),
        (lambda content: json.dumps({**content, "parameters": {"colour": 1}}), "has other parameters"),
    ],
)
def test_what_is_no_model_is_refused(gas: SymbolicRegressor, change: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(change(json.loads(gas.to_json())), encoding="utf-8")
    with pytest.raises(ModelFileError, match=f"model.json {words}"):
        SymbolicRegressor.load(path)


def test_before_a_fit_there_is_nothing() -> None:
    model = SymbolicRegressor()
    for use in (
        lambda: model.equations_,
        lambda: model.best_,
        model.sympy,
        model.to_json,
        lambda: model.predict(GAS),
    ):
        with pytest.raises(NotFittedError):
            use()
    with pytest.raises(NotFittedError):
        model.predict(GAS)
    assert not hasattr(model, "best_")
    assert "<math" not in model._html_repr()


def test_a_formula_of_ones_own_is_scored_without_a_fit() -> None:
    scores = SymbolicRegressor().score_equation(parse("2*x0"), GAS[["n"]], 3 * GAS["n"])
    assert scores.equation.tolist() == ["2*n", "3*n"]
    assert scores.loss["fitted"] == pytest.approx(0.0)
    with pytest.raises(ParseError, match="unknown name 'm'"):
        SymbolicRegressor().score_equation("2*m", GAS[["n"]], GAS["n"])


# --- operators of one's own -------------------------------------------------------------------------------------


@pytest.fixture
def fold() -> SymbolicRegressor:
    x = RNG.uniform(-3, 3, (60, 1))
    own = {"fold": CustomOperator(lambda a: np.abs(np.mod(a, 2.0) - 1.0)), "add": None, "mul": None}
    return quick(operators=own).fit(x, 3 * np.abs(np.mod(x[:, 0], 2.0) - 1.0) + 1)


def test_an_operator_of_ones_own_is_found_and_its_function_never_in_a_file(fold: SymbolicRegressor) -> None:
    assert fold.equations_.equation.iloc[-1] == "3*fold(x0) + 1"
    assert str(fold.sympy()) == "3*fold(x0) + 1"
    x = np.linspace(-2, 2, 9)[:, None]
    assert np.allclose(fold.torch_module()(torch.tensor(x)).detach(), fold.predict(x))
    with pytest.raises(UserError, match="operator 'fold' has no form in NumPy"):
        fold.source()
    assert "mod" not in fold.to_json()
    again = SymbolicRegressor.from_json(fold.to_json(), operators=fold.operators)
    assert np.array_equal(again.predict(x), fold.predict(x))
    assert clone(fold).operators is not None


def test_a_model_with_an_unknown_operator_says_which_and_what_to_do(
    fold: SymbolicRegressor, tmp_path: Path
) -> None:
    fold.save(tmp_path / "model.json")
    code = f"""
from rediscover import SymbolicRegressor
import numpy as np
try:
    SymbolicRegressor.load({str(tmp_path / "model.json")!r})
except ValueError as error:
    print(error)
own = {{"fold": lambda a: np.abs(np.mod(a, 2.0) - 1.0)}}
known = SymbolicRegressor.load({str(tmp_path / "model.json")!r}, operators=own)
print(known.predict([[0.5]]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    first, second = ended.stdout.splitlines()
    assert "uses the operator 'fold'" in first
    assert "operators={'fold': …}" in first
    assert second == "[2.5]"


def test_a_set_of_operators_has_one_order() -> None:
    assert operator_names({"mul", "add", "sin"}) == ("add", "mul", "sin")
    assert operator_names(["mul", "add"]) == ("mul", "add")


def test_operators_of_ones_own_alone_are_added_to_the_default_ones() -> None:
    assert operator_names({"half": lambda a: a / 2}) == (*operator_names(None), "half")
    assert operator_names({"half": lambda a: a / 2, "add": None}) == ("add", "half")


# --- intervals --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def line() -> SymbolicRegressor:
    """A straight line with a tenth of noise, which is row 1 of the equations."""
    x = np.random.default_rng(3).uniform(0, 2, (50, 1))
    y = 2.0 * x[:, 0] + 1.0 + 0.1 * np.random.default_rng(6).normal(size=50)
    model = quick(guesses=["2*x0 + 1"], max_evaluations=1, operators=["add", "mul"]).fit(x, y)
    [place] = [k for k, fit in enumerate(model._fits[0].candidates) if len(fit.expression.constants) == 2]
    model.line = place  # type: ignore[attr-defined]
    model.rows = x, y  # type: ignore[attr-defined]
    return model


def test_constants_have_intervals_that_linear_regression_has(line: SymbolicRegressor) -> None:
    x, y = line.rows
    columns = np.column_stack([x, np.ones(50)])
    middle, [squares], *_ = np.linalg.lstsq(columns, y)
    half = 2.0106347546964454 * np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)) * squares / 48)
    expected = {round(float(m), 2): (m - h, m + h) for m, h in zip(middle, half, strict=True)}
    for ends in line.equations_.intervals[line.line]:
        [own] = [expected[m] for m in expected if own_middle(ends) == pytest.approx(m, abs=0.02)]
        assert ends == pytest.approx(own, abs=0.002)
    assert line.latex(line.line, intervals=True).count(r"\pm") == 2
    assert r"\pm" not in line.latex(line.line)


def own_middle(ends: tuple[float, float]) -> float:
    return (ends[0] + ends[1]) / 2.0


def test_new_measurements_lie_in_their_interval_and_the_law_in_that_of_the_curve(line: SymbolicRegressor) -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 2, (2_000, 1))
    law = 2.0 * x[:, 0] + 1.0
    low, high = line.predict_interval(x, index=line.line).T
    measured = law + 0.1 * rng.normal(size=2_000)
    assert 0.9 < np.mean((low < measured) & (measured < high)) < 0.99
    narrow = line.predict_interval(x, curve=True, index=line.line)
    assert (np.ptp(narrow, axis=1) < 0.5 * (high - low)).all()
    assert np.mean((narrow[:, 0] < law) & (law < narrow[:, 1])) > 0.5
    half = np.ptp(line.predict_interval(x, 0.5, index=line.line), axis=1)
    assert (half < 0.5 * (high - low)).all()
    with pytest.raises(ValueError, match="level=95"):
        line.predict_interval(x, 95)


def test_intervals_are_computed_when_they_are_asked_for(line: SymbolicRegressor, gas: SymbolicRegressor) -> None:
    fresh = quick(max_evaluations=1).fit(*line.rows)
    assert "intervals" not in vars(fresh._fits[0])
    assert len(fresh.equations_.intervals) == len(fresh.equations_)
    exact = gas.equations_
    assert exact.intervals[exact.index[exact.picked][0]] == []
    assert np.array_equal(gas.predict_interval(GAS)[:, 0], gas.predict(GAS))


def test_files_and_pickles_hold_the_intervals_without_the_rows(line: SymbolicRegressor) -> None:
    x, _ = line.rows
    for again in (SymbolicRegressor.from_json(line.to_json()), pickle.loads(pickle.dumps(line))):
        assert again.equations_.intervals.tolist() == line.equations_.intervals.tolist()
        assert np.array_equal(again.predict_interval(x), line.predict_interval(x))
        assert again._fits[0].measurements is None


def widths(*rows: Any) -> np.ndarray:
    """Widths of the interval of the slope of a straight line through the origin."""
    model = quick(guesses=["2*x0"], max_evaluations=1, operators=["mul"]).fit(*rows)
    [place] = [k for k, each in enumerate(model._fits[0].candidates) if len(each.expression.tokens) == 3]
    return np.ptp(model._fits[0].intervals[place].ends, axis=1)


def test_weights_are_inverse_variances_but_for_a_factor() -> None:
    rng = np.random.default_rng(6)
    x = rng.uniform(0, 2, (40, 1))
    spread = np.where(x[:, 0] < 1.0, 0.01, 1.0)
    y = 2.0 * x[:, 0] + spread * rng.normal(size=40)
    weighted = widths(x, y, spread**-2.0)
    assert weighted < 0.1 * widths(x, y)
    assert widths(x, y, 7.0 * spread**-2.0) == pytest.approx(weighted, rel=1e-6)


def test_a_row_twice_is_two_measurements_in_an_interval() -> None:
    rng = np.random.default_rng(10)
    x = rng.uniform(0, 2, (40, 1))
    y = 2.0 * x[:, 0] + 0.3 * rng.normal(size=40)
    once, twice = widths(x, y), widths(np.repeat(x, 2, axis=0), np.repeat(y, 2))
    assert twice == pytest.approx(once * np.sqrt(39 / 79) * 1.9904502 / 2.0226909, rel=1e-4)
    assert widths(x, y, np.full(40, 2.0)) == pytest.approx(once, rel=1e-6)


def test_several_targets_have_an_interval_each() -> None:
    rng = np.random.default_rng(7)
    x = rng.uniform(0, 2, (40, 1))
    y = np.column_stack([2.0 * x[:, 0], np.zeros(40)]) + rng.normal(size=(40, 2)) * [0.1, 0.0]
    found = quick(max_evaluations=1).fit(x, y).predict_interval(x)
    assert found.shape == (40, 2, 2)
    assert (np.ptp(found[:, 0], axis=1) > 0.2).all()
    assert (found[:, 1] == 0).all()
