"""Random numbers that go on where they stopped."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from foundation.schema import Check, FormatError, list_of, number, optional, record, row_of, whole
from modules.networks.stored_tensors import tensor

__all__ = ["RandomState"]

_WORDS = 624  # of a Mersenne Twister
_WORD = whole(0, 2**32 - 1)


def _of_torch(value: Any) -> torch.Tensor:
    state: torch.Tensor = tensor("u", None)(value)
    try:
        torch.Generator().set_state(state.clone())
    except (RuntimeError, TypeError) as error:
        raise FormatError("is no state of a generator of torch", "") from error
    return state


_RANK = record(
    {
        "torch": _of_torch,
        "cuda": list_of(tensor("u", None), most=1_000),
        "numpy": row_of(list_of(_WORD, least=_WORDS, most=_WORDS), whole(0, _WORDS), whole(0, 1), number()),
        "python": row_of(whole(3, 3), list_of(_WORD, least=_WORDS + 1, most=_WORDS + 1), optional(number())),
    }
)


class RandomState(Callback):
    """Keeps the state of the global generators of torch, CUDA, NumPy and Python in every checkpoint.

    A checkpoint is written by rank 0, so each rank's state is gathered into it, and each rank takes back its own.
    States are lists, numbers and tensors: they load with `weights_only=True`.

    Example:
        ```yaml
        callbacks:
          - _target_: callbacks.random_state.RandomState
        ```
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """States of all ranks; collective, as writing a checkpoint is."""
        states = [_capture()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [{} for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(states, _capture())
        return {"ranks": states}

    def state_check(self, model: LightningModule) -> Check:
        """Check for what `state_dict` returned, which the generators take."""
        return record({"ranks": list_of(_RANK, least=1, most=100_000)})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training is about to draw from them."""
        self._restored = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let every rank draw its own numbers: all have begun with the same seed, for equal weights."""
        if trainer.global_rank > 0:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore in the very hook in which the checkpoint was written: what ran before it has drawn nothing."""
        if self._restored is None:
            return
        states = self._restored["ranks"]
        self._restored = None
        if trainer.global_rank < len(states):  # a rank that did not exist then keeps its own seed
            _restore(states[trainer.global_rank])


def _capture() -> dict[str, Any]:
    _, key, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  the state that others may draw from
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [np.asarray(key).tolist(), int(position), int(has_gauss), float(cached)],
        "python": [version, list(internal), gauss],
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available() and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all([tensor.cpu() for tensor in state["cuda"]])
    key, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", np.array(key, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
