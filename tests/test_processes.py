"""The processes of a run end together: a lost one, an error and SIGTERM end all, in bounded time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from callbacks.spread_search import SpreadSearch
from modules.autoencoder import Autoencoder
from rediscover.wiring import processes
from rediscover.wiring.heartbeat import FAILED, LEFT, SILENT_BEATS, STOPPED, Heartbeat
from runs import sigterm
from runs.launch import rank
from runs.record import read_results
from tests.launched import Launched, launched

ROOT = Path(__file__).resolve().parents[1]

# ------------------------------------------------------------------------------------------------ the heartbeat


class Beats:
    """Heartbeats of three processes over one store; `silent` ones are dead."""

    def __init__(self) -> None:
        self.store = torch.distributed.HashStore()
        self.hearts = [Heartbeat(lambda: self.store, rank, 3, 0.0) for rank in range(3)]

    def beat(self, times: int, silent: tuple[int, ...] = ()) -> list[str | None]:
        """The verdicts after some beats, by rank."""
        for _ in range(times):
            for heart in self.hearts:
                if heart.rank not in silent:
                    heart.beat(self.store)
        return [heart.verdict for heart in self.hearts]


def test_all_live() -> None:
    assert Beats().beat(3 * SILENT_BEATS) == [None, None, None]


@pytest.mark.parametrize("begun", [0, 5])
def test_a_silent_process_ends_all_and_one_says_so(begun: int) -> None:
    beats = Beats()
    beats.beat(begun)
    assert beats.beat(SILENT_BEATS - 2, silent=(2,)) == [None, None, None]
    first, second, _ = beats.beat(3, silent=(2,))
    assert first == "process 2 of 3 has ended without a word"
    assert second == FAILED, "which is said by the first process"


def test_the_silence_of_the_first_process_is_heard_by_all() -> None:
    beats = Beats()
    beats.beat(5)
    assert beats.beat(SILENT_BEATS - 1, silent=(0,)) == [None, None, None]
    assert beats.beat(1, silent=(0,))[1:] == ["process 0 of 3 has ended without a word"] * 2


def test_a_process_that_has_done_its_work_may_go() -> None:
    beats = Beats()
    beats.beat(2)
    beats.hearts[1].say(LEFT)
    beats.beat(1)
    assert beats.beat(3 * SILENT_BEATS, silent=(1,)) == [None, None, None]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("word", [FAILED, STOPPED])
def test_a_last_word_reaches_all(rank: int, word: str) -> None:
    beats = Beats()
    beats.hearts[rank].say(word)
    verdicts = beats.beat(2)
    if word == STOPPED:
        assert verdicts == [STOPPED] * 3
    elif rank == 0:
        assert verdicts == [FAILED] * 3
    else:
        assert verdicts == ["process 1 of 3 has failed, its lines above say why", FAILED, FAILED]


# -------------------------------------------------------------------------------- SIGTERM, whatever is going on

BLOCKED = """
import ctypes, sys
from runs import sigterm
from runs.launch import rank
from runs.record import read_results
from runs import sigterm
sigterm.GRACE_SECONDS = 0.1
sigterm.listen()
mutex = ctypes.create_string_buffer(64)
lock = ctypes.CDLL(None).pthread_mutex_lock
lock(mutex)
{before}
print("busy", flush=True)
{line}
"""


def ended(line: str, before: str = "") -> tuple[int, str]:
    """Exit code and errors of a process whose main thread is in `line` when SIGTERM comes."""
    busy = subprocess.Popen(
        [sys.executable, "-c", BLOCKED.format(line=line, before=before)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert busy.stdout is not None
    assert busy.stdout.readline() == "busy\n"
    busy.send_signal(signal.SIGTERM)
    _, err = busy.communicate(timeout=60)
    return busy.returncode, err


def test_sigterm_ends_a_process_that_waits_in_foreign_code() -> None:
    # For ever, and no handler in Python runs; one that comes just before makes no difference.
    code, err = ended("lock(mutex)", "import signal; signal.signal(signal.SIGTERM, lambda *_: None)")
    assert code == 143
    assert err == "error: ended by SIGTERM while it was busy: resume=RUN_DIR goes on from the last checkpoint\n"


def test_sigterm_lets_a_process_leave_by_itself() -> None:
    assert ended("import time; time.sleep(100)") == (143, "")


def test_sigterm_to_a_forked_child_is_none_to_its_parent() -> None:
    code = (
        "import os, signal, time; from runs import sigterm; sigterm.listen()\n"
        "ours, theirs = os.pipe(); child = os.fork()\n"
        "if child == 0: os.write(theirs, b'!'); time.sleep(100)\n"
        "os.read(ours, 1); os.kill(child, signal.SIGTERM); os.waitpid(child, 0)\n"
        "print(sigterm._received.wait(0.2))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.stdout == "False\n", run.stderr


def test_a_process_that_listens_no_longer_has_no_thread_for_it() -> None:
    sigterm.listen()
    (thread,) = (one for one in threading.enumerate() if one.name == "sigterm")
    sigterm.deafen()
    thread.join(timeout=10)
    assert not thread.is_alive()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


# ------------------------------------------------------------------------------------------------- a whole run

Fault = Callable[[int], None]
"""What happens to a process, by its rank."""

FIT = (
    "logger=csv",
    "threads=1",
    "data=tabular",
    "data.path=table.csv",
    "data.target=c",
    "data.batch_size=8",
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "trainer.devices=2",
    "hydra.run.dir=run",
)
ENDLESS = "trainer.max_epochs=1000000"


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`begun("key=value", …, epoch=fault, search=fault)` starts two processes that have such faults."""
    rows = np.random.default_rng(0).normal(size=(80, 2)).round(3)
    lines = [f"{a},{b},{a * b:.5f}" for a, b in rows]
    (tmp_path / "table.csv").write_text("a,b,c\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.25)

    def start(*arguments: str, epoch: Fault | None = None, search: Fault | None = None) -> Launched:
        def before(rank: int) -> None:
            _call_first(Autoencoder, "on_train_epoch_start", epoch, rank, lambda model: model.current_epoch == 2)
            _call_first(SpreadSearch, "_run", search, rank, lambda _: True)

        return launched(2, [*FIT, *arguments], tmp_path, before)

    return start


def _call_first(kind: Any, name: str, fault: Fault | None, rank: int, when: Callable[[Any], bool]) -> None:
    """Have a method call the fault before it does its work."""
    method = getattr(kind, name)

    def faulty(self: Any, *rest: Any) -> Any:
        if fault is not None and when(self):
            fault(rank)
        return method(self, *rest)

    setattr(kind, name, faulty)


def killed(rank: int) -> None:
    """The second process is gone, as when the memory is full."""
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def stopped(rank: int) -> None:
    """A scheduler sends SIGTERM to one process alone."""
    if rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)


