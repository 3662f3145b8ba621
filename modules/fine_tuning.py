"""The constants of equations in a network, trained further by the network's own loss."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from foundation.errors import UserError
from modules.equation_module import EquationModule
from modules.training.relative_adam import RelativeAdam

__all__ = ["FineTuned", "FineTuning", "fine_tune"]

Step = Callable[[nn.Module, Any], Any]
"""Function of a network and a batch that returns the loss, or a mapping that holds it as `loss`."""


class FineTuning(LightningModule):
    """Trains the constants of all equations in a network; its other weights stay as they are.

    The loss is that of the network itself, in evaluation mode, in which it is left: what is trained is what will
    be used. After every validation the constants of the lowest loss are kept, those of the start among them where
    a validation came before the fit, and at its end the network has these. A batch on which the loss is not finite
    teaches nothing.

    What is logged: `fit/loss` and `validation/loss`.

    Args:
        network: network that holds an `EquationModule` or several.
        step: function of the network and a batch that returns the loss.
        learning_rate: learning rate at the start, as a share of the size of every constant; it falls to zero along
            a cosine.

    Attributes:
        skipped: number of batches on which the loss was not finite.

    Raises:
        UserError: there are no constants to train.
    """

    def __init__(self, network: nn.Module, step: Step, *, learning_rate: float = 3e-3) -> None:
        super().__init__()
        if not 0 < learning_rate < math.inf:
            raise UserError(f"learning_rate={learning_rate:g} is not allowed: give a small share such as 0.003")
        self._network = (network,)  # no part of this module: one of Lightning would log as if it were trained
        self.step, self.learning_rate = step, learning_rate
        self.skipped = 0
        self._modules_of_equations = [each for each in network.modules() if isinstance(each, EquationModule)]
        self._constants = [each.constants for each in self._modules_of_equations if len(each.constants)]
        if not self._constants:
            raise UserError("the network has no equations with constants, so there is nothing to fine-tune")
        self._losses: list[tuple[float, int]] = []
        self._best = math.inf
        self._kept: list[Tensor] = []
        self._learned: list[tuple[nn.Parameter, bool]] = []

    @property
    def network(self) -> nn.Module:
        """The network that holds the equations."""
        return self._network[0]

    def setup(self, stage: str) -> None:
        """Take the network to the device and to evaluation mode; let only the constants learn."""
        self.network.to(self.trainer.strategy.root_device)
        self.network.eval()
        if stage != "fit":
            return
        own = {id(each) for each in self._constants}
        self._learned = [(each, each.requires_grad) for each in self.network.parameters()]
        for each, _ in self._learned:
            each.requires_grad_(id(each) in own)

    def teardown(self, stage: str) -> None:
        """Give every weight its right to learn back."""
        for each, learned in self._learned:
            each.requires_grad_(learned)
            each.grad = None
        self._learned = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with relative steps, and a learning rate that falls to zero over the whole fit."""
        optimizer = RelativeAdam(self._constants, lr=self.learning_rate)
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = self._loss(batch)
        self.log("fit/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return loss

    def on_after_backward(self) -> None:
        """Forget a gradient that is not finite: one row where an equation is undefined would end all training."""
        gradients = [each.grad for each in self._constants if each.grad is not None]
        if all(bool(torch.isfinite(each).all()) for each in gradients):
            return
        self.skipped += 1
        for each in gradients:
            each.zero_()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss of one batch."""
        with torch.enable_grad():  # a loss may hold derivatives by the inputs
            loss = float(self._loss(batch).detach())
        self._losses.append((loss, _rows(batch)))

    def on_validation_epoch_end(self) -> None:
        """Log the mean loss of all rows, and keep the constants where it is the lowest."""
        losses, self._losses = self._losses, []
        if self.trainer.sanity_checking or not losses:
            return
        mean = sum(loss * rows for loss, rows in losses) / sum(rows for _, rows in losses)
        self.log("validation/loss", mean, sync_dist=True)
        if mean < self._best:
            self._best, self._kept = mean, [each.detach().clone() for each in self._constants]

    @torch.no_grad()
    def on_fit_end(self) -> None:
        """Return to the constants of the lowest loss."""
        for each, kept in zip(self._constants, self._kept, strict=bool(self._kept)):
            each.copy_(kept)

    def _loss(self, batch: Any) -> Tensor:
        found = self.step(self.network, batch)
        loss: Tensor = found["loss"] if isinstance(found, dict) else found
        return loss


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning changed.

    Attributes:
        before: loss before, on the batches that judge.
        after: loss after; never above the one before.
        skipped: number of batches on which the loss was not finite.
    """

    before: float
    after: float
    skipped: int


def fine_tune(
    network: nn.Module,
    step: Step,
    train: Iterable[Any],
    judge: Iterable[Any],
    *,
    epochs: int = 1,
    learning_rate: float = 3e-3,
    accelerator: str = "cpu",
) -> FineTuned:
    """Train the constants of the equations in a network, in place.

    Example:
        ```python
        found = fine_tune(report.module, lambda network, batch: mse(network(batch[0]), batch[1]), train, judge)
        ```

    Args:
        network: network that holds an `EquationModule` or several.
        step: function of the network and a batch that returns the loss.
        train: batches to learn from.
        judge: batches that judge; what is no better on these is not kept.
        epochs: number of passes over the batches.
        learning_rate: learning rate at the start, as a share of the size of every constant.
        accelerator: kind of device to train on, as Lightning names it.

    Raises:
        UserError: there are no constants to train, or the loss is not finite on the batches that judge.
    """
    module = FineTuning(network, step, learning_rate=learning_rate)
    with _quiet():
        trainer = Trainer(
            max_epochs=epochs,
            accelerator=accelerator,
            devices=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
        )
        before = _judged(trainer, module, judge)
        if not math.isfinite(before):
            raise UserError(
                f"the loss is {before:g} with these equations, so it has no slope to follow: choose equations "
                "that are defined on all rows"
            )
        trainer.fit(module, _Batches(train), _Batches(judge))
        after = _judged(trainer, module, judge)
    return FineTuned(before, after, module.skipped)


def _judged(trainer: Trainer, module: FineTuning, judge: Iterable[Any]) -> float:
    [found] = trainer.validate(module, _Batches(judge), verbose=False)
    return float(found["validation/loss"])


@dataclass(frozen=True)
class _Batches:
    """Batches as one loader: Lightning takes a list for several loaders."""

    given: Iterable[Any]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)  # type: ignore[arg-type]


def _rows(batch: Any) -> int:
    """Rows of a batch: those of its first tensor."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    parts = list(batch.values()) if isinstance(batch, dict) else batch if isinstance(batch, tuple | list) else []
    return next((_rows(part) for part in parts), 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's lines of welcome belong to the fit that a user asked for, not to this one."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
