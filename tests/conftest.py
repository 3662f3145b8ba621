"""Shared fixtures: the command line, run in this process (fast) or in its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; programs under test need Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A change is judged by the same draws whenever it is tested; HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """A command tells Python where its processes find modules: the next test is not to hear of it."""
    names = ("PYTHONSAFEPATH", "PYTHONPATH")
    before = {name: os.environ[name] for name in names if name in os.environ}
    try:
        return (yield)
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable]:
    """`command("model=…", …)` runs `train.py` with these arguments in this process, in an empty directory."""
    from hydra.core.global_hydra import GlobalHydra

    import train
    from runs import sigterm

    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), *arguments])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        try:
            train.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, handler)
    sigterm.deafen()
    GlobalHydra.instance().clear()


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """`process("model=…", …)` starts `train.py` in a process of its own, in the same empty directory."""

    def start(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments],
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start
