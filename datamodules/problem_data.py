"""A problem of the catalogue as a LightningDataModule."""

from __future__ import annotations

from typing import Any

from datamodules.settings.tables import ProblemSettings
from datamodules.tables import problems
from datamodules.tables.problems import Problem
from datamodules.tables.table import Table
from datamodules.tabular import TableData

__all__ = ["ProblemData"]


class ProblemData(TableData):
    """Rows of a known formula, so that the equations found can be compared with `problem.truth`.

    `datamodules.tables.problems.draw_tables` draws the rows and says which of them have noise. Without
    `validation_rows`, `table("validation")` is `table("train")`: the published protocols set no rows aside, and
    without noise further rows do not improve the choice of an equation. With noise, or in a search for a network's
    output instead of the formula, few rows choose badly, so set `validation_rows`.

    Example:
        `python train.py data=problem data.problem=b6`

    Args:
        problem: A name of the catalogue (`b6`, `Nguyen-7`, `I.12.1`, …), or a `Problem` of your own.
        **options: Further settings by name, see `datamodules.settings.tables.ProblemSettings`.

    Raises:
        SettingsError: A setting is unknown or its value is not allowed.
        ProblemError: There is no such problem, or, in `setup`, no such rows of it.
    """

    settings: ProblemSettings

    def __init__(self, problem: str | Problem, **options: Any) -> None:
        name = problem if isinstance(problem, str) else problem.name
        settings = ProblemSettings.of({"problem": name, **options})
        super().__init__(settings)
        # Checkpoints hold hyperparameters and load with weights_only: names, and no problem.
        self.save_hyperparameters(settings.as_mapping(), ignore=[] if isinstance(problem, str) else ["problem"])
        self.problem = problems.problem(problem) if isinstance(problem, str) else problem

    def make_tables(self) -> dict[str, Table]:
        """Draws the rows."""
        return problems.draw_tables(self.problem, **self.settings.of_the_rows())
