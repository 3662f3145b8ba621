"""A table in, a formula out: the command, its files, its predictions, and what it refuses."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import discover as door
from expressions.equivalence import equivalent
from expressions.parsing import parse
from foundation.errors import UserError
from rediscover.discovery import discover, fresh_folder, load, predict
from searches.portfolio import Progress

ROOT = Path(__file__).resolve().parents[1]


def gas(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """The ideal gas law, exactly, under names that no equation can hold."""
    rng = np.random.default_rng(seed)
    moles, temperature, volume = rng.uniform([[1], [250], [1]], [[5], [400], [9]], (3, rows))
    columns = {"n (mol)": moles, "T [K]": temperature, "V": volume}
    return pd.DataFrame({**columns, "p / kPa": 8.314 * moles * temperature / volume})


LAW = parse("8.314*x0*x1/x2")
ROWS = np.random.default_rng(1).uniform(1, 9, (40, 3))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command leaves, for a table in a file."""
    folder = tmp_path_factory.mktemp("gas")
    gas().to_csv(folder / "gas.csv", index=False)
    assert door.main([str(folder / "gas.csv"), "p / kPa", "--seconds", "20", "--out", str(folder / "out")]) == 0
    return folder


def test_the_law_is_found_and_written(found: Path) -> None:
    back = load(found / "out")
    assert equivalent(back.chosen.expression, LAW, ROWS)
    assert back.stopped == "exact"
    assert (back.target, back.features) == ("p / kPa", ("n (mol)", "T [K]", "V"))
    assert {path.name for path in (found / "out").iterdir()} == {
        "equations.csv", "equation.py", "equation.tex", "model.json", "report.html",
    }  # fmt: skip
    assert back.scores["this equation"].r2 == pytest.approx(1.0)
    assert back.scores["linear"].r2 < back.scores["cubic"].r2 < 1.0


def test_the_module_needs_numpy_alone(found: Path) -> None:
    code = (
        "import sys, json, numpy as np\n"
        "import equation\n"
        "values = equation.predict(np.array([[2.0, 300.0, 3.0]]))\n"
        "others = sorted(set(sys.modules) & {'expressions', 'searches', 'pandas', 'torch'})\n"
        "print(json.dumps([values.tolist(), equation.FEATURES, others]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=found / "out", capture_output=True, text=True, check=True
    )
    values, features, others = json.loads(done.stdout)
    assert values == pytest.approx([8.314 * 2 * 300 / 3])
    assert features == ["n (mol)", "T [K]", "V"]
    assert others == []


def test_predictions_find_columns_by_name_and_keep_every_row(found: Path, tmp_path: Path) -> None:
    new = gas(6, seed=2)[["V", "T [K]", "n (mol)"]].assign(remark="none")
    new.loc[3, "V"] = np.nan
    new.to_csv(tmp_path / "new.csv", index=False)
    arguments = ["predict", str(found / "out"), str(tmp_path / "new.csv"), "--out", str(tmp_path / "values.csv")]
    assert door.main(arguments) == 0
    with open(tmp_path / "values.csv", newline="") as file:
        name, *values = [row[0] for row in csv.reader(file)]
    assert name == "p / kPa"
    expected = 8.314 * new["n (mol)"] * new["T [K]"] / new["V"]
    np.testing.assert_allclose(np.array(values, dtype=float), expected.to_numpy(), rtol=1e-12)


