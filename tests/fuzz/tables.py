"""Readers of tables, with a valid file for each kind."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from functools import cache
from pathlib import Path

import openpyxl
import pyarrow as pa
from pyarrow import parquet

from datamodules.tables.table import check_table
from foundation.errors import UserError

__all__ = [
    "parquet_table",
    "parquet_values",
    "read_compressed",
    "read_parquet_values",
    "read_sheet",
    "read_table",
    "sheet",
    "text_table",
]

_ROWS = [(0.5 * row, 10.0 - row, f"{row}e-1") for row in range(12)]
_SHEET = "xl/worksheets/sheet1.xml"
_KINDS = (
    pa.float64(), pa.string(), pa.int64(), pa.float32(), pa.bool_(), pa.uint64(), pa.float16(), pa.null(),
    pa.binary(), pa.decimal128(38, 3), pa.date32(), pa.timestamp("us"), pa.list_(pa.float64()),
    pa.dictionary(pa.int32(), pa.string()), pa.struct([("a", pa.float64())]), pa.large_string(), pa.time64("us"),
    pa.duration("s"),
)  # fmt: skip


def read_table(path: Path) -> object:
    """Read every column, then one as the target with another as its standard deviations."""
    table = check_table(path, max_rows=100, min_rows=2)
    return check_table(path, table.columns[-1], table.columns[:1], max_rows=100, min_rows=2)


def text_table() -> bytes:
    lines = [f"{a};{b};{c}" for a, b, c in _ROWS]
    return "\n".join(['a;"b (m)";y', *lines, "total;;"]).encode()


def read_compressed(path: Path) -> object:
    """Read what somebody has compressed, whatever it is."""
    whole = path.with_name("table.csv.gz")
    whole.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
    return read_table(whole)


@cache
def _book() -> dict[str, bytes]:
    """The parts of an Excel file by their names."""
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in [("a", "b (m)", "y"), *((a, b, float(c)) for a, b, c in _ROWS)]:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    with zipfile.ZipFile(stream) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sheet() -> bytes:
    return _book()[_SHEET]


def read_sheet(path: Path) -> object:
    """Read an Excel file whose sheet has this text."""
    whole = path.with_name("table.xlsx")
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in _book().items():
            archive.writestr(name, path.read_bytes() if name == _SHEET else content)
    return read_table(whole)


def parquet_table() -> bytes:
    stream = io.BytesIO()
    columns = list(zip(*_ROWS, strict=True))
    table = {"a": pa.array(columns[0]), "b (m)": pa.array(columns[1], pa.float32()), "y": pa.array(columns[2])}
    parquet.write_table(pa.table(table), stream)
    return stream.getvalue()


def parquet_values() -> bytes:
    """Columns as JSON: the name, the number of a kind, and the values."""
    columns = list(zip(*_ROWS, strict=True))
    return json.dumps([["a", 0, columns[0]], ["b (m)", 3, columns[1]], ["y", 1, columns[2]]]).encode()


def read_parquet_values(path: Path) -> object:
    """Read a whole Parquet file of such columns."""
    try:
        columns = json.loads(path.read_bytes())
        arrays = [pa.array(values, _KINDS[kind]) for _, kind, values in columns]
        parquet.write_table(pa.table(arrays, [str(name) for name, *_ in columns]), path)
    except (pa.ArrowException, ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise UserError("what cannot be written as a file is no content") from error
    return read_table(path)
