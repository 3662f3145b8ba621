"""The state and the memory of a search stay as they are, however long it runs: cheap generations show it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searches import genetic_programming, structures
from searches.common import history
from searches.common.skeleton_fitting import SkeletonFitter
from searches.evolution.settings import GeneticProgrammingSettings
from searches.latent_space.skeleton_scores import SkeletonScores
from searches.structures import StructureSearchSettings
from tests.latent_maps import skeletons_of

EARLY, LATE = 200, 800
RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2.0, (12, 2))
NOISE = RNG.normal(size=12)
END = {"simplify_seconds": 0, "polish_equations": 0, "stop_when_exact": False}
LIMITS = {
    "searches.common.history.MOST_ENTRIES": 20,
    "searches.evolution.island.MEMORY": 50,
    "searches.gumbel_structures.course.MOST_SEEN": 50,
    "searches.common.skeleton_fitting._MOST_REMEMBERED": 50,
    "searches.common.exactness._REMEMBERED": 20,
}


def evolution(path: Path, told: Callable[..., None]) -> None:
    settings = GeneticProgrammingSettings(
        population=6, bank_size=0, linked_sums=0, constants=False, max_length=7, max_height=3, seconds=None,
        generations=LATE, search_rows=12, finish_iterations=0, **END,
    )  # fmt: skip
    genetic_programming.search(X, NOISE, settings, seed=0, state_path=path, on_generation=told)


def structure_search(path: Path, told: Callable[..., None]) -> None:
    settings = StructureSearchSettings(
        proposals=4, capacity=4, patience=1_000, longest=9, seconds=None, instances=4 * LATE, search_rows=12,
        screen_rows=8, starts=1, frequency_starts=1, **END,
    )  # fmt: skip
    structures.search(X, NOISE, settings, seed=0, state_path=path, on_generation=told)


@pytest.mark.parametrize("search", [evolution, structure_search])
def test_state_and_memory_stay_as_they_are(
    search: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in LIMITS.items():
        monkeypatch.setattr(name, most)
    path = tmp_path / "state"
    sizes: list[int] = []
    objects: dict[int, int] = {}

    def told(entry: dict[str, float], _: Any) -> None:
        sizes.append(path.stat().st_size)
        if entry["generation"] in (EARLY, LATE - 1):
            gc.collect()
            objects[int(entry["generation"])] = len(gc.get_objects())

    search(path, told)
    assert len(sizes) >= LATE - 1
    early, late = np.mean(sizes[EARLY - 50 : EARLY + 50]), np.mean(sizes[-100:])
    assert late < 1.05 * early
    assert objects[LATE - 1] < 1.05 * objects[EARLY]


def scores() -> SkeletonScores:
    return SkeletonScores(SkeletonFitter(X, NOISE, search_rows=12, screen_rows=8, linear_scaling=True), capacity=4)


def test_of_many_decoded_skeletons_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a search that goes on from the state on disk, which stays as large as it is."""
    monkeypatch.setattr("searches.latent_space.skeleton_scores._CHUNK", 5)
    monkeypatch.setattr("searches.latent_space.skeleton_scores._MOST_PACKS", 4)
    one, sizes = scores(), []
    different = {one.program(each): each for each in skeletons_of(90)}
    skeletons = list(different.values())
    for start in range(0, len(skeletons), 6):
        one.errors(skeletons[start : start + 6])
        sizes.append(len(json.dumps(one.state())))
        again = scores()
        again.load(again.state_check(json.loads(json.dumps(one.state()))))
        assert len(again) == len(one) == min(start + 6, len(skeletons))
        assert again.state() == one.state()
        one = again
    assert not one.is_known(skeletons[0])
    assert one.is_known(skeletons[-1])
    assert max(sizes[8:]) < 1.3 * max(sizes[4:8])


def test_a_long_history_keeps_its_ends_and_thins_out_what_is_old() -> None:
    entries: list[dict[str, Any]] = []
    for generation in range(100_000):
        history.add_entry(entries, {"generation": generation})
        assert entries[-1]["generation"] == generation
    assert history.MOST_ENTRIES / 2 <= len(entries) <= history.MOST_ENTRIES
    steps = np.diff([entry["generation"] for entry in entries])
    assert (steps > 0).all()
    assert steps[-1] == 1
    assert steps[0] >= steps[len(steps) // 2]
