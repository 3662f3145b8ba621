"""Names of columns: found in a table as a user writes them, and made into names that an equation can hold."""

from __future__ import annotations

import keyword
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datamodules.tables.opened import Source, TableError
from foundation.errors import near

__all__ = ["Roles", "chosen_columns", "identifiers"]

_NAMES_SHOWN = 40


def identifiers(names: Sequence[str]) -> list[str]:
    """Names that an equation can hold, one for each column and no two alike.

    A Greek letter becomes its name, an accented letter its plain one; everything else that is not a letter, a
    digit or `_` becomes `_`. A name that begins with a digit gets `x` before it, a word of Python `_` behind it,
    and an empty name is `column_N`. A name that is taken already gets `_2`, `_3`, … behind it. Names that need no
    change are never changed for the sake of another.

    Args:
        names: column names, any text.
    """
    plain = [_identifier(name, index) for index, name in enumerate(names)]
    taken = {after for before, after in zip(names, plain, strict=True) if before == after}
    result: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for before, after in zip(names, plain, strict=True):
        name, number = after, numbers.get(after, 2)
        while name in (taken if before != after else result):
            name, number = f"{after}_{number}", number + 1
        numbers[after] = number
        taken.add(name)
        result[name] = None
    return list(result)


def _identifier(name: str, index: int) -> str:
    letters = []
    for letter in unicodedata.normalize("NFKD", name.strip()):
        if unicodedata.combining(letter):
            continue
        called = unicodedata.name(letter, "")
        greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)", called)
        if greek:
            letters.append(greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize())
        else:
            letters.append(letter if re.fullmatch(r"[A-Za-z0-9_]", letter) else "_")
    text = re.sub(r"__+", "_", "".join(letters)).strip("_") if name != "".join(letters) else name
    if not text:
        return f"column_{index + 1}"
    if text[0].isdigit():
        text = f"x{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


@dataclass(frozen=True)
class Roles:
    """Positions of the columns that are used, by what they are used for.

    Attributes:
        features: positions of the columns to explain the target by.
        target: position of the column to explain, None for none.
        sigma: position of the column of the target's standard deviations, None for none.
    """

    features: tuple[int, ...]
    target: int | None
    sigma: int | None

    @property
    def positions(self) -> list[int]:
        """Every position that is used, each once: features, target, standard deviations."""
        others = (self.target, self.sigma)
        return [*self.features, *(position for position in others if position is not None)]


def chosen_columns(
    source: Source,
    names: list[str],
    target: str | None,
    features: tuple[str, ...] | None,
    sigma: str | None = None,
) -> Roles:
    """Find the columns that are used.

    Args:
        source: the table, opened.
        names: its column names as `identifiers` makes them.
        target: name of the column to explain, None for none; in the source's words or in those of `names`.
        features: names of the columns to explain it by, None for all others.
        sigma: name of the column of the target's standard deviations, None for none.

    Raises:
        TableError: a name is unknown or stands twice, no feature is left, or one column has two roles.
    """
    target_at = None if target is None else _find(source, names, "target", str(target))
    sigma_at = None if sigma is None else _find(source, names, "standard deviation", str(sigma))
    if sigma is not None and (target is None or sigma_at == target_at):
        raise TableError(f"{sigma!r} cannot be the standard deviation of the target: name a target other than it.")
    if features is None:
        chosen = [position for position in range(len(names)) if position not in (target_at, sigma_at)]
        _refuse_duplicates(source, chosen + ([] if target_at is None else [target_at]))
    else:
        chosen = [_find(source, names, "feature", name) for name in features]
    if not chosen:
        raise TableError(f"no feature is left to explain anything by in {source.label}: name at least one column.")
    twice = [names[position] for position, count in Counter(chosen).items() if count > 1]
    if twice:
        raise TableError(f"feature {twice[0]!r} is named more than once: name every feature once.")
    for role, name, position in (("target", target, target_at), ("standard deviation", sigma, sigma_at)):
        if position in chosen:
            raise TableError(
                f"{role} {name!r} is also a feature: take it out of the features, or choose another column."
            )
    return Roles(tuple(chosen), target_at, sigma_at)


def _find(source: Source, names: list[str], role: str, name: str) -> int:
    """Position of a column by its own name, with or without blanks around it, else by its name in equations."""
    for own in (source.names, [each.strip() for each in source.names], names):
        found = [position for position, each in enumerate(own) if each in (name, name.strip())]
        if found:
            _refuse_duplicates(source, found)
            return found[0]
    raise TableError(f"{source.label} has no column {name!r} to be a {role}: {_hint(name, source.names)}")


def _hint(name: str, names: Sequence[str]) -> str:
    """Which columns are meant perhaps, and how a shell must be told of one."""
    begun = [each for each in names if name.strip() and each.lower().startswith(name.strip().lower())]
    close = near(name, begun or names)
    if begun and not close.startswith("did you mean"):
        close = f"did you mean {' or '.join(begun[:3])}?"
    if close.startswith("did you mean"):
        meant = [each for each in names if each in close and shlex.quote(each) != each]
        quoted = f" In a shell, quote it: {shlex.quote(meant[0])}." if meant else ""
        return f"{close}{quoted}"
    return f"its columns are {', '.join(names[:_NAMES_SHOWN])}."


def _refuse_duplicates(source: Source, positions: Sequence[int]) -> None:
    counts = Counter(source.names[position] for position in positions)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        shown = ", ".join(map(repr, twice[:5]))
        raise TableError(
            f"{source.label} has more than one column called {shown}: give every column its own name."
        )
