"""How far the picked equation of a discovery can be trusted, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from reports.discovery_parts.result import Discovery
from reports.discovery_parts.shown import ShownEquations
from searches.law_probability import ONE_OF_SEVERAL, LawProbability

__all__ = ["TrustWords", "trust_words"]

_NOT_MET = "The search has met no other that is as good, but such rows leave room for some."
_DIGITS = 4


@dataclass(frozen=True)
class TrustWords:
    """What is said of the trust in an equation.

    Attributes:
        probability: sentence with the probability and its word.
        competitors: equations that the data cannot tell from it, as text, each with what it is behind.
        measurement: sentence on the measurement that would decide best; empty where there is none.
    """

    probability: str
    competitors: tuple[tuple[str, str], ...]
    measurement: str


def trust_words(discovery: Discovery, shown: ShownEquations) -> TrustWords | None:
    """The sentences for a discovery; None where no probability is known.

    Args:
        discovery: equations and the trust in the picked one.
        shown: equations with the digits that the data support.
    """
    trust = discovery.trust
    if trust is None:
        return None
    competitors = tuple(
        (f"{discovery.target_name} = {shown.of(each.candidate).infix(discovery.names)}", _behind(each.nats))
        for each in trust.competitors
    )
    alone = trust.word == ONE_OF_SEVERAL and not competitors
    return TrustWords(
        f"{trust.sentence} {_NOT_MET}" if alone else trust.sentence,
        competitors,
        _measurement(discovery, trust),
    )


def _behind(nats: float) -> str:
    """By what the description by an equation is longer."""
    return f"{abs(nats):.1f} nats {'longer' if nats >= 0 else 'shorter'}"


def _measurement(discovery: Discovery, trust: LawProbability) -> str:
    at = trust.measurement
    if at is None:
        return ""
    names = [discovery.names[column] for column in at.columns]
    place = ", ".join(f"{name} = {value:.{_DIGITS}g}" for name, value in zip(names, at.place, strict=True))
    where = " (outside of the data)" if at.is_beyond else ""
    one, other = (f"{value:.{_DIGITS}g}" for value in at.values)
    return (
        f"A new measurement at {place}{where} would decide best between this formula, which gives {one} there, "
        f"and the first of these, which gives {other}: {at.deviations:.1f} standard deviations apart."
    )
