"""The parser reads the grammar exactly, and rejects everything else quickly and with a clear sentence."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.expression import Expression
from expressions.limits import MAX_DEPTH, MAX_TEXT, MAX_TOKENS
from expressions.operators import FIRST_VARIABLE, OPERATORS, TOKEN
from expressions.parsing import MAX_NESTING, ParseError, parse
from foundation.errors import UserError

X0, X1 = Expression.variable(0), Expression.variable(1)


def call(name: str, *arguments: Expression | float) -> Expression:
    return Expression.apply(name, *(a if isinstance(a, Expression) else Expression.constant(a) for a in arguments))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x0", X0),
        (" ( x0 ) ", X0),
        ("x0 + x1*x0", call("add", X0, call("mul", X1, X0))),
        ("x0 - x1 - x0", call("sub", call("sub", X0, X1), X0)),
        ("x0/x1*x0", call("mul", call("div", X0, X1), X0)),
        ("-x0**2", call("neg", call("square", X0))),
        ("(-x0)**2", call("square", call("neg", X0))),
        ("-x0*x1", call("mul", call("neg", X0), X1)),
        ("2**-x0", call("pow", 2.0, call("neg", X0))),
        ("2**-x0*x1", call("mul", call("pow", 2.0, call("neg", X0)), X1)),
        ("x0**x1**x0", call("pow", X0, call("pow", X1, X0))),
        ("x0**2", call("square", X0)),
        ("x0**3", call("cube", X0)),
        ("x0**4", call("pow4", X0)),
        ("x0**5", call("pow5", X0)),
        ("x0**6", call("pow6", X0)),
        ("x0**7", call("pow7", X0)),
        ("x0**10", call("pow10", X0)),
        ("x0**11", call("pow", X0, 11.0)),
        ("x0**2.0", call("pow", X0, 2.0)),
        ("x0**-1", call("pow", X0, -1.0)),
        ("pow(x0, 2)", call("pow", X0, 2.0)),
        ("1/x0", call("inv", X0)),
        ("1.0/x0", call("div", 1.0, X0)),
        ("-1/x0", call("div", -1.0, X0)),
        ("2*1/x0", call("div", call("mul", 2.0, 1.0), X0)),
        ("x1 - 1/x0", call("sub", X1, call("inv", X0))),
        ("1/x0**2", call("inv", call("square", X0))),
        ("-3.5", Expression.constant(-3.5)),
        ("-(3.5)", call("neg", 3.5)),
        ("-3.5**2", call("neg", call("square", 3.5))),
        ("x0 - -3.5", call("sub", X0, -3.5)),
        ("+x0", X0),
        ("--x0", call("neg", call("neg", X0))),
        ("1e-3", Expression.constant(1e-3)),
        (".5e+1", Expression.constant(5.0)),
        ("2.", Expression.constant(2.0)),
        ("pi", Expression.constant(math.pi)),
        ("e", Expression.constant(math.e)),
        ("max(x0, min(x1, 2))", call("max", X0, call("min", X1, 2.0))),
        ("safe_div(x0, x1)", call("safe_div", X0, X1)),
    ],
)
def test_reads_the_grammar(text: str, expected: Expression) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("row", OPERATORS, ids=lambda row: row.name)
def test_every_operator_is_a_function(row) -> None:
    arguments = [Expression.variable(j) for j in range(row.arity)]
    assert parse(f"{row.name}({', '.join(f'x{j}' for j in range(row.arity))})") == call(row.name, *arguments)


def test_names() -> None:
    names = ["e", "sin", "HouseAge", "_a1"]
    assert parse("e", names) == Expression.variable(0)
    assert parse("sin(sin)", names) == call("sin", Expression.variable(1))
    assert parse("HouseAge*_a1 + pi", names).tokens.tolist()[:2] == [TOKEN["add"], TOKEN["mul"]]
    assert parse("x12").tokens.tolist() == [FIRST_VARIABLE + 12]


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("", "empty", 1),
        (" \t\n ", "empty", 1),
        ("__import__('os')", '"\'" at character 12', 12),
        ("__import__(os)", "unknown function '__import__'", 1),
        ("x0.real", "'.' at character 3", 3),
        ("x0 if x1 else x0", "'if'", 4),
        ("lambda: 0", "':'", 7),
        ("x0[0]", r"'\['", 3),
        ("x0 < 1", "'<'", 4),
        ("x0 == 1", "'='", 4),
        ("x0; x1", "';'", 3),
        ("x0\x00", "U\\+0000", 3),
        ("x0^2", "a power is written with", 3),
        ("\uff12*x0", "U\\+FF12", 1),  # fullwidth digit
        ("\u04450 + 1", "U\\+0445", 1),  # Cyrillic letter that looks like x
        ("\u03b1", "U\\+03B1", 1),
        ("x0 \u2212 1", "U\\+2212", 4),  # minus sign, not hyphen
        ("x0\u00a0+ 1", "U\\+00A0", 3),
        ("x\u0663", "U\\+0663", 2),  # Arabic-Indic digit, which \d would accept
        ("x0\u200b", "U\\+200B", 3),
        ("x0 +", "the equation ends", 5),
        ("x0 x1", "a product is written with", 4),
        ("2x0", "a product is written with", 2),
        ("2(x0)", "a product is written with", 2),
        ("(x0)(x1)", "a product is written with", 5),
        ("x0(x1)", "a product is written with", 1),
        ("1_000", "'_000'", 2),
        ("0x10", "'x10'", 2),
        ("1.2.3", "'.3'", 4),
        ("1e", "'e'", 2),
        ("1j", "'j'", 2),
        ("*x0", "found '\\*'", 1),
        ("x0 // x1", "found '/'", 5),
        ("()", "found '\\)'", 2),
        ("(x0", "is not closed", 4),
        ("x0)", "closes nothing", 3),
        ("(x0, x1)", "found ','", 4),
        ("x0, x1", "found ','", 3),
        ("max(x0)", "given 1 arguments; it takes 2", 1),
        ("max(x0, x1, x0)", "given 3 arguments", 1),
        ("sin()", "found '\\)'", 5),
        ("sin(x0,)", "found '\\)'", 8),
        ("max(x0, (x1, x0))", "found ','", 12),
        ("sin", "needs its arguments in brackets", 1),
        ("1e999", "beyond the range", 1),
        ("nan", "unknown name 'nan'", 1),
        ("inf", "unknown name 'inf'", 1),
        ("x01", "unknown name 'x01'", 1),
        ("x99999", "unknown name 'x99999'", 1),
        ("sqr(x0)", "did you mean sqrt", 1),
        ("ln(x0)", "did you mean log", 1),
        ("y + 1", "x0, x1, x2", 1),
    ],
)
def test_rejects_with_position(text: str, message: str, position: int) -> None:
    with pytest.raises(ParseError, match=message) as caught:
        parse(text)
    assert caught.value.position == position
    assert isinstance(caught.value, UserError)
    assert str(caught.value).isascii() or "…" in str(caught.value)


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(ParseError, match="did you mean AveRooms"):
        parse("AveRoms + 1", ["HouseAge", "AveRooms"])
    with pytest.raises(ParseError, match="two variables are called 'a'"):
        parse("a", ["a", "a"])


@pytest.mark.parametrize("not_text", [None, b"x0", 3, ["x0"]])
def test_not_text(not_text) -> None:
    with pytest.raises(ParseError, match="an equation is text"):
        parse(not_text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "x0" + ")" * 10_000,
        "sin(" * 10_000 + "x0" + ")" * 10_000,
        "-" * 10_000 + "x0",
        "x0" + "**x0" * 10_000,
        "x0**-" * 10_000 + "x0",
        "(" * (MAX_NESTING + 1) + "x0" + ")" * (MAX_NESTING + 1),
        "1" * (MAX_TEXT - 1) + "a",
        "a" * MAX_TEXT,
        "9" * MAX_TEXT,
        "1e" + "9" * (MAX_TEXT - 2),
        "x0+" * (MAX_TEXT // 3),
        "1" * 10_000_000,
    ],
    ids=lambda text: f"{text[:6]}…{len(text)}",
)
def test_hostile_text_ends_in_bounded_time(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ParseError):
        parse(text)
    assert time.perf_counter() - start < 5.0


def test_limits_are_inclusive() -> None:
    assert parse("(" * MAX_NESTING + "x0" + ")" * MAX_NESTING) == X0
    assert parse(" " * (MAX_TEXT - 2) + "x0") == X0


def test_an_equation_has_at_most_a_thousand_tokens_of_which_two_hundred_are_inside_each_other() -> None:
    longest = "+".join(["a"] * (MAX_DEPTH + 1))
    assert parse(longest, ["a"]).infix(["a"]).replace(" ", "") == longest
    assert parse(longest, ["a"]).depth == MAX_DEPTH
    with pytest.raises(ParseError, match="201 operators inside each other"):
        parse(longest + "+a", ["a"])
    balanced = "*".join("(" + "+".join(["a"] * 25) + ")" for _ in range(20))
    assert len(parse(balanced, ["a"])) == MAX_TOKENS - 1
    with pytest.raises(ParseError, match="1,001 operators, variables and numbers"):
        parse(balanced + "+2", ["a"])


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60))
def test_any_text_parses_or_raises_parse_error(text: str) -> None:
    try:
        expression = parse(text)
    except ParseError as error:
        position = error.position
    else:
        position = 1
        assert parse(expression.infix()).infix() == expression.infix()
    assert 1 <= position <= len(text) + 1


@settings(max_examples=600, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"+-*/(),", "**", "x0", "x1", "1", "2", "0.5", "1e3", "sin(", "max(", "pi", " ", "x"]),
        max_size=25,
    ).map("".join)
)
def test_scrambled_lexemes_parse_as_python_does(text: str) -> None:
    """Whatever the parser accepts, Python's own grammar accepts, with the same value."""
    try:
        expression = parse(text)
    except ParseError:
        return
    if max(expression.variables, default=0) > 1:  # x0 and 1 side by side are the name x01, x1 and 1 are x11
        return
    space = {"x0": 1.25, "x1": 0.75, "pi": math.pi, "sin": math.sin, "max": max}
    try:
        expected = eval(text.strip(), {"__builtins__": {}}, space)  # made of the lexemes above only
    except (OverflowError, ZeroDivisionError, SyntaxError, ValueError):
        return  # integers too large, 1/0, 007: not about the grammar
    value = float(expression([[1.25, 0.75]])[0])
    if isinstance(expected, int | float) and math.isfinite(expected) and math.isfinite(value):
        assert value == pytest.approx(expected, rel=1e-12)
