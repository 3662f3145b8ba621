"""A run that was cut off and goes on equals the one that never stopped, bit for bit."""

import contextlib
import csv
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from callbacks.run_record import RunRecord
from configs.registry import SETTINGS
from rediscover.wiring.building import build_callbacks, build_model, build_trainer
from rediscover.wiring.checkpoint_reading import check_fit
from rediscover.wiring.loggers import build_loggers
from runs.attempts import merge_metrics
from runs.directory import claimed
from runs.record import read_results, record_equations, record_metrics
from runs.unfinished import newest_unfinished

EPOCHS = 3


class Cut(pl.Callback):
    """Breaks the fit off in the middle of an epoch, as a power cut would: nothing is saved on the way out."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.current_epoch == self.epoch and rest[-1] == 2:
            raise RuntimeError("cut")


class Draws(pl.Callback):
    """Draws from every global generator in every step, into the weights: what is not restored shows."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any) -> None:
        drawn = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        noise = trainer.strategy.reduce(drawn, reduce_op="mean")  # processes draw different numbers
        with torch.no_grad():
            pl_module.encoder.layers[0].bias.add_(1e-3 * noise)


def compose(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("configs", version_base="1.3"):
        return hydra.compose("train", list(overrides))


def fit(run_dir: Path, workers: int, processes: int, cut: int | None = None) -> None:
    """One attempt: begins, or goes on where the one before left."""
    run_dir.mkdir(exist_ok=True)
    parallel = ["+trainer.strategy=ddp_fork"] if processes > 1 else []
    config = compose(
        "experiment=smoke",
        "search=none",
        "logger=csv",
        "trainer.accelerator=cpu",
        f"trainer.devices={processes}",
        f"trainer.max_epochs={EPOCHS}",
        "data.max_rows=200",
        "data.batch_size=16",
        "model.schedule=cosine",
        f"data.num_workers={workers}",
        *parallel,
    )
    pl.seed_everything(3, verbose=False)
    datamodule = hydra.utils.instantiate(config.data, _convert_="all")
    datamodule.setup()
    model = build_model(config, datamodule)
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    first_step = check_fit(checkpoint, model) if checkpoint.is_file() else 0
    record = RunRecord(run_dir)
    record.begin({"model": "autoencoder", "data": "california", "seed": 3, "wandb_run_id": None})
    loggers = build_loggers(config, run_dir, first_step, None, writes=True)
    trainer = build_trainer(config, run_dir, build_callbacks(config, run_dir, record), loggers)
    trainer.callbacks[:0] = [Draws(), *([] if cut is None else [Cut(cut)])]
    end = contextlib.nullcontext() if cut is None else pytest.raises(Exception, match="cut")
    with end, record.phase("fit"):
        trainer.fit(model, datamodule, ckpt_path=checkpoint if first_step else None, weights_only=True)


def weights(run_dir: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)["state_dict"]


@pytest.mark.parametrize(("workers", "processes"), [(0, 1), (2, 2)])
def test_resumed_equals_uninterrupted(tmp_path: Path, workers: int, processes: int) -> None:
    fit(tmp_path / "whole", workers, processes)
    fit(tmp_path / "cut", workers, processes, cut=0)  # before the first epoch was done
    fit(tmp_path / "cut", workers, processes, cut=1)
    fit(tmp_path / "cut", workers, processes)
    for name in ("last.ckpt", "best.ckpt"):
        whole, cut = weights(tmp_path / "whole", name), weights(tmp_path / "cut", name)
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[key], cut[key]) for key in whole)
    whole, cut = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "cut"))
    assert whole == cut
    rows = list(csv.DictReader(whole.splitlines()))
    assert sum(row["fit/loss"] != "" for row in rows) == EPOCHS


def test_workers_do_not_change_the_result(tmp_path: Path) -> None:
    fit(tmp_path / "none", 0, 1)
    fit(tmp_path / "two", 2, 1)
    none, two = weights(tmp_path / "none"), weights(tmp_path / "two")
    assert all(torch.equal(none[key], two[key]) for key in none)


