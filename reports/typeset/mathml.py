"""Formulas as MathML, which browsers set by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from expressions.expression import Expression
from foundation.terminal import printable
from reports.html_parts.escaping import escape
from reports.typeset.notation import (
    Call,
    Fence,
    Fraction,
    Name,
    Notation,
    Number,
    Power,
    Root,
    Row,
    name_of,
    notation,
)

__all__ = ["mathml"]


def mathml(
    expression: Expression,
    names: Sequence[str] | None = None,
    target: str | None = None,
    digits: int = 15,
    display: bool = True,
) -> str:
    """An equation as a `math` element, or as code where it is too large to be set.

    Args:
        expression: equation to set.
        names: names of the variables, any text; x0, x1, … when not given.
        target: name of what it is equal to, any text; None for the right side alone.
        digits: largest number of significant digits of a constant.
        display: whether it stands on a line of its own, with fractions of full size.
    """
    tree = notation(expression, names, digits)
    if tree is None:
        left = "" if target is None else f"{printable(target)} = "
        plain = expression.infix(None if names is None else [printable(name) for name in names])
        return f"<code>{escape(left + plain)}</code>"
    left = "" if target is None else f"{_drawn(name_of(target))}<mo>=</mo>"
    return f'<math display="{"block" if display else "inline"}"><mrow>{left}{_drawn(tree)}</mrow></math>'


def _drawn(part: Notation) -> str:
    match part:
        case Number(text, None):
            return f"<mn>{text}</mn>"
        case Number("1", exponent):
            return f"<msup><mn>10</mn><mn>{_minus(exponent)}</mn></msup>"
        case Number(text, exponent):
            power = f"<msup><mn>10</mn><mn>{_minus(exponent)}</mn></msup>"
            return f"<mrow><mn>{text}</mn><mo>·</mo>{power}</mrow>"
        case Name(text, index):
            name = f"<mi>{escape(text)}</mi>"
            kind = "mn" if index.isdecimal() else "mi"
            return f"<msub>{name}<{kind}>{index}</{kind}></msub>" if index else name
        case Row(parts):
            drawn = (_symbol(each) if isinstance(each, str) else _drawn(each) for each in parts)
            return f"<mrow>{''.join(drawn)}</mrow>"
        case Fraction(above, below):
            return f"<mfrac>{_drawn(above)}{_drawn(below)}</mfrac>"
        case Power(base, exponent_):
            return f"<msup>{_drawn(base)}{_drawn(exponent_)}</msup>"
        case Root(inside, ""):
            return f"<msqrt>{_drawn(inside)}</msqrt>"
        case Root(inside, degree):
            return f"<mroot>{_drawn(inside)}<mn>{degree}</mn></mroot>"
        case Fence(inside, left, right):
            return f'<mrow><mo fence="true">{left}</mo>{_drawn(inside)}<mo fence="true">{right}</mo></mrow>'
        case Call(function, arguments):
            separated = "<mo>,</mo>".join(map(_drawn, arguments))
            bracketed = separated if _is_magnitude(arguments) else f"<mo>(</mo>{separated}<mo>)</mo>"
            return f"<mrow><mi>{escape(function)}</mi><mo>&#x2061;</mo>{bracketed}</mrow>"
    raise TypeError(f"{type(part).__name__} is no notation")


def _symbol(text: str) -> str:
    return '<mspace width="0.17em"/>' if text == "\N{THIN SPACE}" else f"<mo>{text.strip()}</mo>"


def _is_magnitude(arguments: tuple[Notation, ...]) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], Fence)


def _minus(exponent: int | None) -> str:
    return str(exponent).replace("-", "\N{MINUS SIGN}")
