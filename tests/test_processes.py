"""The processes of a run end together: a lost one, an error and SIGTERM end all, in bounded time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.autoencoder import Autoencoder
from rediscover.wiring import processes
from rediscover.wiring.heartbeat import FAILED, LEFT, SILENT_BEATS, STOPPED, Heartbeat
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


# ------------------------------------------------------------------------------------------------- a whole run

FIT = (
    "search=none",
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
    """`begun("key=value", …, fault=function)` starts two processes; the fault is called in every epoch's start."""
    rows = np.random.default_rng(0).normal(size=(80, 2)).round(3)
    lines = [f"{a},{b},{a * b:.5f}" for a, b in rows]
    (tmp_path / "table.csv").write_text("a,b,c\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.25)

    def start(*arguments: str, fault: Any = None) -> Launched:
        def before(rank: int) -> None:
            if fault is not None:
                step = Autoencoder.on_train_epoch_start

                def stepped(model: Autoencoder) -> None:
                    step(model)
                    if model.current_epoch == 2:
                        fault(rank)

                Autoencoder.on_train_epoch_start = stepped  # type: ignore[method-assign]

        return launched(2, [*FIT, *arguments], tmp_path, before)

    return start


def test_a_killed_process_ends_the_job(begun: Any) -> None:
    run = begun(ENDLESS, fault=lambda rank: rank == 1 and os.kill(os.getpid(), signal.SIGKILL))
    codes = run.wait(60)
    assert codes == [2, -9], run.text(0)
    assert "error: process 1 of 2 has ended without a word: resume=run goes on" in run.text(0)
    assert "Traceback" not in run.text(0)
