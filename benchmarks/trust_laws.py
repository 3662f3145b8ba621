"""Laws for the suite `trust`, of two generators that share nothing, and laws that no search here can write down.

`drawn_law` takes the skeletons that the map's training stream keeps for tests, as the suite `generated` does, and
gives half of them a scale and a quarter an offset. `template_law` takes a form out of a textbook and draws its
constants. `special_law` puts a special function, an integral or a curve without a formula into a small equation,
and `no_law` depends on nothing. All laws have 3 to 15 nodes and 1 to 4 variables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.generated_problems import is_a_question
from datamodules.tables.problems import Problem
from expressions.canonical_form import canonical
from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.numbering import plain, restored
from expressions.parsing import parse
from foundation.files import replace_file

__all__ = ["NODES", "TEMPLATES", "Law", "drawn_law", "no_law", "size_of", "special_law", "template_law"]

NODES = (3, 15)
"""Smallest and largest size of a law, as SRBench counts."""
_BATCH = 50  # drawn laws in a file
_VARIABLES = 4
_SPARE = 3  # skeletons that are drawn for every law that is wanted
_SCALED, _SHIFTED = 0.5, 0.25  # shares of the drawn laws
_ATTEMPTS = 100

Values = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Law:
    """A relation between columns, and where its inputs lie.

    Attributes:
        kind: `drawn`, `template`, `special` or `none`.
        formula: text of the law, for people.
        values: target without noise on inputs `[rows, variables]`.
        truth: law as an expression; None where the operators of the searches cannot express it.
        low, high: ends of the range of each variable.
    """

    kind: str
    formula: str
    values: Values
    truth: Expression | None
    low: tuple[float, ...]
    high: tuple[float, ...]


def size_of(expression: Expression) -> int:
    """Nodes of an equation in its own or in its canonical form, whichever is shorter."""
    return min(complexity(expression), complexity(canonical(expression)))


def _is_small(expression: Expression) -> bool:
    return NODES[0] <= size_of(expression) <= NODES[1]


def _constant(rng: np.random.Generator, least: float = 0.1, most: float = 10.0, negative: float = 0.0) -> float:
    """A constant of three digits, log-uniform in its magnitude, and negative with a given probability."""
    size = math.exp(rng.uniform(math.log(least), math.log(most)))
    return float(f"{-size if rng.random() < negative else size:.3g}")


# --- the generator of the training stream ---------------------------------------------------------------------


def drawn_law(number: int, seed: int, folder: Path) -> Law:
    """A law of the stream's held-out skeletons.

    Args:
        number: number of the law, from 0.
        seed: random seed of all laws.
        folder: directory that keeps the laws once they are drawn.
    """
    batch, place = divmod(number, _BATCH)
    path = folder / f"laws-seed{seed}-batch{batch}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps([_plain(law) for law in _draw(batch, seed)], indent=0))
    return _laws(path)[place]


@cache
def _laws(path: Path) -> list[Law]:
    return [_of_plain(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _draw(batch: int, seed: int) -> list[Law]:
    from datamodules.settings.streams import PoolSettings
    from datamodules.streams.heldout import heldout_problems

    rng = np.random.default_rng([seed, batch, 1])
    problems = heldout_problems(
        _SPARE * _BATCH,
        PoolSettings(variables=_VARIABLES, longest=NODES[1]),
        1_000 * seed + batch,
        fewest_variables=1,
        most_variables=_VARIABLES,
        shortest=2,
        longest=NODES[1],
    )
    usable = [problem for problem in problems if _is_small(problem.truth) and is_a_question(problem)]
    return [_with_units(problem, rng) for problem in usable[:_BATCH]]


def _with_units(problem: Problem, rng: np.random.Generator) -> Law:
    """The law of a skeleton, which has neither scale nor offset, in units of its own."""
    truth = problem.truth
    scale, offset = _constant(rng, negative=0.3), _constant(rng, negative=0.3)
    for name, value, share in (("mul", scale, _SCALED), ("add", offset, _SHIFTED)):
        changed = Expression.apply(name, Expression.constant(value), truth)
        if rng.random() < share and _is_small(changed):
            truth = changed
    source = problem.source
    return Law("drawn", truth.infix(), truth, truth, source.low, source.high)  # type: ignore[union-attr]


def _plain(law: Law) -> dict[str, object]:
    assert law.truth is not None
    return {"truth": plain(law.truth), "low": list(law.low), "high": list(law.high)}


def _of_plain(entry: dict[str, list[float]]) -> Law:
    truth = restored(entry["truth"], "the file of laws", "delete it, and it is drawn again")
    return Law("drawn", truth.infix(), truth, truth, tuple(entry["low"]), tuple(entry["high"]))


# --- textbook forms -------------------------------------------------------------------------------------------

TEMPLATES = (
    "a*x0 + s",
    "a*x0 + s*x1 + t",
    "a*x0**2 + s*x0 + t",
    "a*x0**3 + s*x0",
    "a*x0**p",
    "a*x0**p*x1**q",
    "a*x0**2*x1/x2",
    "a*x0*x1/x2**2",
    "x0*x1/(x2*x3)*a",
    "a*x0/(b + x0)",
    "a*x0**2/(b + x0**2)",
    "a*x0**q*x1/(b + x1)",
    "a/(1 + b*x0**2)",
    "x0/(a + b*x0 + x0**2)",
    "a*exp(-b*(x0 - c)**2)",
    "a*exp(-b*x0)",
    "a*exp(-b*x0) + s",
    "a*(1 - exp(-b*x0))",
    "a*x0*exp(-b*x0)",
    "a*exp(-b/x0)*x1",
    "exp(-(x0**2)/a)*sin(b*x0)",
    "a*sin(b*x0)",
    "a*sin(b*x0 + c)",
    "sin(a*x0) + s*sin(b*x0)",
    "a*exp(-b*x0)*cos(c*x0)",
    "a*cos(x0)**2 + s",
    "a*x0*sin(x1)",
    "a*sin(x0)*cos(x1)",
    "a/(1 + exp(-b*(x0 - c)))",
    "a*tanh(b*x0)",
    "a*x1*tanh(x0/b)",
    "a*log(x0) + s",
    "a*x1*log(x0/x2)",
    "a*log(1 + b*x0)",
    "a*sqrt(x0**2 + x1**2)",
    "a*sqrt(x0/x1)",
    "sqrt(a + b*x0)",
    "a*x0*x1/(x0 + x1)",
    "a*(1/x0 - 1/x1)",
    "a*x0**3/(exp(b*x0) - 1)",
    "a*x0*x1/(b + x2**2)",
    "a*x0*(x1 - x2)",
    "a*x0 + s*x1**2",
    "a*x0*x1 + s*x2*x3",
    "x0 + x1*x2 + a*x2**2",
)
"""Forms of laws; a, b and c stand for positive constants, s and t for constants of either sign, p for an exponent
that is a fraction and q for one that is a whole number or a half."""
_HALVES = (-2.0, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0)


def template_law(rng: np.random.Generator) -> Law:
    """A law of a textbook's form with constants and ranges that are drawn."""
    for _ in range(_ATTEMPTS):
        text = TEMPLATES[rng.integers(len(TEMPLATES))]
        truth = parse(_filled(text, rng))
        if not _is_small(truth):
            continue
        variables = max(truth.variables) + 1
        low = rng.choice((0.1, 0.5, 1.0, 2.0), variables)
        high = low * rng.uniform(3.0, 10.0, variables)
        return Law("template", truth.infix(), truth, truth, tuple(low.tolist()), tuple(high.tolist()))
    raise AssertionError("no template is small enough")


