"""Several processes train every system as one process does with the same batches together, and test it alike.

Two processes by default; `PROCESSES=4 pytest tests/test_equal_processes.py` starts four.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from callbacks.checkpoints import EpochCheckpoint
from callbacks.random_state import RandomState
from datamodules.loading.batch_loader import BatchLoader
from datamodules.loading.numbered_batches import Batch, NumberedBatches
from datamodules.problem_data import ProblemData
from datamodules.zoo.equations import draw_equations
from datamodules.zoo.settings import ZooSettings
from expressions.parsing import parse
from modules.autoencoder import Autoencoder
from modules.gmeql import GMEQL
from modules.settings.weights_to_tokens import ReadingTask
from modules.weights_to_tokens import WeightsToTokens
from tests.test_cvae import Batches
from tests.test_cvae import model as new_cvae
from tests.test_weights_to_tokens import TINY

ROOT = Path(__file__).resolve().parents[1]
LOGGED = ("self.log", "module.log", "pl_module.log")
PROCESSES = int(os.environ.get("PROCESSES", "2"))


@dataclass
class Task:
    """A model, the data of its training and of its test, and options of the Trainer."""

    model: pl.LightningModule
    train: Any
    test: Any
    options: dict[str, Any]


def autoencoder(processes: int) -> Task:
    """A batch of several processes is cut into theirs."""
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 3))).float()
    train = BatchLoader((rows, rows[:, 0]), 16 * PROCESSES // processes, shuffle=True, seed=1)
    return Task(Autoencoder(3, learning_rate=1e-2), train, BatchLoader((rows[:29], rows[:29, 0]), 5), {})


def gmeql(processes: int) -> Task:
    """A sample of elites is cut into theirs."""
    data = ProblemData("b6", train_rows=30, seed=1)
    data.setup()
    model = GMEQL(**GMEQL.data_arguments(data), epoch_steps=3)
    model.begin(np.random.default_rng(0))
    structures = torch.from_numpy(model.propose(12, np.random.default_rng(1)))
    used = torch.from_numpy(np.random.default_rng(2).random(structures.shape) < 0.5)

    def elites() -> tuple[torch.Tensor, torch.Tensor]:
        mine = slice(model.global_rank, None, processes)
        return structures[mine], used[mine]

    model.elites = elites
    model.equation = parse("x0 + 0.5*x1")
    return Task(model, data, data, {})


def weights_to_tokens(processes: int, encoder: str = "probe") -> Task:
    """The processes do not have as many characters each."""
    ids = torch.from_numpy(draw_equations(ZooSettings(), "train", 32, np.random.default_rng(0)))
    model = WeightsToTokens(**ReadingTask().as_mapping(), **TINY, encoder=encoder, augment=False)
    descend(model, model.learned)
    flat = torch.randn(32, model.reader.shape.size, generator=torch.Generator().manual_seed(0))
    train = BatchLoader((flat, ids), 16 * PROCESSES // (2 * processes), shuffle=True, seed=1)
    return Task(model, train, BatchLoader((flat[:7], ids[:7]), 4), {})


def descend(model: pl.LightningModule, learned: torch.nn.Module) -> None:
    """Where a gradient is 0, as of a key's bias, AdamW would make steps of what rounding leaves."""
    parameters = [each for each in learned.parameters() if each.requires_grad]
    model.configure_optimizers = lambda: torch.optim.SGD(parameters, lr=0.1)  # type: ignore


class Shared(NumberedBatches):
    """Random problems, shared by the processes."""

    def __init__(self, count: int, fixed: bool = False) -> None:
        super().__init__(count * 8, 8, fixed=fixed)
        self.problems = Batches(count)

    def batch(self, number: int) -> Batch:
        self.problems.set_epoch(self.epoch)
        inputs, target, present, ids = self.problems.batch(number)
        return inputs, target, present, ids


