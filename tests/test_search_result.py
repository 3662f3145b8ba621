"""One result for all searches: what it holds survives the way through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from expressions.parsing import parse
from searches.pareto_front import Candidate, ParetoFront
from searches.search_result import SearchResult

FRONT = ParetoFront(
    [Candidate(parse("0.1"), 1, 1.0, 1.0), Candidate(parse("0.1*x0 + 1/3"), 5, 1 / 3 * 1e-9, 2e-9)]
)
RESULT = SearchResult(
    front=FRONT,
    history=[{"generation": 0, "seconds": 0.1, "evaluations": 7, "best_nmse": 1e-9, "best_length": 5}],
    seconds=0.3,
    evaluations=7,
    stopped="generations",
    counts={"generations": 0},
    notes=("a column was left out",),
)


def test_the_plain_form_is_json_and_says_everything() -> None:
    again = SearchResult.of_plain(json.loads(json.dumps(RESULT.plain())))
    assert again.plain() == RESULT.plain()
    for one, other in zip(again.front, RESULT.front, strict=True):
        assert one.expression == other.expression
        assert np.array_equal(one.expression.constants, other.expression.constants)
    assert (again.history, again.seconds, again.evaluations) == (RESULT.history, RESULT.seconds, 7)
    assert (again.stopped, again.counts, again.notes) == ("generations", {"generations": 0}, RESULT.notes)


def test_the_best_equation_is_the_picked_one_of_the_front_itself() -> None:
    assert RESULT.best is FRONT[1]
    nothing = SearchResult(ParetoFront(), [], 0.0, 0, "seconds")
    with pytest.raises(ValueError, match="the front is empty"):
        print(nothing.best)
