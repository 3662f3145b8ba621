"""Jobs in processes of their own: order, messages, and every way in which one can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from searches.common.parallel import ProcessKilledError, run_jobs

ROOT = Path(__file__).resolve().parents[1]
Report = Callable[[Any], None]
Stop = Callable[[], bool]


class OddError(Exception):
    """Cannot be rebuilt from its arguments, so cannot be sent to another process as it is."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first}/{second}")


def square(*, number: int, wait: float = 0.0, report: Report, should_stop: Stop) -> int:
    for k in range(3):
        report((number, k))
    time.sleep(wait)
    return number**2


def fail(*, kind: str, report: Report, should_stop: Stop) -> None:
    report("on the way")
    if kind == "value":
        raise ValueError("too bad")
    if kind == "odd":
        raise OddError("very", "odd")
    if kind == "unsendable":
        report(lambda: None)
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit":
        os._exit(3)
    time.sleep(60)


def until_stopped(*, folder: str, number: int, report: Report, should_stop: Stop) -> int:
    (Path(folder) / f"{number}.pid").write_text(str(os.getpid()))
    while not should_stop():
        time.sleep(0.01)
    return number


def never_ends(*, folder: str, report: Report, should_stop: Stop) -> None:
    (Path(folder) / "0.pid").write_text(str(os.getpid()))
    report("begun")
    time.sleep(600)  # never asks should_stop


def test_results_in_order_and_all_messages() -> None:
    messages: list[tuple[int, Any]] = []
    threads = os.environ.get("OMP_NUM_THREADS")
    jobs = [{"number": 3, "wait": 0.5}, {"number": 5}, {"number": 7}]
    assert run_jobs(square, jobs, 2, lambda *message: messages.append(message)) == [9, 25, 49]
    for job, number in enumerate((3, 5, 7)):
        assert [content for which, content in messages if which == job] == [(number, k) for k in range(3)]
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert run_jobs(square, [], 2, print) == []


def test_a_job_that_raises_is_raised_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="too bad") as caught:
        run_jobs(fail, [{"kind": "value"}, {"kind": "sleep"}], 2, lambda *_: None)
    assert 'raise ValueError("too bad")' in "".join(caught.value.__notes__)


def test_an_error_that_cannot_be_sent_is_told() -> None:
    with pytest.raises(RuntimeError, match="OddError: very/odd"):
        run_jobs(fail, [{"kind": "odd"}], 1, lambda *_: None)
    with pytest.raises(Exception, match="lambda"):
        run_jobs(fail, [{"kind": "unsendable"}], 1, lambda *_: None)


def test_a_killed_job_is_an_error_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(ProcessKilledError, match="SIGKILL"):
        run_jobs(fail, [{"kind": "sleep"}, {"kind": "killed"}], 2, lambda *_: None)
    with pytest.raises(RuntimeError, match="exit code 3"):
        run_jobs(fail, [{"kind": "exit"}], 1, lambda *_: None)
    assert time.monotonic() - begun < 30


def _script(tmp_path: Path, function: str, jobs: int, workers: int) -> subprocess.Popen[str]:
    """A process that runs jobs and prints their results."""
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.test_parallel import *\n"
        "if __name__ == '__main__':\n"
        f"    jobs = [{{'folder': {str(tmp_path)!r}, 'number': k}} for k in range({jobs})]\n"
        f"    jobs = jobs if {function}.__name__ == 'until_stopped' else [{{'folder': {str(tmp_path)!r}}}]\n"
        f"    print(run_jobs({function}, jobs, {workers}, print), flush=True)\n"
    )
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _pids(folder: Path, count: int) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        texts = [path.read_text() for path in folder.glob("*.pid")]
        if len(texts) == count and all(texts):
            return [int(text) for text in texts]
        time.sleep(0.02)
    raise TimeoutError(f"{count} jobs did not begin")


def _gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether the process ends within some seconds (a zombie has ended)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z"):
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_ctrl_c_ends_jobs_early_and_keeps_what_they_return(tmp_path: Path) -> None:
    parent = _script(tmp_path, "until_stopped", jobs=3, workers=2)
    _pids(tmp_path, 2)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    out, err = parent.communicate(timeout=30)
    assert parent.returncode == 0, err
    assert out.strip() == "[0, 1, None]"
    assert err == ""


def test_a_second_ctrl_c_means_now(tmp_path: Path) -> None:
    parent = _script(tmp_path, "never_ends", jobs=1, workers=1)
    (pid,) = _pids(tmp_path, 1)
    os.killpg(parent.pid, signal.SIGINT)
    time.sleep(0.5)
    assert parent.poll() is None
    os.killpg(parent.pid, signal.SIGINT)
    _, err = parent.communicate(timeout=30)
    assert parent.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert _gone(pid)


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = _script(tmp_path, "never_ends", jobs=1, workers=1)
    (pid,) = _pids(tmp_path, 1)
    parent.kill()
    parent.wait()
    assert _gone(pid)
