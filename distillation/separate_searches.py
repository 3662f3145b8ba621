"""Outputs of blocks that somebody else searches, say several processes: their tables before, the choice after."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from distillation.blocks.recording import Recording, named_blocks, record
from distillation.choosing.greedy import Rivals, choose
from distillation.distilling import report_of
from distillation.fitting.outputs import Front, Table, judged
from distillation.parent.batches import on_device
from distillation.parent.judge import Parent, copied, undisturbed_draws
from distillation.report import DistillationReport
from expressions.expression import Expression

__all__ = ["SeparateSearches"]


class SeparateSearches:
    """The tables of all blocks of a network, and the equations that are chosen from what was found for them.

    Args:
        model: trained network; it is copied.
        search: batches to search on.
        judge: batches that judge.
        blocks: names of the blocks; None: the whole model.
        step: function of a model and a batch that returns the loss.
        seed: random seed for the choice of rows.

    Attributes:
        tables: rows of every block, by name.
        model: copy of the model in evaluation mode, as it was.

    Raises:
        foundation.errors.UserError: a block does not exist or cannot be written as equations.
    """

    def __init__(
        self,
        model: nn.Module,
        search: Sequence[Any],
        judge: Sequence[Any],
        blocks: Sequence[str] | None,
        *,
        step: Callable[[nn.Module, Any], Any],
        seed: int,
    ) -> None:
        self._begun = time.perf_counter()
        named_blocks(model, blocks)  # a mistake is told before anything is copied
        with undisturbed_draws():
            self.model = copied(model)
            self._network = copied(model)  # whose blocks are replaced
            self._parent = Parent(self._network, judge, step=step)
            self._blocks, self._seed, self._batches = blocks, seed, search
        self._searched, self._judging = (self.recorded(part) for part in (search, judge))
        self.tables = {
            name: Table(each.inputs, each.outputs, self._judging[name].inputs, self._judging[name].outputs)
            for name, each in self._searched.items()
        }

    def recorded(self, batches: Sequence[Any]) -> dict[str, Recording]:
        """What goes into the blocks and what comes out on some batches, by name of the block."""
        with undisturbed_draws():
            return record(
                named_blocks(self.model, self._blocks),
                [on_device(each, self._parent.device) for each in batches],
                lambda batch: self._parent.call(self.model, batch),
                seed=self._seed,
            )

    def report(
        self,
        equations: Mapping[str, Sequence[Sequence[Expression]]],
        *,
        tolerance: float,
        seconds: float = math.inf,
    ) -> DistillationReport:
        """Choose among equations by the loss of the network.

        Args:
            equations: equations found for every output of every block, `[outputs]` of any number.
            tolerance: rise of the loss that equations may cost, relative to its size.
            seconds: time after which nothing smaller is tried.
        """
        rivals = {
            name: [
                Rivals(
                    self._searched[name].layout,
                    tuple(
                        Front(tuple(judged(found, self.tables[name], place)), 0.0)
                        for place, found in enumerate(outputs)
                    ),
                    torch.float32,
                )
            ]
            for name, outputs in equations.items()
        }
        with undisturbed_draws():
            choice = choose(self._parent, rivals, tolerance=tolerance, seconds=seconds)
            report = report_of(self._network, self._parent, self._batches, self._judging, choice, ())
            return replace(report, seconds=time.perf_counter() - self._begun)
