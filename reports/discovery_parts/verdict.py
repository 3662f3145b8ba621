"""What a picked equation is worth, in words."""

from __future__ import annotations

from reports.discovery_parts.result import Discovery
from searches.law_probability import FIT, ONE_OF_SEVERAL
from searches.trust.straight_line import is_straight_line

__all__ = ["verdict"]


def verdict(discovery: Discovery) -> str:
    """Sentences on the picked equation that a reader must not miss; empty where its scores say enough.

    Args:
        discovery: equations and scores.
    """
    chosen = discovery.chosen
    if not chosen.expression.variables:
        return (
            f"No formula of {discovery.target_name} is better than its mean by more than the noise explains: "
            "more rows, or other columns, may tell."
        )
    sentences = []
    trust = discovery.trust
    if trust is not None and trust.word in (ONE_OF_SEVERAL, FIT) and is_straight_line(chosen.expression):
        sentences.append(
            f"No formula of {discovery.target_name} that was found is better than a straight line by more than "
            "the noise explains: whether it bends, more rows or other ranges may tell."
        )
    if chosen.exact:
        sentences.append("The formula fits every row to the digits in which the table is written.")
    if not discovery.scores:
        sentences.append("Too few rows to hold any out: take the formula for a guess.")
    return " ".join(sentences)
