"""The operator table: one row an operator, read by everything that knows about operators.

The parser, printer, evaluator, differentiator, sampler, tokenizer and tests all read `OPERATORS`; adding an
operator is adding a row. A row states what is *computed*, in plain IEEE arithmetic: a result that is not finite
is not finite, and the expression is invalid on that row. The protected operators of the papers (safe division,
square root and logarithm of the magnitude) are rows of their own under names of their own.

Tokens are small integers: `CONSTANT` is 0, operator `k` of the table is `k + 1`, and variable `j` is
`FIRST_VARIABLE + j`. Programs lie in files by these numbers, so they never change: rows are only ever
appended, and variables are numbered from a fixed place far behind them (see `expressions.numbering`).

A program may append rows of its own while it runs (`append`, see `expressions.own_operators`). Whoever needs a
list by token for speed asks `by_token` for one that grows with the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from expressions.error_function import erf, erfinv
from expressions.operator_row import ATOM, FAMILIES, NEGATION, POWER, PRODUCT, SUM, Operator

Array = Any  # a NumPy array or a torch tensor: a row's formulas serve both
Entry = TypeVar("Entry")

LEADING = (*FAMILIES[:2], "both", *FAMILIES[2:])
"""Answers of `leading_family`."""


# --- values that take more than one ufunc -----------------------------------------------------------------------


def _cube(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.multiply(a, a, out)
    return np.multiply(out, a, out)


def _pow4(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.multiply(a, a, out)
    return np.multiply(out, out, out)


def _pow5(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    _pow4(a, out)
    return np.multiply(out, a, out)


def _pow6(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    _cube(a, out)
    return np.multiply(out, out, out)


def _pow7(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    _pow6(a, out)
    return np.multiply(out, a, out)


def _pow8(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    _pow4(a, out)
    return np.multiply(out, out, out)


def _pow9(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    cube = _cube(a, np.empty_like(out))
    np.multiply(cube, cube, out)
    return np.multiply(out, cube, out)


def _pow10(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    _pow5(a, out)
    return np.multiply(out, out, out)


def _inv(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    return np.divide(1.0, a, out)  # np.reciprocal differs from 1/x on some builds


def _safe_div(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.divide(a, b, out)
    out[np.broadcast_to(np.equal(b, 0.0), out.shape)] = 1.0
    return out


def _safe_sqrt(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.absolute(a, out)
    return np.sqrt(out, out)


def _safe_log(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    np.absolute(a, out)
    np.log(out, out)
    out[np.broadcast_to(np.equal(a, 0.0), out.shape)] = 0.0
    return out


# A gradient of 0 times an infinite one is not 0, so the branch that is not taken must not be infinite either.


def _torch_safe_div(t: ModuleType, a: Any, b: Any) -> Any:
    ratio = a / t.where(b == 0, t.ones_like(b), b)
    return t.where(b == 0, t.ones_like(ratio), ratio)


def _torch_safe_log(t: ModuleType, a: Any) -> Any:
    size = t.abs(t.where(a == 0, t.ones_like(a), a))
    return t.log(size)  # that of 1 is 0


def _pow_partials(xp: ModuleType, f: Array, a: Array, b: Array) -> tuple[Array, Array]:
    # d/da = b a^(b-1), written so that a = 0 gives 0 or inf as the limit does; d/db = a^b log a, 0 at a = 0.
    positive = xp.where(a > 0, a, xp.ones_like(a))
    by_exponent = xp.where(a > 0, f * xp.log(positive), xp.zeros_like(f))
    return b * a ** (b - 1.0), by_exponent


# --- SymPy forms that take more than one call -------------------------------------------------------------------


def _sympy_safe_div(sp: ModuleType, a: Any, b: Any) -> Any:
    return sp.Piecewise((a / b, sp.Ne(b, 0)), (sp.Integer(1), True))


def _sympy_safe_log(sp: ModuleType, a: Any) -> Any:
    return sp.Piecewise((sp.log(sp.Abs(a)), sp.Ne(a, 0)), (sp.Integer(0), True))


@cache
def _sympy_cube_root(sp: ModuleType) -> Any:
    """A function class of the real cube root: SymPy's own `cbrt` is complex for negative arguments."""

    class cbrt(sp.Function):  # type: ignore[name-defined, misc]  # noqa: N801  called as SymPy calls its functions
        @classmethod
        def eval(cls, a: Any) -> Any:
            return sp.real_root(a, 3) if a.is_number and a.is_extended_real else None

        def fdiff(self, argindex: int = 1) -> Any:
            return 1 / (3 * self**2)

        def _eval_is_extended_real(self) -> Any:
            return self.args[0].is_extended_real

    return cbrt


