"""One search of a distillation."""

from __future__ import annotations

from dataclasses import dataclass

from callbacks.spreading.job import SearchJob
from distillation.fitting.blocks import Form

__all__ = ["OutputJob"]


@dataclass(frozen=True, eq=False, kw_only=True)
class OutputJob(SearchJob):
    """One search: an output of a block, or a factor of its outputs.

    Attributes:
        block: name of the block.
        form: form of the block that is searched.
        place: number of the output or factor.
    """

    block: str
    form: Form
    place: int
