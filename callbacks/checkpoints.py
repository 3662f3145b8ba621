"""Checkpoints from which a run goes on exactly as if it had never stopped."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

__all__ = ["BEST", "LAST", "EpochCheckpoint", "best_checkpoint"]

LAST = "last.ckpt"
BEST = "best.ckpt"


class EpochCheckpoint(Checkpoint):
    """Writes `last.ckpt` before each epoch and after the fit, unless that was interrupted in the middle of one.

    Before an epoch everything about the one before is settled: its metrics are logged (and, here, flushed to disk
    first), its best model is chosen, no batch is half done. The first one is written before the first step, so a
    disk that cannot be written to is known before any training.

    Example:
        ```yaml
        callbacks:
          - _target_: callbacks.checkpoints.EpochCheckpoint
            folder: logs/autoencoder/first/checkpoints
        ```

    Args:
        folder: Where checkpoints are written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / LAST
        self._between_epochs = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the state between two epochs."""
        self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the final state; a fit that was interrupted goes on from the start of its epoch."""
        if not trainer.interrupted:
            self._save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say whose checkpoint it is."""
        checkpoint["model_class"] = type(pl_module).__name__
        if self._between_epochs:
            # Lightning has counted the coming epoch as ready. Left so, it would take the run for one that was cut
            # in the middle of an epoch whose batches are all done, and skip that epoch.
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["ready"] = progress["started"] = progress["processed"]

    def _save(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()
        self._between_epochs = True
        trainer.save_checkpoint(self.path)
        self._between_epochs = False


def best_checkpoint(folder: str | Path, monitor: str, mode: str) -> ModelCheckpoint:
    """Keeps the epoch with the best value of one metric in `best.ckpt`."""
    return ModelCheckpoint(
        dirpath=str(folder),
        filename=Path(BEST).stem,
        monitor=monitor,
        mode=mode,
        save_top_k=1,
        enable_version_counter=False,
        auto_insert_metric_name=False,
        save_weights_only=True,
    )
