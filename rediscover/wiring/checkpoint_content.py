"""What a checkpoint must be: as a stranger may have written it, it is checked whole before any of it is used.

What Lightning puts into it is described here; the state of a callback is checked by the callback itself, which has
a method `state_check(model)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule

from foundation.schema import (
    Check,
    FormatError,
    list_of,
    mapping_of,
    number,
    optional,
    plain,
    record,
    row_of,
    text,
    truth,
    whole,
)
from modules.networks.stored_tensors import tensor

__all__ = ["check_resumable", "check_weights"]

_COUNT = whole(0, 10**15)
_RATE = number(0.0, 1e6)
_CLASS = text(200, "[A-Za-z_][A-Za-z0-9_]*", "that is the name of a class,")
_MOST_GROUPS, _MOST_PARAMETERS = 1_000, 1_000_000


def _dense(value: Any) -> Any:
    checked: torch.Tensor = tensor("fiub", any_shape=True)(value)
    whole_numbers = not checked.is_floating_point() and checked.dtype is not torch.bool
    if whole_numbers and checked.numel() and not 0 <= int(checked.min()) <= int(checked.max()) <= 2**53:
        raise FormatError("has counts out of their range", "")
    return checked


_WEIGHTS = record(
    {"state_dict": mapping_of(_dense, most=_MOST_PARAMETERS), "global_step": _COUNT},
    {"model_class": _CLASS, "hyper_parameters": mapping_of(plain, most=1_000), "epoch": _COUNT},
    open_end=True,
)

# --- Lightning's loops ------------------------------------------------------------------------------------------

_NUMBERS = record({}, dict.fromkeys(("ready", "started", "processed", "completed"), _COUNT))
_PROGRESS = record({"total": _NUMBERS, "current": _NUMBERS}, {"is_last_batch": truth})
_NOTHING = mapping_of(plain, most=0)
_EPOCHS = record({"processed": _COUNT}, dict.fromkeys(("ready", "started", "completed"), _COUNT))
_LOOP = record(
    {"epoch_progress": record({"total": _NUMBERS, "current": _EPOCHS})},
    {
        "state_dict": _NOTHING,
        "epoch_loop.state_dict": record({}, {"_batches_that_stepped": _COUNT}),
        "epoch_loop.batch_progress": _PROGRESS,
        "epoch_loop.scheduler_progress": _PROGRESS,
        "epoch_loop.automatic_optimization.state_dict": _NOTHING,
        "epoch_loop.automatic_optimization.optim_progress": record(
            {"optimizer": record({"step": _PROGRESS, "zero_grad": _PROGRESS})}
        ),
        "epoch_loop.manual_optimization.state_dict": _NOTHING,
        "epoch_loop.manual_optimization.optim_step_progress": _PROGRESS,
        "epoch_loop.val_loop.state_dict": _NOTHING,
        "epoch_loop.val_loop.batch_progress": _PROGRESS,
    },
)

# --- schedulers and the scaler of float16 ------------------------------------------------------------------------

_RATES = list_of(_RATE, least=1, most=_MOST_GROUPS)
_SCHEDULER = record(
    {"base_lrs": _RATES, "last_epoch": _COUNT, "_step_count": _COUNT, "_last_lr": _RATES},
    {
        "T_max": whole(1, 10**15),
        "eta_min": _RATE,
        "verbose": optional(truth),
        "_is_initial": truth,
        "_get_lr_called_within_step": truth,
        "lr_lambdas": list_of(optional(mapping_of(plain, most=0)), most=_MOST_GROUPS),
    },
)
_SCALER = record(
    {
        "scale": number(1e-30, 1e30),
        "growth_factor": number(1.0, 1e6),
        "backoff_factor": number(1e-6, 1.0),
        "growth_interval": _COUNT,
        "_growth_tracker": _COUNT,
    }
)

_RESUMABLE = record(
    {
        "epoch": _COUNT,
        "global_step": _COUNT,
        "pytorch-lightning_version": text(100, r"[2-9]\.\d+\S*", "that is a version of Lightning,"),
        "state_dict": mapping_of(_dense, most=_MOST_PARAMETERS),
        "loops": record({"fit_loop": _LOOP}, open_end=True),
        "callbacks": mapping_of(lambda state: state, most=1_000),
        "optimizer_states": list_of(lambda state: state, least=1, most=1),
        "lr_schedulers": list_of(_SCHEDULER, most=1),
    },
    {
        "MixedPrecision": _SCALER,
        "hparams_name": optional(text(100)),
        "hyper_parameters": mapping_of(plain, most=1_000),
        "datamodule_hparams_name": optional(text(100)),
        "datamodule_hyper_parameters": mapping_of(plain, most=1_000),
        "model_class": _CLASS,
        "equation": plain,  # of GMEQL, which checks it
    },
)


def check_weights(state: Any) -> dict[str, Any]:
    """Check for what a checkpoint must have so that its weights can be taken.

    Args:
        state: content of a checkpoint.

    Raises:
        FormatError: it is no checkpoint, or its weights are no tensors.
    """
    checked: dict[str, Any] = _WEIGHTS(state)
    return checked


def check_resumable(state: Any, model: LightningModule, callbacks: Iterable[Callback]) -> None:
    """Make sure that a run can go on from a checkpoint.

    Args:
        state: content of a checkpoint.
        model: model that goes on; its weights have the shapes of those in the checkpoint.
        callbacks: callbacks of the run; those with a `state_check(model)` check their own states.

    Raises:
        FormatError: a key is missing, or its value is not what a run has written there.
    """
    checked = _RESUMABLE(state)
    done = checked["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if done - checked["epoch"] not in (0, 1):
        raise FormatError(f"has done {done} epochs, but its epoch is {checked['epoch']}", "")
    own: dict[str, Check] = {
        callback.state_key: callback.state_check(model)
        for callback in callbacks
        if hasattr(callback, "state_check")
    }
    optimizer: torch.optim.Optimizer = model.optimizer()  # type: ignore[operator]
    record({}, {"callbacks": record({}, own, open_end=True), "optimizer_states": row_of(_optimizer(optimizer))},
           open_end=True)(state)  # fmt: skip
    groups = len(optimizer.param_groups)
    for scheduler in checked["lr_schedulers"]:
        if not len(scheduler["base_lrs"]) == len(scheduler["_last_lr"]) == groups:
            raise FormatError("has rates of another number of groups", "").inside(".lr_schedulers[0]")


# --- optimisers -------------------------------------------------------------------------------------------------

_MOMENTS: Mapping[str, Sequence[str]] = {"Adam": ("exp_avg", "exp_avg_sq"), "AdamW": ("exp_avg", "exp_avg_sq")}
"""Name of an optimiser -> tensors that it keeps of a parameter, each of the parameter's shape, beside its step."""


