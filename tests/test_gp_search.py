"""Latents rewritten as equations: by the callback alone, over several processes, and through the real command."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from callbacks.gp_search import GPSearch, encode
from datamodules.tabular import TabularData
from expressions.goodness_of_fit import mse, r2
from expressions.parsing import parse
from foundation.errors import UserError
from modules.autoencoder import Autoencoder
from runs.record import read_results
from searches.common.search_state import StateError, load_state
from searches.evolution.archive import Entry, add_to_archive, read_archive
from tests.wandb_records import wandb_config, wandb_records, wandb_summary

SHORT: dict[str, Any] = {
    "seed": 1, "workers": 2, "islands": 1, "population": 20, "generations": 3, "seconds": None,
    "simplify_seconds": 0.0, "bank_size": 50, "greedy_terms": 1, "linked_sums": 0,
}  # fmt: skip
# The same through the command line; the search is long enough to be caught in its midst.
COMMAND = (
    "experiment=smoke", "trainer.accelerator=cpu", "search.seconds=null", "search.generations=25",
    "search.population=30", "search.workers=2", "search.islands=1", "search.simplify_seconds=0",
    "search.stop_when_exact=false", "search.bank_size=50", "search.greedy_terms=1", "search.linked_sums=0",
)  # fmt: skip
FOUR = [("latent_0", 0), ("latent_0", 1), ("latent_1", 0), ("latent_1", 1)]


def fitted(search: GPSearch, epochs: int = 1, **options: Any) -> tuple[pl.Trainer, Autoencoder]:
    """A small autoencoder after its fit, with the search as a callback."""
    data = TabularData("sklearn:diabetes", target="target", features=["bmi", "bp", "s5"], batch_size=64)
    data.setup()
    pl.seed_everything(0, verbose=False)
    model = Autoencoder(**Autoencoder.data_arguments(data), hidden="4", learning_rate=1e-2)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[search],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(model, data)
    return trainer, model


def deferred(run_dir: Path, **options: Any) -> tuple[GPSearch, pl.Trainer, Autoencoder]:
    epochs = options.pop("epochs", 1)
    search = GPSearch(str(run_dir), deferred=True, **(SHORT | options))
    return search, *fitted(search, epochs)


def equations(run_dir: Path) -> list[dict[str, Any]]:
    """The equations of a run without what the clock says."""
    found = read_results(run_dir)["equations"]
    return [{key: value for key, value in equation.items() if key != "seconds"} for equation in found]


# --- the callback -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.Trainer, Autoencoder]:
    """A run of two trials that searched by itself, at the end of the fit."""
    folder = tmp_path_factory.mktemp("run")
    return folder, *fitted(GPSearch(str(folder), trials=2, **SHORT))


def test_everything_is_written(run: Any) -> None:
    folder, *_ = run
    found = equations(folder)
    assert [(e["problem"], e["trial"]) for e in found] == FOUR
    required = {
        "target", "infix", "latex", "complexity", "train_r2", "test_r2", "test_mse", "recovered", "equivalent",
        "evaluations", "stopped", "linear_test_r2", "cubic_test_r2", "target_variance",
    }  # fmt: skip
    assert all(required <= equation.keys() for equation in found)
    assert all(equation["recovered"] is None for equation in found)
    metrics = read_results(folder)["metrics"]
    assert metrics["test/r2_median"] == pytest.approx(np.median([e["test_r2"] for e in found]))
    assert metrics["test/r2_min"] == min(e["test_r2"] for e in found) < max(e["test_r2"] for e in found)
    assert metrics["search/evaluations"] == sum(e["evaluations"] for e in found)
    assert metrics["search/complexity_median"] == np.median([e["complexity"] for e in found])
    assert 0 < metrics["search/seconds"] < 120
    assert "search/constant_targets" not in metrics
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert plots == {
        "search_curve.png",
        *(
            f"{problem}_trial_{trial}_{kind}.png"
            for problem, trial in FOUR
            for kind in ("values", "surface", "front")
        ),
    }
    assert all((folder / "plots" / name).stat().st_size > 1000 for name in plots)
    assert not list(folder.rglob("*.part"))


def test_the_equations_give_the_scores_that_are_reported(run: Any) -> None:
    folder, trainer, model = run
    data = trainer.datamodule
    inputs = {split: data.table(split).inputs for split in ("train", "validation", "test")}
    latents = {split: encode(model, table) for split, table in inputs.items()}

    def scores(problem: str, infix: str) -> dict[str, float]:
        equation = parse(infix, data.feature_names)
        k = int(problem.removeprefix("latent_"))
        values = {split: (latents[split][:, k], equation(table)) for split, table in inputs.items()}
        return {
            "train_r2": r2(*values["train"]),
            "test_r2": r2(*values["test"]),
            "test_mse": mse(*values["test"]),
        }

    for equation in equations(folder):
        for name, value in scores(equation["problem"], equation["infix"]).items():
            assert equation[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
    with (folder / "equations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "problem", "target", "trial", "chosen", "infix", "latex", "complexity",
        "train_r2", "validation_r2", "test_r2", "test_mse",
    ]  # fmt: skip
    for row in rows:
        for name, value in scores(row["problem"], row["infix"]).items():
            assert float(row[name]) == pytest.approx(value, rel=1e-9, abs=1e-12)
    for equation in equations(folder):
        front = [r for r in rows if (r["problem"], int(r["trial"])) == (equation["problem"], equation["trial"])]
        assert [r["infix"] for r in front if r["chosen"] == "True"] == [equation["infix"]]
        sizes = [int(r["complexity"]) for r in front]
        others = [int(r["complexity"]) for r in front if r["chosen"] == "False"]
        assert sizes == sorted(sizes)
        assert len(others) == len(set(others))  # the chosen one may be as long as another, in a shorter code


def test_trials_differ_and_deferring_changes_nothing(run: Any, tmp_path: Path) -> None:
    folder, *_ = run
    first, second, *_ = equations(folder)
    assert first["infix"] != second["infix"]
    search, trainer, model = deferred(tmp_path, trials=2, workers=1)
    assert not (tmp_path / "results.json").exists()
    findings = search.search(trainer, model)
    assert [finding.label for finding in findings][:2] == ["latent_0_trial_0", "latent_0_trial_1"]
    assert equations(tmp_path) == equations(folder)


def test_a_second_call_searches_nothing_again(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, trainer, model = run
    before = equations(folder)
    GPSearch(str(folder), deferred=True, trials=2, **SHORT).search(trainer, model)
    assert "searching equations" not in capsys.readouterr().out
    assert equations(folder) == before


def test_a_collapsed_latent_is_reported_and_not_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search, trainer, model = deferred(tmp_path)
    with torch.no_grad():
        last = [module for module in model.encoder.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.weight[1] *= 1e-9  # what is left is rounding
        last.bias[1] = 0.25
    search.search(trainer, model)
    kept, collapsed = equations(tmp_path)
    assert (collapsed["stopped"], collapsed["complexity"], collapsed["evaluations"]) == ("constant", 1, 0)
    assert float(collapsed["infix"]) == pytest.approx(0.25, abs=1e-6)
    metrics = read_results(tmp_path)["metrics"]
    assert metrics["search/constant_targets"] == 1
    assert metrics["test/r2_median"] == kept["test_r2"]
    assert "latent 1 = 0.2" in capsys.readouterr().out
    assert not (tmp_path / "search" / "latent_1_trial_0.state").exists()


def test_a_latent_that_is_not_finite_is_one_sentence(tmp_path: Path) -> None:
    search, trainer, model = deferred(tmp_path)
    with torch.no_grad():
        next(model.encoder.parameters())[:] = float("nan")
    with pytest.raises(UserError, match="latent 0 of the network is not finite on 442 rows, so the training"):
        search.search(trainer, model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"operators": ["add", "sinus"]}, "sinus"),
        ({"colour": 3}, "colour"),
        ({"generations": None}, "no budget"),
        ({"archive": "/dev/null/archive"}, "is not a directory"),
    ],
)
def test_wrong_settings_are_refused_before_the_fit(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        GPSearch(**(SHORT | options))


# --- going on ---------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_more_generations_other_cores_more_epochs(tmp_path: Path) -> None:
    """Islands follow the cores of the first attempt; a network that was trained further is searched anew."""
    longer = {"islands": None, "generations": 5}
    search, trainer, model = deferred(tmp_path / "whole", **(longer | {"workers": 4}))
    search.search(trainer, model)
    search, trainer, model = deferred(tmp_path / "cut", **(longer | {"workers": 4, "generations": 2}))
    search.search(trainer, model)
    assert len(load_state(tmp_path / "cut" / "search" / "latent_0_trial_0.state")["islands"]) == 2
    search, trainer, model = deferred(tmp_path / "cut", **(longer | {"workers": 1}))
    search.search(trainer, model)
    assert equations(tmp_path / "cut") == equations(tmp_path / "whole")
    search, trainer, model = deferred(tmp_path / "cut", **(longer | {"workers": 4}), epochs=3)
    search.search(trainer, model)
    assert equations(tmp_path / "cut") != equations(tmp_path / "whole")
    search, trainer, model = deferred(tmp_path / "cut", **(longer | {"population": 21}), epochs=3)
    with pytest.raises(StateError, match="other data, settings or seed"):
        search.search(trainer, model)


@pytest.mark.long
def test_the_archive_starts_later_runs_and_a_resumed_one_from_the_same(tmp_path: Path) -> None:
    archive = tmp_path / "archive.jsonl"
    search, trainer, model = deferred(tmp_path / "first", archive=str(archive), generations=6)
    search.search(trainer, model)
    entries, damaged = read_archive(archive)
    assert damaged == 0
    assert len(entries) == sum(1 for _ in (tmp_path / "first" / "equations.csv").open()) - 1
    shutil.copy(archive, tmp_path / "copy")

    search, trainer, model = deferred(tmp_path / "whole", archive=str(tmp_path / "copy"), seed=2, generations=4)
    for finding, first in zip(search.search(trainer, model), equations(tmp_path / "first"), strict=True):
        assert finding.history[0]["best_nmse"] <= 1.1 * (1 - first["train_r2"])  # other rows
    search, trainer, model = deferred(tmp_path / "cut", archive=str(archive), seed=2, generations=2)
    search.search(trainer, model)
    better = Entry(entries[0].fingerprint, entries[0].names, "latent 0", "bmi*bp*s5", 4, 0.0)
    add_to_archive(archive, [better])
    search, trainer, model = deferred(tmp_path / "cut", archive=str(archive), seed=2, generations=4)
    search.search(trainer, model)
    assert equations(tmp_path / "cut") == equations(tmp_path / "whole")


def test_two_processes_search_a_share_each(tmp_path: Path) -> None:
    search = GPSearch(str(tmp_path / "shared"), **SHORT)
    fitted(search, devices=2, strategy="ddp_fork")
    assert [e["problem"] for e in equations(tmp_path / "shared")] == ["latent_0", "latent_1"]
    labels = {json.loads(path.read_text())["label"] for path in (tmp_path / "shared" / "search").glob("*_?.json")}
    assert len(labels) == 2


def test_after_a_fit_in_forks_the_first_process_searches_it_all(tmp_path: Path) -> None:
    search = GPSearch(str(tmp_path), deferred=True, **SHORT)
    trainer, model = fitted(search, devices=2, strategy="ddp_fork")
    with pytest.raises(UserError, match="strategy=ddp"):
        search.search(trainer, model)
    data = TabularData("sklearn:diabetes", target="target", features=["bmi", "bp", "s5"])
    data.setup()
    assert len(search.search(trainer, model, data)) == 2


# --- through the real command -----------------------------------------------------------------------------------


def begun(run_dir: Path, generation: int, process: Any) -> None:
    """Wait until both searches are under way."""
    deadline = time.monotonic() + 120
    states = [run_dir / "search" / f"latent_{k}_trial_0.state" for k in (0, 1)]
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if all(state.exists() and load_state(state)["generation"] >= generation for state in states):
            return
        time.sleep(0.02)
    raise TimeoutError("no search began")


def descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(p for child in children for p in descendants(child))]


@pytest.mark.long
def test_kill_full_disk_and_ctrl_c_in_mid_search(tmp_path: Path, command: Callable, process: Callable) -> None:
    whole = tmp_path / "whole"
    ended = command(*COMMAND, f"hydra.run.dir={whole}", "logger.group=ablation", "logger.tags=[first]")
    assert ended.code == 0, ended.err
    assert ended.out.count("  test R2 ") == 2
    _check_wandb(tmp_path, whole)

    cut = tmp_path / "logs" / "autoencoder" / "cut"
    first = process(*COMMAND, "logger=csv", f"hydra.run.dir={cut}")
    begun(cut, 2, first)
    workers = descendants(first.pid)[1:]
    first.kill()
    first.communicate()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):  # they end by themselves
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert read_results(cut)["phase"] == "search"

    second = process("resume=auto", "logger=csv")
    begun(cut, 5, second)
    for pid in descendants(second.pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, 100))  # the disk is full
    out, err = second.communicate(timeout=120)
    assert second.returncode == 2, err
    assert out.count("  test R2 ") == 2, "what was found is told"
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "resume=" in lines[0]

    ended = command("resume=auto", "logger=csv")
    assert ended.code == 0, ended.err
    assert read_results(cut)["phase"] == "done"
    assert equations(cut) == equations(whole)
    assert (cut / "equations.csv").read_text() == (whole / "equations.csv").read_text()
    assert sorted(path.name for path in (cut / "plots").iterdir()) == sorted(
        path.name for path in (whole / "plots").iterdir()
    )

    third = process(*COMMAND, "search.generations=100000", "logger=csv", "hydra.run.dir=long")
    begun(tmp_path / "long", 1, third)
    os.kill(third.pid, signal.SIGINT)
    out, err = third.communicate(timeout=120)
    assert third.returncode == 0, err
    assert {e["stopped"] for e in equations(tmp_path / "long")} == {"interrupted"}
    assert out.count("  test R2 ") == 2


def _check_wandb(tmp_path: Path, run_dir: Path) -> None:
    """Every generation is in the offline run, under the step of its own search."""
    (path,) = (tmp_path / "logs" / "wandb").glob("offline-run-*/*.wandb")
    assert read_results(run_dir)["wandb_run_id"] in path.name
    deadline = time.monotonic() + 30
    records: list[Any] = []
    while not any(r.WhichOneof("record_type") == "exit" for r in records):  # W&B writes in a process of its own
        assert time.monotonic() < deadline
        time.sleep(0.1)
        records = list(wandb_records(path))
    steps = {r.metric.name: r.metric.step_metric for r in records if r.WhichOneof("record_type") == "metric"}
    rows: list[dict[str, Any]] = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    for k in (0, 1):
        label = f"search/latent_{k}_trial_0"
        history = json.loads((run_dir / "search" / f"latent_{k}_trial_0.json").read_text())["history"]
        logged = [row for row in rows if f"{label}/generation" in row]
        assert [row[f"{label}/generation"] for row in logged] == [entry["generation"] for entry in history]
        assert len(logged) == 26
        for name in ("best_nmse", "best_length", "evaluations_per_second", "front_size"):
            assert [row[f"{label}/{name}"] for row in logged] == [entry[name] for entry in history]
            assert steps[f"{label}/{name}"] == f"{label}/generation"
    assert any(key.startswith("search/equations/") for row in rows for key in row)
    assert any(key.startswith("plots/latent_0_trial_0_front/") for row in rows for key in row)
    assert any(r.WhichOneof("record_type") == "artifact" for r in records)
    _check_config_and_summary(records, run_dir)


def _check_config_and_summary(records: list[Any], run_dir: Path) -> None:
    """One flat configuration; equations, commit, group and tags in the summary, and no pictures."""
    config = wandb_config(records)
    assert config["model.latents"] == 2
    assert config["search.generations"] == 25
    assert config["logger.tags"] == ["first"]
    assert not {"model", "search", "latents", "in_features"} & config.keys(), "every key stands there once"
    own = {name: value for name, value in config.items() if not name.startswith("_wandb")}
    assert not any(isinstance(value, dict) for value in own.values())
    summary = wandb_summary(records)
    results = read_results(run_dir)
    for equation in results["equations"]:
        assert summary[f"equation/{equation['problem']}"] == equation["infix"]
    assert summary["test/r2_median"] == results["metrics"]["test/r2_median"]
    assert (summary["group"], summary["tags"]) == ("ablation", ["first"])
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", summary["git_commit"])
    assert not any(
        "/_type" in name or name.startswith(("plots/", "search/front", "search/eq")) for name in summary
    )
