"""Formats of tables: whatever can mean one thing only is read, exactly, and said; what can mean two is refused."""

import gzip
import io
import os
import re
import subprocess
import sys
from contextlib import suppress

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamodules.tables import text_rows
from datamodules.tables.table import TableError, check_table
from tests.small_tables import GOOD, ROWS, frame, lines, write


def told(table) -> str:
    return "\n".join(table.notes)


@pytest.mark.parametrize(
    "kind",
    ["t.csv", "t.tsv", "t.txt", "semicolon.csv", "bar.csv", "t.csv.gz", "t.parquet", "t.xlsx", "t.dat", "frame"],
)
def test_every_kind_of_source_gives_the_same_exact_numbers(tmp_path, kind):
    data = frame().round(10)  # openpyxl writes 16 digits of 17
    path = tmp_path / kind
    if kind == "frame":
        source = data
    elif kind == "t.parquet":
        data.to_parquet(path)
        source = str(path)
    elif kind == "t.xlsx":
        data.to_excel(path, index=False)
        source = str(path)
    else:
        mark = {"t.tsv": "\t", "semicolon.csv": ";", "bar.csv": "|", "t.dat": " "}.get(kind, ",")
        text = data.to_csv(index=False, sep=mark).encode()
        path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
        source = str(path)
    table = check_table(source, "y", ["b", "a"])
    assert table.feature_names == table.columns == ("b", "a")
    assert np.array_equal(table.inputs, data[["b", "a"]].to_numpy())
    assert np.array_equal(table.target, data["y"].to_numpy())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=10, max_size=40, unique=True))
def test_text_numbers_are_rounded_correctly(tmp_path_factory, values):
    values = [*values, -2e6, 2e6]
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("a,b\n" + "".join(f"{value!r},{index}\n" for index, value in enumerate(values)))
    assert check_table(path, "b").inputs[:, 0].tolist() == values


@pytest.mark.parametrize(
    "text", ["1,2\n", "+1,2\n", " 1 ,2\r\n", '"1",2\n', "1.0D+00,2\n", "1,2,\n", "\n1,2\n \n"]
)
def test_one_row_in_many_ways_of_writing(tmp_path, text):
    path = write(tmp_path, "a,b\n" + text + "".join(f"{i},{i}\n" for i in range(2, 20)))
    table = check_table(path)
    assert len(table) == 19
    assert table.inputs[0].tolist() == [1, 2]


