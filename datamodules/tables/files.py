"""Tables in files and on standard input: text, Parquet and Excel, each told by its name or by its first bytes."""

from __future__ import annotations

import codecs
import difflib
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from datamodules.tables.opened import Source, TableError, short_reason
from datamodules.tables.text_layout import find_layout

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["STANDARD_INPUT", "open_file"]

STANDARD_INPUT = "-"
"""Path that stands for standard input."""
TEXT_SUFFIXES: dict[str, str | None] = {".csv": None, ".txt": None, ".dat": None, ".tsv": "\t", ".tab": "\t"}
"""Suffix -> delimiter that it promises; None: the one that suits the lines best."""
ALLOWED_FILES = ".csv, .tsv, .tab, .txt, .dat (each also with .gz), .parquet, .pq or .xlsx"

_PARQUET_SUFFIXES = (".parquet", ".pq")
_EXCEL_SUFFIXES = (".xlsx", ".xlsm")
_GZIP, _PARQUET, _ZIP, _OLD_EXCEL = b"\x1f\x8b", b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_ENCODINGS = {"cp1252": "Windows-1252 (Western European)", "latin-1": "Latin-1", "utf-16": "UTF-16"}
_HEAD_BYTES = 1 << 20
_MOST_PADDING = 1 << 20  # zeros at the end of a gzip file; tapes need some thousand
_BATCH_ROWS = 1 << 16
_MOST_INPUT = 1 << 31
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1a\x1b")

_read_input: tuple[Any, bytes] | None = None
"""The standard input and what came from it: it can be read only once."""


@dataclass(frozen=True)
class _Bytes:
    """Bytes that can be read again and again, and what is known of them without reading."""

    label: str
    name: str
    open: Callable[[], BinaryIO]
    path: Path | None
    identity: tuple[Any, ...]


def open_file(path: str | Path) -> Source:
    """Open a table in a file, or on standard input where the path is `-`.

    Raises:
        TableError: there is no such file, it is none that can be read, or it is not whole.
    """
    given = _standard_input() if str(path) == STANDARD_INPUT else _file(Path(path).expanduser())
    try:
        return _open(given)
    except PermissionError as error:
        raise TableError(f"{given.label} may not be read by this user: change its permissions.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(f"{given.label} could not be read ({short_reason(error)}): is the file whole?") from error


def _file(path: Path) -> _Bytes:
    label = repr(path.name or str(path))
    try:
        status = path.stat()
    except PermissionError as error:
        raise TableError(f"{label} may not be read by this user: change its permissions.") from error
    except (OSError, ValueError) as error:
        raise TableError(
            f"there is no file {str(path)!r}{_near_files(path)}: give a table that exists."
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise TableError(f"{str(path)!r} is a directory, not a table: give one file ({ALLOWED_FILES}).")
    if not stat.S_ISREG(status.st_mode):
        raise TableError(f"{label} is a pipe or a device, not a file: give a file, or - for standard input.")
    if status.st_size == 0:
        raise _empty(label)
    identity = (str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)
    return _Bytes(label, path.name.lower(), lambda: path.open("rb"), path, identity)


def _empty(label: str) -> TableError:
    return TableError(f"{label} is empty: a table needs a line of column names and rows of numbers.")


def _near_files(path: Path) -> str:
    """Words that say which files beside a missing one are called nearly so."""
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return f" (nor a directory {str(path.parent)!r})"
    close = difflib.get_close_matches(path.name, beside, n=3)
    return f" (near ones: {', '.join(map(repr, close))})" if close else ""


def _standard_input() -> _Bytes:
    """All of standard input, in memory."""
    global _read_input
    label = "standard input"
    if _read_input is None or _read_input[0] is not sys.stdin:
        content = sys.stdin.buffer.read(_MOST_INPUT + 1)
        if len(content) > _MOST_INPUT:
            raise TableError(
                f"{label} is longer than {_MOST_INPUT >> 30} GiB: save it in a file and give its path."
            )
        _read_input = (sys.stdin, content)
    content = _read_input[1]
    if not content:
        raise _empty(label)
    return _Bytes(label, "", lambda: io.BytesIO(content), None, (STANDARD_INPUT, id(content)))


def _open(given: _Bytes) -> Source:
    """Open bytes by the suffix of their name, else by what they begin with."""
    with given.open() as stream:
        begin = stream.read(4)
    name = given.name.removesuffix(".gz")
    suffix = f".{name.rpartition('.')[2]}" if "." in name else ""
    compressed = given.name != name or begin.startswith(_GZIP)
    if not compressed and (suffix in _PARQUET_SUFFIXES or begin == _PARQUET):
        return _open_parquet(given)
    if not compressed and (suffix in _EXCEL_SUFFIXES or begin in (_ZIP, _OLD_EXCEL)):
        return _open_excel(given, begin)
    return _open_text(given, TEXT_SUFFIXES.get(suffix), compressed)


def _open_text(given: _Bytes, delimiter: str | None, compressed: bool) -> Source:
    """Open delimited text: its layout is found from its first megabyte."""
    from datamodules.tables.text_rows import TextFile, decompressed, text_batches

    if compressed:
        _refuse_padded(given)
    open_text = decompressed(given.open) if compressed else given.open
    with open_text() as stream:
        head = stream.read(_HEAD_BYTES)
    text, encoding = _decoded(head, given.label)
    if len(head) == _HEAD_BYTES and "\n" in text:
        text = text[: text.rindex("\n") + 1]  # the last line is cut by our own limit
    layout = find_layout(text, given.label, delimiter, whole=len(head) < _HEAD_BYTES)
    notes = list(layout.notes)
    if encoding not in ("utf-8", "utf-8-sig"):
        notes.insert(0, f"{given.label} is read as {_ENCODINGS[encoding]} text")
    path = None if compressed else _as_text(given.path)
    file = TextFile(given.label, open_text, path, encoding)

    def batches(positions: Sequence[int]) -> Iterator[list[pa.Array]]:
        told: list[str] = []
        yield from text_batches(file, layout, positions, told)
        notes.extend(note for note in told if note not in notes)

    return Source(given.label, layout.names, batches, given.identity, notes, layout.decimal, typed_by_hand=True)


def _refuse_padded(given: _Bytes) -> None:
    """Refuse a gzip file with a long end of zeros: such zeros are skipped one by one, a terabyte of them, too."""
    with given.open() as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - _MOST_PADDING - 1))
        if size > _MOST_PADDING and not any(stream.read()):
            raise TableError(f"{given.label} ends in zeros, as a download that broke off does: is the file whole?")


