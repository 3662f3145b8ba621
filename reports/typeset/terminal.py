"""Formulas in characters: fractions, roots and powers on several lines.

The layout is that of boxes with a baseline, as TeX has it (D. E. Knuth, The TeXbook, 1984, chapters 11 and 17); a
character is the unit of both directions.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from expressions.expression import Expression
from foundation.terminal import printable
from reports.typeset.notation import (
    SIGNS,
    Call,
    Fence,
    Fraction,
    Name,
    Notation,
    Number,
    Power,
    Root,
    Row,
    name_of,
    notation,
)

__all__ = ["formula_lines", "width_of"]

_SUPERSCRIPTS = str.maketrans("0123456789-\N{MINUS SIGN}", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_RISING, _FALLING = "\u2571", "\u2572"  # light diagonals, whose ends meet
_INDENT = " " * 4  # before the further rows of a broken sum
_TALL = {"(": "⎛⎜⎝", ")": "⎞⎟⎠", "|": "│││"}


def formula_lines(
    expression: Expression,
    names: Sequence[str] | None = None,
    target: str | None = None,
    width: int = 80,
    digits: int = 15,
) -> list[str]:
    """The lines of an equation, none of them ending in blanks.

    Args:
        expression: equation to set.
        names: names of the variables, any text; x0, x1, … when not given.
        target: name of what it is equal to, any text; None for the right side alone.
        width: columns of the terminal. A wider sum is broken before a sign; what is still wider comes as text on
            one line, which the terminal may break.
        digits: largest number of significant digits of a constant.
    """
    tree = notation(expression, names, digits)
    if tree is not None:
        left = [] if target is None else [_box(name_of(target)), _text(" = ")]
        rows = _broken(left, tree, width)
        if max(row.width for row in rows) <= width:
            return _stacked(rows)
    left_text = "" if target is None else f"{printable(target)} = "
    return [left_text + expression.infix(None if names is None else [printable(name) for name in names])]


def _broken(left: Sequence[_Box], tree: Notation, width: int) -> list[_Box]:
    """The whole formula, or a sum in as many rows as keep it within the width."""
    whole = _beside([*left, _box(tree)])
    if whole.width <= width or not isinstance(tree, Row) or tree.parts[1] not in SIGNS:
        return [whole]
    first, *others = tree.parts
    rows = [[*left, _part(first)]]
    for sign, term in zip(others[::2], others[1::2], strict=True):
        signed = _beside([_part(sign), _part(term)])
        if sum(box.width for box in rows[-1]) + signed.width > width:
            rows.append([_text(_INDENT)])
        rows[-1].append(signed)
    return [_beside(row) for row in rows]


def _stacked(rows: Sequence[_Box]) -> list[str]:
    """The lines of all rows, with an empty one between two of which either is taller than a line."""
    lines: list[str] = []
    for place, row in enumerate(rows):
        if place and max(rows[place - 1].height, row.height) > 1:
            lines.append("")
        lines += [line.rstrip() for line in row.lines]
    return lines


def width_of(text: str) -> int:
    """Columns that a text takes in a terminal."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


@dataclass(frozen=True)
class _Box:
    """Lines of equal width, one of which is the baseline."""

    lines: tuple[str, ...]
    baseline: int = 0

    @property
    def width(self) -> int:
        return width_of(self.lines[0])

    @property
    def height(self) -> int:
        return len(self.lines)


def _box(part: Notation) -> _Box:
    match part:
        case Number(text, None):
            return _text(text)
        case Number(text, exponent):
            return _text(f"{'' if text == '1' else f'{text}·'}10{str(exponent).translate(_SUPERSCRIPTS)}")
        case Name(text, index):
            return _text(text + (index.translate(_SUBSCRIPTS) if index.isdecimal() else f"_{index}" * bool(index)))
        case Row(parts):
            return _beside([_part(each) for each in parts])
        case Fraction(above, below):
            return _fraction(_box(above), _box(below))
        case Power(base, exponent_):
            raised = _box(exponent_)
            if base == Name("e") and raised.height > 1:
                return _beside([_text("exp"), _fenced(raised, "(", ")")])
            return _raised(_box(base), raised)
        case Root(inside, degree):
            return _root(_box(inside), degree)
        case Fence(inside, left, right):
            return _fenced(_box(inside), left, right)
        case Call(function, arguments):
            return _call(function, arguments)
    raise TypeError(f"{type(part).__name__} is no notation")


