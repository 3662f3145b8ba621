"""Checkpoints are read safely, and only into the model that they are of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule

from runs.directory import RunDirectoryError, short_path

__all__ = ["check_fit", "read_checkpoint", "take_weights"]


def check_fit(path: Path, model: LightningModule, max_epochs: int | None = None) -> int:
    """Make sure that a run can go on from a checkpoint with this model.

    Args:
        path: Path of the checkpoint.
        model: Model that goes on.
        max_epochs: Number of epochs at which the run is to end; None or -1: no limit.

    Returns:
        Number of the optimiser step at which the checkpoint was written.

    Raises:
        RunDirectoryError: It is torn, of another model, of one with other sizes, holds weights alone, or has more
            epochs behind it.
    """
    state = _fitting(path, model)
    if "optimizer_states" not in state:
        raise RunDirectoryError(f"{short_path(path)} holds weights alone: go on from the last.ckpt beside it")
    done = int(state.get("epoch", 0))
    if max_epochs is not None and -1 < max_epochs < done:
        raise RunDirectoryError(
            f"{short_path(path)} has {done} epochs behind it, more than trainer.max_epochs={max_epochs}: give at "
            f"least {done}"
        )
    return int(state["global_step"])


def take_weights(path: Path, model: LightningModule) -> None:
    """Put the weights of a checkpoint into a model, and nothing else that the checkpoint holds.

    Args:
        path: Path of the checkpoint.
        model: Model that begins from these weights.

    Raises:
        RunDirectoryError: It is torn, of another model, or of one with other sizes.
    """
    model.load_state_dict(_fitting(path, model)["state_dict"])


def _fitting(path: Path, model: LightningModule) -> dict[str, Any]:
    """The content of a checkpoint, whose weights a model can take."""
    state = read_checkpoint(path)
    wanted, found = type(model).__name__, state.get("model_class")
    ours, theirs = model.state_dict(), state["state_dict"]
    if found is None and ours.keys() != theirs.keys():
        found = "another model"
    if found not in (None, wanted):
        raise RunDirectoryError(
            f"{short_path(path)} is a checkpoint of {found}, not of {wanted}: choose its own model"
        )
    if _shapes(ours) != _shapes(theirs):
        settings = {key: value for key, value in state.get("hyper_parameters", {}).items() if key in model.hparams}
        different = [f"{key}={value}" for key, value in settings.items() if value != model.hparams[key]]
        raise RunDirectoryError(
            f"{short_path(path)} is of a model of other sizes: it was built with {', '.join(different)}; "
            "give the same"
        )
    return state


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; nothing in it is run.

    Raises:
        RunDirectoryError: It cannot be read safely, or is not Lightning's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a torn or a strange file makes of it
        raise RunDirectoryError(f"{path} is not a checkpoint that can be read safely: give another one") from error
    if not isinstance(state, dict) or not {"state_dict", "global_step"} <= state.keys():
        raise RunDirectoryError(f"{path} is not a Lightning checkpoint: give another one")
    return state
