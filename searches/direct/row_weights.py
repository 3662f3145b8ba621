"""Weights of rows whose rounding grows with the size of what is summed there."""

from __future__ import annotations

import numpy as np

__all__ = ["row_weights"]


def row_weights(sizes: np.ndarray) -> np.ndarray:
    """Weights of rows whose rounding grows with the size of what is summed there. `[rows]`"""
    floor = 1e-3 * float(np.sqrt(np.mean(np.square(sizes)))) or 1.0
    return 1.0 / (np.abs(sizes) + floor)
