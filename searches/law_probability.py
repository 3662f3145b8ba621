"""How likely it is that a picked equation is the law, and which others the data cannot tell from it.

The probability is that of a logistic regression, fitted to searches on generated tables whose law is known, and
judged on tables of another generator (`python -m benchmarks.trust_calibration`). It is the share of such picks
that had the structure of the law: it says nothing of laws that are unlike all of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from expressions.measurements import Measurements
from searches.pareto_front import Candidate
from searches.trust.calibration import packaged_calibration
from searches.trust.deciding_measurement import DecidingMeasurement, deciding_measurement
from searches.trust.features import NEAR, features_of, misfit
from searches.trust.rivalry import Rivalry

__all__ = [
    "CERTAIN", "FIT", "LIKELY", "ONE_OF_SEVERAL", "WORDS", "Competitor", "DecidingMeasurement", "LawProbability",
    "is_settled", "law_probability", "word_of",
]  # fmt: skip

CERTAIN, LIKELY, ONE_OF_SEVERAL, FIT = "certain", "likely", "one of several", "a fit, not a law"
WORDS = {CERTAIN: 0.95, LIKELY: 0.6, ONE_OF_SEVERAL: 0.2, FIT: 0.0}
"""Word -> least probability."""
_MOST_COMPETITORS = 3
_WHITE = 0.1  # least probability that errors alone leave such residuals, for them to pass as noise


@dataclass(frozen=True)
class Competitor:
    """An equation of another structure that describes the data about as briefly.

    Attributes:
        candidate: equation with its scores.
        nats: what its description of the data is longer by; below 0 where it is shorter.
    """

    candidate: Candidate
    nats: float


@dataclass(frozen=True)
class LawProbability:
    """How far a picked equation can be trusted.

    Attributes:
        probability: probability that its structure is that of the law, between .01 and .99; 0 for one without
            variables.
        word: word for it, see `WORDS`.
        competitors: at most three equations that the data cannot tell from it, the best first.
        measurement: place at which a new measurement would decide best between it and the first competitor; None
            where there is none, or no measurement would decide.
    """

    probability: float
    word: str
    competitors: tuple[Competitor, ...] = ()
    measurement: DecidingMeasurement | None = None

    @property
    def number(self) -> str:
        """The probability with two digits."""
        return f"{self.probability:.2f}"

    @property
    def sentence(self) -> str:
        """The probability and its word in a sentence."""
        return f"Probability that this is the law: {self.number} ({self.word})."


def word_of(probability: float) -> str:
    """The word for a probability."""
    return next(word for word, least in WORDS.items() if probability >= least)


def law_probability(
    front: Iterable[Candidate], chosen: Candidate, measurements: Measurements, *, deciding: bool = True
) -> LawProbability:
    """The probability that a picked equation is the law.

    Args:
        front: equations that a search ended with.
        chosen: equation of the front that is picked.
        measurements: all rows that the search had, those that chose included.
        deciding: whether to look for the measurement that would decide.
    """
    rivalry = Rivalry.of(front, chosen, measurements)
    near = zip(rivalry.others[:_MOST_COMPETITORS], rivalry.gaps.tolist(), strict=False)
    competitors = tuple(Competitor(each, nats) for each, nats in near if nats < NEAR)
    probability = _probability(rivalry)
    measurement = None
    if competitors and deciding:
        first = competitors[0].candidate.expression
        measurement = deciding_measurement(chosen.expression, first, measurements)
    return LawProbability(probability, word_of(probability), competitors, measurement)


def is_settled(front: Iterable[Candidate], chosen: Candidate, measurements: Measurements) -> bool:
    """Whether nothing is left to be searched: likely the law, without a competitor, and only noise remains.

    Args:
        front: equations that the search has found.
        chosen: equation that it would pick.
        measurements: all rows that the search has, those that choose included.
    """
    rivalry = Rivalry.of(front, chosen, measurements)
    rivals = len(rivalry.gaps) > 0 and float(rivalry.gaps[0]) < NEAR
    return not rivals and _probability(rivalry) >= WORDS[LIKELY] and misfit(rivalry) >= _WHITE


def _probability(rivalry: Rivalry) -> float:
    if not rivalry.chosen.expression.variables:
        return 0.0
    return float(packaged_calibration().probabilities(features_of(rivalry)[None])[0])
