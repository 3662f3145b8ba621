"""Equations with a constant or a part less, which describe the data in fewer nats though they fit a little worse.

A fit keeps every constant that it was given: of few rows, noise is best met by a scale of 1.03, an offset of -0.02
and a power of 1.98. Each is taken out, or set to the whole number beside it, the others are fitted again, and
what describes the data in the shortest code stays (`searches.common.description_length`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from expressions.canonical_form import canonical
from expressions.complexity import complexity
from expressions.expression import Expression
from searches.common.equivalent_forms import common_divisors, completed_powers, spread_out, tied
from searches.common.regression_task import RegressionTask
from searches.pareto_front import EXACT_NMSE, Candidate

__all__ = ["is_plain", "shortened"]

_LARGEST_PLAIN = 12  # whole number
_SIGNIFICANT = 1e-9  # gain in code below which there may only be rounding
_MOST_FORMS = 60  # of one equation at a time


def is_plain(constants: np.ndarray) -> np.ndarray:
    """Which constants are small whole numbers or halves: these were chosen, not fitted. `[constants]` bool"""
    doubled = 2.0 * np.asarray(constants, dtype=np.float64)
    return np.asarray((doubled == np.round(doubled)) & (np.abs(doubled) <= 2 * _LARGEST_PLAIN))


def shortened(candidate: Candidate, task: RegressionTask, ends: float) -> Candidate:
    """The candidate without what costs more than it saves, one thing after the other, each time the best.

    An exact equation stays exact.

    Args:
        candidate: equation with what it costs.
        task: rows that it is fitted to and judged by.
        ends: time (`time.monotonic`) after which nothing more is tried.
    """
    tried: set[Expression] = {candidate.expression}
    while time.monotonic() < ends:
        forms = dict.fromkeys(form for form in _forms_of_less(candidate.expression) if form not in tried)
        tried.update(forms)
        shorter = _best(list(forms)[:_MOST_FORMS], task, candidate, ends)
        if shorter is None:
            break
        candidate = shorter
    return candidate


def _best(
    forms: Sequence[Expression], task: RegressionTask, candidate: Candidate, ends: float
) -> Candidate | None:
    """The form of the shortest code, constants fitted again but for those that were set; None: none is shorter.

    Args:
        forms: equations from which a constant or a part has been taken out.
        task: rows to fit to.
        candidate: equation whose code is to be undercut.
        ends: time after which no more of them are scored.
    """
    if not forms:
        return None
    fitted = task.refits(forms, [is_plain(form.constants) for form in forms])
    rough = [task.judge(equation, 0) for equation in fitted]
    best = None
    limit = candidate.code - _SIGNIFICANT
    for form in sorted(rough, key=lambda each: each.error):
        if not math.log(max(form.error, EXACT_NMSE)) < limit or time.monotonic() > ends:
            break
        if candidate.exact and not form.exact:
            continue
        scored = task.charged(replace(form, complexity=complexity(form.expression)))
        if scored.code < limit:
            best, limit = scored, scored.code
    return best


def _forms_of_less(expression: Expression) -> Iterator[Expression]:
    """The equation with one constant set, one part of a sum or a product taken out, or two constants as one."""
    for k, value in enumerate(expression.constants.tolist()):
        for plain in _values_instead(value):
            constants = expression.constants.copy()
            constants[k] = plain
            yield canonical(expression.with_constants(constants))
    yield from tied(expression)
    yield from common_divisors(expression)
    yield from completed_powers(expression)
    for form in spread_out(expression):
        yield from (canonical(form), *tied(canonical(form)))
    for start in range(len(expression)):
        children = expression.subtree(start).children()
        for child in children if len(children) > 1 else ():
            yield canonical(expression.with_subtree(start, child))


def _values_instead(value: float) -> list[float]:
    """Values that a constant may have instead: 0, 1 with its sign, and the whole number or half beside it."""
    beside = [round(value), round(2.0 * value) / 2.0]
    values = dict.fromkeys([0.0, math.copysign(1.0, value), -math.copysign(1.0, value), *map(float, beside)])
    return [each for each in values if each != value and abs(each) <= _LARGEST_PLAIN]
