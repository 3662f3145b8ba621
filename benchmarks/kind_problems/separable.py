"""Laws that are a sum or a product of two parts without a common variable, each two deep.

The parts are laws of other kinds, of one or two variables; of a product, the second part is positive.
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
_LOOKED_AT = 1000  # rows
_LARGEST = 1e4  # of the target, in units of its median
_BALANCE = 10.0  # of the parts' standard deviations, at most


def problem(number: int, seed: int) -> Problem:
    """Problem `number`: sums and products take turns."""
    rng = number_generator("separable", number, seed)
    for attempt in itertools.count():
        kinds = rng.choice(len(_LAWS), 2)
        start = 200_000 + 1000 * number + 2 * attempt
        parts = [_LAWS[kind](start + place, seed) for place, kind in enumerate(kinds.tolist())]
        if any(len(part.variables) > 2 or not isinstance(part.source, Uniform) for part in parts):
            continue
        first = len(parts[0].variables)
        second = [f"x{first + column}" for column in range(len(parts[1].variables))]
        texts = parts[0].truth.infix(), parts[1].truth.infix(second)
        low, high = (sum((getattr(part.source, end) for part in parts), ()) for end in ("low", "high"))
        inputs = rng.uniform(low, high, (_LOOKED_AT, len(low)))
        with np.errstate(all="ignore"):
            values = [parts[0].truth(inputs[:, :first]), parts[1].truth(inputs[:, first:])]
        spreads = [float(np.std(np.broadcast_to(value, _LOOKED_AT))) for value in values]
        if not all(np.isfinite(value).all() for value in values) or not min(spreads) > 0:
            continue
        if number % 2 == 0 and max(spreads) > _BALANCE * min(spreads):
            continue
        found = posed("separable", number, f"({texts[0]}) {'+*'[number % 2]} ({texts[1]})", low, high)
        target = found.truth(inputs)
        if np.abs(target).max() < _LARGEST * np.median(np.abs(target)) and is_a_question(found):
            return found
    raise AssertionError("counting has no end")
