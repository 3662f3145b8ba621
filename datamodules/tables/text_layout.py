"""Layout of a text file, found from its beginning: delimiter, line of names, and lines that are no rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datamodules.tables.numerals import is_missing, is_number, proved_marks
from datamodules.tables.opened import TableError

__all__ = ["WHITE_SPACE", "Layout", "find_layout", "opens_quotes", "shown_line", "split_line", "unclosed"]

WHITE_SPACE = " "
"""Delimiter of cells that any run of blanks and tabs separates."""
DELIMITERS = (",", ";", "\t", "|", WHITE_SPACE)
"""Delimiters in the order in which they are preferred."""

_NAMES_OF = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", WHITE_SPACE: "white space"}
_COMPARED_LINES = 200
_LOOKED_AT_LINES = 2000
_LINE_SHOWN = 40
_TOTALS = ("total", "totals", "grand total", "sum", "mean", "average", "avg", "median")
_LINE_BREAKS = re.compile("[\r\n\v\f\x85\u2028\u2029]+")
_OPENING_QUOTE = re.compile(r'(^|[,;\t| ])"')


@dataclass(frozen=True)
class Layout:
    """Layout of a text file.

    Attributes:
        delimiter: mark between cells, or `WHITE_SPACE`.
        names: column names, as many as a row has cells.
        above: number of lines above the first row: names, units, remarks.
        total: number of the last line, from 1, if it holds totals of the rows; 0 if it does not.
        plain: whether the rows below can be read as they are, with no remark among them.
        notes: sentences that say how the file is understood.
        decimal: decimal mark that the rows prove, `.` or `,`; empty if they prove none.
    """

    delimiter: str
    names: list[str]
    above: int
    total: int
    plain: bool
    notes: list[str]
    decimal: str


@dataclass(frozen=True)
class _Line:
    """A line that may hold cells: its text, and the number of lines up to its end."""

    text: str
    end: int


def shown_line(text: str) -> str:
    """A line in quotation marks, cut to a length that stays one sentence."""
    text = text.strip()
    return repr(text if len(text) <= _LINE_SHOWN else f"{text[:_LINE_SHOWN]}…")


def opens_quotes(line: str) -> bool:
    """Whether a cell of a line begins with a quotation mark; one inside a cell, as in 5", opens nothing."""
    return bool(_OPENING_QUOTE.search(line))


def split_line(text: str, delimiter: str) -> list[str]:
    """Cells of a line."""
    if delimiter == WHITE_SPACE:
        if not opens_quotes(text):
            return text.split()
        text = re.sub(r"\s", " ", text.strip())
    try:
        skip = delimiter == WHITE_SPACE
        return next(csv.reader([text], delimiter=delimiter, skipinitialspace=skip), [])
    except csv.Error:  # quotation marks that do not close
        return text.split() if skip else text.split(delimiter)


def unclosed(label: str, number: int, line: str) -> TableError:
    """An error for a quotation mark behind which all other lines are one cell.

    Args:
        label: name of the file in sentences.
        number: number of the line in which it stands.
        line: text of the line.
    """
    return TableError(
        f"{label} has a quotation mark in line {number:,}, {shown_line(line)}, that no other one closes: close "
        "it, or take it out."
    )


def find_layout(text: str, label: str, delimiter: str | None, whole: bool) -> Layout:
    """Find the layout of a file.

    Args:
        text: beginning of the file, whole lines.
        label: name of the file in sentences.
        delimiter: mark between cells that the file's name promises, None for none.
        whole: whether the beginning is all of the file.

    Raises:
        TableError: there is nothing in the file, its line of names does not suit its rows, or nothing closes a
            quotation mark.
    """
    remarks, lines, said, opened = _lines(text)
    if whole and opened:
        raise unclosed(label, opened.end, opened.text)
    if not lines:
        raise TableError(
            f"{label} holds only blank space: a table needs a line of column names and rows of numbers."
        )
    return _layout(remarks, lines, label, said or delimiter, whole and len(lines) < _LOOKED_AT_LINES)


