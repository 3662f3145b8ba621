"""What the training of both transformers has in common: AdamW, a warm-up and a cosine, an average of the weights.

Also where their first weights come from: chance, the file that comes with the package, or another one.
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

LOWEST_SHARE = 0.05  # of the learning rate, at the end of the cosine
_CLOCK_STEPS = 16  # after which the clock is looked at again
_NOT_DECAYED = ("embedding.weight", "positions", "queries")  # rows that are looked up, not matrices
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_KEPT_BYTES, _LARGEST_KEPT = 2**31 - 1, 2**25  # the most that they take


class AveragedModule(LightningModule):
    """Trains a network, and keeps an exponential moving average of its weights beside it.

    What the cosine of the learning rate does where it ends with the time depends on the clock, step by step: for a
    run that can be repeated bit by bit, give `total_steps` or `max_epochs`.

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

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW in one fused step; a warm-up and a cosine."""
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.learned.named_parameters():
            decays = parameter.ndim > 1 and not name.endswith(_NOT_DECAYED)
            (matrices if decays else others).append(parameter)
        groups = [
            {"params": matrices, "weight_decay": self.settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=self.settings.learning_rate,
            betas=(0.9, 0.98),
            fused=self.device.type in ("cpu", "cuda") and self._scaler() is None,
        )
        schedule = learning_rate_schedule(self.settings.warmup_steps, self._total_steps() or self._share_of_time())
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _total_steps(self) -> int | None:
        if self.settings.total_steps is not None:
            return self.settings.total_steps
        steps = self.trainer.estimated_stepping_batches
        return int(steps) if math.isfinite(steps) and steps > 0 else None

    def _share_of_time(self) -> Callable[[int], float] | None:
        """How much of `max_time` has gone at a step; the same on all ranks, whose weights would drift apart."""
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
        """What scales the gradients, in float16 alone."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning does, which however refuses a fused optimiser under autocast even if nothing is scaled."""
        if gradient_clip_val and str(gradient_clip_algorithm or "norm") == "norm" and self._scaler() is None:
            nn.utils.clip_grad_norm_(self.learned.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and let the average follow; it follows faster at the beginning, when weights change fast."""
        step = self.trainer.global_step
        super().optimizer_step(*args, **kwargs)
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.learned.parameters()), 1.0 - decay)
            for mine, theirs in zip(self.average.buffers(), self.learned.buffers(), strict=True):
                mine.copy_(theirs)

    def on_fit_start(self) -> None:
        """Memory of a step serves the next one."""
        if self.device.type == "cpu":
            keep_freed_memory()


def initialise(
    networks: Sequence[Any],
    init: str,
    packaged: Path,
    read: Callable[[Path], WeightsFile],
    irrelevant: Collection[str] = (),
) -> bool:
    """Give networks the weights that `init` names; whether there were any.

    Args:
        networks: alike, with `settings`.
        init: `scratch`; `pretrained`, the weights that come with the package; `auto`, those if they fit; or the
            path of a file.
        packaged: the file that comes with the package.
        read: reads and checks a file.
        irrelevant: settings that may differ.

    Raises:
        UserError: there are no such weights, or they are of another network.
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

    It gives it back to the system, page by page, to ask for it again in the next step: 9,000 page faults a step,
    5 % of its time.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def learning_rate_schedule(warmup_steps: int, end: int | Callable[[int], float] | None) -> Callable[[int], float]:
    """Factor of the learning rate at a step: a linear rise, and a cosine to 5 %, or constant without an end.

    Args:
        warmup_steps: of the rise.
        end: the step at which the cosine ends, which begins after the rise; or what share of the training is done
            at a step; None: there is no end.
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
