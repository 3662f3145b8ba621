"""Scores of decoded skeletons: each is brought into canonical form, completed by constants and fitted once.

Two latents often decode to the same skeleton, and two spellings of it (`c*(x + c)` and `x + c`, whose outer scale
and offset are always fitted) are the same equation. A decoder is least reliable about the places of constants, so
they are put wherever they make a difference (`expressions.skeleton.completed`). Scores are cached: a skeleton
keeps its first score, whether it was then only screened or also fitted (see `searches.common.skeleton_fitting`).
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expressions.constant_placement import Tokens
from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from expressions.operators import FIRST_VARIABLE
from expressions.schema import program, tokens
from expressions.skeleton import Skeleton, completed, skeleton_of
from foundation.schema import Check, FormatError, json_content, list_of, number, optional, record, row_of, text
from searches.common.search_state import count, unpacked
from searches.common.skeleton_fitting import SkeletonFitter
from searches.common.stored_scores import believed

__all__ = ["PENALTY", "Elite", "SkeletonScores", "program_to_fit", "shares_by_rank"]

PENALTY = 1e3  # score of skeletons that are too long or not finite: finite, because CMA-ES averages scores
_SMALLEST_NMSE = 1e-32  # below, an error is rounding, and its logarithm says nothing
_CHUNK = 500  # scores that are packed together for the state on disk
_MOST_PACKS = 40  # twenty thousand scores; of older ones nothing is known
_LONGEST_PACK, _MOST_READ = 1 << 22, 100_000  # of a state that somebody else may have written
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Elite:
    """A skeleton among the best.

    Attributes:
        score: `log(nmse) + parsimony * length`, lower is better.
        nmse: mean squared error over the target's variance on the search rows.
        program: program in canonical form, completed; all its constants are free.
        decoded: program that the decoder first wrote; the canonical form may use operators that the map lacks.
        expression: equation without outer scale and offset.
    """

    score: float
    nmse: float
    program: Tokens
    decoded: Skeleton
    expression: Expression


def shares_by_rank(elites: int, power: float) -> np.ndarray:
    """Probabilities by which the elites, best first, are drawn: a power law on the rank. `[elites]`"""
    shares = (1.0 + np.arange(elites)) ** -power
    return np.asarray(shares / shares.sum())


class SkeletonScores:
    """Scores skeletons, and keeps the best.

    Args:
        fitter: fitter of the constants, with linear scaling.
        capacity: number of elites to keep.
        fitted_share: rank, as a share of `capacity`, of the elite that a screened skeleton must beat to be fitted;
            while there are fewer elites, or with None, every skeleton is fitted.
    """

    def __init__(self, fitter: SkeletonFitter, capacity: int = 64, fitted_share: float | None = 0.5) -> None:
        self.fitter = fitter
        self.capacity, self.fitted_share = capacity, fitted_share
        self.elites: list[Elite] = []
        """Best first, of different skeletons."""
        self._known: dict[Tokens, float] = {}  # program -> normalised error
        self._programs: dict[Skeleton, Tokens] = {}
        self._packed: list[str] = []
        self._forgotten = 0  # scores of skeletons that are no longer known
        self._evaluations_before = 0.0

    def __len__(self) -> int:
        """Number of different skeletons that were scored."""
        return self._forgotten + len(self._known)

    @property
    def evaluations(self) -> float:
        """Computations of one equation on all search rows."""
        return self._evaluations_before + self.fitter.evaluations

    def errors(self, decoded: Sequence[Skeleton]) -> np.ndarray:
        """Normalised squared errors, inf where an equation is not finite. `[skeletons]`"""
        self._forget()
        plain = [self.program(each) for each in decoded]
        new = [each for each in dict.fromkeys(plain) if each not in self._known]
        self._fit(new, dict(zip(reversed(plain), reversed(decoded), strict=True)))
        return np.array([self._known[each] for each in plain])

    def _forget(self) -> None:
        """Bound the memory of scores: the oldest go first, as many as are packed together."""
        while len(self._known) > _MOST_PACKS * _CHUNK:
            for oldest in list(itertools.islice(self._known, _CHUNK)):
                del self._known[oldest]
            del self._packed[:1]
            self._forgotten += _CHUNK

    def scores(self, decoded: Sequence[Skeleton]) -> np.ndarray:
        """Scores to minimise: `log(nmse) + parsimony * length`, or `PENALTY` without an error. `[skeletons]`"""
        errors = self.errors(decoded)
        return np.array([self._score(nmse, self.program(s)) for nmse, s in zip(errors, decoded, strict=True)])

    def is_known(self, decoded: Skeleton) -> bool:
        """Whether the skeleton has been scored before."""
        return self.program(decoded) in self._known

    def program(self, decoded: Skeleton) -> Tokens:
        """The cached `program_to_fit` of a skeleton."""
        if decoded not in self._programs:
            if len(self._programs) > 4 * max(_CHUNK, len(self._known)):
                self._programs.clear()
            self._programs[decoded] = program_to_fit(decoded)
        return self._programs[decoded]

    def _score(self, nmse: float, program: Tokens) -> float:
        if not math.isfinite(nmse):
            return PENALTY
        return math.log(max(nmse, _SMALLEST_NMSE)) + self.fitter.parsimony * len(program)

    def _fit(self, new: Sequence[Tokens], decoded: dict[Tokens, Skeleton]) -> None:
        worthwhile = [each for each in new if _has_variable(each)]
        for each in new:
            if not _has_variable(each):
                self._known[each] = 1.0 if len(each) <= self.fitter.longest else math.inf
        if not worthwhile:
            return
        bar = self._bar()
        found: list[Elite] = []
        for each, fit in zip(worthwhile, self.fitter.fit(worthwhile, bar), strict=True):
            if fit is not None:
                self._known[each] = fit.nmse
                score = self._score(fit.nmse, each)
                found.append(Elite(score, fit.nmse, each, decoded[each], fit.expression))
                continue
            screened = self.fitter.screened(each)  # one that got no further, or was not finite on further rows
            self._known[each] = screened if self._score(screened, each) >= bar else math.inf
        self.fitter.forget()
        # Sorted is stable: of equal scores, the older elite stays in front.
        self.elites = sorted([*self.elites, *found], key=lambda elite: elite.score)[: self.capacity]

    def _bar(self) -> float:
        if self.fitted_share is None:
            return math.inf
        place = max(1, math.ceil(self.fitted_share * self.capacity))
        return self.elites[place - 1].score if len(self.elites) >= place else math.inf

    # --- on disk ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Scores and elites as texts and numbers.

        Scores are packed five hundred at a time, and each pack only once, so that writing the state does not take
        longer with every generation.
        """
        known = list(self._known.items())
        for start in range(_CHUNK * len(self._packed), len(known) - _CHUNK + 1, _CHUNK):
            self._packed.append(_pack(known[start : start + _CHUNK]))
        return {
            "forgotten": self._forgotten,
            "packed": self._packed,
            "known": [[list(program), nmse] for program, nmse in known[_CHUNK * len(self._packed) :]],
            "elites": [
                [
                    elite.score,
                    elite.nmse,
                    list(elite.program),
                    [list(elite.decoded.tokens), list(elite.decoded.values)],
                    elite.expression.constants.tolist(),
                ]
                for elite in self.elites
            ],
            "best": self.fitter.state(),
            "evaluations": self.evaluations,
        }

    @property
    def state_check(self) -> Check:
        """Check for what `state` returned, before `load` is given it."""
        variables, longest = self.fitter.task.variables, MAX_TOKENS
        chunk = list_of(row_of(tokens, number(0.0, infinite=True)), most=_CHUNK)
        row = row_of(
            number(),
            number(0.0),
            tokens,
            row_of(tokens, list_of(optional(number()), most=longest)),
            list_of(number(), most=longest),
        )

        def packed(value: Any) -> tuple[str, list[Any]]:
            try:
                body = base64.b64decode(text(_LONGEST_PACK)(value), validate=True)
            except ValueError as error:
                raise FormatError(f"is no pack of scores ({error})", "") from error
            return value, json_content(unpacked(body), chunk)

        def elite(value: Any) -> tuple[float, Skeleton, Expression]:
            _, nmse, numbers, (decoded, values), constants = row(value)
            filled = program([decoded, [1.0 if each is None else each for each in values]])
            equation = program([numbers, constants])
            if max(*filled.variables, *equation.variables, 0, 0) >= variables:
                raise FormatError("is an equation of other variables", "")
            return nmse, Skeleton(tuple(decoded), tuple(values)), equation

        return record(
            {
                "forgotten": count,
                "packed": list_of(packed, most=_MOST_READ),
                "known": chunk,
                "elites": list_of(elite, most=self.capacity),
                "best": self.fitter.state_check,
                "evaluations": number(0.0, 1e15),
            }
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the scores and elites of an earlier run; an elite that is worse than its error gets its own."""
        self._forgotten = state["forgotten"]
        self._packed = [content for content, _ in state["packed"]]
        self._known = {}
        for chunk in [*(chunk for _, chunk in state["packed"]), state["known"]]:
            self._known.update((tuple(skeleton), nmse) for skeleton, nmse in chunk)
        equations = [equation for _, _, equation in state["elites"]]
        errors = believed(self.fitter.task, equations, [nmse for nmse, _, _ in state["elites"]])
        elites = []
        for nmse, (_, decoded, equation) in zip(errors, state["elites"], strict=True):
            skeleton = tuple(equation.tokens.tolist())
            elites.append(Elite(self._score(nmse, skeleton), nmse, skeleton, decoded, equation))
        self.elites = sorted(elites, key=lambda elite: elite.score)
        self.fitter.load(state["best"])
        self._evaluations_before = state["evaluations"]


def program_to_fit(decoded: Skeleton) -> Tokens:
    """The program to fit for a skeleton that a decoder has written.

    First the skeleton is completed. Then its constants get different values whose sums and products are no
    integers, so that the canonical form removes the superfluous ones. The result is completed again: `(x + y)*(x +
    y)`, which is not written as a square, stands for `(x + c*y)*(x + d*y)`.
    """
    general = completed(decoded)
    filled = [_filling(number) for number in range(general.free)]
    return completed(skeleton_of(general.expression().with_constants(filled))).tokens


def _filling(number: int) -> float:
    """A value between 0.5 and 1, different for every number and far from simple fractions."""
    return 0.5 + (_GOLDEN * (number + 1)) % 1.0 / 2.0


def _has_variable(program: Tokens) -> bool:
    return any(token >= FIRST_VARIABLE for token in program)


def _pack(known: Sequence[tuple[Tokens, float]]) -> str:
    content = json.dumps(known)
    return base64.b64encode(zlib.compress(content.encode(), level=6)).decode()