def test_a_missing_column_is_named(found: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gas(6).drop(columns="V").to_csv(tmp_path / "new.csv", index=False)
    assert door.main(["predict", str(found / "out"), str(tmp_path / "new.csv")]) == 2
    assert "'V'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.csv", "y"], "missing.csv"),
        (["gas.csv", "pressure"], "p / kPa"),
        (["gas.csv", "p / kPa", "--features", "V", "W"], "'W'"),
        (["gas.csv", "p / kPa", "--seconds", "0.5"], "at least 2"),
        (["gas.csv", "p / kPa", "--method", "magic"], "auto"),
        (["gas.csv", "p / kPa", "--operators", "add", "sine"], "sine"),
        (["gas.csv", "p / kPa", "--guess", "V*("], "V*("),
        (["gas.csv", "p / kPa", "--jobs", "0"], "jobs=0"),
        (["gas.csv", "p / kPa", "--seed", "-1"], "seed=-1"),
        (["gas.csv", "p / kPa", "--out", "gas.csv"], "out=gas.csv is no directory"),
        (["gas.csv", "p / kPa", "--out", "gas.csv/out"], "gas.csv is a file"),
        (["gas.csv"], "TARGET is missing: name one of the columns of gas.csv: n (mol), T [K], V, p / kPa"),
        (["predict", "nowhere", "gas.csv"], "nowhere"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    words: list[str], said: str, found: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(found)
    before = sorted(found.rglob("*"))
    assert door.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert sorted(found.rglob("*")) == before  # no folder is left behind


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys\nsys.argv = ['discover.py', '--help']\nimport discover\n"
        "try:\n    discover.main()\nexcept SystemExit:\n    pass\n"
        "print(sorted(set(sys.modules) & {'numpy', 'torch', 'pandas', 'sympy', 'rich', 'pyarrow', 'sklearn'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "TABLE TARGET" in done.stdout


def test_ctrl_c_shows_and_writes_the_best_so_far(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(1, 3, (60, 2)), columns=["a", "b"])
    frame["y"] = np.sin(frame["a"] * np.exp(frame["b"])) + 0.3 * rng.normal(size=60)
    frame.to_csv(tmp_path / "noise.csv", index=False)
    words = [sys.executable, str(ROOT / "discover.py"), "noise.csv", "y", "--seconds", "500", "--jobs", "1"]
    process = subprocess.Popen(
        [*words, "--out", "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "error" in line and "y =" in line:
            break
    begun = time.perf_counter()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert "Interrupted" in rest
    assert time.perf_counter() - begun < 60
    assert load(tmp_path / "out").stopped == "interrupted"


def test_a_data_frame_is_explained_from_python() -> None:
    frame = gas(40)
    tables, progress = [], list[Progress]()
    result = discover(
        frame,
        "p / kPa",
        ["n (mol)", "T [K]", "V"],
        seconds=20,
        jobs=1,
        on_table=tables.append,
        on_progress=progress.append,
    )
    assert equivalent(result.chosen.expression, LAW, ROWS)
    assert result.held_out is None  # too few rows to spare any
    assert len(tables) == 1
    np.testing.assert_allclose(predict(result, frame), frame["p / kPa"], rtol=1e-12)


def test_standard_deviations_weigh_the_rows() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(1, 3, 60)})
    frame["y"], frame["error"] = frame["x"] ** 2, 1e-6
    frame.loc[:9, ["y", "error"]] = 500.0, 1e6
    result = discover(frame, "y", sigma="error", seconds=4, jobs=1, operators=["add", "mul"])
    assert result.features == ("x",)
    values = result.chosen.expression(np.array([[1.5], [2.5]]))
    np.testing.assert_allclose(values, [2.25, 6.25], rtol=1e-6)


def test_given_standard_deviations_give_the_intervals_their_width() -> None:
    """Whatever the residuals say; a note tells where these say something else."""
    rng = np.random.default_rng(1)
    x = rng.uniform(1, 3, 60)
    frame = pd.DataFrame({"x": x, "y": 2.5 * x + 0.3 * rng.normal(size=60), "error": 0.1})
    given, found = (
        discover(frame, "y", ["x"], sigma=sigma, seconds=2, jobs=1, method="regression")
        for sigma in ("error", None)
    )
    for result, half in ((given, 1.96 * 0.1), (found, 2.001 * np.std(frame["y"], ddof=1))):
        mean = result.intervals[0]
        assert result.front[0].expression.variables == ()
        assert mean is not None
        assert np.ptp(mean.ends) == pytest.approx(2.0 * half / math.sqrt(60), rel=1e-3)
    assert any("times the given standard deviations" in note for note in given.notes)
    assert not any("times the given standard deviations" in note for note in found.notes)


def test_errors_that_grow_are_said_and_allowed_for() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(0.1, 3, 120)
    frame = pd.DataFrame({"x": x, "y": 2.5 * x * (1.0 + 0.3 * rng.normal(size=120))})
    found = discover(frame, "y", seconds=2, jobs=1, method="regression", operators=["mul"])
    intervals = found.intervals_of(found.chosen)
    assert intervals is not None
    assert intervals.unequal
    assert any("allow for that" in note for note in found.notes)


def test_predictions_have_intervals_where_they_are_known(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    x = np.linspace(1, 3, 80)
    frame = pd.DataFrame({"x": x, "y": 2.5 * x + 0.1 * rng.normal(size=80)})
    discover(frame, "y", seconds=2, jobs=1, method="regression", operators=["mul"], out=tmp_path / "out")
    frame.to_csv(tmp_path / "new.csv")
    arguments = ["predict", str(tmp_path / "out"), str(tmp_path / "new.csv"), "--interval"]
    assert door.main([*arguments, "--out", str(tmp_path / "values.csv")]) == 0
    values = pd.read_csv(tmp_path / "values.csv")
    assert list(values.columns) == ["y", "y_low", "y_high"]
    assert np.mean((values.y_low < frame.y) & (frame.y < values.y_high)) >= 0.85
    assert np.ptp(values[["y_low", "y_high"]], axis=1).mean() == pytest.approx(4 * 0.1, rel=0.25)
    assert door.main(["predict", str(found / "out"), str(found / "gas.csv"), "--interval"]) == 2  # it is exact
    assert "leave it out" in capsys.readouterr().err


def test_five_rows_are_enough_for_a_guess() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 5.0], "y": [2.0, 4.0, 6.0, 8.0, 10.0]})
    assert equivalent(discover(frame, "y", seconds=10, jobs=1).chosen.expression, parse("2*x0"), ROWS)
    with pytest.raises(UserError, match="5"):
        discover(frame[:4], "y", seconds=10, jobs=1)


def test_folders_are_named_after_the_table_and_never_taken_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = fresh_folder("../data/My gas.tar.csv", "p / kPa")
    assert first == Path("discoveries/My_gas_p_kPa")
    first.mkdir(parents=True)
    assert fresh_folder("My gas.csv", "p / kPa") == Path("discoveries/My_gas_p_kPa_2")
    assert fresh_folder("-", "../..").parent == Path("discoveries")
