"""What every kind of table becomes once it is opened: its names at once, its cells batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foundation.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Source", "TableError", "short_reason"]


class TableError(UserError):
    """A fault of a table, as one sentence for its user."""


@dataclass(frozen=True)
class Source:
    """A table that has been opened but not read.

    Attributes:
        label: name of the table in sentences, for example `'houses.csv'`, quotes included.
        names: column names as the source has them; they may repeat and may be any text.
        batches: function from column positions to batches, each one Arrow array `[batch rows]` a position.
        identity: facts that tell whether a file has changed since it was read; None if it is never the same.
        notes: sentences that say how the source is understood; reading it to its end may add some.
        decimal: decimal mark that the text of the source proves, `.` or `,`; empty if it proves none.
        typed_by_hand: whether its last rows may be a footer, such as a total, as those of text files are at times.
    """

    label: str
    names: list[str]
    batches: Callable[[Sequence[int]], Iterator[list[pa.Array]]]
    identity: tuple[Any, ...] | None = None
    notes: list[str] = field(default_factory=list)
    decimal: str = ""
    typed_by_hand: bool = False


def short_reason(error: BaseException) -> str:
    """The first line of another library's message, cut to a length that stays one sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160].rstrip(".: ")
