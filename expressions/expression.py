"""`Expression`: an immutable equation, stored as a prefix program (token array and constant vector).

    a*x0 + 1.5   ->   tokens [add, mul, CONSTANT, x0, CONSTANT], constants [a, 1.5]

Every walk over an expression here is a loop over the prefix program with an explicit stack, never recursion, so
that a sum of fifty thousand terms is as safe as one of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from expressions import printing
from expressions.operators import (
    ARITY,
    CONSTANT,
    FIRST_VARIABLE,
    OPERATORS,
    SHIPPED,
    TOKEN,
    Operator,
    operator,
)
from expressions.sympy_reading import program_of
from foundation.errors import UserError

if TYPE_CHECKING:
    from deap import gp


class Expression:
    """An equation over variables x0, x1, … with real constants.

    Args:
        tokens: prefix program, see `expressions.operators` for the numbers. `[length]`
        constants: values of the `CONSTANT` tokens in prefix order, all finite. `[constants]`

    Raises:
        ValueError: the tokens are not one complete prefix program, or a constant is missing or not finite.
    """

    __slots__ = ("_hash", "constants", "tokens")

    tokens: np.ndarray
    constants: np.ndarray

    def __init__(self, tokens: Sequence[int] | np.ndarray, constants: Sequence[float] | np.ndarray = ()) -> None:
        token_array = np.array(tokens, dtype=np.int16)
        constant_array = np.array(constants, dtype=np.float64)
        if token_array.ndim != 1 or constant_array.ndim != 1:
            raise ValueError("tokens and constants must be one-dimensional")
        _check_program(token_array, constant_array)
        token_array.setflags(write=False)
        constant_array.setflags(write=False)
        self.tokens = token_array
        self.constants = constant_array
        self._hash: int | None = None

    # --- building -------------------------------------------------------------------------------------------

    @classmethod
    def _trusted(cls, tokens: np.ndarray, constants: np.ndarray) -> Expression:
        """Build without checks from arrays that are known to be a program; for hot paths."""
        self = object.__new__(cls)
        tokens.setflags(write=False)
        constants.setflags(write=False)
        self.tokens = tokens
        self.constants = constants
        self._hash = None
        return self

    @classmethod
    def constant(cls, value: float) -> Expression:
        """The expression that is `value` everywhere.

        Raises:
            ValueError: the value is not finite.
        """
        if not math.isfinite(value):
            raise ValueError("constants must be finite")
        return cls._trusted(np.array([CONSTANT], dtype=np.int16), np.array([value], dtype=np.float64))

    @classmethod
    def variable(cls, index: int) -> Expression:
        """The expression x`index`.

        Raises:
            ValueError: the index is negative.
        """
        if index < 0:
            raise ValueError(f"variables are counted from 0, not from {index}")
        return cls._trusted(np.array([FIRST_VARIABLE + index], dtype=np.int16), np.empty(0))

    @classmethod
    def apply(cls, name: str, *arguments: Expression) -> Expression:
        """Operator `name` applied to `arguments`.

        Raises:
            KeyError: no operator has this name.
            ValueError: the number of arguments is not its arity.
        """
        token = TOKEN[name]
        if len(arguments) != operator(token).arity:
            raise ValueError(f"{name} takes {operator(token).arity} arguments, not {len(arguments)}")
        return cls._trusted(
            np.concatenate([np.array([token], dtype=np.int16), *(a.tokens for a in arguments)]),
            np.concatenate([a.constants for a in arguments]),
        )

    @classmethod
    def joined(cls, name: str, parts: Sequence[Expression]) -> Expression:
        """`parts`, one or more, joined from left to right by an operator of two arguments: a sum, or a product."""
        first, *others = parts
        return reduce(lambda total, part: cls.apply(name, total, part), others, first)

    def with_constants(self, constants: Sequence[float] | np.ndarray) -> Expression:
        """The same program with other constant values. `[constants]`"""
        values = np.array(constants, dtype=np.float64)
        if values.shape != self.constants.shape or not np.isfinite(values).all():
            raise ValueError(f"expected {len(self.constants)} finite constants, got {values}")
        return self._trusted(self.tokens, values)

    # --- structure ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.tokens)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expression):
            return NotImplemented
        return np.array_equal(self.tokens, other.tokens) and np.array_equal(self.constants, other.constants)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.tokens.tobytes(), self.constants.tobytes()))
        return self._hash

    def __repr__(self) -> str:
        return f"Expression({self.infix()!r})"

    def __reduce__(self) -> tuple[Callable[..., Expression], tuple[Any, ...]]:
        tokens = self.tokens.tolist()
        own = {token: operator(token).name for token in set(tokens) if len(SHIPPED) < token < FIRST_VARIABLE}
        return _unpickled, (tokens, self.constants.tolist(), own)

    @property
    def variables(self) -> tuple[int, ...]:
        """Indices of the variables that occur, in rising order."""
        used = self.tokens[self.tokens >= FIRST_VARIABLE] - FIRST_VARIABLE
        return tuple(int(v) for v in np.unique(used))

    @property
    def depth(self) -> int:
        """Operators on the longest path from the root to a leaf; 0 for a leaf."""
        stack: list[int] = []
        for token in reversed(self.tokens.tolist()):
            arity = int(ARITY[min(token, FIRST_VARIABLE)])
            stack.append(1 + max(stack.pop() for _ in range(arity)) if arity else 0)
        return stack[0]

    def subtree_end(self, start: int) -> int:
        """Index one past the last token of the subtree that starts at `start`."""
        missing, end = 1, start
        while missing:
            missing += int(ARITY[min(int(self.tokens[end]), FIRST_VARIABLE)]) - 1
            end += 1
        return end

    def subtree(self, start: int) -> Expression:
        """The subtree that starts at token `start`, as an expression of its own."""
        end = self.subtree_end(start)
        first = int(np.count_nonzero(self.tokens[:start] == CONSTANT))
        count = int(np.count_nonzero(self.tokens[start:end] == CONSTANT))
        return self._trusted(self.tokens[start:end].copy(), self.constants[first : first + count].copy())

    def with_subtree(self, start: int, other: Expression) -> Expression:
        """The same equation with another subtree in the place of the one that starts at token `start`."""
        end = self.subtree_end(start)
        first, last = (int(np.count_nonzero(self.tokens[:at] == CONSTANT)) for at in (start, end))
        return self._trusted(
            np.concatenate([self.tokens[:start], other.tokens, self.tokens[end:]]),
            np.concatenate([self.constants[:first], other.constants, self.constants[last:]]),
        )

    def children(self) -> tuple[Expression, ...]:
        """Arguments of the root operator; empty for a leaf."""
        arity = int(ARITY[min(int(self.tokens[0]), FIRST_VARIABLE)])
        found: list[Expression] = []
        start = 1
        for _ in range(arity):
            found.append(self.subtree(start))
            start += len(found[-1])
        return tuple(found)

    def fold(self, leaf: Callable[[int, float], Any], combine: Callable[..., Any]) -> Any:
        """Evaluate bottom-up with any algebra, without recursion.

        Args:
            leaf: function `leaf(token, value)` for every leaf; `value` is the constant's, NaN for a variable.
            combine: function `combine(operator, *arguments)` for every operator.
        """
        stack: list[Any] = []
        next_constant = len(self.constants)
        for token in reversed(self.tokens.tolist()):
            if token == CONSTANT:
                next_constant -= 1
                stack.append(leaf(token, float(self.constants[next_constant])))
            elif token >= FIRST_VARIABLE:
                stack.append(leaf(token, math.nan))
            else:
                row = OPERATORS[token - 1]
                stack.append(combine(row, *(stack.pop() for _ in range(row.arity))))
        return stack[0]

    # --- values ---------------------------------------------------------------------------------------------

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Values in float64 on a table, one node after the other: the reference that faster evaluators equal.

        What holds no variable is one number, not a column: NumPy's power of a single exponent 2 is a product, of a
        column of twos it is not, and differs in the last bit.

        Args:
            inputs: values of the variables. `[rows, variables]`

        Returns:
            Values, not finite where the expression is not defined. `[rows]`
        """
        table = np.asarray(inputs, dtype=np.float64)
        rows = table.shape[0]

        def leaf(token: int, value: float) -> np.ndarray:
            return np.array([value]) if token == CONSTANT else table[:, token - FIRST_VARIABLE]

        def combine(row: Operator, *arguments: np.ndarray) -> np.ndarray:
            return row.numpy(*arguments, np.empty(rows if any(len(each) == rows for each in arguments) else 1))

        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(self.fold(leaf, combine), rows))

    # --- text -----------------------------------------------------------------------------------------------

    def infix(self, names: Sequence[str] | None = None) -> str:
        """Text that `expressions.parsing.parse` reads back to the same values, bit for bit.

        Args:
            names: names of the variables; x0, x1, … when not given.
        """
        return printing.infix(self.tokens, self.constants, names)

    def latex(
        self,
        names: Sequence[str] | None = None,
        digits: int = 4,
        intervals: Sequence[Sequence[float]] | None = None,
    ) -> str:
        r"""LaTeX source (for math mode), constants rounded to `digits` significant digits for the eye.

        With `intervals` (lower and upper end of each, `[constants, 2]`), a constant is `(1.61 \pm 0.03)`.
        """
        return printing.latex(self.tokens, self.constants, names, digits, intervals)

    # --- other trees ----------------------------------------------------------------------------------------

    def to_sympy(self, names: Sequence[str] | None = None) -> Any:
        """SymPy expression over real symbols; SymPy merges sums, products and numbers as it builds."""
        import sympy

        def leaf(token: int, value: float) -> Any:
            if token != CONSTANT:
                return sympy.Symbol(printing.variable_name(token - FIRST_VARIABLE, names), real=True)
            return (
                sympy.Integer(int(value)) if value.is_integer() and abs(value) < 1e15 else sympy.Float(value, 17)
            )

        return self.fold(leaf, lambda row, *arguments: row.sympy(sympy, *arguments))

    @classmethod
    def from_sympy(cls, tree: Any, names: Sequence[str] | None = None) -> Expression:
        """Expression of a SymPy tree whose symbols are called `names` (x0, x1, … when not given).

        Raises:
            ValueError: a symbol is not in `names`, or a function has no row in the operator table.
        """
        return cls(*program_of(tree, names))

    @classmethod
    def from_deap(cls, tree: gp.PrimitiveTree, pset: gp.PrimitiveSet) -> Expression:
        """Expression of a DEAP tree; ephemeral constants become constants.

        Raises:
            KeyError: a primitive is not in the operator table.
        """
        variables = {name: FIRST_VARIABLE + j for j, name in enumerate(pset.arguments)}
        tokens: list[int] = []
        constants: list[float] = []
        for node in tree:
            if node.arity:
                tokens.append(TOKEN[node.name])
            elif isinstance(node.value, str):
                tokens.append(variables[node.value])
            else:
                tokens.append(CONSTANT)
                constants.append(float(node.value))
        return cls(tokens, constants)


