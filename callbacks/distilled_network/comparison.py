"""A network and its equations side by side: their losses and their time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from callbacks.distilled_network.rows import RowBatches
from distillation.parent.judge import Parent
from distillation.report import BlockEquations, DistillationReport
from distillation.separate_searches import SeparateSearches
from foundation.errors import UserError
from modules.equation_module import EquationModule
from modules.fine_tuning import fine_tune

__all__ = ["Step", "compared"]

Step = Callable[[nn.Module, Any], Any]
"""Function of a network and a batch that returns the loss."""
_TIMED = 9  # calls, of which the median counts
_TIMED_ROWS = 16_384


def compared(
    searches: SeparateSearches, found: DistillationReport, rows: RowBatches, step: Step, *, epochs: int
) -> dict[str, float]:
    """Losses on the test rows and times, of the network and of its equations, whose constants are trained.

    Args:
        searches: the network as it was.
        found: equations, whose module is trained.
        rows: batches; the training rows are learned from, and the validation rows say what is kept.
        step: loss of a network on a batch.
        epochs: number of passes over the training rows; 0: no training.

    Returns:
        Metrics by flat name, see `callbacks.distillation.Distillation`.
    """
    network, replaced = searches.model, [block for block in found.blocks if block.replaced]
    metrics = {
        "distill/loss": _mean_loss(network, rows.test, step),
        "distill/replaced": len(replaced) / len(found.blocks),
        "distill/nodes": float(sum(block.size for block in replaced)),
    }
    if not replaced or found.module is None:
        return metrics
    metrics["distill/loss_equations"] = _mean_loss(found.module, rows.test, step)
    if epochs and _has_constants(found.module):
        device = next((each.device for each in network.parameters()), torch.device("cpu"))
        kind = "cpu" if device.type == "cpu" else "auto"
        try:
            tuned = fine_tune(found.module, step, rows.train, rows.validation, epochs=epochs, accelerator=kind)
        except UserError:  # the loss of the equations is not finite, which stands beside it
            return metrics
        found.module.to(device)
        metrics["distill/loss_tuned"] = _mean_loss(found.module, rows.test, step)
        metrics["distill/skipped_batches"] = float(tuned.skipped)
    return metrics | {"distill/speed": _speed(searches, found.module, replaced)}


def _has_constants(network: nn.Module) -> bool:
    return any(len(each.constants) for each in network.modules() if isinstance(each, EquationModule))


def _mean_loss(network: nn.Module, batches: Sequence[Any], step: Step) -> float:
    """Loss on all rows, in evaluation mode."""
    return Parent(network.eval(), batches, step=step).losses(network)


def _speed(searches: SeparateSearches, equations: nn.Module, replaced: Sequence[BlockEquations]) -> float:
    """Time of the replaced blocks over that of their equations, on many rows."""
    own = others = 0.0
    for block in replaced:
        rows = searches.tables[block.name].inputs
        rows = np.resize(rows, (_TIMED_ROWS, rows.shape[1]))
        module = searches.model.get_submodule(block.name)
        first = next(module.parameters(), torch.empty(0))
        columns = torch.as_tensor(rows).to(first).split([math.prod(shape) for shape in block.layout.inputs], dim=1)
        given = [part.reshape(-1, *shape) for part, shape in zip(columns, block.layout.inputs, strict=True)]
        both = [module, equations.get_submodule(block.name)]
        mine, theirs = _seconds(both, given)
        own, others = own + mine, others + theirs
    return own / others


def _seconds(modules: Sequence[nn.Module], given: Sequence[torch.Tensor]) -> list[float]:
    """Median time of a call of each, in turns."""
    times: list[list[float]] = [[] for _ in modules]
    with torch.inference_mode():
        for _ in range(_TIMED):
            for module, taken in zip(modules, times, strict=True):
                begun = time.perf_counter()
                module(*given)
                if given[0].is_cuda:
                    torch.cuda.synchronize()
                taken.append(time.perf_counter() - begun)
    return [float(np.median(each[1:])) for each in times]