def _part(part: Notation | str) -> _Box:
    return _text(part) if isinstance(part, str) else _box(part)


def _text(text: str) -> _Box:
    return _Box((text.replace("\N{THIN SPACE}", " "),))


def _beside(boxes: Sequence[_Box]) -> _Box:
    """Boxes side by side on one baseline."""
    up = max(box.baseline for box in boxes)
    down = max(box.height - box.baseline for box in boxes)
    lines = [""] * (up + down)
    for box in boxes:
        first = up - box.baseline
        for row in range(up + down):
            inside = first <= row < first + box.height
            lines[row] += box.lines[row - first] if inside else " " * box.width
    return _Box(tuple(lines), up)


def _fraction(above: _Box, below: _Box) -> _Box:
    """One box over another, the bar on the baseline."""
    width = max(above.width, below.width)
    lines = [_centred(line, width) for line in above.lines]
    lines += ["─" * width, *(_centred(line, width) for line in below.lines)]
    return _Box(tuple(lines), above.height)


def _centred(line: str, width: int) -> str:
    room = width - width_of(line)
    return " " * (room // 2) + line + " " * (room - room // 2)


def _raised(base: _Box, exponent: _Box) -> _Box:
    """A base with its exponent: behind it in small digits where they exist, else above and behind it."""
    small = exponent.lines[0].translate(_SUPERSCRIPTS)
    if exponent.height == 1 and all(letter in "⁰¹²³⁴⁵⁶⁷⁸⁹⁻" for letter in small):
        shift = "" if base.height == 1 else " " * width_of(small)
        first = base.lines[0] + small
        return _Box((first, *(line + shift for line in base.lines[1:])), base.baseline)
    over = [" " * base.width + line for line in exponent.lines]
    under = [line + " " * exponent.width for line in base.lines]
    return _Box((*over, *under), exponent.height + base.baseline)


def _root(inside: _Box, degree: str) -> _Box:
    """A root with a bar above what is in it."""
    small = degree.translate(_SUPERSCRIPTS)
    if inside.height == 1:
        sign = f"{small}√"
        return _Box((" " * width_of(sign) + "_" * inside.width, sign + inside.lines[0]), 1)
    height = inside.height
    lines = [" " * (height + 1) + "_" * inside.width]
    for row, line in enumerate(inside.lines):
        sign = _FALLING + _RISING if row == height - 1 else " " * (height - row) + _RISING
        lines.append(f"{sign:<{height + 1}}{line}")
    if small:
        lines[height - 1] = small + lines[height - 1][1:]
    return _Box(tuple(lines), inside.baseline + 1)


def _fenced(inside: _Box, left: str, right: str) -> _Box:
    """A box between brackets as tall as it is."""
    if inside.height == 1:
        return _Box((f"{left.replace('|', '│')}{inside.lines[0]}{right.replace('|', '│')}",))
    last = inside.height - 1
    lines = []
    for row, line in enumerate(inside.lines):
        piece = 0 if row == 0 else 2 if row == last else 1
        lines.append(f"{_TALL[left][piece]}{line}{_TALL[right][piece]}")
    return _Box(tuple(lines), inside.baseline)


def _call(function: str, arguments: Sequence[Notation]) -> _Box:
    """A function's name before its arguments; bars of a magnitude need no brackets around them."""
    if len(arguments) == 1 and isinstance(arguments[0], Fence):
        return _beside([_text(function), _box(arguments[0])])
    separated: list[_Box] = []
    for argument in arguments:
        separated += [*([_text(", ")] if separated else []), _box(argument)]
    return _beside([_text(function), _fenced(_beside(separated), "(", ")")])
