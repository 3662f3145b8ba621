"""Products of one to five factors whose values span ten orders of magnitude and more: few rows rule them.

Factors are exponentials of a variable, of its inverse and of its square, powers of magnitudes, powers of a
variable that comes close to 0, sums and differences, and sines. Of every five problems, the last has a factor that
is a function of two variables.
"""

from __future__ import annotations

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.posing import coefficient, number_generator, posed
from datamodules.tables.problems import Problem

__all__ = ["problem"]

_DECADES = 10.0  # between the smallest and the largest magnitude, at least
_VARIABLES = 5  # at most
_LOOKED_AT = 300  # rows

_FACTORS: dict[str, tuple[float, float]] = {
    "exp({r}*{v})": (-6.0, 6.0),
    "exp(-{r}*{v}**2)": (-3.0, 3.0),
    "exp(-{r}/{v})": (0.05, 1.0),
    "abs({v})**{p}": (-5.0, 5.0),
    "{v}**{k}": (-5.0, 5.0),
    "1/{v}**{k}": (0.01, 2.0),
    "({v}**2 + 1)**{k}": (-9.0, 9.0),
    "sin({v})": (0.0, 6.0),
    "log({v})": (1.1, 50.0),
    "1/(exp({v}) - 1)": (0.1, 20.0),
}
"""Text of a factor -> range of its variable."""
_PAIRS = ("exp(-{r}*{v}*{w})", "exp(-{r}*{v}/{w})", "({v} + {w})**{k}", "1/({v} - {w})**{k}")
_RANGE_OF_PAIR = (0.2, 5.0)


def problem(number: int, seed: int) -> Problem:
    """Problem `number`, whose magnitudes span ten decades on random rows."""
    rng = number_generator("heavy tails", number, seed)
    while True:
        variables = int(rng.integers(2, _VARIABLES + 1))
        texts, low, high = [], [], []
        if number % 5 == 4:
            texts.append(_filled(rng, str(rng.choice(_PAIRS)), 0, 1))
            low, high = [_RANGE_OF_PAIR[0]] * 2, [_RANGE_OF_PAIR[1]] * 2
        for variable in range(len(low), variables):
            text = list(_FACTORS)[int(rng.integers(len(_FACTORS)))]
            texts.append(_filled(rng, text, variable))
            low.append(_FACTORS[text][0])
            high.append(_FACTORS[text][1])
        found = posed("heavy_tails", number, f"({coefficient(rng)!r})*" + "*".join(texts), low, high)
        sizes = np.abs(found.sample(_LOOKED_AT, np.random.default_rng(0))[1])
        if sizes.min() > 0 and np.log10(sizes.max() / sizes.min()) > _DECADES and is_a_question(found):
            return found


def _filled(rng: np.random.Generator, text: str, one: int, other: int = 0) -> str:
    return text.format(
        v=f"x{one}",
        w=f"x{other}",
        r=repr(float(round(rng.uniform(0.5, 3.0), 1))),
        p=repr(float(rng.choice([0.5, 1.0, 1.5, 2.5, 0.7]))),
        k=int(rng.integers(1, 6)),
    )
