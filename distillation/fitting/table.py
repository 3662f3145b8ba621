"""The rows of a block, on which equations are searched and judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """The rows of a block, or of factors of its outputs.

    Attributes:
        inputs: rows to search on. `[rows, features]`
        outputs: outputs there. `[rows, outputs]`
        judge_inputs: rows of other batches, which judge. `[judge rows, features]`
        judge_outputs: outputs there. `[judge rows, outputs]`
        columns: features that each output depends on; None: any may be all. `[outputs]`
    """

    inputs: np.ndarray
    outputs: np.ndarray
    judge_inputs: np.ndarray
    judge_outputs: np.ndarray
    columns: tuple[tuple[int, ...], ...] | None = None

    def output(self, place: int) -> Table:
        """The table of one output."""
        columns = None if self.columns is None else (self.columns[place],)
        return Table(
            self.inputs,
            self.outputs[:, place : place + 1],
            self.judge_inputs,
            self.judge_outputs[:, place : place + 1],
            columns,
        )
