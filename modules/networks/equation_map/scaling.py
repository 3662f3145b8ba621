"""Scaling of columns, the first step of every encoder of a table."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SMALLEST_SPREAD", "over_largest", "standardised"]

SMALLEST_SPREAD = 1e-6  # share of a column's largest magnitude below which float32 sees a constant


def over_largest(values: Tensor) -> Tensor:
    """Values divided by the largest magnitude along dimension 1, so that no square leaves float32.

    All 0 where one value is not finite, or all are 0.
    """
    largest = values.abs().amax(dim=1, keepdim=True)  # NaN where one is
    usable = largest.isfinite() & (largest > 0)
    return torch.where(usable, values / torch.where(usable, largest, 1.0), 0.0)


def standardised(values: Tensor) -> Tensor:
    """Values with mean 0 and variance 1 along dimension 1; 0 where all are equal or one is not finite."""
    scaled = over_largest(values)
    centred = scaled - scaled.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(deviation > SMALLEST_SPREAD, centred / deviation.clamp(min=SMALLEST_SPREAD), 0.0)
