"""The operator table: one row an operator, read by everything that knows about operators.

The parser, printer, evaluator, differentiator, sampler, tokenizer and tests all read `OPERATORS`; adding an
operator is adding a row. A row states what is *computed*, in plain IEEE arithmetic: a result that is not finite
is not finite, and the expression is invalid on that row. The protected operators of the papers (safe division,
square root and logarithm of the magnitude) are rows of their own under names of their own.

Tokens are small integers: `CONSTANT` is 0, operator `k` of the table is `k + 1`, and variable `j` is
`FIRST_VARIABLE + j`. Programs lie in files by these numbers, so they never change: rows are only ever
appended, and variables are numbered from a fixed place far behind them (see `expressions.numbering`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # a NumPy array or a torch tensor: a row's formulas serve both


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Attributes:
        name: how the operator is called in text, configuration files and DEAP primitive sets.
        arity: 1 or 2.
        numpy: `numpy(*inputs, out)` writes the values into `out` and returns it. `out` never overlaps an input.
        torch: `torch(torch_module, *inputs)` returns the values; the module is an argument so that importing
            this table does not import torch.
        partials: `partials(xp, output, *inputs)` returns d output / d input for every input, where `xp` is
            `numpy` or `torch`. A partial may be a scalar, to be broadcast.
        sympy: `sympy(sympy_module, *arguments)` builds the SymPy form.
        latex: a template with `{0}` and `{1}` for the arguments' LaTeX.
        precedence: binding strength of the printed form, see `PRECEDENCE`.
        infix: template of the printed form for operators with a symbol of their own, None for `name(a, b)`.
        commutative: whether the arguments may be swapped without changing the value.
        complexity: nodes that SymPy's tree gains by the operator, before SymPy merges nested sums and products.
        protected: one of the papers' protected operators, kept out of the default sets.
    """

    name: str
    arity: int
    numpy: Callable[..., np.ndarray]
    torch: Callable[..., Array]
    partials: Callable[..., tuple[Array, ...]]
    sympy: Callable[..., Any]
    latex: str
    complexity: int = 1
    precedence: int = 5
    infix: str | None = None
    commutative: bool = False
    protected: bool = False


PRECEDENCE = {"sum": 1, "product": 2, "negation": 3, "power": 4, "atom": 5}


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


def _sympy_power(exponent: int) -> Callable[..., Any]:
    return lambda sp, a: sp.Pow(a, sp.Integer(exponent))