LOST = "error: process 1 of 2 has ended without a word: resume=run goes on from the last checkpoint"


@pytest.mark.long
def test_a_killed_process_ends_the_job(begun: Any) -> None:
    run = begun("search=none", ENDLESS, epoch=killed)
    assert run.wait(60) == [2, -9], run.text(0)
    assert LOST in run.text(0)
    assert "Traceback" not in run.text(0)


@pytest.mark.long
def test_a_process_that_is_killed_in_its_search_ends_the_job(begun: Any) -> None:
    options = ("search=gp", "search.seconds=600", "search.workers=1", "search.stop_when_exact=false")
    run = begun("trainer.max_epochs=1", "model.latents=2", *options, search=killed)
    assert run.wait(90) == [2, -9], run.text(0)
    assert LOST in run.text(0)


@pytest.mark.long
def test_sigterm_to_one_process_ends_all(begun: Any) -> None:
    run = begun("search=none", ENDLESS, epoch=stopped)
    assert run.wait(60) == [143, 143], run.text(0)
    assert "Traceback" not in run.text(0) + run.text(1)
    assert "error" not in run.text(0) + run.text(1)


# ------------------------------------------------------------------------------------- launchers of other people


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
    ids=str,
)
def test_one_process_of_all_machines_is_the_first(
    environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (rank() == 0) == first


@pytest.mark.long
def test_the_script_for_torchrun(tmp_path: Path) -> None:
    """The guide's own script, with two processes on the CPU."""
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n[^`]*torchrun[^`]*)```", guide)
    for theirs, ours in (
        ("train.py", f"{ROOT}/train.py"),
        ("logs/cvae/four_gpus", "run"),
        ("--nproc-per-node=4", "--nproc-per-node=2"),
        ("trainer.devices=4", "trainer.devices=2 trainer.accelerator=cpu search=none logger=csv threads=1"),
        ("experiment=cvae_base", "experiment=smoke"),
    ):
        assert theirs in script
        script = script.replace(theirs, ours)
    ended = subprocess.run(["bash"], input=script, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("all in run") == 1, "one process speaks"
    assert "sync_dist" not in ended.stderr
    assert read_results(tmp_path / "run")["phase"] == "done"
    assert len(list((tmp_path / "run" / "attempts").iterdir())) == 1