def _sympy_cbrt(sp: ModuleType, a: Any) -> Any:
    return _sympy_cube_root(sp)(a)


def _sympy_power(exponent: int) -> Callable[..., Any]:
    return lambda sp, a: sp.Pow(a, sp.Integer(exponent))


SHIPPED: tuple[Operator, ...] = (
    # binary
    Operator(
        name="add", arity=2, infix="{0} + {1}", precedence=SUM, commutative=True, complexity=1,
        operands=(SUM, PRODUCT), latex_operands=(SUM, SUM), total=True, sampled=4.0,
        numpy=np.add, torch=lambda t, a, b: a + b,
        partials=lambda xp, f, a, b: (1.0, 1.0),
        sympy=lambda sp, a, b: sp.Add(a, b), latex="{0} + {1}",
    ),
    Operator(
        name="sub", arity=2, infix="{0} - {1}", precedence=SUM, complexity=3,
        operands=(SUM, PRODUCT), latex_operands=(SUM, PRODUCT), total=True, sampled=2.0,
        numpy=np.subtract, torch=lambda t, a, b: a - b,
        partials=lambda xp, f, a, b: (1.0, -1.0),
        sympy=lambda sp, a, b: sp.Add(a, sp.Mul(sp.Integer(-1), b)), latex="{0} - {1}",
    ),
    Operator(
        name="mul", arity=2, infix="{0}*{1}", precedence=PRODUCT, commutative=True, complexity=1,
        operands=(PRODUCT, NEGATION), latex_operands=(PRODUCT, PRODUCT), total=True, sampled=6.0,
        numpy=np.multiply, torch=lambda t, a, b: a * b,
        partials=lambda xp, f, a, b: (b, a),
        sympy=lambda sp, a, b: sp.Mul(a, b), latex=r"{0} \, {1}",
    ),
    Operator(
        name="div", arity=2, infix="{0}/{1}", precedence=PRODUCT, complexity=3,
        operands=(PRODUCT, NEGATION), family="rational", sampled=2.0,
        numpy=np.divide, torch=lambda t, a, b: a / b,
        partials=lambda xp, f, a, b: (1.0 / b, -f / b),
        sympy=lambda sp, a, b: sp.Mul(a, sp.Pow(b, sp.Integer(-1))), latex=r"\frac{{{0}}}{{{1}}}",
    ),
    Operator(
        name="pow", arity=2, infix="{0}**{1}", precedence=POWER, complexity=1,
        operands=(ATOM, POWER), latex_operands=(ATOM, SUM), family="root", spellings=("power",),
        numpy=np.power, torch=lambda t, a, b: t.pow(a, b),
        partials=_pow_partials,
        sympy=lambda sp, a, b: sp.Pow(a, b), latex="{0}^{{{1}}}",
    ),
    Operator(
        name="max", arity=2, commutative=True, complexity=1,
        total=True, family="root", spellings=("Max",),
        numpy=lambda a, b, out: np.maximum(a, b, out=out), torch=lambda t, a, b: t.maximum(a, b),
        partials=lambda xp, f, a, b: ((a >= b) * 1.0, (a < b) * 1.0),
        sympy=lambda sp, a, b: sp.Max(a, b), latex=r"\max\left({0}, {1}\right)",
    ),
    Operator(
        name="min", arity=2, commutative=True, complexity=1,
        total=True, family="root", spellings=("Min",),
        numpy=lambda a, b, out: np.minimum(a, b, out=out), torch=lambda t, a, b: t.minimum(a, b),
        partials=lambda xp, f, a, b: ((a <= b) * 1.0, (a > b) * 1.0),
        sympy=lambda sp, a, b: sp.Min(a, b), latex=r"\min\left({0}, {1}\right)",
    ),
    # unary, algebraic
    Operator(
        name="neg", arity=1, infix="-{0}", precedence=NEGATION, complexity=2,
        operands=(POWER,), latex_operands=(PRODUCT,), odd=True, inverse="neg", analytic=True, total=True,
        passes="all", sampled=0.25,
        numpy=np.negative, torch=lambda t, a: -a,
        partials=lambda xp, f, a: (-1.0,),
        sympy=lambda sp, a: sp.Mul(sp.Integer(-1), a), latex="-{0}",
    ),
    Operator(
        name="inv", arity=1, infix="1/{0}", precedence=PRODUCT, complexity=2,
        operands=(NEGATION,), latex_precedence=PRODUCT, odd=True, inverse="inv", analytic=True, passes="all",
        family="rational", sampled=0.5,
        numpy=_inv, torch=lambda t, a: 1.0 / a,
        partials=lambda xp, f, a: (-f * f,),
        sympy=lambda sp, a: sp.Pow(a, sp.Integer(-1)), latex=r"\frac{{1}}{{{0}}}",
    ),
    Operator(
        name="square", arity=1, infix="{0}**2", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), even=True, inverse="sqrt", analytic=True, total=True,
        non_negative=True, passes="all", sampled=1.0,
        numpy=lambda a, out: np.multiply(a, a, out), torch=lambda t, a: a * a,
        partials=lambda xp, f, a: (2.0 * a,),
        sympy=_sympy_power(2), latex="{0}^{{2}}",
    ),
    Operator(
        name="cube", arity=1, infix="{0}**3", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), odd=True, inverse="cbrt", analytic=True, total=True,
        passes="all", sampled=0.25,
        numpy=_cube, torch=lambda t, a: a * a * a,
        partials=lambda xp, f, a: (3.0 * a * a,),
        sympy=_sympy_power(3), latex="{0}^{{3}}",
    ),
    Operator(
        name="pow4", arity=1, infix="{0}**4", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), even=True, inverse=lambda v: np.sqrt(np.sqrt(v)),
        analytic=True, total=True, non_negative=True, passes="all",
        numpy=_pow4, torch=lambda t, a: (a * a) * (a * a),
        partials=lambda xp, f, a: (4.0 * a * a * a,),
        sympy=_sympy_power(4), latex="{0}^{{4}}",
    ),
    Operator(
        name="pow5", arity=1, infix="{0}**5", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), odd=True,
        inverse=lambda v: np.copysign(np.absolute(v) ** 0.2, v), analytic=True, total=True, passes="all",
        numpy=_pow5, torch=lambda t, a: (a * a) * (a * a) * a,
        partials=lambda xp, f, a: (5.0 * (a * a) * (a * a),),
        sympy=_sympy_power(5), latex="{0}^{{5}}",
    ),
    Operator(
        name="pow6", arity=1, infix="{0}**6", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), even=True, inverse=lambda v: np.cbrt(np.sqrt(v)),
        analytic=True, total=True, non_negative=True, passes="all",
        numpy=_pow6, torch=lambda t, a: (a * a * a) * (a * a * a),
        partials=lambda xp, f, a: (6.0 * (a * a) * (a * a) * a,),
        sympy=_sympy_power(6), latex="{0}^{{6}}",
    ),
    Operator(
        name="sqrt", arity=1, complexity=2,
        inverse="square", non_negative=True, passes="positive", family="root", sampled=0.75,
        numpy=np.sqrt, torch=lambda t, a: t.sqrt(a),
        partials=lambda xp, f, a: (0.5 / f,),
        sympy=lambda sp, a: sp.sqrt(a), latex=r"\sqrt{{{0}}}",
    ),
    Operator(
        name="abs", arity=1, complexity=1,
        even=True, total=True, non_negative=True, passes="all", family="root", spellings=("Abs", "fabs"),
        numpy=np.absolute, torch=lambda t, a: t.abs(a),
        partials=lambda xp, f, a: (xp.sign(a),),
        sympy=lambda sp, a: sp.Abs(a), latex=r"\left|{0}\right|",
    ),
    # unary, transcendental
    Operator(
        name="exp", arity=1, complexity=1,
        latex_precedence=POWER, inverse="log", analytic=True, total=True, non_negative=True,
        family="exp or log", sampled=0.75,
        numpy=np.exp, torch=lambda t, a: t.exp(a),
        partials=lambda xp, f, a: (f,),
        sympy=lambda sp, a: sp.exp(a), latex="e^{{{0}}}",
    ),
    Operator(
        name="log", arity=1, complexity=1,
        inverse="exp", family="exp or log", spellings=("ln",), sampled=0.5,
        numpy=np.log, torch=lambda t, a: t.log(a),
        partials=lambda xp, f, a: (1.0 / a,),
        sympy=lambda sp, a: sp.log(a), latex=r"\log\left({0}\right)",
    ),
    Operator(
        name="sin", arity=1, complexity=1,
        odd=True, analytic=True, total=True, wave=True, family="trigonometric", sampled=0.75,
        numpy=np.sin, torch=lambda t, a: t.sin(a),
        partials=lambda xp, f, a: (xp.cos(a),),
        sympy=lambda sp, a: sp.sin(a), latex=r"\sin\left({0}\right)",
    ),
    Operator(
        name="cos", arity=1, complexity=1,
        even=True, analytic=True, total=True, wave=True, family="trigonometric", sampled=0.75,
        numpy=np.cos, torch=lambda t, a: t.cos(a),
        partials=lambda xp, f, a: (-xp.sin(a),),
        sympy=lambda sp, a: sp.cos(a), latex=r"\cos\left({0}\right)",
    ),
    Operator(
        name="tan", arity=1, complexity=1,
        odd=True, analytic=True, family="trigonometric",
        numpy=np.tan, torch=lambda t, a: t.tan(a),
        partials=lambda xp, f, a: (1.0 + f * f,),
        sympy=lambda sp, a: sp.tan(a), latex=r"\tan\left({0}\right)",
    ),
    Operator(
        name="asin", arity=1, complexity=1,
        odd=True, inverse="sin", family="trigonometric", spellings=("arcsin",),
        numpy=np.arcsin, torch=lambda t, a: t.asin(a),
        partials=lambda xp, f, a: (1.0 / xp.sqrt(1.0 - a * a),),
        sympy=lambda sp, a: sp.asin(a), latex=r"\arcsin\left({0}\right)",
    ),
    Operator(
        name="acos", arity=1, complexity=1,
        inverse="cos", non_negative=True, family="trigonometric", spellings=("arccos",),
        numpy=np.arccos, torch=lambda t, a: t.acos(a),
        partials=lambda xp, f, a: (-1.0 / xp.sqrt(1.0 - a * a),),
        sympy=lambda sp, a: sp.acos(a), latex=r"\arccos\left({0}\right)",
    ),
    Operator(
        name="atan", arity=1, complexity=1,
        odd=True, inverse="tan", analytic=True, total=True, family="trigonometric", spellings=("arctan",),
        numpy=np.arctan, torch=lambda t, a: t.atan(a),
        partials=lambda xp, f, a: (1.0 / (1.0 + a * a),),
        sympy=lambda sp, a: sp.atan(a), latex=r"\arctan\left({0}\right)",
    ),
    Operator(
        name="sinh", arity=1, complexity=1,
        odd=True, inverse=np.arcsinh, analytic=True, total=True, family="exp or log",
        numpy=np.sinh, torch=lambda t, a: t.sinh(a),
        partials=lambda xp, f, a: (xp.cosh(a),),
        sympy=lambda sp, a: sp.sinh(a), latex=r"\sinh\left({0}\right)",
    ),
    Operator(
        name="cosh", arity=1, complexity=1,
        even=True, inverse=np.arccosh, analytic=True, total=True, non_negative=True, family="exp or log",
        numpy=np.cosh, torch=lambda t, a: t.cosh(a),
        partials=lambda xp, f, a: (xp.sinh(a),),
        sympy=lambda sp, a: sp.cosh(a), latex=r"\cosh\left({0}\right)",
    ),
    Operator(
        name="tanh", arity=1, complexity=1,
        odd=True, inverse=np.arctanh, analytic=True, total=True, family="exp or log", sampled=0.25,
        numpy=np.tanh, torch=lambda t, a: t.tanh(a),
        partials=lambda xp, f, a: (1.0 - f * f,),
        sympy=lambda sp, a: sp.tanh(a), latex=r"\tanh\left({0}\right)",
    ),
    # protected operators of the papers
    Operator(
        name="safe_div", arity=2, complexity=3,  # 1 where the divisor is 0 (Koza 1992)
        protects="div", total=True, family="rational",
        numpy=_safe_div, torch=_torch_safe_div,
        partials=lambda xp, f, a, b: (xp.where(b == 0, 0.0, 1.0 / b), xp.where(b == 0, 0.0, -f / b)),
        sympy=_sympy_safe_div, latex=r"\operatorname{{sdiv}}\left({0}, {1}\right)",
    ),
    Operator(
        name="safe_sqrt", arity=1, complexity=3,  # square root of the magnitude
        protects="sqrt", even=True, total=True, non_negative=True, passes="positive", family="root",
        numpy=_safe_sqrt, torch=lambda t, a: t.sqrt(t.abs(a)),
        partials=lambda xp, f, a: (0.5 * xp.sign(a) / f,),
        sympy=lambda sp, a: sp.sqrt(sp.Abs(a)), latex=r"\sqrt{{\left|{0}\right|}}",
    ),
    Operator(
        name="safe_log", arity=1, complexity=2,  # logarithm of the magnitude, 0 at 0
        protects="log", even=True, total=True, family="exp or log",
        numpy=_safe_log, torch=_torch_safe_log,
        partials=lambda xp, f, a: (xp.where(a == 0, 0.0, 1.0 / a),),
        sympy=_sympy_safe_log, latex=r"\operatorname{{slog}}\left({0}\right)",
    ),
    # rows that came later: their numbers are in files, so they stay behind the others
    Operator(
        name="erf", arity=1, complexity=1,
        odd=True, inverse=erfinv, analytic=True, total=True, family="exp or log",
        numpy=erf, torch=lambda t, a: t.erf(a),
        partials=lambda xp, f, a: (2.0 / math.sqrt(math.pi) * xp.exp(-a * a),),
        sympy=lambda sp, a: sp.erf(a), latex=r"\operatorname{{erf}}\left({0}\right)",
    ),
    Operator(
        name="log10", arity=1, complexity=6,
        inverse=lambda v: np.power(10.0, v), family="exp or log",
        numpy=np.log10, torch=lambda t, a: t.log10(a),
        partials=lambda xp, f, a: (1.0 / (math.log(10.0) * a),),
        sympy=lambda sp, a: sp.log(a, 10), latex=r"\log_{{10}}\left({0}\right)",
    ),
    Operator(
        name="cbrt", arity=1, complexity=1,
        odd=True, inverse="cube", total=True, passes="all", family="root",
        numpy=np.cbrt, torch=lambda t, a: t.sign(a) * t.pow(t.abs(a), 1.0 / 3.0),
        partials=lambda xp, f, a: (1.0 / (3.0 * f * f),),
        sympy=_sympy_cbrt, latex=r"\sqrt[3]{{{0}}}",
    ),
    Operator(
        name="pow7", arity=1, infix="{0}**7", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), odd=True,
        inverse=lambda v: np.copysign(np.absolute(v) ** (1.0 / 7.0), v), analytic=True, total=True, passes="all",
        numpy=_pow7, torch=lambda t, a: (a * a * a) * (a * a * a) * a,
        partials=lambda xp, f, a: (7.0 * ((a * a * a) * (a * a * a)),),
        sympy=_sympy_power(7), latex="{0}^{{7}}",
    ),
    Operator(
        name="pow8", arity=1, infix="{0}**8", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), even=True, inverse=lambda v: np.sqrt(np.sqrt(np.sqrt(v))),
        analytic=True, total=True, non_negative=True, passes="all",
        numpy=_pow8, torch=lambda t, a: ((a * a) * (a * a)) * ((a * a) * (a * a)),
        partials=lambda xp, f, a: (8.0 * ((a * a * a) * (a * a * a) * a),),
        sympy=_sympy_power(8), latex="{0}^{{8}}",
    ),
    Operator(
        name="pow9", arity=1, infix="{0}**9", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), odd=True, inverse=lambda v: np.cbrt(np.cbrt(v)),
        analytic=True, total=True, passes="all",
        numpy=_pow9, torch=lambda t, a: (a * a * a) * (a * a * a) * (a * a * a),
        partials=lambda xp, f, a: (9.0 * (((a * a) * (a * a)) * ((a * a) * (a * a))),),
        sympy=_sympy_power(9), latex="{0}^{{9}}",
    ),
    Operator(
        name="pow10", arity=1, infix="{0}**10", precedence=POWER, complexity=2,
        operands=(ATOM,), latex_operands=(ATOM,), even=True, inverse=lambda v: np.sqrt(v) ** 0.2,
        analytic=True, total=True, non_negative=True, passes="all",
        numpy=_pow10, torch=lambda t, a: ((a * a) * (a * a) * a) * ((a * a) * (a * a) * a),
        partials=lambda xp, f, a: (10.0 * ((a * a * a) * (a * a * a) * (a * a * a)),),
        sympy=_sympy_power(10), latex="{0}^{{10}}",
    ),
)  # fmt: skip

