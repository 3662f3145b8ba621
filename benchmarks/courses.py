"""What a search would have answered after every budget, read off one run of it, in CPU-seconds.

pyoperon counts whole seconds by the clock, and gplearn counts generations. Here both show what they would answer
after every generation, to a course that knows how much the processor has worked by then; what it does itself, to
choose and to judge an answer, does not count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.cells import Settings
from benchmarks.peers import (
    Data,
    Predict,
    from_gplearn,
    from_pyoperon,
    gplearn_regressor,
    most_accurate,
    pyoperon_regressor,
)
from expressions.expression import Expression

__all__ = ["PEERS", "Answer", "Course"]


@dataclass(frozen=True)
class Answer:
    """An equation that a search would have answered.

    Attributes:
        seconds: CPU-seconds from the beginning of the search until it stood.
        expression: the equation in this project's form.
        predict: its values as the method itself computes them.
    """

    seconds: float
    expression: Expression
    predict: Predict


class Course:
    """The answers of a run.

    Args:
        seconds: CPU-seconds after which the run is over.
        exact: whether an answer is so good that the run is over, too.
    """

    def __init__(self, seconds: float, exact: Callable[[Answer], bool]) -> None:
        self.answers: list[Answer] = []
        self.over = False
        self._seconds, self._exact = seconds, exact
        self._begun, self._paused = time.process_time(), 0.0

    @property
    def seconds(self) -> float:
        """CPU-seconds of the run so far."""
        return time.process_time() - self._begun - self._paused

    def show(self, find: Callable[[], tuple[Expression, Predict] | None]) -> None:
        """Take down what the search would answer now: what a function finds while the clock stands still."""
        begun, seconds = time.process_time(), self.seconds
        found = find()
        if found is not None and (not self.answers or found[0] != self.answers[-1].expression):
            self.answers.append(Answer(seconds, *found))
            self.over = self._exact(self.answers[-1])
        self.over = self.over or seconds >= self._seconds
        self._paused += time.process_time() - begun

    def after(self, budget: float) -> Answer | None:
        """The answer that stood after so many CPU-seconds; None: there was none yet."""
        return next((answer for answer in reversed(self.answers) if answer.seconds <= budget), None)


# --- pyoperon -----------------------------------------------------------------------------------------------


def _pyoperon(data: Data, settings: Settings, seed: int, course: Course) -> None:
    """Run pyoperon, which calls back after every generation; it ends by an exception there.

    An answer is the shortest equation of its front whose error is the lowest, scale and offset by least squares in
    float64. pyoperon's own class offers no place for the call, so that its algorithm is replaced by one that does.
    """
    import pyoperon

    class Watched(pyoperon.NSGA2Algorithm):  # type: ignore[misc,name-defined]
        def Run(self, rng: Any, callback: None, threads: int, warm_start: bool) -> None:  # noqa: N802
            lowest = math.inf

            def generation() -> None:
                nonlocal lowest
                front = self.BestFront
                error = min((one[0] for one in front if math.isfinite(one[0])), default=math.inf)
                course.show(lambda: _front_answer(front, variables, data) if error < lowest else None)
                lowest = min(lowest, error)
                if course.over:
                    raise _OverError

            super().Run(rng, generation, threads, warm_start)

    class Known(pyoperon.Dataset):  # type: ignore[misc,name-defined]
        def __init__(self, values: np.ndarray) -> None:
            super().__init__(values)
            ordered = sorted(self.Variables, key=lambda variable: variable.Index)
            variables[:] = [variable.Hash for variable in ordered[:-1]]  # the last one is the target

    variables: list[int] = []
    # Its own limit, of seconds by the clock, is far away: the course counts those of the processor.
    regressor = pyoperon_regressor({**settings, "seconds": 1e6}, seed)
    with (
        mock.patch.object(pyoperon, "NSGA2Algorithm", Watched),
        mock.patch.object(pyoperon, "Dataset", Known),
    ):
        regressor.fit(np.asfortranarray(data.inputs, dtype=np.float32), data.target.astype(np.float32))


class _OverError(Exception):
    """The run is over. pyoperon ends by it, and does not pass it on."""


def _front_answer(front: Iterable[Any], variables: list[int], data: Data) -> tuple[Expression, Predict] | None:
    equations = [_scaled(from_pyoperon(one.Genotype, variables), data) for one in front]
    best = most_accurate(equations, data)
    return None if best is None else (equations[best], equations[best])


def _scaled(expression: Expression, data: Data) -> Expression:
    """The expression with the scale and offset of least squares; itself where it is not finite or constant."""
    with np.errstate(all="ignore"):
        values = np.broadcast_to(expression(data.inputs), data.target.shape)
        if not np.isfinite(values).all() or not np.ptp(values) > 0:
            return expression
        moved, aim = values - values.mean(), data.target - data.target.mean()
        scale = float(moved @ aim / (moved @ moved))
        offset = float(data.target.mean() - scale * values.mean())
    product = Expression.apply("mul", Expression.constant(scale), expression)
    return Expression.apply("add", Expression.constant(offset), product)


# --- gplearn ------------------------------------------------------------------------------------------------


def _gplearn(data: Data, settings: Settings, seed: int, course: Course) -> None:
    """Run gplearn, a generation at a time; an answer is the program that it predicts with."""
    regressor = gplearn_regressor(data, settings, seed)
    while not course.over:
        regressor.fit(data.inputs, data.target)
        course.show(partial(_program_answer, regressor._program))
        regressor.generations += 1


def _program_answer(program: Any) -> tuple[Expression, Predict]:
    return from_gplearn(program), program.execute


PEERS: dict[str, tuple[str, Callable[[Data, Settings, int, Course], None]]] = {
    "pyoperon": ("pyoperon.sklearn", _pyoperon),
    "gplearn": ("gplearn.genetic", _gplearn),
}
"""Method -> what to import before its clock starts, and the function that runs it until its course is over."""
