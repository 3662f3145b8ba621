"""An equation of a run on the page: typeset, with its text to copy."""

from __future__ import annotations

import re

from expressions.parsing import ParseError, parse
from reports.html_parts.allowance import Allowance
from reports.html_parts.numbers import code
from reports.typeset.mathml import mathml

__all__ = ["equation"]

DIGITS = 4
"""Number of significant digits of a typeset constant; the text has all of them."""
LARGEST = 20_000
"""Number of bytes of a typeset equation; a larger one is shown as text."""

_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?![\w(])")


def equation(target: str, infix: str, room: Allowance, most: int) -> str:
    """An equation, typeset where it can be read and there is room.

    Args:
        target: name of what the equation gives, any text.
        infix: text of the equation, with the names of its columns; whatever a stranger's file holds.
        room: room for typeset equations.
        most: number of characters of the text that are shown.
    """
    text = code(infix, most)
    drawn = _typeset(target, infix)
    if drawn is None or not room.spend(drawn):
        return text
    return f"{drawn}<details class='text'><summary>as text</summary>{text}</details>"


def _typeset(target: str, infix: str) -> str | None:
    """The equation as MathML; None where it is no equation or too large."""
    names = sorted(set(_NAME.findall(infix)))
    try:
        drawn = mathml(parse(infix, names), names, target, digits=DIGITS)
    except ParseError:
        return None
    return drawn if drawn.startswith("<math") and len(drawn) <= LARGEST else None
