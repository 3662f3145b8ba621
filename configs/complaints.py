"""Complaints of Hydra (an unknown key, group or choice), of Lightning and of W&B as one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from configs.registry import SETTINGS, defaults_of
from configs.synonyms import ours
from foundation.errors import near

__all__ = ["GROUPS", "choices_of", "explain", "suggestion"]

FOLDER = Path(__file__).parent
GROUPS = ("data", "experiment", "logger", "model", "search", "trainer")
PLUGINS = {
    "launcher/joblib": "hydra-joblib-launcher",
    "launcher/ray": "hydra-ray-launcher",
    "launcher/submitit_local": "hydra-submitit-launcher",
    "launcher/submitit_slurm": "hydra-submitit-launcher",
    "sweeper/ax": "hydra-ax-sweeper",
    "sweeper/nevergrad": "hydra-nevergrad-sweeper",
    "sweeper/optuna": "hydra-optuna-sweeper",
}
"""Plugin of Hydra -> package that brings it."""


def choices_of(group: str) -> list[str]:
    """Names of the presets of a group."""
    return sorted(path.stem for path in (FOLDER / group).glob("*.yaml"))


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
        return f"{key[1]} is not a key; {suggestion(key[1])}"
    key = re.search(
        r"Could not delete from config\. '([^']+)' does not exist|An item is already at '([^']+)'", text
    )
    if key is not None:
        return f"{' '.join(text.split())}"
    choice = re.search(r"Could not (?:find|load) '(\w+)/([^']+)'", text)
    if choice is not None:
        return _of_choice(choice[1], choice[2])
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several is not None:
        return f"{several[1]} is several values: write key=[a,b] for one list, or add -m to run one job for each"
    kind = type(error).__name__
    if kind == "InstantiationException":  # whatever else its cause is, `foundation.boundary` asks about
        cause = str(error.__cause__)
        return cause if isinstance(error.__cause__, TypeError) and "unexpected keyword" in cause else None
    if kind == "MisconfigurationException":
        return f"Lightning refuses this: {text}"
    if type(error).__module__.startswith("wandb.errors"):
        return f"W&B refuses this: {text}; logger=csv does without it"
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


def _of_choice(group: str, word: str) -> str:
    """What to say of a choice that there is not."""
    if group != "hydra":
        return f"{group}={word} is not one of the choices; {near(word, choices_of(group))}"
    kind, _, name = word.partition("/")
    package = PLUGINS.get(word)
    if package is None:
        return f"hydra/{kind}={name} is none that Hydra has; {near(word, PLUGINS)}"
    return f"hydra/{kind}={name} is not installed: pip install {package}"


def _first_message(error: BaseException) -> str:
    """The messages of an error and of what caused it, without Hydra's references to its manual."""
    parts = [str(error)]
    if error.__cause__ is not None:
        parts.append(str(error.__cause__))
    lines = [line for part in parts for line in part.splitlines() if line and not line.startswith("See https")]
    return "\n".join(lines)


def suggestion(key: str) -> str:
    """What may have been meant by a key that does not exist.

    Args:
        key: key as it was written, such as `model.lr`.
    """
    known = sorted(_known_keys())
    group, dot, _ = key.partition(".")
    having = (
        [name for name in choices_of(group) if key in _keys_of(FOLDER / group / f"{name}.yaml")] if dot else []
    )
    if having:  # of another choice than the one that was made
        return f"{' or '.join(f'{group}={name}' for name in having)} has it"
    inner = [word for word in known if "." in word and word.rpartition(".")[2] == key]
    if inner:  # the group was left out
        return f"did you mean {' or '.join(inner)}?"
    if ours(key):
        return f"did you mean {' or '.join(ours(key))}?"
    if group == "trainer" and key.count(".") == 1:
        presets = [FOLDER / group / f"{name}.yaml" for name in choices_of(group)]
        listed = ", ".join(sorted({name for preset in presets for name in _keys_of(preset)}))
        return f"write +{key}=… if Lightning's Trainer takes it; configured are {listed}"
    words = _under(known, f"{group}.") if dot else []
    if not dot:
        words = [word for word in known if "." not in word] + [name for name in GROUPS if name not in known]
    return near(key, words or known)


def _under(words: list[str], prefix: str) -> list[str]:
    return [word for word in words if word.startswith(prefix)]


@cache
def _known_keys() -> frozenset[str]:
    """The keys of all configurations that are shipped."""
    keys: set[str] = set()
    for path in FOLDER.rglob("*.yaml"):
        keys |= _keys_of(path)
    return frozenset(key for key in keys if not key.startswith("hydra") and key not in GROUPS and key)


@cache
def _keys_of(path: Path) -> frozenset[str]:
    """The keys of one file, those of the defaults that it begins with included."""
    group = "" if path.parent == FOLDER else path.parent.name
    top = "@package _global_" in path.read_text(encoding="utf-8")
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    found = {name for name, _ in _leaves(content, "" if top or not group else group)}
    begins = {str(entry).partition("@")[0] for entry in content.get("defaults", ()) if isinstance(entry, str)}
    for target, (name, _) in SETTINGS.items():
        if f"/defaults/{name}" in begins:
            found |= {f"{name.partition('_')[0]}.{key}" for key in defaults_of(target)}
    return frozenset(name for name in found if "_target_" not in name and name.split(".")[-1] != "defaults")


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is not itself a mapping."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
