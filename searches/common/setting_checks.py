"""Checks of single settings, each fault as one sentence; shared by the settings of all searches."""

from __future__ import annotations

import math
from typing import Any

from foundation.errors import UserError

__all__ = ["SettingsError", "check_number", "check_share", "check_switch", "check_whole", "is_number"]


class SettingsError(UserError, ValueError):
    """A setting of a search that is unknown or not allowed."""


def check_whole(name: str, value: Any, least: int) -> None:
    """A whole number, at least `least`.

    Raises:
        SettingsError: it is not.
    """
    if type(value) is not int or value < least:
        raise SettingsError(f"{name}={value!r} is not allowed: it must be a whole number, at least {least}")


def check_number(name: str, value: Any, *, above: bool = False) -> None:
    """A finite number, at least 0, or above it.

    Raises:
        SettingsError: it is not.
    """
    if not (is_number(value) and (value > 0 if above else value >= 0)):
        words = "above 0" if above else "at least 0"
        raise SettingsError(f"{name}={value!r} is not allowed: it must be a number, {words}")


def check_share(name: str, value: Any) -> None:
    """A number from 0 to 1.

    Raises:
        SettingsError: it is not.
    """
    if not (is_number(value) and 0 <= value <= 1):
        raise SettingsError(f"{name}={value!r} is not allowed: it must be a number from 0 to 1")


def check_switch(name: str, value: Any) -> None:
    """True or false.

    Raises:
        SettingsError: it is neither.
    """
    if not isinstance(value, bool):
        raise SettingsError(f"{name}={value!r} is not allowed: it must be true or false")


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and no truth value."""
    return type(value) in (int, float) and math.isfinite(value)
