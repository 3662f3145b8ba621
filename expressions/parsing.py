"""Text to `Expression`: a small operator-precedence parser. An equation in a file is data, never code.

Grammar (loosest binding first; blanks, tabs and line ends separate and mean nothing):

    sum      = product (("+" | "-") product)*
    product  = signed (("*" | "/") signed)*
    signed   = ("-" | "+") signed | power
    power    = atom ["**" signed]                       right associative, binds tighter than a sign before it
    atom     = number | name | name "(" sum ("," sum)* ")" | "(" sum ")"
    number   = digits with an optional point and exponent, as in 3, 0.5, .5, 2., 1e-3
    name     = [A-Za-z_][A-Za-z0-9_]*

A name before a bracket is an operator of the table; any other name is a variable, else `pi` or `e`.
Integer literals choose the cheap rows: `x**2` to `x**10` are `square` to `pow10` (`x**2.0` and `x**11` are `pow`),
`1/x` is `inv(x)`. A minus sign before a number that is not raised to a power belongs to the number.

The method is the two-stack one (Dijkstra's "shunting yard", Mathematisch Centrum MR 35, 1961) with stacks of
our own instead of recursion, so that neither a long sum nor deep brackets can exhaust the interpreter's stack;
time and memory are linear in the length of the text, which is bounded, as is the size of what it may mean
(`expressions.limits`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from expressions.expression import Expression
from expressions.limits import MAX_DEPTH, MAX_TEXT, MAX_TOKENS
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, OPERATORS, POWER_ROWS, TOKEN
from foundation.errors import UserError, near

__all__ = ["MAX_NESTING", "ParseError", "parse", "too_large"]

MAX_NESTING = MAX_DEPTH  # brackets, signs and powers that are open at once
_MAX_VARIABLE = 2**15 - 1 - FIRST_VARIABLE  # tokens are 16-bit integers

_NAMED_CONSTANTS = {"pi": math.pi, "e": math.e}
_BINARY = {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow"}
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "negate": 3, "**": 4}
_OTHER_SPELLINGS = {spelling: row.name for row in OPERATORS for spelling in row.spellings}

# Only ASCII: `\d`, `\w` and `\s` would let look-alikes of other scripts through.
_LEXEME = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol>\*\*|[-+*/(),])"
)


class ParseError(UserError):
    """Text that is not an equation of the grammar.

    Attributes:
        position: place of the mistake, counted in characters from 1.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class _Lexeme(NamedTuple):
    kind: str  # number, name, symbol or end
    text: str
    position: int  # from 1


class _Node(NamedTuple):
    token: int
    children: tuple[int, ...] = ()
    value: float = 0.0  # of a constant
    integer: bool = False  # a constant that was written as an unsigned integer


class _Open(NamedTuple):
    """An operator that waits for its right operand, or a bracket that waits to be closed."""

    kind: str  # key of _STRENGTH, "(" or "call"
    lexeme: _Lexeme
    arguments: int = 0  # nodes that were there when a call's bracket opened


def parse(text: str, names: Sequence[str] | None = None) -> Expression:
    """Read an equation.

    Args:
        text: one expression of the grammar above, within the limits of `expressions.limits`.
        names: names of the variables, in the order of the table's columns; `x0`, `x1`, … when not given. A name
            hides `pi`, `e` and operators of the same spelling (the latter except before a bracket).

    Returns:
        The expression exactly as written: nothing is simplified or reordered.

    Raises:
        ParseError: the text is outside the grammar, or it or the equation is too large, a name is unknown, a call
            has the wrong number of arguments, a number is not finite.
    """
    if not isinstance(text, str):
        raise ParseError(f"an equation is text, not {type(text).__name__}", 1)
    if len(text) > MAX_TEXT:
        raise ParseError(f"the equation has {len(text):,} characters; at most {MAX_TEXT:,} are allowed", 1)
    expression = _Parser(text, names).run()
    if reason := too_large(expression):
        raise ParseError(reason, 1)
    return expression


def too_large(expression: Expression) -> str:
    """The reason why an equation is not taken from a file or a person, in a few words; empty where it is."""
    size, depth = len(expression), expression.depth
    if size > MAX_TOKENS:
        return f"the equation has {size:,} operators, variables and numbers; at most {MAX_TOKENS:,} are allowed"
    if depth > MAX_DEPTH:
        return f"the equation has {depth:,} operators inside each other; at most {MAX_DEPTH} are allowed"
    return ""


