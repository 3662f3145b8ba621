"""Checks for the equations in a file, to be put into a schema beside those of `foundation.schema`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from expressions.operators import ARITY, CONSTANT, FIRST_VARIABLE
from expressions.parsing import parse, too_large
from expressions.sampling import PAD
from foundation.schema import Check, FormatError, list_of, number, row_of, text, whole

__all__ = ["EQUATION_TEXT", "check_programs", "equation", "program", "tokens"]

_ROWS_AT_ONCE = 65_536
_LARGEST_TOKEN = 2**15 - 1  # tokens are 16-bit integers

tokens = list_of(whole(0, _LARGEST_TOKEN), least=1, most=MAX_TOKENS)
"""Check for the numbers of a program, which are yet to be one."""

EQUATION_TEXT: Check = text(1_000_000)
"""Check for an equation as text, which is yet to be parsed, or only for a reader."""

_PAIR = row_of(tokens, list_of(number(), most=MAX_TOKENS))


def program(value: Any) -> Expression:
    """Check for an equation as `[tokens, constants]`.

    Raises:
        FormatError: it is no program of our operators, or is too large.
    """
    numbers, constants = _PAIR(value)
    try:
        expression = Expression(np.array(numbers), constants)
    except ValueError as error:
        raise FormatError(f"is no equation ({error})", "") from error
    if reason := too_large(expression):
        raise FormatError(f"is no equation for this program ({reason})", "")
    return expression


def check_programs(programs: np.ndarray, variables: int | np.ndarray) -> None:
    """Make sure that every row of an array is a program.

    Args:
        programs: numbers of the programs, padded behind with -1. `[programs, longest]`
        variables: number of variables that the programs may have, or that each may have. `[programs]`

    Raises:
        FormatError: a row is no program, or has other operators or variables.
    """
    most = np.broadcast_to(variables, len(programs))
    for begin in range(0, len(programs), _ROWS_AT_ONCE):  # a file may have millions
        rows = slice(begin, begin + _ROWS_AT_ONCE)
        good = _are_programs(programs[rows], most[rows, None])
        if not good.all():
            raise FormatError(f"is no program in its row {begin + int(np.flatnonzero(~good)[0])}", "")


def _are_programs(programs: np.ndarray, variables: np.ndarray) -> np.ndarray:
    """Which rows are programs of so many variables. `[programs]`"""
    padding = programs == PAD
    variable = programs >= FIRST_VARIABLE
    arity = ARITY[np.where(padding, CONSTANT, np.clip(programs, -1, FIRST_VARIABLE))].astype(np.int64)
    known = padding | (programs >= 0) & (arity >= 0)
    known &= ~variable | (programs < FIRST_VARIABLE + variables)
    missing = 1 + np.cumsum(np.where(padding, 0, arity - 1), axis=1)  # arguments that are yet to come
    ends = (~padding).sum(axis=1)
    places = np.arange(programs.shape[1])
    good = known.all(axis=1) & (padding == (places >= ends[:, None])).all(axis=1)
    good &= (missing[:, -1:] == 0).all(axis=1) & ((missing > 0) | (places >= ends[:, None] - 1)).all(axis=1)
    return good


def equation(names: Sequence[str] | None = None) -> Check:
    """Check for an equation as text.

    Args:
        names: names of the variables; x0, x1, … when not given.
    """
    return lambda value: parse(value, names)
