"""The forms in which a block may be written: each output by itself, or mixtures of few factors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from distillation.fitting.factors import Slopes, factors_of, mixed, rank_of
from distillation.fitting.outputs import Front, search_outputs
from distillation.fitting.table import Table
from distillation.questions.answers import Answers
from expressions.expression import Expression
from searches.portfolio import PortfolioSettings

__all__ = ["Form", "forms_of", "search_forms", "worth_searching"]

_FEWEST = 3  # outputs that may be mixtures
_MANY_MORE = 2  # times as many outputs as factors, from which on they are not searched one by one
_GOOD = 1e-6  # error of factors, with which outputs are not searched one by one
_SECONDS_ALONE = 1.0  # for every output, where mixtures are also searched output by output
_SHARE_OF_FACTORS = 0.7  # of the time


@dataclass(frozen=True)
class Form:
    """A form in which a block may be written.

    Attributes:
        table: rows of what is searched: the outputs, or their factors.
        answers: what the network says of these; None: it is not asked.
        outputs: rows of the block, whose outputs are mixtures of the factors; None: the table's are the outputs.
        weights: weight of every output in every factor. `[outputs, factors]`
    """

    table: Table
    answers: Answers | None
    outputs: Table | None = None
    weights: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of searches."""
        return self.table.outputs.shape[1]

    def searched_values(self, outputs: np.ndarray) -> np.ndarray:
        """What is searched, of other rows of the block's outputs. `[rows, outputs]` to `[rows, searches]`"""
        return outputs if self.weights is None else np.asarray(outputs @ self.weights)

    def mix(self) -> Callable[[Sequence[Expression]], list[Expression]] | None:
        """A function that makes equations of the outputs of those of the factors; None where there are none."""
        table = self.outputs
        return None if table is None else lambda equations: mixed(equations, table).outputs()


def forms_of(table: Table, slopes: Slopes, *, seed: int, answers: Answers | None = None) -> list[Form]:
    """The forms in which a block may be written: mixtures of factors where these are fewer, and each output alone.

    Args:
        table: rows of the block.
        slopes: derivatives of mixtures of its outputs.
        seed: random seed.
        answers: what the network says of its outputs; None: it is not asked.
    """
    alone = Form(table, answers)
    rank = rank_of(table.outputs) if alone.count >= _FEWEST else alone.count
    if rank == alone.count:
        return [alone]
    mixture = factors_of(table, rank, slopes, seed=seed)
    own = None if answers is None else mixture.answers(answers)
    return [Form(mixture.table, own, table, mixture.weights), alone]


def worth_searching(forms: Sequence[Form]) -> list[Form]:
    """The forms that are searched where every search has its own time: outputs one by one only if few.

    Args:
        forms: forms of a block.
    """
    return [each for each in forms if each.count < _MANY_MORE * forms[0].count]


def search_forms(
    forms: Sequence[Form],
    settings: PortfolioSettings,
    *,
    seconds: float,
    seed: int,
    workers: int,
    guesses: Sequence[Expression] = (),
) -> list[tuple[Form, list[Front]]]:
    """Search a block in one form or in both; the first one has most of the time, and the other begins with it.

    Args:
        forms: forms of a block.
        settings: settings of a search; its budget is replaced.
        seconds: budget by the clock.
        seed: random seed.
        workers: number of processes.
        guesses: equations of outputs to begin with.
    """
    ends = time.perf_counter() + seconds
    *factors, alone = forms
    found: list[tuple[Form, list[Front]]] = []
    seeds = list(guesses)
    for form in factors:
        share = _SHARE_OF_FACTORS if seconds * (1.0 - _SHARE_OF_FACTORS) > _SECONDS_ALONE * alone.count else 1.0
        fronts = _searched(form, settings, share * (ends - time.perf_counter()), seed, workers, ())
        found.append((form, fronts))
        seeds += _seeds(fronts, alone.table)
    left = ends - time.perf_counter()
    if not found or (
        left > _SECONDS_ALONE * alone.count and max(front.best.error for front in found[0][1]) > _GOOD
    ):
        found.append((alone, _searched(alone, settings, left, seed, workers, seeds)))
    return found


def _searched(
    form: Form, settings: PortfolioSettings, seconds: float, seed: int, workers: int, seeds: Sequence[Expression]
) -> list[Front]:
    return search_outputs(
        form.table, settings, seconds=seconds, seed=seed, workers=workers, seeds=seeds, answers=form.answers
    )


def _seeds(fronts: Sequence[Front], table: Table) -> list[Expression]:
    """Equations of the factors, and of the outputs as mixtures of the most accurate ones."""
    best = [front.best.expression for front in fronts]
    with np.errstate(all="ignore"):
        return [*mixed(best, table).outputs(), *best]
