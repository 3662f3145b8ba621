"""Train a model, test it, search for equations in it, and record everything in a run directory.

Torch, Lightning and W&B are imported inside functions, after the configuration is found to be sound: they take
seconds, and a wrong key should not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

from configs.validation import check_config
from foundation.errors import UserError, near
from foundation.terminal import say
from rediscover.wiring.first_line import first_line
from rediscover.wiring.job import Job
from rediscover.wiring.long_tables import reading_line
from reports.run_summary import run_summary
from runs.directory import BEST, claimed, starting_point, wandb_run_id, whole_checkpoint
from runs.interruption import how_to_go_on, interruptible
from runs.launch import rank
from runs.record import read_results
from runs.refused import nothing_left

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from callbacks.run_record import RunRecord

__all__ = ["chosen_model", "compose", "optimized", "train"]


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration that a command line leads to, for `train`.

    Args:
        overrides: Command line without the program, such as `["model=gmeql", "seed=1"]`; `hydra.run.dir=DIR`
            names the run directory.
    """
    with hydra.initialize_config_module("configs", version_base="1.3"):
        return hydra.compose("train", list(overrides), return_hydra_config=True)


def chosen_model(overrides: Sequence[str]) -> str:
    """The name of the model that a command line leads to."""
    groups = ("model=", "experiment=", "data=", "search=")
    choices = [item for item in overrides if item.startswith(groups)]
    return str(compose(choices).hydra.runtime.choices.model)


def train(config: DictConfig) -> dict[str, float]:
    """Fit, test, search: one run, in its own directory.

    Example:
        ```python
        metrics = train(compose(["model=gmeql", "data.problem=b1", "search.seconds=10"]))
        ```

    Args:
        config: Configuration: of a job that Hydra is running, or from `compose`.

    Returns:
        Number by flat name, such as `test/r2_median`; what is not finite is left out. Empty on all ranks but the
        first.

    Raises:
        UserError: The configuration, the data, the directory or a checkpoint cannot be used as they are.
        Interrupted: Ctrl-C was pressed; the run can go on, unless it had not begun.
    """
    job = Job.of(config)
    with nothing_left(job.run_dir):
        long = (
            reading_line(str(job.config.data.get("path"))) if OmegaConf.is_dict(job.config.get("data")) else None
        )
        if long is not None and rank() == 0:
            say(long)
        check_config(job.config)
        job.run_dir.mkdir(parents=True, exist_ok=True)  # Hydra has made it, but for a composed configuration
        if rank() != 0:
            _run(job, first=False)
            return {}
        with claimed(job.run_dir), interruptible(job.run_dir):
            _run(job, first=True)
    metrics = read_results(job.run_dir).get("metrics", {})
    return {name: float(value) for name, value in metrics.items() if value is not None}


def optimized(metrics: Mapping[str, float], name: str | None) -> float | None:
    """The metric that a sweeper optimises.

    Args:
        metrics: Metrics that `train` returned.
        name: Name of the metric, `optimize` of the configuration; None: nothing is optimised.

    Raises:
        UserError: The run has no such metric.
    """
    if name is None or (not metrics and rank() != 0):
        return None
    if name not in metrics:
        raise UserError(f"optimize={name} is not a metric that this run has; {near(name, metrics)}")
    return metrics[name]


def _run(job: Job, first: bool) -> None:
    """Build everything, then fit, test and search.

    Args:
        job: Run to be made.
        first: Whether this process is the first of the run.
    """
    config, run_dir = job.config, job.run_dir
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # or it prints stacks where another process has ended
    checkpoint = starting_point(run_dir, config.ckpt_path, config.resume is not None)
    if first:
        say(first_line(job))
        if config.resume is not None and checkpoint is None:
            say("this run was cut off before its first checkpoint: it begins anew, with fresh weights")
    import lightning.pytorch as pl
    import torch

    from callbacks.run_record import RunRecord
    from rediscover.wiring.building import (
        build_callbacks,
        build_data,
        build_model,
        build_search,
        build_trainer,
        check_devices,
    )
    from rediscover.wiring.checkpoint_reading import check_fit, check_model, take_weights
    from rediscover.wiring.loggers import build_loggers, closing
    from rediscover.wiring.processes import together
    from rediscover.wiring.quiet import keep_quiet

    keep_quiet()
    check_devices(config)
    if checkpoint is not None:
        check_model(checkpoint, config.model["_target_"])  # the data may take long
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    datamodule = build_data(config)
    model = build_model(config, datamodule)
    search, record = build_search(config, run_dir), RunRecord(run_dir, writes=first)
    callbacks = build_callbacks(config, run_dir, record, search)
    first_step = 0
    if checkpoint is not None and config.resume is not None:
        first_step = check_fit(checkpoint, model, config.trainer.max_epochs, callbacks)
    elif checkpoint is not None:
        take_weights(checkpoint, model)
    trainer = build_trainer(config, run_dir, callbacks, loggers=[])
    run_id = _begin(job, record)  # everything has been built: only now is anything written down
    trainer.loggers = build_loggers(config, run_dir, first_step, run_id, writes=first)
    with closing(trainer), together(trainer):
        with record.phase("fit"):  # one that was over ends before its first step
            resumed = checkpoint if first_step > 0 else None
            trainer.fit(model, datamodule, ckpt_path=resumed, weights_only=True)
        with record.phase("test"):
            _take_best(config, run_dir, model)
            trainer.test(model, datamodule, verbose=False)
        if search is not None:
            with record.phase("search"):
                search.search(trainer, model, datamodule)
        cut = bool(getattr(search, "interrupted", False))
        record.finish(trainer, interrupted=cut)
        if first:
            say(run_summary(run_dir))
        if first and cut:
            say(f"interrupted, with the best equations so far: {how_to_go_on(run_dir)}")


def _begin(job: Job, record: RunRecord) -> str | None:
    """Begin a run on disk; its W&B run id, which only the first process has."""
    if record.writes:
        job.remember()  # only now are its settings known to be sound
    run_id = wandb_run_id(job.run_dir) if record.writes and job.config.logger else None
    record.begin({"model": job.model, "data": job.data, "seed": job.config.seed, "wandb_run_id": run_id})
    return run_id


def _take_best(config: DictConfig, run_dir: Path, model: LightningModule) -> None:
    """Put the weights of the best epoch into the model, where one was asked for."""
    from rediscover.wiring.checkpoint_reading import take_weights

    best = None if config.checkpoint.monitor is None else whole_checkpoint(run_dir, BEST)
    if best is not None:
        take_weights(best, model)
