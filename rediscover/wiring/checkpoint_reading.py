"""Checkpoints are read safely, and only into the model that they are of."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule

from configs.registry import SETTINGS
from configs.systems import name_of
from foundation.schema import FormatError
from rediscover.wiring.checkpoint_content import check_resumable, check_weights
from runs.directory import RunDirectoryError, check_checkpoint_file, short_path

__all__ = ["check_fit", "check_model", "read_checkpoint", "take_weights"]


def check_model(path: Path, target: str) -> None:
    """Make sure that a checkpoint is not one of another model, before there is a model or data.

    Args:
        path: Path of the checkpoint.
        target: Class of the model, as the configuration names it.

    Raises:
        RunDirectoryError: It is torn, damaged or of another model.
    """
    _check_class(path, _model_class(read_checkpoint(path)), target.rpartition(".")[2])


def check_fit(
    path: Path, model: LightningModule, max_epochs: int | None = None, callbacks: Iterable[Callback] = ()
) -> int:
    """Make sure that a run can go on from a checkpoint with this model.

    Args:
        path: Path of the checkpoint.
        model: Model that goes on.
        max_epochs: Number of epochs at which the run is to end; None or -1: no limit.
        callbacks: Callbacks of the run, whose states are a part of the checkpoint.

    Returns:
        Number of the optimiser step at which the checkpoint was written.

    Raises:
        RunDirectoryError: It is torn, of another model, of one with other sizes, holds weights alone, has more
            epochs behind it, or something in it is not what a run has written there.
    """
    state = _fitting(path, model)
    if "optimizer_states" not in state:
        raise RunDirectoryError(f"{short_path(path)} holds weights alone: go on from the last.ckpt beside it")
    try:
        check_resumable(state, model, callbacks)
        model.on_load_checkpoint(state)
    except FormatError as error:
        raise RunDirectoryError(
            f"no run can go on from {short_path(path)} with these settings ({error}): give those that it was "
            "written with, or an earlier checkpoint"
        ) from error
    done = int(state["epoch"])
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
    found = _model_class(state)
    ours, theirs = model.state_dict(), state["state_dict"]
    if found is None and ours.keys() != theirs.keys():
        found = "another model"
    _check_class(path, found, type(model).__name__)
    if _shapes(ours) != _shapes(theirs):
        settings = {key: value for key, value in state.get("hyper_parameters", {}).items() if key in model.hparams}
        different = [f"{key}={value}" for key, value in settings.items() if value != model.hparams[key]]
        raise RunDirectoryError(
            f"{short_path(path)} is of a model of other sizes: it was built with {', '.join(different)}; "
            "give the same"
        )
    return state


def _model_class(state: Mapping[str, Any]) -> str | None:
    """Name of the class of model that a checkpoint says it is of, or that most of its settings belong to."""
    if "model_class" in state:
        return str(state["model_class"])
    theirs = set(state.get("hyper_parameters", ()))
    shared = {
        target.rpartition(".")[2]: len(theirs & set(settings.setting_names()))
        for target, (_, (settings, *_)) in SETTINGS.items()
        if name_of("model", target)
    }
    best = max(shared.values())
    likely = [name for name, count in shared.items() if count == best]
    return likely[0] if best and len(likely) == 1 else None


def _check_class(path: Path, found: str | None, wanted: str) -> None:
    if found not in (None, wanted):
        raise RunDirectoryError(
            f"{short_path(path)} is a checkpoint of {found}, not of {wanted}: choose its own model"
        )


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Size, bool]]:
    """Shape of each tensor, and whether its numbers are whole."""
    return {name: (value.shape, value.is_floating_point()) for name, value in weights.items()}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, whose weights are tensors; nothing in it is run.

    The tensors are mapped into memory: what is not looked at is not read.

    Raises:
        RunDirectoryError: It cannot be read safely, or is not Lightning's.
    """
    check_checkpoint_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a torn or a strange file makes of it
        raise RunDirectoryError(f"{path} is not a checkpoint that can be read safely: give another one") from error
    try:
        check_weights(state)
    except FormatError as error:
        raise RunDirectoryError(f"{path} is not a Lightning checkpoint ({error}): give another one") from error
    found: dict[str, Any] = state
    return found
