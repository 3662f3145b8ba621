"""How much of what the machine can do a fit does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Throughput", "matmul_peak"]

MEASURED_SECONDS = 0.3
COUNTED_SHAPES = 64
Shape = tuple[int, ...]
_SIZES = {"cpu": 1024, "cuda": 8192}


class Throughput(Callback):
    """Logs `fit/flops_per_second`, of all ranks, and `fit/flop_utilisation`, the share of the peak, once an epoch.

    The floating-point operations of a step, forward and backward, are counted by torch for the first 64 shapes of
    a batch: a counted step takes several times as long, and a stream has a thousand shapes. For others they are
    taken as linear in the sizes of the tensors, which nearly all of them are. The peak is measured, too: the
    speed of large matrix products in the trainer's precision, for 0.3 s at
    the start of the fit. Waiting for data counts as time; validation does not.

    Example:
        ```yaml
        callbacks:
          - _target_: callbacks.throughput.Throughput
        ```
    """

    def __init__(self) -> None:
        self.peak = 0.0
        """Operations a second of matrix products."""
        self._counted: dict[Shape, float] = {}
        self._known: dict[Shape, float] = {}
        self._done = 0.0
        self._began = self._ended = 0.0
        self._counter: FlopCounterMode | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the peak."""
        self.peak = matmul_peak(pl_module.device, _dtype(str(trainer.precision)))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._done = 0.0
        self._began = self._ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count, if there has been no batch like this one, and few others."""
        if len(self._counted) < COUNTED_SHAPES and _shape(batch) not in self._counted:
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add what the step took, and look at the clock."""
        shape = _shape(batch)
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counted[shape] = self._known[shape] = float(self._counter.get_total_flops())
            self._counter = None
        if shape not in self._known:
            self._known[shape] = estimate(self._counted, shape)
        self._done += self._known[shape]
        if trainer.is_last_batch:
            _wait_for(pl_module.device)
        self._ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log."""
        if not self._done:
            return
        speed = self._done / max(self._ended - self._began, 1e-9)
        pl_module.log("fit/flops_per_second", speed, sync_dist=True, reduce_fx="sum")
        pl_module.log("fit/flop_utilisation", speed / self.peak, sync_dist=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no counter behind."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None


def matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float = MEASURED_SECONDS) -> float:
    """Operations a second of square matrix products.

    Args:
        device: device of the matrices.
        dtype: type of the factors.
        seconds: duration of the measurement.
    """
    size = _SIZES.get(device.type, 1024)
    with torch.no_grad():
        one = torch.full((size, size), 0.5, device=device, dtype=dtype)
        one @ one  # the first one loads libraries
        _wait_for(device)
        best, began = float("inf"), time.perf_counter()
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            one @ one
            _wait_for(device)
            best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _dtype(precision: str) -> torch.dtype:
    """The type that matrix products have in one of Lightning's precisions."""
    if precision.startswith("bf16"):
        return torch.bfloat16
    if precision.startswith("16"):
        return torch.float16
    return torch.float64 if precision.startswith("64") else torch.float32


def _shape(batch: Any) -> Shape:
    """The sizes of all tensors of a batch, which decide how much work it is."""
    if isinstance(batch, Tensor):
        return tuple(batch.shape)
    if isinstance(batch, dict):
        batch = batch.values()
    elif not isinstance(batch, (list, tuple)):
        return ()
    return tuple(size for part in batch for size in _shape(part))


def estimate(counted: Mapping[Shape, float], shape: Shape) -> float:
    """What a batch of this shape takes, if that is linear in its sizes, by what others took."""
    alike = {sizes: value for sizes, value in counted.items() if len(sizes) == len(shape)}
    if not alike:
        return 0.0
    sizes = np.array([*alike, shape], dtype=np.float64)
    sizes = np.concatenate([np.ones((len(sizes), 1)), sizes], axis=1)
    weights = np.linalg.lstsq(sizes[:-1], np.array(list(alike.values())), rcond=None)[0]
    return float(max(0.0, sizes[-1] @ weights))
