"""The equations of a report as findings, one for every output, whatever was searched for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from callbacks.distilled_network.job import OutputJob
from callbacks.distilled_network.names import BlockNames
from distillation.blocks.recording import Recording
from distillation.fitting.outputs import error_of
from distillation.fitting.table import Table
from distillation.report import BlockEquations, DistillationReport, OutputEquation
from reports.findings import Finding
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["equations_of_blocks", "words_of"]


def equations_of_blocks(
    found: DistillationReport,
    searches: Sequence[tuple[OutputJob, Finding]],
    tables: Mapping[str, Table],
    test: Mapping[str, Recording],
    names: BlockNames,
) -> list[Finding]:
    """The equations that the loss of the network chose, with the constants that they have learned.

    Args:
        found: report of the network.
        searches: searches, and what they found by themselves.
        tables: rows of every block, by name.
        test: rows to report on.
        names: names of the blocks' inputs and outputs.
    """
    findings = []
    for block in found.blocks:
        mine = [(job, finding) for job, finding in searches if job.block == block.name]
        alone = {job.place: finding for job, finding in mine if job.form.outputs is None}
        factors = [finding for job, finding in mine if job.form.outputs is not None]
        findings += [
            _finding(block, place, output, alone.get(place), factors, tables[block.name], test[block.name], names)
            for place, output in enumerate(block.outputs)
        ]
    return findings


def _finding(
    block: BlockEquations,
    place: int,
    output: OutputEquation,
    alone: Finding | None,
    factors: Sequence[Finding],
    table: Table,
    test: Recording,
    names: BlockNames,
) -> Finding:
    """The equation of one output.

    Args:
        alone: result of the search for this output; None: only factors were searched.
        factors: results of the searches for factors of the block, to which every output adds up.
    """
    rows = (table.inputs, table.outputs[:, place]), (table.judge_inputs, table.judge_outputs[:, place])
    errors = [error_of(target, output.expression, inputs) for inputs, target in rows]
    chosen = Candidate(output.expression, output.complexity, *errors)
    others = [] if alone is None else list(alone.front)
    same = [np.array_equal(each.expression.tokens, output.expression.tokens) for each in others]
    front = [chosen, *(each for each, is_same in zip(others, same, strict=True) if not is_same)]
    searched = [*factors, *([] if alone is None else [alone])]
    shares = [1 / len(block.outputs)] * len(factors) + [1.0]
    name = names.output(block.name, place)
    return Finding(
        problem=names.label(block.name, place),
        target=f"{name} of {block.name}" if block.name else name,
        trial=0,
        front=ParetoFront(sorted(front, key=lambda each: each.complexity)),
        chosen=chosen,
        history=[] if alone is None else alone.history,
        seconds=sum(each.seconds * share for each, share in zip(searched, shares, strict=False)),
        evaluations=round(sum(each.evaluations * share for each, share in zip(searched, shares, strict=False))),
        stopped=searched[-1].stopped,
        train=rows[0],
        test=(test.inputs, test.outputs[:, place]),
        names=names.inputs(block.name, table.inputs.shape[1]),
    )


def words_of(found: DistillationReport, metrics: Mapping[str, float], findings: Sequence[Finding]) -> str:
    """What was decided, for the terminal.

    Args:
        found: report of the network.
        metrics: metrics of `callbacks.distilled_network.comparison.compared`.
        findings: what `equations_of_blocks` returned.
    """
    outputs = [output for block in found.blocks for output in block.outputs]
    lines = []
    for each, output in zip(findings, outputs, strict=True):
        lines.append(f"  {each.target} = {each.chosen.expression.infix(each.names)}")
        if output.constant_words:
            lines.append(f"      {output.constant_words}")
    for block in found.blocks:
        fate = (
            f"{block.size} nodes in its place"
            if block.replaced
            else f"stays a network: {found.loss_limit:.6g} is "
            f"allowed, and its equations alone make a loss of {block.loss_alone:.6g}"
        )
        lines.append(f"{block.name or 'the network'}: {fate}")
    losses = f"test loss {metrics['distill/loss']:.6g}; all equations {metrics['distill/loss_equations']:.6g}"
    if "distill/loss_tuned" in metrics:
        losses += f", and {metrics['distill/loss_tuned']:.6g} after their constants were trained"
    slower = 1 / metrics["distill/speed"]
    return "\n".join([*lines, f"{losses}; they take {slower:.3g} times as long as the blocks"])
