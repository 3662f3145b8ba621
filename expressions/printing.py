"""Prefix programs as text for programs to read, and as LaTeX for people.

Float sums and products do not associate, so the right operand of a sum or product is bracketed when it is a sum or
product itself. The printed sign of a negative constant binds like a unary minus.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from expressions.interval_text import interval_latex
from expressions.operator_row import ATOM, NEGATION, POWER, PRODUCT, SUM
from expressions.operators import (
    ARITY,
    CONSTANT,
    FIRST_VARIABLE,
    POWER_ROWS,
    TOKEN,
    Operator,
    by_token,
    is_operator,
    operator,
)

__all__ = ["format_constant", "infix", "latex", "latex_name", "variable_name"]


def infix(tokens: np.ndarray, constants: np.ndarray, names: Sequence[str] | None = None) -> str:
    """Text that `expressions.parsing.parse` reads back to the same values, bit for bit.

    Args:
        tokens: prefix program. `[length]`
        constants: values of its constants. `[constants]`
        names: names of the variables; x0, x1, … when not given.
    """
    return _InfixPrinter(tokens, constants, names).print()


def latex(
    tokens: np.ndarray,
    constants: np.ndarray,
    names: Sequence[str] | None = None,
    digits: int = 4,
    intervals: Sequence[Sequence[float]] | None = None,
) -> str:
    """LaTeX source for math mode.

    Args:
        tokens: prefix program. `[length]`
        constants: values of its constants. `[constants]`
        names: names of the variables; x0, x1, … when not given.
        digits: significant digits of the printed constants.
        intervals: lower and upper end of every constant, printed with it; None: constants alone.
    """
    return _LatexPrinter(tokens, constants, names, digits, intervals).print()


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


def format_constant(value: float) -> str:
    """Shortest decimal text that reads back to the same float64; whole numbers without a point."""
    if value.is_integer() and abs(value) < 1e15 and not (value == 0 and math.copysign(1, value) < 0):
        return str(int(value))
    return repr(value)


class _Printer:
    """Emits a prefix program as text: a work list of text pieces and of subtrees that are still to print."""

    def __init__(self, tokens: np.ndarray, constants: np.ndarray, names: Sequence[str] | None) -> None:
        self.tokens: list[int] = tokens.tolist()
        self.names = names
        self.sign_moved: set[int] = set()  # nodes whose minus sign was printed by the sum above them
        self.constants: dict[int, float] = {}
        self.children: list[tuple[int, ...]] = [()] * len(self.tokens)
        self._index(constants.tolist())

    def _index(self, constants: list[float]) -> None:
        """Positions of every node's arguments and the value of every constant, in one pass from the right."""
        stack: list[int] = []
        for position in range(len(self.tokens) - 1, -1, -1):
            token = self.tokens[position]
            if token == CONSTANT:
                self.constants[position] = constants.pop()
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


def _latex_template(row: Operator) -> list[str]:
    """Parts of the LaTeX template; `}}}` would be ambiguous: templates write `{{{0}}}` for a braced argument."""
    marked = row.latex.replace("{{", "\x00").replace("}}}", "}\x01").replace("}}", "\x01")
    return [part.replace("\x00", "{").replace("\x01", "}") for part in _split_template(marked)]


