"""Tables: what is read is exact, and what cannot be used is refused in one sentence that says what to do."""

import gzip
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.tables.column_names import identifiers
from datamodules.tables.refusals import MIN_ROWS
from datamodules.tables.splits import input_statistics, split_table
from datamodules.tables.table import TableError, check_table
from datamodules.tabular import TabularData

ROWS = 30


def frame(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame({"a": rng.normal(size=rows), "b": rng.uniform(1, 2, rows), "y": rng.normal(size=rows)})


def write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def lines(**columns) -> str:
    """A CSV text of `ROWS` rows; a column is a function of the row's number."""
    rows = [",".join(columns)]
    rows += [",".join(str(column(row)) for column in columns.values()) for row in range(ROWS)]
    return "\n".join(rows) + "\n"


GOOD = lines(a=lambda i: i, b=lambda i: i * 0.5 + 1, y=lambda i: i**2)


# --------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("kind", ["t.csv", "t.tsv", "t.txt", "semicolon.csv", "t.csv.gz", "t.parquet", "frame"])
def test_every_kind_of_source_gives_the_same_exact_numbers(tmp_path, kind):
    data = frame()
    path = tmp_path / kind
    if kind == "frame":
        source = data
    elif kind == "t.parquet":
        data.to_parquet(path)
        source = str(path)
    else:
        mark = {"t.tsv": "\t", "semicolon.csv": ";"}.get(kind, ",")
        text = data.to_csv(index=False, sep=mark).encode()
        path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
        source = str(path)
    table = check_table(source, "y", ["b", "a"])
    assert table.feature_names == ("b", "a")
    assert np.array_equal(table.inputs, data[["b", "a"]].to_numpy())
    assert np.array_equal(table.target, data["y"].to_numpy())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=MIN_ROWS, max_size=40, unique=True))
def test_text_numbers_are_rounded_correctly(tmp_path_factory, values):
    values = [*values, -2e6, 2e6]
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("a,b\n" + "".join(f"{value!r},{index}\n" for index, value in enumerate(values)))
    assert check_table(path, "b").inputs[:, 0].tolist() == values


@pytest.mark.parametrize("text", ["1,2\n", "+1,2\n", " 1 ,2\r\n", '"1",2\n'])
def test_numbers_with_signs_blanks_and_quotes(tmp_path, text):
    path = write(tmp_path, "a,b\n" + text + "".join(f"{i},{i}\n" for i in range(2, 20)))
    assert check_table(path).inputs[0].tolist() == [1, 2]


def test_booleans_are_zero_and_one(tmp_path):
    path = write(tmp_path, lines(a=lambda i: i % 2 == 0, y=lambda i: i))
    assert check_table(path, "y").inputs[:4, 0].tolist() == [1, 0, 1, 0]
    data = frame()
    data["a"] = data["a"] > 0
    assert set(check_table(data, "y").inputs[:, 0]) == {0.0, 1.0}


def test_text_columns_that_are_not_used_are_no_fault(tmp_path):
    path = write(tmp_path, lines(name=lambda i: f"n{i}", a=lambda i: i, y=lambda i: i * 2))
    assert check_table(path, "y", ["a"]).feature_names == ("a",)


def test_without_a_target_all_columns_are_features(tmp_path):
    table = check_table(write(tmp_path, GOOD))
    assert table.target is None
    assert table.feature_names == ("a", "b", "y")


@pytest.mark.parametrize("name", ["diabetes", "iris", "wine", "breast_cancer", "linnerud", "california_housing"])
def test_scikit_learn_sets(name):
    table = check_table(f"sklearn:{name}")
    assert len(table) >= 20
    assert np.isfinite(table.inputs).all()


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
    assert table.renamed["mean-radius"] == "mean_radius_2"
    assert "column 'mean radius' is called mean_radius in equations" in table.notes
    assert check_table(path, "y", ["mean_radius_2"]).feature_names == ("mean_radius_2",)