def _as_text(path: Path | None) -> str | None:
    """A path as Arrow takes it, None where it holds bytes that are no text."""
    try:
        return None if path is None else os.fspath(path).encode().decode()
    except UnicodeEncodeError:
        return None


def _decoded(head: bytes, label: str) -> tuple[str, str]:
    """The beginning of a text file and its encoding, or a sentence that says why it is none."""
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace"), "utf-16"
    if _CONTROL & set(head):
        raise TableError(f"{label} holds binary data, not text: give {ALLOWED_FILES} of the kind its name says.")
    encoding = "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"
    try:
        return head.decode(encoding), encoding
    except UnicodeDecodeError as error:
        if len(head) == _HEAD_BYTES and error.start > len(head) - 4:  # a character cut in two by our own limit
            return head[: error.start].decode(encoding), encoding
    try:
        return head.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return head.decode("latin-1"), "latin-1"


def _open_parquet(given: _Bytes) -> Source:
    """Open a Parquet file by its footer."""
    from pyarrow import parquet

    broken = f"{given.label} is not a whole Parquet file"
    try:
        with given.open() as stream, parquet.ParquetFile(stream) as file:
            names = list(file.schema_arrow.names)
    except Exception as error:  # a name that is no text, among others
        raise TableError(f"{broken} ({short_reason(error)}): write it again.") from error
    if not names:
        raise TableError(f"{given.label} has no columns: give a table with at least one column of numbers.")

    def batches(positions: Sequence[int]) -> Iterator[list[pa.Array]]:
        try:
            with given.open() as stream, parquet.ParquetFile(stream) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=[names[position] for position in positions]):
                    batch.validate(full=True)  # a text that is none, among others
                    yield [batch.column(names[position]) for position in positions]
        except Exception as error:
            raise TableError(f"{broken} ({short_reason(error)}): write it again.") from error

    return Source(given.label, names, batches, given.identity)


def _open_excel(given: _Bytes, begin: bytes) -> Source:
    """Open an Excel file by reading its first sheet that has cells, as if it were text."""
    from datamodules.tables.excel import first_sheet

    if begin == _OLD_EXCEL:
        raise TableError(
            f"{given.label} is an old Excel file or a locked one: save it as .xlsx without a password."
        )
    with given.open() as stream:
        text, note = first_sheet(stream, given.label)
    as_text = _Bytes(given.label, "", lambda: io.BytesIO(text), None, given.identity)
    source = _open_text(as_text, ",", compressed=False)
    if note:
        source.notes.insert(0, note)
    return source
