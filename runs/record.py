"""The results of a run so far: `results.json`, rewritten whole after every change.

A reader finds a complete file at any time:

    {"schema": 1, "phase": "fit" | "test" | "search" | "done", "interrupted": did Ctrl-C end the last attempt,
     "began": first time that the run began (UTC, ISO 8601), "model", "data", "seed", "wandb_run_id",
     "seconds": {"fit", "test", "search"}, "metrics": {flat name: number or null}, "equations": [{...}]}

All results are added through functions of this module: `record_metrics(run_dir, {...})`,
`record_equations(run_dir, [...])`. Each reads the file, adds its part and writes it; only rank 0 of a distributed
run may call them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foundation.files import FileError, read_regular, replace_file

__all__ = ["begin_results", "read_results", "record_equations", "record_metrics", "record_progress"]

SCHEMA = 1
RESULTS = "results.json"
LARGEST = 64 << 20  # bytes
_KINDS: dict[str, type] = {"seconds": dict, "metrics": dict, "equations": list}
PHASES = ("fit", "test", "search")


def begin_results(run_dir: str | Path, facts: Mapping[str, Any]) -> None:
    """Write the results of a run that begins; one that goes on keeps what it had.

    Args:
        run_dir: Run directory, which exists.
        facts: Facts known from the start: model, data, seed, wandb_run_id.
    """
    fresh: dict[str, Any] = {"schema": SCHEMA, "phase": PHASES[0], "interrupted": False}
    fresh |= {"began": datetime.now(UTC).isoformat(timespec="microseconds"), **facts}
    fresh |= {"seconds": dict.fromkeys(PHASES, 0.0), "metrics": {}, "equations": []}
    _write(run_dir, fresh | read_results(run_dir) | dict(facts) | {"interrupted": False})


def read_results(run_dir: str | Path) -> dict[str, Any]:
    """The results of a run directory; empty where there are none or where the file cannot be read as JSON."""
    try:
        results = json.loads(read_regular(Path(run_dir) / RESULTS, most=LARGEST))
    except (FileError, ValueError, RecursionError):
        return {}
    if not isinstance(results, dict):
        return {}
    return {key: value for key, value in results.items() if isinstance(value, _KINDS.get(key, object))}


def record_metrics(run_dir: str | Path, metrics: Mapping[str, Any]) -> None:
    """Add flat metrics, such as `search/seconds`; the ones of the same name are replaced.

    Args:
        run_dir: Run directory.
        metrics: Number (or tensor of one element) by flat name; what is not finite is written as null.
    """
    results = read_results(run_dir)
    results.setdefault("metrics", {}).update({name: _number(value) for name, value in metrics.items()})
    _write(run_dir, results)


def record_equations(run_dir: str | Path, equations: Sequence[Mapping[str, Any]]) -> None:
    """Put the equations of a search in the place of those that were there.

    Args:
        run_dir: Run directory.
        equations: Mapping for each equation with the keys problem, target, infix, latex, complexity, train_r2,
            test_r2, test_mse, recovered, equivalent, seconds and evaluations, and any others.
    """
    results = read_results(run_dir)
    results["equations"] = [{key: _plain(value) for key, value in equation.items()} for equation in equations]
    _write(run_dir, results)


def record_progress(
    run_dir: str | Path,
    phase: str | None = None,
    seconds: Mapping[str, float] | None = None,
    interrupted: bool = False,
) -> None:
    """Record the progress of the run.

    Args:
        run_dir: Run directory.
        phase: Phase that begins, or `done`; None: the same as before.
        seconds: Seconds that each of some phases took, over all attempts.
        interrupted: Whether Ctrl-C has ended the phase; it stays so until the run goes on.
    """
    results = read_results(run_dir)
    if phase is not None:
        results["phase"] = phase
    if interrupted:
        results["interrupted"] = True
    results.setdefault("seconds", {}).update(seconds or {})
    _write(run_dir, results)


def _write(run_dir: str | Path, results: Mapping[str, Any]) -> None:
    replace_file(Path(run_dir) / RESULTS, json.dumps(results, indent=1, allow_nan=False) + "\n")


def _number(value: Any) -> float | int | None:
    """A finite number, or None: JSON has no NaN."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool | int):
        return int(number)
    return float(number) if isinstance(number, float) and math.isfinite(number) else None


def _plain(value: Any) -> Any:
    """Text, truth values, lists and None as they are; numbers finite or None."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    item = value.item() if hasattr(value, "item") else value
    return item if isinstance(item, bool) else _number(item)
