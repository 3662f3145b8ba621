"""Columns of tables: their names and roles, and what is left out of them with a sentence."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.tables.column_names import identifiers
from datamodules.tables.table import TableError, check_table
from tests.small_tables import GOOD, ROWS, frame, lines, write


def test_without_a_target_all_columns_are_features(tmp_path):
    table = check_table(write(tmp_path, GOOD))
    assert table.target is None
    assert table.target_column is None
    assert table.feature_names == ("a", "b", "y")


def test_names_that_are_no_identifiers_are_mapped_and_reported(tmp_path):
    columns = {
        "mean radius": float,
        "mean-radius": float,
        "2nd": float,
        "lambda": float,
        "\N{GREEK SMALL LETTER ALPHA}_größe": float,
        "": float,
    }
    path = write(tmp_path, lines(**{name: lambda i: i for name in columns}, y=lambda i: i))
    table = check_table(path, "y")
    expected = ("mean_radius", "mean_radius_2", "x2nd", "lambda_", "alpha_gro_e", "column_6")
    assert table.feature_names == expected
    assert table.columns == tuple(columns)
    assert table.renamed["mean-radius"] == "mean_radius_2"
    assert "column 'mean radius' is called mean_radius in equations" in table.notes
    assert check_table(path, "y", ["mean_radius_2"]).feature_names == ("mean_radius_2",)


def test_the_next_number_of_a_name_is_not_looked_for_from_the_beginning():
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += frame.f_code.co_name == "identifiers" and event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        made = identifiers(["a!"] * 400)
    finally:
        sys.settrace(before)
    assert made[-1] == "a_400"
    assert 400 < lines < 8_000


@given(st.lists(st.text(max_size=6), max_size=12))
def test_identifiers_are_injective_and_stable(names):
    made = identifiers(names)
    assert len(set(made)) == len(names)
    assert all(name.isascii() and name.isidentifier() for name in made)
    assert identifiers(made) == made


@pytest.mark.parametrize("typed", ["y (kW h)", " y (kW h) ", "y_kW_h"])
def test_a_name_is_typed_as_it_stands_or_as_equations_write_it(typed):
    for own in ("y (kW h)", " y (kW h)"):
        table = check_table(frame().rename(columns={"y": own}), typed)
        assert table.target_column == own
        assert table.target_name == "y_kW_h"


# ------------------------------------------------------------------------------------- columns left out


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "Row", "id", "No."])
@pytest.mark.parametrize("first", [0, 1])
def test_a_first_column_that_counts_the_rows_is_left_out(tmp_path, name, first):
    path = write(tmp_path, lines(**{name: lambda i: i + first, "a": lambda i: i / 3, "y": lambda i: i * i}))
    table = check_table(path, "y")
    assert table.columns == ("a",)
    assert len([note for note in table.notes if "only counts the rows and is left out" in note]) == 1
    if name:
        assert check_table(path, "y", [name, "a"]).columns == (name, "a")
        assert check_table(path, name).target_column == name


@pytest.mark.parametrize("order", [lambda i: 2 * i + 5, lambda i: 7 * i % ROWS])
def test_the_index_of_filtered_or_mixed_rows_is_left_out_too(tmp_path, order):
    path = write(tmp_path, lines(**{"": order, "a": lambda i: i / 3, "y": lambda i: i * i}))
    assert check_table(path, "y").columns == ("a",)
    named = write(tmp_path, lines(**{"id": order, "a": lambda i: i / 3, "y": lambda i: i * i}))
    assert check_table(named, "y").columns == ("id", "a")


def test_a_counting_column_that_means_something_stays(tmp_path):
    for columns in (
        {"n": lambda i: i, "a": lambda i: i / 3, "y": lambda i: i * i},  # its name is no counter's
        {"a": lambda i: i / 3, "index": lambda i: i, "y": lambda i: i * i},  # it does not stand first
        {"": lambda i: i / 3, "a": lambda i: i / 3, "y": lambda i: i * i},  # it does not count
    ):
        assert len(check_table(write(tmp_path, lines(**columns)), "y").columns) == 2
    alone = write(tmp_path, lines(**{"": lambda i: i, "y": lambda i: i * i}))
    assert check_table(alone, "y").feature_names == ("column_1",)  # there is nothing else to explain by


def test_the_index_that_pandas_stores_in_parquet_is_left_out(tmp_path):
    data = frame()
    data.index = pd.Index(np.arange(ROWS) * 2)
    data.reset_index(names="__index_level_0__")[["__index_level_0__", *data.columns]].to_parquet(
        tmp_path / "t.parquet"
    )
    assert check_table(tmp_path / "t.parquet", "y").columns == ("a", "b")


def test_text_dates_and_empty_columns_that_nobody_named_are_left_out_and_told(tmp_path):
    columns = {
        "name": lambda i: f"n{i}",
        "day": lambda i: f"2020-01-{i + 1:02d}",
        "nothing": lambda i: "",
        "a": lambda i: i,
        "y": lambda i: i * 2,
    }
    table = check_table(write(tmp_path, lines(**columns)), "y")
    assert table.columns == ("a",)
    assert len(table) == ROWS
    assert table.notes == (
        "column 'name' holds text ('n0', …) and is left out",
        "column 'day' holds dates or times ('2020-01-01', …) and is left out",
        "column 'nothing' is empty and is left out",
    )
    data = frame().assign(day=pd.date_range("2020-01-01", periods=ROWS), kind="x")
    assert check_table(data, "y").columns == ("a", "b")


def test_features_that_do_not_vary_are_left_out_and_told(tmp_path):
    path = write(tmp_path, lines(a=lambda i: i, c=lambda i: 3, y=lambda i: i * 2))
    for features in (None, ["a", "c"]):
        table = check_table(path, "y", features)
        assert table.columns == ("a",)
        assert table.notes == ("the same number stands in every row of column 'c' (3), which is left out",)


# ---------------------------------------------------------------------------------------- rows left out


def test_rows_that_lack_a_cell_are_left_out_and_told(tmp_path):
    columns = {"a": lambda i: "" if i in (4, 7) else i, "b": lambda i: "n/a" if i == 2 else i, "y": lambda i: i}
    path = write(tmp_path, lines(**columns))
    table = check_table(path, "y")
    assert table.inputs[:, 0].tolist() == [i for i in range(ROWS) if i not in (2, 4, 7)]
    assert table.notes == ("3 of 30 rows of 't.csv' lack a cell and are left out",)
    assert len(check_table(path, "y", ["b"])) == ROWS - 1  # a column that is not used lacks nothing
    data = frame(6).assign(a=[np.nan, np.nan, 1, 2, 3, 4])
    with pytest.raises(TableError, match=r"2 cell\(s\)"):
        check_table(data, "y")


def test_five_rows_are_enough_unless_more_are_asked_for():
    assert len(check_table(frame(5), "y")) == 5
    with pytest.raises(TableError, match=r"only 4 row\(s\): give at least 5"):
        check_table(frame(4), "y")
    with pytest.raises(TableError, match=r"only 5 row\(s\): give at least 10 rows to fit, choose"):
        check_table(frame(5), "y", min_rows=10)


# --------------------------------------------------------------------------------------------- magnitudes


def test_any_magnitude_between_1e_300_and_1e300_is_read(tmp_path):
    columns = {"a": lambda i: f"{i + 1}e-299", "b": lambda i: f"{i + 1}e298", "t": lambda i: 2459000.5 + i / 1e4}
    table = check_table(write(tmp_path, lines(**columns, y=lambda i: i)), "y")
    assert table.inputs[1].tolist() == [2e-299, 2e298, 2459000.5001]
    assert table.notes == ()


def test_integers_that_float64_rounds_are_told(tmp_path):
    table = check_table(write(tmp_path, lines(a=lambda i: 10**19 + 5000 * i, y=lambda i: i)), "a")
    assert table.rounded == ("a",)
    assert "column 'a' has integers beyond 2^53, which are rounded to 16 digits" in table.notes
    assert table.target[3] == float(10**19 + 15000)
    floats = check_table(write(tmp_path, lines(a=lambda i: f"{i + 1}e40", y=lambda i: i)), "a")
    assert floats.rounded == floats.notes == ()


# ----------------------------------------------------------------------------------- standard deviations


def test_standard_deviations_of_the_target_are_no_feature(tmp_path):
    path = write(tmp_path, lines(a=lambda i: i, y=lambda i: i * i, s=lambda i: "" if i == 3 else i + 1))
    table = check_table(path, "y", sigma="s")
    assert table.columns == ("a",)
    assert table.sigma.tolist() == [i + 1 for i in range(ROWS) if i != 3]
    assert table.target.tolist() == [i * i for i in range(ROWS) if i != 3]
    taken = table.take(np.array([2, 0]))
    assert (taken.sigma.tolist(), taken.target.tolist(), taken.columns) == ([3, 1], [4, 0], ("a",))
    assert check_table(path, "y").sigma is None


@pytest.mark.parametrize(
    ("target", "features", "sigma", "pattern"),
    [
        ("y", ["b"], "a", "'a'.*cannot be the target's standard deviation, for it falls to 0"),
        ("y", ["a", "s"], "s", "standard deviation 's' is also a feature"),
        ("y", None, "y", "name a target other than it"),
        (None, None, "s", "name a target"),
        ("y", None, "sd", "no column 'sd' to be a standard deviation"),
    ],
)
def test_standard_deviations_that_are_none_are_refused(tmp_path, target, features, sigma, pattern):
    path = write(tmp_path, lines(a=lambda i: i, b=lambda i: -i, y=lambda i: i * i, s=lambda i: 2))
    with pytest.raises(TableError, match=pattern):
        check_table(path, target, features, sigma=sigma)
    assert check_table(path, "y", sigma="s").sigma.tolist() == [2] * ROWS
