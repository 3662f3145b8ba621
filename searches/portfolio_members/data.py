"""The table of a portfolio: all rows, those to refine on, and those to search on."""

from __future__ import annotations

import numpy as np

from expressions.expression import Expression
from searches.common.regression_task import RegressionTask
from searches.common.whole_table import WholeTable
from searches.latent_space.tables import PreparedTable
from searches.portfolio_members.screening import relevant_columns
from searches.portfolio_members.settings import PortfolioSettings

__all__ = ["PortfolioData"]


class PortfolioData:
    """A table in the shapes that a search needs.

    Args:
        whole: every row, in the table's own units.
        settings: settings of the search.
        seed: random seed for the choice of rows.

    Attributes:
        whole: every row, in the table's own units.
        task: rows to refine on, in the table's own units.
        table: search rows of the columns shown, in ordinary units.
        shown_task: the same as a task.
    """

    def __init__(self, whole: WholeTable, settings: PortfolioSettings, seed: int) -> None:
        self.whole = whole
        self.task = task = whole.task(search_rows=settings.search_rows, seed=seed, rows=settings.fit_rows)
        columns = relevant_columns(task.search_inputs, task.search_target, settings.columns)
        self.table = PreparedTable.of_columns(task.search_inputs, task.search_target, columns)
        self.shown_task = RegressionTask(
            self.table.inputs,
            self.table.target,
            search_rows=len(self.table.target),
            seed=seed,
            weights=task.search_weights,
            node_nats=task.node_nats,
        )

    def units_of(self, equation: Expression) -> np.ndarray:
        """Which constants of an equation are the unit of a column: these keep their value. `[constants]` bool

        Args:
            equation: equation in the table's own units.
        """
        return np.isin(equation.constants, list(self.table.factors))
