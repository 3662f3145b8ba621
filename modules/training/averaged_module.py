"""Training that both transformers share: AdamW, a warm-up and a cosine, a moving average of the weights.

It also chooses their initial weights: random ones, those that come with the package, or those of another file.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from foundation.errors import UserError
from modules.networks.weights_file import WeightsFile
from modules.settings.averaged import AveragedTrainingSettings

__all__ = ["AveragedModule", "initialise", "keep_freed_memory", "learning_rate_schedule"]

LOWEST_SHARE = 0.05  # share of the learning rate at the end of the cosine
_CLOCK_STEPS = 16  # number of steps between two readings of the clock
_NOT_DECAYED = ("embedding.weight", "positions", "queries")  # tables of vectors, not matrices
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names from <malloc.h>
_KEPT_BYTES, _LARGEST_KEPT = 2**31 - 1, 2**25  # their largest values


class AveragedModule(LightningModule):
    """Trains a network and keeps an exponential moving average of its weights.

    Where the cosine of the learning rate ends with `max_time`, every step's learning rate depends on the clock. A
    run that must repeat bit by bit needs `total_steps` or `max_epochs`.

    Attributes:
        settings: settings of the training.
        average: the averaged network.
    """

    settings: AveragedTrainingSettings
    average: nn.Module

    @property
    def learned(self) -> nn.Module:
        """The network that is trained."""
        raise NotImplementedError

    def optimizer(self, fused: bool = False) -> torch.optim.Optimizer:
        """AdamW, in which only matrices decay.

        Args:
            fused: whether all parameters are moved in one step.
        """
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.learned.named_parameters():
            decays = parameter.ndim > 1 and not name.endswith(_NOT_DECAYED)
            (matrices if decays else others).append(parameter)
        groups = [
            {"params": matrices, "weight_decay": self.settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.settings.learning_rate, betas=(0.9, 0.98), fused=fused)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, in one fused step where that goes; a warm-up and a cosine."""
        optimizer = self.optimizer(self.device.type in ("cpu", "cuda") and self._scaler() is None)
        schedule = learning_rate_schedule(self.settings.warmup_steps, self._total_steps() or self._share_of_time())
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _total_steps(self) -> int | None:
        if self.settings.total_steps is not None:
            return self.settings.total_steps
        steps = self.trainer.estimated_stepping_batches
        return int(steps) if math.isfinite(steps) and steps > 0 else None

    def _share_of_time(self) -> Callable[[int], float] | None:
        """Spent share of `max_time` at a step, the same on all ranks, or their weights would drift apart."""
        timer = next((one for one in vars(self.trainer)["callbacks"] if isinstance(one, Timer)), None)
        left = None if timer is None else timer.time_remaining()
        if timer is None or left is None:
            return None
        duration = timer.time_elapsed() + left
        gone = 0.0

        def share(step: int) -> float:
            nonlocal gone
            if step % _CLOCK_STEPS == 0:
                gone = min(1.0, timer.time_elapsed() / duration)
                if self.trainer.world_size > 1:
                    gone = float(self.trainer.strategy.broadcast(gone))
            return gone

        return share

    def _scaler(self) -> Any:
        """The scaler of the gradients, None unless training runs in float16."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients; Lightning's method refuses a fused optimiser under autocast even without a scaler."""
        if gradient_clip_val and str(gradient_clip_algorithm or "norm") == "norm" and self._scaler() is None:
            nn.utils.clip_grad_norm_(self.learned.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step and update the average, which follows faster at the beginning, when weights change fast."""
        step = self.trainer.global_step
        super().optimizer_step(*args, **kwargs)
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.learned.parameters()), 1.0 - decay)
            for mine, theirs in zip(self.average.buffers(), self.learned.buffers(), strict=True):
                mine.copy_(theirs)

    def on_fit_start(self) -> None:
        """Let a step reuse the memory of the step before."""
        if self.device.type == "cpu":
            keep_freed_memory()


def initialise(
    networks: Sequence[Any],
    init: str,
    packaged: Path,
    read: Callable[[Path], WeightsFile],
    irrelevant: Collection[str] = (),
) -> bool:
    """Load the weights that `init` names into networks, and return whether there were any.

    Args:
        networks: networks of the same shape, each with `settings`.
        init: source of the weights: `scratch`; `pretrained`, those that come with the package; `auto`, those if
            they fit; or the path of a file.
        packaged: path of the file that comes with the package.
        read: function that reads and checks a file.
        irrelevant: names of settings that may differ.

    Raises:
        UserError: the weights do not exist, or belong to another network.
    """
    if init == "scratch" or (init == "auto" and not packaged.is_file()):
        return False
    if init == "pretrained" and not packaged.is_file():
        raise UserError("init=pretrained finds no weights in this installation: use init=scratch, or a path")
    path = packaged if init in ("auto", "pretrained") else Path(init)
    weights = read(path)
    ours = {name: value for name, value in networks[0].settings.items() if name not in irrelevant}
    different = next((name for name, value in ours.items() if weights.settings[name] != value), None)
    if different is not None:
        if init == "auto":
            return False
        raise UserError(
            f"init={init} has {different}={weights.settings[different]}, the model {different}={ours[different]}: "
            "give the model the same, or use init=scratch"
        )
    for network in networks:
        network.load_state_dict(weights.tensors)
    rank_zero_only(print)(f"starts from the weights {path.name}", flush=True)
    return True


def keep_freed_memory() -> None:
    """Tell the GNU allocator to keep what a step frees.

    By default the allocator returns the memory to the system page by page and requests it again in the next step:
    9,000 page faults a step, 5 % of its time.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def learning_rate_schedule(warmup_steps: int, end: int | Callable[[int], float] | None) -> Callable[[int], float]:
    """Factor of the learning rate at a step: a linear rise, and a cosine to 5 %, or constant without an end.

    Args:
        warmup_steps: number of steps of the linear rise.
        end: step at which the cosine ends, which begins after the rise; or a function that gives the share of the
            training that is done at a step; None: no end.
    """

    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        if end is None:
            return rise
        if callable(end):
            return rise * _cosine(end(step))
        return rise if step < warmup_steps else _cosine((step - warmup_steps) / max(1, end - warmup_steps))

    return factor


def _cosine(done: float) -> float:
    return LOWEST_SHARE + (1.0 - LOWEST_SHARE) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
