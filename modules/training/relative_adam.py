"""Adam whose steps are shares of the size of every parameter: constants of equations have any unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["RelativeAdam"]

_NOTHING = 1e-3  # size that a parameter of 0 counts as


class RelativeAdam(torch.optim.Adam):
    """Adam for parameters whose entries have different units.

    A step of Adam is about the learning rate for every entry, whatever its size: a constant of 1e-4 would be lost
    in the first one, and one of 1e6 would not move. Here Adam sees every entry divided by its size at the start.

    Args:
        parameters: parameters to train.
        lr: learning rate, as a share of every entry.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], lr: float) -> None:
        super().__init__(parameters, lr=lr)
        for group in self.param_groups:
            group["sizes"] = [_sizes(each) for each in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step.

        Args:
            closure: function that computes loss and gradients first.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        scaled = [
            (each, size.to(each.device))
            for group in self.param_groups
            for each, size in zip(group["params"], group["sizes"], strict=True)
            if each.grad is not None
        ]
        for each, size in scaled:
            each.div_(size)
            each.grad.mul_(size)
        super().step()
        for each, size in scaled:
            each.mul_(size)
        return loss


def _sizes(parameter: Tensor) -> Tensor:
    sizes = parameter.detach().abs()
    return torch.where(sizes > 0, sizes, torch.full_like(sizes, _NOTHING))
