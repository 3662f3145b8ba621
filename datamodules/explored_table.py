"""Generated equations for a map to learn from, beside a table for its search to explain."""

from __future__ import annotations

from typing import Any

from datamodules.equations import Equations
from datamodules.tabular import TableData

__all__ = ["ExploredTable"]


class ExploredTable(Equations):
    """The data of a map whose search is to explain the target of a table.

    A map of equations learns from no table, so its batches are those of `Equations`, and the rows are for the
    search alone.

    Example:
        `python train.py model=cvae data=tabular data.path=houses.csv data.target=price`

    Args:
        explored: table, or problem, whose target is to be explained.
        **options: settings of the generated equations, see `datamodules.settings.equations.EquationsSettings`.
    """

    def __init__(self, explored: TableData, **options: Any) -> None:
        super().__init__(**options)
        self.explored = explored

    def prepare_data(self) -> None:
        """Prepare the equations and the table."""
        super().prepare_data()
        self.explored.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Read and divide the table."""
        self.explored.setup(stage)
