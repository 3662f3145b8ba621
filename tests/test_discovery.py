"""What a discovery leaves on disk: whole, readable, and harmless whoever wrote the table or the file."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from expressions.measurements import Measurements
from expressions.parsing import parse
from foundation.errors import UserError
from reports.discovery import EQUATION, LINEAR, Discovery, Score, ShownEquations, read, write
from reports.discovery_parts.intervals import front_intervals
from reports.discovery_parts.terminal import summary
from reports.discovery_parts.verdict import verdict
from searches.pareto_front import Candidate, ParetoFront

HOSTILE = ('<script>alert("1")</script>', 'it\'s "quoted"\n\\end{document}\u202e', "\udc80 θ [°C]")


def discovery(rows: int = 200, **changes: Any) -> Discovery:
    """A front of three equations of a gas, the true one picked."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(1.0, 3.0, (rows, 3))
    target = 8.314 * inputs[:, 0] * inputs[:, 1] / inputs[:, 2]
    names = ("n", "T_K", "V")
    equations = ("14.2", "8.2*n*T_K/2", "8.314*n*T_K/V")
    errors = (0.9, 0.3, 2.5e-31)
    front = ParetoFront(
        [
            Candidate(parse(e, names), k, nmse, nmse)
            for e, k, nmse in zip(equations, (1, 5, 9), errors, strict=True)
        ]
    )
    held = rows * 3 // 4
    content: dict[str, Any] = {
        "source": "gas.csv",
        "target": "P [kPa]",
        "features": ("n", "T [K]", "V"),
        "target_name": "P_kPa",
        "names": names,
        "front": front,
        "chosen": front[2],
        "scores": {EQUATION: Score(1.0, 9), LINEAR: Score(0.91, 4)},
        "train": (inputs[:held], target[:held]),
        "held_out": (inputs[held:], target[held:]),
        "rows": rows,
        "seconds": 3.5,
        "evaluations": 12345,
        "stopped": "exact",
        "seed": 7,
        "notes": ("column 'T [K]' is called T_K in equations",),
    }
    return Discovery(**(content | changes))


def test_the_files(tmp_path: Path) -> None:
    paths = write(tmp_path / "out", discovery())
    assert sorted(path.name for path in paths) == sorted(os.listdir(tmp_path / "out"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "equations.csv").read_text())))
    assert [row["chosen"] for row in rows] == ["", "", "yes"]
    assert [row["complexity"] for row in rows] == ["1", "5", "9"]
    assert float(rows[2]["test_r2"]) == 1.0
    assert float(rows[1]["nmse"]) == 0.3
    assert float(rows[1]["train_r2"]) == 0.7
    assert rows[2]["infix"] == "8.314*n*T_K/V"
    assert r"\frac" in rows[2]["latex"]
    tex = (tmp_path / "out" / "equation.tex").read_text()
    assert r"\[ \mathrm{P\_kPa} = " in tex
    assert "% T_K: 'T [K]'" in tex


def noisy() -> Discovery:
    """The front with an error that noise leaves, and the intervals of the rows."""
    exact = discovery()
    assert exact.train is not None
    inputs, target = exact.train
    measured = target + 0.2 * np.random.default_rng(1).normal(size=len(target))
    front = ParetoFront([*exact.front.candidates[:2], Candidate(exact.chosen.expression, 9, 1e-4, 1e-4)])
    intervals = front_intervals(front, front[2], Measurements.of(inputs, measured))
    return replace(exact, front=front, chosen=front[2], train=(inputs, measured), intervals=intervals)


def test_constants_have_intervals_wherever_the_equation_is_shown(tmp_path: Path) -> None:
    made = noisy()
    [words] = ShownEquations.of_discovery(made).intervals
    found = re.fullmatch(r"(8\.3\d+) ± (0\.0\d\d)", words)
    assert found is not None
    value, half = map(float, found.groups())
    assert abs(value - 8.314) < half < 0.1
    write(tmp_path, made)
    assert words in (tmp_path / "report.html").read_text()
    assert rf"\left({found[1]} \pm {found[2]}\right)" in (tmp_path / "equation.tex").read_text()
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(summary(made))
    assert words in console.export_text()


