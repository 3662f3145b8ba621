"""Intervals of constants of distilled equations."""

from __future__ import annotations

import numpy as np

from distillation.fitting.constants import intervals_of
from expressions.parsing import parse


def test_intervals_stand_around_the_constants_as_they_are_and_hold_those_that_fit_best() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1.0, 1.0, (4000, 2))
    outputs = np.column_stack([2.5 * inputs[:, 0] + 0.5, np.sin(1.5 * inputs[:, 1])])
    outputs += 0.02 * rng.normal(size=outputs.shape)
    equations = [parse("2.501*x0 + 0.4995"), parse("sin(1.502*x1)")]
    first, second = intervals_of(equations, inputs, outputs)
    assert np.allclose(first.ends.mean(axis=1), [2.501, 0.4995])
    assert np.allclose(second.ends.mean(axis=1), [1.502], atol=1e-4)
    for found, true in ((first, [2.5, 0.5]), (second, [1.5])):
        assert ((found.ends[:, 0] < true) & (true < found.ends[:, 1])).all()
        assert (np.ptp(found.ends, axis=1) < 0.02).all()


def test_what_the_activations_do_not_determine_has_no_ends() -> None:
    inputs = np.random.default_rng(1).uniform(-1.0, 1.0, (500, 1))
    outputs = inputs + 0.01 * np.random.default_rng(2).normal(size=(500, 1))
    [found] = intervals_of([parse("0.5*(2.0*x0)")], inputs, outputs)
    assert not np.isfinite(found.ends).any()
