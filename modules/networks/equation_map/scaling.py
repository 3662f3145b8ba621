"""Columns of numbers brought to the same size, whatever they were: what every reader of a table begins with."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SMALLEST_SPREAD", "over_largest", "standardised"]

SMALLEST_SPREAD = 1e-6  # of a column's largest magnitude: float32 cannot tell less from a constant


def over_largest(values: Tensor) -> Tensor:
    """Over the largest magnitude along dimension 1, so that no square leaves float32.

    All 0 where one value is not finite, or all are 0.
    """
    largest = values.abs().amax(dim=1, keepdim=True)  # NaN where one is
    usable = largest.isfinite() & (largest > 0)
    return torch.where(usable, values / torch.where(usable, largest, 1.0), 0.0)


def standardised(values: Tensor) -> Tensor:
    """Mean 0 and variance 1 along dimension 1; 0 where they are all the same, or one is not finite."""
    scaled = over_largest(values)
    centred = scaled - scaled.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(deviation > SMALLEST_SPREAD, centred / deviation.clamp(min=SMALLEST_SPREAD), 0.0)
