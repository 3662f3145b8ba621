"""Rewritten targets: what a question inverts, its answer brings back."""

import numpy as np
import pytest

from expressions.expression import Expression
from expressions.parsing import parse
from expressions.skeleton import Skeleton, skeleton_of, structure_of
from foundation.errors import UserError
from searches.common.skeleton_fitting import SkeletonFitter
from searches.latent_cmaes import search
from searches.latent_space.settings import LatentSearchSettings
from searches.latent_space.skeleton_scores import Elite, SkeletonScores
from searches.latent_space.target_rewriting import Rewriter, leftover, transformations
from tests.latent_maps import CodeMap

RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(0.5, 2.0, (80, 2))


def table(text: str) -> tuple[np.ndarray, np.ndarray]:
    return INPUTS, parse(text)(INPUTS)


def error(skeleton: Skeleton, text: str) -> float:
    """How well a skeleton can be fitted."""
    inputs, target = table(text)
    fitter = SkeletonFitter(inputs, target, linear_scaling=True, starts=4, longest=60)
    return float(SkeletonScores(fitter).errors([skeleton])[0])


def elite(text: str) -> Elite:
    expression = parse(text)
    decoded = structure_of(skeleton_of(expression))
    return Elite(0.0, 0.1, decoded.tokens, decoded, expression)


@pytest.mark.parametrize(
    ("truth", "operator", "inner"),
    [
        ("inv(1.3 + x0*x1)", "inv", "x0*x1"),
        ("3*exp(1.1*x0 - x1)", "exp", "1.1*x0 - x1"),
        ("-3*exp(1.1*x0 - x1)", "exp", "1.1*x0 - x1"),
        ("log(1.5 + x0*x1)", "log", "x0*x1"),
        ("square(1.5 + x0*x1)", "square", "x0*x1"),
        ("sqrt(1.5 + x0*x1)", "sqrt", "x0*x1"),
        ("x1*(2 + sin(x0))", "mul", "sin(x0)"),
        ("(2 + sin(x0))/x1", "div", "sin(x0)"),
    ],
)
def test_an_answer_answers_the_first_question(truth: str, operator: str, inner: str) -> None:
    """The inner equation is what the rewritten target is, and around it the operator is written again."""
    answer = structure_of(skeleton_of(parse(inner)))
    exact = []
    for question in transformations(table(truth)):
        inputs, target = question.table
        values = parse(inner)(inputs)
        basis = np.stack([values, np.ones_like(values)], axis=1)
        left = target - basis @ np.linalg.lstsq(basis, target, rcond=None)[0]
        if np.abs(left).max() < 1e-9 * np.abs(target).max():
            exact.append(question)
    assert operator in [question.operator for question in exact]
    for question in exact:
        assert error(question.answered(answer), truth) < 1e-18
    assert error(answer, truth) > 1e-6


def test_what_an_elite_leaves() -> None:
    added = leftover(table("3*sin(x0) + x1*x1*x1 - 5"), elite("sin(x0)"), "add")
    assert added is not None
    assert error(added.answered(structure_of(skeleton_of(parse("x1*x1*x1")))), "3*sin(x0) + x1*x1*x1 - 5") < 1e-18
    multiplied = leftover(table("sin(x0)*(2 + exp(x1))"), elite("sin(x0)"), "mul")
    assert multiplied is not None
    values = multiplied.table[1] / (2 + np.exp(INPUTS[:, 1]))
    assert np.ptp(values) < 1e-12 * np.abs(values).max()
    assert error(multiplied.answered(structure_of(skeleton_of(parse("exp(x1)")))), "sin(x0)*(2 + exp(x1))") < 1e-18
    for nothing in ("add", "mul"):
        assert leftover(table("3*sin(x0)"), elite("sin(x0)"), nothing) is None, "nothing is left"
    assert leftover(table("x0"), elite("log(x0 - 1)"), "add") is None, "it is not finite everywhere"
    for nothing in ("add", "mul"):
        assert leftover(table("x0"), elite("exp(-5000*x0)"), nothing) is None, "it is 0 in float64"


