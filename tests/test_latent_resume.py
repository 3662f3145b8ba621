"""A search in a latent space that was cut off goes on as if it never stopped."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expressions.expression import Expression
from expressions.parsing import parse
from expressions.skeleton import Skeleton, skeleton_of
from searches.common.search_state import StateError, load_state
from searches.common.skeleton_fitting import SkeletonFitter
from tests.latent_maps import CodeMap
from tests.latent_searches import BOOK, ROOT, SHARED, TRUTH, decoded, run, story, table


@pytest.fixture(scope="module")
def whole() -> Any:
    """The search that nobody disturbed; it begins anew a few times."""
    result = run(data=table(noise=0.1), decodes=320)
    assert result.history[-1]["restarts"] >= 2
    return story(result)


def test_a_state_on_disk_changes_nothing(whole: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    assert story(run(data=table(noise=0.1), decodes=320, state_path=path)) == whole
    again = CodeMap(BOOK)
    assert story(run(again, table(noise=0.1), decodes=320, state_path=path)) == whole
    assert not decoded(again), "a finished search only ends once more"


@pytest.mark.parametrize(
    ("method", "options"),
    [("cmaes", {}), ("cmaes", SHARED), ("prior", {}), ("paper", {})],
    ids=["cmaes", "shared", "prior", "paper"],
)
@pytest.mark.parametrize("stops", [(1, 4, 13)])
def test_every_generation_can_be_gone_on_from(
    method: str, options: dict[str, Any], stops: tuple[int, ...], tmp_path: Path
) -> None:
    """Stopped after whole generations, that is: a generation cut short by its budget is the last."""
    options = {"method": method, "data": table(noise=0.3), **options}
    total = 15 * 17
    undisturbed = run(decodes=total, **options)
    for generations in stops:
        decodes = undisturbed.history[generations - 1]["decodes"]
        run(decodes=decodes, state_path=tmp_path / "state", **options)
    assert story(run(decodes=total, state_path=tmp_path / "state", **options)) == story(undisturbed)


def test_many_scores_survive_the_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searches.latent_space.skeleton_scores._CHUNK", 7)
    data = table(noise=0.1)
    undisturbed = run(data=data, decodes=240)
    run(data=data, decodes=160, state_path=tmp_path / "state")
    packed = load_state(tmp_path / "state")["scores"]["packed"]
    assert len(packed) > 5
    assert story(run(data=data, decodes=240, state_path=tmp_path / "state")) == story(undisturbed)


def test_a_resumed_search_fits_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Skeleton] = []
    plain = SkeletonFitter.fit

    def counted(self: SkeletonFitter, skeletons: Any, bar: float) -> Any:
        fitted.extend(skeletons)
        return plain(self, skeletons, bar)

    monkeypatch.setattr(SkeletonFitter, "fit", counted)
    for decodes in (80, 160, 320):
        result = run(data=table(noise=0.1), decodes=decodes, state_path=tmp_path / "state")
    assert len(fitted) == len(set(fitted)) == result.counts["skeletons"]


def test_what_was_exact_is_exact_after_a_resume(tmp_path: Path) -> None:
    near = next(k for k, skeleton in enumerate(BOOK) if skeleton == skeleton_of(parse(TRUTH)))
    first = run(CodeMap(BOOK, centre=near), decodes=2000, state_path=tmp_path / "state")
    assert first.stopped == "exact"
    assert story(run(CodeMap(BOOK, centre=near), decodes=2000, state_path=tmp_path / "state")) == story(first)


SCRIPT = """
import sys
from pathlib import Path
from tests.latent_searches import run, table
if __name__ == "__main__":
    tell = lambda entry, _: print(int(entry["generation"]), flush=True)
    run(data=table(noise=0.1), decodes=320, state_path=Path(sys.argv[1]), on_generation=tell)
"""


def start(folder: Path, script: str = SCRIPT) -> subprocess.Popen[str]:
    path = folder / "script.py"
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(path), str(folder / "state")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.long
def test_killed_in_mid_generation_and_resumed(whole: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    reached = []
    for _ in range(3):
        process = start(tmp_path)
        assert process.stdout is not None
        reached += [int(process.stdout.readline()) for _ in range(3)]
        time.sleep(0.02 * rng.random())
        process.kill()
        process.communicate()
    assert len(set(reached)) == len(reached), "each attempt goes on from the one before"
    assert max(reached) < 19
    assert story(run(data=table(noise=0.1), decodes=320, state_path=tmp_path / "state")) == whole


def test_ctrl_c_returns_the_best_so_far(tmp_path: Path) -> None:
    script = (
        "from tests.latent_searches import run, table\n"
        "if __name__ == '__main__':\n"
        "    result = run(data=table(noise=0.1), seconds=600.0, polish='gp',\n"
        "                 on_generation=lambda entry, _: print('generation', flush=True))\n"
        "    print('ended', result.stopped, len(result.front), result.best.expression.infix())\n"
    )
    process = start(tmp_path, script)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "generation\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("ended interrupted")
    assert err == ""


def test_should_stop_ends_a_search_that_has_something_to_show() -> None:
    result = run(data=table(noise=0.1), decodes=1000, should_stop=lambda: True, polish="gp", polish_generations=3)
    assert (result.stopped, result.counts["decodes"], len(result.history)) == ("interrupted", 16, 1)
    assert len(result.front)


@pytest.mark.parametrize(
    "other",
    [{"population": 17}, {"seed": 4}, {"map_identity": "another map"}, {"parsimony": 0.3}, {"method": "prior"}],
)
def test_a_state_of_another_search_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "state"
    run(decodes=32, state_path=path, data=table(noise=0.1))
    before = path.read_bytes()
    with pytest.raises(StateError, match="other data, settings, seed or map"):
        run(decodes=64, state_path=path, data=table(noise=0.1), **other)
    with pytest.raises(StateError, match="other data"):
        run(decodes=64, state_path=path, data=table(noise=0.2))
    assert path.read_bytes() == before
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(StateError, match="damaged"):
        run(decodes=64, state_path=path, data=table(noise=0.1))


def test_budgets_may_be_raised_and_the_end_changed(tmp_path: Path) -> None:
    run(decodes=32, state_path=tmp_path / "state", data=table(noise=0.1))
    more = {
        "decodes": 64,
        "polish": "gp",
        "polish_generations": 1,
        "stop_when_exact": False,
        "finish_iterations": 3,
    }
    assert run(state_path=tmp_path / "state", data=table(noise=0.1), **more).counts["decodes"] == 64


def test_a_disk_that_fills_up_costs_nothing_that_was_found(whole: Any, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(entry: dict[str, float], best: Expression) -> None:
        if entry["generation"] == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        result = run(data=table(noise=0.1), decodes=320, state_path=tmp_path / "state", on_generation=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert result.stopped == "disk"
    assert len(result.front)
    assert load_state(tmp_path / "state")["generation"] == 4
    assert story(run(data=table(noise=0.1), decodes=320, state_path=tmp_path / "state")) == whole
