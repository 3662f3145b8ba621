"""Settings of anything that can be configured: their defaults, their limits and their meaning in one place.

A settings class is a frozen dataclass. Its fields say what a value may be; its docstring says what it means:

    @dataclass(frozen=True, kw_only=True)
    class ZooSettings(Settings):
        group = "data"

        networks: int = setting(100_000, least=1)
        floor: float = setting(0.999, below=1.0)
        activation: str = setting("tanh", choices=("tanh", "relu"))
        cache: str | None = setting(None)

Constructors take such an object, the command line's checks ask its class, and a configuration file holds only what
differs from it. Files with settings import nothing heavy, so a wrong value is refused before torch is imported.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeVar

from foundation.errors import UserError, near
from foundation.machine import cores, memory

__all__ = ["Rule", "Settings", "SettingsError", "processes_rule", "seed_setting", "setting", "shown"]

_RULE = "rule"
_PROCESSES_A_CORE, _FEWEST_PROCESSES = 16, 64
Part = TypeVar("Part", bound="Settings")


class SettingsError(UserError, ValueError):
    """A setting that is unknown, or whose value is not allowed."""


@dataclass(frozen=True)
class Rule:
    """Rule for the values of one setting.

    Attributes:
        allows: test that a value must pass.
        words: description of the allowed values, to follow "it must be".
        choices: allowed words, where these are few; an error then names the nearest one.
    """

    allows: Callable[[Any], bool]
    words: str
    choices: tuple[str, ...] = ()


def setting(
    default: Any = MISSING,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | None = None,
    rule: Rule | None = None,
) -> Any:
    """A field of a settings class.

    What else a value must be follows from the field's type: `int` is a whole number, `float` a finite number,
    `bool` true or false, `str` a text that is not empty, `tuple` a list, `dict` a mapping; `| None` allows null as
    well.

    Args:
        default: default value; without one the setting must be given. A mapping is copied for every object.
        least: smallest allowed number.
        most: largest allowed number.
        above: number that a value must exceed.
        below: number that a value must stay under.
        choices: allowed words.
        rule: rule in place of the one that follows from the type.
    """
    limits = {"least": least, "most": most, "above": above, "below": below}
    metadata = {_RULE: rule, "limits": limits, "choices": None if choices is None else tuple(choices)}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def seed_setting() -> Any:
    """A field for a random seed, 0 by default; NumPy's legacy generator takes none above 2**32 - 1."""
    return setting(0, least=0, most=2**32 - 1)


def processes_rule(least: int = 1) -> Rule:
    """Rule for a number of processes or threads, of which too many would bring the machine to a stop."""
    most = max(_FEWEST_PROCESSES, _PROCESSES_A_CORE * cores())
    return Rule(
        lambda value: type(value) is int and least <= value <= most,
        f"a whole number from {least} to {most} on this machine",
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings classes: checks every value as soon as an object is made.

    Class attributes:
        group: group of the configuration that the settings belong to, such as `search`; it stands before the name
            of a setting in error messages.

    Raises:
        SettingsError: a value is not allowed.
    """

    group: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, rule in self.rules().items():
            value = getattr(self, name)
            if not rule.allows(value):
                raise self.refused(name, value, rule)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        self._check_memory()
        self._check_together()

    def needed_memory(self) -> Mapping[tuple[str, ...], float]:
        """Bytes that settings ask for, by their names; a subclass that can ask for too much overrides this."""
        return {}

    def _check_memory(self) -> None:
        """Raise a SettingsError where settings ask for more memory than this machine has."""
        for names, needed in self.needed_memory().items():
            if needed > (there := memory()):
                words = [f"{self.key(name)}={shown(getattr(self, name))}" for name in names]
                given = " with ".join(filter(None, (words[0], ", ".join(words[1:]))))
                raise SettingsError(
                    f"{given} needs about {_gigabytes(needed)} GB of memory, and this machine has "
                    f"{_gigabytes(there)}: give fewer"
                )

    def _check_together(self) -> None:
        """Check what one setting alone cannot tell; a subclass overrides this.

        Raises:
            SettingsError: values do not go together.
        """

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Settings from a configuration; what it does not name has its default.

        Raises:
            SettingsError: a setting is unknown, missing or has a value that is not allowed.
        """
        known = cls.setting_names()
        for name in options:
            if name not in known:
                raise SettingsError(f"{cls.key(name)} is not a key; {near(name, known, cls.key(''))}")
        for name in known:
            if name not in options and name not in cls.defaults():
                raise SettingsError(f"{cls.key(name)} is missing: give it, {cls.key(name)}=…")
        return cls(**options)

    @classmethod
    def setting_names(cls) -> tuple[str, ...]:
        """Names of all settings, in their order."""
        return tuple(item.name for item in fields(cls))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Default values by name as a configuration file would have them: lists, mappings, numbers and words."""
        values: dict[str, Any] = {}
        for item in fields(cls):
            if item.default is not MISSING:
                values[item.name] = item.default
            elif item.default_factory is not MISSING:
                values[item.name] = item.default_factory()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def rules(cls) -> Mapping[str, Rule]:
        """Rule of every setting, by name."""
        return _rules(cls)

    @classmethod
    def key(cls, name: str) -> str:
        """Name of a setting on the command line, such as `search.seconds`."""
        return f"{cls.group}.{name}" if cls.group else name

    @classmethod
    def refused(cls, name: str, value: Any, rule: Rule | None = None) -> SettingsError:
        """The error that says what a value must be."""
        rule = cls.rules()[name] if rule is None else rule
        hint = near(str(value), rule.choices) if rule.choices else ""
        hint = f"; {hint}" if hint.startswith("did you mean") else ""
        return SettingsError(f"{cls.key(name)}={shown(value)} is not allowed: it must be {rule.words}{hint}")

    def part(self, cls: type[Part]) -> Part:
        """The settings of a base class that are among these."""
        return cls(**{name: getattr(self, name) for name in cls.setting_names()})

    def as_mapping(self) -> dict[str, Any]:
        """All values by name, as a configuration file or a checkpoint holds them."""
        values = {name: getattr(self, name) for name in self.setting_names()}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()}


def shown(value: Any) -> str:
    """A value as the command line has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{','.join(map(shown, value))}]" if isinstance(value, list | tuple) else str(value)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.0f}" if size >= 1e10 else f"{size / 1e9:.1g}"