def cvae(processes: int) -> Task:
    """A batch is drawn as a whole, so one process takes as many of them for a step as there are processes."""
    model = new_cvae()
    descend(model, model)
    return Task(
        model,
        Shared(2 * PROCESSES),
        Shared(PROCESSES, fixed=True),
        {"accumulate_grad_batches": PROCESSES // processes, "callbacks": [Noise()]},
    )


class Noise(pl.Callback):
    """The random numbers of a batch are a function of its number, whoever takes it."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        number = trainer.global_rank + trainer.world_size * index
        torch.manual_seed(1000 * trainer.current_epoch + number)


def continued(folder: Path, processes: int, epochs: int) -> dict[str, torch.Tensor]:
    """Weights of an autoencoder that goes on from where its last fit has ended."""
    return trained(autoencoder, processes, epochs, [RandomState(), EpochCheckpoint(folder)], folder / "last.ckpt")[
        0
    ]


SYSTEMS = [autoencoder, gmeql, weights_to_tokens, cvae]


def trained(
    system: Callable[[int], Task],
    processes: int,
    epochs: int = 2,
    callbacks: Sequence[pl.Callback] = (),
    checkpoint: Path | None = None,
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Weights after some epochs, and test metrics."""
    pl.seed_everything(0, verbose=False)
    task = system(processes)
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": processes,
        "strategy": "ddp_fork" if processes > 1 else "auto",
        "max_epochs": epochs,
        "callbacks": [*callbacks],
        "logger": False,
        "enable_checkpointing": checkpoint is not None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
    }
    trainer = pl.Trainer(**settings | task.options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*sync_dist.*")
        begun = checkpoint if checkpoint is not None and checkpoint.is_file() else None
        trainer.fit(task.model, task.train, ckpt_path=begun, weights_only=True)
        (tested,) = trainer.test(task.model, task.test, verbose=False)
    return task.model.state_dict(), tested


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.__name__)
def test_processes_compute_what_one_would(system: Callable[[int], Task]) -> None:
    pl.seed_everything(0, verbose=False)
    begun = {name: value.clone() for name, value in system(1).model.state_dict().items()}
    one, tested = trained(system, 1)
    several, tested_together = trained(system, PROCESSES)
    assert any(not torch.equal(begun[name], one[name]) for name in one), "it has learned"
    for name, value in one.items():
        torch.testing.assert_close(several[name], value, rtol=1e-3, atol=1e-4, msg=f"{name} differs")
    assert tested.keys() == tested_together.keys()
    for name, value in tested.items():
        assert tested_together[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name


def test_statistics_are_those_of_the_rows_of_all_processes() -> None:
    def system(processes: int) -> Task:
        return weights_to_tokens(processes, "canonical")

    one, several = trained(system, 1)[0], trained(system, PROCESSES)[0]
    for name in ("count", "mean", "squares"):
        key = f"reader.encoder.norm.{name}"
        torch.testing.assert_close(several[key], one[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(first: int, then: int, tmp_path: Path) -> None:
    whole = continued(tmp_path / "whole", 1, 4)
    continued(tmp_path / "parts", first, 2)
    parts = continued(tmp_path / "parts", then, 4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-4, msg=f"{name} differs")
    assert torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["epoch"] == 4


def test_every_metric_is_one_of_all_processes() -> None:
    alone, all_calls = [], 0
    for path in [each for folder in ("modules", "callbacks") for each in (ROOT / folder).rglob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).removesuffix("_dict") in LOGGED:
                all_calls += 1
                if "sync_dist=True" not in map(ast.unparse, call.keywords):
                    alone.append(f"{path.name}: {ast.unparse(call)}")
    assert all_calls > 10
    assert not alone


class Draws(pl.Callback):
    """Fails in every process unless each draws its own numbers."""

    def on_train_batch_start(self, trainer: pl.Trainer, *rest: Any) -> None:
        parts: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(parts, float(torch.rand(())))
        assert len(set(parts)) == trainer.world_size


def test_every_process_draws_its_own_numbers() -> None:
    trained(autoencoder, 2, callbacks=[RandomState(), Draws()])
