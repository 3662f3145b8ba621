"""Two checkpoints are kept, a torn one costs an epoch, and a moved run remembers what was best."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from callbacks.checkpoints import BestCheckpoint, EpochCheckpoint, WholeCheckpoints
from runs.directory import BEST, LAST, RunDirectoryError, before, whole_checkpoint
from runs.record import read_results

NOISE = (
    "data=tabular", "data.path=noise.csv", "data.target=y", "data.batch_size=16", "model.decode=target",
    "model.learning_rate=0.1", "search=none", "logger=csv", "trainer.accelerator=cpu",
)  # fmt: skip


@pytest.fixture
def noise(tmp_path: Path) -> None:
    """A table in which the target depends on nothing, so that the first epochs are the best."""
    values = np.random.default_rng(0).normal(size=(120, 4))
    np.savetxt(tmp_path / "noise.csv", values, delimiter=",", header="a,b,c,y", comments="")


def content(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def same(one: Path, other: Path) -> bool:
    ours, theirs = content(one)["state_dict"], content(other)["state_dict"]
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_torn_checkpoint_and_a_moved_run_change_nothing(noise: None, tmp_path: Path, command: Callable) -> None:
    assert command(*NOISE, "trainer.max_epochs=6", "hydra.run.dir=short").code == 0
    for name in ("moved", "torn"):
        shutil.copytree(tmp_path / "short", tmp_path / name)
    torn = tmp_path / "torn" / "checkpoints" / LAST
    assert content(before(torn))["epoch"] == 5
    tear(torn)
    for name in ("short", "moved", "torn"):
        ended = command(f"resume={name}", "trainer.max_epochs=8")
        assert ended.code == 0, ended.err
        warned = "last.ckpt is torn or missing: the one before it, last.before.ckpt, takes its place"
        assert (warned in ended.err) == (name == "torn")
    stayed = tmp_path / "short"
    assert content(stayed / "checkpoints" / BEST)["epoch"] < 6, "the best epoch is one before the move"
    for name in ("moved", "torn"):
        for file in (LAST, BEST):
            assert same(stayed / "checkpoints" / file, tmp_path / name / "checkpoints" / file)
        assert read_results(tmp_path / name)["metrics"] == read_results(stayed)["metrics"]
        assert (tmp_path / name / "metrics.csv").read_text() == (stayed / "metrics.csv").read_text()


def test_a_checkpoint_that_is_written_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / LAST
    for epoch in range(3):
        WholeCheckpoints().save_checkpoint({"epoch": epoch}, path)
    assert [content(file)["epoch"] for file in (path, before(path))] == [2, 1]
    assert whole_checkpoint(tmp_path, LAST) == path.resolve()
    assert whole_checkpoint(tmp_path, BEST) is None

    tear(path)
    assert whole_checkpoint(tmp_path, LAST) == before(path)
    files = WholeCheckpoints()
    files.load_checkpoint(before(path), weights_only=True)
    files.save_checkpoint({"epoch": 3}, path)
    assert [content(file)["epoch"] for file in (path, before(path))] == [3, 1], "a torn one is not kept"
    path.unlink()  # as by a kill between two renamings
    assert whole_checkpoint(tmp_path, LAST) == before(path)
    tear(before(path))
    with pytest.raises(RunDirectoryError, match="not a whole checkpoint"):
        whole_checkpoint(tmp_path, LAST)
    assert len(list(path.parent.iterdir())) == 1


def test_what_a_kill_left_of_a_checkpoint_is_cleared_away(tmp_path: Path) -> None:
    import lightning.pytorch as pl

    for name in ("last.ckpt.17-ab.part", "mine.part"):
        (tmp_path / name).touch()
    EpochCheckpoint(tmp_path).setup(pl.Trainer(logger=False, accelerator="cpu"), pl.LightningModule(), "fit")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]


def test_the_best_of_an_epoch_that_was_interrupted_is_not_kept(tmp_path: Path) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus

    trainer, best = pl.Trainer(logger=False, accelerator="cpu"), BestCheckpoint(tmp_path, "loss", "min")
    trainer.state.fn, trainer.state.status = TrainerFn.FITTING, TrainerStatus.INTERRUPTED
    trainer.callback_metrics["loss"] = torch.tensor(1.0)
    best.on_validation_end(trainer, pl.LightningModule())
    best.on_train_epoch_end(trainer, pl.LightningModule())
    assert list(tmp_path.iterdir()) == []