OPERATORS: tuple[Operator, ...] = (
    # binary
    Operator(
        name="add", arity=2, infix="{0} + {1}", precedence=1, commutative=True, complexity=1,
        numpy=np.add, torch=lambda t, a, b: a + b,
        partials=lambda xp, f, a, b: (1.0, 1.0),
        sympy=lambda sp, a, b: sp.Add(a, b), latex="{0} + {1}",
    ),
    Operator(
        name="sub", arity=2, infix="{0} - {1}", precedence=1, complexity=3,
        numpy=np.subtract, torch=lambda t, a, b: a - b,
        partials=lambda xp, f, a, b: (1.0, -1.0),
        sympy=lambda sp, a, b: sp.Add(a, sp.Mul(sp.Integer(-1), b)), latex="{0} - {1}",
    ),
    Operator(
        name="mul", arity=2, infix="{0}*{1}", precedence=2, commutative=True, complexity=1,
        numpy=np.multiply, torch=lambda t, a, b: a * b,
        partials=lambda xp, f, a, b: (b, a),
        sympy=lambda sp, a, b: sp.Mul(a, b), latex=r"{0} \, {1}",
    ),
    Operator(
        name="div", arity=2, infix="{0}/{1}", precedence=2, complexity=3,
        numpy=np.divide, torch=lambda t, a, b: a / b,
        partials=lambda xp, f, a, b: (1.0 / b, -f / b),
        sympy=lambda sp, a, b: sp.Mul(a, sp.Pow(b, sp.Integer(-1))), latex=r"\frac{{{0}}}{{{1}}}",
    ),
    Operator(
        name="pow", arity=2, infix="{0}**{1}", precedence=4, complexity=1,
        numpy=np.power, torch=lambda t, a, b: t.pow(a, b),
        partials=_pow_partials,
        sympy=lambda sp, a, b: sp.Pow(a, b), latex="{0}^{{{1}}}",
    ),
    Operator(
        name="max", arity=2, commutative=True, complexity=1,
        numpy=lambda a, b, out: np.maximum(a, b, out=out), torch=lambda t, a, b: t.maximum(a, b),
        partials=lambda xp, f, a, b: ((a >= b) * 1.0, (a < b) * 1.0),
        sympy=lambda sp, a, b: sp.Max(a, b), latex=r"\max\left({0}, {1}\right)",
    ),
    Operator(
        name="min", arity=2, commutative=True, complexity=1,
        numpy=lambda a, b, out: np.minimum(a, b, out=out), torch=lambda t, a, b: t.minimum(a, b),
        partials=lambda xp, f, a, b: ((a <= b) * 1.0, (a > b) * 1.0),
        sympy=lambda sp, a, b: sp.Min(a, b), latex=r"\min\left({0}, {1}\right)",
    ),
    # unary, algebraic
    Operator(
        name="neg", arity=1, infix="-{0}", precedence=3, complexity=2,
        numpy=np.negative, torch=lambda t, a: -a,
        partials=lambda xp, f, a: (-1.0,),
        sympy=lambda sp, a: sp.Mul(sp.Integer(-1), a), latex="-{0}",
    ),
    Operator(
        name="inv", arity=1, infix="1/{0}", precedence=2, complexity=2,
        numpy=_inv, torch=lambda t, a: 1.0 / a,
        partials=lambda xp, f, a: (-f * f,),
        sympy=lambda sp, a: sp.Pow(a, sp.Integer(-1)), latex=r"\frac{{1}}{{{0}}}",
    ),
    Operator(
        name="square", arity=1, infix="{0}**2", precedence=4, complexity=2,
        numpy=lambda a, out: np.multiply(a, a, out), torch=lambda t, a: a * a,
        partials=lambda xp, f, a: (2.0 * a,),
        sympy=_sympy_power(2), latex="{0}^{{2}}",
    ),
    Operator(
        name="cube", arity=1, infix="{0}**3", precedence=4, complexity=2,
        numpy=_cube, torch=lambda t, a: a * a * a,
        partials=lambda xp, f, a: (3.0 * a * a,),
        sympy=_sympy_power(3), latex="{0}^{{3}}",
    ),
    Operator(
        name="pow4", arity=1, infix="{0}**4", precedence=4, complexity=2,
        numpy=_pow4, torch=lambda t, a: (a * a) * (a * a),
        partials=lambda xp, f, a: (4.0 * a * a * a,),
        sympy=_sympy_power(4), latex="{0}^{{4}}",
    ),
    Operator(
        name="pow5", arity=1, infix="{0}**5", precedence=4, complexity=2,
        numpy=_pow5, torch=lambda t, a: (a * a) * (a * a) * a,
        partials=lambda xp, f, a: (5.0 * (a * a) * (a * a),),
        sympy=_sympy_power(5), latex="{0}^{{5}}",
    ),
    Operator(
        name="pow6", arity=1, infix="{0}**6", precedence=4, complexity=2,
        numpy=_pow6, torch=lambda t, a: (a * a * a) * (a * a * a),
        partials=lambda xp, f, a: (6.0 * (a * a) * (a * a) * a,),
        sympy=_sympy_power(6), latex="{0}^{{6}}",
    ),
    Operator(
        name="sqrt", arity=1, complexity=2,
        numpy=np.sqrt, torch=lambda t, a: t.sqrt(a),
        partials=lambda xp, f, a: (0.5 / f,),
        sympy=lambda sp, a: sp.sqrt(a), latex=r"\sqrt{{{0}}}",
    ),
    Operator(
        name="abs", arity=1, complexity=1,
        numpy=np.absolute, torch=lambda t, a: t.abs(a),
        partials=lambda xp, f, a: (xp.sign(a),),
        sympy=lambda sp, a: sp.Abs(a), latex=r"\left|{0}\right|",
    ),
    # unary, transcendental
    Operator(
        name="exp", arity=1, complexity=1,
        numpy=np.exp, torch=lambda t, a: t.exp(a),
        partials=lambda xp, f, a: (f,),
        sympy=lambda sp, a: sp.exp(a), latex="e^{{{0}}}",
    ),
    Operator(
        name="log", arity=1, complexity=1,
        numpy=np.log, torch=lambda t, a: t.log(a),
        partials=lambda xp, f, a: (1.0 / a,),
        sympy=lambda sp, a: sp.log(a), latex=r"\log\left({0}\right)",
    ),
    Operator(
        name="sin", arity=1, complexity=1,
        numpy=np.sin, torch=lambda t, a: t.sin(a),
        partials=lambda xp, f, a: (xp.cos(a),),
        sympy=lambda sp, a: sp.sin(a), latex=r"\sin\left({0}\right)",
    ),
    Operator(
        name="cos", arity=1, complexity=1,
        numpy=np.cos, torch=lambda t, a: t.cos(a),
        partials=lambda xp, f, a: (-xp.sin(a),),
        sympy=lambda sp, a: sp.cos(a), latex=r"\cos\left({0}\right)",
    ),
    Operator(
        name="tan", arity=1, complexity=1,
        numpy=np.tan, torch=lambda t, a: t.tan(a),
        partials=lambda xp, f, a: (1.0 + f * f,),
        sympy=lambda sp, a: sp.tan(a), latex=r"\tan\left({0}\right)",
    ),
    Operator(
        name="asin", arity=1, complexity=1,
        numpy=np.arcsin, torch=lambda t, a: t.asin(a),
        partials=lambda xp, f, a: (1.0 / xp.sqrt(1.0 - a * a),),
        sympy=lambda sp, a: sp.asin(a), latex=r"\arcsin\left({0}\right)",
    ),
    Operator(
        name="acos", arity=1, complexity=1,
        numpy=np.arccos, torch=lambda t, a: t.acos(a),
        partials=lambda xp, f, a: (-1.0 / xp.sqrt(1.0 - a * a),),
        sympy=lambda sp, a: sp.acos(a), latex=r"\arccos\left({0}\right)",
    ),
    Operator(
        name="atan", arity=1, complexity=1,
        numpy=np.arctan, torch=lambda t, a: t.atan(a),
        partials=lambda xp, f, a: (1.0 / (1.0 + a * a),),
        sympy=lambda sp, a: sp.atan(a), latex=r"\arctan\left({0}\right)",
    ),
    Operator(
        name="sinh", arity=1, complexity=1,
        numpy=np.sinh, torch=lambda t, a: t.sinh(a),
        partials=lambda xp, f, a: (xp.cosh(a),),
        sympy=lambda sp, a: sp.sinh(a), latex=r"\sinh\left({0}\right)",
    ),
    Operator(
        name="cosh", arity=1, complexity=1,
        numpy=np.cosh, torch=lambda t, a: t.cosh(a),
        partials=lambda xp, f, a: (xp.sinh(a),),
        sympy=lambda sp, a: sp.cosh(a), latex=r"\cosh\left({0}\right)",
    ),
    Operator(
        name="tanh", arity=1, complexity=1,
        numpy=np.tanh, torch=lambda t, a: t.tanh(a),
        partials=lambda xp, f, a: (1.0 - f * f,),
        sympy=lambda sp, a: sp.tanh(a), latex=r"\tanh\left({0}\right)",
    ),
    # protected operators of the papers
    Operator(
        name="safe_div", arity=2, complexity=3, protected=True,  # 1 where the divisor is 0 (Koza 1992)
        numpy=_safe_div, torch=lambda t, a, b: t.where(b == 0, t.ones_like(a / b), a / b),
        partials=lambda xp, f, a, b: (xp.where(b == 0, 0.0, 1.0 / b), xp.where(b == 0, 0.0, -f / b)),
        sympy=_sympy_safe_div, latex=r"\operatorname{{sdiv}}\left({0}, {1}\right)",
    ),
    Operator(
        name="safe_sqrt", arity=1, complexity=3, protected=True,  # square root of the magnitude
        numpy=_safe_sqrt, torch=lambda t, a: t.sqrt(t.abs(a)),
        partials=lambda xp, f, a: (0.5 * xp.sign(a) / f,),
        sympy=lambda sp, a: sp.sqrt(sp.Abs(a)), latex=r"\sqrt{{\left|{0}\right|}}",
    ),
    Operator(
        name="safe_log", arity=1, complexity=2, protected=True,  # logarithm of the magnitude, 0 at 0
        numpy=_safe_log, torch=lambda t, a: t.where(a == 0, t.zeros_like(a), t.log(t.abs(a))),
        partials=lambda xp, f, a: (xp.where(a == 0, 0.0, 1.0 / a),),
        sympy=_sympy_safe_log, latex=r"\operatorname{{slog}}\left({0}\right)",
    ),
)  # fmt: skip

CONSTANT = 0
FIRST_VARIABLE = 1000

BY_NAME: dict[str, Operator] = {row.name: row for row in OPERATORS}
TOKEN: dict[str, int] = {row.name: k + 1 for k, row in enumerate(OPERATORS)}

# Indexed by token, one entry for all variables at the end: `ARITY[min(token, FIRST_VARIABLE)]`. -1: no such token.
ARITY: np.ndarray = np.full(FIRST_VARIABLE + 1, -1, dtype=np.int8)
ARITY[: len(OPERATORS) + 1] = [0, *(row.arity for row in OPERATORS)]
ARITY[FIRST_VARIABLE] = 0

# Integer powers with a row of their own, so that `x**3` costs two products and not a logarithm.
POWER_ROWS: dict[int, str] = {2: "square", 3: "cube", 4: "pow4", 5: "pow5", 6: "pow6"}


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
