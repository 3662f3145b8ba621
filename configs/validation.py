"""What a configuration may say, checked before anything heavy is imported, each fault as one sentence.

What the keys of a model, of data and of a search may hold is said by their settings classes
(`configs.registry`). Here are the rules of the top level, those over several groups, and the look at the table
or the problem. Hydra's own complaints (an unknown key, group or choice, a text that does not parse) become
sentences too.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from configs.registry import SETTINGS, defaults_of
from datamodules.settings.tables import ProblemSettings
from foundation.errors import UserError, near
from foundation.settings import Rule, Settings, setting

__all__ = ["ConfigError", "check_config", "explain"]

FOLDER = Path(__file__).parent
GROUPS = ("data", "experiment", "logger", "model", "search", "trainer")


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

    seed: int = setting(0, least=0, most=2**32 - 1)
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
    _check_table(config.data)
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
        from datamodules.tables.table import check_table

        check_table(str(options["table"]), options.get("target"), options.get("features"))


def _check_table(data: DictConfig) -> None:
    target = str(data.get("_target_", ""))
    if not target.startswith(("datamodules.tabular.", "datamodules.california.")):
        return
    from datamodules.tables.table import check_table

    features: Any = OmegaConf.to_container(data.features) if OmegaConf.is_list(data.features) else data.features
    path = data.get("path", "sklearn:california_housing")
    check_table(str(path), data.target, features, max_rows=data.max_rows, seed=data.split_seed)


def _check_problem(data: DictConfig) -> None:
    if data.get("_target_") != "datamodules.problem_data.ProblemData":
        return
    from datamodules.tables.problems import draw_tables, problem

    options: Any = OmegaConf.to_container(data, resolve=True)
    settings = ProblemSettings.of({key: value for key, value in options.items() if key != "_target_"})
    draw_tables(problem(str(data.problem)), **settings.of_the_rows())


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is not itself a mapping."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def explain(error: Exception) -> str | None:
    """Hydra's or OmegaConf's complaint as one sentence.

    Args:
        error: What composing the configuration raised.

    Returns:
        The sentence, or None where the fault is not the user's.
    """
    text = _first_message(error)
    key = re.search(r"Could not override '([^']+)'", text)
    if key is not None:
        return f"{key[1]} is not a key; {_near_key(key[1])}"
    key = re.search(
        r"Could not delete from config\. '([^']+)' does not exist|An item is already at '([^']+)'", text
    )
    if key is not None:
        return f"{' '.join(text.split())}"
    choice = re.search(r"Could not find '(\w+)/([^']+)'", text)
    if choice is not None:
        group, word = choice[1], choice[2]
        allowed = sorted(path.stem for path in (FOLDER / group).glob("*.yaml"))
        return f"{group}={word} is not one of the choices; {near(word, allowed)}"
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several is not None:
        return f"{several[1]} is several values: write key=[a,b] for one list, or add -m to run one job for each"
    kind = type(error).__name__
    if kind == "InstantiationException":
        return _of_constructor(error)
    if kind == "OverrideParseException":
        return (
            f"the command line cannot be read: {text.splitlines()[-1].split(' See ')[0]} (quote lists and spaces)"
        )
    if (
        type(error).__module__.startswith(("hydra.errors", "omegaconf.errors"))
        or kind == "ConfigCompositionException"
    ):
        return " ".join(text.split())
    return None


def _of_constructor(error: BaseException) -> str | None:
    """What a constructor has said that the configuration names, where the user can mend it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError) or (isinstance(cause, TypeError) and "unexpected keyword" in str(cause)):
            return " ".join(str(cause).split())
        cause = cause.__cause__ or cause.__context__
    return None


def _first_message(error: BaseException) -> str:
    """The messages of an error and of what caused it, without Hydra's references to its manual."""
    parts = [str(error)]
    if error.__cause__ is not None:
        parts.append(str(error.__cause__))
    lines = [line for part in parts for line in part.splitlines() if line and not line.startswith("See https")]
    return "\n".join(lines)


def _near_key(key: str) -> str:
    """Which keys are close to one that does not exist, or how to add one to the Trainer."""
    known = sorted(_known_keys())
    if key.startswith("trainer.") and key.count(".") == 1:
        listed = ", ".join(_under(known, "trainer."))
        return f"write +{key}=… if Lightning's Trainer takes it; configured are {listed}"
    group = key.split(".")[0] + "."
    having = sorted(path.stem for path in (FOLDER / group[:-1]).glob("*.yaml") if key in _keys_of(path))
    if having:  # of another choice than the one that was made
        return f"{' or '.join(f'{group[:-1]}={name}' for name in having)} has it"
    words = _under(known, group) if "." in key and _under(known, group) else known
    if "." not in key:
        words = [word for word in known if "." not in word] + [name for name in GROUPS if name not in known]
        if len(near(key, words)) > 60:  # nothing close at the top: perhaps the group was left out
            inner = [word for word in known if word.split(".")[-1] == key]
            return f"did you mean {' or '.join(inner)}?" if inner else near(key, words)
    return near(key, words)


def _under(words: list[str], prefix: str) -> list[str]:
    return [word for word in words if word.startswith(prefix)]


def _known_keys() -> set[str]:
    """The keys of all configurations that are shipped."""
    keys: set[str] = set()
    for path in FOLDER.rglob("*.yaml"):
        keys |= _keys_of(path)
    return {key for key in keys if not key.startswith("hydra") and key not in GROUPS and key}


def _keys_of(path: Path) -> set[str]:
    """The keys of one file, those of the defaults that it begins with included."""
    group = "" if path.parent == FOLDER else path.parent.name
    top = "@package _global_" in path.read_text(encoding="utf-8")
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    found = {name for name, _ in _leaves(content, "" if top or not group else group)}
    begins = {str(entry).partition("@")[0] for entry in content.get("defaults", ()) if isinstance(entry, str)}
    for target, (name, _) in SETTINGS.items():
        if f"/defaults/{name}" in begins:
            found |= {f"{name.partition('_')[0]}.{key}" for key in defaults_of(target)}
    return {name for name in found if "_target_" not in name and name.split(".")[-1] != "defaults"}
