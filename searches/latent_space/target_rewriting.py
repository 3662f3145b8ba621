"""Rewritten targets: the target after inverting one operator, whose equations are turned back into equations of
it.

A map of equations knows short equations best. So the search also looks for a part v of the equation, where the
rest is
assumed: y = 1 / v, y = v * x0, or y = f + v with an equation f that the search has found. Every assumption gives a
rewritten target v with a prior of its own. Latents are sampled from that prior, and the assumed operator is
applied to the decoded equations.

S.-M. Udrescu and M. Tegmark, "AI Feynman: a physics-inspired method for symbolic regression", Science Advances
2020, divide a problem in this way. Here no assumption is final: each gets a share of the samples, and its
equations compete with all others.
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

_LARGEST = 1e8  # largest magnitude of a rewritten target over its median: beyond, one row dominates all others
_FLATTEST = 1e-9  # spread over magnitude below which a target is rounding
_REMEMBERED = 512  # number of cached priors
_LEFTOVERS = ("add", "mul")
_INVERTED = ("inv", "square", "sqrt", "exp", "log")
_TAKE_UP_OFFSETS = ("add", "exp")  # as the offset, and as the factor, of the whole equation

PriorOf = Callable[[Table], tuple[np.ndarray, np.ndarray]]
"""Mean and deviation of the prior of a table, each `[latents]`; raises UserError where there is none."""


@dataclass(frozen=True)
class Rewriting:
    """A rewritten target, and the operator that turns its equations into equations of the original target.

    Attributes:
        operator: operator that is applied to an equation of the rewritten target.
        first: first argument of the operator, if the equation is the second one.
        second: second argument of the operator, if the equation is the first one.
        table: inputs `[rows, columns]` and rewritten target `[rows]`.
    """

    operator: str
    first: Skeleton | None
    second: Skeleton | None
    table: Table

    @property
    def name(self) -> tuple[str, Skeleton | None, Skeleton | None]:
        """Key of the cached prior."""
        return self.operator, self.first, self.second

    def answered(self, decoded: Skeleton) -> Skeleton:
        """The skeleton of the original target that a decoded skeleton of the rewritten target gives.

        A skeleton alone needs no offset, because the offset is always fitted; inside an operator it needs one.
        """
        if self.operator not in _TAKE_UP_OFFSETS:
            decoded = Skeleton((TOKEN["add"], CONSTANT, *decoded.tokens), (None, *decoded.values))
        parts = [part for part in (self.first, decoded, self.second) if part is not None]
        tokens = (TOKEN[self.operator], *(token for part in parts for token in part.tokens))
        return Skeleton(tokens, tuple(value for part in parts for value in part.values))


def transformations(table: Table) -> list[Rewriting]:
    """Rewritten targets that a table allows by itself: one operator or one variable is inverted.

    An outer factor is always fitted, so a target that is negative on all rows is treated as a positive one.
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
    """The target that an elite f leaves: y - a f - b with the best a and b, or y / f; None if it is not usable.

    Args:
        table: inputs and target.
        elite: elite, whose equation is f.
        operator: name of the operator that joins f and the rest, `add` or `mul`.
    """
    inputs, target = table
    with np.errstate(all="ignore"):
        values = np.broadcast_to(elite.expression(inputs), target.shape).astype(np.float64)
        if not np.isfinite(values).all() or np.ptp(values) == 0:  # a constant changes nothing
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
        table: inputs and original target.
        prior: function that gives the prior of a table.
        elites: function that gives the elites, best first.
        power: exponent of the power law on its rank by which an elite is drawn.
        seed: random seed of the search.
    """

    def __init__(
        self, table: Table, prior: PriorOf, elites: Callable[[], Sequence[Elite]], power: float, seed: int
    ) -> None:
        self.table, self.prior, self.elites, self.power, self.seed = table, prior, elites, power, seed
        self.transformations = transformations(table)
        self._priors: dict[object, tuple[np.ndarray, np.ndarray] | None] = {}

    def ask(self, generation: int, count: int, each: int = 1) -> list[tuple[np.ndarray, Rewriting]]:
        """Latents with their rewritten targets: half `transformations`, half targets that elites leave.

        Args:
            generation: number of the generation, which seeds the draws.
            count: number of latents; fewer are returned where a rewritten target is not usable.
            each: number of latents for one rewritten target, whose encoding takes as long as a few samples.
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
        """The cached prior, None where there is none; encoded alone, because batches change the last bits."""
        if question.name not in self._priors:
            if len(self._priors) >= _REMEMBERED:
                self._priors.clear()
            try:
                self._priors[question.name] = self.prior(question.table)
            except UserError:
                self._priors[question.name] = None
        return self._priors[question.name]
