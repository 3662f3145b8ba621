"""Loggers of a run: a table of its own for each attempt, and W&B."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from runs.attempts import ATTEMPTS, begin_attempt
from runs.launch import rank

__all__ = ["build_loggers", "closing"]


def build_loggers(
    config: DictConfig, run_dir: Path, first_step: int, run_id: str | None, writes: bool
) -> list[Logger]:
    """A CSVLogger for the next attempt, and W&B where the configuration has it.

    Args:
        config: Configuration of the run.
        run_dir: Run directory.
        first_step: Optimiser step at which the attempt begins.
        run_id: W&B run id; None on all ranks but the first.
        writes: Whether this process writes; False on all ranks but the first.
    """
    version = begin_attempt(run_dir, first_step) if writes else "0"
    loggers: list[Logger] = [CSVLogger(str(run_dir), name=ATTEMPTS, version=version)]
    if config.logger:
        loggers.append(_wandb_logger(config, run_dir, run_id))
    return loggers


def _wandb_logger(config: DictConfig, run_dir: Path, run_id: str | None) -> Logger:
    """A logger for W&B: all runs of a machine in one folder, under an id that a resumed run takes up again.

    Args:
        config: Configuration of the run.
        run_dir: Run directory, which the run is named after.
        run_id: W&B run id; None on all ranks but the first.
    """
    options = config.logger
    save_dir = Path(options.save_dir).resolve()
    save_dir.mkdir(parents=True, exist_ok=True)
    if rank() != 0:
        return WandbLogger(project=str(options.project), save_dir=str(save_dir), offline=True)  # never opens a run
    experiment = wandb.init(
        project=str(options.project),
        name=f"{run_dir.parent.name}/{run_dir.name}",
        dir=str(save_dir),
        id=run_id,
        group=None if options.group is None else str(options.group),
        tags=[str(tag) for tag in options.tags],
        resume="allow",
        mode=_mode(options.mode),
        settings=wandb.Settings(silent=True),
        config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
    )
    experiment.define_metric("trainer/global_step")
    experiment.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(experiment=experiment, save_dir=str(save_dir))


def _mode(wanted: str) -> Any:
    """How W&B is to run: the environment's word first; `auto` is online where this machine is logged in."""
    mode = os.environ.get("WANDB_MODE", wanted)
    if mode != "auto":
        return mode
    with contextlib.redirect_stderr(None):
        return "online" if wandb.login(prompt=False) else "offline"


@contextlib.contextmanager
def closing(trainer: Trainer) -> Iterator[None]:
    """Close the W&B run whatever happens: the next job of a sweep must begin its own."""
    code = 1
    try:
        yield
        code = 0
    finally:
        for logger in trainer.loggers:
            logger.finalize("success" if code == 0 else "failed")
        if wandb.run is not None:
            wandb.finish(exit_code=code)
