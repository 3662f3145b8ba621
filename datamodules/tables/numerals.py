"""How numbers are written: decimal marks, marks of thousands, exponents, and where two readings are possible."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = [
    "COMMA_DECIMAL",
    "COMMA_THOUSANDS",
    "MISSING",
    "NUMBER",
    "PLAIN",
    "decimal_mark",
    "is_bracketed",
    "is_missing",
    "is_number",
    "proved_marks",
]

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-", "--", "nil")
"""Words that stand for a missing cell, in lower case."""

_EXPONENT = r"([eEdD][+-]?\d+)?"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
"""A number as a programming language writes it."""
COMMA_DECIMAL = rf"^[+-]?(\d*,\d+|\d+,|\d{{1,3}}(\.\d{{3}})+,\d*|\d{{1,3}}(\.\d{{3}}){{2,}}|\d+){_EXPONENT}$"
"""A number with a decimal comma, points between thousands allowed."""
COMMA_THOUSANDS = rf"^[+-]?[1-9]\d{{0,2}}(,\d{{3}})+(\.\d*)?{_EXPONENT}$"
"""A number with commas between thousands."""

PLAIN = re.compile(rf"[+-]?(\d+\.?\d*|\.\d+){_EXPONENT}|[+-]?(?i:inf|infinity)")
_DECIMAL_COMMA = re.compile(COMMA_DECIMAL)
_THOUSANDS = re.compile(COMMA_THOUSANDS)
_SPACED = re.compile(r"[+-]?\d{1,3}([ '\u00a0\u202f]\d{3})+([.,]\d*)?")
_BRACKETED = re.compile(rf"\(\s*[\d.,]+{_EXPONENT}\s*\)")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}")


def is_number(text: str) -> bool:
    """Whether a cell is a number in any way of writing."""
    text = text.strip().replace("\u2212", "-")
    return bool(
        PLAIN.fullmatch(text)
        or _DECIMAL_COMMA.match(text)
        or _THOUSANDS.match(text)
        or _SPACED.fullmatch(text)
        or is_bracketed(text)
    )


def is_bracketed(text: str) -> bool:
    """Whether a cell is a number in brackets: negative in accounts, and anything elsewhere."""
    return bool(_BRACKETED.fullmatch(text.strip()))


def is_missing(text: str) -> bool:
    """Whether a cell says that it is empty."""
    return text.strip().lower() in MISSING


def proved_marks(cells: Iterable[str]) -> set[str]:
    """Decimal marks that the cells prove, each `.` or `,`; a cell such as `1,234` alone proves neither."""
    marks = set()
    for cell in cells:
        if "." in marks and "," not in cell and cell.count(".") < 2:
            continue  # it can only prove a point, which is proved
        text = cell.strip()
        if not ("," in text or "." in text) or _EITHER.fullmatch(text):
            continue
        if "," not in text:
            if PLAIN.fullmatch(text):
                marks.add(".")
            elif _DECIMAL_COMMA.match(text):  # 1.234.567
                marks.add(",")
        elif _THOUSANDS.match(text):
            marks.add(".")
        elif _DECIMAL_COMMA.match(text):
            marks.add(",")
    return marks


def decimal_mark(cells: Iterable[str], table_mark: str) -> str | None:
    """Decimal mark of one column.

    Args:
        cells: text of its cells.
        table_mark: mark that the rest of the table proves; empty if it proves none.

    Returns:
        `.` or `,`; None where two readings are possible.
    """
    texts = [cell.strip() for cell in cells]
    marks = proved_marks(texts)
    if len(marks) == 1:
        return marks.pop()
    either = {found[1] for text in texts if (found := _EITHER.fullmatch(text))}
    if not either and not marks:
        return "."
    if marks:
        return None
    if either == {"."}:  # 1.234: a decimal point, unless the table writes decimal commas
        return None if table_mark == "," else "."
    return table_mark or None
