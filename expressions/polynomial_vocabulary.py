"""Polynomials in one variable as characters: their grammar, every one of them by number, and ids for a decoder.

A polynomial is a string such as `-1.5*x*x+0.3*x-4`: terms by falling degree, each a sign, a coefficient with one
digit before the point and at most one behind it, and its factors `*x`. In the canonical spelling every polynomial
has exactly one string: no term is 0, and no coefficient ends in `.0`.

The grammar is a finite automaton, and everything here is read off its table: which character may come next, how
many strings of a length there are, and which one has which number. A decoder sees it as it sees
`expressions.vocabulary.Vocabulary`: a state for each row (1 before the first character, -1 after the end),
`allowed_next` and `advance`.

Source of the characters: B. Saiprasad, D. Singh, "Symbolic Regression via Neural Network weights".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from expressions.errors import UserError
from expressions.expression import Expression
from expressions.parsing import parse

__all__ = ["PolynomialVocabulary"]

Array = Any  # a NumPy array or a torch tensor

PAD, START, END, UNKNOWN = 0, 1, 2, 3
CHARACTERS = "0123456789+-*x."
_FIRST = 4  # the id of the first character
_DEAD, _BEGIN = 0, 1
_ENDED = -1  # NumPy and torch take it for the last row of a table
MOST_DEGREE, MOST_LARGEST = 6, 9


class PolynomialVocabulary:
    """Ids of the characters, and the automaton.

    Attributes:
        names: what every id is called: `<pad>`, `<start>`, `<end>`, `<unknown>` and the characters.
        degree: highest power of x.
        largest: magnitude of a coefficient.
        longest: characters of the longest string.
        canonical: whether every polynomial has one spelling.
    """

    pad, start, end, unknown = PAD, START, END, UNKNOWN

    def __init__(self, degree: int = 2, canonical: bool = True, largest: int = 5) -> None:
        """Build the automaton.

        Args:
            degree: highest power of x, from 1 to 6.
            largest: magnitude of a coefficient, from 1 to 9.
            canonical: refuse `4.0`, `+0` and the like, which are second spellings.

        Raises:
            UserError: a number is outside that.
        """
        if not 1 <= degree <= MOST_DEGREE:
            raise UserError(f"degree={degree} must be from 1 to {MOST_DEGREE}")
        if not 1 <= largest <= MOST_LARGEST:
            raise UserError(f"largest={largest} must be from 1 to {MOST_LARGEST}")
        self.degree, self.canonical, self.largest = degree, canonical, largest
        self.names: tuple[str, ...] = ("<pad>", "<start>", "<end>", "<unknown>", *CHARACTERS)
        self.longest = sum(4 + 2 * power for power in range(degree + 1))
        self._following, self._accepting = self._automaton()
        self._shortest = self._fewest_characters()
        self._tables: dict[Any, tuple[Array, Array, Array]] = {}

    def __len__(self) -> int:
        return len(self.names)

    # --- the automaton ---

    def _automaton(self) -> tuple[np.ndarray, np.ndarray]:
        """Which state each id leads to, 0 where it is not allowed, `[states, ids]`; and where a string may end."""
        numbers: dict[tuple[Any, ...], int] = {}
        rows: list[dict[int, tuple[Any, ...]]] = []
        ends: list[bool] = []
        open_states: list[tuple[Any, ...]] = [("dead",), ("sign", self.degree)]
        while open_states:
            state = open_states.pop(0)
            if state in numbers:
                continue
            numbers[state] = len(rows)
            following, may_end = self._follow(state)
            rows.append({_FIRST + CHARACTERS.index(char): target for char, target in following.items()})
            ends.append(may_end)
            open_states += following.values()
        table = np.zeros((len(rows) + 1, len(self.names)), dtype=np.int64)  # the last row: ended
        for number, row in enumerate(rows):
            for id_, target in row.items():
                table[number, id_] = numbers[target]
        accepting = np.array([*ends, False])
        table[accepting, END] = _ENDED
        table[_ENDED, PAD] = _ENDED
        return table, accepting

    def _follow(self, state: tuple[Any, ...]) -> tuple[dict[str, tuple[Any, ...]], bool]:
        """The characters that may follow a state, and whether the string may end in it.

        A state names what has just been written and the highest power that the term may have.
        """
        kind, *rest = state
        if kind == "dead":
            return {}, False
        power = rest[0]
        if kind == "sign":
            return dict.fromkeys("+-", ("digit", power)), False
        if kind == "digit":
            return {str(d): ("whole", power, d) for d in range(self.largest + 1)}, False
        if kind == "whole":  # a digit before the point
            digit = rest[1]
            complete, allowed = self._after_coefficient(power)
            if self.canonical:
                pointed = digit < self.largest
                return ({".": ("point", power, digit)} if pointed else {}) | (allowed if digit else {}), (
                    complete and digit > 0
                )
            return {".": ("point", power, digit)} | allowed, complete
        if kind == "point":
            digits: Iterable[int] = range(1, 10) if self.canonical else range(10 if rest[1] < self.largest else 1)
            return {str(d): ("decimal", power) for d in digits}, False
        if kind == "decimal":
            complete, allowed = self._after_coefficient(power)
            return allowed, complete
        factors = rest[1]
        if kind == "times":
            return {"x": ("factor", power, factors + 1)}, False
        more = {"*": ("times", power, factors)} if factors < power else {}  # kind == "factor"
        return more | dict.fromkeys("+-", ("digit", factors - 1)), True

    @staticmethod
    def _after_coefficient(power: int) -> tuple[bool, dict[str, tuple[Any, ...]]]:
        """A coefficient without a factor is the last term."""
        return True, ({"*": ("times", power, 0)} if power else {})

    def _fewest_characters(self) -> np.ndarray:
        """Of each state, characters until the string may end. `[states]`"""
        fewest = np.where(self._accepting, 0, 10**6)
        for _ in range(len(fewest)):
            reached = np.where(self._following > 0, fewest[self._following], 10**6).min(axis=1) + 1
            fewest = np.minimum(fewest, reached)
        fewest[_ENDED] = 0
        return fewest

    # --- every string by number ---

    @cached_property
    def _counts(self) -> np.ndarray:
        """How many strings of so many characters follow each state. `[longest + 1, states]` int64"""
        counts = np.zeros((self.longest + 1, len(self._accepting)), dtype=np.int64)
        counts[0] = self._accepting
        for length in range(1, self.longest + 1):
            follow = np.where(self._following > 0, counts[length - 1][self._following], 0)
            counts[length] = follow.sum(axis=1)
        return counts

    def count(self, length: int) -> int:
        """How many strings have so many characters."""
        return int(self._counts[length, _BEGIN]) if 0 <= length <= self.longest else 0

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths that strings have."""
        return tuple(length for length in range(1, self.longest + 1) if self.count(length))

    def strings(self, lengths: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Strings by number, as ids with start and end, padded.

        Args:
            lengths: characters of each. `[n]`
            numbers: of each among the strings of its length, from 0. `[n]`

        Returns:
            `[n, longest + 2]` int64

        Raises:
            ValueError: there is no such number.
        """
        lengths, left = np.asarray(lengths, dtype=np.int64), np.array(numbers, dtype=np.int64)
        if ((left < 0) | (left >= self._counts[lengths, _BEGIN])).any():
            raise ValueError("there is no string of this number")
        ids = np.full((len(lengths), self.longest + 2), PAD, dtype=np.int64)
        ids[:, 0] = START
        state = np.full(len(lengths), _BEGIN)
        for position in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(position < lengths)
            following = self._following[state[rows]]
            after = self._counts[lengths[rows] - position - 1][np.arange(len(rows))[:, None], following]
            total = np.cumsum(np.where(following > 0, after, 0), axis=1)
            chosen = (left[rows, None] >= total).sum(axis=1)
            before = np.where(chosen > 0, total[np.arange(len(rows)), chosen - 1], 0)
            left[rows] -= before
            ids[rows, position + 1] = chosen
            state[rows] = following[np.arange(len(rows)), chosen]
        ids[np.arange(len(ids)), lengths + 1] = END
        return ids

    # --- texts, ids, coefficients ---

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Ids of strings with start and end, padded. `[n, longest + 2]`

        Raises:
            ValueError: one is not of this grammar.
        """
        ids = np.full((len(texts), self.longest + 2), PAD, dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            written = [_FIRST + CHARACTERS.find(char) if char in CHARACTERS else UNKNOWN for char in text]
            if not self.accepts([*written, END]):
                raise ValueError(f"{text!r} is not a polynomial of this grammar")
            row[: len(text) + 2] = [START, *written, END]
        return ids

    def accepts(self, ids: Sequence[int]) -> bool:
        """Whether ids, without start and with end, are one string of the grammar."""
        state = _BEGIN
        for id_ in ids:
            state = int(self._following[state, id_])
            if state == _DEAD:
                return False
        return state == _ENDED

    def text(self, ids: Sequence[int] | Array) -> str:
        """The characters of a row of ids."""
        return "".join(self.names[int(id_)] for id_ in ids if int(id_) >= _FIRST)

    def coefficients(self, ids: np.ndarray) -> np.ndarray:
        """Numbers that complete strings mean.

        Args:
            ids: with start and end. `[n, T]`

        Returns:
            Of x to the power 0, 1, …, degree. `[n, degree + 1]` float64
        """
        ids = np.asarray(ids)
        found = np.zeros((len(ids), self.degree + 1))
        sign, tenths, factors = np.ones(len(ids)), np.zeros(len(ids)), np.zeros(len(ids), dtype=np.int64)
        pointed = np.zeros(len(ids), dtype=bool)
        rows = np.arange(len(ids))
        for column in ids.T:
            char = column - _FIRST
            closes = (char == 10) | (char == 11) | (column == END)
            found[rows[closes], factors[closes]] += (sign * tenths)[closes]
            digit = (char >= 0) & (char < 10)
            tenths = np.where(closes, 0.0, tenths + np.where(digit, np.where(pointed, char, 10 * char), 0))
            sign = np.where(closes, np.where(char == 11, -1.0, 1.0), sign)
            factors = np.where(closes, 0, factors + (char == 13))
            pointed = ~closes & (pointed | (char == 14))
        return found / 10.0

    def spell(self, coefficients: Sequence[float]) -> str:
        """The canonical string of the nearest polynomial of the grammar.

        Args:
            coefficients: of x to the power 0, 1, …

        Returns:
            The string; `+0.1` or `-0.1`, whichever is nearer, where all coefficients round to 0.
        """
        most = 10 * self.largest
        tenths = np.clip(np.round(np.asarray(coefficients, dtype=np.float64) * 10), -most, most)
        if not tenths.any():
            tenths[0] = -1 if coefficients[0] < 0 else 1
        parts = []
        for power in range(len(tenths) - 1, -1, -1):
            value = int(tenths[power])
            if value:
                whole, rest = divmod(abs(value), 10)
                parts.append(f"{'-' if value < 0 else '+'}{whole}{f'.{rest}' if rest else ''}{'*x' * power}")
        return "".join(parts)

    def expression(self, ids: Sequence[int] | Array) -> Expression:
        """The equation of a row of ids."""
        return parse(self.text(ids).removeprefix("+"), ["x"])

    # --- what a decoder asks ---

    def advance(self, state: Array, ids: Array) -> Array:
        """The states after writing `ids`; both `[batch]`, NumPy or torch."""
        return self._table(state)[0][state, ids]

    def allowed_next(self, state: Array, left: int, variables: Array | None = None) -> Array:
        """Which ids may come next, so that the string can be completed.

        Args:
            state: `[batch]`; 1 at the beginning.
            left: characters that may still be written.
            variables: not used: there is one.

        Returns:
            `[batch, size]` bool, at least one is set in every row.
        """
        following, accepting, shortest = self._table(state)
        targets = following[state]
        allowed = (targets > _DEAD) & (shortest[targets] <= left - 1)
        allowed[:, END] = accepting[state]
        allowed[:, PAD] = state < 0
        return allowed

    def _table(self, like: Array) -> tuple[Array, Array, Array]:
        """The tables as arrays of the same kind, on the same device; made once."""
        if isinstance(like, np.ndarray):
            return self._following, self._accepting, self._shortest
        if like.device not in self._tables:
            own = (self._following, self._accepting.astype(np.int64), self._shortest)
            following, accepting, shortest = (like.new_tensor(table.tolist(), dtype=None).long() for table in own)
            self._tables[like.device] = (following, accepting.bool(), shortest)
        return self._tables[like.device]
