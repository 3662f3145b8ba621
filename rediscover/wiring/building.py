"""Model, search and Trainer of a run, built from its configuration."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from callbacks.checkpoints import BestCheckpoint, EpochCheckpoint, WholeCheckpoints
from callbacks.progress import EpochProgress
from callbacks.random_state import RandomState
from callbacks.termination import Termination
from configs.classes import built, class_of
from configs.systems import SYSTEMS, name_of
from configs.validation import ConfigError
from datamodules.explored_table import ExploredTable
from datamodules.tabular import TableData

__all__ = ["build_callbacks", "build_data", "build_model", "build_search", "build_trainer", "check_devices"]

PROCESSES_A_CORE = 8
"""Largest number of processes on a core; more would only wait for each other."""


def build_data(config: DictConfig) -> LightningDataModule:
    """The data, read and divided; a table that is to be explored comes with what the model learns from."""
    datamodule: LightningDataModule = built("data", config.data)
    system = SYSTEMS.get(str(name_of("model", config.model["_target_"])))
    if system is not None and system.explores_tables and isinstance(datamodule, TableData):
        datamodule = ExploredTable(datamodule, seed=config.seed)
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def build_model(config: DictConfig, datamodule: Any) -> LightningModule:
    """The model, with what of its constructor the data decides (`Model.data_arguments(datamodule)`)."""
    kind = class_of("model", config.model)
    from_data = kind.data_arguments(datamodule) if hasattr(kind, "data_arguments") else {}
    model: LightningModule = built("model", config.model, **from_data)
    return model


def build_search(config: DictConfig, run_dir: Path) -> Any:
    """The search callback, or None; it does not begin by itself: `search(trainer, …)` is called after the test."""
    if "_target_" not in config.search:  # search=none; an experiment may still have set keys of a search
        return None
    return built("search", config.search, run_dir=str(run_dir), deferred=True)


def build_callbacks(
    config: DictConfig, run_dir: Path, record: Callback, search: Callback | None = None
) -> list[Callback]:
    """Everything that makes a run resumable, and what its configuration adds.

    Args:
        config: Configuration of the run.
        run_dir: Run directory.
        record: Callback that writes `results.json`.
        search: Search callback, or None.
    """
    folder = run_dir / "checkpoints"
    callbacks = [RandomState(), Termination(), EpochProgress(), record, *_callbacks_of_the_model(config, run_dir)]
    if search is not None:
        callbacks.append(search)
    callbacks.append(EpochCheckpoint(folder))
    if config.checkpoint.monitor is not None:
        callbacks.append(BestCheckpoint(folder, config.checkpoint.monitor, config.checkpoint.mode))
    return callbacks


def build_trainer(config: DictConfig, run_dir: Path, callbacks: list[Callback], loggers: list[Logger]) -> Trainer:
    """A Trainer whose loop is cheap.

    Args:
        config: Configuration of the run.
        run_dir: Run directory.
        callbacks: Callbacks of the run.
        loggers: Loggers of the run.

    Raises:
        ConfigError: Lightning refuses a setting of the Trainer.
    """
    settings = {
        "plugins": [WholeCheckpoints()],
        "num_sanity_val_steps": 0,  # the data have been checked, and the check would draw random numbers
        "use_distributed_sampler": False,  # the loaders shard themselves, by seed and epoch
        "enable_model_summary": False,
        "log_every_n_steps": 50,
        **OmegaConf.to_container(config.trainer, resolve=True),  # type: ignore[dict-item]
    }
    try:
        return Trainer(**settings, callbacks=callbacks, logger=loggers, default_root_dir=str(run_dir))
    except (TypeError, ValueError, ImportError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def check_devices(config: DictConfig) -> None:
    """Refuse devices that are not there, and settings that Lightning does not take together, before data are made.

    Args:
        config: Configuration of the run.

    Raises:
        ConfigError: Lightning refuses a setting of the Trainer, or the cores are too few for the processes.
    """
    trainer = build_trainer(config, Path(), [], [])
    most = PROCESSES_A_CORE * (os.cpu_count() or 1)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise ConfigError(
            f"trainer.devices={config.trainer.devices} is more than {os.cpu_count()} cores can serve: "
            f"give at most {most}"
        )


def _callbacks_of_the_model(config: DictConfig, run_dir: Path) -> list[Callback]:
    """What a model's configuration adds to the Trainer; a key `run_dir` of an entry is the run's own."""
    entries = [entry for entry in (config.get("callbacks") or {}).values() if entry is not None]
    return [
        built("callbacks", entry, **({"run_dir": str(run_dir)} if "run_dir" in entry else {})) for entry in entries
    ]