def _optimizer(optimizer: torch.optim.Optimizer) -> Check:
    """Check for the state of an optimiser with the same groups of parameters.

    Args:
        optimizer: new optimiser of the model.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = _MOMENTS.get(type(optimizer).__name__, ())
    own = [
        record({"step": tensor("f", finite=True), **{name: tensor("f", *parameter.shape) for name in moments}})
        for parameter in parameters
    ]
    groups = row_of(*(_group(group) for group in optimizer.state_dict()["param_groups"]))
    states: Any = dict(enumerate(own)) if moments else {}
    return record({"state": record({}, states), "param_groups": groups})


def _group(ours: Mapping[str, Any]) -> Check:
    """Check for the settings of a group of parameters: of the same kinds as ours, and of the same parameters."""
    places = list(ours["params"])
    numbers = list_of(whole(), most=_MOST_PARAMETERS)

    def same(value: Any) -> Any:
        if numbers(value) != places:
            raise FormatError("is another list of parameters", "")
        return value

    checks: dict[str, Check] = {"params": same}
    others: dict[str, Check] = {"initial_lr": _RATE}
    for name, value in ours.items():
        if isinstance(value, tuple):
            checks[name] = row_of(*(number(0.0, 1.0) for _ in value))
        elif isinstance(value, bool) or value is None:
            others[name] = optional(truth)
        elif name != "params":
            checks[name] = _RATE
    return record(checks, others)