def test_only_what_is_defined_is_asked() -> None:
    signs = [question.operator for question in transformations((INPUTS, INPUTS[:, 0] - 1.2))]
    assert {"exp", "square", "sqrt"}.isdisjoint(signs)
    assert {"inv", "mul", "div"} <= set(signs)
    with_zero = INPUTS.copy()
    with_zero[0] = 0.0
    questions = transformations((with_zero, with_zero[:, 0]))
    assert {question.operator for question in questions} == {"log", "square"}, "nothing is divided by 0"
    for scale in (1e-200, 1e-6, 1e6, 1e200):
        for question in transformations((INPUTS, scale * (2 + np.sin(INPUTS[:, 0])))):
            assert np.isfinite(question.table[1]).all()
            assert 1e-3 < np.abs(question.table[1]).max() < 1e3


def test_draws_are_a_function_of_the_generation() -> None:
    elites: list[Elite] = []
    asked: list[int] = []

    def prior(of: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        asked.append(1)
        return np.full(4, of[1].mean()), np.ones(4)

    def rewriter() -> Rewriter:
        return Rewriter(table("exp(x0) + sin(x1)"), prior, lambda: elites, 1.5, seed=3)

    first = rewriter()
    found = first.ask(5, 12)
    assert len(found) == 12
    assert {question.operator for _, question in found} <= {"inv", "log", "exp", "square", "sqrt", "mul", "div"}
    elites += [elite("exp(x0)"), elite("x0*x1")]
    later = first.ask(6, 40)
    assert {question.operator for _, question in later if question.first is not None} == {"add", "mul"}
    known = len(asked)
    again = rewriter().ask(6, 40)
    assert len(asked) > known
    for (latent, question), (other, same) in zip(later, again, strict=True):
        assert np.array_equal(latent, other)
        assert question.name == same.name
    known = len(asked)
    first.ask(6, 40)
    assert len(asked) == known, "priors are remembered"


@pytest.mark.parametrize("each", [1, 4, 5, 100])
def test_a_question_gets_several_samples(each: int) -> None:
    encoded: list[int] = []

    def prior(of: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        encoded.append(1)
        return np.full(3, of[1].mean()), np.ones(3)

    rewriter = Rewriter(table("exp(x0) + sin(x1)"), prior, lambda: [elite("exp(x0)")], 1.5, seed=3)
    found = rewriter.ask(2, 18, each)
    assert len(found) == 18
    groups = [found[start : start + each] for start in range(0, 18, each)]
    for group in groups:
        assert len({question.name for _, question in group}) == 1
    assert len({tuple(latent) for latent, _ in found}) == 18
    assert len(encoded) <= len(groups)


def test_a_question_that_the_map_cannot_take_is_not_asked() -> None:
    def prior(of: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        if of[1].max() > 1.0:
            raise UserError("too large")
        return np.zeros(4), np.ones(4)

    rewriter = Rewriter(table("exp(x0) + sin(x1)"), prior, list, 1.5, seed=3)
    found = rewriter.ask(0, 60)
    assert 0 < len(found) < 60
    assert all(question.table[1].max() <= 1.0 for _, question in found)
    nothing = Rewriter((np.empty((3, 0)), np.array([0.0, 1.0, -1.0])), prior, list, 1.5, 0)
    nothing.transformations = []
    assert nothing.ask(0, 5) == []


def test_a_search_puts_together_what_the_map_cannot_say() -> None:
    """No code word is a sum of two: only an elite and what it leaves make the formula."""
    texts = ("x0*x1", "sin(x0)", "x1*x1", "exp(x1)", "log(x0)")
    words = [structure_of(skeleton_of(parse(text))) for text in texts]
    truth: Expression = parse("2*sin(3*x0) + exp(0.7*x1) - 1")
    options = {"decodes": 320, "seconds": None, "polish": "none", "simplify_seconds": 0.0, "power": 0.5}
    options |= {"population": 16, "question_samples": 1, "prior_share": 0.0}
    options |= {"recombine_every": 0}  # it would put them together, too
    errors = {}
    for share in (0.0, 0.6):
        settings = LatentSearchSettings(rewritten_share=share, **options)
        found = search(INPUTS, truth(INPUTS), settings, latent_map=CodeMap(words), seed=0)
        errors[share] = found.best.error
        assert found.counts["decodes"] <= 320
    assert errors[0.6] < 1e-12 < errors[0.0]
    assert found.stopped == "exact"
