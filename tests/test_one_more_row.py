"""An operator is one row: a row that is appended to the table works everywhere, and no other file is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.appended_row import run_with_row

SINC = """Operator(
        name="sinc", arity=1, even=True, analytic=True, total=True, family="trigonometric", spellings=("si",),
        numpy=lambda a, out: np.copyto(out, np.sinc(a / np.pi)) or out, torch=lambda t, a: t.sinc(a / math.pi),
        partials=lambda xp, f, a: (xp.where(a == 0.0, 0.0 * a, (xp.cos(a) - f) / xp.where(a == 0.0, 1.0 + a, a)),),
        sympy=lambda sp, a: sp.sinc(a), latex=r"\\operatorname{{sinc}}\\left({0}\\right)",
    )"""
LOGIT = """Operator(
        name="logit", arity=1, family="exp or log",
        numpy=lambda a, out: np.log(np.divide(a, 1.0 - a, out), out), torch=lambda t, a: t.logit(a),
        partials=lambda xp, f, a: (1.0 / (a * (1.0 - a)),), inverse=lambda v: 1.0 / (1.0 + np.exp(-v)),
        sympy=lambda sp, a: sp.log(a / (1 - a)), latex=r"\\operatorname{{logit}}\\left({0}\\right)",
    )"""

EVERYWHERE = """
import json, sys
import numpy as np, torch
from expressions.canonical_form import canonical
from expressions.constant_fitting import fit_constants
from expressions.evaluation import Evaluator, evaluate_torch
from expressions.expression import Expression
from expressions.operators import OPERATORS, leading_family
from expressions.parsing import ParseError, parse
from expressions.rowwise_evaluation import evaluate_pairs
from expressions.sampling import SamplingSettings, sample
from expressions.simplest_form import simplify
from expressions.skeleton import structure_of, skeleton_of
from expressions.complexity import complexity
from expressions.vocabulary import Vocabulary
from expressions.equation_learner.architecture import Architecture
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search
from searches.links.inverse_links import Divisors, InvertedTarget, inverted_once

name = OPERATORS[-1].name
equation = parse(f"1.5*{name}(0.5*x0) + 2")
rng = np.random.default_rng(0)
inputs = rng.uniform(0.1, 0.9, (60, 1))
target = equation(inputs)
start = equation.with_constants([1.0, 0.7, 1.0])
fit = fit_constants([start], inputs, target, iterations=30)
padded = np.full((1, len(equation)), -1, np.int16)
padded[0] = equation.tokens
constants = np.zeros(padded.shape)
constants[0, equation.tokens == 0] = equation.constants
vocabulary = Vocabulary(["add", "mul", name], 1)
ids, values = vocabulary.encode(equation)
try:
    parse("si(x0)")
    hint = ""
except ParseError as error:
    hint = str(error)
start = InvertedTarget((), equation(inputs) - 2.0, np.ones(60))
start = InvertedTarget((), start.values / 1.5, start.slopes)
links = inverted_once(start, [name], Divisors.of([parse("x0")], inputs))
drawn = SamplingSettings(operators={"add": 1.0, name: 1.0})
settings = GeneticProgrammingSettings(
    operators=("add", "mul", name), population=40, generations=3, islands=1, seconds=None, simplify_seconds=0.0
)
found = search(inputs, target, settings, seed=0)
print(json.dumps({
    "infix": equation.infix(),
    "latex": equation.latex(),
    "mirrored": canonical(parse(f"{name}(-x0)")).infix(),
    "family": leading_family(equation.tokens.tolist()),
    "fitted": bool(fit.errors[0] < 1e-20),
    "rowwise": bool(np.allclose(evaluate_pairs(padded, constants, inputs.T[:, None]), target)),
    "batch": bool(np.allclose(Evaluator(inputs, np.float64).values([equation])[0], target)),
    "torch": bool(np.allclose(evaluate_torch([equation], torch.from_numpy(inputs))[0].numpy(), target)),
    "sympy": str(parse(f"{name}(x0)").to_sympy()),
    "complexity": complexity(parse(f"{name}(x0)")),
    "simplest": simplify(parse(f"{name}(x0) + {name}(x0)"), seconds=5.0).infix(),
    "decoded": vocabulary.decode(ids, values) == equation,
    "structure": structure_of(skeleton_of(equation)).infix(),
    "sampled": any(name in e.infix() for e in sample(50, rng, drawn)),
    "layers": Architecture([f"{name} id", "sum"], 1, 1) is not None,
    "hint": hint,
    "links": [step for link in links for step, other in link.steps if other is None],
    "searched": bool(min(candidate.train_nmse for candidate in found.front) < 1e-12),
}))
"""


@pytest.fixture(scope="module")
def sinc(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return dict(json.loads(run_with_row(SINC, EVERYWHERE, tmp_path_factory.mktemp("sinc"))))


def test_an_even_function_works_everywhere(sinc: dict[str, object]) -> None:
    assert sinc == {
        "infix": "1.5*sinc(0.5*x0) + 2",
        "latex": r"1.5 \, \operatorname{sinc}\left(0.5 \, x_{0}\right) + 2",
        "mirrored": "sinc(x0)",
        "family": "trigonometric",
        "fitted": True,
        "rowwise": True,
        "batch": True,
        "torch": True,
        "sympy": "sinc(x0)",
        "complexity": 2,
        "simplest": "2*sinc(x0)",
        "decoded": True,
        "structure": "sinc(x0)",
        "sampled": True,
        "layers": True,
        "hint": "unknown function 'si' at character 1; did you mean sinc?",
        "links": [],
        "searched": True,
    }


def test_an_invertible_function_works_everywhere(tmp_path: Path) -> None:
    found = json.loads(run_with_row(LOGIT, EVERYWHERE, tmp_path))
    assert found["links"] == ["logit"]
    assert found["mirrored"] == "logit(-x0)"
    assert found["family"] == "exp or log"
    assert found["sympy"] == "log(x0/(1 - x0))"
    assert all(found[name] for name in ("fitted", "rowwise", "batch", "torch", "decoded", "sampled", "searched"))
