"""What a configuration may say, checked before anything heavy is imported, each fault as one sentence.

What the keys of a model, of data and of a search may hold is said by their settings classes
(`configs.registry`). Here are the rules of the top level, those over several groups, and the look at the table
or the problem. What Hydra itself complains about is put into a sentence by `configs.complaints`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from configs.registry import SETTINGS
from datamodules.settings.tables import ProblemSettings
from foundation.errors import UserError, near
from foundation.settings import Rule, Settings, seed_setting, setting

__all__ = ["ConfigError", "check_config"]

_IN_DOUBLE = "modules.gmeql.GMEQL"
"""The model whose equations are computed in double precision; all others learn from rows in single precision."""


class ConfigError(UserError):
    """What is wrong with a configuration, as one sentence."""


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """Keys of the top level.

    Attributes:
        seed: random seed of the run.
        threads: number of CPU threads of one tensor operation; None: all cores.
        resume: run directory to go on in, or `auto`.
        ckpt_path: checkpoint to begin from.
        optimize: metric that a sweeper optimises, such as `test/r2_median`.
    """

    seed: int = seed_setting()
    threads: int | None = setting(None, least=1)
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
    """Keys of `logger` that are checked; W&B takes others.

    Attributes:
        project: name of the project.
        mode: `auto`, `online` or `offline`.
    """

    group = "logger"

    project: str = setting("rediscover")
    mode: str = setting("auto", choices=("auto", "online", "offline"))


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(Settings):
    """Keys of `trainer` that are checked; Lightning's Trainer takes others.

    Attributes:
        max_epochs: number of epochs; -1: no limit; None: the model's.
        num_nodes: number of machines.
    """

    group = "trainer"

    max_epochs: int | None = setting(
        None,
        rule=Rule(
            lambda value: type(value) is int and (value >= 1 or value == -1),
            "a whole number, at least 1, null, or -1 for no limit",
        ),
    )
    num_nodes: int = setting(1, least=1)


def check_config(config: DictConfig) -> None:
    """Check every key, then the table or the problem that the run is to learn from.

    Raises:
        ConfigError: A mandatory value is missing, or values of several groups do not go together.
        SettingsError: A key is unknown or a value is not allowed.
        ProblemError: There is no such problem, or no such rows of it.
        TableError: The table cannot be used; reading it needs no torch, so this is known at once.
    """
    for key in sorted(OmegaConf.missing_keys(config)):
        raise ConfigError(f"{key} is missing: give it on the command line, {key}=…")
    plain: Any = OmegaConf.to_container(config, resolve=True)
    _check_values(RunSettings, plain)
    CheckpointSettings.of(plain["checkpoint"])
    for settings in (LoggerSettings, TrainerSettings):
        _check_values(settings, plain[settings.group] or {})
    if config.resume is not None and config.ckpt_path is not None and not _in_run(config):
        raise ConfigError("resume and ckpt_path are two ways to go on: give one of them")
    for group in ("model", "data", "search"):
        _check_group(group, plain[group] or {})
    _check_end(config)
    _check_search(plain["search"] or {})
    _check_table(config.data, single=config.model.get("_target_") != _IN_DOUBLE)
    _check_problem(config.data)
    _check_network(config)


def _check_values(settings: type[Settings], options: Mapping[str, Any]) -> None:
    """Check the keys that a settings class knows, whatever else there is."""
    known = settings.setting_names()
    settings.of({name: value for name, value in options.items() if name in known})


def _check_group(group: str, options: Mapping[str, Any]) -> None:
    """Check all keys of a model, of data or of a search by the settings classes of its target."""
    target = str(options.get("_target_"))
    if target not in SETTINGS:
        return
    classes = SETTINGS[target][1]
    values = {name: value for name, value in options.items() if name != "_target_"}
    known = [name for settings in classes for name in settings.setting_names()]
    for name in values:
        if name not in known:
            raise ConfigError(f"{group}.{name} is not a key; {near(name, known, f'{group}.')}")
    for settings in classes:
        names = settings.setting_names()
        settings.of({name: values.pop(name) for name in names if name in values})


def _check_network(config: DictConfig) -> None:
    """What the one network that is to be read lacks."""
    network = config.data.get("network")
    if network is None:
        return
    if not Path(str(network)).is_file():
        raise ConfigError(
            f"data.network={network} does not exist: give a safetensors file, or a state_dict saved by torch"
        )
    if config.model.get("init") == "scratch" and config.ckpt_path is None:
        raise ConfigError(
            "data.network needs a trained reader: give ckpt_path=FILE, or leave out model.init=scratch"
        )


def _check_end(config: DictConfig) -> None:
    """A fit without a limit of its own is ended by a search."""
    trainer = config.trainer
    limits = trainer.get("max_steps", -1) != -1 or trainer.get("max_time") is not None
    if trainer.get("max_epochs") == -1 and not limits and "_target_" not in (config.search or {}):
        raise ConfigError("without a search the fit would never end: give trainer.max_epochs")


def _in_run(config: DictConfig) -> bool:
    return Path(str(config.resume)).resolve() in Path(str(config.ckpt_path)).resolve().parents


def _check_search(options: Mapping[str, Any]) -> None:
    """Problems and the user's table: what is wrong with them is known before the fit."""
    if options.get("problems"):
        from datamodules.tables.problems import names_of

        names_of(",".join(map(str, options["problems"])))
    if options.get("table") is not None:
        from datamodules.tables.refusals import MIN_SPLIT_ROWS
        from datamodules.tables.table import check_table

        check_table(str(options["table"]), options.get("target"), options.get("features"), min_rows=MIN_SPLIT_ROWS)


def _check_table(data: DictConfig, single: bool) -> None:
    """What is wrong with the user's table, for a model that computes in single precision, or in double."""
    target = str(data.get("_target_", ""))
    if not target.startswith(("datamodules.tabular.", "datamodules.california.")):
        return
    from datamodules.tables.refusals import MIN_SPLIT_ROWS
    from datamodules.tables.table import check_single_precision, check_table

    features: Any = OmegaConf.to_container(data.features) if OmegaConf.is_list(data.features) else data.features
    path = data.get("path", "sklearn:california_housing")
    rows = {"max_rows": data.max_rows, "min_rows": MIN_SPLIT_ROWS}
    table = check_table(str(path), data.target, features, **rows, seed=data.split_seed)
    if single:
        check_single_precision(table)


def _check_problem(data: DictConfig) -> None:
    if data.get("_target_") != "datamodules.problem_data.ProblemData":
        return
    from datamodules.tables.problems import draw_tables, problem

    options: Any = OmegaConf.to_container(data, resolve=True)
    settings = ProblemSettings.of({key: value for key, value in options.items() if key != "_target_"})
    draw_tables(problem(str(data.problem)), **settings.of_the_rows())