CONSTANT = 0
FIRST_VARIABLE = 1000

OPERATORS: list[Operator] = list(SHIPPED)
"""The whole table: the shipped rows, and behind them those that were appended in this process."""

BY_NAME: dict[str, Operator] = {row.name: row for row in OPERATORS}
TOKEN: dict[str, int] = {row.name: k + 1 for k, row in enumerate(OPERATORS)}

# Indexed by token, one entry for all variables at the end: `ARITY[min(token, FIRST_VARIABLE)]`. -1: no such token.
ARITY: np.ndarray = np.full(FIRST_VARIABLE + 1, -1, dtype=np.int8)
ARITY[: len(OPERATORS) + 1] = [0, *(row.arity for row in OPERATORS)]
ARITY[FIRST_VARIABLE] = 0

_BY_TOKEN: list[tuple[list[Any], Callable[[Operator], Any]]] = []
"""Every list that `by_token` has made, and what it says of a row."""

# Integer powers with a row of their own, so that `x**3` costs two products and not a logarithm.
POWER_ROWS: dict[int, str] = {2: "square", 3: "cube", **{exponent: f"pow{exponent}" for exponent in range(4, 11)}}


def by_token(of_constant: Entry, of_row: Callable[[Operator], Entry]) -> list[Entry]:
    """A list indexed by token, which grows with the table.

    Args:
        of_constant: entry of the token `CONSTANT`.
        of_row: function that gives the entry of a row.
    """
    entries = [of_constant, *map(of_row, OPERATORS)]
    _BY_TOKEN.append((entries, of_row))
    return entries


