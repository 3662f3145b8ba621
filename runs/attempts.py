"""The attempts of a run and `metrics.csv`, which is merged from them.

Each attempt logs to a directory of its own (`attempts/0`, `attempts/1`, ...), because Lightning's CSVLogger
empties one that it is given again. A step that a resumed attempt repeated is kept from that attempt alone.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from foundation.files import FileError, read_regular, replace_file
from runs.metrics_file import LARGEST_TABLE, open_table

__all__ = ["ATTEMPTS", "METRICS", "begin_attempt", "merge_metrics"]

METRICS = "metrics.csv"
ATTEMPTS = "attempts"
FIRST_STEP = "first_step.txt"


def begin_attempt(run_dir: str | Path, first_step: int = 0) -> str:
    """Make the directory of the next attempt.

    Args:
        run_dir: Run directory.
        first_step: Optimiser step at which the attempt begins; what earlier attempts logged from there on is void.

    Returns:
        Name of the directory below `attempts/`.
    """
    folder = Path(run_dir) / ATTEMPTS
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name) for path in _attempts(folder)), default=-1)
    (folder / str(number)).mkdir()
    replace_file(folder / str(number) / FIRST_STEP, str(first_step))
    return str(number)


def merge_metrics(run_dir: str | Path) -> None:
    """Write `metrics.csv` from the attempts, each step from the last attempt that made it."""
    rows: list[dict[str, str]] = []
    columns: dict[str, None] = {}
    for attempt in _attempts(Path(run_dir) / ATTEMPTS):
        first = _first_step(attempt)
        rows = [row for row in rows if _step(row) < first]
        for row in _rows(attempt / METRICS):
            rows.append(row)
            columns.update(dict.fromkeys(row))
    if not rows:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sorted(columns), restval="")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(Path(run_dir) / METRICS, text.getvalue())


def _attempts(folder: Path) -> list[Path]:
    """Directories of the attempts, the first one first."""
    return sorted((path for path in folder.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))


def _first_step(attempt: Path) -> int:
    try:
        return int(read_regular(attempt / FIRST_STEP, most=30))
    except (FileError, ValueError):
        return 0


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of one attempt; a last one that was cut short is left out."""
    try:
        with open_table(path, most=LARGEST_TABLE) as lines:
            return [row for row in csv.DictReader(lines) if None not in row and None not in row.values()]
    except (FileError, csv.Error):
        return []


def _step(row: Mapping[str, str]) -> float:
    try:
        return float(row.get("step") or 0)
    except ValueError:
        return 0.0