def test_the_table_of_equations_holds_intervals_that_pandas_reads(tmp_path: Path) -> None:
    write(tmp_path, noisy())
    table = pd.read_csv(tmp_path / "equations.csv")
    constants, ends = (table[name].map(json.loads) for name in ("constants", "intervals"))
    assert [len(each) for each in constants] == [len(each) for each in ends] == [1, 2, 1]
    [[low, high]] = ends[2]
    assert low < 8.314 < high
    assert low < constants[2][0] < high
    assert ends[1] == [[None, None], [None, None]]  # 8.2/2: any other factor would do


def test_what_is_exact_has_no_intervals(tmp_path: Path) -> None:
    exact = discovery()
    assert exact.train is not None
    intervals = front_intervals(exact.front, exact.chosen, Measurements.of(*exact.train))
    assert intervals[2] is None
    assert intervals[0] is not None
    write(tmp_path, replace(exact, intervals=intervals))
    assert "pm" not in (tmp_path / "equation.tex").read_text()


def test_intervals_come_back(tmp_path: Path) -> None:
    made = noisy()
    write(tmp_path, made)
    again = read(tmp_path)
    assert again.intervals == made.intervals
    assert again.intervals != ()
    assert ShownEquations.of_discovery(again).intervals == ShownEquations.of_discovery(made).intervals


def test_the_module_predicts(tmp_path: Path) -> None:
    made = discovery()
    write(tmp_path, made)
    module: dict[str, Any] = {}
    source = (tmp_path / "equation.py").read_text()
    exec(compile(source, "equation.py", "exec"), module)
    assert module["FEATURES"] == ["n", "T [K]", "V"]
    assert made.held_out is not None
    assert np.array_equal(module["predict"](made.held_out[0]), made.chosen.expression(made.held_out[0]))
    assert module["__doc__"].startswith("P_kPa = 8.314*n*T_K/V\n")
    assert "R2 is 1 on the rows of the fit and 1 on 50 rows held out" in module["__doc__"]


def test_a_discovery_comes_back_without_its_rows(tmp_path: Path) -> None:
    made = discovery(scores={EQUATION: Score(-np.inf, 9), "gradient boosting": Score(0.5)})
    write(tmp_path, made)
    again = read(tmp_path)
    assert (again.train, again.held_out) == (None, None)
    for name in Discovery.__dataclass_fields__:
        if name not in ("train", "held_out"):
            assert getattr(again, name) == getattr(made, name), name
    assert write(tmp_path / "again", again)
    assert read(tmp_path / "again") == again


def test_few_rows_and_none_held_out(tmp_path: Path) -> None:
    write(tmp_path, discovery(8, held_out=None, scores={}))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "equations.csv").read_text())))
    assert rows[0]["test_r2"] == ""
    assert read(tmp_path).scores == {}


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    made = discovery(features=HOSTILE, target=HOSTILE[1], source=HOSTILE[0], notes=HOSTILE)
    write(tmp_path, made)
    module: dict[str, Any] = {}
    exec(compile((tmp_path / "equation.py").read_text("utf-8"), "equation.py", "exec"), module)
    assert module["FEATURES"] == list(HOSTILE)
    assert read(tmp_path).features == HOSTILE
    tex = (tmp_path / "equation.tex").read_text()
    assert [line for line in tex.splitlines() if not line.startswith("%")] == [tex.splitlines()[-1]]


def spoiled(**changes: Any) -> dict[str, Any]:
    """The content of a whole model.json with other values."""
    return {
        "format": "rediscover discovery 1", "source": "a", "target": "y", "features": ["x"], "target_name": "y",
        "names": ["x"], "chosen": 0, "scores": {}, "rows": 9, "seconds": 1.0, "evaluations": 1, "stopped": "",
        "seed": 0, "notes": [],
        "equations": [{"equation": "2*x", "complexity": 3, "train_nmse": 0.1, "validation_nmse": 0.1}],
    } | changes  # fmt: skip


def equation(**changes: Any) -> dict[str, Any]:
    return spoiled(equations=[spoiled()["equations"][0] | changes])


