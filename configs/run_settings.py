"""Settings of a run that belong to no model, data or search: the top level, checkpoints, logger and Trainer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundation.settings import Rule, Settings, processes_rule, seed_setting, setting

__all__ = ["OWN_OF_A_RUN", "CheckpointSettings", "LoggerSettings", "RunSettings", "TrainerSettings"]


def _is_word(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and value != "")


def _is_whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _is_devices(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_whole(number, 0) for number in value)
    text = isinstance(value, str) and re.fullmatch(r"auto|-1|\d+(,\d+)*,?", value) is not None
    return text or _is_whole(value, 1) or value == -1


def _is_share_or_count(value: Any) -> bool:
    return _is_whole(value, 0) or (type(value) is float and 0 <= value <= 1)


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, str)
        and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value) is not None
        and value.strip("0:") != ""
    )


WORD = Rule(_is_word, "a text")
WORDS = Rule(
    lambda value: isinstance(value, list | tuple) and all(map(_is_word, value)), "a list, such as [first,second]"
)
COUNT = Rule(lambda value: value == -1 or _is_whole(value, 1), "a whole number, at least 1, or -1 for no limit")
DEVICES = Rule(_is_devices, "a whole number, at least 1, auto, -1 for all, or a list of their numbers")
SHARE = Rule(_is_share_or_count, "a whole number, or a share between 0.0 and 1.0")
TIME = Rule(_is_time, "a time as days:hours:minutes:seconds, such as 00:00:20:00 for twenty minutes")
PRECISIONS = (
    *("32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed"),
    *("16", "32", "64", "bf16", "transformer-engine", "transformer-engine-float16"),
)
PRECISION = Rule(lambda value: str(value) in PRECISIONS, f"one of {', '.join(PRECISIONS)}", PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """Keys of the top level.

    Attributes:
        seed: random seed of the run.
        threads: number of CPU threads of one tensor operation; None: all cores.
        resume: run directory to go on in, or `auto`.
        ckpt_path: checkpoint whose weights a new run begins with.
        optimize: metric that a sweeper optimises, such as `test/r2_median`.
    """

    seed: int = seed_setting()
    threads: int | None = setting(None, rule=processes_rule())
    resume: str | None = setting(None)
    ckpt_path: str | None = setting(None)
    optimize: str | None = setting(None)


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings(Settings):
    """Keys of `checkpoint`.

    Attributes:
        monitor: metric whose best epoch is tested and searched; None: the last epoch.
        mode: whether the lowest or the highest value is the best.
    """

    group = "checkpoint"

    monitor: str | None = setting(None)
    mode: str = setting("min", choices=("min", "max"))


@dataclass(frozen=True, kw_only=True)
class LoggerSettings(Settings):
    """Keys of `logger`, all but `group`, which is a word of this class itself.

    Attributes:
        project: name of the project.
        mode: `auto`, `online` or `offline`.
        tags: words by which W&B finds the run.
        save_dir: folder of the runs of this machine.
    """

    group = "logger"

    project: str = setting("rediscover", rule=WORD)
    mode: str = setting("auto", choices=("auto", "online", "offline"))
    tags: tuple[str, ...] = setting((), rule=WORDS)
    save_dir: str = setting("logs")

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Check all keys of `logger`.

        Raises:
            SettingsError: a key is unknown or a value is not allowed.
        """
        cls.of({name: value for name, value in options.items() if name != "group"})
        group = options.get("group")
        if group is not None and not _is_word(group):
            raise cls.refused("group", group, WORD)


