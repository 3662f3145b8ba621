"""Tables that cannot be used are refused in one sentence that says what is wrong, where, and what to do."""

import gzip

import numpy as np
import pandas as pd
import pytest

from datamodules.tables import excel
from datamodules.tables.refusals import MIN_ROWS
from datamodules.tables.table import TableError, check_single_precision, check_table
from tests.fuzz import tables
from tests.small_tables import GOOD, ROWS, frame, lines, write

BAD_TEXT = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n  \n", "only blank space"),
    "header only": (b"a,b,y\n", "no rows"),
    "binary": (bytes(range(256)) * 20, "binary data"),
    "ragged": (GOOD.encode() + b"1,2\n" + b"3,4,5\n", "line 32 is '1,2'.*give every row 3 cells"),
    "a quotation mark that nothing closes": (
        b'a,b,y\n"' + b"1,2,3\n" * 300_000,
        "in line 2, '\"1,2,3', that no other",
    ),
    "the same in a few rows": (GOOD.encode() + b'1,"2,3\n4,5,6\n7,8,9\n', "in line 32, '1,\"2,3', that no other"),
    "the same in a name": (b'a,b,"y\n' + GOOD.encode(), "in line 1, 'a,b,\"y', that no other"),
    "too many remarks at the end": (GOOD.encode() + b"1,2\n" * 9, "give every row 3 cells"),
    "names and rows of two widths": (
        b"a b,y\n1,2,3\n4,5,6\n7,8,10\n",
        "has 2 cells.*have 3.*quotation",
    ),
    "duplicate": (
        lines(a=lambda i: i, y=lambda i: i).replace("a,y", "y,y").encode(),
        "more than one column called 'y'",
    ),
    "one row": (b"a,b,y\n1,2,3\n", f"only 1 row.*at least {MIN_ROWS}"),
    "many missing": (
        lines(a=lambda i: "" if i % 3 == 1 else i, b=lambda i: "nan" if i == 2 else i, y=lambda i: i).encode(),
        r"11 cell\(s\).*missing.*'a' \(10\), 'b' \(1\).*data row 2",
    ),
    "infinite": (
        lines(a=lambda i: "inf" if i == 5 else i, y=lambda i: i).encode(),
        r"1 cell\(s\).*not finite.*'inf'.*row 6",
    ),
    "overflow": (lines(a=lambda i: "1e999" if i == 5 else i, y=lambda i: i).encode(), "not finite.*'1e999'"),
    "text": (
        lines(a=lambda i: "red" if i == 8 else i, y=lambda i: i).encode(),
        "'a'.*text.*'red' in data row 9.*others are y",
    ),
    "text in the last rows, not the first column": (
        lines(a=lambda i: i, b=lambda i: "x" if i == ROWS - 1 else i, y=lambda i: i).encode(),
        f"'x' in data row {ROWS}",
    ),
    "text alone": (lines(a=lambda i: f"n{i}", y=lambda i: i).encode(), "'a'.*holds text.*make it numbers"),
    "date alone": (
        lines(a=lambda i: f"2020-01-{i + 1:02d}", y=lambda i: i).encode(),
        "dates or times.*days since",
    ),
    "text to explain": (lines(a=lambda i: i, y=lambda i: f"n{i}").encode(), "'y'.*holds text"),
    "one comma": (lines(a=lambda i: '"8,5"' if i == 9 else i + 0.5, y=lambda i: i).encode(), "two things"),
    "constant features": (lines(a=lambda i: 3, y=lambda i: i).encode(), "no feature of.*varies"),
    "constant target": (lines(a=lambda i: i, y=lambda i: 3).encode(), "'y'.*is 3 in every row"),
    "huge": (lines(a=lambda i: f"{i}e300", y=lambda i: i).encode(), "larger unit"),
    "tiny": (lines(a=lambda i: f"{i}e-303", y=lambda i: i).encode(), "smaller unit"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text_is_refused_in_one_sentence(tmp_path, case):
    content, pattern = BAD_TEXT[case]
    with pytest.raises(TableError, match=f"(?s){pattern}") as caught:
        check_table(write(tmp_path, content), "y")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 600
    assert sentence.endswith(".")


BAD_FRAMES = {
    "missing": (lambda d: d.assign(a=d.a.where(d.index > 9)), r"10 cell\(s\).*data row 1:"),
    "infinite": (lambda d: d.assign(a=d.a.where(d.index != 3, np.inf)), "not finite"),
    "dates": (lambda d: d.assign(y=pd.date_range("2020-01-01", periods=len(d))), "dates or times"),
    "mixed": (lambda d: d.assign(a=[*range(len(d) - 1), "x"]), f"'x' in data row {ROWS}"),
    "no columns": (lambda d: d[[]], "no columns"),
    "no rows": (lambda d: d.iloc[:0], "no rows"),
    "complex": (lambda d: d.assign(y=d.a + 1j), "text"),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frames_are_refused(case):
    change, pattern = BAD_FRAMES[case]
    with pytest.raises(TableError, match=pattern):
        check_table(change(frame()), "y" if case != "no columns" else None)


@pytest.mark.parametrize(
    ("target", "features", "pattern"),
    [
        ("Y", None, "no column 'Y' to be a target: did you mean y"),
        ("y", ["a", "q"], "no column 'q' to be a feature.*a, b, y"),
        ("y", ["a", "y"], "target 'y' is also a feature"),
        ("y", ["a", "a"], "more than once"),
        ("y", [], "name at least one column"),
    ],
)
def test_bad_names_are_refused(target, features, pattern):
    with pytest.raises(TableError, match=pattern):
        check_table(frame(), target, features)


@pytest.mark.parametrize("typed", ["power", "power (kw h)", "power kW h"])
def test_a_name_that_a_shell_would_cut_is_shown_in_quotation_marks(typed):
    data = frame().rename(columns={"y": "power (kW h)"})
    with pytest.raises(TableError, match=r"did you mean power \(kW h\)\? In a shell.*: 'power \(kW h\)'\.$"):
        check_table(data, typed)


def test_text_named_as_a_feature_is_refused(tmp_path):
    path = write(tmp_path, lines(name=lambda i: f"n{i}", a=lambda i: i, y=lambda i: i * 2))
    with pytest.raises(TableError, match=r"'name'.*holds text"):
        check_table(path, "y", ["name", "a"])


def test_files_that_are_none(tmp_path):
    (tmp_path / "houses.csv").write_text(GOOD)
    with pytest.raises(TableError, match=r"no file.*near ones: 'houses\.csv'"):
        check_table(tmp_path / "house.csv")
    with pytest.raises(TableError, match="is a directory"):
        check_table(tmp_path)
    with pytest.raises(TableError, match="not a whole Excel file"):
        check_table(write(tmp_path, GOOD, "t.xlsx"))
    with pytest.raises(TableError, match=r"old Excel file.*\.xlsx"):
        check_table(write(tmp_path, b"\xd0\xcf\x11\xe0" + b"x" * 100, "t.xls"))
    with pytest.raises(TableError, match="not a whole Parquet file"):
        check_table(write(tmp_path, b"PAR1" + b"x" * 100, "t.parquet"))
    with pytest.raises(TableError, match="could not be read"):
        check_table(write(tmp_path, gzip.compress(GOOD.encode())[:-20], "t.csv.gz"))
    with pytest.raises(TableError, match="choose one of breast_cancer"):
        check_table("sklearn:boston")
    with pytest.raises(TableError, match="not a list"):
        check_table([[1, 2]])


def test_a_gzip_file_with_a_hole_behind_it_is_refused_at_once(tmp_path):
    path = write(tmp_path, gzip.compress(GOOD.encode()), "t.csv.gz")
    with open(path, "r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(TableError, match=r"ends in zeros"):
        check_table(path)


def test_a_gzip_file_may_be_padded_as_tapes_do(tmp_path):
    check_table(write(tmp_path, gzip.compress(GOOD.encode()) + bytes(10_240), "t.csv.gz"))


@pytest.mark.parametrize(("row", "most_cells"), [("99999999999", excel._MOST_CELLS), ("13", 30)])
def test_a_sheet_whose_few_bytes_stand_for_many_cells(row, most_cells, tmp_path, monkeypatch):
    path = tmp_path / "sheet.xml"
    path.write_bytes(tables.sheet())
    tables.read_sheet(path)
    path.write_bytes(tables.sheet().replace(b'<row r="13"', f'<row r="{row}"'.encode()))
    monkeypatch.setattr(excel, "_MOST_CELLS", most_cells)
    with pytest.raises(TableError, match="has more than 1,048,576 rows or"):
        tables.read_sheet(path)


def test_a_table_of_too_many_columns():
    names = [f"c{number}" for number in range(50_001)]
    with pytest.raises(TableError, match="more than 50,000 columns: leave some out"):
        check_table(pd.DataFrame(np.ones((2, len(names))), columns=names))


def test_a_parquet_file_of_texts_that_are_none(tmp_path):
    content = tables.parquet_table()
    for text in (b"0e-1", b"b (m)"):
        assert text in content
        with pytest.raises(TableError, match="not a whole Parquet file"):
            check_table(write(tmp_path, content.replace(text, b"\xa9" * len(text)), f"{len(text)}.parquet"))


FOR_SEARCHES_ALONE = {  # what a search in float64 takes and a network in float32 does not
    "large": (lambda i: f"{i + 1}e20", "overflow in single precision.*larger unit"),
    "small": (lambda i: f"{i}e-30", "vanish in single precision.*smaller unit"),
    "narrow": (lambda i: 1e9 + i, "subtract a constant"),
    "integers beyond 2^53": (lambda i: 2**53 + 2 * i, r"beyond 2\^53"),
}


@pytest.mark.parametrize("case", FOR_SEARCHES_ALONE)
def test_single_precision_is_asked_for_by_networks_alone(tmp_path, case):
    column, pattern = FOR_SEARCHES_ALONE[case]
    table = check_table(write(tmp_path, lines(a=column, y=lambda i: i)), "y")
    assert table.inputs[:, 0].tolist() == [float(column(i)) for i in range(ROWS)]
    with pytest.raises(TableError, match=f"column 'a' of 't.csv'.*{pattern}"):
        check_single_precision(table)
    with pytest.raises(TableError, match=f"column 'a' of 't.csv'.*{pattern}"):
        check_single_precision(check_table(write(tmp_path, lines(b=lambda i: i, a=column)), "a"))
