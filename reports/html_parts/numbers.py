"""Numbers and names as the tables of the page show them."""

from __future__ import annotations

import math
import re
from typing import Any

from reports.html_parts.escaping import escape
from reports.html_parts.run_groups import Spread
from runs.reader import digits

__all__ = ["breakable", "code", "cut", "number", "spread"]


def breakable(text: str) -> str:
    """Escaped text that may break behind a slash or an underscore."""
    return re.sub(r"([/_])", r"\1<wbr>", escape(text))


def code(text: str, most: int) -> str:
    """An equation as text, cut behind so many characters."""
    return f"<code>{escape(cut(text, most))}</code>"


def cut(text: str, most: int) -> str:
    """Text of at most so many characters, and a mark where there were more."""
    return text if len(text) <= most else f"{text[:most]}…"


def number(value: Any) -> str:
    """A number as a table shows it; an en dash where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        as_float = float(value)
    except (TypeError, ValueError, OverflowError):
        return "\N{EN DASH}" if value in (None, "") else escape(str(value)[:40])
    if not math.isfinite(as_float):
        return escape(as_float)
    mantissa, _, exponent = digits(as_float).partition("e")
    shown = mantissa.replace("-", "\N{MINUS SIGN}")
    return f"{shown}·10<sup>{int(exponent)}</sup>".replace("<sup>-", "<sup>\N{MINUS SIGN}") if exponent else shown


def spread(value: Spread | None) -> str:
    """Mean and standard deviation; of a single value, the value."""
    if value is None:
        return number(None)
    if value.count == 1:
        return number(value.mean)
    return f"{number(value.mean)} <small>± {number(float(f'{value.deviation:.2g}'))}</small>"
