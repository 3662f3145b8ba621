"""A number of bytes that may be spent on a part of the page, so that the page stays small whatever it shows."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Allowance"]


class Allowance:
    """Bytes that are left for a part of the page.

    Args:
        total: number of bytes to spend.
    """

    def __init__(self, total: int) -> None:
        self.left = total

    def spend(self, text: str) -> bool:
        """Whether there is room for a text, which is then taken up."""
        size = len(text.encode())
        if size > self.left:
            return False
        self.left -= size
        return True

    def afforded(self, texts: Iterable[str]) -> list[str]:
        """The first texts, as many as there is room for; those behind them are not made."""
        kept = []
        for text in texts:
            if not self.spend(text):
                break
            kept.append(text)
        return kept
