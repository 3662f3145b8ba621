"""SIGTERM ends a fit tidily: what a scheduler sends before it takes the machine away."""

import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from runs.sigterm import EXIT_CODE

__all__ = ["Termination"]


class Termination(Callback):
    """On SIGTERM, leave after the current batch with exit code 143.

    The last epoch's checkpoint is already on disk (`callbacks.checkpoints.EpochCheckpoint`), and a resumed run
    repeats the epoch that was cut, from its start, exactly. This handler takes the place of Lightning's, which
    talks to the other ranks from inside the handler and blocks for ever if only some of them were signalled.
    A batch that takes too long is cut off by `runs.sigterm`.

    Example:
        ```yaml
        callbacks:
          - _target_: callbacks.termination.Termination
        ```
    """

    def __init__(self) -> None:
        self._received = False
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen; Lightning has set its handler just before."""
        self._listen(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen; Lightning has set its handler just before."""
        self._listen(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Leave between two batches."""
        self._leave()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Leave between two batches of a validation."""
        self._leave()

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Leave between two batches of a test."""
        self._leave()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave before the next epoch."""
        self._leave()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no longer."""
        self._listen_no_longer()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no longer."""
        self._listen_no_longer()

    def _listen(self, trainer: Trainer) -> None:
        def listen(signum: int, frame: FrameType | None) -> None:
            self._received = True
            launcher = trainer.strategy.launcher
            if launcher is not None:
                launcher.kill(signal.Signals(signum))  # the processes that this one started hear of it too

        self._received = False
        self._previous = signal.signal(signal.SIGTERM, listen)

    def _listen_no_longer(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None
        self._leave()

    def _leave(self) -> None:
        if self._received:
            raise SystemExit(EXIT_CODE)