def append(row: Operator) -> int:
    """Append a row to the table of this process, and return its token.

    A name that is taken means the new row from now on; programs keep the row that they were made with.

    Raises:
        ValueError: there is no number left before those of the variables.
    """
    number = len(OPERATORS) + 1
    if number >= FIRST_VARIABLE:
        raise ValueError(f"the operator table is full: it has {len(OPERATORS)} rows")
    for entries, of_row in _BY_TOKEN:
        entries.append(of_row(row))
    ARITY[number] = row.arity
    OPERATORS.append(row)
    BY_NAME[row.name], TOKEN[row.name] = row, number
    return number


def token(name: str) -> int:
    """Token of the operator called `name`.

    Raises:
        KeyError: no row has this name.
    """
    return TOKEN[name]


def operator(token: int) -> Operator:
    """Row of an operator token."""
    return OPERATORS[token - 1]


def is_operator(token: int) -> bool:
    """Whether `token` stands for an operator (and not for a constant or a variable)."""
    return CONSTANT < token < FIRST_VARIABLE


def inverted(name: str, values: np.ndarray) -> np.ndarray:
    """Arguments for which an operator has these values, NaN or infinite where there is none.

    Raises:
        ValueError: the operator has no inverse.
    """
    inverse = BY_NAME[name].inverse
    if inverse is None:
        raise ValueError(f"{name} has no inverse")
    with np.errstate(all="ignore"):
        if isinstance(inverse, str):
            return BY_NAME[inverse].numpy(values, np.empty_like(values))
        return inverse(values)


def leading_family(tokens: Iterable[int]) -> str:
    """Family of a whole program: the most telling one of its operators, `both` for the first two together."""
    found = {OPERATORS[token - 1].family for token in tokens if CONSTANT < token < FIRST_VARIABLE}
    if found.issuperset(FAMILIES[:2]):
        return "both"
    return next((family for family in FAMILIES if family in found), FAMILIES[-1])
