"""Values of all processes of a distributed training; of this one alone where there is no other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["gathered_rows", "of_all_ranks", "weight_of_rank"]


def of_all_ranks(values: Tensor) -> list[Tensor]:
    """The tensor of every process, all of one shape, in the order of their ranks."""
    if not _several():
        return [values]
    parts = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, values.contiguous())
    return parts


def gathered_rows(values: Tensor) -> Tensor:
    """Rows of all processes on the CPU; their numbers may differ. `[rows, …] -> [rows of all ranks, …]`"""
    parts: list[Any] = [values.cpu()]
    if _several():
        parts = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, values.cpu())
    return torch.cat(parts)


def weight_of_rank(count: Tensor) -> Tensor:
    """Factor of this process's mean such that the mean over the processes is the mean over all that they count.

    Distributed training takes the plain mean of the processes' gradients, as if all had the same number of terms.

    Args:
        count: number of terms of this process's mean. `[]`
    """
    counts = torch.stack(of_all_ranks(count.double()))
    return count / counts.mean()


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