def _lines(text: str) -> tuple[list[_Line], list[_Line], str | None, _Line | None]:
    """Remarks (lines that begin with `#`), other lines, and the delimiter that a line such as `sep=;` says.

    The last one is the line of a quotation mark that other lines follow and none closes.
    """
    remarks: list[_Line] = []
    lines: list[_Line] = []
    said = None
    held, quotes = "", 0
    opened = None
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        line = line.rstrip("\n")
        if quotes % 2 == 0:
            found = re.fullmatch(r"\s*\"?sep=(.|\\t)\"?\s*", line) if not lines else None
            if found:
                said = found[1].replace("\\t", "\t")
                continue
            if not line.strip():
                continue
            if line.lstrip().startswith("#"):
                remarks.append(_Line(line, number))
                continue
        quotes += line.count('"') if held or opens_quotes(line) else 0
        opened = opened if held else _Line(line, number)
        held = f"{held}\n{line}" if held else line
        if quotes % 2 == 0 or len(held) > 1 << 16:
            lines.append(_Line(held, number))
            held, quotes = "", 0
            if len(lines) == _LOOKED_AT_LINES:
                break
    if held:
        lines.append(_Line(held, number))
    return remarks, lines, said, opened if "\n" in held else None


def _layout(remarks: list[_Line], lines: list[_Line], label: str, delimiter: str | None, whole: bool) -> Layout:
    """The layout of a file that has lines, from the top of it to the bottom."""
    delimiter = _delimiter([line.text for line in lines[:_COMPARED_LINES]], delimiter)
    rows = [split_line(line.text, delimiter) for line in lines]
    width = _width(rows)
    notes = [f"cells of {label} are separated by {_NAMES_OF[delimiter]}"] if delimiter == WHITE_SPACE else []
    first = _first_row(rows, width)
    if first:
        notes.append(f"{first} line(s) above the names are left out, the first being {shown_line(lines[0].text)}")
    body = rows[first:]
    named = not _begins_with_numbers(body)
    above = lines[first].end if named else (lines[first - 1].end if first else 0)
    if named:
        names, body = [_LINE_BREAKS.sub(" ", name.strip()) for name in body[0]], body[1:]
        names = _fitted(names, lines[first].text, body, width, label, notes)
    else:
        before = [each for each in remarks if each.end < lines[first].end]
        above = max([above, *(each.end for each in before)])
        names = _names_of_a_remark([each.text for each in before], delimiter, width)
        notes.append(_without_names(label, names, width))
        names = names or [f"x{position}" for position in range(width)]
    if _is_units(body, width):
        above = lines[first + named].end
        notes.append(f"the line of units below the names is left out ({', '.join(map(str.strip, body[0]))[:60]})")
        body = body[1:]
    total = lines[-1].end if whole and _is_total(body) else 0
    if total:
        notes.append(f"the last line of {label} holds totals and is left out ({shown_line(lines[-1].text)})")
    marks = proved_marks(cell for row in body for cell in row)
    plain = delimiter != WHITE_SPACE and not (remarks or total) and all(len(row) == len(names) for row in body)
    return Layout(delimiter, names, above, total, plain, notes, marks.pop() if len(marks) == 1 else "")


def _delimiter(lines: Sequence[str], promised: str | None) -> str:
    """The delimiter that cuts the lines into equally many cells, most of them numbers."""
    if promised is not None and all(promised in line for line in lines[:2]):
        return promised
    if len(lines) == 1:  # names alone
        return max(DELIMITERS[:-1], key=lambda mark: len(split_line(lines[0], mark)))
    scores = {mark: _score(lines, mark) for mark in DELIMITERS}
    best = max(DELIMITERS, key=lambda mark: scores[mark])
    return best if scores[best] > 0 else promised or ","


def _score(lines: Sequence[str], delimiter: str) -> float:
    """How well a delimiter suits the lines; 0 where it cuts nothing."""
    rows = [split_line(line, delimiter) for line in lines]
    width = _width(rows)
    if width < 2:
        return 0.0
    regular = [row for row in rows if len(row) == width]
    cells = [cell for row in regular for cell in row]
    numbers = sum(is_number(cell) or is_missing(cell) for cell in cells) / len(cells)
    # A header of another width speaks against the delimiter; one cell more or fewer may be a name of the rows.
    header = 1.0 if len(rows[0]) == width else 0.75 if abs(len(rows[0]) - width) == 1 else 0.5
    return header * (len(regular) / len(rows)) ** 2 * (0.1 + numbers)


def _width(rows: Sequence[Sequence[str]]) -> int:
    """Number of cells of most rows, their line of names aside."""
    counts = Counter(len(row) for row in (rows[1:] or rows))
    return counts.most_common(1)[0][0]


