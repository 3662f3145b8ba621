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

from expressions.operators import (
    ARITY,
    CONSTANT,
    FIRST_VARIABLE,
    OPERATORS,
    POWER_ROWS,
    PRECEDENCE,
    TOKEN,
    Operator,
    is_operator,
    operator,
)

if TYPE_CHECKING:
    from deap import gp

# The printed sign of a negative constant binds like a unary minus.
_SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = (
    PRECEDENCE[kind] for kind in ("sum", "product", "negation", "power", "atom")
)
# Binding strength that each operand needs to stand without brackets. Float sums and products do not associate,
# so the right operand of a sum or product is bracketed when it is a sum or product itself.
_OPERAND_PRECEDENCE: dict[str, tuple[int, ...]] = {
    "add": (_SUM, _PRODUCT),
    "sub": (_SUM, _PRODUCT),
    "mul": (_PRODUCT, _NEGATION),
    "div": (_PRODUCT, _NEGATION),
    "pow": (_ATOM, _POWER),
    "neg": (_POWER,),
    "inv": (_NEGATION,),
    **dict.fromkeys(POWER_ROWS.values(), (_ATOM,)),
}


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
        """The expression that is `value` everywhere."""
        return cls([CONSTANT], [value])

    @classmethod
    def variable(cls, index: int) -> Expression:
        """The expression x`index`."""
        return cls([FIRST_VARIABLE + index])

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

    def __reduce__(self) -> tuple[Callable[..., Expression], tuple[list[int], list[float]]]:
        return Expression, (self.tokens.tolist(), self.constants.tolist())

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
            leaf: `leaf(token, value)` for every leaf; `value` is the constant's, NaN for a variable.
            combine: `combine(operator, *arguments)` for every operator.
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
            inputs: `[rows, variables]`

        Returns:
            `[rows]`; not finite where the expression is not defined.
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
        return _InfixPrinter(self, names).print()

    def latex(self, names: Sequence[str] | None = None, digits: int = 4) -> str:
        """LaTeX source (for math mode), constants rounded to `digits` significant digits for the eye."""
        return _LatexPrinter(self, names, digits).print()

    # --- other trees ----------------------------------------------------------------------------------------

    def to_sympy(self, names: Sequence[str] | None = None) -> Any:
        """SymPy expression over real symbols; SymPy merges sums, products and numbers as it builds."""
        import sympy

        def leaf(token: int, value: float) -> Any:
            if token != CONSTANT:
                return sympy.Symbol(variable_name(token - FIRST_VARIABLE, names), real=True)
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
        return _from_sympy(tree, names)

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


def variable_name(index: int, names: Sequence[str] | None) -> str:
    """Name of variable `index`: from `names`, else x0, x1, …

    Raises:
        ValueError: `names` is too short.
    """
    if names is None:
        return f"x{index}"
    if index >= len(names):
        raise ValueError(f"the expression uses variable {index}, but only {len(names)} names were given")
    return names[index]


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


# --- printers ---------------------------------------------------------------------------------------------------


def format_constant(value: float) -> str:
    """Shortest decimal text that reads back to the same float64; whole numbers without a point."""
    if value.is_integer() and abs(value) < 1e15 and not (value == 0 and math.copysign(1, value) < 0):
        return str(int(value))
    return repr(value)


