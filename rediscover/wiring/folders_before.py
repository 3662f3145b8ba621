"""What is there before Hydra makes the folders of a command, so that a refused one takes nothing of it away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from runs.refused import note_folders, those_there

__all__ = ["FoldersBefore"]


class FoldersBefore(Callback):
    """Notes which folders are there before Hydra makes those of a command.

    Hydra hands a copy to each process of a sweep, so what is noted before the first job is known to all.
    """

    def __init__(self) -> None:
        self._there: frozenset[Path] = frozenset()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Note the run directory and what is above it."""
        self._there = those_there(Path(str(config.hydra.run.dir)).absolute())

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Note the folder of a sweep, what is above it, and the runs that it holds already."""
        folder = Path(str(config.hydra.sweep.dir)).absolute()
        runs = folder.iterdir() if folder.is_dir() else ()
        self._there = those_there(folder) | {path.resolve() for path in runs if path.is_dir()}

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Hand over what was noted, in the process of the job."""
        note_folders(HydraConfig.get().runtime.output_dir, self._there)