def _first_row(rows: Sequence[Sequence[str]], width: int) -> int:
    """Position of the line of names below a preamble of other widths; 0 where there is no preamble."""
    if width < 2 or abs(len(rows[0]) - width) < 1:
        return 0
    fitting = next((position for position, row in enumerate(rows) if len(row) == width), 0)
    return fitting if fitting and not any(map(is_number, rows[fitting])) else 0


def _begins_with_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line is a row already, and no line of names.

    It is one where all of its cells are numbers; where some are text, if they stand in columns of text and a
    number has decimals, which a name such as `1990` has not.
    """
    first = [cell.strip() for cell in rows[0]]
    filled = [cell for cell in first if not is_missing(cell)]
    numbers = [is_number(cell) for cell in filled]
    if not any(numbers):
        return False
    if all(numbers):
        return True
    below = [row for row in rows[1:] if len(row) == len(first)]
    if not below or not any("." in cell for cell in filled if is_number(cell)):
        return False
    return all(
        is_missing(cell) or is_number(cell) == _is_numeric(below, position) for position, cell in enumerate(first)
    )


def _is_numeric(rows: Sequence[Sequence[str]], position: int) -> bool:
    """Whether most cells of a column are numbers."""
    cells = [row[position] for row in rows if len(row) > position and not is_missing(row[position])]
    return 2 * sum(map(is_number, cells)) > len(cells)


def _fitted(
    names: list[str], line: str, rows: list[list[str]], width: int, label: str, notes: list[str]
) -> list[str]:
    """As many names as a row has cells, from the cells of a line or from the line itself."""
    if not rows or len(names) == width:
        return names
    apart = re.split(r"\s{2,}|\t", line.strip())  # names of several words
    if len(apart) == width:
        return apart
    regular = [row for row in rows if len(row) == width]
    if len(names) == width - 1:
        if all(not row[-1].strip() for row in regular):
            return [*names, ""]
        if names and _counts_or_names([row[0] for row in regular]):
            notes.append(f"the first column of {label} has no name, and names or numbers the rows")
            return ["", *names]
    while len(names) > width and not names[-1]:
        names = names[:-1]
    if len(names) != width:
        raise TableError(
            f"{label} is not a regular table: its line of names has {len(names)} cells "
            f"({shown_line(', '.join(names))}) and its rows have {width}: give every column one name, in "
            "quotation marks where the delimiter stands in it."
        )
    return names


def _counts_or_names(cells: Sequence[str]) -> bool:
    """Whether cells are 1, 2, 3, … or words, as the names of rows are that R writes."""
    counting = [cell.strip() for cell in cells] == [str(number) for number in range(1, len(cells) + 1)]
    return counting or not any(map(is_number, cells))


def _names_of_a_remark(remarks: Sequence[str], delimiter: str, width: int) -> list[str]:
    """Column names from the last remark above the rows, if it has one for each; else an empty list."""
    if not remarks:
        return []
    text = remarks[-1].strip().lstrip("#").strip()
    for names in (split_line(text, delimiter), text.split(","), re.split(r"\s{2,}|\t", text), text.split()):
        names = [name.strip() for name in names]
        if len(names) == width and all(names) and not any(map(is_number, names)):
            return names
    return []


def _without_names(label: str, names: Sequence[str], width: int) -> str:
    """A sentence that says where the names come from if no line of names stands above the rows."""
    if names:
        return f"the names of the columns are taken from the line of {label} that begins with #"
    called = "x0" if width == 1 else "x0, x1" if width == 2 else f"x0 to x{width - 1}"
    return f"{label} has no line of names: its columns are called {called}"


def _is_total(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the last row says of itself, and no other row does, that it is a total or a mean of the rows."""
    if len(rows) < 3:
        return False
    words = [cell.strip(" :").lower() for cell in rows[-1]]
    found = next((position for position, word in enumerate(words) if word in _TOTALS), None)
    return found is not None and all(
        len(row) <= found or row[found].strip(" :").lower() not in _TOTALS for row in rows[:-1]
    )


def _is_units(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether the first row is a line of units: text, above columns of numbers."""
    if len(rows) < 3 or len(rows[0]) != width:
        return False
    filled = [(position, cell) for position, cell in enumerate(rows[0]) if not is_missing(cell)]
    if any(is_number(cell) and cell.strip() != "1" for _, cell in filled):
        return False
    return any(not is_number(cell) and _is_numeric(rows[1:], position) for position, cell in filled)
