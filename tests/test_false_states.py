"""States of searches that are whole but false: each is refused in a sentence, and no forged score is believed."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.structure_space import StructureSpace
from expressions.limits import MAX_TOKENS
from expressions.parsing import parse
from foundation.schema import Check, FormatError
from searches.common.regression_task import RegressionTask
from searches.common.search_state import StateError, checked_state, load_state, save_state, unpacked
from searches.common.stored_scores import believed
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search
from searches.gumbel_structures.settings import StructureSearchSettings
from searches.latent_space.settings import LatentSearchSettings
from searches.search_result import SearchResult
from searches.structures import search as structure_search
from tests import latent_searches

INPUTS = np.random.default_rng(0).uniform(0.5, 2.0, (40, 2))
TARGET = INPUTS[:, 0] * np.exp(INPUTS[:, 1]) + 0.1 * np.random.default_rng(1).normal(size=40)
GP = GeneticProgrammingSettings(
    population=12, generations=1, islands=1, seconds=None, simplify_seconds=0.0, bank_size=0, linked_sums=0
)
SPACE = StructureSpace(Architecture(["id*2 square exp", "mul add id"], 2))
STRUCTURES = StructureSearchSettings(
    seconds=None, instances=60, proposals=30, capacity=20, simplify_seconds=0.0, polish_equations=1
)


def by_programming(path: Path, more: int = 0) -> SearchResult:
    settings = dataclasses.replace(GP, generations=1 + more)
    return search(INPUTS, TARGET, settings, seed=0, state_path=path)


def by_structures(path: Path, more: int = 0) -> SearchResult:
    settings = dataclasses.replace(STRUCTURES, instances=60 + 30 * more)
    return structure_search(INPUTS, TARGET, settings, seed=0, space=SPACE, state_path=path)


def in_latents(path: Path, more: int = 0) -> SearchResult:
    return latent_searches.run(data=latent_searches.table(noise=0.3), decodes=34 * (1 + more), state_path=path)


Run = Callable[..., SearchResult]
RUNS: list[Run] = [by_programming, by_structures, in_latents]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[Run, Path]:
    """A good state of every search."""
    folder = tmp_path_factory.mktemp("states")
    found = {run: folder / run.__name__ for run in RUNS}
    for run, path in found.items():
        run(path)
    return found


def places(content: Any) -> Any:
    """The containers and keys of all values, but of long lists only the first and last."""
    if isinstance(content, dict):
        pairs = list(content.items())
    else:
        pairs = [(k, content[k]) for k in sorted({0, len(content) - 1} & set(range(len(content))))]
    for key, value in pairs:
        yield content, key
        if isinstance(value, dict | list):
            yield from places(value)


@pytest.fixture(scope="module")
def checks(states: dict[Run, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Run, Check]:
    """The check that every search makes of its state."""
    found: dict[Run, Check] = {}
    folder = tmp_path_factory.mktemp("checks")
    with pytest.MonkeyPatch.context() as patch:
        for run, path in states.items():

            def noted(path: Path, identity: str, check: Check, *words: str, run: Run = run) -> dict[str, Any]:
                found[run] = check
                return checked_state(path, identity, check, *words)

            for module in ("genetic_programming", "structures", "latent_cmaes"):
                patch.setattr(f"searches.{module}.checked_state", noted)
            run(shutil.copy(path, folder / path.name))
    return found


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_no_value_of_another_kind_is_let_through(
    run: Run, states: dict[Run, Path], checks: dict[Run, Check]
) -> None:
    content = load_state(states[run])
    del content["identity"]
    checks[run](content)
    truths = [id(row) for row in content.get("used", [])]  # where any value is true or false
    for container, key in [place for place in places(content) if id(place[0]) not in truths]:
        for value in ({"a": 1}, float("nan"), [[]]):
            assert refusal_of(checks[run], content, container, key, value), (key, value)
    content["history"][0] = {"a": 1}
    with pytest.raises(FormatError, match=r"its history\[0\] has no 'generation'"):
        checks[run](content)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
@pytest.mark.parametrize("value", [-1e9, -1, 1e300, 10**400])
def test_no_count_is_out_of_its_range(
    run: Run, value: float, states: dict[Run, Path], checks: dict[Run, Check]
) -> None:
    content = load_state(states[run])
    del content["identity"]
    counts = {"generation", "generations", "decodes", "evaluations", "restarts", "idle", "starts", "seconds"}
    inside = list(places({name: part for name, part in content.items() if name != "history"}))
    for container, key in inside:
        if key in counts:
            holder = content if key in content else container
            assert refusal_of(checks[run], content, holder, key, value), key


def refusal_of(check: Check, content: Any, container: Any, key: Any, value: Any) -> str:
    """The words by which a check refuses content with another value in one place; empty where it does not."""
    kept, container[key] = container[key], value
    try:
        check(content)
    except FormatError as error:
        return str(error)
    finally:
        container[key] = kept
    return ""


def packed_program(text: str) -> list[list[Any]]:
    expression = parse(text)
    return [expression.tokens.tolist(), expression.constants.tolist()]


@pytest.mark.parametrize(
    "program",
    [
        packed_program("x2 + 1"),
        packed_program("acos(x0)"),
        packed_program("+".join(["x0"] * 100)),
        [[1, 1], []],
        [[1] * (2 * MAX_TOKENS) + [1000] * (2 * MAX_TOKENS + 1), []],
        [[1, 1000, 0], []],
        [[-5], []],
        [[2**40], []],
    ],
    ids=lambda program: str(program)[:12],
)
def test_programs_of_other_operators_variables_or_sizes_are_refused(
    program: list[list[Any]], states: dict[Run, Path], tmp_path: Path
) -> None:
    for run, field in ((by_programming, "population"), (by_structures, "best")):
        content = load_state(states[run])
        rows = content["islands"][0][field] if "islands" in content else content[field]
        rows[0] = program if field == "population" else [*rows[0][:2], *program]
        save_state(tmp_path / "state", content)
        if program == packed_program("acos(x0)") and run is by_structures:
            continue  # it has no set of operators
        with pytest.raises(StateError, match="is not a state of this search"):
            run(tmp_path / "state")


def test_a_forged_score_is_computed_again(states: dict[Run, Path], tmp_path: Path) -> None:
    """Every equation says that it is exact: none is believed, and none of them is picked."""
    for run in RUNS:
        content, path = load_state(states[run]), tmp_path / run.__name__
        island = content["islands"][0] if "islands" in content else content.get("scores", content)
        for name in ("best", "elites"):
            for row in island.get(name, []):
                row[0 if name == "elites" else 1] = -70.0 if name == "elites" else 1e-30
                if name == "elites" and run is in_latents:
                    row[1] = 1e-30
        if "nmse" in island:
            island["nmse"] = [1e-30] * len(island["nmse"])
        save_state(path, content)
        result = run(path, more=1)
        assert result.stopped != "exact"
        again = load_state(path)
        island = again["islands"][0] if "islands" in again else again.get("scores", again)
        assert min(row[1] for row in island["best"]) > 1e-12
        assert min(island.get("nmse", [1.0])) > 1e-12
        assert all(row[0] > -50.0 for row in island.get("elites", []))


def test_stored_scores_are_believed_where_the_data_bear_them_out() -> None:
    task = RegressionTask(INPUTS, TARGET, seed=0)
    equations = [parse("x0*exp(x1)"), parse("x0"), parse("log(x0 - 1e6)")]
    own = task.screen(equations).tolist()
    nearly = [own[0] * 1.001, own[1] * 0.9, float("inf")]
    assert believed(task, equations, nearly) == nearly
    assert believed(task, equations, [1e-9, 1e-9, 1e-9]) == pytest.approx([own[0], own[1], float("inf")], rel=1e-3)
    plain = RegressionTask(INPUTS, TARGET, seed=0, linear_scaling=False)
    assert believed(plain, [parse("x0")], [1e-9]) == pytest.approx(plain.screen([parse("x0")]).tolist(), rel=1e-3)


def test_what_unpacks_to_far_more_than_it_is_is_refused(states: dict[Run, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 4,194,304 bytes"):
        unpacked(zlib.compress(bytes(1 << 23)))
    with pytest.raises(ValueError, match="cut off"):
        unpacked(zlib.compress(b"state")[:-3])
    content = load_state(states[in_latents])
    content["scores"]["packed"] = [base64.b64encode(zlib.compress(b" " * (1 << 23))).decode()]
    save_state(tmp_path / "state", content)
    with pytest.raises(StateError, match=r"its scores.packed\[0\] is"):
        in_latents(tmp_path / "state")


def test_settings_allow_no_equation_that_could_not_be_read_back() -> None:
    longest = GeneticProgrammingSettings(max_length=500, max_height=100)
    assert longest.max_length + 20 < MAX_TOKENS
    for cls, name in (
        (GeneticProgrammingSettings, "max_length"),
        (GeneticProgrammingSettings, "max_height"),
        (LatentSearchSettings, "longest"),
        (StructureSearchSettings, "longest"),
    ):
        with pytest.raises(ValueError, match=name):
            cls.of({name: 10_000})
