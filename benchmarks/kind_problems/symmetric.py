"""Laws in which two variables stand together: in a difference, a sum, a product or a quotient, and nowhere else.

A law of another kind, of two or three variables, has one or two of them replaced by such a pair of new ones.
"""

from __future__ import annotations

import itertools

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems import compositions, power_laws, rationals, waves
from benchmarks.kind_problems.posing import number_generator, posed
from datamodules.tables.problems import Problem, Uniform

__all__ = ["problem"]

_LAWS = (rationals.problem, compositions.problem, waves.problem, power_laws.problem)
_PAIRS = ("({0} - {1})", "({0} + {1})", "({0}*{1})", "({0}/{1})")
_WITHIN = (0.5, 3.0)  # the new variables
_LOOKED_AT = 1000  # rows
_LARGEST = 1e4  # of the target, in units of its median


def problem(number: int, seed: int) -> Problem:
    """Problem `number`; the kinds of the outer law take turns."""
    rng = number_generator("symmetric", number, seed)
    for attempt in itertools.count():
        law = _LAWS[number % len(_LAWS)](100_000 + 1000 * number + attempt, seed)
        count = len(law.variables)
        if not 2 <= count <= 3 or not isinstance(law.source, Uniform):
            continue
        replaced = set(rng.choice(count, int(rng.integers(1, 3)), replace=False).tolist())
        low: list[float] = []
        high: list[float] = []
        names = []
        for column in range(count):
            pair = _PAIRS[int(rng.integers(len(_PAIRS)))]
            new = [f"x{len(low)}", f"x{len(low) + 1}"]
            names.append(pair.format(*new) if column in replaced else new[0])
            low += [_WITHIN[0]] * 2 if column in replaced else [law.source.low[column]]
            high += [_WITHIN[1]] * 2 if column in replaced else [law.source.high[column]]
        found = posed("symmetric", number, law.truth.infix(names), low, high)
        with np.errstate(all="ignore"):
            values = found.truth(rng.uniform(low, high, (_LOOKED_AT, len(low))))
        largest = _LARGEST * float(np.median(np.abs(values)))
        if np.isfinite(values).all() and np.abs(values).max() < largest and is_a_question(found):
            return found
    raise AssertionError("counting has no end")
