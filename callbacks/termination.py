"""SIGTERM ends a fit tidily: what a scheduler sends before it takes the machine away."""

import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["EXIT_CODE", "Termination"]

EXIT_CODE = 128 + signal.SIGTERM  # 143, what a shell reports


class Termination(Callback):
    """On SIGTERM, leave after the current batch with exit code 143.

    The last epoch's checkpoint is already on disk (`callbacks.checkpoints.EpochCheckpoint`), and a resumed run
    repeats the epoch that was cut, from its start, exactly. This handler takes the place of Lightning's, which
    talks to the other ranks from inside the handler and blocks for ever if only some of them were signalled.

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

        def listen(signum: int, frame: FrameType | None) -> None:
            self._received = True
            launcher = trainer.strategy.launcher
            if launcher is not None:
                launcher.kill(signal.Signals(signum))  # the processes that this one started hear of it too

        self._received = False
        self._previous = signal.signal(signal.SIGTERM, listen)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Leave between two batches."""
        self._leave()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave after a long validation."""
        self._leave()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no longer."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
        self._leave()

    def _leave(self) -> None:
        if self._received:
            raise SystemExit(EXIT_CODE)
