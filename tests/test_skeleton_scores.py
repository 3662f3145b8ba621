"""Scores of skeletons: each is fitted once, whatever its spelling, and the best are elites."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.operators import CONSTANT
from expressions.parsing import parse
from expressions.skeleton import Skeleton, skeleton_of
from searches.common.skeleton_fitting import SkeletonFitter
from searches.latent_space.skeleton_scores import PENALTY, SkeletonScores, program_to_fit, shares_by_rank
from tests.latent_searches import BOOK, TRUTH, table


def test_spellings_of_a_skeleton_are_one() -> None:
    same = ["x0*x1", "0.7*x1*x0 + 0.31", "x0*0.3*(x1*0.9) - 0.2"]
    skeletons = [Skeleton(tuple(e.tokens.tolist()), (None,) * len(e.constants)) for e in map(parse, same)]
    scores = SkeletonScores(SkeletonFitter(*table(), linear_scaling=True))
    errors = scores.errors(skeletons)
    assert len(scores) == 1
    assert len(set(errors.tolist())) == 1
    assert scores.elites[0].decoded == skeletons[0]
    apart = [Skeleton(tuple(e.tokens.tolist()), (None,)) for e in map(parse, ["sin(0.7*x0)", "sin(x0 + 0.7)"])]
    assert program_to_fit(apart[0]) != program_to_fit(apart[1])
    twice = parse("sin(0.5*x0)*sin(0.5*x1)")  # two constants of one value are still two
    free = program_to_fit(Skeleton(tuple(twice.tokens.tolist()), (None, None)))
    assert free.count(CONSTANT) == 2
    factors = program_to_fit(Skeleton(tuple(parse("(x1 + x2)*(x1 + x2)").tokens.tolist())))  # as are two factors
    assert factors.count(CONSTANT) == 2


def test_scores_are_finite_and_say_what_they_should() -> None:
    inputs, target = table(variables=3)
    inputs[:, 2] *= -1.0
    fitter = SkeletonFitter(inputs, target, linear_scaling=True, parsimony=0.25, longest=15)
    scores = SkeletonScores(fitter)
    exact, nowhere = skeleton_of(parse(TRUTH)), skeleton_of(parse("sqrt(x2)"))
    long = skeleton_of(parse("sin(x0) + sin(x1) + exp(x0) + exp(x1)"))
    constant = skeleton_of(parse("0.7"))
    found = scores.scores([exact, nowhere, long, constant])
    assert found[0] == pytest.approx(np.log(max(1e-32, scores.elites[0].nmse)) + 0.25 * len(program_to_fit(exact)))
    assert found[0] < -60
    assert found[1] == found[2] == PENALTY
    assert found[3] == pytest.approx(0.25)


def test_unpromising_skeletons_are_only_screened() -> None:
    fitter = SkeletonFitter(*table(), linear_scaling=True, search_rows=100, screen_rows=20)
    scores = SkeletonScores(fitter, capacity=4, fitted_share=0.5)
    scores.errors(BOOK[:60])
    scores.errors([skeleton_of(parse(TRUTH))])
    before = fitter.task.evaluations
    bar = scores.elites[1].score
    errors = scores.errors(BOOK[60:99])
    worse = [e for e, s in zip(errors, BOOK[60:99], strict=True) if np.log(e) + fitter.parsimony * len(s) >= bar]
    assert len(worse) > 30
    assert fitter.task.evaluations - before < 100
    assert len(scores.elites) == 4


def test_elites_are_drawn_by_a_power_law_on_their_rank() -> None:
    weights = np.array([1.0, 2.0, 3.0, 4.0]) ** -1.5
    np.testing.assert_allclose(shares_by_rank(4, 1.5), weights / weights.sum(), rtol=1e-12)
