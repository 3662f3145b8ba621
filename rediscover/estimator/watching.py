"""What a person sees of a fit while it runs, and how a callback ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foundation.terminal import warn
from searches.pareto_front import pick
from searches.portfolio import Progress

__all__ = ["Watch"]


class Watch:
    """Prints a line when a better equation is found, and asks a callback whether to go on.

    Args:
        is_shown: whether lines are printed, on standard error.
        callback: function of a `searches.portfolio.Progress` that ends the search by returning True; None: none.
        target: name of the target.
        names: names of the features in equations.
    """

    def __init__(
        self, is_shown: bool, callback: Callable[[Progress], Any] | None, target: str, names: Sequence[str]
    ) -> None:
        self.is_shown, self.callback, self.target, self.names = is_shown, callback, target, names
        self.is_over = False
        self._last = ""

    @property
    def is_needed(self) -> bool:
        """Whether anybody wants to know."""
        return self.is_shown or self.callback is not None

    def told(self, progress: Progress) -> None:
        """Take a report of the search."""
        if self.is_shown and len(progress.front):
            best = pick(progress.front)
            short = best.expression.with_constants([float(f"{c:.4g}") for c in best.expression.constants])
            text = f"{self.target} = {short.infix(self.names)}"
            if text != self._last:
                warn(f"{progress.seconds:6.1f} s  error {best.error:8.2e}  {text}")
            self._last = text
        if self.callback is not None and self.callback(progress) is True:
            self.is_over = True
