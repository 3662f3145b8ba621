"""Libraries of functions with their values, from which regression chooses terms, and divisors of targets.

Either all small functions of the variables (`searches.links.terms`), or the parts of equations that a search
has found.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from expressions.evaluation import Evaluator
from expressions.expression import Expression
from searches.links.inverse_links import Divisors
from searches.links.terms import factors, small_functions

__all__ = ["Library", "Material"]

_FUNCTIONS = 3000
_VARIABLES = 10  # number of the most relevant variables
_DIVISOR_FUNCTIONS = ("sin", "cos", "exp")
_PARTS = 1000  # largest number of parts of equations
_LONGEST_PART = 15  # tokens
_TWIN = 3  # digits to which two parts must agree, up to scale and offset, to count as one


@dataclass(frozen=True)
class Library:
    """Functions and their values `[functions, rows]`, each divided by its largest magnitude."""

    functions: list[Expression]
    values: np.ndarray

    @classmethod
    def of(cls, functions: Sequence[Expression], inputs: np.ndarray) -> Library:
        """The library of those functions that are finite and not constant."""
        values = Evaluator(inputs, np.float64).values(functions)
        size = np.abs(values).max(axis=1)
        kept = np.flatnonzero(np.isfinite(size) & (np.ptp(values, axis=1) > 1e-9 * size))
        return cls([functions[k] for k in kept.tolist()], values[kept] / size[kept, None])

    def without_twins(self) -> Library:
        """The library without functions that equal an earlier one up to scale, offset and rounding."""
        centred = self.values - self.values.mean(axis=1, keepdims=True)
        largest = np.take_along_axis(centred, np.abs(centred).argmax(axis=1)[:, None], axis=1)
        _, first = np.unique((centred / largest).round(_TWIN) + 0.0, axis=0, return_index=True)
        kept = np.sort(first)
        return Library([self.functions[k] for k in kept.tolist()], self.values[kept])


@dataclass(frozen=True)
class Material:
    """Operators, terms and factors from which regression builds equations.

    Attributes:
        operators: names of the operators that may occur.
        libraries: libraries to choose terms from, each used by itself.
        factors: functions by which the functions of the last library may be multiplied.
        divisors: functions by which a target may be divided or multiplied in the first steps.
        powers: functions by which a target may be divided or multiplied in later steps.
    """

    operators: frozenset[str]
    libraries: list[Library]
    factors: Library
    divisors: Divisors
    powers: Divisors

    @classmethod
    def of_small_functions(cls, inputs: np.ndarray, target: np.ndarray, operators: Collection[str]) -> Material:
        """All functions of `searches.links.terms` of the most relevant variables."""
        available = _available(operators)
        variables = _variables_that_matter(inputs, target, available)
        # Among many functions that are alike a regression takes wrong turns, so the simple ones get their own.
        levels = itertools.accumulate(small_functions(variables, available))
        libraries = [Library.of(functions[:_FUNCTIONS], inputs) for functions in levels]
        powers = _powers(variables)
        return cls(
            available,
            [library for library in libraries if library.functions],
            Library.of(list(factors(variables, available)), inputs),
            Divisors.of([*powers, *_small_divisors(variables, available)], inputs),
            Divisors.of(powers, inputs),
        )

    @classmethod
    def of_parts(cls, equations: Sequence[Expression], inputs: np.ndarray, operators: Collection[str]) -> Material:
        """The subtrees of equations, and functions of one variable."""
        available = _available(operators)
        variables = range(inputs.shape[1])
        functions = next(small_functions(variables, available))
        parts = dict.fromkeys(part for equation in equations for part in _parts(equation))
        library = Library.of([*functions, *parts][:_PARTS], inputs).without_twins()
        powers = Divisors.of([Expression.variable(variable) for variable in variables], inputs)
        return cls(available, [library] if library.functions else [], library, powers, powers)


def _available(operators: Collection[str]) -> frozenset[str]:
    inverse = {"inv"} if "div" in operators else set()
    square = {"square"} if "mul" in operators else set()
    return frozenset({*operators, *inverse, *square})


def _parts(equation: Expression) -> Iterator[Expression]:
    """Subtrees that hold a variable and are not too long."""
    for start in range(len(equation)):
        part = equation.subtree(start)
        if len(part) <= _LONGEST_PART and part.variables:
            yield part


def _variables_that_matter(inputs: np.ndarray, target: np.ndarray, available: Collection[str]) -> list[int]:
    """Variables of which a single function comes closest to the target, in the table's order."""
    centred = target - target.mean()
    found = []
    for variable in range(inputs.shape[1]):
        library = Library.of(next(small_functions([variable], available)), inputs)
        values = library.values - library.values.mean(axis=1, keepdims=True)
        gains = np.square(values @ centred) / np.square(values).sum(axis=1)
        if len(gains):  # a constant column has none
            found.append((-float(np.nan_to_num(gains).max()), variable))
    return sorted(variable for _, variable in sorted(found)[:_VARIABLES])


def _powers(variables: Sequence[int]) -> list[Expression]:
    columns = [Expression.variable(variable) for variable in variables]
    return [*columns, *(Expression.apply("square", column) for column in columns)]


def _small_divisors(variables: Sequence[int], available: Collection[str]) -> list[Expression]:
    """Functions of one variable, sums and differences of two."""
    columns = [Expression.variable(variable) for variable in variables]
    names = [name for name in _DIVISOR_FUNCTIONS if name in available]
    functions = [Expression.apply(name, column) for name in names for column in columns]
    pairs = itertools.combinations(columns, 2)
    return [*functions, *(Expression.apply(name, *pair) for pair in pairs for name in ("add", "sub"))]
