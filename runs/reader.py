"""Run directories on disk: complete, unfinished or torn. Free of torch, Lightning and matplotlib.

The files may come from a killed program or from another person, so the type of every field is checked, and
unusable fields are left out.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import FileError, MissingFileError, check_plain_folder, read_regular
from foundation.schema import FormatError
from foundation.settings import shown
from runs.directory import FOREIGN, ID_FILE
from runs.metrics_file import Curve, open_table, read_metrics
from runs.settings_file import read_old_words, read_settings
from runs.yaml_content import yaml_content

__all__ = ["FINISHED", "INTERRUPTED", "TORN", "UNFINISHED", "Run", "digits", "find_runs", "read_front", "read_run"]

FINISHED, UNFINISHED, INTERRUPTED, TORN = "finished", "unfinished", "interrupted", "torn"

_RESULTS, _CONFIG, _FRONT = "results.json", Path(".hydra") / "config.yaml", "equations.csv"
_BEGUN = (_RESULTS, "metrics.csv", "attempts", "checkpoints")  # of which a run that has begun has one
_NOT_RUNS = frozenset({"wandb", "attempts", "checkpoints", "plots", "search", ".hydra", ".git", "__pycache__"})
_NO_SETTINGS = (
    "model=",
    "data=",
    "data.problem=",
    "seed=",
    "hydra",
    "logger",
    "threads=",
    "resume=",
    "ckpt_path=",
)
_LARGEST_FILE = 64 << 20


@dataclass
class Run:
    """Content of one run directory.

    Attributes:
        path: Path of the directory.
        name: Name in a table: the path below the directory that was searched.
        state: State of the run: `finished`; `unfinished` where results.json is missing or says so; `interrupted`
            where Ctrl-C ended it; `torn` where results.json is not whole.
        problem: Reason why the run is torn, or its progress; otherwise empty.
        model: Name of the system, or empty where unknown; so for data and seed.
        data: Name of the data.
        seed: The seed, as text.
        wandb: Id of its W&B run, or empty.
        metrics: Finite numbers by flat name; of a run that is not finished, the last ones logged.
        equations: One mapping an equation, its keys as in results.json.
        curves: What was logged, by name: (epoch, value).
        settings: What its command line set beyond model, data and seed; read with the curves.
    """

    path: Path
    name: str
    state: str = UNFINISHED
    problem: str = ""
    model: str = ""
    data: str = ""
    seed: str = ""
    wandb: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    equations: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    settings: str = ""

    @property
    def plots(self) -> list[Path]:
        """Its PNG files, by name."""
        return sorted((self.path / "plots").glob("*.png"))


def find_runs(root: Path) -> Iterator[Path]:
    """Directories at or below `root` that hold a run, in the order of their names.

    One of a command that was refused, which earlier versions left behind, holds none.
    """
    try:
        if (root / _RESULTS).is_file() or (root / _CONFIG).is_file():
            if any((root / name).exists() for name in _BEGUN):
                yield root
            return  # what lies inside a run belongs to it
        below = sorted(Path(entry.path) for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for directory in below:
        if directory.name not in _NOT_RUNS:
            yield from find_runs(directory)


def read_run(path: Path, name: str = "", *, curves: bool = False) -> Run:
    """Reads a run directory.

    Args:
        path: A directory that `find_runs` found.
        name: Name of the run; empty: its path as given.
        curves: Also read the settings, and what a finished run has logged; that of others is read in any case,
            having nothing else.
    """
    run = Run(path, name or str(path))
    try:
        check_plain_folder(path, besides=FOREIGN)
    except FileError as error:  # nothing in it is read: it may lead anywhere
        run.state, run.problem = TORN, str(error)
        return run
    content = _results(run)
    if content is None:
        _describe(run)
    else:
        _take(run, content)
    if curves or run.state != FINISHED:
        run.curves = _logged(path)
    if curves:
        run.settings = _settings(path)
    if run.state != FINISHED:
        run.metrics = {metric: points[-1][1] for metric, points in run.curves.items()} | run.metrics
    return run


def read_front(path: Path) -> list[dict[str, str]]:
    """The whole rows of a run's equations.csv, as text; empty where there is none."""
    rows: list[dict[str, str]] = []
    try:
        with open_table(path / _FRONT, most=_LARGEST_FILE) as lines:
            for row in csv.DictReader(lines):
                if None not in row.values():  # a last row that was cut short
                    row.pop(None, None)  # type: ignore[call-overload]
                    rows.append(row)
    except (FileError, csv.Error):
        pass
    return rows


