"""Waves: sums of one to three, or products of two, of up to 100 periods over the range of what waves.

What waves is a variable, its square or cube, or a product of two; half have an offset, and a third a trend, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.posing import coefficient, interval, number_generator, posed
from datamodules.tables.problems import Problem
from expressions.parsing import parse

__all__ = ["problem"]

_VARIABLES = 3  # at most
_PERIODS = (0.7, 100.0)  # over the range
_LOOKED_AT = 1000  # rows
_DIGITS = 4  # of a frequency


def problem(number: int, seed: int) -> Problem:
    """Problem `number`: one, two and three waves and products of two take turns."""
    rng = number_generator("waves", number, seed)
    while True:
        count = int(rng.integers(1, _VARIABLES + 1))
        low, high = zip(*(interval(rng) for _ in range(count)), strict=True)
        inputs = rng.uniform(low, high, (_LOOKED_AT, count))
        waves = [_wave(rng, inputs) for _ in range(2 if number % 4 == 3 else number % 4 + 1)]
        if number % 4 == 3:
            terms = [f"({coefficient(rng)!r})*{'*'.join(waves)}"]
        else:
            terms = [f"({coefficient(rng)!r})*{wave}" for wave in waves]
        if rng.random() < 0.5:
            terms.append(f"({coefficient(rng)!r})")
        if rng.random() < 1.0 / 3.0:
            terms.append(f"({coefficient(rng)!r})*x{int(rng.integers(count))}{rng.choice(['', '**2'])}")
        found = posed("waves", number, " + ".join(terms), low, high)
        if is_a_question(found):  # and depends on each of its variables
            return found


def _wave(rng: np.random.Generator, inputs: np.ndarray) -> str:
    """A sine or cosine, half of them with a phase."""
    argument = _argument(rng, inputs.shape[1])
    values = parse(argument, _names(inputs))(inputs)
    periods = math.exp(rng.uniform(math.log(_PERIODS[0]), math.log(_PERIODS[1])))
    frequency = float(f"{2.0 * math.pi * periods / np.ptp(values):.{_DIGITS}g}")
    phase = "" if rng.random() < 0.5 else f" + ({float(round(rng.uniform(-3.0, 3.0), 2))!r})"
    return f"{rng.choice(['sin', 'cos'])}({frequency!r}*{argument}{phase})"


def _argument(rng: np.random.Generator, count: int) -> str:
    kind = int(rng.integers(4 if count > 1 else 3))
    if kind == 3:
        one, other = rng.choice(count, 2, replace=False).tolist()
        return f"x{one}*x{other}"
    return f"x{int(rng.integers(count))}" + ("", "**2", "**3")[kind]


def _names(inputs: np.ndarray) -> Sequence[str]:
    return [f"x{column}" for column in range(inputs.shape[1])]
