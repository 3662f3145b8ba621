"""Cells of a benchmark: what is measured once, how it is kept, and how it is run.

A cell is one method on one problem with one seed and one set of settings. Each runs in a process of its own, so
that a crash, a leak or an endless loop of one method is that cell's failure and nobody else's. What is finished is
one JSON line in a ledger; a second run of the same command skips it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import MissingFileError, read_regular
from foundation.schema import FormatError, choice, mapping_of, number, plain, record, text, whole

Settings = dict[str, int | float | str]

OK, FAILED, NOT_INSTALLED = "ok", "failed", "not installed"


@dataclass(frozen=True)
class Cell:
    """One thing to measure.

    Attributes:
        out: directory for what outlives the cell (trained networks); not part of what identifies it.
    """

    suite: str
    method: str
    problem: str
    seed: int
    settings: Settings = field(default_factory=dict)
    out: str = ""

    @property
    def key(self) -> str:
        """Text that two cells share exactly when they measure the same thing."""
        settings = dict(sorted(self.settings.items()))
        return json.dumps([self.suite, self.method, self.problem, self.seed, settings])


@dataclass(frozen=True)
class Record:
    """A cell and what came of it.

    Attributes:
        status: `ok`, `failed` (a crash, an exception, the time limit) or `not installed`.
        result: what the suite measured; empty unless `ok`.
        reason: why it failed, one line.
        seconds: wall time of the cell's process, start of Python included.
    """

    cell: Cell
    status: str
    result: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0


_LARGEST_LEDGER = 1 << 30  # bytes
_NAME = text(1_000)
_CELL = record(
    {
        "suite": _NAME,
        "method": _NAME,
        "problem": _NAME,
        "seed": whole(),
        "settings": mapping_of(plain, most=1_000),
    },
    {"out": text(10_000)},
)
_RECORD = record(
    {"cell": _CELL, "status": choice(OK, FAILED)},
    {"result": mapping_of(plain, most=10_000), "reason": text(10_000), "seconds": number(0.0)},
)


class Ledger:
    """Finished cells in a file of JSON lines. A torn line, left by a crash, is no JSON, and is ignored.

    Args:
        path: path of the file, which need not exist.

    Raises:
        UserError: the path is a link or no regular file, or a whole line of it is no record of a cell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: dict[str, Record] = {}
        with contextlib.suppress(MissingFileError):
            content = read_regular(path, most=_LARGEST_LEDGER).decode("utf-8", errors="replace")
            for number_of_line, line in enumerate(content.split("\n"), 1):
                found = _record_of(line, f"{path}, line {number_of_line},")
                if found is not None:
                    self._records[found.cell.key] = found

    def find(self, cell: Cell) -> Record | None:
        """The record of a cell, None when it was not finished."""
        return self._records.get(cell.key)

    def records(self) -> list[Record]:
        """All finished cells, the newest record of each."""
        return list(self._records.values())

    def forget(self, cells: Iterable[Cell]) -> None:
        """Hold these cells for unfinished; the file keeps their old lines until newer ones follow."""
        for cell in cells:
            self._records.pop(cell.key, None)

    def add(self, record: Record) -> None:
        """Append a record; a later one of the same cell wins."""
        self._records[record.cell.key] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(asdict(record), sort_keys=True)
        torn = self.path.exists() and self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if torn else "") + line + "\n")


