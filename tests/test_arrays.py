"""Every search takes an array whole or says what is wrong with it: no mask and no imaginary part is dropped."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from expressions.parsing import parse
from expressions.skeleton import skeleton_of
from foundation.arrays import finite_numbers
from foundation.errors import UserError
from rediscover import SymbolicRegressor, discover
from rediscover.fitting import explain
from searches import genetic_programming, latent_cmaes, link_regression, portfolio, structures
from searches.evolution.settings import GeneticProgrammingSettings
from searches.latent_space.settings import LatentSearchSettings
from searches.links.settings import LinkRegressionSettings
from searches.portfolio import PortfolioSettings
from searches.structures import StructureSearchSettings
from tests.latent_maps import CodeMap

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2.0, (50, 2))
Y = X[:, 0] * X[:, 1]
FRAME = pd.DataFrame(X, columns=["a", "b"])
MASK = X > 1.9
SMALL = {"simplify_seconds": 0, "polish_equations": 1}
QUICK = PortfolioSettings(seconds=None, evaluations=100, methods=("genetic_programming",), **SMALL)


def latent(inputs: Any, target: Any) -> Any:
    settings = LatentSearchSettings(seconds=None, decodes=16, polish="none", **SMALL)
    book = CodeMap([skeleton_of(parse(text)) for text in ("x0*x1", "x0 + x1")], variables=2)
    return latent_cmaes.search(inputs, target, settings, latent_map=book, seed=0)


SEARCHES: dict[str, Callable[[Any, Any], Any]] = {
    "genetic_programming": lambda inputs, target: genetic_programming.search(
        inputs,
        target,
        GeneticProgrammingSettings(population=20, bank_size=20, generations=1, linked_sums=0, **SMALL),
        seed=0,
    ),
    "link_regression": lambda inputs, target: link_regression.search(
        inputs, target, LinkRegressionSettings(operators=("add", "mul"), **SMALL), seed=0
    ),
    "structures": lambda inputs, target: structures.search(
        inputs, target, StructureSearchSettings(seconds=None, instances=100, proposals=100, **SMALL), seed=0
    ),
    "latent_cmaes": latent,
    "portfolio": lambda inputs, target: portfolio.search(inputs, target, QUICK, seed=0),
    "explain": lambda inputs, target: explain(inputs, target, QUICK, seed=0),
    "SymbolicRegressor": lambda inputs, target: SymbolicRegressor(
        max_time=None, max_evaluations=100, method="genetic_programming", progress=False
    ).fit(inputs, target),
}

REFUSED: dict[str, tuple[Any, Any, str]] = {
    "masked inputs": (np.ma.array(X, mask=MASK), Y, "inputs.*masked|X: .*masked"),
    "a masked target": (X, np.ma.array(Y, mask=Y > 2), "target.*masked|y: .*masked"),
    "complex inputs": (X + 1j, Y, "Complex data not supported"),
    "a complex target": (X, Y + 0j, "Complex data not supported"),
    "complex objects": ((X + 1j).astype(object), Y, "Complex data not supported"),
    "infinities": (np.where(MASK, np.inf, X), Y, "not finite|infinity"),
    "a target with NaN": (X, np.where(Y > 2, np.nan, Y), "not finite|NaN"),
    "texts": (X.astype(str), Y, "Texts not supported"),
    "a target of texts": (X, Y.astype(str).astype(object), "Texts not supported"),
    "dates": ((1e9 * X).astype("M8[s]"), Y, "Dates not supported"),
    "a target of time spans": (X, (1e9 * Y).astype("m8[s]"), "Time spans not supported"),
    "a date in a frame": (FRAME.assign(a=pd.date_range("2020", periods=50)), Y, "Dates not supported"),
    "nothing in a cell": (np.where(MASK, None, X), Y, "not finite|NaN"),
    "pandas' missing value": (FRAME.assign(a=pd.Series([None, *range(49)], dtype="Int64")), Y, "not finite|NaN"),
    "a sparse matrix": (scipy.sparse.csr_matrix(X), Y, "sparse"),
    "a target beyond float64's squares": (X, 1e300 * Y, "scale it"),
}

TAKEN: dict[str, tuple[Any, Any]] = {
    "objects": (X.astype(object), Y.astype(object)),
    "a mask of nothing": (np.ma.array(X), np.ma.array(Y)),
    "lists": (X.tolist(), Y.tolist()),
    "pandas' nullable types": (FRAME.astype("Float64"), pd.Series(Y, dtype="Float64")),
    "truth values": (FRAME.assign(a=pd.Series(X[:, 0] > 1, dtype="boolean")), X[:, 0] > 1),
    "inputs of 1e300": (5e299 * X, Y),
    "inputs of 1e-300": (1e-300 * X, Y),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("name", SEARCHES)
def test_what_is_no_real_number_is_refused_by_name(name: str, case: str) -> None:
    inputs, target, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        SEARCHES[name](inputs, target)


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("name", ["genetic_programming", "SymbolicRegressor"])
def test_numbers_of_any_type_and_size_are_taken(name: str, case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = SEARCHES[name](*TAKEN[case])
    best = found.best_ if name == "SymbolicRegressor" else found.best
    assert best.train_nmse < 0.9


def test_what_is_given_to_predict_is_looked_at_too() -> None:
    model = SEARCHES["SymbolicRegressor"](X, Y)
    with pytest.raises(ValueError, match="masked"):
        model.predict(np.ma.array(X, mask=MASK))
    with pytest.raises(ValueError, match="masked"):
        model.score_equation("x0*x1", X, np.ma.array(Y, mask=Y > 2))


def test_a_frame_of_complex_numbers_is_refused() -> None:
    with pytest.raises(UserError, match="'a'"):
        discover(FRAME.assign(a=X[:, 0] + 1j, y=Y), "y", ["a", "b"], seconds=2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([[Fraction(1, 2)], [Decimal("0.25")]], [[0.5], [0.25]]), ([2**70], [2.0**70]), ([True, False], [1.0, 0.0])],
)
def test_exact_numbers_of_python_are_numbers(values: Any, expected: Any) -> None:
    assert finite_numbers(values, "these").tolist() == expected


@pytest.mark.parametrize(
    "values", [[[1, 2], [3]], [10**400], [{}], np.zeros(2, dtype=[("a", float), ("b", float)])]
)
def test_what_is_no_array_of_numbers_is_said(values: Any) -> None:
    with pytest.raises(ValueError, match="these: "):
        finite_numbers(values, "these")


def test_an_array_of_float64_is_not_copied() -> None:
    assert finite_numbers(X, "these") is X