OWN_OF_A_RUN: Mapping[str, str] = {
    "logger": "choose logger=csv or logger=wandb",
    "callbacks": "add one under callbacks.NAME, as configs/model/cvae.yaml does",
    "plugins": "it takes objects, which a command line has not",
    "default_root_dir": "name the run directory, hydra.run.dir=DIR",
    "enable_checkpointing": "a run is resumed from its checkpoints",
    "use_distributed_sampler": "the loaders divide their rows among the processes themselves",
    "fast_dev_run": "choose experiment=smoke",
    "barebones": "a run needs its callbacks",
    "enable_autolog_hparams": "choose logger=csv or logger=wandb",
    "model_registry": "choose logger=csv or logger=wandb",
}
"""Argument of Lightning's Trainer that a run decides by itself -> what to do instead, or why."""


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(Settings):
    """Keys of `trainer`: arguments of Lightning's Trainer, which says what they mean.

    Attributes:
        accelerator: kind of device.
        strategy: way in which several processes train together.
        devices: number of devices, or their numbers.
        num_nodes: number of machines.
        precision: precision of the arithmetic.
        max_epochs: largest number of epochs; -1: no limit; None: the model's.
        min_epochs: smallest number of epochs.
        max_steps: largest number of optimiser steps; -1: no limit.
        min_steps: smallest number of optimiser steps.
        max_time: longest time of the fit.
        limit_train_batches: number or share of an epoch's batches that are trained on.
        limit_val_batches: number or share of the batches that are validated on.
        limit_test_batches: number or share of the batches that are tested on.
        limit_predict_batches: number or share of the batches that are predicted.
        overfit_batches: number or share of the batches that training and validation share.
        val_check_interval: number or share of the batches between two validations.
        check_val_every_n_epoch: number of epochs between two validations.
        num_sanity_val_steps: number of batches that are validated on before the fit; -1: all.
        log_every_n_steps: number of steps between two lines of the log.
        enable_progress_bar: whether Lightning shows a bar of its own.
        enable_model_summary: whether Lightning lists the layers of the model.
        accumulate_grad_batches: number of batches whose gradients are added up for a step.
        gradient_clip_val: value that gradients are clipped to.
        gradient_clip_algorithm: `norm` or `value`.
        deterministic: whether only deterministic algorithms are used; `warn`: whether others are named.
        benchmark: whether cuDNN looks for the fastest algorithms.
        inference_mode: whether validation and test run without autograd.
        profiler: name of a profiler.
        detect_anomaly: whether autograd looks for values that are not finite.
        sync_batchnorm: whether batch normalisation sees the batches of all processes.
        reload_dataloaders_every_n_epochs: number of epochs after which loaders are made anew; 0: never.
    """

    group = "trainer"

    accelerator: str = setting("auto", choices=("auto", "cpu", "gpu", "cuda", "mps", "tpu"))
    strategy: str = setting("auto")
    devices: int | str = setting("auto", rule=DEVICES)
    num_nodes: int = setting(1, least=1)
    precision: str | None = setting(None, rule=PRECISION)
    max_epochs: int | None = setting(None, rule=COUNT)
    min_epochs: int | None = setting(None, least=1)
    max_steps: int = setting(-1, rule=COUNT)
    min_steps: int | None = setting(None, least=1)
    max_time: str | None = setting(None, rule=TIME)
    limit_train_batches: float | None = setting(None, rule=SHARE)
    limit_val_batches: float | None = setting(None, rule=SHARE)
    limit_test_batches: float | None = setting(None, rule=SHARE)
    limit_predict_batches: float | None = setting(None, rule=SHARE)
    overfit_batches: float = setting(0, rule=SHARE)
    val_check_interval: float | None = setting(None, rule=SHARE)
    check_val_every_n_epoch: int | None = setting(1, least=1)
    num_sanity_val_steps: int | None = setting(0, least=-1)
    log_every_n_steps: int | None = setting(50, least=0)
    enable_progress_bar: bool | None = setting(None)
    enable_model_summary: bool | None = setting(None)
    accumulate_grad_batches: int = setting(1, least=1)
    gradient_clip_val: float | None = setting(None, least=0)
    gradient_clip_algorithm: str | None = setting(None, choices=("norm", "value"))
    deterministic: bool | str | None = setting(
        None, rule=Rule(lambda value: isinstance(value, bool) or value == "warn", "true, false or warn")
    )
    benchmark: bool | None = setting(None)
    inference_mode: bool = setting(True)
    profiler: str | None = setting(None, choices=("simple", "advanced", "pytorch", "xla"))
    detect_anomaly: bool = setting(False)
    sync_batchnorm: bool = setting(False)
    reload_dataloaders_every_n_epochs: int = setting(0, least=0)

    def _check_together(self) -> None:
        for name in ("limit_train_batches", "val_check_interval"):
            if getattr(self, name) == 0:
                raise self.refused(name, 0, Rule(SHARE.allows, "a whole number, at least 1, or a share above 0"))
        if self.check_val_every_n_epoch is None and type(self.val_check_interval) is not int:
            raise self.refused("check_val_every_n_epoch", None, Rule(SHARE.allows, "a whole number, at least 1"))
