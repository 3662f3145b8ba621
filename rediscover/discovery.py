"""From a table to the formula of one of its columns, in one call; and predictions of that formula."""

from __future__ import annotations

import csv
import io
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.tables.table import Table, check_table, every_row
from expressions.expression import Expression
from expressions.measurements import Measurements
from expressions.parsing import ParseError, parse
from foundation.errors import UserError, near
from foundation.files import replace_file
from foundation.folders import check_folder
from foundation.machine import cores
from foundation.settings import processes_rule
from rediscover.fitting import explain
from reports.baselines import LEAST_HELD_OUT, GradientBoosting, quick_scores
from reports.discovery import GRADIENT_BOOSTING, Discovery, Score, read, write
from reports.discovery_parts.intervals import front_intervals
from reports.polynomial_baselines import MOST_ROWS
from searches.common.shifted_columns import ShiftedColumns
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.law_probability import law_probability
from searches.pareto_front import pick
from searches.portfolio import LOSSES, METHODS, PortfolioSettings, Progress
from searches.portfolio_members.robust import outlying_weights
from searches.search_result import SearchResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Discovery", "discover", "fresh_folder", "load", "predict", "write_values"]

LEAST_ROWS = 5
"""Rows below which nothing can be guessed."""
LEAST_SECONDS = 2.0
"""Shortest budget: imports, reading and writing take their part of it."""
_HELD_OUT_SHARE = 0.25
_WRITING_SECONDS = 0.6  # for the intervals, the files and the page
_CELLS_A_SECOND = 5e7  # cells of a table, scored at the end for some twenty equations
_DEVIATIONS = 4.0  # of the errors' size from the given one, beyond which it is no chance
_BOOSTED_SECONDS = 5.0  # budget below which gradient boosting would take too much of it


