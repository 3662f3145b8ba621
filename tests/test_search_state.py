"""A search that was killed goes on from its state as if nothing had happened, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searches.common.search_state import StateError, fingerprint, load_state, save_state
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search
from searches.search_result import SearchResult

ROOT = Path(__file__).resolve().parents[1]
# No time limit takes part: the last simplification is the only thing that has one.
SETTINGS = GeneticProgrammingSettings(
    population=24, generations=9, islands=2, migration_interval=3, migrants=4, seconds=None, simplify_seconds=0.0
)


def problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(60, 3))
    noise = 0.01 * rng.normal(size=60)  # never exact
    return inputs, inputs[:, 0] * np.exp(inputs[:, 1]) + np.sin(3 * inputs[:, 2]) + noise


def run(state: Path | None, **options: Any) -> SearchResult:
    changes = {key: options.pop(key) for key in list(options) if hasattr(SETTINGS, key)}
    return search(*problem(), dataclasses.replace(SETTINGS, **changes), seed=11, state_path=state, **options)


def story(result: SearchResult) -> Any:
    """All of a result but the clock."""
    clock = ("seconds", "evaluations_per_second")
    return (
        [(c.expression.infix(), c.complexity, c.train_nmse, c.validation_nmse) for c in result.front],
        [{key: value for key, value in entry.items() if key not in clock} for entry in result.history],
        result.best.expression.infix(),
        result.counts["generations"],
        result.evaluations,
        result.stopped,
    )


@pytest.fixture(scope="module")
def whole() -> Any:
    """The search that nobody disturbed."""
    return story(run(None))


def test_two_workers_find_what_one_finds(whole: Any) -> None:
    assert story(run(None, workers=2)) == whole


def test_a_state_on_disk_changes_nothing(whole: Any, tmp_path: Path) -> None:
    assert story(run(tmp_path / "deep" / "state")) == whole
    assert story(run(tmp_path / "deep" / "state")) == whole, "a finished search only ends once more"


@pytest.mark.parametrize("workers", [1, 2])
def test_every_generation_can_be_gone_on_from(whole: Any, tmp_path: Path, workers: int) -> None:
    for generations in (0, 2, 3, 5):  # budgets may be raised
        run(tmp_path / "state", generations=generations, workers=3 - workers)
    assert story(run(tmp_path / "state", workers=workers)) == whole


def test_the_papers_selection_goes_on_too(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"selection": "tournament", "constants": False, "linear_scaling": False}
    run(tmp_path / "state", generations=4, **plain)
    assert story(run(tmp_path / "state", **plain)) == story(run(None, **plain))


def test_what_was_exact_is_exact_after_a_resume(tmp_path: Path) -> None:
    inputs, _ = problem()
    target = inputs[:, 0] ** 2 + inputs[:, 1]
    settings = dataclasses.replace(SETTINGS, generations=30)
    ended = search(inputs, target, settings, seed=1, state_path=tmp_path / "state")
    again = search(inputs, target, settings, seed=1, state_path=tmp_path / "state")
    assert ended.stopped == "exact"
    assert story(again) == story(ended)


SCRIPT = """
import sys
from pathlib import Path
from tests.test_search_state import run
if __name__ == "__main__":
    tell = lambda entry, _: print(entry["generation"], flush=True)
    run(Path(sys.argv[1]), workers=int(sys.argv[2]), on_generation=tell)
