"""What a configuration may say, checked before anything heavy is imported, each fault as one sentence.

What the keys of a model, of data and of a search may hold is said by their settings classes
(`configs.registry`), those of the top level and of the Trainer by `configs.run_settings`, and which of them go
together by `configs.systems`. Here all of them are asked, and the table or the problem is looked at. What Hydra
itself complains about is put into a sentence by `configs.complaints`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from configs.classes import check_class
from configs.devices import check_devices_can_be_there
from configs.named_files import check_named_files
from configs.registry import SETTINGS
from configs.run_settings import OWN_OF_A_RUN, CheckpointSettings, LoggerSettings, RunSettings, TrainerSettings
from configs.systems import SYSTEMS, name_of, tables
from datamodules.settings.tables import ProblemSettings
from foundation.errors import UserError, near
from foundation.folders import check_folder
from foundation.settings import shown

__all__ = ["ConfigError", "check_config"]

_IN_DOUBLE = ("gmeql", "cvae")
"""Models whose equations are computed in double precision; all others learn from rows in single precision."""
SECTIONS = ("model", "data", "search", "trainer", "checkpoint", "logger", "callbacks")
"""Keys of the top level that have keys of their own; a run may do without the last."""


class ConfigError(UserError):
    """What is wrong with a configuration, as one sentence."""


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
    _check_sections(plain)
    RunSettings.of({name: value for name, value in plain.items() if name not in SECTIONS})
    CheckpointSettings.of(plain["checkpoint"])
    _check_logger(plain["logger"])
    _check_trainer(plain["trainer"])
    if config.resume is not None and config.ckpt_path is not None and not _in_run(config):
        raise ConfigError("resume and ckpt_path are two ways to go on: give one of them")
    for group in ("model", "data", "search"):
        _check_group(group, plain[group])
    _check_layers(plain["model"])
    _check_system(plain)
    _check_end(config)
    _check_search(plain["search"], name_of("data", plain["data"]["_target_"]))
    _check_table(config.data, single=name_of("model", config.model.get("_target_")) not in _IN_DOUBLE)
    _check_problem(config.data)
    _check_network(config)
    check_named_files(name_of("model", plain["model"]["_target_"]), plain)


def _check_sections(plain: Mapping[str, Any]) -> None:
    """Every group must be there, with keys of its own, and name a class that this package has."""
    for name in SECTIONS[:-1]:
        if not isinstance(plain.get(name), Mapping):
            raise ConfigError(f"{name}={shown(plain.get(name))} is not allowed: set its keys, {name}.KEY=VALUE")
    for name in ("model", "data", "search"):
        if name != "search" or "_target_" in plain[name]:  # search=none has no class
            check_class(name, name, plain[name])
    for name, entry in _mapping("callbacks", plain.get("callbacks")).items():
        if _mapping(f"callbacks.{name}", entry):
            check_class("callbacks", f"callbacks.{name}", entry)


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Keys of a section that may be left out."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}={shown(value)} is not allowed: set its keys, or leave it out with null")
    return value


def _check_logger(options: Mapping[str, Any]) -> None:
    """Check the keys of W&B, where the configuration has it."""
    if options:
        LoggerSettings.check(options)
        check_folder("logger.save_dir", str(options["save_dir"]))


def _check_trainer(options: Mapping[str, Any]) -> None:
    """Check all keys, since Lightning looks at most of them late, and at some only in the fit."""
    for name, instead in OWN_OF_A_RUN.items():
        if name in options:
            raise ConfigError(f"trainer.{name} is for the run to decide: leave it out; {instead}")
    TrainerSettings.of(options)
    check_devices_can_be_there(options)


def _check_system(plain: Mapping[str, Any]) -> None:
    """Model, data, search and the monitored metric must go together."""
    model, data, search = (name_of(group, plain[group].get("_target_")) for group in ("model", "data", "search"))
    if model is None or model not in SYSTEMS:  # one that is being written
        return
    system = SYSTEMS[model]
    if data not in system.data:
        raise ConfigError(
            f"model={model} does not go with data={data}: choose data={' or data='.join(system.data)}"
        )
    owners = [name for name, other in SYSTEMS.items() if search in other.searches]
    if owners and model not in owners:
        raise ConfigError(
            f"search={search} explains model={' or model='.join(owners)}, not model={model}: choose "
            f"search={system.search}, or search=none"
        )
    decodes = plain["model"].get("decode") == "target"
    if (system.needs_target or decodes) and plain["data"].get("target", "") is None:
        other = ", or use model.decode=inputs" if decodes else ""
        raise ConfigError(f"model={model} needs data with a target: name its column, data.target=…{other}")
    monitor = plain["checkpoint"].get("monitor")
    metrics = (*system.metrics, *(system.search_metrics if search == system.search else ()))
    if monitor is not None and monitor not in metrics:
        raise ConfigError(
            f"checkpoint.monitor={monitor} is no metric by which model={model} can choose an epoch; "
            f"{near(monitor, metrics) if metrics else 'it has none: leave it out'}"
        )


def _check_group(group: str, options: Mapping[str, Any]) -> None:
    """Check all keys of a model, of data or of a search by the settings classes of its target."""
    if "_target_" not in options:  # search=none; an experiment may still have set keys of a search
        return
    classes = SETTINGS[str(options["_target_"])][1]
    values = {name: value for name, value in options.items() if name != "_target_"}
    known = [name for settings in classes for name in settings.setting_names()]
    for name in values:
        if name not in known:
            raise ConfigError(f"{group}.{name} is not a key; {near(name, known, f'{group}.')}")
    for settings in classes:
        names = settings.setting_names()
        settings.of({name: values.pop(name) for name in names if name in values})


def _check_layers(options: Mapping[str, Any]) -> None:
    """The functions of an equation learner must be there."""
    if "layers" not in options:
        return
    from expressions.equation_learner.architecture import Architecture, ArchitectureError

    try:
        Architecture(options["layers"], features=1)
    except ArchitectureError as error:
        raise ConfigError(f"model.layers: {error}") from error


def _check_network(config: DictConfig) -> None:
    """What the one network that is to be read lacks."""
    network = config.data.get("network")
    if network is None:
        return
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


def _check_search(options: Mapping[str, Any], data: str | None) -> None:
    """Problems and the user's table: what is wrong with them is known before the fit."""
    if name_of("search", options.get("_target_")) == "cmaes":
        if data in tables() and options["table"] is not None:
            raise ConfigError(f"data={data} and search.table are two tables: leave out search.table")
        if not (data in tables() or options["problems"] or options["table"] is not None or options["heldout"]):
            raise ConfigError(
                "there is nothing to search for: give search.problems, search.heldout or search.table"
            )
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
    from datamodules.tables.splits import check_split
    from datamodules.tables.table import check_single_precision, check_table

    features: Any = OmegaConf.to_container(data.features) if OmegaConf.is_list(data.features) else data.features
    path = data.get("path", "sklearn:california_housing")
    rows = {"max_rows": data.max_rows, "min_rows": MIN_SPLIT_ROWS}
    table = check_table(str(path), data.target, features, **rows, seed=data.split_seed)
    check_split(len(table), data.split, data.validation_fraction, data.test_fraction)
    if single:
        check_single_precision(table)


def _check_problem(data: DictConfig) -> None:
    if data.get("_target_") != "datamodules.problem_data.ProblemData":
        return
    from datamodules.tables.problems import draw_tables, problem

    options: Any = OmegaConf.to_container(data, resolve=True)
    settings = ProblemSettings.of({key: value for key, value in options.items() if key != "_target_"})
    draw_tables(problem(str(data.problem)), **settings.of_the_rows())