class _Printer:
    """Emits a prefix program as text: a work list of text pieces and of subtrees that are still to print."""

    def __init__(self, expression: Expression, names: Sequence[str] | None) -> None:
        self.tokens = expression.tokens.tolist()
        self.names = names
        self.sign_moved: set[int] = set()  # nodes whose minus sign was printed by the sum above them
        self.constants: dict[int, float] = {}
        self.children: list[tuple[int, ...]] = [()] * len(self.tokens)
        self._index(expression)

    def _index(self, expression: Expression) -> None:
        """Positions of every node's arguments and the value of every constant, in one pass from the right."""
        stack: list[int] = []
        next_constant = len(expression.constants)
        for position in range(len(self.tokens) - 1, -1, -1):
            token = self.tokens[position]
            if token == CONSTANT:
                next_constant -= 1
                self.constants[position] = float(expression.constants[next_constant])
            arity = int(ARITY[min(token, FIRST_VARIABLE)])
            self.children[position] = tuple(stack.pop() for _ in range(arity))
            stack.append(position)

    def print(self) -> str:
        pieces: list[str] = []
        work: list[str | int] = [0]
        while work:
            item = work.pop()
            if isinstance(item, str):
                pieces.append(item)
            else:
                work.extend(reversed(self.emit(item)))
        return "".join(pieces)

    def emit(self, position: int) -> list[str | int]:
        raise NotImplementedError

    def name_of(self, position: int) -> str:
        """Operator name, empty for a leaf."""
        token = self.tokens[position]
        return operator(token).name if is_operator(token) else ""

    def leading_minus(self, position: int) -> int | None:
        """Position of the negative constant or negation that a product would print first, if any.

        `a + -2*b` and `a - 2*b` are the same float64 value, and the second is what people read.
        """
        while self.name_of(position) in ("mul", "div"):
            position = self.children[position][0]
        if self.name_of(position) == "neg":
            return position
        return position if self.constants.get(position, 0.0) < 0 else None


def _split_template(template: str) -> list[str]:
    """`"{0} + {1}"` -> `["{0}", " + ", "{1}"]`, with doubled braces undone."""
    parts: list[str] = []
    text, k = "", 0
    while k < len(template):
        if template[k : k + 3] in ("{0}", "{1}"):
            parts += [text, template[k : k + 3]]
            text, k = "", k + 3
        elif template[k : k + 2] in ("{{", "}}"):
            text, k = text + template[k], k + 2
        else:
            text, k = text + template[k], k + 1
    return [part for part in [*parts, text] if part]


_INFIX_PARTS = {row.name: _split_template(row.infix) for row in OPERATORS if row.infix}
# `}}}` would be ambiguous: LaTeX templates write `{{{0}}}` for a braced argument.
_LATEX_PARTS = {
    row.name: [
        part.replace("\x00", "{").replace("\x01", "}")
        for part in _split_template(row.latex.replace("{{", "\x00").replace("}}}", "}\x01").replace("}}", "\x01"))
    ]
    for row in OPERATORS
}


class _InfixPrinter(_Printer):
    def emit(self, position: int) -> list[str | int]:
        token = self.tokens[position]
        if token == CONSTANT:
            value = self.constants[position]
            return [format_constant(-value if position in self.sign_moved else value)]
        if token >= FIRST_VARIABLE:
            return [variable_name(token - FIRST_VARIABLE, self.names)]
        row = operator(token)
        arguments = self.children[position]
        if row.name in ("add", "sub"):
            return self._emit_sum(row.name, *arguments)
        if position in self.sign_moved:  # a negation
            return self._operand(arguments[0], _POWER)
        if row.infix is None:
            separated: list[str | int] = [row.name, "(", arguments[0]]
            for argument in arguments[1:]:
                separated += [", ", argument]
            return [*separated, ")"]
        if row.name == "pow":
            return [*self._operand(arguments[0], _ATOM), "**", *self._exponent(arguments[1])]
        pieces: list[str | int] = []
        for part in _INFIX_PARTS[row.name]:
            if part in ("{0}", "{1}"):
                k = int(part[1])
                pieces += self._operand(arguments[k], _OPERAND_PRECEDENCE[row.name][k])
            else:
                pieces.append(part)
        return pieces

    def _emit_sum(self, name: str, left: int, right: int) -> list[str | int]:
        minus = self.leading_minus(right)
        if minus is not None and (self.tokens[right] == CONSTANT or self._precedence(right) >= _PRODUCT):
            self.sign_moved.add(minus)
            name = "sub" if name == "add" else "add"
        symbol = " + " if name == "add" else " - "
        return [*self._operand(left, _SUM), symbol, *self._operand(right, _PRODUCT)]

    def _exponent(self, position: int) -> list[str | int]:
        value = self.constants.get(position)
        if value is not None and value in POWER_ROWS:  # x**2 would read back as square(x)
            return [repr(value)]
        return self._operand(position, _POWER)

    def _operand(self, position: int, needed: int) -> list[str | int]:
        if self._precedence(position) < needed:
            return ["(", position, ")"]
        return [position]

    def _precedence(self, position: int) -> int:
        token = self.tokens[position]
        if is_operator(token):
            return _POWER if position in self.sign_moved else operator(token).precedence
        value = self.constants.get(position, 0.0)
        negative = math.copysign(1.0, value) < 0 and position not in self.sign_moved
        return _NEGATION if negative else _ATOM


