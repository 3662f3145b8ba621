"""Tables of results: on the terminal, and as Markdown to be pasted into a README."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.cells import FAILED, NOT_INSTALLED, OK, Record


@dataclass(frozen=True)
class Grid:
    """One table. `[rows][columns]` of text; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """The table for a terminal."""
        table = Table(title=self.title, title_justify="left")
        for k, column in enumerate(self.columns):
            table.add_column(column, justify="left" if k == 0 else "right", no_wrap=k == 0 or len(column) < 9)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        lines = [
            f"**{self.title}**",
            "",
            "| " + " | ".join(self.columns) + " |",
            "|" + "|".join(" :-- " if k == 0 else " --: " for k in range(len(self.columns))) + "|",
            *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows),
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """The tables of a suite and what must be known to read them."""

    grids: Sequence[Grid]
    notes: Sequence[str] = field(default_factory=tuple)

    def markdown(self, header: str) -> str:
        """Tables, notes and, above them, how the numbers came about."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join([header, *(grid.markdown() for grid in self.grids), notes]).rstrip() + "\n"


def group(records: Iterable[Record], by: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    """Records by a key, in the order in which the keys appear."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(by(record), []).append(record)
    return groups


def good(records: Iterable[Record]) -> list[Record]:
    """Those that ended well."""
    return [record for record in records if record.status == OK]


def status_note(records: Sequence[Record]) -> str:
    """What to print where a number should stand: `not installed`, `failed`, or nothing."""
    if any(record.status == OK for record in records):
        return ""
    return NOT_INSTALLED if any(record.status == NOT_INSTALLED for record in records) else FAILED


def failures(records: Sequence[Record]) -> list[str]:
    """One note for every method that failed or is missing."""
    notes = []
    for method, found in group(records, lambda record: record.cell.method).items():
        lost = [record for record in found if record.status == FAILED]
        absent = [record for record in found if record.status == NOT_INSTALLED]
        if lost:
            notes.append(f"{method}: {len(lost)} of {len(found)} cells failed, the first with: {lost[0].reason}")
        if absent:
            notes.append(f"{method}: not installed ({absent[0].reason})")
    return notes


def median(values: Iterable[float]) -> float:
    """Median; NaN of nothing."""
    found = list(values)
    return float(np.median(found)) if found else math.nan


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table: `digits` significant digits, a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}g}"


def decimals(value: float | None, digits: int = 4) -> str:
    """A number with a fixed number of decimals, a dash where there is none; large magnitudes in short form."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.2e}"


def thousands(value: float) -> str:
    """A whole number with commas, a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:,.0f}"
