"""The record of a run, kept while Lightning runs it: seconds of each phase, metrics, the end."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from foundation.schema import Check, number, record
from reports.optional import optional
from runs.attempts import merge_metrics
from runs.directory import BEST, CHECKPOINTS, LAST
from runs.record import begin_results, read_results, record_metrics, record_progress

__all__ = ["RunRecord"]

MERGE_SECONDS = 10.0


class RunRecord(Callback):
    """Keeps the time of each phase, and writes the metrics that Lightning knows.

    Example:
        ```python
        record = RunRecord(run_dir)
        trainer = Trainer(callbacks=[record])
        record.begin({"model": "autoencoder", "data": "california", "seed": 0, "wandb_run_id": None})
        with record.phase("fit"):
            trainer.fit(model, datamodule)
        ```

    Args:
        run_dir: Run directory.
        writes: Whether this process writes; False on all ranks but the first.
    """

    def __init__(self, run_dir: str | Path, writes: bool = True) -> None:
        self.run_dir = Path(run_dir)
        self.writes = writes
        self._fit_seconds = 0.0  # of earlier attempts, as far as their epochs were kept
        self._began = time.perf_counter()
        self._merged = 0.0

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Write the record for the first time: from now on the run has begun, and can go on.

        Args:
            facts: Facts known from the start: model, data, seed, wandb_run_id.
        """
        if self.writes:
            begin_results(self.run_dir, facts)

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

    def finish(self, trainer: Trainer, interrupted: bool = False) -> None:
        """Say that the run is complete; give W&B the metrics as its summary and the checkpoints as an artifact.

        Args:
            trainer: Trainer of the run.
            interrupted: Whether Ctrl-C has cut the search short, so that the run is not complete.
        """
        if not self.writes:
            return
        if interrupted:
            record_progress(self.run_dir, interrupted=True)
        else:
            self._update(phase="done")
        with optional("summary and checkpoints in W&B"):
            self._upload(trainer)

    def _upload(self, trainer: Trainer) -> None:
        """Give W&B the metrics and equations as its summary and the checkpoints as an artifact."""
        results = read_results(self.run_dir)
        metrics = results.get("metrics", {}) | _picked(results.get("equations", []))
        folder = self.run_dir / CHECKPOINTS
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                known = {name: value for name, value in metrics.items() if value is not None}
                logger.experiment.summary.update(known)
                _upload_files(logger, [folder / name for name in (LAST, BEST) if (folder / name).is_file()])

    def state_dict(self) -> dict[str, Any]:
        """The seconds that the fit has taken so far, over all attempts."""
        return {"fit_seconds": self._fit_seconds + time.perf_counter() - self._began}

    def state_check(self, model: LightningModule) -> Check:
        """Check for what `state_dict` returned."""
        return record({"fit_seconds": number(0.0, 1e9)})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._fit_seconds = float(state_dict["fit_seconds"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge the metrics from time to time, so that a running run can be watched."""
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
        if self.writes:
            record_progress(self.run_dir, phase, seconds)


def _picked(equations: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The picked equations as text by name; one of several trials has its number in the name."""
    several = any(equation.get("trial") for equation in equations)
    return {
        f"equation/{one['problem']}" + (f"/trial_{one['trial']}" if several else ""): str(one["infix"])
        for one in equations
        if "problem" in one and "infix" in one
    }


def _upload_files(logger: WandbLogger, checkpoints: Sequence[Path]) -> None:
    """Give W&B the checkpoints of a run as an artifact."""
    import wandb

    artifact = wandb.Artifact(f"checkpoints-{logger.experiment.id}", "model")
    for path in checkpoints:
        artifact.add_file(str(path))
    if checkpoints:
        logger.experiment.log_artifact(artifact)
