"""Regression before, and genetic programming after, the search in a latent space."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expressions.equivalence import recovered
from expressions.parsing import parse
from expressions.skeleton import skeleton_of
from foundation.errors import UserError
from searches import latent_cmaes
from searches.latent_cmaes import search
from searches.latent_space import continuation
from searches.pareto_front import EXACT_NMSE
from tests.latent_maps import CodeMap
from tests.latent_searches import BOOK, TRUTH, run, settings, story, table

POLISH: dict[str, Any] = {"polish": "gp", "polish_generations": 3}
QUOTIENT = "1/(x0*x1 + 2*sqrt(x1))"  # nothing that the book knows: it is for regression to find


def test_regression_finds_what_the_map_does_not(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert run(data=table(QUOTIENT), decodes=64).best.error > 1e-6
    result = run(data=table(QUOTIENT), decodes=64, linked_sums=20, state_path=path)
    assert (result.stopped, len(result.history)) == ("exact", 1)
    assert recovered(result.best.expression, parse(QUOTIENT))
    assert story(run(data=table(QUOTIENT), decodes=64, linked_sums=20, state_path=path)) == story(result)


def test_parts_of_elites_are_put_together() -> None:
    """No code word is the product of the two, and nothing else puts words together here."""
    data = table("x0*sin(2.3*x0*x1) + 0.7*x1*x1")
    words = [skeleton_of(parse(text)) for text in ("sin(0.9*x0*x1)", "x1*x1", "x0*x1", "exp(x0)", "x0 - x1")]
    errors = {}
    for every in (0, 2):
        result = run(CodeMap(words), data, decodes=64, rewritten_share=0.0, recombine_every=every)
        errors[every] = result.best.error
    assert errors[2] < 1e-12 < 1e-4 < errors[0]
    assert result.stopped == "exact"


def test_sums_of_regression_are_elites_and_seeds_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    plain = continuation.evolve
    monkeypatch.setattr(continuation, "evolve", lambda *a, **k: calls.append((a, k)) or plain(*a, **k))
    data = table("x0**2*sin(2.3*x1) + 0.2*x0", noise=0.05)
    options = {"data": data, "linked_sums": 20, "rewritten_share": 0.5}
    undisturbed = run(decodes=160, **options, **POLISH)
    assert len(undisturbed.history) > 3
    run(decodes=64, **options, state_path=tmp_path / "state")
    monkeypatch.setattr(latent_cmaes, "first_equations", lambda *a: pytest.fail("looked for again"))
    assert story(run(decodes=160, **options, state_path=tmp_path / "state", **POLISH)) == story(undisturbed)
    (first, second) = calls
    assert first[1]["seeds"] == second[1]["seeds"]
    assert first[0][2].linked_sums == 0, "they are among the seeds"
    alone = run(decodes=16, data=data)
    assert undisturbed.history[0]["best_nmse"] < alone.history[0]["best_nmse"]
    assert undisturbed.history[0]["decodes"] == alone.history[0]["decodes"]


def test_genetic_programming_goes_on_from_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    plain = continuation.evolve

    def noted(*arguments: Any, **options: Any) -> Any:
        given.update(options)
        return plain(*arguments, **options)

    monkeypatch.setattr(continuation, "evolve", noted)
    data = table("x0**2*sin(2.3*x1) + 0.2*x0", noise=0.02)
    alone = run(data=data, decodes=160)
    both = run(data=data, decodes=160, **POLISH)
    assert given["seeds"]
    assert len(given["seeds"]) <= 40
    assert both.stopped in ("generations", "exact")
    assert both.best.code <= alone.best.code + 1e-9  # but for the last bits of a fit
    assert both.history[: len(alone.history)] != []
    numbers = [entry["generation"] for entry in both.history]
    assert numbers == list(range(len(numbers)))
    assert {tuple(entry) for entry in both.history} == {tuple(alone.history[0])}
    seconds = [entry["seconds"] for entry in both.history]
    assert seconds == sorted(seconds)
    assert both.evaluations > alone.evaluations
    leader = min(entry["best_nmse"] for entry in alone.history)
    assert both.history[len(alone.history)]["best_nmse"] < 1.1 * leader, "its first population holds the seeds"


def test_what_is_exact_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation, "evolve", lambda *a, **k: pytest.fail("continued"))
    near = next(k for k, skeleton in enumerate(BOOK) if skeleton == skeleton_of(parse(TRUTH)))
    assert run(CodeMap(BOOK, centre=near), decodes=2000, **POLISH).stopped == "exact"


def test_genetic_programming_alone(tmp_path: Path) -> None:
    inputs, target = table("x0*x1 + x0", variables=4)
    result = search(
        inputs * 1e6, target, settings(method="none", polish="gp", polish_generations=4), latent_map=None, seed=1,
        state_path=tmp_path / "state",
    )  # fmt: skip
    assert result.stopped == "exact"
    assert result.best.error < EXACT_NMSE
    assert result.notes == ()
    assert result.counts["decodes"] == result.counts["skeletons"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["state.polish"]
    assert np.allclose(result.best.expression(inputs * 1e6), target)


def test_genetic_programming_sees_all_columns_in_ordinary_units_and_goes_on_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    inputs = rng.uniform(0.5, 2.0, (150, 4)) * np.array([1.0, 1e5, 1.0, 1e-6])
    target = inputs[:, 1] * inputs[:, 2] + 0.05 * inputs[:, 3] / 1e-6 + 0.01 * rng.normal(size=150)
    held = (inputs[:30] * 1.01, target[:30])
    options: dict[str, Any] = {"validation": held, "decodes": 32, **POLISH}
    undisturbed = run(data=(inputs, target), **options)
    assert len(undisturbed.notes) == 1
    assert np.isfinite([c.validation_nmse for c in undisturbed.front]).all()
    assert max(undisturbed.best.expression.variables) <= 3
    path = tmp_path / "state"
    run(data=(inputs, target), state_path=path, **(options | {"polish_generations": 1}))
    assert story(run(data=(inputs, target), state_path=path, **options)) == story(undisturbed)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["state", "state.polish"]


class _Refuses(CodeMap):
    def prior(self, tables: Any) -> Any:
        raise UserError("it was trained on other numbers")


class _Diverged(CodeMap):
    def prior(self, tables: Any) -> Any:
        means, deviations = super().prior(tables)
        return means * np.nan, deviations


@pytest.mark.parametrize("kind", [_Refuses, _Diverged])
def test_a_map_that_cannot_take_the_table_leaves_it_to_genetic_programming(kind: type[CodeMap]) -> None:
    result = run(kind(BOOK), table("x0*x1 + x0"), decodes=100, **POLISH)
    assert "the map cannot be searched on this table" in result.notes[0]
    assert result.best.error < 0.1
    alone = run(kind(BOOK), table("x0*x1 + x0"), decodes=100)
    assert alone.stopped == "map"
    assert len(alone.best.expression) == 1


def test_the_time_is_divided() -> None:
    begun = time.perf_counter()
    result = run(data=table("x0**2*sin(2.3*x1) + 0.2*x0", noise=0.05), seconds=3.0, polish="gp", polish_share=0.5)
    latent = [entry for entry in result.history if entry["sigma"] > 0]
    further = [entry for entry in result.history if entry["sigma"] == 0]
    assert 0.8 < latent[-1]["seconds"] < 2.2
    assert further[-1]["seconds"] > 1.8
    assert result.stopped == "seconds"
    assert time.perf_counter() - begun < 20.0
