"""One content for a reader: taken, refused, or a failure."""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import UserError

if TYPE_CHECKING:
    from tests.fuzz.readers import Reader

__all__ = ["Course", "TooMuchError", "chosen_readers", "from_file", "one_input", "peak", "written"]

SECONDS, MEGABYTES = 1.0, 100
_MOST_KEPT = 20  # contents that fail, each in a file


class TooMuchError(Exception):
    """A reader that takes longer, or more memory, than a small file is worth."""


def one_input(reader: Reader, content: bytes) -> bool:
    """Read one content; whether it was accepted.

    Raises:
        TooMuchError: it took too long, or too much memory.
        Exception: whatever the reader raises beside a UserError.
    """
    begun, before = time.process_time(), peak()
    accepted = True
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            reader.read(content)
        except UserError:
            accepted = False
    seconds, grown = time.process_time() - begun, peak() - before
    if seconds > SECONDS or grown > MEGABYTES:
        raise TooMuchError(f"{seconds:.1f} s, {grown:.0f} MB")
    return accepted


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of content, by one of a file of this name."""

    def reading(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return read(path)

    return reading


def written(name: str, write: Callable[[Path], object]) -> bytes:
    """The content of a file that a function writes."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def chosen_readers(chosen: Sequence[str], readers: Mapping[str, Reader]) -> list[str]:
    """Names of the readers that a command means."""
    if unknown := [name for name in chosen if name not in (*readers, "all")]:
        sys.exit(f"there is no reader {unknown[0]}: choose all, or some of {', '.join(readers)}")
    return list(readers) if "all" in chosen else list(chosen)


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass
class Course:
    """What came of all contents that a reader was given.

    Attributes:
        name: name of the reader.
        reader: the reader.
        tried: number of contents.
        accepted: number of contents that were read.
        failures: number of contents that were neither read nor refused.
    """

    name: str
    reader: Reader
    tried: int = 0
    accepted: int = 0
    failures: int = 0
    _places: set[tuple[str, int, str]] = field(default_factory=set)
    _begun: float = field(default_factory=time.process_time)

    def take(self, content: bytes) -> bool:
        """Read one content; whether it was accepted. Of the failures in one place, the first is kept in a file."""
        self.tried += 1
        try:
            accepted = one_input(self.reader, content)
        except Exception as error:
            self.failures += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = last.filename, last.lineno or 0, type(error).__name__
            if place not in self._places and len(self._places) < _MOST_KEPT:
                self._places.add(place)
                path = Path(f"fuzz-{self.name}-{len(self._places)}")
                path.write_bytes(content)
                print(f"{path}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            return False
        self.accepted += accepted
        return accepted

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.tried} contents, {self.accepted} accepted, {self.failures} failures in "
            f"{len(self._places)} places, {time.process_time() - self._begun:.0f} s of a core, {peak():.0f} MB"
        )
