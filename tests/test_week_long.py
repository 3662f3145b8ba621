"""The state and the memory of a search stay as they are, however long it runs: cheap generations show it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searches import genetic_programming, structures
from searches.common import history
from searches.evolution.settings import GeneticProgrammingSettings
from searches.structures import StructureSearchSettings

EARLY, LATE = 200, 800
RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2.0, (12, 2))
NOISE = RNG.normal(size=12)
END = {"simplify_seconds": 0, "polish_equations": 0, "stop_when_exact": False}
LIMITS = {
    "searches.common.history.MOST_ENTRIES": 20,
    "searches.evolution.island._MEMORY": 50,
    "searches.gumbel_structures.course._MOST_SEEN": 50,
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
