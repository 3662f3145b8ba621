"""Tokens for decoders: expressions to ids and back, and the grammar that keeps a decoder on valid programs.

An id stands for padding, start, end, the constant placeholder, a small integer, a variable or an operator.
Constants that are one of the integers are written as such, all others as the placeholder, their values beside
the ids.

The grammar needs one number per program, how many arguments are `missing`: 1 before the first token, 0 when
the program is complete, -1 after the end token. Writing an id adds `effect[id]` to it; start and padding have
effect 0, so a whole batch in different stages advances by one lookup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, OPERATORS, TOKEN, is_operator
from expressions.skeleton import Skeleton
from foundation.errors import UserError, near

__all__ = ["Vocabulary"]

Array = Any  # a NumPy array or a torch tensor

PAD, START, END, PLACEHOLDER = 0, 1, 2, 3
_FREE = 0.5  # what a free constant is while it is encoded: no integer


class Vocabulary:
    """Ids of a set of operators, variables and integers.

    Attributes:
        names: name of every id: `<pad>`, `<start>`, `<end>`, `<constant>`, integers, `x0`, …, operators.
        effect: change of the number of missing arguments by writing the id. `[size]`
        pad, start, end, placeholder: special ids.
        integers: constants with an id of their own.
        variables: number of variables.
    """

    pad, start, end, placeholder = PAD, START, END, PLACEHOLDER

    def __init__(
        self, operators: Iterable[str], variables: int, integers: Sequence[int] = (-2, -1, 0, 1, 2, 3, 4, 5)
    ) -> None:
        """Number everything.

        Args:
            operators: names from the operator table; their order does not matter.
            variables: number of variables, at least 1.
            integers: constants with an id of their own.

        Raises:
            UserError: no operator has one of the names, or there is no variable.
        """
        wanted = set(operators)
        for name in sorted(wanted - BY_NAME.keys()):
            raise UserError(f"no operator is called {name!r}: {near(name, BY_NAME)}")
        if variables < 1:
            raise UserError(f"a vocabulary needs at least 1 variable, not {variables}")
        rows = [row for row in OPERATORS if row.name in wanted]
        self.integers = tuple(sorted(set(map(int, integers))))
        self.variables = variables
        self.operators = tuple(row.name for row in rows)
        self.first_integer = PLACEHOLDER + 1
        self.first_variable = self.first_integer + len(self.integers)
        self.first_operator = self.first_variable + variables
        self.names: tuple[str, ...] = (
            *("<pad>", "<start>", "<end>", "<constant>"),
            *(str(value) for value in self.integers),
            *(f"x{j}" for j in range(variables)),
            *self.operators,
        )
        leaves = 1 + len(self.integers) + variables
        self.effect = np.array([0, 0, -1] + [-1] * leaves + [row.arity - 1 for row in rows], dtype=np.int64)
        self._token_of_id = np.full(len(self.names), -1, dtype=np.int16)
        self._token_of_id[PLACEHOLDER : self.first_variable] = CONSTANT
        self._token_of_id[self.first_variable : self.first_operator] = FIRST_VARIABLE + np.arange(variables)
        self._token_of_id[self.first_operator :] = [TOKEN[name] for name in self.operators]
        self._id_of_token = np.full(FIRST_VARIABLE + variables, -1, dtype=np.int64)
        self._id_of_token[self._token_of_id[self.first_variable :]] = np.arange(
            self.first_variable, len(self.names)
        )
        self._id_of_token[CONSTANT] = PLACEHOLDER
        self._tables: dict[Any, dict[str, Array]] = {}

    def __len__(self) -> int:
        return len(self.names)

    # --- expressions to ids ---

    def encode(self, expression: Expression) -> tuple[np.ndarray, np.ndarray]:
        """Ids of an expression, without start and end, and the values behind the placeholders.

        Args:
            expression: equation to encode.

        Returns:
            ids `[length]` int64 and constants `[placeholders]` float64.

        Raises:
            UserError: the expression uses an operator or a variable that has no id.
        """
        tokens = expression.tokens
        known = tokens < len(self._id_of_token)
        ids = np.where(known, self._id_of_token[np.where(known, tokens, 0)], -1)
        if (ids < 0).any():
            raise UserError(f"the vocabulary has no {self._called(int(tokens[ids < 0][0]))}")
        values = expression.constants
        if self.integers and len(values):
            table = np.array(self.integers)
            place = np.minimum(np.searchsorted(table, values), len(table) - 1)
            whole = (table[place] == values) & ~((values == 0) & np.signbit(values))
            at = np.flatnonzero(tokens == CONSTANT)
            ids[at[whole]] = self.first_integer + place[whole]
            values = values[~whole]
        return ids, np.array(values, dtype=np.float64)

    def encode_batch(
        self, expressions: Sequence[Expression], length: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids of many expressions with start and end, padded.

        Args:
            expressions: equations to encode.
            length: number of columns to return; as many as needed when not given.

        Returns:
            ids `[expressions, length]` int64 and constants `[expressions, most placeholders]` float64, padded
            with NaN.

        Raises:
            UserError: as `encode`, or an expression with start and end does not fit into `length`.
        """
        encoded = [self.encode(expression) for expression in expressions]
        needed = max((len(ids) for ids, _ in encoded), default=0) + 2
        if length is not None and needed > length:
            raise UserError(f"an expression takes {needed} ids, but only {length} are allowed")
        ids = np.full((len(encoded), needed if length is None else length), PAD, dtype=np.int64)
        constants = np.full((len(encoded), max((len(c) for _, c in encoded), default=0)), np.nan)
        ids[:, 0] = START
        for k, (own, values) in enumerate(encoded):
            ids[k, 1 : len(own) + 1] = own
            ids[k, len(own) + 1] = END
            constants[k, : len(values)] = values
        return ids, constants

    def encode_tokens(self, tokens: np.ndarray) -> np.ndarray:
        """Ids of many programs whose constants are all placeholders, with start and end, padded.

        Args:
            tokens: prefix programs, padded behind with -1. `[programs, length]`

        Returns:
            `[programs, length + 2]` int16

        Raises:
            UserError: a program uses an operator or a variable that has no id.
        """
        written = tokens >= 0
        known = written & (tokens < len(self._id_of_token))
        ids = np.where(known, self._id_of_token[np.where(known, tokens, 0)], -1)
        if (ids[written] < 0).any():
            raise UserError(f"the vocabulary has no {self._called(int(tokens[written & (ids < 0)][0]))}")
        lengths = written.sum(axis=1)
        rows = np.full((len(tokens), tokens.shape[1] + 2), PAD, dtype=np.int16)
        rows[:, 1:-1] = np.where(written, ids, PAD)
        rows[:, 0] = START
        rows[np.arange(len(rows)), lengths + 1] = END
        return rows

    # --- ids to expressions ---

    def decode(
        self, ids: Sequence[int] | Array, constants: Sequence[float] | np.ndarray | None = None
    ) -> Expression:
        """Expression of a row of ids.

        Args:
            ids: row of ids; start and padding are skipped, the end token ends it. `[length]`
            constants: values for the placeholders, in order; 1 for all when not given. Values too many are
                ignored, as the padding of `encode_batch` is.

        Raises:
            ValueError: the ids are not one complete program, or a value is missing or not finite.
        """
        row = np.asarray(ids.tolist() if hasattr(ids, "tolist") else ids, dtype=np.int64)
        if row.ndim != 1 or ((row < 0) | (row >= len(self))).any():
            raise ValueError(f"ids must be one row of numbers from 0 to {len(self) - 1}")
        ends = np.flatnonzero(row == END)
        if len(ends):
            row = row[: ends[0]]
        row = row[(row != START) & (row != PAD)]
        leaves = row[(row >= PLACEHOLDER) & (row < self.first_variable)]
        values = np.ones(len(leaves))
        hole = leaves == PLACEHOLDER
        values[~hole] = np.array([*self.integers, 0])[leaves[~hole] - self.first_integer]
        if constants is not None:
            given = np.asarray(constants, dtype=np.float64)[: int(hole.sum())]
            if len(given) < hole.sum():
                raise ValueError(f"{int(hole.sum())} placeholders, but {len(given)} values")
            values[hole] = given
        return Expression(self._token_of_id[row], values)

    # --- skeletons ---

    def encode_skeletons(self, skeletons: Sequence[Skeleton], length: int | None = None) -> np.ndarray:
        """Ids of skeletons with start and end, padded: free constants are placeholders. `[skeletons, length]`

        Raises:
            UserError: as `encode_batch`, also for a fixed constant that has no id.
        """
        for skeleton in skeletons:
            for value in skeleton.values:
                if value is not None and value not in self.integers:
                    raise UserError(f"the vocabulary has no {value:g}")
        return self.encode_batch([skeleton.expression(_FREE) for skeleton in skeletons], length)[0]

    def decode_skeletons(self, ids: Array) -> list[Skeleton]:
        """Skeletons of `ids [batch, length]`, each one complete program.

        Raises:
            ValueError: as `decode`.
        """
        return [self._skeleton(row) for row in ids.tolist()]

    def _skeleton(self, row: list[int]) -> Skeleton:
        own = [k for k in row[: row.index(END)] if k > END] if END in row else [k for k in row if k > END]
        missing = 1 + np.cumsum(self.effect[own])
        if not own or missing[-1] != 0 or (missing[:-1] <= 0).any():
            raise ValueError(f"{self.spell(row)} is not one complete program")
        integers = [None, *map(float, self.integers)]  # in the order of the ids: the placeholder comes first
        values = tuple(integers[k - PLACEHOLDER] for k in own if k < self.first_variable)
        return Skeleton(tuple(self._token_of_id[own].tolist()), values)

    def spell(self, ids: Sequence[int] | Array) -> str:
        """Names of a row of ids, for logs."""
        return " ".join(self.names[int(k)] for k in ids)

    def _called(self, token: int) -> str:
        return OPERATORS[token - 1].name if is_operator(token) else f"x{token - FIRST_VARIABLE}"

    # --- grammar ---

    def begin(self, batch: int) -> np.ndarray:
        """Missing arguments before the first token, `[batch]`."""
        return np.ones(batch, dtype=np.int64)

    def advance(self, missing: Array, ids: Array) -> Array:
        """Missing arguments after writing `ids`; both `[batch]`, NumPy or torch."""
        return missing + self._table(missing)["effect"][ids]

    def allowed_next(self, missing: Array, left: Array | int, variables: Array | None = None) -> Array:
        """Which ids may come next, so that the program can be completed.

        While arguments are missing, these are the leaves and operators after which the missing arguments
        still fit into the tokens left; then the end token; then padding. A loop of `allowed_next` and
        `advance` over `max_length + 1` steps with `left = max_length, …, 0` ends every row with its end
        token.

        Args:
            missing: number of missing arguments, from `begin` and `advance`; a NumPy array or a torch tensor on
                any device. `[batch]`
            left: number of tokens that may still be written, this one included and the end token not, at least
                `missing`; one number or `[batch]`.
            variables: flags of the variables that may be used; all when not given. `[batch, variables]` or
                `[variables]` bool

        Returns:
            Flags of the kind and on the device of `missing`, at least one set in every row. `[batch, size]` bool
        """
        tables = self._table(missing)
        effect, body = tables["effect"], tables["body"]
        open_now = missing[:, None]
        left_after = (left if isinstance(left, int) else left[:, None]) - 1
        fits = open_now + effect[None, :] <= left_after
        allowed = body[None, :] & (open_now > 0) & fits
        if variables is not None:
            mask = variables if variables.ndim == 2 else variables[None, :]
            allowed[:, self.first_variable : self.first_operator] &= mask
        allowed[:, END] = missing == 0
        allowed[:, PAD] = missing < 0
        return allowed

    def _table(self, like: Array) -> dict[str, Array]:
        """The lookup tables as arrays of the same kind, on the same device; made once."""
        device = getattr(like, "device", "cpu") if not isinstance(like, np.ndarray) else None
        if device not in self._tables:
            body = np.arange(len(self)) >= PLACEHOLDER
            if device is None:
                self._tables[device] = {"effect": self.effect, "body": body}
            else:
                self._tables[device] = {
                    "effect": like.new_tensor(self.effect, dtype=None).long(),
                    "body": like.new_tensor(body.astype(np.int64)).bool(),
                }
        return self._tables[device]
