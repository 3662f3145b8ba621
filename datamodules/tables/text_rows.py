"""Rows of a text file: straight through Arrow where every line is a row, line by line where some are not."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import csv as arrow_csv

from datamodules.tables.opened import TableError, short_reason
from datamodules.tables.text_layout import WHITE_SPACE, Layout, opens_quotes, shown_line, split_line, unclosed

__all__ = ["TextFile", "decompressed", "text_batches"]

_BLOCKS = ((1 << 21, False), (1 << 22, True))
"""Bytes that Arrow reads at once, and whether cells may hold line breaks: the first way costs a fifth less.

Where a row is longer than a block, or a block ends inside a cell, Arrow says so, and the next way is taken."""
_LONGEST_LINE = 1 << 22
_MOST_FOOTERS = 3
_GIVEN_UP = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class TextFile:
    """Text that can be read from its beginning, again and again.

    Attributes:
        label: name of the file in sentences.
        open: function that opens the bytes, decompressed.
        path: path of the file where Arrow may read it by itself, None where it may not.
        encoding: encoding of the text.
    """

    label: str
    open: Callable[[], BinaryIO]
    path: str | None
    encoding: str


def text_batches(
    file: TextFile, layout: Layout, positions: Sequence[int], notes: list[str]
) -> Iterator[list[pa.Array]]:
    """Cells of the wanted columns, as text: what they mean is decided per column, not per block of a file.

    Args:
        file: the file.
        layout: its layout.
        positions: positions of the wanted columns.
        notes: list to which sentences about left-out lines are added.

    Raises:
        TableError: the file is not whole, or a row has too many or too few cells.
    """
    done = 0
    if layout.plain and codecs.lookup(file.encoding).name == "utf-8":
        for block in _BLOCKS:
            try:
                source = file.path or file.open()
                for batch in _new_rows(_arrow_batches(source, layout, positions, layout.above, block), done):
                    yield batch
                    done += len(batch[0])
                return
            except _GIVEN_UP as error:
                raise _broken(file, error) from error
            except pa.ArrowInvalid:
                pass  # a line that is no row: look at every line
    delimiter = "\t" if layout.delimiter == WHITE_SPACE else layout.delimiter
    lines = _Lines(file, layout, delimiter, notes)
    try:
        batches = _arrow_batches(_Stream(lines.rows()), layout, positions, 0, _BLOCKS[-1], delimiter)
        yield from _new_rows(batches, done)
    except UnicodeDecodeError as error:
        raise TableError(f"{file.label} is not {file.encoding} text: save it as UTF-8 and try again.") from error
    except _GIVEN_UP as error:
        raise _broken(file, error) from error
    except (pa.ArrowInvalid, csv.Error) as error:
        cells = len(layout.names)
        raise TableError(
            f"{file.label} is not a regular table ({short_reason(error)}): give every row {cells} cells."
        ) from error


def _new_rows(batches: Iterator[list[pa.Array]], done: int) -> Iterator[list[pa.Array]]:
    """Batches without the first `done` rows: what was read before were rows, and they are the same now."""
    for batch in batches:
        skipped = min(done, len(batch[0]))
        done -= skipped
        if skipped < len(batch[0]):
            yield [cells.slice(skipped) for cells in batch] if skipped else batch


def _broken(file: TextFile, error: BaseException) -> TableError:
    return TableError(f"{file.label} could not be read ({short_reason(error)}): is the file whole?")


def _arrow_batches(
    stream: Any,
    layout: Layout,
    positions: Sequence[int],
    above: int,
    block: tuple[int, bool],
    delimiter: str = "",
) -> Iterator[list[pa.Array]]:
    """Batches of cells, as Arrow cuts them; `block` is one of `_BLOCKS`."""
    names = [str(position) for position in range(len(layout.names))]
    wanted = [str(position) for position in positions]
    try:
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows=above, block_size=block[0], use_threads=True
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter or layout.delimiter, newlines_in_values=block[1]
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise
    for batch in reader:
        yield [batch.column(index) for index in range(len(wanted))]


class _Lines:
    """The lines of a file that are rows; remarks, blank lines and footers are left out, and told."""

    def __init__(self, file: TextFile, layout: Layout, delimiter: str, notes: list[str]) -> None:
        self.file, self.layout, self.notes = file, layout, notes
        self.delimiter = delimiter
        self.cells = len(layout.names)

    def rows(self) -> Iterator[bytes]:
        """Rows as lines of UTF-8 with one delimiter.

        Raises:
            TableError: a line among the rows has too many or too few cells.
        """
        remarks = 0
        footers: list[tuple[int, str]] = []  # lines without enough cells, which no row has followed so far
        for number, line in self._lines():
            if line.lstrip().startswith("#"):
                remarks += number > self.layout.above
                continue
            if number <= self.layout.above or not line.strip() or number == self.layout.total:
                continue
            row = self._row(line)
            if row is None:
                footers.append((number, line))
                row = ""
            if (row and footers) or len(footers) > _MOST_FOOTERS:
                self._refuse(*footers[0])
            if row:
                yield row.encode()
        if remarks:
            self.notes.append(f"{remarks} line(s) of {self.file.label} that begin with # are left out")
        if footers:
            self.notes.append(
                f"{len(footers)} line(s) at the end of {self.file.label} that are no rows are left out, the first "
                f"being {shown_line(footers[0][1])}"
            )

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Numbers of the last lines of records, from 1, and the records; quoted cells may hold line breaks."""
        held: list[str] = []  # joined once: a quotation mark that nothing closes holds lines without end
        length, quotes, number, opened = 0, 0, 0, 0
        with self.file.open() as stream, io.TextIOWrapper(stream, encoding=self.file.encoding) as text:
            while line := text.readline(_LONGEST_LINE):
                number += 1
                if not held and (line.lstrip().startswith("#") or not opens_quotes(line)):
                    yield number, line
                    continue
                opened = opened if held else number
                held.append(line)
                length += len(line)
                quotes += line.count('"')
                if quotes % 2 == 0:
                    yield number, "".join(held)
                    held, length, quotes = [], 0, 0
                elif length >= _LONGEST_LINE:
                    break
                if len(line) >= _LONGEST_LINE:
                    break
        if len(held) > 1:
            raise unclosed(self.file.label, opened, held[0])
        if held:
            yield number, "".join(held)

    def _row(self, line: str) -> str | None:
        """The line with as many cells as there are columns, or None."""
        if self.layout.delimiter == WHITE_SPACE:
            cells = split_line(line, WHITE_SPACE)
            if len(cells) != self.cells:
                return None
            if '"' in line:
                cells = ['"' + cell.replace('"', '""') + '"' for cell in cells]
            return "\t".join(cells) + "\n"
        quoted = '"' in line and opens_quotes(line)
        count = len(split_line(line, self.delimiter)) if quoted else line.count(self.delimiter) + 1
        if count == self.cells:
            return line if line.endswith("\n") else f"{line}\n"
        text = line.rstrip("\r\n ")
        while count > self.cells and text.endswith(self.delimiter):  # delimiters behind the last cell
            text, count = text[:-1], count - 1
        return f"{text}\n" if count == self.cells else None

    def _refuse(self, number: int, line: str) -> None:
        raise TableError(
            f"{self.file.label} is not a regular table (line {number:,} is {shown_line(line)}): give every row "
            f"{self.cells} cells."
        )


class _Stream(io.RawIOBase):
    """Lines as a stream of bytes for Arrow."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._left = b""

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with as many lines as it holds."""
        parts, size = [self._left], len(self._left)
        while size < len(buffer):
            line = next(self._lines, None)
            if line is None:
                break
            parts.append(line)
            size += len(line)
        everything = b"".join(parts)
        given = min(len(buffer), len(everything))
        buffer[:given] = everything[:given]
        self._left = everything[given:]
        return given


def decompressed(open_bytes: Callable[[], BinaryIO]) -> Callable[[], BinaryIO]:
    """A function that opens the content of a gzip file, in bounded memory."""
    return lambda: gzip.GzipFile(fileobj=open_bytes())  # type: ignore[return-value]
