"""Sums of terms in one variable as characters: their grammar, every one of them by number, ids for a decoder.

A polynomial is a string such as `-1.5*x*x+0.3*x-4`: terms by falling degree, each a sign, a coefficient with one
digit before the point and at most one behind it, and its factors `*x`. Terms may also have a function of x
instead, such as `+1.5*sin(2*x)`, which is one id; these come first. In the canonical spelling every sum has
exactly one string: no term is 0, and no coefficient ends in `.0`.

The grammar is a finite automaton, and everything here is read off its table: which character may come next, how
many strings of a length there are, and which one has which number. A decoder sees it as it sees
`expressions.vocabulary.Vocabulary`: a state for each row (1 before the first character, -1 after the end),
`allowed_next` and `advance`.

Source of the characters: B. Saiprasad, D. Singh, "Symbolic Regression via Neural Network weights".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.parsing import ParseError, parse
from foundation.errors import UserError

__all__ = ["SumVocabulary"]

Array = Any  # a NumPy array or a torch tensor

PAD, START, END, UNKNOWN = 0, 1, 2, 3
CHARACTERS = "0123456789+-*x."
_FIRST = 4  # the id of the first character
_DEAD, _BEGIN = 0, 1
_ENDED = -1  # NumPy and torch take it for the last row of a table
MOST_DEGREE, MOST_LARGEST, MOST_FUNCTIONS = 6, 9, 16
_MOST_UNLIMITED = 7  # terms of any number; of more, strings would be too many to be numbered
_GRID = 257  # points on which a function is looked at


class SumVocabulary:
    """Ids of the characters, and the automaton.

    What a term can be, but for its coefficient, is numbered: 0, 1, … are the powers of x, then come the functions,
    the last one first, so that terms are written by falling number.

    Attributes:
        names: name of every id: `<pad>`, `<start>`, `<end>`, `<unknown>`, the characters, the functions.
        degree: highest power of x.
        largest: magnitude of a coefficient.
        functions: functions of x that a term may have in the place of a power.
        terms: largest number of terms of a sum.
        longest: characters of the longest string; a function counts as one.
        canonical: whether every sum has one spelling.
    """

    pad, start, end, unknown = PAD, START, END, UNKNOWN

    def __init__(
        self,
        degree: int = 2,
        canonical: bool = True,
        largest: int = 5,
        functions: Sequence[str] = (),
        terms: int | None = None,
    ) -> None:
        """Build the automaton.

        Args:
            degree: highest power of x, from 1 to 6.
            canonical: whether `4.0`, `+0` and the like are refused, which are second spellings.
            largest: magnitude of a coefficient, from 1 to 9.
            functions: functions of x that a term may have in the place of a power, such as `sin(2*x)`, in the
                order in which they are written; 16 at most.
            terms: largest number of terms of a sum, None for as many as there are.

        Raises:
            UserError: a number is outside that, or something is no function of x.
        """
        if not 1 <= degree <= MOST_DEGREE:
            raise UserError(f"degree={degree} must be from 1 to {MOST_DEGREE}")
        if not 1 <= largest <= MOST_LARGEST:
            raise UserError(f"largest={largest} must be from 1 to {MOST_LARGEST}")
        self.degree, self.canonical, self.largest = degree, canonical, largest
        self.functions = tuple(str(function) for function in functions)
        if self.functions and not canonical:
            raise UserError("functions are written in the canonical spelling alone: leave them out")
        self._functions = _parsed(self.functions)
        self._size = degree + 1 + len(self.functions)  # what a term can be
        if self._size > _MOST_UNLIMITED and (terms is None or terms > _MOST_UNLIMITED):
            raise UserError(
                f"terms={terms} must be from 1 to {_MOST_UNLIMITED}: there are {self._size} powers and functions"
            )
        if terms is not None and terms < 1:
            raise UserError(f"terms={terms} must be at least 1, or null for any number")
        self.terms = min(terms or self._size, self._size)
        self.names: tuple[str, ...] = ("<pad>", "<start>", "<end>", "<unknown>", *CHARACTERS, *self.functions)
        sizes = [4 + 2 * power for power in range(degree + 1)] + [6] * len(self.functions)
        self.longest = sum(sorted(sizes)[-self.terms :])
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
        open_states: list[tuple[Any, ...]] = [("dead",), self._next(self._size, self.terms + 1)]
        while open_states:
            state = open_states.pop(0)
            if state in numbers:
                continue
            numbers[state] = len(rows)
            following, may_end = self._follow(state)
            rows.append({self.names.index(name): target for name, target in following.items()})
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
        """What may follow a state, by name, and whether the string may end in it.

        A state names what has just been written, the highest number that the term may have, and how many terms may
        still come, this one included.
        """
        kind, *rest = state
        if kind == "dead":
            return {}, False
        highest, left = rest[:2]
        if kind == "sign":
            return dict.fromkeys("+-", ("digit", highest, left)), False
        if kind == "digit":
            return {str(d): ("whole", highest, left, d) for d in range(self.largest + 1)}, False
        if kind == "whole":  # a digit before the point
            digit = rest[2]
            allowed = self._after_coefficient(highest, left)
            if self.canonical:
                pointed = digit < self.largest
                more = {".": ("point", highest, left, digit)} if pointed else {}
                return more | (allowed if digit else {}), digit > 0
            return {".": ("point", highest, left, digit)} | allowed, True
        if kind == "point":
            digits: Iterable[int] = range(1, 10) if self.canonical else range(10 if rest[2] < self.largest else 1)
            return {str(d): ("decimal", highest, left) for d in digits}, False
        if kind == "decimal":
            return self._after_coefficient(highest, left), True
        if kind == "times":
            return self._factors(highest, left, rest[2]), False
        power = rest[2]  # kind == "factor"
        more = {"*": ("times", highest, left, power)} if power < min(highest, self.degree) else {}
        return more | self._after_term(power, left), True

    @staticmethod
    def _after_coefficient(highest: int, left: int) -> dict[str, tuple[Any, ...]]:
        """A coefficient without a factor is the last term."""
        return {"*": ("times", highest, left, 0)} if highest else {}

    def _factors(self, highest: int, left: int, power: int) -> dict[str, tuple[Any, ...]]:
        """What a coefficient, or powers, may be multiplied by."""
        following: dict[str, tuple[Any, ...]] = {"x": ("factor", highest, left, power + 1)}
        if not power:
            for number in range(self.degree + 1, highest + 1):
                following[self._name(number)] = ("factor", self.degree, left, number)
        return following

    def _after_term(self, number: int, left: int) -> dict[str, tuple[Any, ...]]:
        """The sign of the next term, where one may come."""
        return dict.fromkeys("+-", ("digit", *self._next(number, left)[1:])) if number and left > 1 else {}

    @staticmethod
    def _next(number: int, left: int) -> tuple[Any, ...]:
        """The state before the sign of the term that follows the one of a number."""
        return ("sign", number - 1, min(left - 1, number))

    def _name(self, number: int) -> str:
        """Name of the function that a term's number stands for."""
        return self.functions[self._size - 1 - number]

    def _fewest_characters(self) -> np.ndarray:
        """Number of characters until the string may end, for each state. `[states]`"""
        fewest = np.where(self._accepting, 0, 10**6)
        for _ in range(len(fewest)):
            reached = np.where(self._following > 0, fewest[self._following], 10**6).min(axis=1) + 1
            fewest = np.minimum(fewest, reached)
        fewest[_ENDED] = 0
        return fewest

    # --- every string by number ---

    @cached_property
    def _counts(self) -> np.ndarray:
        """Number of strings of every length that follow each state. `[longest + 1, states]` int64"""
        counts = np.zeros((self.longest + 1, len(self._accepting)), dtype=np.int64)
        counts[0] = self._accepting
        for length in range(1, self.longest + 1):
            follow = np.where(self._following > 0, counts[length - 1][self._following], 0)
            counts[length] = follow.sum(axis=1)
        return counts

    def count(self, length: int) -> int:
        """Number of strings of a length."""
        return int(self._counts[length, _BEGIN]) if 0 <= length <= self.longest else 0

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths that strings have."""
        return tuple(length for length in range(1, self.longest + 1) if self.count(length))

    def strings(self, lengths: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Strings by number, as ids with start and end, padded.

        Args:
            lengths: number of characters of each string. `[n]`
            numbers: place of each among the strings of its length, from 0. `[n]`

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
            written = [self.names.index(name) if name in self.names else UNKNOWN for name in self._split(text)]
            if not self.accepts([*written, END]):
                raise ValueError(f"{text!r} is not a sum of this grammar")
            row[: len(written) + 2] = [START, *written, END]
        return ids

    def _split(self, text: str) -> list[str]:
        """Functions and characters, in the order in which they are written."""
        pattern = "|".join([*map(re.escape, sorted(self.functions, key=len, reverse=True)), "."])
        return re.findall(pattern, text, re.DOTALL)

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
            ids: rows of ids with start and end. `[n, T]`

        Returns:
            Coefficients of x to the power 0, 1, …, degree, and of the functions, the last one first. `[n, terms]`
            float64
        """
        ids = np.asarray(ids)
        found = np.zeros((len(ids), self._size))
        numbers = np.zeros(len(self.names), dtype=np.int64)  # what an id adds to the number of its term
        numbers[_FIRST + CHARACTERS.index("x")] = 1
        numbers[_FIRST + len(CHARACTERS) :] = np.arange(self._size - 1, self.degree, -1)
        sign, tenths, number = np.ones(len(ids)), np.zeros(len(ids)), np.zeros(len(ids), dtype=np.int64)
        pointed = np.zeros(len(ids), dtype=bool)
        rows = np.arange(len(ids))
        for column in ids.T:
            char = column - _FIRST
            closes = (char == 10) | (char == 11) | (column == END)
            found[rows[closes], number[closes]] += (sign * tenths)[closes]
            digit = (char >= 0) & (char < 10)
            tenths = np.where(closes, 0.0, tenths + np.where(digit, np.where(pointed, char, 10 * char), 0))
            sign = np.where(closes, np.where(char == 11, -1.0, 1.0), sign)
            number = np.where(closes, 0, number + numbers[column])
            pointed = ~closes & (pointed | (char == 14))
        return found / 10.0

    def basis(self, x: np.ndarray) -> np.ndarray:
        """What coefficients are multiplied by. `[X] -> [terms, X]` float64"""
        x = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            functions = [np.broadcast_to(function(x[:, None]), x.shape) for function in reversed(self._functions)]
        return np.stack([*(x**power for power in range(self.degree + 1)), *functions])

    def size(self, low: float, high: float) -> float:
        """About the largest magnitude of a term over a range of x.

        Raises:
            UserError: a function is not finite everywhere in it.
        """
        basis = self.basis(np.linspace(low, high, _GRID))
        for row, name in zip(basis[self.degree + 1 :][::-1], self.functions, strict=True):
            if not np.isfinite(row).all():
                raise UserError(
                    f"functions: {name} is not finite for all x from {low} to {high}: choose another range"
                )
        return self.largest * max(1.0, float(np.abs(basis).max()))

    def spell(self, coefficients: Sequence[float]) -> str:
        """The canonical string of the nearest sum of the grammar.

        Args:
            coefficients: numbers in the order in which `coefficients` returns them. `[terms]`

        Returns:
            The string; `+0.1` or `-0.1`, whichever is nearer, where all coefficients round to 0. Of more terms
            than are allowed, those with the largest coefficients.
        """
        most = 10 * self.largest
        tenths = np.clip(np.round(np.asarray(coefficients, dtype=np.float64) * 10), -most, most)
        if not tenths.any():
            tenths[0] = -1 if coefficients[0] < 0 else 1
        tenths[np.argsort(-np.abs(tenths), kind="stable")[self.terms :]] = 0
        parts = []
        for number in range(len(tenths) - 1, -1, -1):
            value = int(tenths[number])
            if value:
                whole, rest = divmod(abs(value), 10)
                factors = "*x" * number if number <= self.degree else f"*{self._name(number)}"
                parts.append(f"{'-' if value < 0 else '+'}{whole}{f'.{rest}' if rest else ''}{factors}")
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
            state: states of the strings, 1 at the beginning. `[batch]`
            left: number of characters that may still be written.
            variables: argument of the other vocabularies, without effect: there is one variable.

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


def _parsed(functions: Sequence[str]) -> list[Expression]:
    """Functions of x, checked.

    Raises:
        UserError: one is none, or is there twice, or there are too many.
    """
    if len(functions) > MOST_FUNCTIONS:
        raise UserError(f"functions has {len(functions)} entries, {MOST_FUNCTIONS} are allowed: leave some out")
    found: list[Expression] = []
    for function in functions:
        try:
            expression = parse(function, ["x"])
        except ParseError as error:
            raise UserError(f"functions: {function!r} is no function of x such as sin(2*x): {error}") from error
        term = Expression.apply("mul", Expression.constant(2.0), expression)
        applied = function[:1].isalpha() and function.endswith(")") and parse(f"2*{function}", ["x"]) == term
        if not expression.variables or not applied or expression in found:
            raise UserError(f"functions: {function!r} is no function of x such as sin(2*x), or is there twice")
        found.append(expression)
    return found