"""


def start(folder: Path, workers: int, **options: Any) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder / "state"), str(workers)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **options,
    )


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_mid_generation_and_resumed(whole: Any, tmp_path: Path, workers: int) -> None:
    rng = np.random.default_rng(workers)
    reached = []
    for _ in range(3):
        process = start(tmp_path, workers)
        assert process.stdout is not None
        reached += [int(process.stdout.readline()) for _ in range(2)]
        time.sleep(0.1 * rng.random())
        process.kill()
        process.communicate()
    assert len(set(reached)) == len(reached), "each attempt goes on from the one before"
    assert story(run(tmp_path / "state", workers=workers)) == whole
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part") and path.stat().st_size == 0]


def test_ctrl_c_returns_the_best_so_far(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.test_search_state import run\n"
        "if __name__ == '__main__':\n"
        "    result = run(None, generations=None, seconds=600.0, stop_when_exact=False,\n"
        "                 on_generation=lambda entry, _: print('generation', flush=True), workers=2)\n"
        "    print('ended', result.stopped, len(result.front), result.best.expression.infix())\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "generation\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("ended interrupted")
    assert err == ""


def test_should_stop_ends_a_search_that_has_something_to_show() -> None:
    result = run(None, should_stop=lambda: True)
    assert (result.stopped, result.counts["generations"]) == ("interrupted", 0)
    assert len(result.front)


# --- states that cannot be gone on from -------------------------------------------------------------------------


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    state = {"a": [0.1, 1e-320, float("inf"), -0.0, 2**200, None, True], "b": {"c": "ä"}}
    save_state(tmp_path / "state", state)
    assert load_state(tmp_path / "state") == state
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("other", [{"population": 25}, {"operators": ("add", "mul")}, {"linear_scaling": False}])
def test_a_state_with_other_settings_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    run(tmp_path / "state", generations=0)
    before = (tmp_path / "state").read_bytes()
    with pytest.raises(StateError, match="other data, settings or seed"):
        run(tmp_path / "state", **other)
    assert (tmp_path / "state").read_bytes() == before


def test_a_state_of_other_data_seed_or_seeds_is_refused(tmp_path: Path) -> None:
    inputs, target = problem()
    search(inputs, target, SETTINGS, seed=11, state_path=tmp_path / "state", should_stop=lambda: True)
    for x, y, seed in ((inputs + 1e-9, target, 11), (inputs, target * 2, 11), (inputs, target, 12)):
        with pytest.raises(StateError, match="other data"):
            search(x, y, SETTINGS, seed=seed, state_path=tmp_path / "state")


@pytest.mark.parametrize("damage", ["empty", "torn", "flipped", "foreign", "list", "directory"])
def test_a_damaged_state_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state"
    run(path, generations=0)
    content = path.read_bytes()
    if damage == "directory":
        path.unlink()
        path.mkdir()
    elif damage == "list":  # whole, but not what we wrote
        save_state(path, {})
        body = zlib.compress(b"[1]")
        path.write_bytes(path.read_bytes()[:19] + fingerprint_of(body) + b"\n" + body)
    else:
        path.write_bytes(
            {
                "empty": b"",
                "torn": content[: len(content) // 2],
                "flipped": content[:-1] + bytes([content[-1] ^ 1]),
                "foreign": json.dumps({"generation": 3}).encode(),
            }[damage]
        )
    with pytest.raises(StateError) as caught:
        run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def fingerprint_of(body: bytes) -> bytes:
    import hashlib

    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()


def test_fingerprints_tell_types_shapes_and_order_apart() -> None:
    array = np.arange(6.0)
    parts: list[tuple[Any, ...]] = [
        (array,), (array.reshape(2, 3),), (array.reshape(2, 3).T,), (array.astype(np.float32),),
        (array, 1), (1, array), ("1", array), ("ab", "c"), ("a", "bc"), (-array,),
    ]  # fmt: skip
    assert len({fingerprint(*part) for part in parts}) == len(parts)
    assert fingerprint(array) == fingerprint(array[::-1][::-1])


# --- a disk that cannot be written to ---------------------------------------------------------------------------


def test_a_state_that_can_never_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        run(tmp_path / "file" / "state")


def test_a_disk_that_fills_up_costs_nothing_that_was_found(whole: Any, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(entry: dict[str, float], best: Any) -> None:
        if entry["generation"] == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

    try:
        result = run(tmp_path / "state", on_generation=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.stopped == "disk"
    assert result.counts["generations"] == 5
    assert len(result.front)
    assert story(result)[1] == whole[1][:6]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert load_state(tmp_path / "state")["generation"] == 4
    assert story(run(tmp_path / "state")) == whole
