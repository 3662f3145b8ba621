"""The plain search for structures: by itself, cut off and resumed, and with a proposer that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.structure_space import StructureSpace
from expressions.parsing import parse
from modules.gmeql import GMEQL
from searches.common.search_state import StateError
from searches.gumbel_structures.proposers import RandomProposer
from searches.search_result import SearchResult
from searches.structures import Proposer, StructureSearchSettings, search

LAYERS = ["id*2 square cube sin cos mul div", "add*2 mul div id sum", "add mul sqrt id sum"]
SPACE = StructureSpace(Architecture(LAYERS, 2))
SHORT: dict[str, Any] = {
    "seconds": None, "instances": 360, "proposals": 30, "patience": 60, "simplify_seconds": 0.0,
    "polish_equations": 2, "stop_when_exact": False, "capacity": 60,
}  # fmt: skip


def table(rows: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0.5, 3.0, (rows, 2))
    return inputs, 3.5 * inputs[:, 0] ** 2 / inputs[:, 1] + 0.05 * rng.normal(size=rows)


def found(
    state_path: Path | None = None, proposer: Proposer | None = None, seed: int = 5, **options: Any
) -> SearchResult:
    settings = StructureSearchSettings.of(SHORT | options)
    return search(*table(), settings, seed=seed, space=SPACE, proposer=proposer, state_path=state_path)


def learner() -> GMEQL:
    return GMEQL(2, layers=LAYERS)


def story(result: SearchResult) -> tuple[Any, ...]:
    """All that a search found, but not the clock."""
    plain = result.plain()
    history = [{key: value for key, value in entry.items() if key != "seconds"} for entry in plain["history"]]
    return plain["front"], history, plain["evaluations"], plain["stopped"], plain["counts"]


def test_a_formula_is_found_without_anything_that_learns() -> None:
    inputs, _ = table()
    target = 3.5 * inputs[:, 0] ** 2 / inputs[:, 1] + 0.25
    settings = StructureSearchSettings(seconds=None, instances=20_000, simplify_seconds=0.0)
    result = search(inputs, target, settings, seed=0)
    assert result.stopped == "exact"
    assert result.evaluations < 20_000
    assert result.best.expression == parse("3.5*x0**2/x1 + 0.25")


def test_the_budget_of_instances_ends_it_and_the_result_is_that_of_every_search() -> None:
    result = found()
    assert (result.stopped, result.evaluations, result.counts["generations"]) == ("instances", 360, 12)
    assert result.counts["starts"] > 1, "otherwise the test of resuming looks at less than it should"
    keys = {"generation", "seconds", "evaluations", "best_nmse", "best_length"}
    assert all(keys <= entry.keys() for entry in result.history)
    errors = [entry["best_nmse"] for entry in result.history]
    assert errors == sorted(errors, reverse=True)
    assert story(found(seed=6)) != story(result)


@pytest.mark.parametrize("learns", [False, True])
def test_a_search_that_was_cut_off_goes_on_as_if_it_had_not(learns: bool, tmp_path: Path) -> None:
    state = tmp_path / "one.state"
    ends = [learner() if learns else RandomProposer(SPACE) for _ in range(4)]
    whole = story(found(proposer=ends[0]))
    for proposer, instances in zip(ends[1:], (90, 210, 360), strict=True):
        last = found(state, proposer, instances=instances)
    assert story(last) == whole
    np.testing.assert_array_equal(ends[0].memory, ends[-1].memory)


def test_a_learner_makes_another_search_of_it_and_learns_from_elites() -> None:
    model, frozen = learner(), GMEQL(2, layers=LAYERS, learning_rate=0.0)
    assert story(found(proposer=model, patience=10_000)) != story(found(patience=10_000))
    found(proposer=frozen, patience=10_000)
    assert not np.array_equal(model.memory, frozen.memory), "both began with the same logits"


def test_one_step_without_a_trainer_raises_the_likelihood_of_the_elites_alone() -> None:
    model = GMEQL(2, layers=LAYERS, learning_rate=0.5)
    model.begin(np.random.default_rng(0))
    structures = model.propose(4, np.random.default_rng(1))
    used = np.zeros(structures.shape, dtype=bool)
    used[:, :3] = True
    before = model.memory.copy()
    model.learn(structures, used)
    assert (model.memory[np.arange(3), structures[0, :3]] != before[np.arange(3), structures[0, :3]]).all()
    np.testing.assert_array_equal(model.memory[3:], before[3:])


def test_random_structures_are_within_the_space_and_mostly_closed() -> None:
    drawn = RandomProposer(SPACE, open_gates=0.1).propose(4_000, np.random.default_rng(0))
    assert (drawn >= 0).all()
    assert (drawn.max(axis=0) == SPACE.choices - 1).all(), "every choice occurs"
    assert drawn[:, SPACE.is_gate].mean() == pytest.approx(0.1, abs=0.01)


def test_whoever_asks_can_end_it_and_hears_of_every_generation() -> None:
    heard: list[int] = []
    result = search(
        *table(), StructureSearchSettings.of(SHORT), seed=5, space=SPACE,
        on_generation=lambda entry, equation: heard.append(int(entry["generation"])),
        should_stop=lambda: len(heard) >= 3,
    )  # fmt: skip
    assert heard == [1, 2, 3]
    assert (result.stopped, result.evaluations) == ("interrupted", 90)


def test_the_state_of_another_search_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "one.state"
    found(state, instances=30)
    with pytest.raises(StateError, match="other data, settings or seed"):
        found(state, seed=6)
    with pytest.raises(StateError, match="other data, settings or seed"):
        found(state, learner())


def test_no_equation_at_all_is_said() -> None:
    inputs, target = table()
    with pytest.raises(ValueError, match="no equation was finite"):
        search(-inputs, target, StructureSearchSettings.of(SHORT | {"instances": 30}), seed=0,
               space=StructureSpace(Architecture(["sqrt"], 2, constant=False)))  # fmt: skip
