"""A network as a function of NumPy, asked many rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["Answers", "Function"]

Function = Callable[[Tensor], Tensor]
"""Rows `[rows, inputs]` to outputs `[rows, outputs]` or `[rows]`; every row by itself."""
_ROWS = 65_536


class Answers:
    """What a network says.

    Args:
        function: network, or a function of a tensor.
        dtype: type of the numbers that it takes.
        device: device that it takes them on.

    Attributes:
        asked: number of rows that it was asked.
    """

    def __init__(
        self, function: Function, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        self.function, self.dtype, self.device = function, dtype, device
        self.asked = 0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Outputs at points. `[..., inputs] -> [..., outputs]`"""
        flat = points.reshape(-1, points.shape[-1])
        self.asked += len(flat)
        with torch.no_grad():
            parts = [self._part(flat[start : start + _ROWS]) for start in range(0, len(flat), _ROWS)]
        values = np.concatenate(parts)
        return values.reshape(*points.shape[:-1], values.shape[-1])

    def _part(self, points: np.ndarray) -> np.ndarray:
        found = self.function(torch.as_tensor(points, dtype=self.dtype, device=self.device))
        return np.asarray(found.double().reshape(len(points), -1).cpu().numpy())
