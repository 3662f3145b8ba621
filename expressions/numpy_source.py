"""An equation as a module of Python that needs NumPy and nothing of ours: `FEATURES` and `predict(X)`.

The module computes what `Expression` computes, operation by operation. What holds no variable is written as the
number that it is, long formulas are cut into named parts, and no text of the table can become code.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from expressions.expression import Expression
from expressions.operator_row import ATOM, NEGATION, PRODUCT, SUM, Operator
from expressions.operators import CONSTANT, FIRST_VARIABLE
from expressions.printing import format_constant
from foundation.errors import UserError

__all__ = ["SourceError", "numpy_source"]

_LINE = 80
"""Characters of a formula from which its longest part becomes a line of its own."""
_CALLS = {"max": "np.maximum({0}, {1})", "min": "np.minimum({0}, {1})", "safe_sqrt": "np.sqrt(np.abs({0}))"}
"""Calls of NumPy for operators whose row does not name one function of NumPy."""
_INFIX = ("add", "sub", "mul", "div", "neg", "inv", "square")
"""Operators whose printed form is Python's own. NumPy's `a**2` is `a*a`, its other powers are not products."""
_HELPERS = {
    "cube": "def cube(a):\n    return a * a * a\n",
    "pow4": "def pow4(a):\n    square = a * a\n    return square * square\n",
    "pow5": "def pow5(a):\n    square = a * a\n    return square * square * a\n",
    "pow6": "def pow6(a):\n    cube = a * a * a\n    return cube * cube\n",
    "pow7": "def pow7(a):\n    cube = a * a * a\n    return cube * cube * a\n",
    "pow8": "def pow8(a):\n    fourth = (a * a) * (a * a)\n    return fourth * fourth\n",
    "pow9": "def pow9(a):\n    cube = a * a * a\n    return cube * cube * cube\n",
    "pow10": "def pow10(a):\n    square = a * a\n    fifth = square * square * a\n    return fifth * fifth\n",
    "safe_div": (
        'def safe_div(a, b):\n    """a / b, and 1 where b is 0."""\n    return np.where(b == 0, 1.0, a / b)\n'
    ),
    "safe_log": (
        'def safe_log(a):\n    """Logarithm of the magnitude, and 0 at 0."""\n'
        "    return np.where(a == 0, 0.0, np.log(np.abs(a)))\n"
    ),
    "erf": 'erf = np.vectorize(math.erf, otypes=[float])\n"""Error function of every entry of an array."""\n',
}
_BUILTINS = ("float", "len", "set", "getattr", "ValueError")
_TAKEN = {"np", "math", "X", "FEATURES", "predict", "__debug__", *_BUILTINS, *_HELPERS}


class SourceError(UserError):
    """An operator of one's own that cannot be written as NumPy's source."""


def numpy_source(
    expression: Expression, names: Sequence[str], features: Sequence[str] | None = None, description: str = ""
) -> str:
    """Source of a module with `FEATURES`, the columns in their order, and `predict(X)`.

    Args:
        expression: equation to write down; all digits of its constants are kept.
        names: names of the variables, which become local names where Python allows that.
        features: names of the columns as they stand in the table, any text; `names` when not given.
        description: docstring of the module, any text.

    Returns:
        Source that imports NumPy, and `math` for the error function. Its values are those of `expression`, bit for
        bit but for the error function (4 units in the last place).

    Raises:
        SourceError: the expression holds an operator that has no form in NumPy.
        ValueError: there are fewer names than variables.
    """
    if expression.variables and expression.variables[-1] >= len(names):
        raise ValueError(f"the expression uses variable {expression.variables[-1]}, but has {len(names)} names")
    locals_ = _local_names(expression.variables, names)
    writer = _Writer(locals_)
    piece = expression.fold(writer.leaf, writer.combine)
    helpers = [_HELPERS[name] for name in _HELPERS if name in writer.helpers]
    return "\n".join(
        [
            f"{_docstring(description or 'An equation.')}\n",
            *(["import math\n"] if "erf" in writer.helpers else []),
            "import numpy as np\n",
            f"{_feature_list(names if features is None else features)}\n\n",
            *(f"{helper}\n" for helper in helpers),
            _predict(writer, piece, locals_, names if features is None else features),
        ]
    )


@dataclass(frozen=True)
class _Piece:
    """Text of a subtree.

    Attributes:
        text: formula in Python.
        precedence: binding strength, as in `expressions.operator_row`.
        value: number that it is where it holds no variable, else None.
        opposite: text of its negative, where the text begins with a minus sign.
    """

    text: str
    precedence: int
    value: float | None = None
    opposite: str | None = None

    def within(self, needed: int) -> str:
        """The text as an operand that must bind at least so strongly."""
        return self.text if self.precedence >= needed else f"({self.text})"


@dataclass
class _Writer:
    """Writes an expression bottom-up, and keeps the lines and helpers that its text needs."""

    locals: dict[int, str]
    lines: list[str] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)

    def leaf(self, token: int, value: float) -> _Piece:
        return _number(value) if token == CONSTANT else _Piece(self.locals[token - FIRST_VARIABLE], ATOM)

    def combine(self, row: Operator, *arguments: _Piece) -> _Piece:
        if all(argument.value is not None for argument in arguments):
            with np.errstate(all="ignore"):
                return _number(float(row.numpy(*(np.array([a.value]) for a in arguments), np.empty(1))[0]))
        arguments = self._shortened(arguments)
        if row.name in ("add", "sub"):
            return _sum(row.name, *arguments)
        if row.name in _INFIX and row.infix is not None:
            operands = [a.within(needed) for a, needed in zip(arguments, row.operands, strict=True)]
            return _Piece(row.infix.format(*operands), row.precedence, opposite=_opposite(row, arguments))
        if row.name in _HELPERS:
            self.helpers.add(row.name)
            return _Piece(f"{row.name}({', '.join(a.text for a in arguments)})", ATOM)
        return _Piece(_call_of(row).format(*(a.text for a in arguments)), ATOM)

    def _shortened(self, arguments: tuple[_Piece, ...]) -> tuple[_Piece, ...]:
        """The arguments, the longest of them on lines of their own until the rest fits into one."""
        pieces = list(arguments)
        while sum(len(piece.text) for piece in pieces) > _LINE:
            longest = max(range(len(pieces)), key=lambda k: len(pieces[k].text))
            name = f"part_{len(self.lines) + 1}"
            self.lines.append(f"{name} = {pieces[longest].text}")
            pieces[longest] = _Piece(name, ATOM)
        return tuple(pieces)


def _call_of(row: Operator) -> str:
    """Template of an operator's call.

    Raises:
        SourceError: the row computes what NumPy has no function for.
    """
    if row.name in _CALLS:
        return _CALLS[row.name]
    own = getattr(row, "definition", None)  # of an operator of one's own: the function that was given
    function = row.numpy if own is None else own.function
    name = str(getattr(function, "__name__", ""))
    if getattr(np, name, None) is not function:
        raise SourceError(f"operator {row.name!r} has no form in NumPy's source: take an equation without it.")
    return f"np.{name}({{0}}{', {1}' * (row.arity - 1)})"


def _number(value: float) -> _Piece:
    """A constant; what is not finite is written by name."""
    text = format_constant(value) if math.isfinite(value) else f"{'-' * (value < 0)}np.{abs(value)}"
    if text.startswith("-"):
        return _Piece(text, NEGATION, value, text[1:])
    return _Piece(text, ATOM, value)


def _sum(name: str, left: _Piece, right: _Piece) -> _Piece:
    """`a + b` or `a - b`; `a + -2*b` is written `a - 2*b`, which is the same number."""
    text, symbol = right.within(PRODUCT), "+" if name == "add" else "-"
    if right.opposite is not None and right.precedence >= PRODUCT:
        text, symbol = right.opposite, "-" if name == "add" else "+"
    return _Piece(f"{left.text} {symbol} {text}", SUM)


def _opposite(row: Operator, arguments: tuple[_Piece, ...]) -> str | None:
    """Text of the negative of a negation, or of a product that begins with a minus sign."""
    if row.name == "neg":
        return arguments[0].within(PRODUCT)
    if row.name in ("mul", "div") and arguments[0].opposite is not None and arguments[0].precedence >= PRODUCT:
        return (row.infix or "").format(arguments[0].opposite, arguments[1].within(row.operands[1]))
    return None


def _local_names(variables: Sequence[int], names: Sequence[str]) -> dict[int, str]:
    """A name that Python allows for every variable, no two alike."""
    result: dict[int, str] = {}
    for index in variables:
        plain = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", names[index]) is not None
        name = names[index] if plain and not keyword.iskeyword(names[index]) else f"x{index}"
        while name in _TAKEN or name in result.values() or re.fullmatch(r"part_[0-9]+", name):
            name += "_"
        result[index] = name
    return result


def _docstring(text: str) -> str:
    """A docstring that says `text`, whatever that is."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return '"""' + "\n".join(_visible(line) for line in escaped.split("\n")) + '\n"""'


def _visible(text: str) -> str:
    """The text with escapes in the place of all that is not printable."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _feature_list(features: Sequence[str]) -> str:
    whole = f"FEATURES = [{', '.join(map(repr, features))}]"
    if len(whole) <= _LINE:
        return whole
    return "\n".join(["FEATURES = [", *(f"    {feature!r}," for feature in features), "]"])


