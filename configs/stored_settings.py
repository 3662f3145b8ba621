"""The settings that a run was started with, stored in its directory and taken up again when it is resumed.

A run directory may come from a stranger, and what it stores is data. So a stored setting has effect only where it
is a key that the shipped configurations have, with a plain value: a number, a word, a list. It names no class and
no setting of Hydra, is not worked out further (`${…}`), and is no path that leads out of the working directory.
What else a command line may set, whoever resumes the run types again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from configs.classes import CALLBACKS
from configs.complaints import GROUPS, choices_of
from configs.registry import SETTINGS
from configs.run_settings import CheckpointSettings, LoggerSettings, RunSettings, TrainerSettings
from foundation.errors import UserError, near
from foundation.files import MissingFileError
from foundation.settings import Settings
from runs.settings_file import OLD_WORDS, SETTINGS_FILE, StoredSettings, read_old_words, read_settings

__all__ = ["StoredSettingsError", "settings_of", "spelled", "stored_words"]

GOING_ON = ("resume", "ckpt_path")
_KEY = re.compile(r"[A-Za-z]\w*")  # `_target_` and its like begin otherwise
_LONGEST, _DEEPEST, _SHOWN = 10_000, 4, 100


class StoredSettingsError(UserError):
    """A stored setting that is not taken up."""


def settings_of(words: Sequence[str], config: DictConfig | None = None) -> StoredSettings:
    """What a command line sets, to be stored.

    Args:
        words: words of the command line in Hydra's grammar, known to be sound.
        config: configuration that they led to, which has their values after interpolation; None: their own.
    """
    values: dict[str, Any] = {}
    removed: dict[str, None] = {}
    for override in OverridesParser.create().parse_overrides(list(words)):
        key = override.get_key_element().lstrip("+~")
        if key in GOING_ON:
            continue
        values.pop(key, None)
        removed.pop(key, None)
        if override.type == OverrideType.DEL:
            removed[key] = None
        else:
            found = override.value() if config is None or key in GROUPS else OmegaConf.select(config, key)
            values[key] = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    return StoredSettings(values, tuple(removed))


def stored_words(run_dir: Path, typed: Sequence[str]) -> list[str]:
    """The command line that a run was started with, spelled in Hydra's grammar.

    Args:
        run_dir: run directory.
        typed: words that are typed now; a stored setting of the same key is not looked at.

    Raises:
        StoredSettingsError: a setting is not one that may be stored.
        UserError: the file of the settings is damaged, or no regular file.
    """
    try:
        path, stored = run_dir / SETTINGS_FILE, read_settings(run_dir)
    except MissingFileError:  # a run of an earlier version
        path = run_dir / OLD_WORDS
        try:
            stored = settings_of(read_old_words(run_dir))
        except (HydraException, RecursionError) as error:
            raise StoredSettingsError(f"{path} cannot be read: start a new run") from error
    now = {word.lstrip("+~").partition("=")[0] for word in typed}
    values = {key: value for key, value in stored.values.items() if key not in now}
    removed = [key for key in stored.removed if key not in now]
    for key, value in values.items():
        reason = _wrong_choice(key, value) if key in GROUPS else _wrong_key(key) or _wrong_value(value)
        if reason is not None:
            raise StoredSettingsError(
                f"{path} sets {_shown(key)} to {_shown(value)}: {reason}; type it again where it is what you want"
            )
    for key in removed:
        if _wrong_key(key) is not None:
            raise StoredSettingsError(f"{path} removes {_shown(key)}: {_wrong_key(key)}; start a new run")
    set_words = [f"{'' if key in GROUPS else '++'}{key}={spelled(value)}" for key, value in values.items()]
    return [*set_words, *(f"~{key}" for key in removed)]


# --- what may be stored -----------------------------------------------------------------------------------------


def _wrong_choice(group: str, value: Any) -> str | None:
    """Reason why a value is no choice of a group, None where it is one."""
    names = choices_of(group)
    chosen = value if isinstance(value, list) else [value]
    for name in chosen:
        if name not in names and not (name is None and group == "experiment"):
            return f"it is not one of the choices, {near(str(name)[:_SHOWN], names)}"
    return None


def _wrong_key(key: str) -> str | None:
    """Reason why a key may not be stored, None where it may."""
    group, _, rest = key.partition(".")
    names = rest.split(".")
    if group == "callbacks":
        keys = CALLBACKS[names[0]][1] if names[0] in CALLBACKS else ()
        known = rest in CALLBACKS or (len(names) == 2 and names[1] in keys)
    elif rest:
        known = names[0] in _names_of(group) and all(map(_KEY.fullmatch, names[1:]))
    else:
        known = group in RunSettings.setting_names() and group not in GOING_ON
    return None if known else "it is no key that a stored setting may have"


def _names_of(group: str) -> set[str]:
    """Names of all settings of a group, whichever class of the group they are of."""
    if group == "logger":
        return {*LoggerSettings.setting_names(), "group"}
    classes: list[type[Settings]] = [own for own in (CheckpointSettings, TrainerSettings) if own.group == group]
    for name, several in SETTINGS.values():
        classes += several if name.startswith(f"{group}_") else ()
    return {name for each in classes for name in each.setting_names()}


def _wrong_value(value: Any, depth: int = 0) -> str | None:
    """Reason why a value may not be stored, None where it may."""
    if depth > _DEEPEST:
        return "it is nested too deeply"
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and _KEY.fullmatch(key) for key in value):
            return "it has keys that no setting has"
        value = list(value.values())
    if isinstance(value, list):
        return next((reason for entry in value if (reason := _wrong_value(entry, depth + 1))), None)
    if isinstance(value, str):
        return _wrong_text(value)
    plain = value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return None if plain else "it is no plain value"


def _wrong_text(text: str) -> str | None:
    """Reason why a text may not be stored, None where it may."""
    if "${" in text or len(text) > _LONGEST or not text.isprintable():
        return "it is no plain text"
    return f"it leads out of the working directory {Path.cwd()}" if _leads_out(text) else None


def _leads_out(text: str) -> bool:
    """Whether a text, taken as a path, leads out of the working directory."""
    path = Path(text)
    if path.is_absolute() or ".." in path.parts:
        return not path.resolve().is_relative_to(Path.cwd().resolve())
    return text.startswith("~")


# --- Hydra's grammar --------------------------------------------------------------------------------------------


def spelled(value: Any) -> str:
    """A plain value in Hydra's grammar; texts are quoted, so that nothing in them has a meaning."""
    if isinstance(value, str):
        return str(QuotedString(value, Quote.single).with_quotes())
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{spelled(entry)}' for key, entry in value.items())}}}"
    return "null" if value is None else str(value).lower()


def _shown(value: Any) -> str:
    """A value of a stranger in few characters, without those that a terminal obeys."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