class _LatexPrinter(_Printer):
    """LaTeX for the eye: sums without needless brackets, fractions, rounded constants."""

    def __init__(self, expression: Expression, names: Sequence[str] | None, digits: int) -> None:
        super().__init__(expression, names)
        self.digits = digits

    def emit(self, position: int) -> list[str | int]:
        token = self.tokens[position]
        if token == CONSTANT:
            value = self.constants[position]
            return [_latex_number(-value if position in self.sign_moved else value, self.digits)]
        if token >= FIRST_VARIABLE:
            return [_latex_name(variable_name(token - FIRST_VARIABLE, self.names))]
        name = operator(token).name
        arguments = self.children[position]
        if position in self.sign_moved:  # a negation
            return self._operand(arguments[0], _PRODUCT)
        needed = _LATEX_OPERANDS.get(name, (_SUM, _SUM))
        if name in ("add", "sub"):
            name = self._move_sign(name, arguments[1])
        if name == "mul" and self._starts_with_number(arguments[1]):
            return [*self._factor(arguments[0]), r" \cdot ", *self._operand(arguments[1], _PRODUCT)]
        pieces: list[str | int] = []
        for part in _LATEX_PARTS[name]:
            if part not in ("{0}", "{1}"):
                pieces.append(part)
            elif name == "mul" and part == "{0}":
                pieces += self._factor(arguments[0])
            else:
                pieces += self._operand(arguments[int(part[1])], needed[int(part[1])])
        return pieces

    def _move_sign(self, name: str, right: int) -> str:
        """`a + (-2b + c)` -> `a - 2b + c`: the sum's symbol once the right operand's sign moved into it."""
        first = right
        while name == "add" and self.name_of(first) in ("add", "sub"):
            first = self.children[first][0]
        minus = self.leading_minus(first)
        if minus is None:
            return name
        self.sign_moved.add(minus)
        return "sub" if name == "add" else "add"

    def _starts_with_number(self, position: int) -> bool:
        while self.name_of(position) in ("mul", "pow", *POWER_ROWS.values()):
            position = self.children[position][0]
        return position in self.constants

    def _factor(self, position: int) -> list[str | int]:
        """First factor of a product: a minus sign may stand there without brackets."""
        return self._operand(position, _PRODUCT) if self.name_of(position) in ("add", "sub") else [position]

    def _operand(self, position: int, needed: int) -> list[str | int]:
        if self._precedence(position) < needed:
            return [r"\left(", position, r"\right)"]
        return [position]

    def _precedence(self, position: int) -> int:
        token = self.tokens[position]
        moved = position in self.sign_moved
        if not is_operator(token):
            value = self.constants.get(position, 0.0)
            if value < 0 and not moved:
                return _SUM
            return _PRODUCT if "10^" in _latex_number(value, self.digits) else _ATOM
        name = operator(token).name
        if name in ("add", "sub"):
            return _SUM
        if name in ("neg", "mul", "div"):
            minus = self.leading_minus(position)
            return _SUM if minus is not None and minus not in self.sign_moved and name != "div" else _PRODUCT
        if name == "inv":
            return _PRODUCT
        return _POWER if name == "exp" else operator(token).precedence


_LATEX_OPERANDS: dict[str, tuple[int, ...]] = {
    "add": (_SUM, _SUM),
    "sub": (_SUM, _PRODUCT),
    "mul": (_PRODUCT, _PRODUCT),
    "pow": (_ATOM, _SUM),
    "neg": (_PRODUCT,),
    **dict.fromkeys(POWER_ROWS.values(), (_ATOM,)),
}