@given(st.lists(st.text(max_size=6), max_size=12))
def test_identifiers_are_injective_and_stable(names):
    made = identifiers(names)
    assert len(set(made)) == len(names)
    assert all(name.isascii() and name.isidentifier() for name in made)
    assert identifiers(made) == made


# --------------------------------------------------------------------------------------------- what is refused

BAD_TEXT = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n  \n", "only blank space"),
    "header only": (b"a,b,y\n", "no rows"),
    "binary": (bytes(range(256)) * 20, "binary data"),
    "wrong encoding": (
        lines(**{"größe": lambda i: i, "y": lambda i: i}).encode("latin-1"),
        "not UTF-8.*save it as UTF-8",
    ),
    "utf-16": (GOOD.encode("utf-16"), "UTF-16.*save it as UTF-8"),
    "ragged": (GOOD.encode() + b"1,2\n", "give every row 3 cells"),
    "no header": (b"1,2,3\n" * 20, "only numbers.*column names"),
    "duplicate": (
        lines(a=lambda i: i, y=lambda i: i).replace("a,y", "y,y").encode(),
        "more than one column called 'y'",
    ),
    "one row": (b"a,b,y\n1,2,3\n", f"only 1 row.*at least {MIN_ROWS}"),
    "missing": (
        lines(a=lambda i: "" if i in (4, 7) else i, b=lambda i: "nan" if i == 2 else i, y=lambda i: i).encode(),
        r"3 cell\(s\).*missing.*'a' \(2\), 'b' \(1\).*data row 3",
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
    "date": (lines(a=lambda i: f"2020-01-{i + 1:02d}", y=lambda i: i).encode(), "dates or times.*days since"),
    "comma": (lines(a=lambda i: f'"{i},5"', y=lambda i: i).encode(), "comma.*decimal point"),
    "constant": (lines(a=lambda i: 3, y=lambda i: i).encode(), "'a'.*is 3 in every row.*leave it out"),
    "huge": (lines(a=lambda i: f"{i}e300", y=lambda i: i).encode(), "larger unit"),
    "tiny": (lines(a=lambda i: f"{i}e-300", y=lambda i: i).encode(), "smaller unit"),
    "narrow": (lines(a=lambda i: 1e9 + i, y=lambda i: i).encode(), "subtract a constant"),
    "beyond 2^53": (
        lines(a=lambda i: 2**53 + i, y=lambda i: i).encode(),
        r"beyond 2\^53.*9007199254740992 in data row 1\)",
    ),
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
    "missing": (lambda d: d.assign(a=d.a.where(d.index != 3)), r"1 cell\(s\).*data row 4"),
    "infinite": (lambda d: d.assign(a=d.a.where(d.index != 3, np.inf)), "not finite"),
    "dates": (lambda d: d.assign(a=pd.date_range("2020-01-01", periods=len(d))), "dates or times"),
    "mixed": (lambda d: d.assign(a=[*range(len(d) - 1), "x"]), f"'x' in data row {ROWS}"),
    "big integers": (lambda d: d.assign(a=np.arange(len(d)) + 2**60), "beyond"),
    "no columns": (lambda d: d[[]], "no columns"),
    "no rows": (lambda d: d.iloc[:0], "no rows"),
    "complex": (lambda d: d.assign(a=d.a + 1j), "text"),
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


def test_files_that_are_none(tmp_path):
    (tmp_path / "houses.csv").write_text(GOOD)
    with pytest.raises(TableError, match=r"no file.*near ones: 'houses\.csv'"):
        check_table(tmp_path / "house.csv")
    with pytest.raises(TableError, match="is a directory"):
        check_table(tmp_path)
    with pytest.raises(TableError, match="kind that can be read"):
        check_table(write(tmp_path, GOOD, "t.xlsx"))
    with pytest.raises(TableError, match="not a whole Parquet file"):
        check_table(write(tmp_path, b"PAR1" + b"x" * 100, "t.parquet"))
    with pytest.raises(TableError, match="could not be read"):
        check_table(write(tmp_path, gzip.compress(GOOD.encode())[:-20], "t.csv.gz"))
    with pytest.raises(TableError, match="choose one of breast_cancer"):
        check_table("sklearn:boston")
    with pytest.raises(TableError, match="not a list"):
        check_table([[1, 2]])


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_garbage_never_raises_anything_else(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(content)
    with suppress(TableError):
        check_table(path)


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
    path = write(tmp_path, "a,y\n" + "".join(f"{i},{i}\n" for i in range(20_000)) + "x,1\n")
    with pytest.raises(TableError, match="'x' in data row 20,001"):
        check_table(path, "y", max_rows=10)


def test_a_file_that_changed_is_read_again(tmp_path):
    path = write(tmp_path, GOOD)
    first = check_table(path, "y")
    assert check_table(path, "y") is first
    write(tmp_path, GOOD + "99,1,1\n")
    assert len(check_table(path, "y")) == ROWS + 1


def test_a_table_is_checked_without_torch():
    code = "import sys, datamodules.tables.table as t; t.check_table('sklearn:california_housing'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# ------------------------------------------------------------------------------- split and statistics


@settings(max_examples=30, deadline=None)
@given(st.integers(MIN_ROWS, 300), st.integers(0, 5))
def test_every_row_is_in_exactly_one_part(rows, seed):
    data = pd.DataFrame({"a": np.arange(rows), "y": np.arange(rows)})
    parts = split_table(check_table(data, "y"), seed=seed)
    together = np.concatenate([parts[name].inputs[:, 0] for name in ("train", "validation", "test")])
    assert sorted(together) == list(range(rows))
    assert min(len(part) for part in parts.values()) >= 2
    if rows >= 100:
        assert abs(len(parts["test"]) - 0.2 * rows) <= 1
        assert abs(len(parts["validation"]) - 0.1 * rows) <= 1


def test_bad_splits_are_refused():
    table = check_table(frame(), "y")
    with pytest.raises(TableError, match="did you mean paper"):
        split_table(table, split="papper")
    with pytest.raises(TableError, match="below 1"):
        split_table(table, test_fraction=0.95)
    with pytest.raises(TableError, match="fewer than two"):
        split_table(table, test_fraction=0.5, validation_fraction=0.49)


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none"])
def test_scaling_statistics(scaling):
    values = np.column_stack([frame()["a"], np.full(ROWS, 0.1)])
    made = input_statistics(values, scaling)
    scaled = (values - made["offset"]) / made["scale"]
    assert np.isfinite(scaled).all()
    if scaling == "standard":
        np.testing.assert_allclose([scaled[:, 0].mean(), scaled[:, 0].std()], [0, 1], atol=1e-12)
    elif scaling == "minmax":
        assert (scaled[:, 0].min(), scaled[:, 0].max()) == (0, 1)
    assert made["scale"][1] == 1
    with pytest.raises(TableError, match="scaling"):
        input_statistics(values, "robust")


def test_statistics_come_from_training_rows_alone():
    data = TabularData(frame(200), "y", seed=1)
    data.setup()
    train = data.table("train").inputs
    np.testing.assert_allclose(data.input_statistics()["offset"], train.mean(axis=0))
    np.testing.assert_allclose(data.target_statistics()["offset"], [data.table("train").target.mean()])


def test_loaders_give_raw_units_and_hyperparameters_stay_plain():
    data = TabularData("sklearn:iris", "target", ("petal width (cm)",), batch_size=16)
    data.setup()
    batches = list(data.train_dataloader())
    assert batches[0][0].shape == (16, 1)
    assert batches[0][1].shape == (16,)
    seen = np.sort(np.concatenate([inputs[:, 0] for inputs, _ in batches]))
    assert np.array_equal(seen, np.sort(data.table("train").inputs[:, 0].astype(np.float32)))
    assert data.feature_names == ["petal_width_cm"]
    assert data.hparams["features"] == ["petal width (cm)"]
    assert "path" not in TabularData(frame(), "y").hparams


def test_no_target_is_nan_for_whoever_asks_for_it():
    data = TabularData(frame(), None, ["a"])
    _, target = next(iter(data.test_dataloader()))
    assert np.isnan(target.numpy()).all()
