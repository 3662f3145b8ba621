"""Checkpoints from which a run goes on exactly as if it had never stopped."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from foundation.files import writing
from foundation.schema import Check, mapping_of, optional, record, text
from modules.networks.stored_tensors import tensor
from runs.directory import BEST, LAST, before

__all__ = ["BestCheckpoint", "EpochCheckpoint", "WholeCheckpoints"]

_SCORE = optional(tensor("f"))


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole, down to the disk, and keeps the one before it beside it.

    A disk that loses what it was given, as in a power cut, then takes the run back by one epoch and not to its
    beginning.
    """

    def __init__(self) -> None:
        self._went_on_from: Path | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; the one that was there is kept, unless it is known to be torn."""
        path = Path(path)
        torn = self._went_on_from == before(path)
        self._went_on_from = None
        content = io.BytesIO()  # what torch raises about a full disk is no OSError
        torch.save(checkpoint, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path, before=None if torn else before(path)) as stream:
            stream.write(content.getbuffer())

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint, and remember which one."""
        self._went_on_from = Path(path)
        return super().load_checkpoint(path, *arguments, **options)


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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Clear away what a kill left of checkpoints that were being written."""
        for part in self.path.parent.glob("*.ckpt.*.part") if trainer.is_global_zero else ():
            part.unlink(missing_ok=True)

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


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights of the epoch with the best value of one metric in `best.ckpt`.

    Lightning's own forgets what was best when the run directory was moved, and writes over it.

    Args:
        folder: Where the checkpoint is written.
        monitor: Name of the metric.
        mode: Whether the lowest or the highest value is the best, `min` or `max`.
    """

    def __init__(self, folder: str | Path, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath=str(folder),
            filename=Path(BEST).stem,
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            enable_version_counter=False,
            auto_insert_metric_name=False,
            save_weights_only=True,
        )

    def state_check(self, model: LightningModule) -> Check:
        """Check for what `state_dict` returned."""
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        scores = ("best_model_score", "kth_value")
        return record(
            {
                **dict.fromkeys(paths, text()),
                **dict.fromkeys(scores, _SCORE),
                "best_k_models": mapping_of(_SCORE, most=1),
            },
            {"current_score": _SCORE, "monitor": optional(text()), "dirpath": optional(text())},
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was best; its file is the one in this directory, wherever it was written."""
        here = str(Path(str(self.dirpath)) / BEST)
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved: dict[str, Any] = {name: here if state_dict[name] else "" for name in paths}
        moved["best_k_models"] = {here: state_dict["best_model_score"]} if state_dict["best_k_models"] else {}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, if the epoch is whole: one that was interrupted is repeated."""
        if not trainer.interrupted:
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, if the epoch is whole."""
        if not trainer.interrupted:
            super().on_validation_end(trainer, pl_module)