def _latex_number(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"


def _latex_name(name: str) -> str:
    stem = name.rstrip("0123456789")
    index = name[len(stem) :]
    if len(stem) == 1:
        return rf"{stem}_{{{index}}}" if index else stem
    escaped = name.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"


# --- SymPy ------------------------------------------------------------------------------------------------------


def _from_sympy(tree: Any, names: Sequence[str] | None) -> Expression:
    import sympy as sp

    if tree.is_Symbol:
        return Expression.variable(_variable_index(tree.name, names))
    if tree.is_number and tree.is_real:
        return Expression.constant(float(tree))
    if tree.is_Add:
        return _sympy_sum(tree.as_ordered_terms(), names)
    if tree.is_Mul:
        return _sympy_product(tree, names)
    if isinstance(tree, sp.Pow):
        return _sympy_pow(tree.base, tree.exp, names)
    if isinstance(tree, sp.Max | sp.Min):
        name = "max" if isinstance(tree, sp.Max) else "min"
        result, *rest = [_from_sympy(argument, names) for argument in tree.args]
        for argument in rest:
            result = Expression.apply(name, result, argument)
        return result
    name = type(tree).__name__.lower()
    if name in TOKEN and len(tree.args) == 1 and operator(TOKEN[name]).arity == 1:
        return Expression.apply(name, _from_sympy(tree.args[0], names))
    raise ValueError(f"{type(tree).__name__} has no row in the operator table")


def _variable_index(name: str, names: Sequence[str] | None) -> int:
    if names is not None:
        if name in names:
            return list(names).index(name)
    elif name[:1] == "x" and name[1:].isdecimal():
        return int(name[1:])
    raise ValueError(f"the symbol {name} is not one of the variables {list(names) if names else 'x0, x1, …'}")


def _sympy_sum(terms: Sequence[Any], names: Sequence[str] | None) -> Expression:
    """Positive terms first, so that the others can be subtracted."""
    plus = [t for t in terms if not t.could_extract_minus_sign()]
    minus = [t for t in terms if t.could_extract_minus_sign()]
    if not plus:
        plus, minus = [minus[0]], minus[1:]
    result = _from_sympy(plus[0], names)
    for term in plus[1:]:
        result = Expression.apply("add", result, _from_sympy(term, names))
    for term in minus:
        result = Expression.apply("sub", result, _from_sympy(-term, names))
    return result


def _sympy_product(tree: Any, names: Sequence[str] | None) -> Expression:
    import sympy as sp

    above: list[Any] = []
    below: list[Any] = []
    negative = False
    for factor in tree.args:
        if factor == -1:
            negative = True
        elif factor.is_Pow and factor.exp.is_number and factor.exp.is_negative:
            below.append(1 / factor)
        elif factor.is_Rational and not factor.is_Integer and abs(factor.p) == 1:
            negative = negative or factor.p < 0
            below.append(sp.Integer(factor.q))
        else:
            above.append(factor)
    result = _fold_product(above, names)
    if below:
        divisor = _fold_product(below, names)
        result = Expression.apply("div", result, divisor) if above else Expression.apply("inv", divisor)
    return Expression.apply("neg", result) if negative else result


def _fold_product(factors: Sequence[Any], names: Sequence[str] | None) -> Expression:
    if not factors:
        return Expression.constant(1.0)
    result = _from_sympy(factors[0], names)
    for factor in factors[1:]:
        result = Expression.apply("mul", result, _from_sympy(factor, names))
    return result


def _sympy_pow(base: Any, exponent: Any, names: Sequence[str] | None) -> Expression:
    import sympy as sp

    if base == sp.E:
        return Expression.apply("exp", _from_sympy(exponent, names))
    if exponent.is_number and exponent.is_negative:
        return Expression.apply("inv", _from_sympy(1 / sp.Pow(base, exponent), names))
    argument = _from_sympy(base, names)
    if exponent == sp.Rational(1, 2):
        return Expression.apply("sqrt", argument)
    if exponent.is_Integer and int(exponent) in POWER_ROWS:
        return Expression.apply(POWER_ROWS[int(exponent)], argument)
    return Expression.apply("pow", argument, _from_sympy(exponent, names))
