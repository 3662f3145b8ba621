"""A problem of the catalogue as a LightningDataModule."""

from __future__ import annotations

from datamodules.tables import problems
from datamodules.tables.problems import Problem
from datamodules.tables.table import MAX_ROWS, Table
from datamodules.tabular import TableData

__all__ = ["ProblemData"]


class ProblemData(TableData):
    """Rows of a formula that is known, so that what is found can be compared with `problem.truth`.

    Which rows there are, and which of them have noise, is in `datamodules.tables.problems.draw_tables`. Unless
    `validation_rows` asks for rows of their own, `table("validation")` is `table("train")`: the published
    protocols set no rows aside, and without noise a small equation that fits them all is chosen no better by
    others. With noise, or where a network's output and not the formula is searched for, few rows choose badly:
    give `validation_rows`.

    Example:
        `python train.py data=problem data.problem=b6`

    Args:
        problem: A name of the catalogue (`b6`, `Nguyen-7`, `I.12.1`, …), or a `Problem` of your own.
        train_rows: Rows to search on; None: as published.
        validation_rows: Further rows to choose by, with the noise of the training rows; None: the training rows.
        test_rows: Rows to judge by, never with noise; None: as published.
        noise: Standard deviation of normal noise on the target.
        noise_level: The same as a share of the root mean square of the training target; at most one of the two.
        batch_size: Rows a batch.
        num_workers: Processes that cut batches; 0 is the fastest for a table in memory.
        seed: Seed of the rows, of the noise, and of the order of the training rows.
        max_rows: No part has more rows than this.

    Raises:
        ProblemError: There is no such problem, or, in `setup`, no such rows of it.
    """

    def __init__(
        self,
        problem: str | Problem,
        train_rows: int | None = None,
        validation_rows: int | None = None,
        test_rows: int | None = None,
        noise: float = 0.0,
        noise_level: float = 0.0,
        batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
        max_rows: int = MAX_ROWS,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        # Checkpoints hold hyperparameters and load with weights_only: names, and no problem.
        self.save_hyperparameters(ignore=[] if isinstance(problem, str) else ["problem"])
        self.problem = problems.problem(problem) if isinstance(problem, str) else problem
        self.train_rows = train_rows
        self.validation_rows = validation_rows
        self.test_rows = test_rows
        self.noise = noise
        self.noise_level = noise_level
        self.max_rows = max_rows

    def make_tables(self) -> dict[str, Table]:
        """Draws the rows."""
        return problems.draw_tables(
            self.problem,
            train_rows=self.train_rows,
            validation_rows=self.validation_rows,
            test_rows=self.test_rows,
            noise=self.noise,
            noise_level=self.noise_level,
            seed=self.seed,
            max_rows=self.max_rows,
        )
