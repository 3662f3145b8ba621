"""Piecewise laws of one to four variables: the larger or smaller of two laws, magnitudes, clipping, and jumps.

Pieces are lines and parabolas, in every fifth problem with a function of one variable. Every third problem has one
more column as a factor or a divisor. Jumps are written with x/abs(x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.posing import coefficient, interval, number_generator, posed
from datamodules.tables.problems import Problem
from expressions.parsing import parse

__all__ = ["problem"]

_VARIABLES = 4  # at most
_LEAST_SHARE = 0.12  # of the rows, in each piece
_LOOKED_AT = 1000  # rows
_SHAPES = ("max", "min", "abs", "clip", "jump")
_FUNCTIONS = ("sin({v})", "exp({v})", "sqrt(abs({v}))")


def problem(number: int, seed: int) -> Problem:
    """Problem `number`, whose shapes take turns; each piece has an eighth of the rows or more."""
    rng = number_generator("piecewise", number, seed)
    shape = _SHAPES[number % len(_SHAPES)]
    while True:
        count = int(rng.integers(1, _VARIABLES + 1))
        low, high = zip(*(interval(rng) for _ in range(count)), strict=True)
        inputs = rng.uniform(low, high, (_LOOKED_AT, count))
        formula, switches = _shape(rng, shape, count, with_function=number % 15 == 4)
        if not all(_is_balanced(text, inputs) for text in switches):
            continue
        bounds = [list(low), list(high)]
        if number % 3 == 2 and count < _VARIABLES:
            bounds = [[*low, 0.5], [*high, 3.0]]
            formula = f"({formula})*x{count}" if number % 2 else f"({formula})/x{count}"
        found = posed("piecewise", number, formula, *bounds)
        if is_a_question(found):
            return found


def _shape(rng: np.random.Generator, shape: str, count: int, with_function: bool) -> tuple[str, Sequence[str]]:
    """Formula, and the numbers whose signs tell the pieces."""
    one, other = (_law(rng, count, with_function and k == 0) for k in range(2))
    if shape in ("max", "min"):
        return f"{shape}({one}, {other})", [f"({one}) - ({other})"]
    if shape == "abs":
        return f"({coefficient(rng)!r})*abs({one}) + {_law(rng, count, False)}", [one]
    if shape == "clip":
        low, high = sorted(float(round(value, 1)) for value in rng.uniform(-4.0, 4.0, 2))
        return f"max(min({one}, {high!r}), {low!r})", [f"({one}) - ({low!r})", f"({one}) - ({high!r})"]
    column = int(rng.integers(count))
    switch = f"x{column} - ({float(round(rng.uniform(-2.0, 4.0), 1))!r})"
    return f"({one}) + ({other})*({switch})/abs({switch})", [switch]


def _law(rng: np.random.Generator, count: int, with_function: bool) -> str:
    """A constant and one to three terms: columns, squares, products, or a function of one."""
    terms = [f"({coefficient(rng)!r})"]
    for _ in range(int(rng.integers(1, 4))):
        one, other = (f"x{int(rng.integers(count))}" for _ in range(2))
        text = one if rng.random() < 0.6 else f"{one}*{other}"
        terms.append(f"({coefficient(rng)!r})*{text}")
    if with_function:
        text = str(rng.choice(_FUNCTIONS)).format(v=f"x{int(rng.integers(count))}")
        terms.append(f"({coefficient(rng)!r})*{text}")
    return " + ".join(terms)


def _is_balanced(text: str, inputs: np.ndarray) -> bool:
    """Whether a number is positive and negative on enough rows."""
    values = parse(text, [f"x{k}" for k in range(inputs.shape[1])])(inputs)
    share = float(np.mean(values > 0))
    return _LEAST_SHARE < share < 1.0 - _LEAST_SHARE
