"""Derivatives of a block's outputs by its inputs, from torch itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from distillation.blocks.layout import Layout

__all__ = ["rows_function", "slopes_of"]

_BLOCK = 1_024  # rows at a time


def rows_function(block: nn.Module, layout: Layout) -> Callable[[Tensor], Tensor]:
    """A block as a function of a table. `[rows, features]` to `[rows, outputs]`

    A block that takes several tensors is called with them one by one, as arguments by place.

    Args:
        block: block in evaluation mode.
        layout: shapes of the tensors of a call.
    """

    def function(table: Tensor) -> Tensor:
        leading = table.shape[:1]
        sizes = [int(np.prod(shape)) for shape in layout.inputs]
        parts = table.split(sizes, dim=1)
        given = [part.reshape(*leading, *shape) for part, shape in zip(parts, layout.inputs, strict=True)]
        return layout.output_rows(block(*given), leading)

    return function


def slopes_of(
    block: nn.Module, layout: Layout, device: torch.device
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function that gives derivatives of mixtures of outputs, see `distillation.fitting.factors.Slopes`.

    Args:
        block: block in evaluation mode.
        layout: shapes of the tensors of a call.
        device: device of its parameters.
    """
    function = rows_function(block, layout)

    def slopes(inputs: np.ndarray, mixtures: np.ndarray) -> np.ndarray:
        found = []
        with torch.enable_grad():
            for start in range(0, len(inputs), _BLOCK):
                table = torch.from_numpy(inputs[start : start + _BLOCK]).float().to(device).requires_grad_()
                outputs = function(table)
                mixed = outputs @ torch.from_numpy(mixtures).to(outputs)
                parts = [
                    torch.autograd.grad(mixed[:, k].sum(), table, retain_graph=True)[0]
                    for k in range(mixed.shape[1])
                ]
                found.append(torch.stack(parts, dim=1).detach().cpu().double().numpy())
        return np.concatenate(found)

    return slopes
