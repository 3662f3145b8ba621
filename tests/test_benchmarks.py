"""The benchmarks through their real command, tiny; no timing is asserted."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cells import FAILED, OK, Cell, Ledger, Record, run_cells
from benchmarks.gp_problems import PROBLEMS
from benchmarks.peers import Data, fit
from benchmarks.report import Grid, decimals, number
from benchmarks.suites import SUITES, suite
from expressions.parsing import parse

ROOT = Path(__file__).parent.parent
TINY_EVALUATION = ("individuals=12", "rows=64", "generations=2", "repeats=1")


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """`command(out, "suite", …)` does what `python -m benchmarks` does, in this process; cells have their own."""
    from benchmarks.__main__ import main

    monkeypatch.chdir(ROOT)
    handler = signal.getsignal(signal.SIGTERM)

    def run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
        arguments = [*words, "--out", str(out)]
        capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, handler)


def process(out: Path, *words: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m benchmarks`; `path` goes before everything that is installed."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=280,
    )


def lines(out: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_a_second_run_skips_what_is_finished(tmp_path: Path, command: Callable) -> None:
    words = ("evaluation", "--problems", "random15,evolved15-distinct", "--methods", "ours,deap", "--seeds", "1")
    first = command(tmp_path, *words, "--set", *TINY_EVALUATION)
    assert first.returncode == 0, first.stderr
    before = lines(tmp_path, "evaluation")
    assert [line["status"] for line in before] == [OK] * 4

    more = command(tmp_path, *words[:-1], "2", "--set", *TINY_EVALUATION)
    assert more.returncode == 0, more.stderr
    assert "4 cells are finished already" in more.stderr
    after = lines(tmp_path, "evaluation")
    assert after[:4] == before
    assert len(after) == 8

    table = (tmp_path / "evaluation.md").read_text()
    assert "python -m benchmarks evaluation" in table.splitlines()[0]
    assert "| random15 |" in table
    assert "one core a cell, 1 at a time" in table.splitlines()[0]


def test_other_settings_are_other_cells(tmp_path: Path, command: Callable) -> None:
    words = ("evaluation", "--problems", "random15", "--methods", "ours", "--seeds", "1", "--set")
    assert command(tmp_path, *words, *TINY_EVALUATION).returncode == 0
    assert command(tmp_path, *words, *TINY_EVALUATION[:-1], "repeats=2").returncode == 0
    assert len(lines(tmp_path, "evaluation")) == 2


def test_a_missing_peer_is_reported_and_not_kept(tmp_path: Path) -> None:
    # What Python does when the package is not there, on a machine where it is.
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "gplearn.py").write_text(
        'raise ModuleNotFoundError("No module named \'gplearn\'", name="gplearn")\n'
    )
    words = ("gp_problems", "--problems", "b1,b2", "--methods", "gplearn", "--seeds", "1", "--seconds", "1")
    done = process(tmp_path / "out", *words, path=absent)
    assert done.returncode == 0, done.stderr
    assert "gplearn: not installed (pip install gplearn)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out" / "gp_problems.jsonl").exists()


def test_gp_problems(tmp_path: Path, command: Callable) -> None:
    done = command(
        tmp_path, "gp_problems", "--problems", "b8", "--methods", "ours", "--seeds", "1", "--seconds", "1"
    )
    assert done.returncode == 0, done.stderr
    (line,) = lines(tmp_path, "gp_problems")
    assert line["status"] == OK, line
    result = line["result"]
    assert isinstance(result, dict)
    parse(result["infix"], PROBLEMS["b8"].variables)
    assert result["nrmse"] >= 0.0


@pytest.mark.long
def test_latents_and_inference_share_one_network(tmp_path: Path, command: Callable) -> None:
    tiny = ("--seeds", "1", "--seconds", "1", "--set", "epochs=1", "rows=300")
    problems = ("--problems", "inputs/z1")
    done = command(tmp_path, "latents", *problems, "--methods", "ours,cubic", *tiny)
    assert done.returncode == 0, done.stderr
    found = lines(tmp_path, "latents")
    assert [line["status"] for line in found] == [OK] * 3  # the network, then two methods
    assert "| cubic |" in (tmp_path / "latents.md").read_text()

    done = command(tmp_path, "inference", "--problems", "inputs", *tiny, "repeats=1")
    assert done.returncode == 0, done.stderr
    found = lines(tmp_path, "inference")
    assert [line["status"] for line in found] == [OK] * 2  # no training: the network is there
    assert "inputs, numpy" in (tmp_path / "inference.md").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("evaluations",), "did you mean evaluation"),
        (("evaluation", "--methods", "dea"), "did you mean deap"),
        (("evaluation", "--problems", "random"), "has no problem 'random'"),
        (("evaluation", "--set", "row=3"), "did you mean rows"),
        (("evaluation", "--set", "rows=many"), "rows is a number"),
        (("evaluation", "--seconds", "3"), "leave it out"),
        (("latents", "--jobs", "1000"), "--jobs 1000"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, words: tuple[str, ...], expected: str, command: Callable
) -> None:
    done = command(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cell_that_takes_too_long_or_raises_is_a_failure(tmp_path: Path) -> None:
    settings = suite("evaluation").settings
    slow = Cell("evaluation", "ours", "random15", 1, settings)
    wrong = Cell("evaluation", "ours", "no such population", 1, settings)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    (late,) = run_cells([slow], ledger, cores=[0], limit=lambda cell: 0.05, on_record=lambda record: None)
    assert (late.status, late.reason) == (FAILED, "killed after 0 s")
    (raised,) = run_cells([wrong], ledger, cores=[0], limit=lambda cell: 60.0, on_record=lambda record: None)
    assert raised.status == FAILED
    assert "KeyError" in raised.reason
    assert Ledger(ledger.path).find(wrong) == raised


def test_a_torn_last_line_is_ignored_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first, second = (Record(Cell("evaluation", "ours", "random15", seed), OK, {"a": 1.5}) for seed in (1, 2))
    Ledger(path).add(first)
    with path.open("a") as stream:
        stream.write('{"cell": {"suite": "eval')
    Ledger(path).add(second)
    assert Ledger(path).records() == [first, second]


def test_every_suite_is_described() -> None:
    for name in SUITES:
        found = suite(name)
        assert found.name == name
        cells = found.cells(methods=[], problems=[], seeds=found.seeds, settings={}, out="")
        assert len({cell.key for cell in cells}) == len(cells) > 0
        assert all(found.estimate(cell) > 0 for cell in cells)
        assert found.report([]).markdown("nothing was run")


def test_gp_problems_are_b1_to_b8() -> None:
    assert list(PROBLEMS) == [f"b{k}" for k in range(1, 9)]
    assert all(posed.published_success for posed in PROBLEMS.values())


def test_least_squares_finds_a_cubic() -> None:
    inputs = np.random.default_rng(1).uniform(-2.0, 3.0, (200, 2))
    target = parse("1.5 - 2*x0 + 0.5*x0**2*x1 - x1**3")(inputs)
    data = Data(inputs, target, inputs, target)
    assert np.allclose(fit("cubic", data, {}, 1).chosen.predict(inputs), target, atol=1e-10)
    linear = fit("linear", data, {}, 1).chosen
    assert linear.complexity == 8  # the nodes of c + a*x0 + b*x1
    assert np.mean((linear.predict(inputs) - target) ** 2) < np.var(target)


@pytest.mark.skipif(importlib.util.find_spec("pyoperon") is None, reason="pyoperon is not installed")
def test_trees_of_pyoperon_are_converted_node_for_node() -> None:
    import pyoperon

    from benchmarks.peers import from_pyoperon, to_pyoperon

    inputs = np.asfortranarray(np.random.default_rng(2).uniform(0.5, 3.0, (50, 2)).astype(np.float32))
    data = pyoperon.Dataset(inputs)
    variables = [v.Hash for v in sorted(data.Variables, key=lambda v: v.Index)]
    for text in ("x0 - x1/1.5", "sqrt(x1)**2 - exp(x0*sin(x1)) + log(x0)", "tanh(x0 - 2.25*cos(x1))/(x1 + 1)"):
        expression = parse(text)
        tree = to_pyoperon(expression, variables)
        assert tree.Length == len(expression)
        assert from_pyoperon(tree, variables) == expression
        values = pyoperon.Evaluate(pyoperon.DispatchTable(), tree, data, pyoperon.Range(0, len(inputs)))
        assert np.allclose(values.ravel(), expression(inputs), rtol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("gplearn") is None, reason="gplearn is not installed")
def test_gplearn_keeps_to_its_budget_and_its_equations_say_what_it_predicts() -> None:
    inputs = np.random.default_rng(3).uniform(1.0, 2.0, (60, 2))
    target = inputs[:, 0] * inputs[:, 1]
    found = fit("gplearn", Data(inputs, target, inputs, target), {"seconds": 0.5}, 1).chosen
    assert np.allclose(found.predict(inputs), found.expression(inputs))


def test_tables() -> None:
    grid = Grid("Title", ["a", "b"], [["x|y", "1"]])
    assert grid.markdown().splitlines()[2:] == ["| a | b |", "| :-- | --: |", "| x\\|y | 1 |"]
    assert (number(float("nan")), number(0.12345), decimals(1.5, 2), decimals(-12345.0)) == (
        "-",
        "0.123",
        "1.50",
        "-1.23e+04",
    )


def test_an_equation_that_is_not_finite_is_named_and_not_in_the_mean() -> None:
    srbench = suite("srbench")
    cells = srbench.cells(methods=["gp"], problems=["I.12.1", "I.12.5"], seeds=[1], settings={}, out="")
    measured = {"equivalent": False, "recovered": False, "complexity": 5, "wall_seconds": 1.0}
    records = [Record(cell, OK, measured | {"r2": r2}) for cell, r2 in zip(cells, (0.5, -1e30), strict=True)]
    text = srbench.report(records).markdown("nothing")
    assert "| gp, feynman | 2 | 0.5000 |" in text
    assert "Not finite on a fresh row, and not in the mean: I.12.5 by gp." in text
