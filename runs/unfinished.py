"""The run that `resume=auto` goes on with."""

from __future__ import annotations

from pathlib import Path

from foundation.errors import UserError
from runs.directory import check_run_directory, is_claimed
from runs.record import PHASES, read_results

__all__ = ["newest_unfinished"]


def newest_unfinished(folder: str | Path) -> Path | None:
    """The run of a model that began last, of those that did not end and are not going on in another process.

    What counts is the record that a run keeps of itself. Files get new times when they are copied.

    Args:
        folder: Folder of the runs of a model.
    """
    runs = [path for path in Path(folder).glob("*") if path.is_dir()]
    began = {path: began for path in runs if (began := _began(path)) is not None}
    for run in sorted(began, key=lambda path: (began[path], path.name), reverse=True):
        if _can_go_on(run):
            return run.resolve()
    return None


def _began(run: Path) -> str | None:
    """When an unfinished run began, as its record has it, which sorts; None where it never began or has ended."""
    results = read_results(run)
    return str(results.get("began", "")) if results.get("phase") in PHASES else None


def _can_go_on(run: Path) -> bool:
    try:
        check_run_directory(run)
    except UserError:
        return False
    return not is_claimed(run)
