"""The worker keeps to its time limit, is replaced when it dies, and ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expressions import sympy_worker
from expressions.complexity import complexity
from expressions.parsing import parse
from expressions.simplest_form import simplify

ROOT = Path(__file__).resolve().parent.parent


HARD = "*".join(f"(x0*{k}.5 + x1**{k % 5 + 2} + sin(x2*x{k % 3} + {k}.25))" for k in range(1, 12)) + "/(x0 + x1)"


def test_time_limit_kills_the_computation_and_the_worker_goes_on() -> None:
    simplify(parse("x0 + x0"), seconds=5.0)  # the start does not count
    worker = sympy_worker._worker
    assert worker is not None
    start = time.monotonic()
    simple = simplify(parse(HARD), seconds=0.5)
    assert time.monotonic() - start < 10.0
    assert complexity(simple) <= complexity(parse(HARD))
    assert sympy_worker._worker is worker
    assert not children_of(worker.process.pid)
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=5.0) == parse("x0 + 1")


def test_counting_ends_in_time_and_the_worker_goes_on() -> None:
    long = parse(" + ".join(f"sin({k}.5*x0)*x1**{k}" for k in range(2, 110)))
    assert sympy_worker.count_nodes(parse("x0 + 1"), seconds=60.0) == 3
    worker = sympy_worker._worker
    assert sympy_worker.count_nodes(long, seconds=0.01) is None
    assert sympy_worker.count_nodes(parse("x0*x1"), seconds=60.0) == 3
    assert sympy_worker._worker is worker


def test_a_worker_that_is_started_early_answers_the_first_question() -> None:
    sympy_worker.shut_down()
    sympy_worker.start()
    worker = sympy_worker._worker
    sympy_worker.start()  # there is one
    assert sympy_worker.count_nodes(parse("x0 + 1"), seconds=60.0) == 3
    assert sympy_worker._worker is worker is not None


def test_a_worker_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    simplify(parse("x0 + x0"), seconds=5.0)
    worker = sympy_worker._worker
    assert worker is not None
    monkeypatch.setattr(sympy_worker, "_MARGIN", 0.2)
    os.kill(worker.process.pid, signal.SIGSTOP)
    start = time.monotonic()
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=0.2) == parse("(x0**2 - 1)/(x0 - 1)")
    assert time.monotonic() - start < 10.0
    assert worker.process.returncode is not None  # reaped
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=5.0) == parse("x0 + 1")


def test_a_dead_worker_is_replaced() -> None:
    simplify(parse("x0 + x0"), seconds=5.0)
    assert sympy_worker._worker is not None
    os.kill(sympy_worker._worker.process.pid, signal.SIGKILL)
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=5.0) == parse("x0 + 1")


def _in_pool(text: str) -> str:
    return simplify(parse(text), seconds=5.0).infix()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_daemonic_pool_workers(method: str) -> None:
    simplify(parse("x0 + x0"), seconds=5.0)  # so that a fork inherits a worker
    before = sympy_worker._worker
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(_in_pool, ["(x0**2 - 1)/(x0 - 1)", "x0*x1 + x0*x2"])
    assert found == ["x0 + 1", "x0*(x1 + x2)"]
    assert simplify(parse("x0*x1 + x0*x2"), seconds=5.0) == parse("x0*(x1 + x2)")
    assert sympy_worker._worker is before  # the children left it alone


def children_of(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("ending", ["exit", "SIGINT", "SIGKILL"])
def test_the_worker_ends_with_its_parent(ending: str) -> None:
    code = f"""
import sys
from expressions.parsing import parse
from expressions.simplest_form import simplify
simplify(parse("x0 + x0"), seconds=5.0)
print("ready", flush=True)
sys.stdin.readline()
if {ending!r} != "exit":
    print("busy", flush=True)
    simplify(parse({HARD!r}), seconds=2.0)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    [worker] = children_of(parent.pid)
    parent.stdin.write("\n")
    parent.stdin.flush()
    if ending != "exit":
        assert parent.stdout.readline() == "busy\n"
        time.sleep(0.3)
        parent.send_signal(getattr(signal, ending))
    _, errors = parent.communicate(timeout=10)
    if ending == "SIGINT":
        assert "KeyboardInterrupt" in errors
    deadline = time.monotonic() + 15.0  # in mid-computation, the alarm after SIGKILL
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)
