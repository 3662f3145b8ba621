"""Formulas for the eye: laid out right, and safe whatever the names are."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from rich.console import Console, RenderableType

from expressions.expression import Expression
from expressions.operators import OPERATORS
from expressions.parsing import parse
from reports.discovery_parts.terminal import Formula, front_table, summary
from reports.typeset.mathml import mathml
from reports.typeset.notation import Name, name_of
from reports.typeset.terminal import formula_lines, width_of
from tests.strategies import ALL_OPERATORS, expressions
from tests.test_discovery import HOSTILE, discovery

# With / and \ for the strokes of a root, and - for the minus sign.
LAID_OUT = [
    ("0.5*m*v**2", ["y₁ = 0.5 m v²"]),
    ("x1 - -2*m + -(m*x1)", ["y₁ = x₁ + 2 m - m x₁"]),
    ("m**2*3*theta", ["y₁ = 3 m² θ"]),
    ("8.98755e9*m/v**2/m", ["     8.98755·10⁹ m", "y₁ = ─────────────", "         v² m"]),
    ("1/(m*(1/v))", ["     v", "y₁ = ─", "     m"]),
    ("(m/v)**2", ["     ⎛m⎞²", "y₁ = ⎜─⎟", "     ⎝v⎠"]),
    ("sqrt(2*m)", ["      ___", "y₁ = √2 m"]),
    ("m**0.5 + v**-1", ["      _   1", "y₁ = √m + ─", "          v"]),
    ("m**0.35", ["      0.35", "y₁ = m"]),
    ("exp(-m)", ["      -m", "y₁ = e"]),
    ("exp(m/v)", ["        ⎛m⎞", "y₁ = exp⎜─⎟", "        ⎝v⎠"]),
    ("abs(m - 1)*safe_log(v)", ["y₁ = │m - 1│ log│v│"]),
    ("sqrt(m/v)", ["         _", "        /m", "y₁ =   / ─", "     \\/  v"]),
    ("cbrt(m)*(m + v)*(-1)", ["        _", "y₁ = -³√m (m + v)"]),
    ("1e-9*m + 0.00012*v + 1200000", ["y₁ = 10⁻⁹ m + 0.00012 v + 1.2·10⁶"]),
]


def printed(renderable: RenderableType, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, legacy_windows=False).print(renderable)
    return stream.getvalue()


@pytest.mark.parametrize(("text", "lines"), LAID_OUT, ids=lambda value: value if isinstance(value, str) else "")
def test_a_formula_is_laid_out(text: str, lines: list[str]) -> None:
    names = ["m", "v", "x1", "theta"]
    expected = [line.translate({ord("-"): 0x2212, ord("/"): 0x2571, ord("\\"): 0x2572}) for line in lines]
    assert formula_lines(parse(text, names), names, "y_1") == expected


@settings(max_examples=150, deadline=None)
@given(expressions(operators=ALL_OPERATORS))
def test_every_formula_is_set_within_the_width(expression: Expression) -> None:
    lines = formula_lines(expression, ["a", "b_2", "T [K]"], "y", width=60)
    assert len(lines) == 1 or max(map(width_of, lines)) <= 60
    ElementTree.fromstring(mathml(expression, ["a", "b_2", "T [K]"], "y"))


@pytest.mark.parametrize("row", OPERATORS, ids=lambda row: row.name)
def test_every_operator_is_set(row) -> None:
    expression = Expression.apply(row.name, *map(Expression.variable, range(row.arity)))
    assert "x₀" in "".join(formula_lines(expression, width=500))
    assert "<mi>x</mi><mn>0</mn>" in mathml(expression)


def test_a_large_formula_comes_as_text() -> None:
    deep = Expression.variable(0)
    for _ in range(2_000):
        deep = Expression.apply("tanh", deep)
    assert len(formula_lines(deep, width=10**6)) == 1
    assert mathml(deep, ["<b>"]).startswith("<code>tanh(")
    assert "<b>" not in mathml(deep, ["<b>"])
    one_term = parse("*".join(f"sin(x{k})" for k in range(40)))
    assert len(formula_lines(one_term, width=80)) == 1


def test_a_wide_sum_is_broken_between_its_terms() -> None:
    wide = parse(" + ".join(f"x{k}/x{k + 1}" for k in range(40)))
    assert len(formula_lines(wide, width=400)) == 3
    lines = formula_lines(wide, target="y", width=80)
    assert max(map(width_of, lines)) <= 80
    assert len(lines) == 4 * 4 - 1
    assert lines[5].startswith("     + ")
    flat = formula_lines(parse("x0*x1 - x1*x2 + x2*x3"), target="y", width=20)
    assert flat == [f"y = x₀ x₁ {chr(0x2212)} x₁ x₂", "     + x₂ x₃"]


def test_hostile_names_stay_text() -> None:
    expression = parse("x0 + x1*x2")
    drawn = mathml(expression, HOSTILE, HOSTILE[0])
    ElementTree.fromstring(drawn)
    assert "<script>" not in drawn
    names = ("\x1b[31mred", "[bold]b[/bold]", "a\nb")
    for text in (printed(Formula(expression, names, "y"), 80), printed(summary(discovery(names=names)), 120)):
        assert "\x1b" not in text
        assert "[bold]b[/bold]" in text
        assert "a\nb" not in text


@pytest.mark.parametrize(
    ("name", "text", "index"),
    [
        ("x1", "x", "1"),
        ("q_12", "q", "12"),
        ("theta_C", "θ", "C"),
        ("lambda_", "λ", ""),
        ("Omega", "Ω", ""),
        ("v_max", "v", "max"),
        ("AveRooms", "AveRooms", ""),
        ("mass_2", "mass_2", ""),
        ("T [K]", "T [K]", ""),
        ("a\nb", "a\N{REPLACEMENT CHARACTER}b", ""),
    ],
)
def test_names_have_greek_letters_and_indices(name: str, text: str, index: str) -> None:
    assert name_of(name) == Name(text, index)


def test_names_that_would_look_alike_stay_as_they_are() -> None:
    assert formula_lines(parse("x0*x1"), ["x1", "x_1"]) == ["x1 x_1"]


def test_a_column_called_e_is_not_the_base_of_logarithms() -> None:
    assert formula_lines(parse("exp(a)*e", ["a", "e"]), ["a", "e"]) == ["exp(a) e"]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_table_fits_and_marks_the_picked_row(width: int) -> None:
    made = discovery()
    text = printed(front_table(made.front, made.chosen, made.names, made.target_name), width)
    assert max(map(width_of, text.splitlines())) <= width
    marked = [line for line in text.splitlines() if line.startswith("►")]
    assert len(marked) == 1
    assert "2.5e-31" in marked[0]
    assert "8.314*n" in marked[0]


def test_the_end_of_a_search() -> None:
    text = printed(summary(discovery()), 100)
    assert "8.314 n T_K" in text
    assert "linear" in text
    assert "0.91" in text
    assert "guess" in printed(summary(discovery(8, held_out=None, scores={})), 100)


def test_digits_are_those_that_the_data_support() -> None:
    made = discovery()
    assert made.train is not None
    noisy = made.train[1] + np.random.default_rng(1).normal(0, 1.0, len(made.train[1]))
    text = printed(summary(discovery(train=(made.train[0], noisy))), 100)
    assert "8.314" not in text
    assert "8.3" in text