class _Parser:
    def __init__(self, text: str, names: Sequence[str] | None) -> None:
        self.lexemes = list(_lexemes(text))
        self.variables = None if names is None else _index_names(names)
        self.nodes: list[_Node] = []
        self.operands: list[int] = []  # indices into nodes
        self.waiting: list[_Open] = []
        self.nesting = 0

    def run(self) -> Expression:
        if len(self.lexemes) == 1:
            raise ParseError("the equation is empty", 1)
        k = 0
        while True:
            k = self._operand(k)
            k = self._after_operand(k)
            if k == len(self.lexemes):
                return self._prefix(self.operands[0])

    # --- reading ----------------------------------------------------------------------------------------------

    def _operand(self, k: int) -> int:
        """Read signs, opening brackets and calls up to and including one leaf; return the next index."""
        while True:
            lexeme = self.lexemes[k]
            k += 1
            if lexeme.kind == "number":
                self._leaf(_number(lexeme))
                return k
            if lexeme.kind == "name":
                if self.lexemes[k].text != "(":
                    self._leaf(self._name(lexeme))
                    return k
                self._open_call(lexeme)
                k += 1
            elif lexeme.text == "(":
                self._open(_Open("(", lexeme))
            elif lexeme.text == "-":
                if self.lexemes[k].kind == "number" and self.lexemes[k + 1].text != "**":
                    number = _number(self.lexemes[k])
                    self._leaf(number._replace(value=-number.value, integer=False))
                    return k + 1
                self._open(_Open("negate", lexeme))
            elif lexeme.text != "+":
                raise _unexpected(lexeme, "a number, a name or a bracket")

    def _after_operand(self, k: int) -> int:
        """Read closing brackets up to and including an infix symbol or comma; return the next index."""
        while True:
            lexeme = self.lexemes[k]
            k += 1
            if lexeme.kind == "symbol" and lexeme.text in _BINARY:
                self._infix(lexeme)
                return k
            if lexeme.text == ",":
                self._reduce(0)
                if not self.waiting or self.waiting[-1].kind != "call":
                    raise _unexpected(lexeme, "an operator")
                return k
            if lexeme.text == ")":
                self._close(lexeme)
            elif lexeme.kind == "end":
                self._reduce(0)
                if self.waiting:
                    bracket = self.waiting[-1].lexeme
                    raise ParseError(f"the bracket at character {bracket.position} is not closed", lexeme.position)
                return k
            else:
                raise _unexpected(lexeme, "an operator (a product is written with *)")

    def _infix(self, lexeme: _Lexeme) -> None:
        if lexeme.text == "**":  # right associative: an earlier ** waits for this one
            self._reduce(_STRENGTH["**"] + 1)
            self._open(_Open("**", lexeme))
        else:
            self._reduce(_STRENGTH[lexeme.text])
            self.waiting.append(_Open(lexeme.text, lexeme))

    def _open_call(self, lexeme: _Lexeme) -> None:
        if lexeme.text not in TOKEN:
            spelling = _OTHER_SPELLINGS.get(lexeme.text)
            if self._variable(lexeme.text) is not None:
                hint = "it is a variable, and a product is written with *"
            else:
                hint = f"did you mean {spelling}?" if spelling else near(lexeme.text[:40], TOKEN)
            raise ParseError(f"unknown function {_show(lexeme)}; {hint}", lexeme.position)
        self._open(_Open("call", lexeme, len(self.operands)))

    def _open(self, item: _Open) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise ParseError(
                f"more than {MAX_NESTING} brackets, signs and powers inside each other at {_show(item.lexeme)}",
                item.lexeme.position,
            )
        self.waiting.append(item)

    def _close(self, lexeme: _Lexeme) -> None:
        self._reduce(0)
        if not self.waiting:
            raise ParseError(f"the bracket at character {lexeme.position} closes nothing", lexeme.position)
        item = self.waiting.pop()
        self.nesting -= 1
        if item.kind == "call":
            self._call(item)

    # --- building ---------------------------------------------------------------------------------------------

    def _leaf(self, node: _Node) -> None:
        self.nodes.append(node)
        self.operands.append(len(self.nodes) - 1)

    def _reduce(self, strength: int) -> None:
        """Apply the waiting operators that bind at least as strongly, back to the last open bracket."""
        while self.waiting and _STRENGTH.get(self.waiting[-1].kind, -1) >= strength:
            kind = self.waiting.pop().kind
            if kind in ("negate", "**"):
                self.nesting -= 1
            right = self.operands.pop()
            if kind == "negate":
                self._leaf(_Node(TOKEN["neg"], (right,)))
            else:
                self._leaf(self._binary(kind, self.operands.pop(), right))

    def _binary(self, symbol: str, left: int, right: int) -> _Node:
        if symbol == "**" and self.nodes[right].integer and self.nodes[right].value in POWER_ROWS:
            return _Node(TOKEN[POWER_ROWS[int(self.nodes[right].value)]], (left,))
        if symbol == "/" and self.nodes[left].integer and self.nodes[left].value == 1.0:
            return _Node(TOKEN["inv"], (right,))
        return _Node(TOKEN[_BINARY[symbol]], (left, right))

    def _call(self, item: _Open) -> None:
        name = item.lexeme.text
        arguments = self.operands[item.arguments :]
        if len(arguments) != BY_NAME[name].arity:
            raise ParseError(
                f"{_show(item.lexeme)} was given {len(arguments)} arguments; it takes {BY_NAME[name].arity}",
                item.lexeme.position,
            )
        del self.operands[item.arguments :]
        self._leaf(_Node(TOKEN[name], tuple(arguments)))

    def _name(self, lexeme: _Lexeme) -> _Node:
        index = self._variable(lexeme.text)
        if index is not None:
            return _Node(FIRST_VARIABLE + index)
        if lexeme.text in _NAMED_CONSTANTS:
            return _Node(CONSTANT, value=_NAMED_CONSTANTS[lexeme.text])
        if lexeme.text in TOKEN:
            raise ParseError(f"{_show(lexeme)} is a function and needs its arguments in brackets", lexeme.position)
        if self.variables is None:
            hint = "variables are called x0, x1, x2, …"
        else:
            hint = near(lexeme.text[:40], list(self.variables)) if self.variables else "there are no variables"
        raise ParseError(f"unknown name {_show(lexeme)}; {hint}", lexeme.position)

    def _variable(self, name: str) -> int | None:
        if self.variables is not None:
            return self.variables.get(name)
        digits = name[1:]
        if name[0] != "x" or not digits.isdecimal() or len(digits) > 5 or str(int(digits)) != digits:
            return None
        return int(digits) if int(digits) <= _MAX_VARIABLE else None

    def _prefix(self, root: int) -> Expression:
        tokens: list[int] = []
        constants: list[float] = []
        work = [root]
        while work:
            node = self.nodes[work.pop()]
            tokens.append(node.token)
            if node.token == CONSTANT:
                constants.append(node.value)
            work.extend(reversed(node.children))
        return Expression(tokens, constants)


