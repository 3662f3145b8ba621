"""One run that is killed and resumed, beside one that nobody disturbed."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.launched import Forked

__all__ = ["Blow", "Outcome", "Whole", "differences", "strike", "undisturbed"]

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 900.0  # seconds that any attempt may take
_WRITING = 5.0  # seconds to wait for a file that is being written
Process = subprocess.Popen[str] | Forked
_ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {143}, signal.SIGINT: {0, 130}}
# What a clock measured, which no two runs share.
_OF_THE_CLOCK = ("seconds", "per_second", "throughput", "wandb_run_id", "utilisation", "memory", "samples_per")


@dataclass(frozen=True)
class Blow:
    """A signal and its moment.

    Attributes:
        signal: signal that is sent to the main process, and SIGKILL to its workers, too.
        share: share of the time between the first record of a run and its end after which it comes, in 0 to 1.
        while_writing: whether it waits, from then on, until some file of the run is half written.
    """

    signal: signal.Signals
    share: float
    while_writing: bool = False


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed.

    Attributes:
        folder: run directory.
        seconds: time from the first record to the end.
    """

    folder: Path
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was killed.

    Attributes:
        phase: phase in which the blow came: fit, test or search; `ended` where the run was over before it.
        faults: differences from the run that nobody disturbed, and what else was not as it should be.
    """

    phase: str
    faults: tuple[str, ...]


def undisturbed(arguments: Sequence[str], folder: Path) -> Whole:
    """Run a command to its end.

    Args:
        arguments: words behind `python train.py`.
        folder: run directory, which is not there.

    Raises:
        RuntimeError: the command failed.
    """
    process = _start([*arguments, f"hydra.run.dir={folder}"], folder.parent)
    _wait_for_record(process, folder)
    begun = time.monotonic()
    _, errors = process.communicate(timeout=_LONGEST)
    if process.returncode:
        raise RuntimeError(f"the run that nobody disturbed ended with {process.returncode}: {errors[-2000:]}")
    return Whole(folder, time.monotonic() - begun)


def strike(
    arguments: Sequence[str], folder: Path, blow: Blow, whole: Whole, start: Callable[..., Process] | None = None
) -> Outcome:
    """Run a command, kill it, resume it, and compare what is left.

    Args:
        arguments: words behind `python train.py`.
        folder: run directory, which is not there.
        blow: signal and moment.
        whole: run of the same command that nobody disturbed.
        start: function that starts a command in a folder, in a session of its own; None: the real command.
    """
    start = start or _start
    first = start([*arguments, f"hydra.run.dir={folder}"], folder.parent)
    _wait_for_record(first, folder)
    _wait_for_moment(first, folder, blow, whole)
    phase = "ended" if first.poll() is not None else str(_read_results(folder).get("phase"))
    if blow.signal == signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)  # the workers, too, as a machine that loses its power does
    else:
        first.send_signal(blow.signal)
    _, errors = first.communicate(timeout=_LONGEST)
    faults = []
    if first.returncode not in {0, *_ENDS[blow.signal]}:
        faults.append(f"exit code {first.returncode} after {blow.signal.name}: {_last_line(errors)}")
    if "Traceback" in errors:
        faults.append(f"a traceback after {blow.signal.name}: {_last_line(errors)}")
    second = start([f"resume={folder}"], folder.parent)
    _, errors = second.communicate(timeout=_LONGEST)
    if second.returncode:
        faults.append(f"exit code {second.returncode} after resume: {_last_line(errors)}")
    return Outcome(phase, (*faults, *differences(whole.folder, folder)))


def differences(whole: Path, cut: Path) -> list[str]:
    """What two run directories do not share bit for bit, but for what a clock measured."""
    found = [f"weights of {name}" for name in ("last.ckpt", "best.ckpt") if _weights_differ(whole, cut, name)]
    one, other = _read_results(whole), _read_results(cut)
    found += [
        key for key in ("phase", "metrics", "equations") if _timeless(one.get(key)) != _timeless(other.get(key))
    ]
    found += [name for name in ("metrics.csv", "equations.csv") if _table(whole / name) != _table(cut / name)]
    return found


def _start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _wait_for_record(process: Process, folder: Path) -> None:
    """Wait until the run has begun, by its own record."""
    deadline = time.monotonic() + _LONGEST
    while not (folder / "results.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if not (folder / "results.json").exists():
        process.kill()
        raise RuntimeError(f"no run began in {folder}: {process.communicate()[1][-2000:]}")


def _wait_for_moment(process: Process, folder: Path, blow: Blow, whole: Whole) -> None:
    moment = time.monotonic() + blow.share * whole.seconds
    while process.poll() is None and time.monotonic() < moment:
        time.sleep(0.005)
    while blow.while_writing and process.poll() is None and time.monotonic() < moment + _WRITING:
        if any(folder.rglob("*.part")):
            return


def _weights_differ(whole: Path, cut: Path, name: str) -> bool:
    one, other = (folder / "checkpoints" / name for folder in (whole, cut))
    if not one.exists() or not other.exists():
        return one.exists() != other.exists()
    first, second = (torch.load(path, weights_only=True)["state_dict"] for path in (one, other))
    return first.keys() != second.keys() or not all(_same(first[key], second[key]) for key in first)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and bool(torch.equal(one.nan_to_num(), other.nan_to_num()))
    return bool(one == other)


def _read_results(folder: Path) -> dict[str, Any]:
    text = (folder / "results.json").read_text(encoding="utf-8")
    results = json.loads(text)
    if not isinstance(results, dict):
        raise TypeError(f"{folder}/results.json holds no mapping")
    return results


def _timeless(value: Any) -> Any:
    """The same without what a clock measured."""
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if not _of_the_clock(key)}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _table(path: Path) -> list[dict[str, str]] | None:
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as stream:
        return list(_rows(csv.DictReader(stream)))


def _rows(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    for row in reader:
        kept = {key: value for key, value in row.items() if not _of_the_clock(key)}
        if any(value for key, value in kept.items() if key not in ("step", "epoch")):
            yield kept


def _of_the_clock(name: str) -> bool:
    return any(word in name for word in _OF_THE_CLOCK)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")[:200]
