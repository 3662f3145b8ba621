"""What a distillation found: equations of the blocks of a network, and how well they stand in their place."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from distillation.blocks.equation_block import EquationBlock
from distillation.blocks.layout import Layout
from distillation.blocks.recording import called, named_blocks
from distillation.blocks.replacing import with_blocks
from distillation.choosing.sizes import shared_size
from distillation.fitting.constants import Evidence
from distillation.fitting.outputs import error_of
from distillation.parent.judge import copied
from distillation.stored.report_file import StoredBlock, StoredOutput, StoredReport, read_report, write_report
from expressions.complexity import complexity
from expressions.constant_intervals import ConstantIntervals
from expressions.expression import Expression
from foundation.errors import UserError

__all__ = ["BlockEquations", "DistillationReport", "OutputEquation"]

Table = list[dict[str, Any]]
"""Records with the same keys, as `pandas.DataFrame` takes them."""

_ROUNDING = 1e-4  # change of the loss that rounding may make, relative to its size
_MOST_SHOWN = 10  # constants of an equation whose intervals a reader is shown


@dataclass(frozen=True)
class OutputEquation:
    """The equation of one output of a block.

    Attributes:
        expression: equation of the block's inputs, `x0` and so on in the order of its tensors.
        complexity: nodes of its SymPy tree.
        r2: R2 to the block's output on batches that no search has seen.
        law: probability that it is the law of the target, of an output of the whole model that has one, see
            `distillation.choosing.law`; None: nothing is known.
        front: the other equations of the output, from short and rough to long and accurate; empty for a report
            from a folder.
        intervals: 95 % intervals of the constants before they were rounded, see `DistillationReport.read_back`;
            None: nothing is known.
    """

    expression: Expression
    complexity: int
    r2: float
    law: float | None = None
    front: tuple[tuple[Expression, int, float], ...] = field(default=(), repr=False)
    intervals: ConstantIntervals | None = field(default=None, repr=False)

    @property
    def words(self) -> str:
        """R2, and the probability of a law where it is known."""
        return f"R2 {self.r2:.6f}" + ("" if self.law is None else f", the law with probability {self.law:.2f}")

    @property
    def numbers(self) -> list[tuple[float, float, float]]:
        """Constants before they were rounded, with the ends of their intervals; empty where nothing is known."""
        return [] if self.intervals is None else self.intervals.numbers

    @property
    def constant_words(self) -> str:
        """The constants with their intervals; empty where nothing is known, or there are very many."""
        if self.intervals is None or len(self.intervals.constants) > _MOST_SHOWN:
            return ""
        return f"{', '.join(self.intervals.texts)}    (constants, {100 * self.intervals.level:.0f} %)"


@dataclass(frozen=True)
class BlockEquations:
    """The equations of a block.

    Attributes:
        name: name of the block in the model, empty for all of it.
        layout: shapes of the tensors of a call.
        outputs: equation of every output.
        replaced: whether they stand in the place of the block; else the block stays a network.
        loss_alone: lowest loss of the parent with equations of this block alone.
        size: number of different nodes of all equations together.
        dtype: type of the block's values.
    """

    name: str
    layout: Layout
    outputs: tuple[OutputEquation, ...]
    replaced: bool
    loss_alone: float
    size: int
    dtype: torch.dtype = torch.float32

    def module(self) -> EquationBlock:
        """The equations as a module that is called as the block is; its constants are parameters."""
        return EquationBlock([each.expression for each in self.outputs], self.layout, self.dtype)


@dataclass(frozen=True)
class DistillationReport:
    """Equations of the blocks of a network.

    Attributes:
        blocks: equations of every block.
        loss_before: loss of the network on batches that no search has seen.
        loss_after: the same with equations in the place of blocks.
        loss_limit: largest loss that was allowed.
        loss_words: description of the loss.
        seconds: time by the clock.
        notes: one sentence for what is not as it was asked for.
        module: copy of the model whose blocks are equations; None for a report from a folder, see `apply`.
        evidence: loss and activations by which constants are read back; None for a report from a folder.
    """

    blocks: tuple[BlockEquations, ...]
    loss_before: float
    loss_after: float
    loss_limit: float
    loss_words: str
    seconds: float
    notes: tuple[str, ...] = ()
    module: nn.Module | None = field(default=None, repr=False, compare=False)
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def table(self) -> Table:
        """One record an output: block, output, equation, constants with the ends of their 95 % intervals,
        complexity, R2, probability of being the law of the targets, and the losses of the parent.

        The equation's own constants are rounded as far as the loss allows; `constants` are those before, with the
        digits that the intervals resolve. Both lists are empty where nothing is known, and ends are infinite where
        any other constant would do.

        `loss_after` is that with all blocks that are replaced; of a block that stays a network, it is that with
        this block's equations alone: by so much they miss.
        """
        return [
            {
                "block": block.name,
                "output": number,
                "equation": output.expression.infix(),
                "constants": [row[0] for row in output.numbers],
                "intervals": [list(row[1:]) for row in output.numbers],
                "complexity": output.complexity,
                "r2": output.r2,
                "p_law": output.law,
                "replaced": block.replaced,
                "loss_before": self.loss_before,
                "loss_after": self.loss_after if block.replaced else block.loss_alone,
            }
            for block in self.blocks
            for number, output in enumerate(block.outputs)
        ]

    def read_back(self, *, tolerance: float = _ROUNDING, seconds: float = math.inf) -> Self:
        """The report of the constants that `module` has now, say after `modules.fine_tuning.fine_tune`.

        Constants get 95 % intervals from the activations of their block, and are then rounded, in `module` itself,
        as far as the parent's loss allows. R2 and the loss are those of the rounded ones. `distill` has done this
        once.

        Args:
            tolerance: relative change of the loss that rounding may make; it never passes `loss_limit`.
            seconds: time after which no further constant is looked at by itself.

        Raises:
            UserError: the report is from a folder, or a constant of the module is not finite.
        """
        if self.evidence is None or self.module is None:
            raise UserError(
                "a report from a folder has no data to read constants back by: use the one that distill returned"
            )
        begun = time.monotonic()
        exact = {block.name: self._present(block) for block in self.blocks}
        intervals = self.evidence.intervals(exact, seconds=0.5 * seconds)
        loss = self.loss_after
        if any(block.replaced for block in self.blocks):
            left = seconds - (time.monotonic() - begun)
            loss = self.evidence.rounded(self.module, tolerance=tolerance, largest=self.loss_limit, seconds=left)
        blocks = tuple(self._read(block, exact[block.name], intervals[block.name]) for block in self.blocks)
        return replace(self, blocks=blocks, loss_after=loss)

    def _read(
        self, block: BlockEquations, exact: Sequence[Expression], intervals: Sequence[ConstantIntervals | None]
    ) -> BlockEquations:
        """A block with the constants that its equations have now.

        Args:
            block: block as it was.
            exact: its equations before rounding.
            intervals: intervals of their constants.
        """
        assert self.evidence is not None
        there, rows = self._equations_of(block), self.evidence.judging[block.name]
        equations = exact if there is None else there.equations()
        outputs = [
            replace(
                output,
                expression=equation,
                complexity=complexity(equation),
                r2=1.0 - error_of(rows.outputs[:, place], equation, rows.inputs),
                intervals=known,
            )
            for place, (output, equation, known) in enumerate(
                zip(block.outputs, equations, intervals, strict=True)
            )
        ]
        return replace(block, outputs=tuple(outputs), size=shared_size(equations))

    def apply(self, model: nn.Module) -> nn.Module:
        """A copy of a model with equations in the place of those blocks that are replaced.

        Args:
            model: model with blocks of these names, say with other weights.

        Raises:
            UserError: it has no such block, or cannot be copied.
        """
        modules: dict[str, nn.Module] = {block.name: block.module() for block in self.blocks if block.replaced}
        if not modules:
            return copied(model)
        network = copied(model)
        named_blocks(network, None if list(modules) == [""] else list(modules))
        device = next((each.device for each in network.parameters()), torch.device("cpu"))
        return with_blocks(network, {name: each.to(device) for name, each in modules.items()})

    def save(self, folder: str | Path) -> None:
        """Write the report to a folder: `distillation.json` with the equations, `constants.safetensors` with their
        constants, those of `module` as they are now.

        Args:
            folder: folder that is made where there is none.

        Raises:
            UserError: a constant of the module is not finite.
            OSError: the folder cannot be written.
        """
        write_report(folder, self._stored())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The report that `save` wrote. It is read as data: nothing in the folder is run.

        Args:
            folder: folder that `save` wrote.

        Raises:
            UserError: there is no report, or a file is damaged.
        """
        stored = read_report(folder)
        blocks = tuple(
            BlockEquations(
                name=block.name,
                layout=Layout(block.inputs, block.shapes, block.container),
                outputs=tuple(
                    OutputEquation(each.expression, each.complexity, each.r2, each.law, intervals=each.intervals)
                    for each in block.outputs
                ),
                replaced=block.replaced,
                loss_alone=block.loss_alone,
                size=block.size,
                dtype=getattr(torch, block.dtype),
            )
            for block in stored.blocks
        )
        return cls(
            blocks=blocks,
            loss_before=stored.loss_before,
            loss_after=stored.loss_after,
            loss_limit=stored.loss_limit,
            loss_words=stored.loss_words,
            seconds=stored.seconds,
            notes=stored.notes,
        )

    def _stored(self) -> StoredReport:
        return StoredReport(
            blocks=tuple(self._stored_block(block) for block in self.blocks),
            loss_before=self.loss_before,
            loss_after=self.loss_after,
            loss_limit=self.loss_limit,
            loss_words=self.loss_words,
            seconds=self.seconds,
            notes=self.notes,
        )

    def _stored_block(self, block: BlockEquations) -> StoredBlock:
        present = self._present(block)
        return StoredBlock(
            name=block.name,
            inputs=block.layout.inputs,
            shapes=block.layout.outputs,
            container=block.layout.container,
            outputs=tuple(
                StoredOutput(
                    expression,
                    output.complexity,
                    output.r2,
                    output.law,
                    output.intervals if expression == output.expression else None,
                )
                for expression, output in zip(present, block.outputs, strict=True)
            ),
            replaced=block.replaced,
            loss_alone=block.loss_alone,
            size=block.size,
            dtype=str(block.dtype).removeprefix("torch."),
        )

    def _present(self, block: BlockEquations) -> Sequence[Expression]:
        """The equations with the constants that the module has now; those that did not change keep all digits."""
        found = [each.expression for each in block.outputs]
        there = self._equations_of(block)
        if there is None:
            return found
        begun = block.module().equations()
        return [
            own if now == first else now for own, first, now in zip(found, begun, there.equations(), strict=True)
        ]

    def _equations_of(self, block: BlockEquations) -> EquationBlock | None:
        """The equations in the place of a block, whose constants may have learned; None where there are none."""
        if self.module is None or not block.replaced:
            return None
        there = self.module.get_submodule(block.name)
        return there if isinstance(there, EquationBlock) else None

    def __str__(self) -> str:
        return self.text()

    def text(self, names: Sequence[str] | None = None) -> str:
        """The report for a reader.

        Args:
            names: names of the inputs of the whole model; None: x0, x1 and so on.
        """
        lines = [f"{self.loss_words}: {self.loss_before:.6g} before, {self.loss_after:.6g} with equations"]
        for block in self.blocks:
            fate = (
                f"{block.size} nodes in its place"
                if block.replaced
                else (
                    f"stays a network: with its equations the loss is {block.loss_alone:.6g}, and at most "
                    f"{self.loss_limit:.6g} is allowed"
                )
            )
            lines.append(f"{called(block.name)}: {fate}")
            for number, output in enumerate(block.outputs):
                equation = output.expression.infix(None if block.name else names)
                lines.append(f"  y{number} = {equation}    ({output.words})")
                if output.constant_words:
                    lines.append(f"       {output.constant_words}")
        return "\n".join([*lines, *self.notes])
