"""What a row of the operator table says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["ATOM", "FAMILIES", "NEGATION", "POWER", "PRODUCT", "SUM", "Operator"]

Array = Any  # a NumPy array or a torch tensor: a row's formulas serve both

# Binding strength of printed forms, weakest first.
SUM, PRODUCT, NEGATION, POWER, ATOM = range(1, 6)

FAMILIES = ("trigonometric", "exp or log", "root", "rational", "polynomial")
"""Kinds of functions, the most telling first."""


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Attributes:
        name: name in text, configuration files and DEAP primitive sets.
        arity: number of arguments, 1 or 2.
        numpy: `numpy(*inputs, out)` writes the values into `out` and returns it. `out` never overlaps an input.
        torch: `torch(torch_module, *inputs)` returns the values; the module is an argument so that importing
            this table does not import torch.
        partials: `partials(xp, output, *inputs)` returns d output / d input for every input, where `xp` is
            `numpy` or `torch`. A partial may be a scalar, to be broadcast.
        sympy: `sympy(sympy_module, *arguments)` builds the SymPy form.
        latex: template of the LaTeX form with `{0}` and `{1}` for the arguments.
        infix: template of the printed form for operators with a symbol of their own, None for `name(a, b)`.
        precedence: binding strength of the printed form.
        operands: binding strength that each argument needs to stand in `infix` without brackets; () for none.
        latex_precedence: binding strength of the LaTeX form, 0 for `precedence`.
        latex_operands: binding strength that each argument needs to stand in `latex` without brackets.
        spellings: names in other programs, for hints to those who write them.
        complexity: nodes that SymPy's tree gains by the operator, before SymPy merges nested sums and products.
        commutative: whether the arguments may be swapped without changing the value.
        odd: whether f(-a) = -f(a).
        even: whether f(-a) = f(a).
        inverse: row that gives the argument for a value of this one, by name, or a NumPy function where there is
            no such row; of an even operator the argument that is not negative. None where it is not unique.
        analytic: whether the function is analytic on the whole line, but for poles.
        total: whether the value is finite for all real arguments (overflow aside).
        non_negative: whether no value is below 0.
        flat: whether the function is constant on an interval.
        passes: factors c for which f(c a) = c' f(a): `none`, `positive` or `all`.
        wave: whether it is a bounded oscillation: a factor inside is a frequency, and its fit has many optima.
        family: kind of function, one of `FAMILIES`.
        sampled: weight among random expressions by default.
        protects: row that this one is a protected version of. Such rows are kept out of the default sets.
    """

    name: str
    arity: int
    numpy: Callable[..., np.ndarray]
    torch: Callable[..., Array]
    partials: Callable[..., tuple[Array, ...]]
    sympy: Callable[..., Any]
    latex: str
    infix: str | None = None
    precedence: int = ATOM
    operands: tuple[int, ...] = ()
    latex_precedence: int = 0
    latex_operands: tuple[int, ...] = (SUM, SUM)
    spellings: tuple[str, ...] = ()
    complexity: int = 1
    commutative: bool = False
    odd: bool = False
    even: bool = False
    inverse: str | Callable[[np.ndarray], np.ndarray] | None = None
    analytic: bool = False
    total: bool = False
    non_negative: bool = False
    flat: bool = False
    passes: Literal["none", "positive", "all"] = "none"
    wave: bool = False
    family: str = "polynomial"
    sampled: float = 0.0
    protects: str | None = None

    @property
    def protected(self) -> bool:
        """Whether this is one of the papers' protected operators."""
        return self.protects is not None