WAYS = {  # text -> column names, first row, words of the notes
    "sep line": ("sep=;\na;y\n1.5;2\n", ("a", "y"), [1.5, 2], ""),
    "names with commas": ("a, m;y, s\n1.5;2\n", ("a, m", "y, s"), [1.5, 2], ""),
    "decimal commas": ("a;y\n1,5;2\n", ("a", "y"), [1.5, 2], "decimal commas"),
    "decimal commas and tabs": ("a\ty\n1,5\t2\n", ("a", "y"), [1.5, 2], "decimal commas"),
    "decimal commas and blanks": ("a y\n1,5 2,25\n", ("a", "y"), [1.5, 2.25], "decimal commas"),
    "both marks": ("a;y\n1.234,5;2\n", ("a", "y"), [1234.5, 2], "decimal commas"),
    "thousands": ('a,y\n1.55,"1,134"\n', ("a", "y"), [1.55, 1134], "commas between thousands.*'y'"),
    "spaced thousands": (
        "a;y\n1 234.5;2\n",
        ("a", "y"),
        [1234.5, 2],
        "blanks or apostrophes between thousands",
    ),
    "millions": ('a,y\n2,"1,234,567"\n', ("a", "y"), [2, 1234567], "commas between thousands"),
    "typeset minus": ("a,y\n\u22121.5,2\n", ("a", "y"), [-1.5, 2], ""),
    "Fortran": ("a,y\n1.5D+03,2\n", ("a", "y"), [1500, 2], "D before the exponent"),
    "white space": ("   a      y\n 1.5   2.0\n", ("a", "y"), [1.5, 2], "white space"),
    "tabs and blanks": ("a \t y\n1.5\t  2\n", ("a", "y"), [1.5, 2], ""),
    "no names": ("1.5,2\n", ("x0", "x1"), [1.5, 2], "no line of names.*x0, x1"),
    "no names, white space": (" 1.5 2\n", ("x0", "x1"), [1.5, 2], "no line of names"),
    "names in a remark": ("# a  y\n1.5 2\n", ("a", "y"), [1.5, 2], "taken from the line.*#"),
    "names with units in a remark": ("# a (m)  y (s)\n1.5 2\n", ("a (m)", "y (s)"), [1.5, 2], "taken from"),
    "remark": ("# measured, by me\na,y\n1.5,2\n", ("a", "y"), [1.5, 2], ""),
    "units": ("a,y\nm,s\n1.5,2\n", ("a", "y"), [1.5, 2], r"line of units.*\(m, s\)"),
    "units in brackets": ("a,y\n[m],[-]\n1.5,2\n", ("a", "y"), [1.5, 2], "line of units"),
    "preamble": ("Device: 3\nDate 1\na,y\n1.5,2\n", ("a", "y"), [1.5, 2], "2 line.*above the names.*Device"),
    "trailing delimiters": ("a,y,\n1.5,2,\n", ("a", "y"), [1.5, 2], "no name, is empty"),
    "quotes": ('"a","y"\n"1.5","2"\n', ("a", "y"), [1.5, 2], ""),
    "names of rows": ('"a" "y"\n"1" 1.5 2\n', ("a", "y"), [1.5, 2], "only counts the rows"),
    "names of two words": ("Temp (K)   P (Pa)\n1.5   2\n", ("Temp (K)", "P (Pa)"), [1.5, 2], "white space"),
    "inch marks": ('size 5",y\n1.5,2\n', ('size 5"', "y"), [1.5, 2], ""),
    "a name on two lines": ('"a\nm",y\n1.5,2\n', ("a m", "y"), [1.5, 2], ""),
    "numbers as names": ("1990,a\n1.5,2\n", ("1990", "a"), [1.5, 2], ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_table_that_can_mean_one_thing_is_read_and_what_was_done_is_said(tmp_path, way):
    text, columns, row, words = WAYS[way]
    last = text.splitlines()[-1]
    mark = " " if "blanks" in way and "tabs" not in way else next((m for m in ";\t," if m in last), " ")
    further = []
    for number in range(2, 12):
        cells = [f"{number}", f"{number}{number}"]
        cells = [f'"{number}"', *cells] if way == "names of rows" else cells
        further.append(mark.join(cells) + mark * last.endswith(",") + "\n")
    table = check_table(write(tmp_path, text + "".join(further)))
    assert table.columns == columns
    assert table.inputs[0].tolist() == row
    assert table.inputs[1].tolist() == [2, 22]
    assert len(table) == 11
    assert re.search(words, told(table))
    assert words or not [note for note in table.notes if "is called" not in note]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("a;y\n1,234;2\n3,456;4\n", "'1,234' is 1234 if.*thousands, and 1.234 if"),
        ("a;y\n1.234;0,5\n3.456;0,7\n", "'1.234' is 1234 if.*, and 1.234 if"),
        ('a;y\n1,5;2\n"1,234.5";4\n', "can mean two things"),
        ("a,y\n1,(1.5)\n2,(2.5)\n", r"brackets \('\(1.5\)'.*-1.5 in accounts and 1.5 elsewhere"),
    ],
)
def test_a_table_that_can_mean_two_things_is_refused(tmp_path, text, pattern):
    with pytest.raises(TableError, match=pattern):
        check_table(write(tmp_path, text))


@pytest.mark.parametrize(
    ("footer", "words"),
    [
        ("\n# end of file\n", "1 line.*begin with #"),
        ("that was all\n", "1 line.*at the end.*'that was all'"),
        ("Total,435,8555\n", "last line.*totals.*'Total,435,8555'"),
        ("All,435,8555\n", "data row 31.*footer.*'All'"),
        ("All,1,2\nSome,3,4\n", "data row 31.*footer.*'All'"),
    ],
)
def test_footers_are_left_out_and_told(tmp_path, footer, words):
    text = lines(a=lambda i: i + 3, b=lambda i: i * 2, y=lambda i: i**2)
    table = check_table(write(tmp_path, text + footer), "y")
    assert len(table) == ROWS
    assert re.search(words, told(table))