def test_sigterm_then_resume_auto_through_the_real_command(
    tmp_path: Path, process: Callable, command: Callable
) -> None:
    whole = ["search=none", "data.max_rows=400", "trainer.max_epochs=40", "trainer.accelerator=cpu"]
    run_dir = tmp_path / "logs" / "autoencoder" / "first"
    cut = process(*whole, f"hydra.run.dir={run_dir}")
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoints" / "best.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
        assert cut.poll() is None, cut.communicate()
    cut.send_signal(signal.SIGTERM)
    _, err = cut.communicate(timeout=60)
    assert cut.returncode == 143, err
    assert "Traceback" not in err
    assert (run_dir / "checkpoints" / "last.ckpt").is_file()
    assert read_results(run_dir)["phase"] == "fit"
    run_id = (run_dir / "wandb_run_id.txt").read_text()
    assert list((tmp_path / "logs" / "wandb").glob(f"offline-run-*-{run_id.strip()}")), "one folder for W&B"

    assert command("resume=auto", "logger=csv").code == 0
    assert command(*whole, "logger=csv", f"hydra.run.dir={tmp_path}/whole").code == 0
    assert (run_dir / "wandb_run_id.txt").read_text() == run_id
    ours, theirs = weights(tmp_path / "whole"), weights(run_dir)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (run_dir / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()
    results = read_results(run_dir)
    assert results["phase"] == "done"
    assert results["metrics"] == read_results(tmp_path / "whole")["metrics"]
    # nothing is left to resume: auto begins anew, a finished fit goes straight to the test
    assert newest_unfinished(tmp_path / "logs" / "autoencoder") is None
    before = (run_dir / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert command(f"resume={run_dir}", "logger=csv").code == 0
    assert (run_dir / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    # more epochs than it was started with: the fit goes on
    assert command(f"resume={run_dir}", "trainer.max_epochs=42", "logger=csv").code == 0
    assert torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 42


def test_a_longer_fit_equals_one_that_was_long_from_the_start(tmp_path: Path, command: Callable) -> None:
    short = ["experiment=smoke", "search=none", "logger=csv", "trainer.accelerator=cpu"]
    assert command(*short, "trainer.max_epochs=4", "hydra.run.dir=long").code == 0
    assert command(*short, "hydra.run.dir=short").code == 0
    assert command("resume=short", "trainer.max_epochs=4").code == 0
    ours, theirs = weights(tmp_path / "long"), weights(tmp_path / "short")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (tmp_path / "long" / "metrics.csv").read_text() == (tmp_path / "short" / "metrics.csv").read_text()


def test_checkpoints_hold_no_code(tmp_path: Path) -> None:
    fit(tmp_path / "run", 0, 1)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        assert {"state_dict", "hyper_parameters"} <= torch.load(path, weights_only=True).keys()
        assert "=" not in path.name


# --------------------------------------------------------------------------------- the record of a run


def test_results_are_replaced_whole_and_hold_no_nan(tmp_path: Path) -> None:
    RunRecord(tmp_path).begin({"model": "autoencoder", "data": "california", "seed": 1, "wandb_run_id": "abc"})
    record_metrics(tmp_path, {"test/r2": torch.tensor(0.5), "search/seconds": float("nan"), "n": np.int64(3)})
    record_equations(tmp_path, [{"infix": "x0", "train_r2": np.float64(1), "recovered": None, "chosen": np.True_}])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["metrics"] == {"test/r2": 0.5, "search/seconds": None, "n": 3}
    assert results["equations"] == [{"infix": "x0", "train_r2": 1.0, "recovered": None, "chosen": True}]
    assert results["schema"] == 1
    RunRecord(tmp_path).begin({"model": "autoencoder", "data": "california", "seed": 1, "wandb_run_id": "abc"})
    assert read_results(tmp_path) == results, "a second attempt loses nothing"
    (tmp_path / "results.json").write_text('{"schema": 1, "met')
    assert read_results(tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_metrics_of_repeated_steps_come_from_the_last_attempt(tmp_path: Path) -> None:
    for name, first, text in (
        ("0", "0", "step,a\n1,1\n5,5\n7,7\n9,"),
        ("1", "6", "step,a,b\n6,60,\n7,70,1\n"),
        ("2", "7", ""),
    ):
        folder = tmp_path / "attempts" / name
        folder.mkdir(parents=True)
        (folder / "first_step.txt").write_text(first)
        (folder / "metrics.csv").write_text(text)
    merge_metrics(tmp_path)
    assert (tmp_path / "metrics.csv").read_text().split() == ["a,b,step", "1,,1", "5,,5", "60,,6"]


def test_a_directory_belongs_to_one_process(tmp_path: Path, process: Callable) -> None:
    with claimed(tmp_path):
        other = process("search=none", "hydra.run.dir=.")
        _, err = other.communicate(timeout=60)
    assert other.returncode == 2
    assert err.startswith("error: another process is running in")


SEARCH = '''
from pathlib import Path

from lightning.pytorch import Callback

from runs.record import read_results, record_equations, record_metrics


class Interrupted(Callback):
    """A search that is cut off the first time."""

    def __init__(self, run_dir, deferred, **settings):
        assert deferred
        self.run_dir = Path(run_dir)

    def search(self, trainer, module, datamodule):
        assert read_results(self.run_dir)["phase"] == "search"
        latents = module.encode(next(iter(datamodule.test_dataloader()))[0])
        first = self.run_dir / "search"
        if not first.exists():
            first.mkdir()
            raise SystemExit(143)
        record_metrics(self.run_dir, {"search/seconds": 1.0})
        found = [{"problem": f"latent {i}", "infix": "x0"} for i in range(latents.shape[1])]
        record_equations(self.run_dir, found)
'''


def test_a_search_that_was_cut_goes_on_without_another_fit(
    tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut_search.py").write_text(SEARCH)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(
        SETTINGS, "cut_search.Interrupted", ("search_cut", SETTINGS["callbacks.gp_search.GPSearch"][1])
    )
    own = "+search._target_=cut_search.Interrupted"  # which is typed every time: a stored setting names no class
    assert command("experiment=smoke", "search=none", own, "logger=csv").code == 143
    (run_dir,) = (tmp_path / "logs" / "autoencoder").iterdir()
    assert read_results(run_dir)["phase"] == "search"
    last = run_dir / "checkpoints" / "last.ckpt"
    before, metrics = last.stat().st_mtime_ns, (run_dir / "metrics.csv").read_text()
    ended = command("resume=auto", own)
    assert ended.code == 0, ended.err
    assert last.stat().st_mtime_ns == before, "no second fit"
    assert (run_dir / "metrics.csv").read_text() == metrics
    results = read_results(run_dir)
    assert results["phase"] == "done"
    assert [equation["problem"] for equation in results["equations"]] == ["latent 0", "latent 1"]
    assert results["metrics"]["search/seconds"] == 1.0


@pytest.mark.long
def test_two_processes_through_the_real_command(tmp_path: Path, process: Callable) -> None:
    ended = process(
        "experiment=smoke",
        "search=none",
        "logger=csv",
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "hydra.run.dir=run",
    )
    out, err = ended.communicate(timeout=200)
    assert ended.returncode == 0, err
    assert out.count("all in run") == 1, "one rank speaks"
    assert read_results(tmp_path / "run")["phase"] == "done"
    assert len(list((tmp_path / "run" / "attempts").iterdir())) == 1
