"""The running list of the best equations of all runs, from which later runs start (Anecone 2024, future work).

One JSON object a line: `fingerprint` of the data, `names` of the variables, `target`, `infix`, `complexity`,
`nmse`. Equations are text and read by the parser: an archive from a stranger runs no code.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from expressions.expression import Expression
from expressions.limits import MAX_TEXT
from expressions.parsing import ParseError, parse
from foundation.errors import UserError
from foundation.files import FileError, MissingFileError, read_regular
from foundation.schema import FormatError, json_content, list_of, number, record, text, whole

_LARGEST_FILE = 1 << 26  # bytes: some hundred thousand equations
_ENTRY = record(
    {
        "fingerprint": text(),
        "names": list_of(text(1_000), most=30_000),
        "target": text(1_000),
        "infix": text(MAX_TEXT),
        "complexity": whole(),
        "nmse": number(0.0),
    },
    open_end=True,
)


class ArchiveError(UserError):
    """An archive that cannot be read or written."""


@dataclass(frozen=True)
class Entry:
    """One equation of the archive, with where it comes from."""

    fingerprint: str
    names: tuple[str, ...]
    target: str
    infix: str
    complexity: int
    nmse: float


def read_archive(path: Path) -> tuple[list[Entry], int]:
    """Entries of an archive, and how many lines were damaged; none where there is no file yet.

    Raises:
        ArchiveError: the path is no file, or not readable.
    """
    try:
        content = read_regular(path.resolve(), most=_LARGEST_FILE)
    except MissingFileError:
        return [], 0
    except FileError as error:
        raise ArchiveError(f"the archive cannot be read ({error}): give another file") from error
    entries: list[Entry] = []
    damaged = 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            fields = json_content(line, _ENTRY)
        except FormatError:
            damaged += 1
        else:
            entries.append(Entry(**fields | {"names": tuple(fields["names"])}))
    return entries, damaged


def seeds_from(path: Path, names: Sequence[str], fingerprint: str, limit: int = 50) -> list[Expression]:
    """Equations to start a search from: those of the same data first, then of others, the most accurate first.

    Args:
        path: path of the archive.
        names: names of the search's variables; entries with other variables are skipped.
        fingerprint: fingerprint of the search's data.
        limit: largest number of equations.
    """
    entries, _ = read_archive(path)
    entries.sort(key=lambda entry: (entry.fingerprint != fingerprint, entry.nmse))
    seeds: dict[Expression, None] = {}
    for entry in entries:
        if len(seeds) == limit:
            break
        try:
            seeds[parse(entry.infix, names)] = None
        except ParseError:  # it uses a variable that this table does not have
            continue
    return list(seeds)


def add_to_archive(path: Path, entries: Sequence[Entry]) -> None:
    """Append entries; several runs may do so at once.

    Raises:
        ArchiveError: the file cannot be written.
    """
    text = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # A line that a killed writer left torn must not take our first one with it.
            torn = file.seek(0, os.SEEK_END) > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
            file.write(b"\n" * torn + text.encode())
    except OSError as error:
        raise ArchiveError(
            f"the archive {path} cannot be written ({error.strerror}): give another file"
        ) from error


def check_archive(path: Path) -> None:
    """Check, before hours of work, that an archive can be read and written; nothing is created.

    Raises:
        ArchiveError: the archive cannot be read or written, or is a file of another kind, which stays as it is.
    """
    entries, damaged = read_archive(path)
    if damaged and not entries:
        raise ArchiveError(f"{path} is no archive, none of its lines is an entry of one: give another file")
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if place != path and not place.is_dir():
        raise ArchiveError(f"the archive {path} cannot be written ({place} is not a directory): give another file")
    if not os.access(place, os.W_OK):
        raise ArchiveError(f"the archive {path} cannot be written (no permission): give another file")