def test_a_footer_goes_with_its_row_although_its_column_only_counts(tmp_path):
    text = lines(**{"": lambda i: i, "a": lambda i: i * 2 + 1, "y": lambda i: i**2})
    table = check_table(write(tmp_path, f"{text}Total,3,4\n"), "y")
    assert table.columns == ("a",)
    assert len(table) == ROWS


def test_a_total_below_a_column_of_text_is_no_row(tmp_path):
    text = lines(item=lambda i: f"n{i}", a=lambda i: i * 2 + 1, y=lambda i: i**2)
    path = write(tmp_path, f"{text}Total,900,8555\n")
    for features in (None, ["a"]):
        table = check_table(path, "y", features)
        assert len(table) == ROWS
        assert "the last line of 't.csv' holds totals and is left out ('Total,900,8555')" in table.notes
    several = text.replace("n3,", "Total,")
    assert len(check_table(write(tmp_path, f"{several}Total,900,8555\n"), "y")) == ROWS + 1


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_encodings(tmp_path, encoding):
    text = lines(**{"größe": lambda i: i, "y": lambda i: i * 2})
    if encoding == "cp1252":
        text = text.replace("größe", "größe €")
    table = check_table(write(tmp_path, text.encode(encoding)), "y")
    assert table.columns[0].startswith("größe")
    assert table.inputs[:, 0].tolist() == list(range(ROWS))
    assert ("is read as" in told(table)) == (encoding != "utf-8-sig")


def test_a_remark_deep_in_a_long_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(text_rows, "_BLOCKS", ((1 << 12, False), (1 << 13, True)))  # batches were read before it
    rows = [f"{i},{2 * i}" for i in range(5000)]
    table = check_table(write(tmp_path, "\n".join(["a,y", *rows, "# break", *rows, "# end"]) + "\n"), "y")
    assert table.inputs[:, 0].tolist() == [*range(5000), *range(5000)]
    assert "2 line(s)" in told(table)


def test_quoted_cells_may_hold_line_breaks(tmp_path):
    rows = "".join(f'"n\n{i}",{i},{i * 2}\n' for i in range(ROWS))
    for above in ("", "# remark\n"):
        table = check_table(write(tmp_path, f"{above}name,a,y\n{rows}"), "y", ["a"])
        assert table.inputs[:, 0].tolist() == list(range(ROWS))


@pytest.mark.parametrize("first", [61, 64, 67, 130, 200])
def test_rows_that_a_block_cuts_are_read_all_the_same(tmp_path, monkeypatch, first):
    monkeypatch.setattr(text_rows, "_BLOCKS", ((first, False), (1 << 12, True)))
    long = "x" * 100  # in some rows, longer than a first block
    rows = "".join(f'"n\n{i},{i}\n{long if i % 7 == 5 else i}",{i},{i * 2}\n' for i in range(300))
    table = check_table(write(tmp_path, f"name,a,y\n{rows}"), "y", ["a"])
    assert table.inputs[:, 0].tolist() == list(range(300))
    assert table.target.tolist() == [2.0 * i for i in range(300)]


def test_standard_input_is_read_once_and_may_be_compressed(monkeypatch):
    class Input:
        def __init__(self, content: bytes) -> None:
            self.buffer = io.BytesIO(content)

    for content in (GOOD.encode(), gzip.compress(GOOD.encode())):
        monkeypatch.setattr(sys, "stdin", Input(content))
        assert len(check_table("-", "y")) == ROWS
        assert check_table("-", "b").target_column == "b"
    monkeypatch.setattr(sys, "stdin", Input(b""))
    with pytest.raises(TableError, match="standard input is empty"):
        check_table("-")