def discover(
    table: str | Path | pd.DataFrame,
    target: str,
    features: Sequence[str] | None = None,
    *,
    sigma: str | None = None,
    seconds: float = 30.0,
    out: str | Path | None = None,
    method: str = "auto",
    operators: Sequence[str] | None = None,
    guesses: Sequence[str] = (),
    loss: str = "squares",
    seed: int = 0,
    jobs: int | None = None,
    begun: float | None = None,
    on_table: Callable[[Table], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Discovery:
    """Search for the formula of a column.

    A quarter of the rows, where there are at least 160, is held out: it judges the formula, and nothing else sees
    it. Ctrl-C ends the search at once with what was found.

    Example:
        ```python
        found = discover("gas.csv", "pressure", seconds=10)
        print(found.chosen.expression.infix(found.names))
        ```

    Args:
        table: file (CSV, TSV, white space, Parquet, Excel, `.gz`), `-` for standard input, `sklearn:NAME`, or a
            DataFrame.
        target: name of the column to explain, as it stands in the header.
        features: names of the columns to explain it by; None: all others.
        sigma: name of the column of the target's standard deviations, in the target's unit. They are taken as they
            are: intervals are as wide as they say, whatever the residuals say. None: all rows count alike, and
            the residuals tell how large errors are.
        seconds: budget by the clock, everything included.
        out: folder for the results; None: nothing is written.
        method: `auto` for all searches together, or the name of one of them.
        operators: names of the operators that the formula may hold; None: the default ones.
        guesses: formulas to start from, in the names of the columns.
        loss: `squares`, or `huber` for a table with outliers, see `PortfolioSettings`.
        seed: random seed.
        jobs: number of processes; None: as many as there are cores.
        begun: time by `time.perf_counter` from which on the seconds count; None: now.
        on_table: function that is called once the table is read.
        on_progress: function that is called some five times a second while the search runs.

    Returns:
        The front, the picked formula, its rows and scores.

    Raises:
        foundation.errors.UserError: the table, a name, a budget or a setting cannot be used.
    """
    begun = time.perf_counter() if begun is None else begun
    settings = _settings(seconds, method, operators, loss)
    if not seconds >= LEAST_SECONDS:
        raise UserError(f"seconds={seconds:g} is too short: give at least {LEAST_SECONDS:g}.")
    if jobs is not None and not processes_rule().allows(jobs):
        raise UserError(f"jobs={jobs} is not allowed: it must be {processes_rule().words}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"seed={seed} is not allowed: it must be a whole number, at least 0.")
    if out is not None:
        check_folder("out", str(out))
    read_table = check_table(table, target, features, sigma=sigma, min_rows=LEAST_ROWS)
    lost = ShiftedColumns.of(read_table.inputs)
    read_table = replace(read_table, notes=(*read_table.notes, *lost.notes(read_table.feature_names)))
    seeds = [_guess(guess, read_table) for guess in guesses]
    if on_table is not None:
        on_table(read_table)
    train, held_out = _split(read_table, seed)
    ends = begun + seconds - _WRITING_SECONDS - read_table.inputs.size / _CELLS_A_SECOND
    boosting = _boosting(train, held_out, seconds)
    try:
        left = max(ends - time.perf_counter(), 0.1)
        result = _explained(train, settings, left, seed, seeds, jobs or cores(), on_progress)
        chosen = pick(result.front)
        scores = quick_scores(chosen, _rows(train), None if held_out is None else _rows(held_out))
        boosted = None if boosting is None else boosting.result(ends - time.perf_counter())
    finally:
        if boosting is not None:
            boosting.stop()
    if boosted is not None:
        scores[GRADIENT_BOOSTING] = boosted
    measured = train if loss == "squares" else _without_outliers(train, result)
    found = _discovery(read_table, train, held_out, result, scores, seed, measured)
    if out is not None:
        write(out, found)
    return found


def _settings(seconds: float, method: str, operators: Sequence[str] | None, loss: str) -> PortfolioSettings:
    allowed = ("auto", *METHODS)
    if method not in allowed:
        raise UserError(f"method={method!r} is unknown; {near(method, allowed)}")
    if loss not in LOSSES:
        raise UserError(f"loss={loss!r} is unknown; {near(loss, LOSSES)}")
    return PortfolioSettings(
        methods=METHODS if method == "auto" else (method,),
        operators=DEFAULT_OPERATORS if operators is None else tuple(operators),
        loss=loss,
        seconds=seconds,
    )


def _guess(text: str, table: Table) -> Expression:
    try:
        return parse(text, list(table.feature_names))
    except ParseError as error:
        raise UserError(f"the guess {text!r} cannot be read: {error}") from error


def _split(table: Table, seed: int) -> tuple[Table, Table | None]:
    """Rows to explain, and rows to judge by; none of these where the table has few."""
    rows = len(table)
    held = round(_HELD_OUT_SHARE * rows)
    if held < LEAST_HELD_OUT:
        return table, None
    order = np.random.default_rng([seed, rows, 1]).permutation(rows)
    train, held_out = (table.take(np.sort(part)) for part in np.split(order, [rows - held]))
    assert train.target is not None
    return (table, None) if train.target.min() == train.target.max() else (train, held_out)


def _rows(table: Table) -> tuple[np.ndarray, np.ndarray]:
    assert table.target is not None
    return table.inputs, table.target


def _boosting(train: Table, held_out: Table | None, seconds: float) -> GradientBoosting | None:
    if held_out is None or seconds < _BOOSTED_SECONDS:
        return None
    return GradientBoosting(_rows(train), _rows(held_out))


def _explained(
    table: Table,
    settings: PortfolioSettings,
    seconds: float,
    seed: int,
    seeds: Sequence[Expression],
    workers: int,
    on_progress: Callable[[Progress], None] | None,
) -> SearchResult:
    try:
        return explain(
            *_rows(table),
            replace(settings, seconds=seconds),
            seed=seed,
            weights=None if table.sigma is None else table.sigma**-2.0,
            seeds=seeds,
            workers=workers,
            on_progress=on_progress,
        )
    except ValueError as error:  # of the data: settings and names are checked by now
        raise UserError(f"{table.label} cannot be searched: {error}.") from error


def _discovery(
    table: Table,
    train: Table,
    held_out: Table | None,
    result: SearchResult,
    scores: dict[str, Score],
    seed: int,
    measured: Table,
) -> Discovery:
    assert table.target_name is not None
    assert table.target_column is not None
    measurements = Measurements.of(*_rows(measured), sigma=measured.sigma)
    intervals = front_intervals(result.front, result.best, measurements)
    trust = law_probability(result.front, result.best, measurements)
    found = Discovery(
        source=table.label,
        target=table.target_column,
        features=table.columns,
        target_name=table.target_name,
        names=table.feature_names,
        front=result.front,
        chosen=result.best,
        scores=scores,
        train=_rows(train),
        held_out=None if held_out is None else _rows(held_out),
        rows=len(table),
        seconds=result.seconds,
        evaluations=result.evaluations,
        stopped=result.stopped,
        seed=seed,
        notes=(*table.notes, *_of_search(result, table), *_notes_of_scores(scores, len(train))),
        intervals=intervals,
        trust=trust,
    )
    return replace(found, notes=(*found.notes, *_notes_of_errors(found, len(train))))


def _without_outliers(table: Table, result: SearchResult) -> Table:
    """The rows by which intervals are told: gross outliers, which counted nothing, are no noise."""
    weights = None if table.sigma is None else table.sigma**-2.0
    kept = outlying_weights(result.best.expression, *_rows(table), weights) > 0.0
    return table.take(np.flatnonzero(kept))


def _of_search(result: SearchResult, table: Table) -> tuple[str, ...]:
    """Notes of a search, but for those that are said of the table, with its names."""
    said = ShiftedColumns.of(table.inputs).notes()
    return tuple(note for note in result.notes if note not in said)


def _notes_of_scores(scores: dict[str, Score], rows: int) -> tuple[str, ...]:
    """What a reader must know of the other models."""
    if len(scores) < 2 or rows <= MOST_ROWS:
        return ()
    return (f"the other models were fitted to {MOST_ROWS:,} of the {rows:,} rows, drawn at random",)


def _notes_of_errors(found: Discovery, rows: int) -> tuple[str, ...]:
    """What a reader must know where errors are not those of the column of standard deviations, or not alike."""
    intervals = found.intervals_of(found.chosen)
    if intervals is not None and intervals.unequal:
        return ("errors grow or shrink with the formula's value: the intervals of its constants allow for that",)
    excess = math.nan if intervals is None else intervals.excess
    by_chance = 1.0 + _DEVIATIONS / math.sqrt(2.0 * rows)
    if excess > by_chance:
        told = "the formula is not the law, or the intervals of its constants are that much too narrow"
    elif excess < 1.0 / by_chance:
        told = "the intervals of its constants are that much too wide"
    else:  # as they were said to be, or nothing was said
        return ()
    return (f"errors are {excess:.3g} times the given standard deviations: {told}",)


def load(directory: str | Path) -> Discovery:
    """Read what `discover(..., out=directory)` has written. The files may come from a stranger: no code is run.

    Args:
        directory: folder of the results.

    Returns:
        The discovery without its rows.

    Raises:
        foundation.errors.UserError: the folder holds no discovery.
    """
    return read(directory)


def predict(found: Discovery, table: str | Path | pd.DataFrame, *, interval: bool = False) -> np.ndarray:
    """Values of a formula on the rows of a table, whose columns are found by their names.

    Args:
        found: discovery whose picked formula is evaluated.
        table: file, `-`, `sklearn:NAME` or DataFrame, as for `discover`.
        interval: whether to give the ends of the interval, too, in which a new measurement lies with 95 %
            confidence, if the formula is the law.

    Returns:
        Value of every row, NaN where a cell is missing. `[rows]`, or `[rows, 3]` with both ends behind it

    Raises:
        foundation.errors.UserError: the table lacks a column that the formula holds, or cannot be read, or the
            interval is not known.
    """
    intervals = found.intervals_of(found.chosen) if interval else None
    if interval and intervals is None:
        raise UserError(
            "no interval is known of this formula, which is exact or has as many constants as rows: leave it out."
        )
    used = found.chosen.expression.variables
    names = [found.features[place] for place in used] or list(found.features[:1])
    rows = every_row(table, names)
    inputs = np.zeros((len(rows), len(found.features)))
    inputs[:, list(used)] = rows[:, : len(used)]
    with np.errstate(all="ignore"):
        values = np.array(np.broadcast_to(found.chosen.expression(inputs), len(rows)))
        if intervals is None:
            return values
        half = intervals.measurement(found.chosen.expression, inputs)
        return np.stack([values, values - half, values + half], axis=1)


def fresh_folder(table: str | Path, target: str) -> Path:
    """A folder for results that does not exist yet, named after the table and the target.

    Args:
        table: source of the table.
        target: name of the target.
    """
    stem = Path(str(table).removeprefix("sklearn:")).name.split(".")[0]
    name = "_".join(re.sub(r"\W+", "_", part).strip("_") or "table" for part in (stem, target))[:80]
    folders = (Path("discoveries") / (name if number == 1 else f"{name}_{number}") for number in count(1))
    return next(folder for folder in folders if not folder.exists())


def write_values(values: np.ndarray, target: str, file: str | Path | None) -> None:
    """Write values as a CSV file of one column, or of three with the ends of their intervals.

    Args:
        values: values to write. `[rows]` or `[rows, 3]`
        target: name of the column.
        file: file to write; None: standard output.

    Raises:
        foundation.errors.UserError: the file cannot be written.
    """
    text = io.StringIO()
    columns = values.reshape(len(values), -1)
    names = [target, f"{target}_low", f"{target}_high"]
    csv.writer(text, lineterminator="\n").writerow(names[: columns.shape[1]])
    text.writelines(",".join(map(repr, row)) + "\n" for row in columns.tolist())
    if file is None:
        sys.stdout.write(text.getvalue())
        return
    try:
        replace_file(Path(file), text.getvalue().encode())
    except OSError as error:
        raise UserError(
            f"{str(file)!r} cannot be written ({error.strerror or type(error).__name__}): give another file."
        ) from error