def _record_of(line: str, place: str) -> Record | None:
    """The record of a line; None where the line was torn.

    Raises:
        UserError: it is whole, but no record.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    try:
        fields = _RECORD(entry)
    except FormatError as error:
        raise UserError(f"{place} is no record of a benchmark ({error}): remove the line") from error
    return Record(**{**fields, "cell": Cell(**fields["cell"])})


def run_cells(
    cells: Sequence[Cell],
    ledger: Ledger,
    *,
    cores: Sequence[int],
    limit: Callable[[Cell], float],
    on_record: Callable[[Record], None],
) -> list[Record]:
    """Run what the ledger lacks, one process a core, and return the records of all cells in order.

    Cells of a method that is not installed are reported and not kept: installing it is enough to run them later.

    Args:
        cells: cells whose records are wanted.
        ledger: file of the records that are known.
        cores: numbers of the cores, to one of which each cell is pinned.
        limit: function that gives the seconds of wall time after which a cell is killed and counts as failed.
        on_record: function that is called with the record of every cell, found or run.
    """
    outcomes = _Outcomes(ledger, on_record)
    waiting = outcomes.missing(cells)
    running: dict[int, _Running] = {}
    try:
        while waiting or running:
            for core in [core for core in cores if core not in running]:
                while waiting and outcomes.not_installed(waiting[0]):
                    waiting.pop(0)
                if waiting:
                    running[core] = _Running(waiting.pop(0), core, limit)
            time.sleep(0.02)
            for core, process in list(running.items()):
                if process.done():
                    del running[core]
                    outcomes.add(process.record())
    finally:
        for process in running.values():
            process.kill()
    return [outcomes.records[cell.key] for cell in cells]


class _Outcomes:
    """Records of cells by key, found in the ledger or added to it."""

    def __init__(self, ledger: Ledger, on_record: Callable[[Record], None]) -> None:
        self.records: dict[str, Record] = {}
        self._ledger, self._on_record = ledger, on_record
        self._absent: dict[str, str] = {}  # method -> why it cannot run

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells that the ledger lacks; those that it has are reported."""
        missing = []
        for cell in cells:
            known = self._ledger.find(cell)
            if known is None:
                missing.append(cell)
            else:
                self._report(known)
        return missing

    def not_installed(self, cell: Cell) -> bool:
        """Whether the cell's method is known not to be installed; if so, that is the cell's record."""
        if cell.method not in self._absent:
            return False
        self._report(Record(cell, NOT_INSTALLED, reason=self._absent[cell.method]))
        return True

    def add(self, record: Record) -> None:
        """Keep the record of a cell that was run."""
        if record.status == NOT_INSTALLED:
            self._absent[record.cell.method] = record.reason
        else:
            self._ledger.add(record)
        self._report(record)

    def _report(self, record: Record) -> None:
        self.records[record.cell.key] = record
        self._on_record(record)


class _Running:
    """One cell in its process."""

    def __init__(self, cell: Cell, core: int, limit: Callable[[Cell], float]) -> None:
        self.cell = cell
        self.started = time.monotonic()
        self.limit = limit(cell)
        self.folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        self.answer = Path(self.folder.name) / "answer.json"
        # Peers print what they like: it goes to a file, of which the last line explains a failure.
        self.noise = (Path(self.folder.name) / "noise.txt").open("wb")
        task = {"cell": asdict(cell), "core": core, "answer": str(self.answer)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(task)],
            stdout=self.noise,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.late = False

    def done(self) -> bool:
        if self.process.poll() is None and time.monotonic() - self.started > self.limit:
            self.late = True
            self.kill()
        return self.process.poll() is not None

    def kill(self) -> None:
        """End the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def record(self) -> Record:
        self.noise.close()
        seconds = time.monotonic() - self.started
        try:
            if self.late:
                return Record(self.cell, FAILED, reason=f"killed after {self.limit:.0f} s", seconds=seconds)
            with contextlib.suppress(OSError, ValueError):
                answer = json.loads(self.answer.read_text(encoding="utf-8"))
                return Record(self.cell, seconds=seconds, **answer)
            return Record(self.cell, FAILED, reason=self._why(), seconds=seconds)
        finally:
            self.folder.cleanup()

    def _why(self) -> str:
        code = self.process.returncode
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"ended by {signal.Signals(-code).name}"
        text = Path(self.noise.name).read_text(encoding="utf-8", errors="replace").strip()
        return _last_line(text.splitlines()) or f"exit code {code}"


def _last_line(lines: Iterable[str]) -> str:
    last = ""
    for line in lines:
        last = line.strip() or last
    return last[:300]
