"""Constants of equations in a network with the fewest digits that the network's own loss needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from modules.equation_module import EquationModule

__all__ = ["round_constants"]

_DIGITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 13)
_TOGETHER = 0.5  # share of the tolerance that the first rounding, of all constants together, may use
_FEW = 40  # constants that are each looked at alone
_OWN_DIGITS = {torch.float64: 13, torch.float32: 7, torch.float16: 3, torch.bfloat16: 2}
"""Digits that a type holds, but for the last few: what they cost is nothing."""


@torch.no_grad()
def round_constants(
    network: nn.Module,
    loss: Callable[[nn.Module], float],
    *,
    tolerance: float = 1e-3,
    largest: float = math.inf,
    seconds: float = math.inf,
) -> float:
    """Round the constants of all equations in a network, in place.

    All constants get as many significant digits as their loss needs together; where there are few, each then loses
    what digits it can. A loss that falls is no better than one that rises: it is the luck of the batches.

    Args:
        network: network that holds an `EquationModule` or several.
        loss: function of the network that judges, such as its loss on held-out batches.
        tolerance: relative change of the loss that all roundings together may make.
        largest: loss that no rounding may exceed.
        seconds: time after which no further constant is looked at alone.

    Returns:
        The loss with the rounded constants.
    """
    ends = time.monotonic() + seconds
    constants = [each.constants for each in network.modules() if isinstance(each, EquationModule)]
    exact = [each.clone() for each in constants]
    before = float(loss(network))
    if not math.isfinite(before) or not constants:
        return before

    def of_digits(digits: int) -> float:
        for each, own in zip(constants, exact, strict=True):
            each.copy_(_rounded(own, digits))
        return float(loss(network))

    def needs_no_more(found: float, share: float) -> bool:
        return abs(found - before) <= max(share * tolerance * abs(before), free) and found <= largest

    free = abs(of_digits(min(_OWN_DIGITS[each.dtype] for each in constants)) - before)
    digits = next((digits for digits in _DIGITS if needs_no_more(of_digits(digits), _TOGETHER)), None)
    if digits is None:
        for each, own in zip(constants, exact, strict=True):
            each.copy_(own)
        return before
    if sum(len(each) for each in constants) <= _FEW:
        _each_alone(constants, exact, digits, lambda: needs_no_more(float(loss(network)), 1.0), ends)
    return float(loss(network))


def _each_alone(
    constants: list[nn.Parameter],
    exact: list[Tensor],
    digits: int,
    is_enough: Callable[[], bool],
    ends: float,
) -> None:
    """Take digits off one constant after the other, as long as that is enough for the loss, and there is time."""
    for each, own in zip(constants, exact, strict=True):
        for place in range(len(own)):
            if time.monotonic() > ends:
                return
            kept = each[place].clone()
            for fewer in range(1, digits):
                each[place] = _rounded(own[place], fewer)
                if is_enough():
                    break
            else:
                each[place] = kept


def _rounded(values: Tensor, digits: int) -> Tensor:
    """Values with so many significant digits."""
    texts = [f"{value:.{digits - 1}e}" for value in values.double().flatten().tolist()]
    return torch.tensor([float(text) for text in texts], dtype=values.dtype, device=values.device).view_as(values)