# --- rules from types -------------------------------------------------------------------------------------------


_KNOWN_RULES: dict[type[Settings], dict[str, Rule]] = {}
"""Rules that were worked out, by class: reading type hints takes time."""


def _rules(cls: type[Settings]) -> dict[str, Rule]:
    if cls not in _KNOWN_RULES:
        types = typing.get_type_hints(cls)
        _KNOWN_RULES[cls] = {item.name: _rule(types[item.name], item.metadata) for item in fields(cls)}
    return _KNOWN_RULES[cls]


def _rule(kind: Any, metadata: Mapping[str, Any]) -> Rule:
    """Rule of a field."""
    parts = set(typing.get_args(kind)) if typing.get_origin(kind) in (UnionType, typing.Union) else {kind}
    own: Rule | None = metadata.get(_RULE)
    if own is None:
        single = next(iter(parts - {NoneType}))
        own = _rule_of_type(typing.get_origin(single) or single, metadata)
    if NoneType not in parts:
        return own
    allows = own.allows
    return Rule(lambda value: value is None or allows(value), f"{own.words}, or null", own.choices)


def _rule_of_type(kind: Any, metadata: Mapping[str, Any]) -> Rule:
    limits: Mapping[str, float | None] = metadata.get("limits") or {}
    choices = metadata.get("choices")
    if choices is not None:
        return Rule(lambda value: isinstance(value, str) and value in choices, _one_of(choices), choices)
    if kind is bool:
        return Rule(lambda value: isinstance(value, bool), "true or false")
    if kind is int:
        return Rule(lambda value: type(value) is int and _within(value, limits), _words("a whole number", limits))
    if kind is float:
        return Rule(lambda value: _is_number(value) and _within(value, limits), _words("a number", limits))
    if kind is tuple:
        return Rule(lambda value: isinstance(value, list | tuple), "a list, such as [a,b]")
    if kind is dict:
        return Rule(lambda value: isinstance(value, Mapping), "a mapping, such as {a: 1}")
    return Rule(lambda value: isinstance(value, str) and value != "", "a text")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _within(value: float, limits: Mapping[str, float | None]) -> bool:
    least, most, above, below = (limits.get(name) for name in ("least", "most", "above", "below"))
    return (
        (least is None or value >= least)
        and (most is None or value <= most)
        and (above is None or value > above)
        and (below is None or value < below)
    )


def _words(noun: str, limits: Mapping[str, float | None]) -> str:
    """`a whole number, at least 1`; `a number from 0 to 1`; `a number above 0, at most 1`."""
    least, most, above, below = (limits.get(name) for name in ("least", "most", "above", "below"))
    if least is not None and most is not None:
        return f"{noun} from {least:g} to {most:g}"
    if above is not None and below is not None:
        return f"{noun} between {above:g} and {below:g}"
    parts = [] if least is None else [f", at least {least:g}"]
    parts += [] if above is None else [f" above {above:g}"]
    parts += [] if most is None else [f", at most {most:g}"]
    parts += [] if below is None else [f" below {below:g}" if not parts else f", less than {below:g}"]
    return noun + "".join(parts)


def _one_of(choices: Iterable[str]) -> str:
    return f"one of {', '.join(choices)}"
