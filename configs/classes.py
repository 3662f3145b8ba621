"""The classes that a configuration may name, `_target_`: those of the shipped configurations, and no other.

A configuration is composed from words that somebody has typed or stored, and a class that it names is called. So
this is the only place where a name becomes a class, and it knows all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, OmegaConf

from configs.registry import SETTINGS
from foundation.errors import UserError
from foundation.settings import shown

__all__ = ["CALLBACKS", "ClassError", "built", "check_class", "class_of"]

CALLBACKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "throughput": ("callbacks.throughput.Throughput", ()),
    "map_report": (
        "callbacks.map_report.MapReport",
        ("run_dir", "samples", "pairs", "steps", "rows", "drawn", "seed"),
    ),
}
"""Name of a callback of the shipped configurations -> its class, and the keys that it has."""


class ClassError(UserError):
    """A class that a configuration may not name, or keys that it does not have."""


def check_class(group: str, key: str, section: Mapping[str, Any]) -> str:
    """Make sure that a section of a configuration names a class that it may name.

    Args:
        group: `model`, `data`, `search` or `callbacks`.
        key: key of the section, for the error.
        section: content of the section.

    Returns:
        The class as the section names it.

    Raises:
        ClassError: no shipped configuration of this group names the class.
    """
    target = section.get("_target_")
    if isinstance(target, str) and target in _allowed(group):
        return target
    choose = f"one of {', '.join(_allowed(group))}" if group == "callbacks" else f"choose a preset, {group}=NAME"
    raise ClassError(
        f"{key}._target_={shown(target)} is not allowed, since a run builds only classes that a shipped "
        f"configuration names: {choose}"
    )


def class_of(group: str, section: Mapping[str, Any]) -> Any:
    """The class that a section of a configuration names.

    Args:
        group: `model`, `data`, `search` or `callbacks`.
        section: content of the section.

    Raises:
        ClassError: no shipped configuration of this group names the class.
    """
    module, _, name = check_class(group, group, section).rpartition(".")
    return getattr(import_module(module), name)


def built(group: str, section: DictConfig, **more: Any) -> Any:
    """An object of the class that a section of a configuration names; its keys are the arguments.

    Args:
        group: `model`, `data`, `search` or `callbacks`.
        section: section of the configuration.
        **more: further arguments, which replace keys of the same name.

    Raises:
        ClassError: no shipped configuration of this group names the class, or the class has no such key.
    """
    options: Any = OmegaConf.to_container(section, resolve=True)
    kind = class_of(group, options)
    del options["_target_"]
    try:
        return kind(**{**options, **more})
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise ClassError(f"{group}: {error}") from error


def _allowed(group: str) -> tuple[str, ...]:
    """Classes that a group of the configuration may name."""
    if group == "callbacks":
        return tuple(target for target, _ in CALLBACKS.values())
    return tuple(target for target, (name, _) in SETTINGS.items() if name.startswith(f"{group}_"))
