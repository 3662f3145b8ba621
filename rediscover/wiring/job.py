"""One run as Hydra describes it: its configuration, its directory, the options that were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from configs.stored_settings import settings_of
from configs.validation import ConfigError
from foundation.files import replace_file
from runs.settings_file import write_settings

__all__ = ["Job"]

CONFIG = Path(".hydra") / "config.yaml"


@dataclass(frozen=True)
class Job:
    """A run to be made.

    Attributes:
        config: Configuration without Hydra's own settings.
        run_dir: Run directory; outside of `@hydra.main` nobody has made it yet.
        model: Name of the chosen model.
        data: Name of the data: problem, or option and file.
        overrides: Overrides that the configuration was composed with.
    """

    config: DictConfig
    run_dir: Path
    model: str
    data: str
    overrides: Sequence[str]

    @classmethod
    def of(cls, config: DictConfig) -> Job:
        """The job that Hydra is running, or that a composed configuration with Hydra's settings describes.

        Raises:
            ConfigError: The configuration was composed without Hydra's settings, so it names no directory.
        """
        if "hydra" in config:
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            return cls._described(own, config.hydra, Path(config.hydra.run.dir).resolve())
        if not HydraConfig.initialized():
            raise ConfigError("the configuration names no run directory: compose it (rediscover.training.compose)")
        hydra: Any = HydraConfig.get()
        return cls._described(config, hydra, Path(hydra.runtime.output_dir))

    @classmethod
    def _described(cls, config: DictConfig, hydra: Any, run_dir: Path) -> Job:
        choices = hydra.runtime.choices
        data = str(choices["data"])
        if "problem" in config.data:
            data = str(config.data.problem)
        elif "path" in config.data:
            data = f"{data}:{Path(str(config.data.path)).name}"
        return cls(config, run_dir, str(choices["model"]), data, list(hydra.overrides.task))

    def remember(self) -> None:
        """Put down the settings, for `resume=` and for comparisons."""
        write_settings(self.run_dir, settings_of(self.overrides, self.config))
        if not (self.run_dir / CONFIG).is_file():
            replace_file(self.run_dir / CONFIG, OmegaConf.to_yaml(self.config))
