"""An expression as people write it: sums with signs, products over a fraction bar, powers, roots, brackets.

The tree says what is set, and not how: `reports.typeset.mathml` and `reports.typeset.terminal` draw it. It is for
the eye: products are reordered (numbers first), and factors of nested fractions collected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, POWER_ROWS, Operator
from expressions.printing import variable_name
from foundation.terminal import printable

__all__ = [
    "SIGNS", "Call", "Fence", "Fraction", "Name", "Notation", "Number", "Power", "Root", "Row",
    "name_of", "notation",
]  # fmt: skip

_LARGEST = 400
"""Tokens of the largest expression that is set: nobody reads a larger one."""
_DEEPEST = 60

_MINUS = "\N{MINUS SIGN}"
SIGNS = (" + ", f" {_MINUS} ")
"""Symbols between the terms of a sum, for a term that is added and for one that is subtracted."""
_GREEK_NAMES = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
    "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega",
)  # fmt: skip
_GREEK = dict(zip(_GREEK_NAMES, "αβγδεζηθικλμνξοπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", strict=True))
_FUNCTIONS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "log10": "log₁₀", "safe_div": "sdiv"}
_POWER_OF = {name: exponent for exponent, name in POWER_ROWS.items()}


@dataclass(frozen=True)
class Number:
    """A number that is not negative: decimal digits, and a power of ten where there is one."""

    text: str
    exponent: int | None = None


@dataclass(frozen=True)
class Name:
    """A name, and its index or nothing."""

    text: str
    index: str = ""


@dataclass(frozen=True)
class Row:
    """Things side by side; a text is a symbol between them: `+`, `−`, `·`, or a thin space between factors."""

    parts: tuple[Notation | str, ...]


@dataclass(frozen=True)
class Fraction:
    """One thing over another."""

    above: Notation
    below: Notation


@dataclass(frozen=True)
class Power:
    """A base with its exponent."""

    base: Notation
    exponent: Notation


@dataclass(frozen=True)
class Root:
    """A root; `degree` is empty for a square root."""

    inside: Notation
    degree: str = ""


@dataclass(frozen=True)
class Fence:
    """Brackets, or the bars of a magnitude, around something."""

    inside: Notation
    left: str = "("
    right: str = ")"


@dataclass(frozen=True)
class Call:
    """A function of one or more things."""

    function: str
    arguments: tuple[Notation, ...]


Notation = Number | Name | Row | Fraction | Power | Root | Fence | Call


def notation(expression: Expression, names: Sequence[str] | None = None, digits: int = 15) -> Notation | None:
    """The tree to set.

    Args:
        expression: equation to set.
        names: names of the variables, any text; x0, x1, … when not given.
        digits: largest number of significant digits of a constant.

    Returns:
        The tree; None for an expression too large to be read as a formula.
    """
    if len(expression) > _LARGEST or expression.depth > _DEEPEST:
        return None

    def leaf(token: int, value: float) -> _Product:
        if token == CONSTANT:
            return _Product((_number(abs(value), digits),), negative=math.copysign(1.0, value) < 0)
        return _Product((set_names[token - FIRST_VARIABLE],))

    def combine(row: Operator, *arguments: _Part) -> _Part:
        if row.name == "exp" and not e_is_taken:
            return _Product((Power(Name("e"), _set(arguments[0])),))
        return _combined(row, *arguments)

    e_is_taken = names is not None and "e" in names
    set_names = _set_names({index: variable_name(index, names) for index in expression.variables})
    return _set(expression.fold(leaf, combine))


def name_of(name: str) -> Name:
    """A name as it is set: a Greek letter for its name, and what follows a single letter and `_` as its index."""
    found = re.fullmatch(r"([A-Za-z]+?)(?:_?([0-9]*)|_([A-Za-z0-9]{1,4}))_?", name)
    if found is None:
        return Name(printable(name))
    stem = _GREEK.get(found[1], found[1])
    return Name(stem, found[2] or found[3] or "") if len(stem) == 1 else Name(name)


def _set_names(names: dict[int, str]) -> dict[int, Name]:
    """All names as they are set; plain ones where two would look alike, such as `x1` and `x_1`."""
    found = {index: name_of(name) for index, name in names.items()}
    if len(set(found.values())) == len(found):
        return found
    return {index: Name(printable(name)) for index, name in names.items()}


# --- what is set: a sum of products --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Product:
    """A product of things over a product of things."""

    above: tuple[Notation, ...]
    below: tuple[Notation, ...] = ()
    negative: bool = False


@dataclass(frozen=True)
class _Sum:
    terms: tuple[_Product, ...]


_Part = _Product | _Sum


def _combined(row: Operator, *arguments: _Part) -> _Part:
    first, second = arguments[0], arguments[-1]
    if row.name in ("add", "sub"):
        return _Sum((*_terms(first), *(_terms(second) if row.name == "add" else map(_opposite, _terms(second)))))
    if row.name == "neg":
        return _opposite(_factors(first))
    if row.name == "mul":
        return _times(_factors(first), _factors(second))
    if row.name == "div":
        return _times(_factors(first), _inverse(_factors(second)))
    if row.name == "inv":
        return _inverse(_factors(first))
    if row.name in _POWER_OF:
        return _power(first, str(_POWER_OF[row.name]))
    if row.name == "pow":
        return _general_power(first, second)
    return _Product((_function(row, [_set(argument) for argument in arguments]),))


def _terms(part: _Part) -> tuple[_Product, ...]:
    return part.terms if isinstance(part, _Sum) else (part,)


def _factors(part: _Part) -> _Product:
    return _Product((Fence(_set(part)),)) if isinstance(part, _Sum) else part


def _opposite(product: _Product) -> _Product:
    return _Product(product.above, product.below, not product.negative)


def _inverse(product: _Product) -> _Product:
    return _Product(product.below, product.above, product.negative)


def _times(first: _Product, second: _Product) -> _Product:
    return _Product(first.above + second.above, first.below + second.below, first.negative != second.negative)


def _power(base: _Part, exponent: str) -> _Product:
    return _Product((Power(_atom(base), Number(exponent)),))


def _general_power(base: _Part, exponent: _Part) -> _Product:
    """A power; a square root for the exponent 1/2, and below the fraction bar for a negative number."""
    number = exponent.above[0] if isinstance(exponent, _Product) and len(exponent.above) == 1 else None
    if isinstance(exponent, _Product) and isinstance(number, Number) and not exponent.below:
        if number == Number("0.5"):
            found: Notation = Root(_set(base))
        elif number == Number("1") and isinstance(base, _Product):
            return _inverse(base) if exponent.negative else base
        else:
            found = Power(_atom(base), number)
        return _Product((), (found,)) if exponent.negative else _Product((found,))
    return _Product((Power(_atom(base), _set(exponent)),))


def _function(row: Operator, arguments: list[Notation]) -> Notation:
    inside = arguments[0]
    if row.name in ("sqrt", "cbrt"):
        return Root(inside, "3" if row.name == "cbrt" else "")
    magnitude = Fence(inside, "|", "|")
    if row.name == "abs":
        return magnitude
    if row.name == "safe_sqrt":
        return Root(magnitude)
    if row.name == "safe_log":
        return Call("log", (magnitude,))
    return Call(_FUNCTIONS.get(row.name, row.name), tuple(arguments))


def _atom(part: _Part) -> Notation:
    """The base of a power, in brackets where it needs them."""
    if isinstance(part, _Product) and len(part.above) == 1 and not part.below and not part.negative:
        only = part.above[0]
        plain = isinstance(only, Name | Fence | Call) or (isinstance(only, Number) and only.exponent is None)
        return only if plain else Fence(only)
    return Fence(_set(part))


def _set(part: _Part) -> Notation:
    """The tree of a sum or a product."""
    if isinstance(part, _Product):
        return _set_product(part)
    parts: list[Notation | str] = []
    for k, term in enumerate(part.terms):
        if k:
            parts.append(SIGNS[term.negative])
            term = _Product(term.above, term.below)
        parts.append(_set_product(term))
    return Row(tuple(parts))


def _set_product(product: _Product) -> Notation:
    above = _set_factors(product.above)
    inside = Fraction(_bare(above), _bare(_set_factors(product.below))) if product.below else above
    return Row((_MINUS, inside)) if product.negative else inside


def _bare(found: Notation) -> Notation:
    """Without brackets, which a fraction bar makes needless."""
    return found.inside if isinstance(found, Fence) and found.left == "(" else found


def _set_factors(factors: tuple[Notation, ...]) -> Notation:
    """Factors side by side, numbers first, a 1 only where nothing else is."""
    numbers = [factor for factor in factors if isinstance(factor, Number) and factor != Number("1")]
    others = [factor for factor in factors if not isinstance(factor, Number)]
    ordered = [*numbers, *others]
    if len(ordered) < 2:
        return ordered[0] if ordered else Number("1")
    parts: list[Notation | str] = [ordered[0]]
    for before, factor in pairwise(ordered):
        digits_meet = isinstance(before, Number) and _begins_with_number(factor)
        parts += [" · " if digits_meet else "\N{THIN SPACE}", factor]
    return Row(tuple(parts))


def _begins_with_number(part: Notation) -> bool:
    return isinstance(part, Number) or (isinstance(part, Power) and isinstance(part.base, Number))


def _number(value: float, digits: int) -> Number:
    """A number with so many significant digits at most, trailing zeros left out."""
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    mantissa, exponent = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa, int(power)
    significant = len(mantissa.replace(".", ""))
    if -5 < exponent < 6 or 0 <= exponent < significant:
        return Number(f"{value:.{max(0, significant - 1 - exponent)}f}")
    return Number(mantissa, exponent)
