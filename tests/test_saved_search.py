"""A search in a process of its own: the files that it leaves, and how little it imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundation.errors import UserError
from searches.common.parallel import run_jobs
from searches.common.saved_search import SavedSearch, run_saved_search
from searches.common.search_state import load_state
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search
from searches.latent_space.equation_map import MapFile
from searches.latent_space.settings import LatentSearchSettings
from searches.search_result import SearchResult
from tests.latent_maps import CodeMap, skeletons_of

ROOT = Path(__file__).resolve().parents[1]
INPUTS = np.random.default_rng(3).uniform(0.5, 2.0, (60, 2))
TARGET = INPUTS[:, 0] * np.sin(3 * INPUTS[:, 1]) + 0.01 * np.random.default_rng(4).normal(size=60)
SETTINGS = GeneticProgrammingSettings(
    population=20, generations=3, seconds=None, simplify_seconds=0.0, bank_size=50, greedy_terms=1, linked_sums=0
)


def saved(folder: Path, **changes: Any) -> SavedSearch:
    arguments: dict[str, Any] = {"inputs": INPUTS, "target": TARGET, "settings": SETTINGS, "seed": 2}
    return SavedSearch(
        function="searches.genetic_programming.search",
        arguments=arguments | changes,
        folder=str(folder),
        label="one",
        title="the first",
        identity="data and settings",
    )


def equations(result: SearchResult) -> list[str]:
    return [candidate.expression.infix() for candidate in result.front]


def test_any_search_leaves_its_result_and_its_state(tmp_path: Path) -> None:
    entries: list[dict[str, float]] = []
    plain = run_saved_search(saved(tmp_path), entries.append, lambda: False)
    assert plain.pop("unwritten") is False
    assert json.loads((tmp_path / "one.json").read_text()) == plain
    assert (plain["label"], plain["identity"]) == ("one", "data and settings")
    assert load_state(tmp_path / "one.state")["generation"] == 3
    assert entries == plain["history"]
    assert equations(SearchResult.of_plain(plain)) == equations(search(INPUTS, TARGET, SETTINGS, seed=2))


def test_a_search_in_a_map_is_given_the_file_of_the_map(tmp_path: Path) -> None:
    CodeMap(skeletons_of(30)).save(tmp_path / "map")
    settings = LatentSearchSettings(seconds=None, decodes=32, population=16, polish="none", simplify_seconds=0.0)
    job = SavedSearch(
        function="searches.latent_cmaes.search",
        arguments={
            "inputs": INPUTS, "target": TARGET, "settings": settings, "seed": 2,
            "latent_map": MapFile(str(tmp_path / "map"), "tests.latent_maps.CodeMap", "of these weights"),
        },
        folder=str(tmp_path), label="two", title="two", identity="",
    )  # fmt: skip
    (plain,) = run_jobs(run_saved_search, [{"saved": job}], 1, lambda number, entry: None)
    assert plain["counts"]["decodes"] == 32
    assert (tmp_path / "two.state").exists()


def test_data_that_cannot_be_searched_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^the first: the target is 1.0 on every row"):
        run_saved_search(saved(tmp_path, target=np.ones(60)), print, lambda: False)


def test_a_result_that_cannot_be_written_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "one.json").mkdir()
    plain = run_saved_search(saved(tmp_path), lambda entry: None, lambda: False)
    assert plain["unwritten"] is True
    assert plain["front"]


@pytest.mark.parametrize("function", ["searches.genetic_programming", "searches.latent_cmaes"])
def test_a_worker_imports_no_framework(function: str) -> None:
    code = (
        f"import sys, searches.common.saved_search, {function}; "
        "print(sorted({'lightning', 'pytorch_lightning', 'wandb', 'torch', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_frame_itself_imports_no_search() -> None:
    code = (
        "import sys, searches.common.saved_search; "
        "print([name for name in sys.modules if name in ('deap', 'cma', 'searches.genetic_programming')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
