"""Which equations stand in the place of which blocks: the parent's loss decides.

Every output has a front, from short and rough to long and accurate. The equations that are chosen are as small as
the parent's loss allows, on batches that no search has seen, as in the greedy replacement of the functions of a
Kolmogorov-Arnold network judged by the whole network (arXiv 2603.15250).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from distillation.blocks.equation_block import EquationBlock
from distillation.blocks.layout import Layout
from distillation.blocks.replacing import replaced
from distillation.choosing.description import described
from distillation.choosing.sizes import shared_size
from distillation.fitting.outputs import Front
from distillation.parent.judge import Parent
from expressions.expression import Expression
from searches.pareto_front import Candidate

__all__ = ["Choice", "ChosenBlock", "Rivals", "choose"]

_ROUNDS = 24  # of the bisection between size and error
_SHARPEST = 1e12  # weight of the error at which the most accurate equations are chosen


@dataclass(frozen=True)
class Rivals:
    """What may stand in the place of a block.

    Attributes:
        layout: shapes of the tensors of a call.
        fronts: equations of every output, or of every factor of which outputs are mixtures. `[outputs]`
        dtype: type of the block's values.
        mix: function that makes the equations of the outputs of those of the factors; None: there are none.
    """

    layout: Layout
    fronts: tuple[Front, ...]
    dtype: torch.dtype
    mix: Callable[[Sequence[Expression]], list[Expression]] | None = None

    def expressions(self, chosen: Sequence[Candidate]) -> list[Expression]:
        """Equations of the outputs, one for each.

        Args:
            chosen: one candidate of every front.
        """
        equations = [each.expression for each in chosen]
        return equations if self.mix is None else self.mix(equations)


@dataclass(frozen=True)
class ChosenBlock:
    """What was decided about a block.

    Attributes:
        expressions: the equation of every output. `[outputs]`
        rivals: form that was chosen: each output by itself, or mixtures of factors.
        replaced: whether the equations stand in the place of the block.
        loss_alone: lowest loss of the parent with equations of this block alone.
    """

    expressions: tuple[Expression, ...]
    rivals: Rivals
    replaced: bool
    loss_alone: float


@dataclass(frozen=True)
class Choice:
    """What stands in the place of which block.

    Attributes:
        blocks: decision about every block, by name.
        before: loss of the parent as it was.
        after: loss with all equations in their places.
        limit: largest loss that was allowed.
    """

    blocks: Mapping[str, ChosenBlock]
    before: float
    after: float
    limit: float


def choose(
    parent: Parent,
    rivals: Mapping[str, Sequence[Rivals]],
    *,
    tolerance: float,
    seconds: float = math.inf,
) -> Choice:
    """Choose an equation for every output, and the blocks that they replace.

    Args:
        parent: network that the blocks are in.
        rivals: forms in which every block may be written, by name.
        tolerance: rise of the loss that is allowed, relative to its size; where the network is measured against
            itself, the share of the variance of its outputs that may be missed.
        seconds: time after which nothing smaller is tried.
    """
    return _Chooser(parent, rivals, tolerance, time.monotonic() + seconds).choice()


class _Chooser:
    def __init__(
        self, parent: Parent, rivals: Mapping[str, Sequence[Rivals]], tolerance: float, ends: float
    ) -> None:
        self.parent, self.ends = parent, ends
        self.forms = {name: list(forms) for name, forms in rivals.items()}
        if parent.measures_itself:  # a tolerance alone would call anything good enough a law
            self.forms = {name: [_no_rougher(each) for each in forms] for name, forms in self.forms.items()}
        self.rivals = {name: forms[0] for name, forms in self.forms.items()}
        self.starts: dict[str, tuple[Candidate, ...]] = {}
        """Equations with which every block has its lowest loss."""
        self.before = parent.losses(parent.network)
        allowed = tolerance if parent.measures_itself else tolerance * abs(self.before)
        self.limit = self.before + allowed

    def choice(self) -> Choice:
        """See `choose`."""
        alone = {name: self._with_best_form(name) for name in self.rivals}
        best = self.starts
        kept = {name: best[name] for name in best if alone[name] <= self.limit}
        after = self._loss(kept)
        while len(kept) > 1 and not after <= self.limit:
            del kept[max(kept, key=lambda name: alone[name])]
            after = self._loss(kept)
        if kept:
            kept, after = self._smaller(kept, after)
        blocks = {
            name: ChosenBlock(
                tuple(self.rivals[name].expressions(kept.get(name, chosen))),
                self.rivals[name],
                name in kept,
                alone[name],
            )
            for name, chosen in best.items()
        }
        return Choice(blocks, self.before, after if kept else self.before, self.limit)

    def _with_best_form(self, name: str) -> float:
        """Take the form of a block that is smallest where the loss allows it, else the one of the lowest loss.

        A loss is that with the most accurate equations, or with those of the shortest description. Returns it.
        """
        found = []
        for form in self.forms[name]:
            self.rivals[name] = form
            short = tuple(described(front.candidates) for front in form.fronts)
            tried = [(self._loss({name: each}), number, each) for number, each in enumerate((_best(form), short))]
            loss, _, start = min(tried, key=lambda each: each[:2])
            size = shared_size(form.expressions(short)) if loss <= self.limit else math.inf
            found.append((size, loss, form, start))
        _, loss, self.rivals[name], self.starts[name] = min(found, key=lambda each: each[:2])
        return loss

    def _loss(self, chosen: Mapping[str, Sequence[Candidate]]) -> float:
        """Loss of the parent with equations in the place of some blocks; infinite where it is not finite."""
        modules = {}
        for name, candidates in chosen.items():
            mine = self.rivals[name]
            block = EquationBlock(mine.expressions(candidates), mine.layout, mine.dtype)
            modules[name] = block.to(self.parent.device).eval()
        with replaced(self.parent.network, modules) as network:
            try:
                loss = self.parent.losses(network)
            except RuntimeError:  # a loss may ask for derivatives by what an equation does not have, as a constant
                return math.inf
        return loss if math.isfinite(loss) else math.inf

    def _smaller(
        self, kept: dict[str, tuple[Candidate, ...]], after: float
    ) -> tuple[dict[str, tuple[Candidate, ...]], float]:
        """The smallest equations with which the loss is allowed: one weight of errors against sizes for all, then
        one output after the other."""
        low, high = 0.0, math.log(_SHARPEST)
        for _ in range(_ROUNDS):
            if high - low < 0.5 or time.monotonic() > self.ends:
                break
            middle = 0.5 * (low + high)
            tried = {name: self._weighted(name, math.exp(middle)) for name in kept}
            loss = self._loss(tried) if tried != kept else after
            if loss <= self.limit:
                kept, after, high = tried, loss, middle
            else:
                low = middle
        return self._one_by_one(kept, after)

    def _weighted(self, name: str, weight: float) -> tuple[Candidate, ...]:
        """Of every output, the equation with the smallest sum of size and weighted error."""
        return tuple(
            min(front.candidates, key=lambda each: each.complexity + weight * each.error)
            for front in self.rivals[name].fronts
        )

    def _one_by_one(
        self, kept: dict[str, tuple[Candidate, ...]], after: float
    ) -> tuple[dict[str, tuple[Candidate, ...]], float]:
        """Smaller equations of single outputs, the largest step first."""
        smaller = True
        while smaller and time.monotonic() < self.ends:
            smaller = False
            for _, name, place, candidate in sorted(self._steps(kept), key=lambda step: -step[0]):
                if time.monotonic() > self.ends:
                    break
                if candidate.complexity >= kept[name][place].complexity:
                    continue
                row = list(kept[name])
                row[place] = candidate
                tried = {**kept, name: tuple(row)}
                if self._size(tried) < self._size(kept) and (loss := self._loss(tried)) <= self.limit:
                    kept, after, smaller = tried, loss, True
        return kept, after

    def _steps(self, kept: Mapping[str, Sequence[Candidate]]) -> list[tuple[int, str, int, Candidate]]:
        """Every smaller equation of an output: nodes that it saves, block, output and itself."""
        return [
            (now.complexity - candidate.complexity, name, place, candidate)
            for name, row in kept.items()
            for place, now in enumerate(row)
            for candidate in self.rivals[name].fronts[place].candidates
            if candidate.complexity < now.complexity
        ]

    @staticmethod
    def _size(kept: Mapping[str, Sequence[Candidate]]) -> int:
        return sum(shared_size([each.expression for each in row]) for row in kept.values())


def _no_rougher(rivals: Rivals) -> Rivals:
    """The equations that are at least as accurate as the ones of the shortest description."""
    fronts = []
    for front in rivals.fronts:
        error = described(front.candidates).error
        fronts.append(replace(front, candidates=tuple(each for each in front.candidates if each.error <= error)))
    return replace(rivals, fronts=tuple(fronts))


def _best(rivals: Rivals) -> tuple[Candidate, ...]:
    """The most accurate equation of every front."""
    return tuple(front.best for front in rivals.fronts)