def _take(run: Run, content: dict[str, Any]) -> None:
    """Takes over what results.json says; it is there from the start of a run, whose last phase is `done`."""
    phase = _text(content.get("phase"))
    unfinished = INTERRUPTED if content.get("interrupted") is True else UNFINISHED
    run.state = FINISHED if phase in ("", "done") else unfinished
    run.problem = "" if run.state == FINISHED else f"in its {phase} phase"
    run.model, run.data, run.seed = (_text(content.get(key)) for key in ("model", "data", "seed"))
    run.wandb = _text(content.get("wandb_run_id"))
    run.metrics = {f"seconds/{key}": value for key, value in _numbers(content.get("seconds")) if value > 0}
    run.metrics |= dict(_numbers(content.get("metrics")))
    equations = content.get("equations")
    run.equations = [row for row in equations if isinstance(row, dict)] if isinstance(equations, list) else []


def _results(run: Run) -> dict[str, Any] | None:
    """The content of results.json; None, and the state set, where there is none or it is not whole."""
    file = run.path / _RESULTS
    try:
        content = json.loads(read_regular(file, most=_LARGEST_FILE))
    except MissingFileError:
        return None
    except (FileError, ValueError, RecursionError) as error:
        run.state, run.problem = TORN, f"{_RESULTS} is not whole ({str(error)[:80]})"
        return None
    if not isinstance(content, dict):
        run.state, run.problem = TORN, f"{_RESULTS} holds no results"
        return None
    return content


def _describe(run: Run) -> None:
    """Model, data and seed of a run without results, from what Hydra wrote at its start."""
    config = _yaml(run.path / _CONFIG)
    choices = _yaml(run.path / ".hydra" / "hydra.yaml")
    for key in ("hydra", "runtime", "choices"):
        part = choices.get(key)
        choices = part if isinstance(part, dict) else {}
    run.model, run.data = (_text(choices.get(key)) for key in ("model", "data"))
    run.seed = _text(config.get("seed"))
    with contextlib.suppress(FileError):
        run.wandb = read_regular(run.path / ID_FILE, most=100).decode(errors="replace").strip()[:64]


def _settings(path: Path) -> str:
    """The settings of a command line that make one run another experiment than the next."""
    words: list[str] = []
    try:
        stored = read_settings(path)
        words += [f"{key}={shown(value)}" for key, value in stored.values.items()]
        words += [f"~{key}" for key in stored.removed]
    except UserError:  # a run of an earlier version
        with contextlib.suppress(UserError):
            words = read_old_words(path)
    return " ".join(word for word in words if not word.lstrip("+~").startswith(_NO_SETTINGS))


def _yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping; empty where it is missing or torn."""
    content = _yaml_content(path)
    return content if isinstance(content, dict) else {}


def _yaml_content(path: Path) -> Any:
    """A YAML file's content; None where it is missing, torn or no file of settings."""
    try:
        return yaml_content(path)
    except (FileError, FormatError):
        return None


def _logged(path: Path) -> dict[str, Curve]:
    """All of a run's curves: of metrics.csv, or of each attempt's own where they have not been merged yet."""
    curves = read_metrics(path / "metrics.csv")
    if curves:
        return curves
    attempts = [file for file in path.glob("attempts/*/metrics.csv") if file.parent.name.isdecimal()]
    for file in sorted(attempts, key=lambda file: int(file.parent.name)):
        for name, points in read_metrics(file).items():
            curves.setdefault(name, []).extend(points)
    return curves


def _numbers(mapping: Any) -> Iterable[tuple[str, float]]:
    """The finite numbers of a mapping."""
    for name, value in mapping.items() if isinstance(mapping, dict) else ():
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                continue
            if math.isfinite(number):
                yield str(name), number


def _text(value: Any) -> str:
    """A word or a number as text; anything else is nothing."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def digits(value: float) -> str:
    """A finite number to five significant digits, or as many as tell it from 1: R2 is often 0.99999."""
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    if 0.999 < value < 1:
        return f"{value:.{min(15, 1 - math.floor(math.log10(1 - value)))}f}"
    return f"{value:.5g}"
