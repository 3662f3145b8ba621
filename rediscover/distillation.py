"""Any trained network of PyTorch into equations: see `distillation.distilling`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from datamodules.tables.table import check_table
from datamodules.zoo.network_file import read_layers
from distillation.distilling import distill
from distillation.report import DistillationReport
from foundation.errors import UserError

__all__ = ["DistillationReport", "distill", "distill_file"]


def distill_file(
    file: str | Path,
    table: str | Path,
    blocks: Sequence[str] | None = None,
    *,
    activation: str = "tanh",
    seconds: float = 30.0,
    workers: int = 1,
    seed: int = 0,
) -> tuple[DistillationReport, tuple[str, ...]]:
    """Equations of a network in a file, in the region of the rows of a table.

    Args:
        file: path of the weights, see `distill`.
        table: file of rows, whose columns are the inputs of the network in their order, and behind them its
            targets or nothing.
        blocks: names of layers to explain: `0`, `2` and so on; None: the whole network.
        activation: name of the activation between the layers of a file that does not say it.
        seconds: budget by the clock.
        workers: number of processes.
        seed: random seed.

    Returns:
        The report, and the names of the inputs.

    Raises:
        foundation.errors.UserError: a file cannot be read, or the table has other columns than the network.
    """
    widths = read_layers(file).widths
    rows = check_table(table)
    count, outputs, columns = widths[0], widths[-1], len(rows.feature_names)
    if columns not in (count, count + outputs):
        raise UserError(
            f"{table} has {columns} columns that vary, and {file} {count} inputs and {outputs} outputs: give the "
            "inputs in their order, and behind them the targets or nothing"
        )
    values = torch.from_numpy(rows.inputs.astype("float32"))
    data: Any = values if columns == count else (values[:, :count], values[:, count:])
    found = distill(file, data, blocks, activation=activation, seconds=seconds, workers=workers, seed=seed)
    return found, rows.feature_names[:count]
