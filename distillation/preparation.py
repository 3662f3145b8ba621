"""A network before it is distilled: its blocks as tables, the forms in which each may be written, and what judges.

`distill` searches with it in this process, `callbacks.distillation` over several; both choose and report alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from distillation.blocks.recording import Recording, called, named_blocks, record
from distillation.blocks.slopes import rows_function, slopes_of
from distillation.choosing.greedy import Rivals, choose
from distillation.choosing.reporting import report_of
from distillation.fitting.blocks import Form, forms_of
from distillation.fitting.outputs import Front, judged
from distillation.fitting.table import Table
from distillation.parent.batches import on_device
from distillation.parent.judge import Parent, copied, undisturbed_draws
from distillation.questions.answers import Answers
from distillation.report import DistillationReport
from expressions.expression import Expression
from foundation.errors import UserError

__all__ = ["Preparation"]

_COMPARED, _SAME = 64, 1e-4  # rows of which a block is asked again, and how far it may be off by rounding


class Preparation:
    """The tables of all blocks of a network, and the equations that are chosen from what is found for them.

    Args:
        model: trained network; it is copied.
        search: batches to search on.
        judge: batches that judge.
        blocks: names of the blocks; None: the whole model.
        loss: function of outputs and targets, see `distillation.parent.judge.Parent`.
        step: function of a model and a batch that returns the loss.
        seed: random seed for the choice of rows and of questions.
        ask: whether the network is asked for more than its data say.
        notes: one sentence for what is not as it was asked for.

    Attributes:
        tables: rows of every block, by name.

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
        loss: Callable[..., Any] | None = None,
        step: Callable[[nn.Module, Any], Any] | None = None,
        seed: int,
        ask: bool = True,
        notes: tuple[str, ...] = (),
    ) -> None:
        named_blocks(model, blocks)  # a mistake is told before anything is copied
        with undisturbed_draws():
            self._network = copied(model)  # whose blocks are replaced in the end
            self._parent = Parent(self._network, judge, loss=loss, step=step)
        self._blocks = named_blocks(self._network, blocks)
        self._seed, self._ask, self._notes, self._batches = seed, ask, notes, search
        self._searched, self._judging = (self.recorded(part) for part in (search, judge))
        for name, each in self._searched.items():
            _check(name, each, self._judging[name])
        self.tables = {
            name: Table(each.inputs, each.outputs, self._judging[name].inputs, self._judging[name].outputs)
            for name, each in self._searched.items()
        }

    def recorded(self, batches: Sequence[Any]) -> dict[str, Recording]:
        """What goes into the blocks and what comes out on some batches, by name; before the report."""
        with undisturbed_draws():
            return record(
                self._blocks,
                [on_device(each, self._parent.device) for each in batches],
                lambda batch: self._parent.call(self._network, batch),
                seed=self._seed,
            )

    def forms(self, name: str) -> list[Form]:
        """The forms in which a block may be written, the one of the fewest searches first."""
        layout, device = self._searched[name].layout, self._parent.device
        slopes = slopes_of(self._blocks[name], layout, device)
        with undisturbed_draws():
            return forms_of(self.tables[name], slopes, seed=self._seed, answers=self._answers(name))

    def _answers(self, name: str) -> Answers | None:
        """What a block says of rows; None where it does not say of single rows what it did in its network."""
        if not self._ask:
            return None
        recording, device = self._searched[name], self._parent.device
        answers = Answers(rows_function(self._blocks[name], recording.layout), device=device)
        some = slice(0, _COMPARED)
        try:
            again = answers(recording.inputs[some])
        except Exception:  # of a block that takes more than rows
            return None
        size = np.abs(recording.outputs[some]).max()
        return answers if np.abs(again - recording.outputs[some]).max() <= _SAME * size else None

    def rivals(self, name: str, form: Form, fronts: Sequence[Front]) -> Rivals:
        """What may stand in the place of a block.

        Args:
            name: name of the block.
            form: form of it.
            fronts: equations of every search of the form.
        """
        return Rivals(self._searched[name].layout, tuple(fronts), torch.float32, form.mix())

    def rivals_of(self, name: str, form: Form, equations: Sequence[Sequence[Expression]]) -> Rivals:
        """The same of equations without scores, of any number for every search."""
        fronts = [Front(tuple(judged(found, form.table, place)), 0.0) for place, found in enumerate(equations)]
        return self.rivals(name, form, fronts)

    def report(
        self, rivals: Mapping[str, Sequence[Rivals]], *, tolerance: float, seconds: float = math.inf
    ) -> DistillationReport:
        """Choose among equations by the loss of the network, whose blocks are then replaced.

        Args:
            rivals: forms in which every block may be written, by name.
            tolerance: rise of the loss that equations may cost, relative to its size.
            seconds: time after which nothing smaller is tried.
        """
        with undisturbed_draws():
            choice = choose(self._parent, rivals, tolerance=tolerance, seconds=seconds)
            return report_of(self._network, self._parent, self._batches, self._judging, choice, self._notes)


def _check(name: str, searched: Recording, judging: Recording) -> None:
    if searched.layout != judging.layout:
        raise UserError(f"{called(name)} is called with tensors of other shapes in some batches: give equal ones")
    if len(searched.inputs) < 2:
        raise UserError(f"{called(name)} has {len(searched.inputs)} rows to search on: give more data")
