"""The table of a portfolio: all rows, those to refine on, and those to search on."""

from __future__ import annotations

import numpy as np

from searches.common.regression_task import RegressionTask
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

    def __init__(self, whole: RegressionTask, settings: PortfolioSettings, seed: int) -> None:
        self.whole = whole
        self.task = self._reduced(settings, seed)
        task = self.task
        columns = relevant_columns(task.search_inputs, task.search_target, settings.columns)
        self.table = PreparedTable.of_columns(task.search_inputs, task.search_target, columns)
        self.shown_task = RegressionTask(
            self.table.inputs,
            self.table.target,
            search_rows=len(self.table.target),
            seed=seed,
            weights=task.search_weights,
        )

    def _reduced(self, settings: PortfolioSettings, seed: int) -> RegressionTask:
        whole = self.whole
        validation, weights = whole.validation, whole.validation_weights
        if validation is not None and len(validation[1]) > settings.fit_rows:
            kept = np.linspace(0, len(validation[1]) - 1, settings.fit_rows).round().astype(int)
            validation = validation[0][kept], validation[1][kept]
            weights = None if weights is None else weights[kept]
        return RegressionTask(
            whole.search_inputs,
            whole.search_target,
            validation=validation,
            search_rows=settings.search_rows,
            seed=seed,
            weights=whole.search_weights,
            validation_weights=weights,
            node_price=whole.node_price,
        )
