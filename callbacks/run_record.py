"""What a run leaves behind to be read: `results.json` and `metrics.csv`.

`results.json` is rewritten whole and atomically (a temporary file, then `os.replace`) whenever something is known,
so a reader finds a complete file at any time:

    {"schema": 1, "phase": "fit" | "test" | "search" | "done", "model", "data", "seed", "wandb_run_id",
     "seconds": {"fit", "test", "search"}, "metrics": {flat name: number or null}, "equations": [{...}]}

Whoever finds something out says it here: `record_metrics(run_dir, {...})`, `record_equations(run_dir, [...])`.
Each reads the file, adds its part and writes it; only rank 0 of a distributed run may call them.

`metrics.csv` is merged from one CSVLogger version an attempt (`attempts/0`, `attempts/1`, ...): CSVLogger empties
a version that it is given again. A step that a resumed attempt repeated is kept from that attempt alone.
"""

import csv
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, WandbLogger

__all__ = [
    "ATTEMPTS",
    "RunRecord",
    "csv_logger",
    "merge_metrics",
    "read_results",
    "record_equations",
    "record_metrics",
    "write_atomically",
]

SCHEMA = 1
RESULTS = "results.json"
METRICS = "metrics.csv"
ATTEMPTS = "attempts"
FIRST_STEP = "first_step.txt"
MERGE_SECONDS = 10.0


