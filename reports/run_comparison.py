"""The comparison of runs: which are there, in what order, and as a table on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from foundation.errors import UserError, near
from foundation.terminal import printable
from runs.interruption import how_to_go_on
from runs.metrics_file import losses
from runs.reader import FINISHED, INTERRUPTED, TORN, Run, digits, find_runs, read_run

__all__ = [
    "COMMON",
    "STYLES",
    "best",
    "collect",
    "columns",
    "lower_is_better",
    "order",
    "remark",
    "terminal_table",
]

COMMON = (
    "test/r2_median",
    "test/recovered_rate",
    "test/accuracy_rate",
    "search/complexity_median",
    "search/seconds",
    "search/evaluations",
    "seconds/fit",
)
"""The metrics that mean the same for every system, in the order of the columns."""
LOGS = "logs"

_LOWER_IS_BETTER = ("1-r2", "mse", "mae", "loss", "entropy", "seconds", "evaluations", "complexity", "error")
_HIGHER_IS_BETTER = ("r2", "rate", "accuracy", "match", "recovered", "active_units")
STYLES = {FINISHED: "green", TORN: "red"}


def collect(paths: Sequence[str | Path], *, curves: bool = False) -> list[Run]:
    """Reads the runs at or below the given directories.

    Args:
        paths: Run directories, or directories above some; none: `logs/`.
        curves: Also read what finished runs have logged.

    Raises:
        UserError: A path is no directory, or there is no run in it.
    """
    runs: dict[Path, Run] = {}
    for path in [Path(path) for path in paths] or [Path(LOGS)]:
        if not path.is_dir():
            raise UserError(
                f"there is no directory {str(path)!r}: give a run directory, or train one (python train.py)."
            )
        found = list(find_runs(path))
        if not found:
            raise UserError(
                f"{str(path)!r} holds no run (no results.json and no .hydra/config.yaml at any depth): "
                "give a run directory, or train one (python train.py)."
            )
        for directory in found:
            below = directory.relative_to(path)
            name = path.resolve().name if directory == path else str(below)
            runs.setdefault(directory.resolve(), _read(directory, name, curves))
    return list(runs.values())


def _read(directory: Path, name: str, curves: bool) -> Run:
    """A run; one that cannot be read is a line among the others, with the reason."""
    try:
        return read_run(directory, name, curves=curves)
    except Exception as error:  # whatever a torn or a strange directory makes of it
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Run(directory, name, state=TORN, problem=f"cannot be read ({reason:.200})")


def lower_is_better(metric: str) -> bool | None:
    """Whether less of a metric is better; None where its name does not tell."""
    last = metric.lower()
    if last.endswith("per_second"):
        return False
    if any(word in last for word in _LOWER_IS_BETTER):
        return True
    return False if any(word in last for word in _HIGHER_IS_BETTER) else None


def order(runs: Sequence[Run], metric: str | None = None, ascending: bool = False) -> list[Run]:
    """Sorts runs by a metric, best first; those without it come last, in the order of their names.

    Args:
        runs: The runs.
        metric: Any metric that one of them has; None: `test/r2_median` where there is one.
        ascending: Smallest first, whichever is better.

    Raises:
        UserError: No run has this metric.
    """
    known = {name for run in runs for name in run.metrics}
    if metric is None:
        metric = COMMON[0]
    elif metric not in known:
        raise UserError(f"no run has a metric {metric!r}: {near(metric, known)}")
    sign = 1 if ascending or lower_is_better(metric) else -1
    return sorted(runs, key=lambda run: (metric not in run.metrics, sign * run.metrics.get(metric, 0.0), run.name))


def columns(runs: Sequence[Run], metric: str | None = None) -> list[str]:
    """The common metrics that some run has, and the one that was asked for."""
    shown = [name for name in COMMON if any(name in run.metrics for run in runs)]
    if not shown:  # nothing finished yet: the losses that most runs have logged
        names = sorted({name for run in runs for name in run.metrics})
        shown = sorted(names, key=lambda name: -sum(name in run.metrics for run in runs))[:5]
    return shown if metric is None or metric in shown else [*shown, metric]


def best(runs: Iterable[Run], metric: str) -> float | None:
    """The best value of a metric among finished runs; None where they do not differ, or better is unknown."""
    values = [run.metrics[metric] for run in runs if run.state == FINISHED and metric in run.metrics]
    lower = lower_is_better(metric)
    if lower is None or len(set(values)) < 2:
        return None
    return min(values) if lower else max(values)


def number(value: float | None) -> str:
    """A number as a table shows it."""
    return "" if value is None else digits(value)


def terminal_table(runs: Sequence[Run], metrics: Sequence[str]) -> Table:
    """The comparison for a terminal."""
    table = Table(title=f"{len(runs)} run{'s' * (len(runs) != 1)}", title_justify="left", header_style="bold")
    for heading in ("run", "model", "data", "seed", "state"):
        table.add_column(heading, overflow="fold", ratio=3 if heading == "run" else None)
    for metric in metrics:
        table.add_column(Text(printable(metric).replace("/", "/\n", 1)), justify="right")
    marks = {metric: best(runs, metric) for metric in metrics}
    for run in runs:
        cells = [Text(printable(text)) for text in (run.name, run.model, run.data, run.seed)]
        cells.append(Text(run.state, style=STYLES.get(run.state, "yellow")))
        for metric in metrics:
            value = run.metrics.get(metric)
            marked = value is not None and value == marks[metric] and run.state == FINISHED
            cells.append(Text(f"{number(value)}{' *' if marked else ''}", style="bold green" if marked else ""))
        table.add_row(*cells)
    if any(value is not None for value in marks.values()):
        table.caption = "* the best of its column"
        table.caption_justify = "left"
    return table


def remark(run: Run) -> str:
    """What is known of a run that is not finished: why, how far it came, its last values, and how it goes on."""
    reach = max((points[-1][0] for points in run.curves.values()), default=None)
    shown = losses(run.curves) or run.curves
    last = [f"{name} {number(points[-1][1])}" for name, points in list(shown.items())[:4]]
    parts = [run.problem] if run.problem else []
    parts.append("nothing was logged yet" if reach is None else f"epoch {number(reach)}: {', '.join(last)}")
    if run.state == INTERRUPTED:
        parts.append(how_to_go_on(run.path))
    return f"{run.name} ({run.state}): {'; '.join(parts)}"