def _lexemes(text: str) -> Iterator[_Lexeme]:
    """Split the text; the last lexeme is always the end."""
    start = 0
    while start < len(text):
        match = _LEXEME.match(text, start)
        if match is None:
            raise _stray_character(text[start], start + 1)
        if match.lastgroup != "space":
            yield _Lexeme(str(match.lastgroup), match.group(), start + 1)
        start = match.end()
    yield _Lexeme("end", "", len(text) + 1)


def _stray_character(character: str, position: int) -> ParseError:
    code = "" if character.isascii() and character.isprintable() else f", U+{ord(character):04X},"
    hint = "; a power is written with **" if character == "^" else ""
    return ParseError(
        f"{ascii(character) if code else repr(character)}{code} at character {position} "
        f"is not part of an equation{hint}",
        position,
    )


def _number(lexeme: _Lexeme) -> _Node:
    value = float(lexeme.text)
    if not math.isfinite(value):
        raise ParseError(f"the number {_show(lexeme)} is beyond the range of float64", lexeme.position)
    return _Node(CONSTANT, value=value, integer=lexeme.text.isdecimal())


def _index_names(names: Sequence[str]) -> dict[str, int]:
    variables: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in variables:
            raise ParseError(f"two variables are called {name!r}; names must differ", 1)
        variables[name] = index
    return variables


def _unexpected(lexeme: _Lexeme, wanted: str) -> ParseError:
    found = "the equation ends" if lexeme.kind == "end" else f"found {_show(lexeme)}"
    return ParseError(f"{found} where {wanted} was expected", lexeme.position)


def _show(lexeme: _Lexeme) -> str:
    text = lexeme.text if len(lexeme.text) <= 24 else lexeme.text[:21] + "..."
    return f"{text!r} at character {lexeme.position}"
