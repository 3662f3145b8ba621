"""Readers of the files of a run directory, with a valid file for each kind."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from pathlib import Path

from rich.console import Console

from configs.stored_settings import stored_words
from expressions.numbering import numbers_of
from reports.html_report import write_report
from reports.run_comparison import collect, columns, order, remark, terminal_table
from runs.attempts import merge_metrics
from runs.reader import read_front
from runs.record import read_results
from runs.settings_file import FORMAT
from searches.common.search_state import load_state

__all__ = [
    "compare",
    "config",
    "describe",
    "front",
    "merge",
    "metrics",
    "old_settings",
    "packed_state",
    "results",
    "settings",
    "take_up",
    "unpack",
]


def results() -> bytes:
    equation = {
        "problem": "p",
        "target": "y",
        "infix": "x0*sin(a)",
        "latex": "x",
        "complexity": 1,
        "train_r2": 0.5,
    }
    return json.dumps(
        {"phase": "done", "seconds": {"fit": 1.0}, "metrics": {"a": 0.5}, "equations": [equation]}
    ).encode()


def compare(path: Path) -> object:
    """Show the run that a file lies in, as a table and as a page."""
    return _compared(path.parent)


def _compared(folder: Path) -> object:
    if not (folder / "results.json").exists() and not (folder / ".hydra").exists():
        (folder / "results.json").write_bytes(results())
    runs = order(collect([str(folder)], curves=True), None, False)
    shown = columns(runs, None)
    console = Console(file=io.StringIO(), width=100)
    console.print(terminal_table(runs, shown))
    write_report(runs, shown, folder / "report.html")
    return [remark(run) for run in runs], read_results(folder), read_front(folder)


def metrics() -> bytes:
    return b"epoch,step,train/loss\n0,10,0.5\n1,20,\n2,30,0.25\n"


def merge(path: Path) -> object:
    """Show a run with the curves of its only attempt, then go on with it."""
    folder = path.parents[2]
    shown = _compared(folder)
    merge_metrics(folder)
    return shown, _compared(folder)


def front() -> bytes:
    return b"problem,complexity,train_r2,chosen,infix,latex\r\np,3,0.5,True,x0*sin(a),x\r\np,1,0.1,False,x0,\r\n"


def config() -> bytes:
    choices = b"hydra:\n  runtime:\n    choices: {model: gmeql, data: b}\n"
    return b"model:\n  layers: ['id*2 square', add]\nseed: 1\n" + choices


def describe(path: Path) -> object:
    """Show a run that has nothing but what Hydra wrote at its start."""
    path.with_name("hydra.yaml").write_bytes(path.read_bytes())
    (path.parents[1] / "checkpoints").mkdir()
    return _compared(path.parents[1])


def settings() -> bytes:
    values = {
        "model": "gmeql",
        "seed": 1,
        "search.seconds": 1.5,
        "data.features": ["a", "b"],
        "logger.group": "a b",
    }
    return json.dumps({"format": FORMAT, "set": values, "removed": ["callbacks.throughput"]}).encode()


def old_settings() -> bytes:
    return b"- model=gmeql\n- seed=1\n- data.features=['a b',c]\n- search.seconds=1.0\n"


def take_up(path: Path) -> object:
    """Show a run with its settings, then go on with it."""
    folder = path.parent if path.suffix == ".json" else path.parents[1]
    (folder / "results.json").write_bytes(results())
    return _compared(folder), stored_words(folder, [])


def packed_state() -> bytes:
    state = {"generation": 3, "history": [{"generation": 0, "best": 0.5}] * 4, "numbers": numbers_of()}
    return zlib.compress(json.dumps(state).encode())


def unpack(path: Path) -> object:
    """Read a state with a true checksum, as somebody else could write it."""
    body = path.read_bytes()
    digest = hashlib.blake2b(body, digest_size=16).hexdigest().encode()
    path.write_bytes(b"rediscover state 1\n" + digest + b"\n" + body)
    return load_state(path)