_NO_PARTS: list[str] = []  # of a constant
_INFIX_PARTS = by_token(_NO_PARTS, lambda row: _split_template(row.infix or ""))
_LATEX_PARTS = by_token(_NO_PARTS, _latex_template)


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
            return self._operand(arguments[0], POWER)
        if row.infix is None:
            separated: list[str | int] = [row.name, "(", arguments[0]]
            for argument in arguments[1:]:
                separated += [", ", argument]
            return [*separated, ")"]
        if row.name == "pow":
            return [*self._operand(arguments[0], ATOM), "**", *self._exponent(arguments[1])]
        pieces: list[str | int] = []
        for part in _INFIX_PARTS[token]:
            if part in ("{0}", "{1}"):
                k = int(part[1])
                pieces += self._operand(arguments[k], row.operands[k])
            else:
                pieces.append(part)
        return pieces

    def _emit_sum(self, name: str, left: int, right: int) -> list[str | int]:
        minus = self.leading_minus(right)
        if minus is not None and (self.tokens[right] == CONSTANT or self._precedence(right) >= PRODUCT):
            self.sign_moved.add(minus)
            name = "sub" if name == "add" else "add"
        symbol = " + " if name == "add" else " - "
        return [*self._operand(left, SUM), symbol, *self._operand(right, PRODUCT)]

    def _exponent(self, position: int) -> list[str | int]:
        value = self.constants.get(position)
        if value is not None and value in POWER_ROWS:  # x**2 would read back as square(x)
            return [repr(value)]
        return self._operand(position, POWER)

    def _operand(self, position: int, needed: int) -> list[str | int]:
        if self._precedence(position) < needed:
            return ["(", position, ")"]
        return [position]

    def _precedence(self, position: int) -> int:
        token = self.tokens[position]
        if is_operator(token):
            return POWER if position in self.sign_moved else operator(token).precedence
        value = self.constants.get(position, 0.0)
        negative = math.copysign(1.0, value) < 0 and position not in self.sign_moved
        return NEGATION if negative else ATOM


class _LatexPrinter(_Printer):
    """LaTeX for the eye: sums without needless brackets, fractions, rounded constants."""

    def __init__(
        self,
        tokens: np.ndarray,
        constants: np.ndarray,
        names: Sequence[str] | None,
        digits: int,
        intervals: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__(tokens, constants, names)
        self.digits = digits
        places = sorted(self.constants)
        self.intervals = {} if intervals is None else dict(zip(places, intervals, strict=True))

    def emit(self, position: int) -> list[str | int]:
        token = self.tokens[position]
        if token == CONSTANT:
            value = self.constants[position]
            return [self._number(position, -value if position in self.sign_moved else value)]
        if token >= FIRST_VARIABLE:
            return [latex_name(variable_name(token - FIRST_VARIABLE, self.names))]
        name, needed = operator(token).name, operator(token).latex_operands
        arguments = self.children[position]
        if position in self.sign_moved:  # a negation
            return self._operand(arguments[0], PRODUCT)
        if name in ("add", "sub"):
            name = self._move_sign(name, arguments[1])
            token = TOKEN[name]
        if name == "mul" and self._starts_with_number(arguments[1]):
            return [*self._factor(arguments[0]), r" \cdot ", *self._operand(arguments[1], PRODUCT)]
        pieces: list[str | int] = []
        for part in _LATEX_PARTS[token]:
            if part not in ("{0}", "{1}"):
                pieces.append(part)
            elif name == "mul" and part == "{0}":
                pieces += self._factor(arguments[0])
            else:
                pieces += self._operand(arguments[int(part[1])], needed[int(part[1])])
        return pieces

    def _number(self, position: int, value: float) -> str:
        """A constant as it is printed, with its interval where there is one."""
        low, high = self.intervals.get(position, (math.nan, math.nan))
        if value * self.constants[position] < 0:  # its sign was printed by the sum above
            low, high = -high, -low
        minus = value < 0
        text = interval_latex(-value, (-high, -low)) if minus else interval_latex(value, (low, high))
        return _latex_number(value, self.digits) if text is None else "-" * minus + text

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
        return self._operand(position, PRODUCT) if self.name_of(position) in ("add", "sub") else [position]

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
                return SUM
            powers = position in self.constants and "10^" in self._number(position, value)
            return PRODUCT if powers else ATOM
        row = operator(token)
        if row.name in ("neg", "mul", "div"):
            minus = self.leading_minus(position)
            return SUM if minus is not None and minus not in self.sign_moved and row.name != "div" else PRODUCT
        return row.latex_precedence or row.precedence


def _latex_number(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"


def latex_name(name: str) -> str:
    """LaTeX of a name of letters, digits and `_`: one letter in italics with its index, a longer name upright."""
    stem = name.rstrip("0123456789")
    index = name[len(stem) :]
    if len(stem) == 1:
        return rf"{stem}_{{{index}}}" if index else stem
    escaped = name.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"
