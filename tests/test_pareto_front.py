"""Pareto fronts and the rule by which an equation is picked from one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.expression import Expression
from searches.pareto_front import EXACT_NMSE, GAIN_PER_NODE, Candidate, ParetoFront, pick


def candidate(complexity: int, train: float, validation: float | None = None) -> Candidate:
    return Candidate(
        Expression.constant(complexity), complexity, train, train if validation is None else validation
    )


CANDIDATES = st.builds(
    candidate,
    st.integers(1, 12),
    st.sampled_from([0.0, 1e-14, 0.1, 0.2, 0.5, 1.0, math.inf, math.nan]),
    st.sampled_from([0.0, 0.1, 0.3, 2.0, math.inf]),
)


@given(st.lists(CANDIDATES, max_size=20))
def test_a_front_is_what_nothing_dominates(candidates: list[Candidate]) -> None:
    front = ParetoFront.of(candidates)
    finite = [c for c in candidates if math.isfinite(c.train_nmse) and math.isfinite(c.validation_nmse)]
    for member in front:
        assert member in finite
        assert not any(
            other.complexity <= member.complexity
            and other.error <= member.error
            and (other.complexity, other.error) != (member.complexity, member.error)
            for other in finite
        )
    for c in finite:  # and nothing that belongs there is missing
        assert any(member.complexity <= c.complexity and member.error <= c.error for member in front)
    assert [c.complexity for c in front] == sorted({c.complexity for c in front})
    errors = [c.error for c in front]
    assert errors == sorted(errors, reverse=True)


def test_an_equation_that_explodes_on_unseen_rows_counts_by_those() -> None:
    assert candidate(3, 0.01, 4.0).error == 4.0
    assert candidate(3, 0.02, 0.01).error == 0.02
    assert [c.complexity for c in ParetoFront.of([candidate(1, 0.5), candidate(9, 0.01, 4.0)])] == [1]


def test_the_shortest_exact_equation_is_picked() -> None:
    front = ParetoFront.of([candidate(3, 1e-2), candidate(5, EXACT_NMSE / 2), candidate(9, 0.0)])
    assert pick(front).complexity == 5
    assert pick(ParetoFront.of([candidate(3, 2 * EXACT_NMSE), candidate(90, 0.0)])).complexity == 90


@pytest.mark.parametrize("nodes", [1, 10, 40])
def test_a_node_more_must_lower_the_error_by_its_share(nodes: int) -> None:
    needed = 0.1 * GAIN_PER_NODE**nodes
    assert pick(ParetoFront.of([candidate(5, 0.1), candidate(5 + nodes, 0.99 * needed)])).complexity == 5 + nodes
    assert pick(ParetoFront.of([candidate(5, 0.1), candidate(5 + nodes, 1.01 * needed)])).complexity == 5


@pytest.mark.parametrize(("nodes", "fall"), [(10, 0.40), (40, 0.87)])
def test_length_costs_what_is_promised(nodes: int, fall: float) -> None:
    worth, not_worth = (candidate(5 + nodes, 0.1 * (1.0 - fall + change)) for change in (-0.01, 0.01))
    assert pick(ParetoFront.of([candidate(5, 0.1), worth])) is worth
    assert pick(ParetoFront.of([candidate(5, 0.1), not_worth])).complexity == 5


def test_rounding_is_exact_and_a_cosine_in_the_place_of_a_square_is_not() -> None:
    assert pick(ParetoFront.of([candidate(3, 1e-19), candidate(60, 1e-30)])).complexity == 60
    assert pick(ParetoFront.of([candidate(3, 1e-28), candidate(60, 1e-32)])).complexity == 3


def test_an_empty_front_has_nothing_to_pick() -> None:
    with pytest.raises(ValueError, match="no equation was finite"):
        pick(ParetoFront.of([candidate(1, math.inf)]))


ROWS = 12


def described(complexity: int, nats: float, error: float, rounding: float) -> Candidate:
    """A candidate on 12 rows."""
    return replace(candidate(complexity, error), charge=2.0 * nats / ROWS, rounding=rounding)


def test_junk_that_meets_few_digits_is_not_picked_over_a_shorter_description() -> None:
    law, junk = described(5, 30.0, 3e-6, 1e-6), described(24, 95.0, 2e-7, 1e-6)
    assert junk.exact
    assert not law.exact
    assert junk.code - law.code > 2.0 * 20.0 / ROWS
    assert pick(ParetoFront.of([law, junk])) is law


def test_a_law_that_meets_the_digits_is_picked_where_its_description_is_as_short() -> None:
    simple, law = described(5, 30.0, 1e-3, EXACT_NMSE), described(9, 50.0, 2e-7, 1e-6)
    assert pick(ParetoFront.of([simple, law])) is law
    # with nothing but a node's worth between them, the digits decide
    simple = described(5, 30.0, 2.4e-5, EXACT_NMSE)
    assert simple.code < law.code
    assert pick(ParetoFront.of([simple, law])) is law


def test_errors_below_the_digits_shorten_no_description() -> None:
    assert described(9, 50.0, 1e-9, 1e-6).code == described(9, 50.0, 1e-7, 1e-6).code


def test_what_is_exact_in_all_digits_needs_no_short_description() -> None:
    simple, law = described(5, 30.0, 1e-3, EXACT_NMSE), described(40, 9_000.0, 1e-29, 1e-20)
    assert pick(ParetoFront.of([simple, law])) is law


def test_an_error_of_zero_that_means_nothing_is_compared_like_any_other() -> None:
    """With a constant for every third row nothing is exact, though the error be 0."""
    small, large = (replace(candidate(size, 0.0), rounding=0.0) for size in (3, 90))
    assert pick(ParetoFront([small, large])) is small