def test_the_first_sheet_with_cells_is_read(tmp_path):
    book = openpyxl.Workbook()
    sheet = book.create_sheet("Data")
    sheet["B3"], sheet["C3"] = "a", "y"
    sheet["B4"], sheet["C4"] = "m", "s"
    for row in range(ROWS):
        sheet.cell(row + 5, 2, row + 0.1)
        sheet.cell(row + 5, 3, row * 2)
    path = tmp_path / "t.xlsx"
    book.save(path)
    table = check_table(path, "y")
    assert table.columns == ("a",)
    assert table.inputs[:, 0].tolist() == [row + 0.1 for row in range(ROWS)]
    assert "sheet 'Data' of 't.xlsx' is read, of 2 sheets" in table.notes
    assert "units" in told(table)


def test_a_path_may_hold_bytes_that_are_no_text(tmp_path):
    path = tmp_path / os.fsdecode(b"b\xff.csv")
    path.write_text(GOOD)
    assert check_table(path, "y").columns == ("a", "b")


def test_booleans_are_zero_and_one(tmp_path):
    path = write(tmp_path, lines(a=lambda i: i % 2 == 0, y=lambda i: i))
    assert check_table(path, "y").inputs[:4, 0].tolist() == [1, 0, 1, 0]
    data = frame()
    data["a"] = data["a"] > 0
    assert set(check_table(data, "y").inputs[:, 0]) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["diabetes", "iris", "wine", "breast_cancer", "linnerud", "california_housing"])
def test_scikit_learn_sets(name):
    table = check_table(f"sklearn:{name}")
    assert len(table) >= 20
    assert np.isfinite(table.inputs).all()


def test_pipes_and_devices_are_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", "/dev/zero"):
        with pytest.raises(TableError, match=r"pipe or a device.*- for standard input"):
            check_table(path)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_garbage_never_raises_anything_else(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("t")
    for name in ("t.csv", "t.xlsx", "t.csv.gz"):
        with suppress(TableError):
            check_table(write(folder, content, name))


@settings(max_examples=60, deadline=None)
@given(st.text("ab01.,;\t\n\" #-'|", min_size=1, max_size=200))
@example("a,b\n")
@example("a,b\n,1\n")
def test_garbled_tables_never_raise_anything_else(tmp_path_factory, content):
    with suppress(TableError):
        check_table(write(tmp_path_factory.mktemp("t"), content))


def test_a_table_is_checked_without_heavy_imports(tmp_path):
    code = "import sys, datamodules.tables.table as t; assert 'pyarrow' not in sys.modules; "
    code += f"t.check_table({write(tmp_path, GOOD)!r}); "
    code += "sys.exit(bool({'torch', 'pandas', 'sklearn', 'openpyxl'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# --------------------------------------------------------------------------------------------- size


def test_longer_tables_are_drawn_from_evenly_and_in_order(tmp_path):
    rows = 50_000
    path = write(tmp_path, "a,y\n" + "".join(f"{i},{i}\n" for i in range(rows)))
    table = check_table(path, "y", max_rows=1000, seed=3)
    drawn = table.inputs[:, 0]
    assert len(set(drawn)) == 1000
    assert np.all(np.diff(drawn) > 0)
    assert abs(drawn.mean() - rows / 2) < 4 * rows / np.sqrt(12 * 1000)  # four standard errors
    assert np.array_equal(drawn, table.target)
    assert table.notes == ("1,000 of the 50,000 rows of 't.csv' drawn at random (max_rows=1000)",)
    again = check_table(pd.DataFrame({"a": range(rows), "y": range(rows)}), "y", max_rows=1000, seed=3)
    assert np.array_equal(again.inputs, table.inputs)  # however the rows come in batches
    assert not np.array_equal(check_table(path, "y", max_rows=1000, seed=4).inputs, table.inputs)


def test_rows_that_are_not_drawn_are_checked_too(tmp_path):
    path = write(tmp_path, "a,y\n" + "".join(f"{i},{i}\n" for i in range(20_000)) + "1,x\n")
    with pytest.raises(TableError, match="'x' in data row 20,001"):
        check_table(path, "y", max_rows=10)


def test_a_file_that_changed_is_read_again(tmp_path):
    path = write(tmp_path, GOOD)
    first = check_table(path, "y")
    assert check_table(path, "y") is first
    write(tmp_path, GOOD + "99,1,1\n")
    assert len(check_table(path, "y")) == ROWS + 1
