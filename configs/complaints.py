"""Hydra's own complaints (an unknown key, group or choice, a text that does not parse) as one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from configs.registry import SETTINGS, defaults_of
from foundation.errors import UserError, near

__all__ = ["explain"]

FOLDER = Path(__file__).parent
GROUPS = ("data", "experiment", "logger", "model", "search", "trainer")


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


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is not itself a mapping."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