def _filled(text: str, rng: np.random.Generator) -> str:
    """A template with numbers for its letters."""
    letters = {
        "a": _constant(rng),
        "b": _constant(rng, 0.2, 3.0),
        "c": _constant(rng, 0.3, 3.0),
        "s": _constant(rng, negative=0.5),
        "t": _constant(rng, negative=0.5),
        "p": float(f"{rng.uniform(-2.0, 3.0):.2g}"),
        "q": float(rng.choice(_HALVES)),
    }
    words = {"exp", "sin", "cos", "tanh", "log", "sqrt"}
    filled, word = [], ""
    for sign in f"{text} ":
        if sign.isalnum():
            word += sign
            continue
        filled += [f"({letters[word]!r})" if word in letters and word not in words else word, sign]
        word = ""
    return "".join(filled).strip()


# --- laws that cannot be expressed ----------------------------------------------------------------------------


def special_law(rng: np.random.Generator, other: bool) -> Law:
    """A law with a function that is none of the operators.

    Args:
        rng: source of function, form, constants and ranges.
        other: whether to take the functions of the second generator.
    """
    functions = _OTHER_FUNCTIONS if other else _FUNCTIONS
    name = list(functions)[rng.integers(len(functions))]
    function, least, most = functions[name](rng)
    a, b = _constant(rng, negative=0.3), _constant(rng)
    forms: tuple[tuple[str, int, Values], ...] = (
        (f"{a!r}*{name}(x0)", 1, lambda x: a * function(x[:, 0])),
        (f"{name}(x0) + {a!r}*x1", 2, lambda x: function(x[:, 0]) + a * x[:, 1]),
        (f"x1*{name}(x0)", 2, lambda x: x[:, 1] * function(x[:, 0])),
        (f"{name}(x0)/({b!r} + x1)", 2, lambda x: function(x[:, 0]) / (b + x[:, 1])),
        (f"{name}(x0)*exp(-x1) + {a!r}*x2", 3, lambda x: function(x[:, 0]) * np.exp(-x[:, 1]) + a * x[:, 2]),
    )
    formula, variables, values = forms[rng.integers(len(forms))]
    low = (least, *rng.choice((0.1, 0.5, 1.0), variables - 1).tolist())
    high = (most, *(end + rng.uniform(1.0, 4.0) for end in low[1:]))
    return Law("special", formula, values, None, low, high)


