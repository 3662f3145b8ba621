"""The Pareto front in a terminal while a search runs."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from datamodules.tables.table import Table
from foundation.durations import duration
from foundation.terminal import printable
from reports.discovery_parts.terminal import few_digits, front_table
from searches.pareto_front import ParetoFront, pick
from searches.portfolio import Progress

__all__ = ["LiveFront"]

_ROWS = 12  # of the front
_SHARE_WORTH_SAYING = 0.5  # of a budget, that is left for the search
_LEAST_SHOWN = 0.05  # seconds


class LiveFront:
    """Shows the front as it grows; where there is no terminal, a line whenever another equation is picked.

    Args:
        console: where it is shown.
        begun: time by `time.perf_counter` at which the budget began.
        seconds: budget.
    """

    def __init__(self, console: Console, begun: float, seconds: float) -> None:
        self.console, self.begun, self.seconds = console, begun, seconds
        self._names: list[str] = []
        self._target = ""
        self._progress: Progress | None = None
        self._picked = ""
        self._live: Live | None = None

    def __enter__(self) -> LiveFront:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def read(self, table: Table) -> None:
        """Say in two lines what was read and what will be done.

        Args:
            table: table that was read.
        """
        self._names = [printable(name) for name in table.feature_names]
        self._target = printable(table.target_name or "")
        columns = ", ".join(self._names[:8]) + (", …" if len(self._names) > 8 else "")
        self._say(f"Read {table.label}: {len(table):,} rows, {len(self._names)} columns ({columns})")
        for note in table.notes:
            self._say(f"  {printable(note)}")
        self._say(
            f"Searching for {self._target} = f({columns}) {self._time()}; Ctrl-C ends it with the best so far"
        )
        if self.console.is_terminal:
            self._live = Live(
                console=self.console, transient=True, get_renderable=self._renderable, refresh_per_second=4
            )
            self._live.start()

    def _time(self) -> str:
        """How long the search will take, in words; what reading has taken is said where it was most of it."""
        left = self.seconds - (time.perf_counter() - self.begun)
        if left >= _SHARE_WORTH_SAYING * self.seconds:
            return f"for at most {duration(self.seconds)}"
        share = f"for {left:.1f} s, which" if left >= _LEAST_SHOWN else "for a moment, which"
        return f"{share} is what reading has left of {duration(self.seconds)}"

    def _say(self, line: str) -> None:
        self.console.print(Text(printable(line)), soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Show how far the search is.

        Args:
            progress: front so far.
        """
        self._progress = progress
        if self._live is not None or not len(progress.front):
            return
        picked = pick(progress.front)
        text = few_digits(picked.expression).infix(self._names)
        if text != self._picked:
            self._picked = text
            seconds = time.perf_counter() - self.begun
            self._say(
                f"{seconds:6.1f} s  error {picked.error:.2g}  nodes {picked.complexity}  {self._target} = {text}"
            )

    def _renderable(self) -> RenderableType:
        left = max(0.0, self.seconds - (time.perf_counter() - self.begun))
        if self._progress is None:
            return Text(f"{left:.0f} s left", style="dim")
        front = self._progress.front
        chosen = pick(front) if len(front) else None
        table = front_table(_around(front, chosen), chosen, self._names, self._target)
        state = f"{left:.0f} s left, {self._progress.evaluations:,} equations computed, {self._progress.method}"
        return Group(table, Text(state.replace("_", " "), style="dim"))


def _around(front: ParetoFront, chosen: object) -> ParetoFront:
    """At most twelve equations of a front: those next to the picked one."""
    if len(front) <= _ROWS:
        return front
    place = next(k for k, candidate in enumerate(front) if candidate is chosen)
    first = min(max(0, place - _ROWS // 2), len(front) - _ROWS)
    return ParetoFront(list(front)[first : first + _ROWS])
