"""`settings.json` of a run directory: what the command line of the run set, as plain data, to go on with.

    {"format": "rediscover settings 1", "set": {"model": "gmeql", "search.seconds": 60}, "removed": []}

A run directory may come from a stranger. Here it is only made sure that the file is data; what it may set is for
`configs.stored_settings` to say. Runs of earlier versions have the words of their command line instead, in
`.hydra/overrides.yaml`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import read_regular, replace_file
from foundation.schema import FormatError, choice, json_content, list_of, mapping_of, record, text
from runs.yaml_content import yaml_content

__all__ = ["OLD_WORDS", "SETTINGS_FILE", "StoredSettings", "read_old_words", "read_settings", "write_settings"]

SETTINGS_FILE = "settings.json"
OLD_WORDS = Path(".hydra") / "overrides.yaml"
FORMAT = "rediscover settings 1"
_MOST_BYTES = 1 << 18
_CONTENT = record(
    {
        "format": choice(FORMAT),
        "set": mapping_of(lambda value: value, most=1_000),
        "removed": list_of(text(1_000), most=1_000),
    }
)


class SettingsFileError(UserError):
    """Stored settings that cannot be read."""


@dataclass(frozen=True)
class StoredSettings:
    """What a command line set.

    Attributes:
        values: value by key, in the order of the command line: `{"model": "gmeql", "search.seconds": 60}`.
        removed: keys that it removed from the configuration.
    """

    values: Mapping[str, Any]
    removed: tuple[str, ...] = field(default=())


def write_settings(run_dir: Path, settings: StoredSettings) -> None:
    """Keep the settings of a run for the next time."""
    content = {"format": FORMAT, "set": dict(settings.values), "removed": list(settings.removed)}
    replace_file(run_dir / SETTINGS_FILE, json.dumps(content, indent=1) + "\n")


def read_settings(run_dir: Path) -> StoredSettings:
    """The stored settings of a run.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is no regular file, or holds something else.
    """
    path = run_dir / SETTINGS_FILE
    raw = read_regular(path, most=_MOST_BYTES)
    try:
        content = json_content(raw, _CONTENT)
    except FormatError as error:
        raise SettingsFileError(f"{path} is damaged, or of another version: {error}; start a new run") from error
    return StoredSettings(content["set"], tuple(content["removed"]))


def read_old_words(run_dir: Path) -> list[str]:
    """The words of the command line of a run of an earlier version.

    Raises:
        UserError: There is no such file, it is no regular file, or holds something else.
    """
    path = run_dir / OLD_WORDS
    try:
        words: list[str] = list_of(text(10_000), most=1_000)(yaml_content(path))
    except FormatError as error:
        raise SettingsFileError(f"{path} cannot be read: start a new run") from error
    return words