def _unpickled(tokens: list[int], constants: list[float], own: dict[int, str]) -> Expression:
    """The expression, whose operators of one's own may have other numbers in this process.

    Raises:
        UserError: this process has no operator of such a name.
    """
    numbers = {}
    for token, name in own.items():
        here = token <= len(OPERATORS) and operator(token).name == name
        if not here and name not in TOKEN:
            raise UserError(f"an equation uses the operator {name!r}, which is not known here: define it first")
        numbers[token] = token if here else TOKEN[name]
    return Expression([numbers.get(token, token) for token in tokens], constants)


def _check_program(tokens: np.ndarray, constants: np.ndarray) -> None:
    if tokens.size == 0 or int(tokens.min()) < 0:
        raise ValueError("an expression needs at least one token, and no token is negative")
    arity = ARITY[np.minimum(tokens, FIRST_VARIABLE)]
    if arity.min() < 0:
        raise ValueError(f"no operator has the number {int(tokens[arity < 0][0])}")
    open_slots = 1 + np.cumsum(arity.astype(np.int64) - 1)
    if open_slots[-1] != 0 or (open_slots[:-1] <= 0).any():
        raise ValueError("the tokens are not one complete prefix program")
    if np.count_nonzero(tokens == CONSTANT) != constants.size:
        raise ValueError(f"{np.count_nonzero(tokens == CONSTANT)} constant tokens, {constants.size} values")
    if not np.isfinite(constants).all():
        raise ValueError("constants must be finite")
