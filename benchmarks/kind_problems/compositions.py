"""Functions of polynomials, two deep: sums, products, a function times or beside a polynomial, behind an operator.

Polynomials have one to three terms of degree 2 at most, in one or two of one to four variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.posing import coefficient, interval, number_generator, posed
from datamodules.tables.problems import Problem
from expressions.parsing import parse

__all__ = ["problem"]

_VARIABLES = 4  # at most
_TERMS = 3  # of a polynomial, at most
_LOOKED_AT = 1000  # rows
_FUNCTIONS = ("sin", "cos", "exp", "log", "sqrt", "tanh")
_RANGES = {"sin": (1.0, 9.0), "cos": (1.0, 9.0), "exp": (0.5, 5.0), "tanh": (1.0, 6.0)}  # of what is inside
_LARGEST = 1e6  # of the target, in units of its median


def problem(number: int, seed: int) -> Problem:
    """Problem `number`, whose forms take turns."""
    rng = number_generator("compositions", number, seed)
    while True:
        count = int(rng.integers(1, _VARIABLES + 1))
        low, high = zip(*(interval(rng) for _ in range(count)), strict=True)
        inputs = rng.uniform(low, high, (_LOOKED_AT, count))
        formula = _FORMS[number % len(_FORMS)](rng, inputs)
        values = _values(formula, inputs)
        if np.isfinite(values).all() and np.abs(values).max() < _LARGEST * np.median(np.abs(values)):
            found = posed("compositions", number, formula, low, high)
            if is_a_question(found):  # and depends on each of its variables
                return found


# --- forms ------------------------------------------------------------------------------------------------------

Form = Callable[[np.random.Generator, np.ndarray], str]


def _sum(rng: np.random.Generator, inputs: np.ndarray) -> str:
    one, other = (_function(rng, inputs, str(name)) for name in rng.choice(_FUNCTIONS, 2, replace=False))
    return f"{one} + ({coefficient(rng)!r})*{other}"


def _logarithms(rng: np.random.Generator, inputs: np.ndarray) -> str:
    return f"{_function(rng, inputs, 'log')} + ({coefficient(rng)!r})*{_function(rng, inputs, 'log')}"


def _waves(rng: np.random.Generator, inputs: np.ndarray) -> str:
    return f"({coefficient(rng)!r})*{_function(rng, inputs, 'sin')}*{_function(rng, inputs, 'cos')}"


def _quotient(rng: np.random.Generator, inputs: np.ndarray) -> str:
    return f"{_function(rng, inputs, 'sqrt')}/({_positive(rng, inputs)})"


def _times(rng: np.random.Generator, inputs: np.ndarray) -> str:
    return f"{_function(rng, inputs, str(rng.choice(['exp', 'tanh'])))}*({_polynomial(rng, inputs)})"


def _beside(rng: np.random.Generator, inputs: np.ndarray) -> str:
    name = str(rng.choice(_FUNCTIONS))
    return f"({coefficient(rng)!r})*{_function(rng, inputs, name)} + {_polynomial(rng, inputs)}"


def _behind(rng: np.random.Generator, inputs: np.ndarray) -> str:
    """An operator of a function and a constant, the constant large enough for a root or a logarithm."""
    outer = str(rng.choice(["exp", "sqrt", "log"]))
    inner = _function(rng, inputs, str(rng.choice(["sin", "cos", "tanh", "sqrt"])))
    inner = f"({float(round(rng.uniform(0.3, 2.0), 2))!r})*{inner}"
    if outer == "exp":
        return f"exp({inner})"
    return f"{outer}({inner} + {_above(rng, -float(_values(inner, inputs).min()))!r})"


_FORMS: Sequence[Form] = (_sum, _logarithms, _waves, _quotient, _times, _beside, _behind)


# --- their parts ------------------------------------------------------------------------------------------------


def _function(rng: np.random.Generator, inputs: np.ndarray, name: str) -> str:
    if name in ("log", "sqrt"):
        return f"{name}({_positive(rng, inputs)})"
    polynomial = _polynomial(rng, inputs)
    wanted = rng.uniform(*_RANGES[name])
    factor = wanted / max(float(np.ptp(_values(polynomial, inputs))), 1e-9)
    return f"{name}({_polynomial(rng, inputs, factor, polynomial)})"


def _positive(rng: np.random.Generator, inputs: np.ndarray) -> str:
    """A polynomial that is positive on the range."""
    polynomial = _polynomial(rng, inputs)
    values = _values(polynomial, inputs)
    return f"{polynomial} + {_above(rng, -float(values.min()), float(np.ptp(values)))!r}"


def _above(rng: np.random.Generator, least: float, unit: float = 1.0) -> float:
    """A number of few digits that is larger by something between a tenth of a unit and a unit."""
    return float(f"{least + unit * rng.uniform(0.1, 1.0):.3g}") + 0.01 * unit


def _polynomial(
    rng: np.random.Generator, inputs: np.ndarray, factor: float | None = None, like: str | None = None
) -> str:
    """Text of one that varies; or of another one times a factor, its coefficients of few digits."""
    if like is not None and factor is not None:
        terms = [term.partition(")") for term in like.split(" + ")]
        return " + ".join(f"({float(f'{float(value[1:]) * factor:.3g}')!r}){rest}" for value, _, rest in terms)
    chosen = rng.choice(inputs.shape[1], int(rng.integers(1, min(2, inputs.shape[1]) + 1)), replace=False).tolist()
    monomials = [f"*x{one}" for one in chosen] + [f"*x{one}**2" for one in chosen]
    monomials += [f"*x{chosen[0]}*x{chosen[1]}"] if len(chosen) > 1 else []
    taken = rng.choice(
        len(monomials), int(rng.integers(1, min(_TERMS, len(monomials)) + 1)), replace=False
    ).tolist()
    constant = [f"({coefficient(rng)!r})"] if rng.random() < 0.5 else []
    return " + ".join([*(f"({coefficient(rng)!r}){monomials[number]}" for number in sorted(taken)), *constant])


def _values(text: str, inputs: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return parse(text, [f"x{column}" for column in range(inputs.shape[1])])(inputs)
