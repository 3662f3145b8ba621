"""Constants are shown with as many digits as the data allow, and no more."""

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.constant_rounding import readable
from expressions.goodness_of_fit import nmse
from expressions.parsing import parse

RNG = np.random.default_rng(0)
X = RNG.uniform(1.0, 3.0, (3_000, 2))


def test_noise_leaves_few_digits_and_costs_less_than_a_hundredth() -> None:
    target = 12.5 * X[:, 0] / (X[:, 1] + 1.75) + RNG.normal(0, 0.1, len(X))
    fitted = fit_constants([parse("12*x0/(x1 + 1.7)")], X, target).expressions[0]
    shown = readable(fitted, X, target)
    assert all(len(f"{c:.15g}".replace(".", "")) <= 5 for c in shown.constants)
    assert nmse(target, shown(X)) <= 1.02 * nmse(target, fitted(X))


def test_an_exact_equation_stays_exact() -> None:
    target = 8.98755e9 * X[:, 0] * np.pi / X[:, 1] ** 2
    shown = readable(parse(f"8.98755e9*x0*{np.pi * (1 + 1e-15)!r}/x1**2"), X, target)
    assert shown.constants[0] == 8.98755e9
    assert nmse(target, shown(X)) < 1e-22
    assert shown.constants[1] == 3.1415926536


def test_rounding_dust_goes() -> None:
    shown = readable(parse("0.30000000000000004*x0 + 1.9999999999999998"), X, 0.3 * X[:, 0] + 2)
    assert shown.constants.tolist() == [0.3, 2.0]


def test_scales_and_failures_are_kept() -> None:
    target = 1e-30 * X[:, 0]
    assert readable(parse("1.0000000000000002e-30*x0"), X, target).constants.tolist() == [1e-30]
    undefined = parse("0.1234567*log(x0 - 2)")
    assert readable(undefined, X, target) == undefined
    constant = parse("0.3333333333333333")
    assert readable(constant, X, np.full(len(X), 1 / 3)) == constant