Special = tuple[Callable[[np.ndarray], np.ndarray], float, float]
"""A function of one variable and the ends of its range."""


def _of_scipy(name: str, low: float, high: float) -> Callable[[np.random.Generator], Special]:
    """One of SciPy's special functions; of those with several values, the first."""

    def made(rng: np.random.Generator) -> Special:
        from scipy import special  # not quick to import

        def values(column: np.ndarray) -> np.ndarray:
            found = getattr(special, name)(column)
            return np.real(found[0] if isinstance(found, tuple) else found)

        return values, low, high

    return made


def _smooth(rng: np.random.Generator) -> Special:
    """A smooth curve without a formula: a Gaussian process of twelve frequencies."""
    rates, phases = rng.normal(0.0, 2.0, 12), rng.uniform(0.0, 2.0 * math.pi, 12)
    sizes = rng.normal(0.0, 1.0, 12)
    return lambda column: np.cos(np.multiply.outer(column, rates) + phases) @ sizes, 0.0, 4.0


def _looked_up(rng: np.random.Generator) -> Special:
    """Straight lines between the entries of a table."""
    knots = np.cumsum(rng.normal(0.3, 1.0, 9))
    return lambda column: np.interp(column, np.linspace(0.0, 4.0, 9), knots), 0.0, 4.0


def _debye(rng: np.random.Generator) -> Special:
    """The integral of t**3/(exp(t) - 1) from 0 to x, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(40)

    def values(column: np.ndarray) -> np.ndarray:
        places = np.multiply.outer(column, (nodes + 1.0) / 2.0)
        return (places**3 / np.expm1(places)) @ weights * column / 2.0

    return values, 0.2, 8.0


def _steps(rng: np.random.Generator) -> Special:
    """Two laws, one on each side of a threshold."""
    threshold, slope, height = rng.uniform(1.0, 3.0), rng.normal(0.0, 1.0), rng.normal(0.0, 2.0)
    return lambda column: np.where(column < threshold, np.sqrt(column), height + slope * column), 0.1, 4.0


_FUNCTIONS: dict[str, Callable[[np.random.Generator], Special]] = {
    "gamma": _of_scipy("gamma", 0.5, 4.0),
    "J0": _of_scipy("j0", 0.1, 12.0),
    "Si": _of_scipy("sici", 0.1, 12.0),
    "smooth": _smooth,
    "lookup": _looked_up,
}
_OTHER_FUNCTIONS: dict[str, Callable[[np.random.Generator], Special]] = {
    "digamma": _of_scipy("digamma", 0.3, 5.0),
    "J1": _of_scipy("j1", 0.1, 12.0),
    "W": _of_scipy("lambertw", 0.1, 10.0),
    "Fresnel": _of_scipy("fresnel", 0.1, 4.0),
    "Debye": _debye,
    "threshold": _steps,
}


def no_law(rng: np.random.Generator) -> Law:
    """A target that depends on nothing: a constant, of which the noise is all that varies."""
    variables = int(rng.integers(1, _VARIABLES + 1))
    mean = Expression.constant(_constant(rng, negative=0.5))
    low = rng.choice((0.1, 0.5, 1.0), variables)
    high = low + rng.uniform(1.0, 4.0, variables)
    return Law("none", mean.infix(), mean, mean, tuple(low.tolist()), tuple(high.tolist()))
