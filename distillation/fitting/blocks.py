"""The forms in which a block may be written: each output by itself, or mixtures of few factors."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from distillation.fitting.factors import Slopes, factors_of, mixed, rank_of
from distillation.fitting.outputs import Front, Table, search_outputs
from distillation.questions.answers import Answers
from expressions.expression import Expression
from searches.portfolio import PortfolioSettings

__all__ = ["Form", "forms_of"]

_FEWEST = 3  # outputs that may be mixtures
_GOOD = 1e-6  # error of factors, with which outputs are not searched one by one
_SECONDS_ALONE = 1.0  # for every output, where mixtures are also searched output by output
_SHARE_OF_FACTORS = 0.7  # of the time

Form = tuple[list[Front], Table | None]
"""Fronts of all outputs, and None; or fronts of factors, and the table of the outputs that they are mixed to."""


def forms_of(
    table: Table,
    settings: PortfolioSettings,
    slopes: Slopes,
    *,
    seconds: float,
    seed: int,
    workers: int,
    answers: Answers | None = None,
    guesses: Sequence[Expression] = (),
) -> list[Form]:
    """Search a block in one form or in both.

    Args:
        table: rows of the block.
        settings: settings of a search; its budget is replaced.
        slopes: derivatives of mixtures of its outputs.
        seconds: budget by the clock.
        seed: random seed.
        workers: number of processes.
        answers: what the network says of its outputs; None: it is not asked.
        guesses: equations of outputs to begin with.
    """
    ends = time.perf_counter() + seconds
    count = table.outputs.shape[1]
    rank = rank_of(table.outputs) if count >= _FEWEST else count
    forms: list[Form] = []
    seeds = list(guesses)
    if rank < count:
        share = _SHARE_OF_FACTORS if seconds * (1.0 - _SHARE_OF_FACTORS) > _SECONDS_ALONE * count else 1.0
        mixture = factors_of(table, rank, slopes, seed=seed)
        fronts = search_outputs(
            mixture.table,
            settings,
            seconds=share * (ends - time.perf_counter()),
            seed=seed,
            workers=workers,
            answers=None if answers is None else mixture.answers(answers),
        )
        forms.append((fronts, table))
        seeds += _seeds(fronts, table)
    left = ends - time.perf_counter()
    if not forms or (left > _SECONDS_ALONE * count and max(front.best.error for front in forms[0][0]) > _GOOD):
        forms.append(
            (
                search_outputs(
                    table, settings, seconds=left, seed=seed, workers=workers, seeds=seeds, answers=answers
                ),
                None,
            )
        )
    return forms


def _seeds(fronts: Sequence[Front], table: Table) -> list[Expression]:
    """Equations of the factors, and of the outputs as mixtures of the most accurate ones."""
    best = [front.best.expression for front in fronts]
    with np.errstate(all="ignore"):
        return [*mixed(best, table).outputs(), *best]
