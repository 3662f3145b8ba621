"""The recovery rule is SRBench's, and equations are compared where they are defined."""

from __future__ import annotations

import pytest

from expressions.equivalence import comparison_rows, equivalent, recovered
from expressions.parsing import parse


@pytest.mark.parametrize(
    ("model", "truth", "expected"),
    [
        ("x0*x1", "x1*x0", True),
        ("x0*x1 + 3.7", "x1*x0", True),  # a constant apart
        ("-2.5*x0*x1", "x1*x0", True),  # a factor apart
        ("3.1404*x0 + sin(x1)", "pi*x0 + sin(x1)", False),  # 3.140 and 3.142 after rounding
        ("3.1417*x0 + sin(x1)", "pi*x0 + sin(x1)", True),
        ("x0*(x1 + x2) + 0.00001*x1", "x0*x1 + x0*x2", True),
        ("x0*(x1 + x2) + 0.01*x1", "x0*x1 + x0*x2", False),
        ("sin(x0)*cos(x0)", "sin(2*x0)", True),
        ("1 - sin(x0)**2", "cos(x0)**2", True),
        ("sin(x0 + 1.5708)", "cos(x0)", True),  # what is left rounds to 0
        ("sin(x0 + 1.6)", "cos(x0)", False),
        ("(x0**2 - 1)/(x0 - 1)", "x0", True),
        ("sqrt(x0*x0 + x1**2)", "sqrt(x0**2 + x1**2)", True),
        ("exp(-x0**2/2)/sqrt(2*pi)", "0.3989*exp(-0.5*x0**2)", True),
        ("x0", "x0**2", False),
        ("0", "x0", False),
        ("5", "x0", False),
        ("x0 - x0**3/6 + x0**5/120", "sin(x0)", False),
    ],
)
def test_recovered(model: str, truth: str, expected: bool) -> None:
    assert recovered(parse(model), parse(truth)) is expected


def test_recovered_without_an_answer_of_sympy() -> None:
    truth = parse("sin(x0)*cos(x0)")
    assert recovered(parse("0.5*sin(2*x0)"), truth, seconds=0.0)
    assert not recovered(parse("0.5*sin(2*x0) + 0.01*x0"), truth, seconds=0.0)


def test_equivalent() -> None:
    X = comparison_rows(2)
    truth = parse("x0/(x0 + x1)")
    assert equivalent(parse("1/(1 + x1/x0)"), truth, X)
    assert not equivalent(parse("x0/(x0 + 1.00001*x1)"), truth, X)
    assert not equivalent(parse("x0/(x0 + x1) + 1"), truth, X)  # an offset is not the same equation
    assert not equivalent(parse("sqrt(x0)"), parse("abs(x0)**0.5"), X)  # not finite on some rows
    assert equivalent(parse("log(x0)"), parse("2*log(x0) - log(x0)"), X)  # nor is the truth
    assert not equivalent(parse("x0"), parse("log(-1 - x0**2)"), X)  # the truth is nowhere