def write_atomically(path: str | Path, text: str) -> None:
    """Replace a file by a new text such that a reader, or a kill, finds the old or the new one whole."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_results(run_dir: str | Path) -> dict[str, Any]:
    """The results of a run directory; empty where there are none or where the file cannot be read as JSON."""
    try:
        results = json.loads((Path(run_dir) / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return results if isinstance(results, dict) else {}


def record_metrics(run_dir: str | Path, metrics: Mapping[str, Any]) -> None:
    """Add flat metrics, such as `search/seconds`; the ones of the same name are replaced.

    Args:
        run_dir: The run directory.
        metrics: Flat name -> number (a tensor of one element, too); what is not finite is written as null.
    """
    results = read_results(run_dir)
    results.setdefault("metrics", {}).update({name: _number(value) for name, value in metrics.items()})
    _write(run_dir, results)


def record_equations(run_dir: str | Path, equations: Sequence[Mapping[str, Any]]) -> None:
    """Put the equations of a search in the place of those that were there.

    Args:
        run_dir: The run directory.
        equations: One mapping an equation with the keys problem, target, infix, latex, complexity, train_r2,
            test_r2, test_mse, recovered, equivalent, seconds and evaluations, and any others.
    """
    results = read_results(run_dir)
    results["equations"] = [{key: _plain(value) for key, value in equation.items()} for equation in equations]
    _write(run_dir, results)


class RunRecord(Callback):
    """Keeps the time of each phase, and writes the metrics that Lightning knows.

    Example:
        ```python
        record = RunRecord(run_dir, {"model": "autoencoder", "data": "california", "seed": 0})
        trainer = Trainer(callbacks=[record])
        with record.phase("fit"):
            trainer.fit(model, datamodule)
        ```

    Args:
        run_dir: The run directory.
        facts: What is known from the start: model, data, seed, wandb_run_id.
        writes: Whether this process writes; False on all ranks but the first.
    """

    def __init__(self, run_dir: str | Path, facts: Mapping[str, Any], writes: bool = True) -> None:
        self.run_dir = Path(run_dir)
        self.writes = writes
        self._fit_seconds = 0.0  # of earlier attempts, as far as their epochs were kept
        self._began = time.perf_counter()
        self._merged = 0.0
        if writes:
            results = read_results(run_dir)
            fresh: dict[str, Any] = {"schema": SCHEMA, "phase": "fit", **facts}
            fresh |= {"seconds": dict.fromkeys(("fit", "test", "search"), 0.0), "metrics": {}, "equations": []}
            _write(run_dir, fresh | results | dict(facts))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase (`fit`, `test`, `search`); its seconds and metrics are kept even if it is broken off."""
        self._began = time.perf_counter()
        self._update(phase=name)
        try:
            yield
        finally:
            seconds = time.perf_counter() - self._began + (self._fit_seconds if name == "fit" else 0.0)
            self._update(seconds={name: round(seconds, 3)})
            if self.writes:
                merge_metrics(self.run_dir)

    def finish(self, trainer: Trainer) -> None:
        """Say that the run is complete; give W&B the metrics as its summary and the checkpoints as an artifact."""
        if not self.writes:
            return
        self._update(phase="done")
        metrics = read_results(self.run_dir).get("metrics", {})
        folder = self.run_dir / "checkpoints"
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                known = {name: value for name, value in metrics.items() if value is not None}
                logger.experiment.summary.update(known)
                if folder.is_dir():
                    logger.experiment.log_artifact(str(folder), f"checkpoints-{logger.experiment.id}", "model")

    def state_dict(self) -> dict[str, Any]:
        """The seconds that the fit has taken so far, over all attempts."""
        return {"fit_seconds": self._fit_seconds + time.perf_counter() - self._began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._fit_seconds = float(state_dict["fit_seconds"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge the metrics now and then, for whoever looks at a run that is going on."""
        if self.writes and trainer.is_global_zero and time.perf_counter() - self._merged > MERGE_SECONDS:
            self._merged = time.perf_counter()
            merge_metrics(self.run_dir)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the metrics of the last epoch."""
        self._keep(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the test metrics."""
        self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        if self.writes and trainer.is_global_zero:
            record_metrics(self.run_dir, trainer.callback_metrics)

    def _update(self, phase: str | None = None, seconds: Mapping[str, float] | None = None) -> None:
        if not self.writes:
            return
        results = read_results(self.run_dir)
        if phase is not None:
            results["phase"] = phase
        results.setdefault("seconds", {}).update(seconds or {})
        _write(self.run_dir, results)


def csv_logger(run_dir: str | Path, first_step: int = 0, writes: bool = True) -> CSVLogger:
    """A CSVLogger for the next attempt.

    Args:
        run_dir: The run directory.
        first_step: The optimiser step at which the attempt begins; what earlier attempts logged from there on
            is void.
        writes: Whether this process writes; False on all ranks but the first.
    """
    if not writes:
        return CSVLogger(str(run_dir), name=ATTEMPTS, version="0")
    folder = Path(run_dir) / ATTEMPTS
    folder.mkdir(parents=True, exist_ok=True)
    version = 1 + max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=-1)
    (folder / str(version)).mkdir()
    (folder / str(version) / FIRST_STEP).write_text(str(first_step), encoding="utf-8")
    return CSVLogger(str(run_dir), name=ATTEMPTS, version=str(version))


def merge_metrics(run_dir: str | Path) -> None:
    """Write `metrics.csv` from the attempts, each step from the last attempt that made it."""
    folder = Path(run_dir) / ATTEMPTS
    if not folder.is_dir():
        return
    attempts = sorted(
        (path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
    )
    rows: list[dict[str, str]] = []
    columns: dict[str, None] = {}
    for attempt in attempts:
        try:
            first = int((attempt / FIRST_STEP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            first = 0
        rows = [row for row in rows if _step(row) < first]
        for row in _rows(attempt / METRICS):
            rows.append(row)
            columns.update(dict.fromkeys(row))
    if not rows:
        return
    target = Path(run_dir) / METRICS
    temporary = target.with_name(f".{METRICS}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, sorted(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(target)


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of one attempt; a last one that was cut short is left out."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [row for row in csv.DictReader(stream) if None not in row and None not in row.values()]
    except (OSError, csv.Error):
        return []


def _step(row: Mapping[str, str]) -> float:
    try:
        return float(row.get("step") or 0)
    except ValueError:
        return 0.0


def _write(run_dir: str | Path, results: Mapping[str, Any]) -> None:
    write_atomically(Path(run_dir) / RESULTS, json.dumps(results, indent=1, allow_nan=False) + "\n")


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