def intervals(**changes: Any) -> dict[str, Any]:
    return {
        "constants": [2.0], "ends": [[1.9, None]], "covariance": [[0.01]], "noise": 0.1, "freedom": None,
        "level": 0.95, "excess": None, "unequal": False,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        spoiled(format="rediscover discovery 2"),
        spoiled(features="x"),
        spoiled(features=["x", "z"]),
        spoiled(features=["x" * 20_000]),
        spoiled(features=[3]),
        spoiled(names=["x y"]),
        spoiled(names=["x", "x"], features=["a", "b"]),
        spoiled(chosen=1),
        spoiled(chosen=-1),
        spoiled(chosen=True),
        spoiled(chosen=0.0),
        spoiled(equations={}),
        spoiled(equations=[[]]),
        spoiled(equations=[], chosen=0),
        spoiled(equations=[{}] * 1_001),
        spoiled(rows=10**400),
        spoiled(seconds="3"),
        spoiled(seconds=-1.0),
        spoiled(seconds=10**400),
        spoiled(scores={"a": 3}),
        spoiled(scores={"a": {"r2": "x", "complexity": 3}}),
        spoiled(scores={str(k): {} for k in range(101)}),
        spoiled(notes=[[]]),
        equation(equation="__import__('os')"),
        equation(equation="q + 1"),
        equation(equation="1e999*x"),
        equation(equation=["x"]),
        equation(equation="(" * 5_000 + "x" + ")" * 5_000),
        equation(equation="x+" * 60_000 + "x"),
        equation(train_nmse=-1.0),
        equation(train_nmse=None),
        equation(complexity=2.5),
        equation(intervals=3),
        equation(intervals=intervals(noise=-1.0)),
        equation(intervals=intervals(ends=[[1.0]])),
        equation(intervals=intervals(constants=[2.0, 3.0])),
        equation(intervals=intervals(covariance=[[0.1, 0.1]])),
        equation(intervals=intervals(covariance=[["x"]])),
    ],
)
def test_a_model_of_a_stranger_is_refused_in_one_sentence(content: Any, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"model\.json' is not the model of a discovery \(.*\): give a") as raised:
        read(tmp_path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(spoiled()).replace("1.0", "NaN"), "nan, not a finite number"),
        (json.dumps(spoiled()).replace("1.0", "1e999"), "not a finite number"),
        (json.dumps(spoiled()).replace("1.0", "9" * 5_000), "Exceeds the limit"),
        (" " * (5 << 20), "more than the 4,194,304"),
        (b"\xff\xfe{}", "is no JSON"),
    ],
)
def test_a_file_that_is_no_json_of_ours(text: str | bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=reason):
        read(tmp_path)


def test_unknown_keys_are_ignored_and_a_pipe_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(spoiled(later={"a": 1})))
    assert read(tmp_path).chosen.expression == parse("2*x0")
    (tmp_path / "model.json").write_text(json.dumps(equation(intervals=intervals())))
    assert ShownEquations.of_discovery(read(tmp_path)).intervals == ("2.00 (from 1.90)",)
    (tmp_path / "model.json").unlink()
    with pytest.raises(UserError, match="there is no file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(UserError, match="not a regular file"):
        read(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "file", discovery())


@pytest.mark.parametrize(
    ("place", "scores", "said"),
    [
        (0, {EQUATION: Score(0.0, 1)}, ["No formula of P_kPa is better than its mean"]),
        (1, {EQUATION: Score(0.7, 5)}, []),
        (1, {}, ["take the formula for a guess"]),
        (2, {EQUATION: Score(1.0, 9)}, ["to the digits"]),
        (2, {}, ["to the digits", "take the formula for a guess"]),
    ],
)
def test_a_reader_is_told_what_the_picked_equation_is_worth(
    place: int, scores: dict[str, Score], said: list[str], tmp_path: Path
) -> None:
    found = discovery(scores=scores)
    found = replace(found, chosen=found.front[place])
    words = verdict(found)
    assert bool(words) == bool(said)
    write(tmp_path, found)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for part in said:
        assert part in words
        assert part in page
