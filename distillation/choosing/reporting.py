"""The report of a choice: what stands in the place of which block, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from distillation.blocks.recording import Recording
from distillation.blocks.replacing import with_blocks
from distillation.choosing.greedy import Choice, ChosenBlock
from distillation.choosing.law import MOST_OUTPUTS, probability_of_law
from distillation.choosing.sizes import shared_size
from distillation.fitting.constants import Evidence
from distillation.fitting.outputs import error_of
from distillation.parent.judge import Parent
from distillation.report import BlockEquations, DistillationReport, OutputEquation
from expressions.complexity import complexity
from expressions.expression import Expression
from searches.pareto_front import Candidate

__all__ = ["report_of"]


def report_of(
    network: nn.Module,
    parent: Parent,
    batches: Sequence[Any],
    judging: Mapping[str, Recording],
    choice: Choice,
    notes: tuple[str, ...],
) -> DistillationReport:
    """The report of a choice, whose blocks are replaced in the network; its time is not told yet.

    Args:
        network: copy of the model, which is changed.
        parent: judge of it.
        batches: batches that were searched on.
        judging: rows that judged, of every block.
        choice: what was chosen.
        notes: one sentence for what is not as it was asked for.
    """
    blocks = []
    for name, decided in choice.blocks.items():
        table = None if name else parent.targets(batches, decided.rivals.layout)
        blocks.append(_block(name, judging[name], decided, table))
    modules: dict[str, nn.Module] = {
        each.name: each.module().to(parent.device) for each in blocks if each.replaced
    }
    return DistillationReport(
        blocks=tuple(blocks),
        loss_before=choice.before,
        loss_after=choice.after,
        loss_limit=choice.limit,
        loss_words=parent.loss_words,
        seconds=0.0,
        notes=notes,
        module=with_blocks(network, modules),
        evidence=Evidence(parent, judging),
    )


def _block(
    name: str, judging: Recording, decided: ChosenBlock, table: tuple[np.ndarray, np.ndarray] | None
) -> BlockEquations:
    """What the report says of a block.

    Args:
        name: name of the block.
        judging: rows that judge.
        decided: its equations.
        table: inputs and targets of the whole model; None: the block is not all of it, or there are no targets.
    """
    rivals = decided.rivals
    fronts: Sequence[Sequence[Candidate]] = [()] * len(decided.expressions)
    if rivals.mix is None:
        fronts = [front.candidates for front in rivals.fronts]
    outputs = tuple(
        OutputEquation(
            expression,
            complexity(expression),
            1.0 - error_of(judging.outputs[:, place], expression, judging.inputs),
            None if table is None else _probability(expression, front, place, table),
            tuple((each.expression, each.complexity, 1.0 - each.validation_nmse) for each in front),
        )
        for place, (expression, front) in enumerate(zip(decided.expressions, fronts, strict=True))
    )
    return BlockEquations(
        name=name,
        layout=rivals.layout,
        outputs=outputs,
        replaced=decided.replaced,
        loss_alone=decided.loss_alone,
        size=shared_size(decided.expressions),
        dtype=rivals.dtype,
    )


def _probability(
    expression: Expression, front: Sequence[Candidate], place: int, table: tuple[np.ndarray, np.ndarray]
) -> float | None:
    inputs, targets = table
    if targets.shape[1] > MOST_OUTPUTS:
        return None
    return probability_of_law(expression, [each.expression for each in front], inputs, targets[:, place])
