"""Searches on the processor's clock, so that what is found does not depend on what else a machine does.

Searches and doors measure their budgets by the clock on the wall, as a person does. In the process of a cell,
whose search is one thread, `count_processor_seconds` gives the modules of the searches a clock that stands still
while others have the processor.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
import time
from pathlib import Path
from types import ModuleType

__all__ = ["ProcessorClock", "count_processor_seconds", "helpers_seconds"]

_PACKAGES = ("searches", "distillation", "rediscover")


class ProcessorClock(ModuleType):
    """The module `time`, but for its two clocks that measure durations: these count work, and sleep."""

    def __init__(self) -> None:
        super().__init__("time", time.__doc__)
        self._slept = 0.0
        self.perf_counter = self.monotonic = self._now

    def _now(self) -> float:
        return time.process_time() + self._slept

    def sleep(self, seconds: float) -> None:
        """Sleep as `time.sleep`, which is counted, or a wait for a moment would never end."""
        time.sleep(seconds)
        self._slept += seconds

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


def count_processor_seconds() -> None:
    """Give the clock to all modules of the searches, and to those of the doors that are imported by now.

    All searches are imported for it, since moments are handed from module to module. It stays in this process.
    """
    import searches

    for found in pkgutil.walk_packages(searches.__path__, "searches."):
        importlib.import_module(found.name)
    clock = ProcessorClock()
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in _PACKAGES and getattr(module, "time", None) is time:
            setattr(module, "time", clock)  # noqa: B010  # mypy knows no such attribute of a module


def helpers_seconds() -> float:
    """Processor seconds of all processes that this one has started, such as SymPy's; 0 where there is no `/proc`.

    Those that have ended count where somebody has waited for them.
    """
    ended = os.times()
    return ended.children_user + ended.children_system + sum(map(_seconds_of, _started_by(os.getpid())))


def _started_by(process: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return children


def _seconds_of(process: int) -> float:
    """Processor seconds of a process that runs, and of those that it has started."""
    own = 0.0
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its own, and of those it has waited for
    return own + sum(map(_seconds_of, _started_by(process)))
