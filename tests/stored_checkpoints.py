"""Checkpoints as Lightning writes them, made without a fit."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch import LightningModule

__all__ = ["resumable"]


def resumable(model: Any, epoch: int = 1, global_step: int = 4, **more: Any) -> dict[str, Any]:
    """A checkpoint that a run of a model can go on from.

    Args:
        model: model whose weights and optimiser it holds.
        epoch: number of epochs that are done.
        global_step: number of steps that are done.
        **more: further entries, or others in place of those.
    """
    assert isinstance(model, LightningModule)
    counts = {"ready": epoch, "started": epoch, "processed": epoch, "completed": epoch}
    return {
        "epoch": epoch,
        "global_step": global_step,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "loops": {"fit_loop": {"epoch_progress": {"total": dict(counts), "current": dict(counts)}}},
        "callbacks": {},
        "optimizer_states": [model.optimizer().state_dict()],  # type: ignore[operator]
        "lr_schedulers": [],
        "hyper_parameters": dict(model.hparams),
        "model_class": type(model).__name__,
        **more,
    }
