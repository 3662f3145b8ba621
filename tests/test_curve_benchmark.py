"""The suite `curve`, tiny: what stands after which budget, its shares, its figure; no timing is asserted."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import courses, curve
from benchmarks.cells import FAILED, OK, Cell, Record
from benchmarks.courses import Course
from benchmarks.peers import Data, most_accurate
from benchmarks.processor_clock import helpers_seconds
from expressions.expression import Expression
from expressions.parsing import parse
from reports.shares import shares_over_seconds

SETTINGS = curve.SUITE.settings | {"seconds": 3.0, "train_rows": 200}
INPUTS = np.random.default_rng(1).uniform(1.0, 2.0, (50, 2))
DATA = Data(INPUTS, INPUTS[:, 0] * INPUTS[:, 1], INPUTS, INPUTS[:, 0] * INPUTS[:, 1])


def test_the_problems_are_all_133() -> None:
    names = curve.SUITE.problems(SETTINGS)
    assert len(names) == len(set(names)) == 119 + 14
    assert curve.SUITE.expand("strogatz") == tuple(names[119:])
    assert set(curve.SUITE.expand("sample44")) <= set(names)
    assert curve.budgets(SETTINGS) == [0.3, 1.0, 3.0]


def test_our_runs_are_judged_on_fresh_rows_and_an_exact_one_ends_them() -> None:
    result = curve.run(Cell("curve", "regression", "I.12.5", 1, SETTINGS))
    json.dumps(result)
    answers = result["budgets"]
    assert set(answers) == {"0.3", "1", "3"}
    assert answers["3"]["exact"]
    assert answers["3"]["recovered"]
    assert answers["3"]["refitted"]
    assert answers["3"]["stopped"] == "exact"
    assert answers["3"]["infix"] in ("q2*Ef", "Ef*q2")


def test_a_course_keeps_what_stood_after_every_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(courses.time, "process_time", lambda: now)
    course = Course(10.0, exact=lambda answer: answer.expression == parse("x1"))

    def show(at: float, text: str, work: float = 0.0) -> None:
        def find() -> tuple[Expression, Expression]:
            nonlocal now
            now += work
            return parse(text), parse(text)

        nonlocal now
        now = at
        course.show(find)

    show(1.0, "x0", work=5.0)  # what the course itself does does not count
    assert course.seconds == 1.0
    show(7.0, "x0")
    show(8.5, "2*x0")
    assert [answer.seconds for answer in course.answers] == [1.0, 3.5]
    assert course.after(0.9) is None
    assert str(course.after(3.0).expression.infix()) == "x0"  # type: ignore[union-attr]
    assert str(course.after(math.inf).expression.infix()) == "2*x0"  # type: ignore[union-attr]
    assert not course.over
    show(9.0, "x1")
    assert course.over
    late = Course(10.0, exact=lambda answer: False)
    now += 10.0
    late.show(lambda: None)
    assert late.over
    assert not late.answers


@pytest.mark.parametrize("method", ["pyoperon", "gplearn"])
def test_peers_show_their_answers_until_one_is_exact(method: str) -> None:
    module, search = courses.PEERS[method]
    pytest.importorskip(module)
    course = Course(20.0, lambda answer: bool(np.allclose(answer.predict(INPUTS), DATA.target, rtol=1e-6)))
    search(DATA, curve.SUITE.settings, 1, course)
    assert course.over
    assert np.allclose(course.answers[-1].predict(INPUTS), DATA.target, rtol=1e-6)
    assert course.answers[-1].seconds <= course.seconds


def test_an_answer_of_pyoperon_is_scaled_in_double_precision() -> None:
    inner = parse("x0*x1")
    scaled = courses._scaled(inner, Data(INPUTS, 3.7 * DATA.target - 1.25, INPUTS, DATA.target))
    assert np.allclose(scaled(INPUTS), 3.7 * DATA.target - 1.25, rtol=1e-13)
    for useless in (parse("2.5"), parse("log(x0 - 9)")):
        assert courses._scaled(useless, DATA) == useless


def test_the_shortest_of_the_most_accurate_is_chosen() -> None:
    front = [parse(text) for text in ("x0", "x0*x1*1.0", "x0*x1", "log(x0 - 9)")]
    assert most_accurate(front, DATA) == 2
    assert most_accurate(front[3:], DATA) is None


def test_work_of_other_processes_counts() -> None:
    import subprocess
    import sys

    before = helpers_seconds()
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        if Path("/proc/self/stat").exists():
            assert helpers_seconds() - before > 0.25, "while it runs"
        child.communicate(b"\n")
    assert helpers_seconds() - before > 0.25, "after it has ended"


def record(method: str, name: str, seed: int, **at: str) -> Record:
    """A cell with letters for what holds after each budget: e(xact), f (refitted), r(ecovered)."""
    cell = Cell("curve", method, name, seed, SETTINGS)
    answers = {
        key[1:].replace("_", "."): {
            "nmse": 0.0 if "e" in text else 0.5,
            "exact": "e" in text,
            "refitted": "f" in text,
            "recovered": "r" in text,
            "size": 5,
            "cpu_seconds": 0.2,
            "sympy_seconds": 0.1,
        }
        for key, text in at.items()
    }
    return Record(cell, OK, {"budgets": answers, "variables": 2})


RECORDS = [
    record("auto", "I.12.5", 1, b0_3="", b1="ef", b3="efr"),
    record("auto", "I.39.1", 1, b0_3="efr", b1="efr", b3="efr"),
    record("auto", "strogatz_vdp1", 1, b0_3="", b1="", b3="r"),
    record("pyoperon", "I.12.5", 1, b3="f"),
    Record(Cell("curve", "pyoperon", "I.39.1", 1, SETTINGS), FAILED, reason="gone"),
]


def test_shares_are_of_all_cells_and_no_answer_is_none() -> None:
    feynman, strogatz = curve.report(RECORDS).grids
    shares = {row[0]: row[1:5] for row in feynman.rows}
    assert shares["auto, 0.3 s"] == ["2", "50.0 %", "50.0 %", "50.0 %"]
    assert shares["auto, 1 s"] == ["2", "100.0 %", "100.0 %", "50.0 %"]
    assert shares["pyoperon, 1 s"] == ["2", "0.0 %", "0.0 %", "0.0 %"]
    assert shares["pyoperon, 3 s"] == ["2", "0.0 %", "50.0 %", "0.0 %"]
    assert [row[4] for row in strogatz.rows] == ["0.0 %", "0.0 %", "100.0 %"]


def test_a_run_that_was_late_counts_once_it_is_over() -> None:
    late = record("auto", "I.12.5", 1, b0_3="efr", b1="efr", b3="efr")
    for answer in late.result["budgets"].values():
        answer["cpu_seconds"] = 0.4
    [feynman, _] = curve.report([late]).grids
    assert [row[2] for row in feynman.rows] == ["0.0 %", "100.0 %", "100.0 %"]
    late.result["budgets"]["3"] = late.result["budgets"]["3"] | {"exact": False, "cpu_seconds": 3.6}
    assert [row[2] for row in curve.report([late]).grids[0].rows] == ["0.0 %", "100.0 %", "100.0 %"]


def test_the_figure_shows_every_method(tmp_path: Path) -> None:
    seconds, mean, lowest, highest = curve._curve([r for r in RECORDS if r.cell.method == "auto"], "exact")
    assert seconds.tolist() == [0.3, 1.0, 3.0]
    assert np.allclose(mean, [100 / 3, 200 / 3, 200 / 3])
    assert (lowest == highest).all(), "one seed"
    [path] = curve.draw(RECORDS, tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert curve.draw([], tmp_path) == []
    one = (seconds, mean, lowest, highest)
    assert shares_over_seconds({"exact": {"auto": one}}, tmp_path / "one.png").exists()


def test_the_clock_is_the_processors() -> None:
    begun = time.process_time()
    course = Course(1e9, exact=lambda answer: False)
    time.sleep(0.05)
    assert course.seconds <= time.process_time() - begun