def _predict(writer: _Writer, piece: _Piece, names: dict[int, str], features: Sequence[str]) -> str:
    columns = []
    for index, name in names.items():
        comment = "" if features[index] == name else f"  # {features[index]!r}"
        columns.append(f"    {name} = X[:, {index}]{comment}")
    if piece.value is not None:
        result = [f"    return np.full(len(X), {piece.text}, dtype=float)"]
    else:
        lines = [f"        {line}" for line in writer.lines]
        result = ['    with np.errstate(all="ignore"):', *lines, f"        return np.array({piece.text})"]
    return "\n".join(
        [
            "def predict(X):",
            '    """Values of the equation.',
            "",
            "    Args:",
            "        X: one column for each of FEATURES, in their order; a DataFrame is read by these names.",
            "            [rows, len(FEATURES)]",
            "",
            "    Returns:",
            "        Values, not finite where the equation is not defined. [rows]",
            '    """',
            '    if set(FEATURES) <= set(getattr(X, "columns", ())):',
            "        X = X[FEATURES]",
            "    X = np.asarray(X, dtype=float)",
            "    if X.ndim != 2 or X.shape[1] != len(FEATURES):",
            '        raise ValueError(f"X has the shape {X.shape}, not [rows, {len(FEATURES)}]")',
            *columns,
            *result,
            "",
        ]
    )
