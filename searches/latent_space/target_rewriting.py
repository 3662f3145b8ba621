"""Other questions about the same table, whose answers are written back into answers to the first.

A map of equations knows short equations best. So it is also asked what is left when one step of the answer is
guessed: of y = 1 / v, what v is; of y = v * x0; of y = f + v, where f is an equation that the search has found.
Any of these has a target of its own, of which the prior is taken as of the table itself; the equations that it
decodes to get the guessed step around them.

The idea of taking a problem apart is that of S.-M. Udrescu and M. Tegmark, "AI Feynman: a physics-inspired method
for symbolic regression", Science Advances 2020; here nothing is decided: a question gets a share of the samples,
and its answers compete with all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, TOKEN
from expressions.skeleton import Skeleton
from foundation.errors import UserError
from searches.latent_space.random_streams import STREAMS
from searches.latent_space.skeleton_scores import Elite, shares_by_rank
from searches.latent_space.tables import Table, of_ordinary_size
from searches.links.inverse_links import Divisors, InvertedTarget, inverted_once

__all__ = ["Rewriter", "Rewriting", "leftover", "transformations"]

_LARGEST = 1e8  # of a rewritten target, relative to its median: beyond, one row is all that is left of the table
_FLATTEST = 1e-9  # spread relative to the size, below which nothing is left but rounding
_REMEMBERED = 512  # priors
_LEFTOVERS = ("add", "mul")
_INVERTED = ("inv", "square", "sqrt", "exp", "log")
_TAKE_UP_OFFSETS = ("add", "exp")  # as the offset, and as the factor, of the whole equation

PriorOf = Callable[[Table], tuple[np.ndarray, np.ndarray]]
"""Mean and deviation of the prior of a table, each `[latents]`; raises UserError where there is none."""


@dataclass(frozen=True)
class Rewriting:
    """A question, and how an answer to it answers the first.

    Attributes:
        operator: what the answer is put into.
        first: what comes before it, if the operator has two arguments and the answer is the second.
        second: what comes after it, if the answer is the first.
        table: inputs `[rows, columns]`, and the rewritten target `[rows]`.
    """

    operator: str
    first: Skeleton | None
    second: Skeleton | None
    table: Table

    @property
    def name(self) -> tuple[str, Skeleton | None, Skeleton | None]:
        """What it is remembered by."""
        return self.operator, self.first, self.second

    def answered(self, decoded: Skeleton) -> Skeleton:
        """The answer to the first question that an answer to this one gives.

        The offset of an answer goes without saying only as long as the answer stands alone.
        """
        if self.operator not in _TAKE_UP_OFFSETS:
            decoded = Skeleton((TOKEN["add"], CONSTANT, *decoded.tokens), (None, *decoded.values))
        parts = [part for part in (self.first, decoded, self.second) if part is not None]
        tokens = (TOKEN[self.operator], *(token for part in parts for token in part.tokens))
        return Skeleton(tokens, tuple(value for part in parts for value in part.values))


def transformations(table: Table) -> list[Rewriting]:
    """The questions that a table allows by itself: one operator or one variable is inverted.

    A factor of the whole equation goes without saying, so a target that is negative throughout is as good as a
    positive one.
    """
    inputs, target = table
    variables = Divisors.of([Expression.variable(number) for number in range(inputs.shape[1])], inputs)
    questions = []
    for one in inverted_once(InvertedTarget((), target, np.ones_like(target)), _INVERTED, variables):
        operator, other = one.steps[-1]
        second = None if other is None else Skeleton(tuple(other.tokens.tolist()))
        questions.append(Rewriting(operator, None, second, (inputs, of_ordinary_size(one.values))))
    return questions


def leftover(table: Table, elite: Elite, operator: str) -> Rewriting | None:
    """What an elite leaves: y - a f - b with the best a and b for `add`, y / f for `mul`; None if that is nothing.

    Args:
        table: inputs and target.
        elite: f.
        operator: `add` or `mul`.
    """
    inputs, target = table
    with np.errstate(all="ignore"):
        values = np.broadcast_to(elite.expression(inputs), target.shape).astype(np.float64)
        if not np.isfinite(values).all() or np.ptp(values) == 0:  # a constant takes nothing away
            return None
        if operator == "add":
            basis = np.stack([values, np.ones_like(values)], axis=1)
            scale = np.abs(basis).max(axis=0)
            solved = np.linalg.lstsq(basis / scale, target, rcond=None)[0]
            left = target - basis / scale @ solved
            if np.ptp(left) <= _FLATTEST * np.ptp(target):
                return None
        else:
            left = target / values
    if not _is_usable(left):
        return None
    return Rewriting(operator, elite.decoded, None, (inputs, of_ordinary_size(left)))


def _is_usable(target: np.ndarray) -> bool:
    if not np.isfinite(target).all():
        return False
    size = np.abs(target)
    largest = float(size.max())
    return bool(np.ptp(target) > _FLATTEST * largest and largest <= _LARGEST * float(np.median(size)))


class Rewriter:
    """Draws latents from the priors of rewritten targets.

    Args:
        table: that all questions are about.
        prior: of a table.
        elites: gives the elites there are, best first.
        power: of the power law on its rank by which an elite is drawn.
        seed: of the search.
    """

    def __init__(
        self, table: Table, prior: PriorOf, elites: Callable[[], Sequence[Elite]], power: float, seed: int
    ) -> None:
        self.table, self.prior, self.elites, self.power, self.seed = table, prior, elites, power, seed
        self.transformations = transformations(table)
        self._priors: dict[object, tuple[np.ndarray, np.ndarray] | None] = {}

    def ask(self, generation: int, count: int, each: int = 1) -> list[tuple[np.ndarray, Rewriting]]:
        """Latents with the questions that they answer: half transformations, half what elites leave.

        Args:
            generation: its number, of which the draws are a function.
            count: how many; fewer are returned where a question turns out to be none.
            each: of one question: to take it through the encoder takes as long as a few samples.
        """
        rng = np.random.default_rng([self.seed, STREAMS["rewriting"], generation])
        elites = self.elites()
        found = []
        for first in range(0, count, each):
            question = self._question(elites, rng)
            prior = None if question is None else self._prior(question)
            if question is not None and prior is not None:
                mean, deviation = prior
                samples = min(each, count - first)
                latents = mean + deviation * rng.normal(size=(samples, len(mean)))
                found += [(latent, question) for latent in latents]
        return found

    def _question(self, elites: Sequence[Elite], rng: np.random.Generator) -> Rewriting | None:
        if self.transformations and (not elites or rng.random() < 0.5):
            return self.transformations[rng.integers(len(self.transformations))]
        if not elites:
            return None
        elite = elites[rng.choice(len(elites), p=shares_by_rank(len(elites), self.power))]
        return leftover(self.table, elite, _LEFTOVERS[rng.integers(len(_LEFTOVERS))])

    def _prior(self, question: Rewriting) -> tuple[np.ndarray, np.ndarray] | None:
        """Remembered; None where there is none. One table a call: in a batch, last bits depend on the others."""
        if question.name not in self._priors:
            if len(self._priors) >= _REMEMBERED:
                self._priors.clear()
            try:
                self._priors[question.name] = self.prior(question.table)
            except UserError:
                self._priors[question.name] = None
        return self._priors[question.name]
