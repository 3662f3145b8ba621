"""Ctrl-C is recorded, says what to type, and loses nothing; `resume=auto` finds the run by its own record; a
refused command leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import compare
from foundation.errors import UserError
from runs.directory import claimed
from runs.reader import find_runs, read_run
from runs.record import read_results
from runs.refused import nothing_left
from runs.unfinished import newest_unfinished

FIT = (
    "experiment=smoke", "search=none", "logger=csv", "trainer.accelerator=cpu", "data.max_rows=100",
    "data.batch_size=16",
)  # fmt: skip
LATENTS = (
    "experiment=smoke", "logger=csv", "trainer.accelerator=cpu", "search.seconds=null", "search.generations=6",
    "search.population=20", "search.workers=1", "search.islands=1", "search.simplify_seconds=0",
    "search.stop_when_exact=false", "search.bank_size=30", "search.greedy_terms=1", "search.linked_sums=0",
    "model.latents=1", "data.max_rows=100", "trainer.max_epochs=1",
)  # fmt: skip
STRUCTURES = (
    "model=gmeql", "logger=csv", "trainer.accelerator=cpu", "search.seconds=null", "search.simplify_seconds=0",
    "data=problem", "data.problem=Nguyen-1", "data.noise_level=0.1", "search.instances=400",
    "search.proposals=40", "model.epoch_steps=3", "search.polish_equations=1",
)  # fmt: skip


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, place: str, call: int) -> None:
    """Press Ctrl-C in one call of a function; it then does its work."""
    owner, name = place.rsplit(".", 1)
    monkeypatch.setattr(f"{owner}.{name}", _interrupting(place, call))


def _interrupting(place: str, call: int) -> Callable:
    from importlib import import_module

    module, kind, name = place.rsplit(".", 2)
    function = getattr(getattr(import_module(module), kind), name)
    calls = iter(range(1_000_000))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **options)

    return interrupted


def state(run_dir: Path) -> str:
    """What `compare.py` calls a run."""
    return read_run(run_dir).state


def equal(one: Path, other: Path) -> bool:
    """Whether two runs have the same weights, equations and metrics, apart from times."""
    ours, theirs = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (one, other))
    weights = all(torch.equal(value, theirs["state_dict"][key]) for key, value in ours["state_dict"].items())
    results = [_timeless(read_results(run)) for run in (one, other)]
    return weights and results[0] == results[1]


def _timeless(results: dict[str, Any]) -> dict[str, Any]:
    metrics = {name: value for name, value in results["metrics"].items() if "second" not in name}
    equations = [{k: v for k, v in row.items() if k != "seconds"} for row in results["equations"]]
    return {"phase": results["phase"], "metrics": metrics, "equations": equations}


def interrupt(place: str, call: int, command: Callable, *arguments: str) -> Any:
    """Run a command and press Ctrl-C in one call of a function."""
    with pytest.MonkeyPatch.context() as patch:
        press_ctrl_c(patch, place, call)
        ended = command(*arguments)
    assert "Traceback" not in ended.err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the next Ctrl-C is heard"
    return ended


@pytest.mark.parametrize(
    ("arguments", "place", "phase", "code"),
    [
        (FIT, "modules.autoencoder.Autoencoder.training_step", "fit", 130),
        (STRUCTURES, "modules.gmeql.GMEQL.training_step", "search", 0),
    ],
    ids=["fit", "search in a fit"],
)
def test_a_run_goes_on_after_ctrl_c_as_if_it_had_not_been(
    arguments: tuple[str, ...], place: str, phase: str, code: int, tmp_path: Path, command: Callable
) -> None:
    model = "gmeql" if "model=gmeql" in arguments else "autoencoder"
    run_dir = tmp_path / "logs" / model / "cut"
    assert command(*arguments, "hydra.run.dir=whole").code == 0
    ended = interrupt(place, 7, command, *arguments, f"hydra.run.dir={run_dir}")
    assert ended.code == code, ended.err
    assert f"python train.py resume=logs/{model}/cut goes on" in ended.out + ended.err
    results = read_results(run_dir)
    assert (results["phase"], results["interrupted"], state(run_dir)) == (phase, True, "interrupted")
    ended = command("resume=auto", f"model={model}")
    assert ended.code == 0, ended.err
    assert (state(run_dir), read_results(run_dir)["interrupted"]) == ("finished", False)
    assert equal(run_dir, tmp_path / "whole")


def _fails(*_: Any, **__: Any) -> None:
    raise MemoryError("no room")


def test_an_interrupted_search_is_not_done_and_needs_no_plots(tmp_path: Path, command: Callable) -> None:
    place = "callbacks.logging.search_log.SearchLog.generations"
    ended = interrupt(place, 2, command, *LATENTS, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1].endswith("python train.py resume=run goes on")
    run_dir = tmp_path / "run"
    assert (read_results(run_dir)["phase"], state(run_dir)) == ("search", "interrupted")
    assert [row["stopped"] for row in read_results(run_dir)["equations"]] == ["interrupted"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.figures.latent_scatter", _fails)
        ended = command("resume=run")
    assert ended.code == 0, ended.err
    assert "warning: plots are missing (MemoryError: no room); everything else is on disk" in ended.err
    assert state(run_dir) == "finished"
    assert [row["stopped"] for row in read_results(run_dir)["equations"]] == ["generations"]


def test_ctrl_c_before_a_run_begins_says_so(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    press_ctrl_c(monkeypatch, "datamodules.tabular.TabularData.setup", 0)
    ended = command(*FIT)
    assert (ended.code, ended.err.strip()) == (130, "interrupted before the run began")


# --- resume=auto ------------------------------------------------------------------------------------------------


def record(folder: Path, name: str, **content: Any) -> Path:
    """A run directory with a record."""
    run = folder / name
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text("[]")
    if content:
        (run / "results.json").write_text(json.dumps({"schema": 1} | content))
    return run


def test_auto_is_the_run_that_began_last_by_its_own_record(tmp_path: Path) -> None:
    early = record(tmp_path, "z", phase="fit", began="2026-01-01T10:00:00.000000+00:00")
    late = record(tmp_path, "a", phase="search", interrupted=True, began="2026-01-02T10:00:00.000000+00:00")
    record(tmp_path, "ended", phase="done", began="2026-01-03T10:00:00.000000+00:00")
    record(tmp_path, "refused")
    (record(tmp_path, "torn", phase="fit") / "results.json").write_text('{"phase": "fi')
    (record(tmp_path, "no settings", phase="fit", began="2027") / ".hydra" / "overrides.yaml").unlink()
    os.utime(early / "results.json")  # as a copy does
    assert newest_unfinished(tmp_path) == late.resolve()
    (late / "results.json").unlink()
    assert newest_unfinished(tmp_path) == early.resolve()
    assert newest_unfinished(tmp_path / "nowhere") is None


def test_compare_calls_an_interrupted_run_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, "cut", phase="search", interrupted=True)
    assert compare.main([str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "cut (interrupted): in its search phase; nothing was logged yet; python train.py resume=" in shown


# --- refused commands -------------------------------------------------------------------------------------------


def test_nothing_is_left_of_what_did_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(folder: Path, sweep: bool = False) -> None:
        with pytest.raises(UserError), nothing_left(folder):
            begin(folder, sweep)

    def begin(folder: Path, sweep: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with claimed(folder):
            if sweep:
                (folder.parent / "multirun.yaml").touch()
        raise UserError("no")

    refuse(tmp_path / "logs" / "gmeql" / "now")
    assert list(tmp_path.iterdir()) == []
    refuse(tmp_path / "logs" / "gmeql" / "now", sweep=True)
    assert list(tmp_path.iterdir()) == []
    refuse(tmp_path)  # hydra.run.dir=.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.log").touch()
    refuse(tmp_path / "mine" / "now")
    refuse(tmp_path / "mine")
    assert (tmp_path / "mine" / "train.log").exists()
    run = record(tmp_path, "run", phase="fit")
    refuse(run)
    assert (run / "results.json").exists()
    folder = tmp_path / "busy"
    folder.mkdir()
    with claimed(folder), pytest.raises(UserError), nothing_left(folder):
        raise UserError("another process is at work there")
    assert folder.exists()


def test_what_is_refused_late_or_in_a_sweep_leaves_nothing(tmp_path: Path, command: Callable) -> None:
    for arguments in (
        ["-m", "seed=1,2", "trainer=ddp", "trainer.devices=2"],
        ["experiment=smoke", "data.max_rows=100", "logger=csv", "+trainer.overfit_batches=-1"],
    ):
        ended = command(*arguments)
        assert ended.code == 2, ended.err
        assert list(tmp_path.iterdir()) == [], arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ["hydra.run.dir=mine/own"],
        ["hydra.run.dir=mine/own/deep/run"],
        ["-m", "seed=1,2", "hydra.sweep.dir=mine/own"],
        ["-m", "seed=1,2", "hydra.sweep.dir=mine", "hydra.sweep.subdir=own"],
    ],
    ids=" ".join,
)
def test_a_refused_command_leaves_the_users_empty_folders(
    arguments: list[str], tmp_path: Path, command: Callable
) -> None:
    (tmp_path / "mine" / "own").mkdir(parents=True)
    ended = command(*arguments, "logger=csv", "data.max_rows=10000000", "model.latents=0")
    assert ended.code == 2, ended.err
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["mine", "mine/own"]


def test_compare_passes_by_what_never_began(tmp_path: Path) -> None:
    for name in ("refused", "begun"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        (tmp_path / name / ".hydra" / "config.yaml").touch()
    (tmp_path / "begun" / "attempts").mkdir()
    assert [path.name for path in find_runs(tmp_path)] == ["begun"]


def test_yaml_of_an_earlier_version_crashes_nothing(tmp_path: Path) -> None:
    run = record(tmp_path, "run", phase="done")
    for text in ("[" * 100_000, "- &a [x, x]\n- &b [*a, *a]\n- seed=1\n- model.width=3\n"):
        (run / ".hydra" / "overrides.yaml").write_text(text)
        assert read_run(run, curves=True).settings in ("", "model.width=3")
