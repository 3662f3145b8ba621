"""The constants of equations: how well activations determine them, and what rounding leaves of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from distillation.blocks.recording import Recording
from distillation.parent.judge import Parent, undisturbed_draws
from expressions.constant_intervals import ConstantIntervals, constant_intervals
from expressions.expression import Expression
from modules.rounded_constants import round_constants

__all__ = ["Evidence", "intervals_of"]

_MOST_ROWS = 2_000
_MOST_CONSTANTS = 40  # of an equation: of more, hardly any is determined
_ROUNDING_SHARE = 0.5  # of the time


@dataclass(frozen=True, eq=False)
class Evidence:
    """What constants are judged by, on batches that no search has seen.

    Attributes:
        parent: network that the blocks were in, with its loss.
        judging: activations of every block, by name.
    """

    parent: Parent
    judging: Mapping[str, Recording]

    def rounded(self, network: nn.Module, *, tolerance: float, largest: float, seconds: float) -> float:
        """Round the constants of a network in place, by the parent's loss; returns the loss.

        Args:
            network: the parent with equations in the place of some blocks.
            tolerance: relative change of the loss that all roundings together may make.
            largest: loss that no rounding may exceed.
            seconds: time for constants one by one.
        """
        with undisturbed_draws():
            return round_constants(
                network,
                self.parent.losses,
                tolerance=tolerance,
                largest=largest,
                seconds=_ROUNDING_SHARE * seconds,
            )

    def intervals(
        self, equations: Mapping[str, Sequence[Expression]], *, seconds: float
    ) -> dict[str, list[ConstantIntervals | None]]:
        """Intervals for the equations of every block; None where nothing is known, or there was no time.

        Args:
            equations: equations of the outputs of every block, before they are rounded.
            seconds: time after which no further equation is looked at.
        """
        ends = time.monotonic() + seconds
        return {
            name: intervals_of(found, self.judging[name].inputs, self.judging[name].outputs, ends=ends)
            for name, found in equations.items()
        }


def intervals_of(
    equations: Iterable[Expression], inputs: np.ndarray, outputs: np.ndarray, *, ends: float = math.inf
) -> list[ConstantIntervals | None]:
    """The interval of every constant, around the value that it has, for each equation.

    What an equation misses of its output counts as noise. A network has none, and what is missed depends on the
    inputs: so rows are thinned out to some that say little of each other, and errors may differ between them.

    Args:
        equations: equations of the outputs, say after their constants have learned.
        inputs: what goes into the block. `[rows, inputs]`
        outputs: what comes out. `[rows, outputs]`
        ends: time of `time.monotonic` after which no further equation is looked at.

    Returns:
        None for an equation without constants or with very many, for one that misses nothing, and where nothing
        can be told.
    """
    rows = np.linspace(0, len(inputs) - 1, min(len(inputs), _MOST_ROWS)).astype(np.int64)
    found: list[ConstantIntervals | None] = []
    for place, equation in enumerate(equations):
        known = None
        if 0 < len(equation.constants) <= _MOST_CONSTANTS and time.monotonic() < ends:
            known = constant_intervals(equation, inputs[rows], outputs[rows, place], unequal=True, refit=False)
        found.append(known if known is not None and _says_something(known) else None)
    return found


def _says_something(found: ConstantIntervals) -> bool:
    return bool(np.isfinite(found.covariance).all() and 0 < found.noise < math.inf)
