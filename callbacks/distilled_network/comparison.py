"""A network and its equations side by side: their losses and their time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from callbacks.distilled_network.rows import RowBatches
from distillation.blocks.replacing import with_blocks
from distillation.fitting.table import Table
from distillation.parent.judge import Parent, copied
from distillation.report import BlockEquations, DistillationReport
from foundation.errors import UserError
from modules.equation_module import EquationModule
from modules.fine_tuning import fine_tune

__all__ = ["Step", "all_equations", "compared"]

Step = Callable[[nn.Module, Any], Any]
"""Function of a network and a batch that returns the loss."""
_TIMED = 9  # calls, of which the median counts
_TIMED_ROWS = 16_384


def compared(
    model: nn.Module,
    found: DistillationReport,
    tables: Mapping[str, Table],
    rows: RowBatches,
    step: Step,
    *,
    epochs: int,
    seconds: float = math.inf,
) -> tuple[DistillationReport, dict[str, float]]:
    """Losses on the test rows and times, of the network and of the one whose blocks are all equations.

    The constants of these are trained first. Blocks that were refused are taken after all where the loss on the
    validation rows is then one that is allowed. At last, constants are read back, see
    `distillation.report.DistillationReport.read_back`.

    Args:
        model: network as it was, in evaluation mode.
        found: equations of its blocks.
        tables: rows of the blocks.
        rows: batches; the training rows are learned from, and the validation rows say what is kept.
        step: loss of a network on a batch.
        epochs: number of passes over the training rows; 0: no training.
        seconds: time after which no further constant is looked at by itself.

    Returns:
        What stands in the place of which block in the end, and metrics by flat name, see
        `callbacks.distillation.Distillation`.
    """
    whole = all_equations(model, found)
    metrics = {
        "distill/loss": _mean_loss(model, rows.test, step),
        "distill/loss_equations": _mean_loss(whole, rows.test, step),
        "distill/nodes": float(sum(block.size for block in found.blocks)),
    }
    skipped = _tuned(whole, rows, step, epochs)
    loss = _mean_loss(whole, rows.validation, step)
    if all(block.replaced for block in found.blocks) or loss <= found.loss_limit:
        blocks = tuple(replace(block, replaced=True) for block in found.blocks)
        found = replace(found, blocks=blocks, module=whole, loss_after=loss)
    elif found.module is not None and any(block.replaced for block in found.blocks):
        _tuned(found.module, rows, step, epochs)
        found = replace(found, loss_after=_mean_loss(found.module, rows.validation, step))
    found = found.read_back(seconds=seconds)
    if skipped is not None:
        metrics["distill/loss_tuned"] = _mean_loss(whole, rows.test, step)
        metrics["distill/skipped_batches"] = float(skipped)
    metrics["distill/replaced"] = sum(block.replaced for block in found.blocks) / len(found.blocks)
    return found, metrics | {"distill/speed": _speed(model, whole, tables, found.blocks)}


def all_equations(model: nn.Module, found: DistillationReport) -> nn.Module:
    """A copy of a network whose blocks are all equations, also those that the loss does not allow."""
    network = copied(model)
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    return with_blocks(network, {block.name: block.module().to(device).eval() for block in found.blocks})


def _tuned(network: nn.Module, rows: RowBatches, step: Step, epochs: int) -> int | None:
    """Train the constants; number of batches that taught nothing, or None where nothing could be trained."""
    if not epochs or not _has_constants(network):
        return None
    device = next(network.parameters()).device
    kind = "cpu" if device.type == "cpu" else "auto"
    try:
        tuned = fine_tune(network, step, rows.train, rows.validation, epochs=epochs, accelerator=kind)
    except UserError:  # the loss of the equations is not finite, and stands beside the network's as it is
        return None
    network.to(device)
    return tuned.skipped


def _has_constants(network: nn.Module) -> bool:
    return any(len(each.constants) for each in network.modules() if isinstance(each, EquationModule))


def _mean_loss(network: nn.Module, batches: Sequence[Any], step: Step) -> float:
    """Loss on all rows, in evaluation mode."""
    return Parent(network.eval(), batches, step=step).losses(network)


def _speed(
    model: nn.Module, equations: nn.Module, tables: Mapping[str, Table], blocks: Sequence[BlockEquations]
) -> float:
    """Time of the blocks over that of their equations, on many rows."""
    own = others = 0.0
    for block in blocks:
        rows = tables[block.name].inputs
        rows = np.resize(rows, (_TIMED_ROWS, rows.shape[1]))
        module = model.get_submodule(block.name)
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
