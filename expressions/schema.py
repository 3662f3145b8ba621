"""Checks for the equations in a file, to be put into a schema beside those of `foundation.schema`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from expressions.parsing import parse, too_large
from foundation.schema import Check, FormatError, list_of, number, row_of, whole

__all__ = ["equation", "program", "tokens"]

_LARGEST_TOKEN = 2**15 - 1  # tokens are 16-bit integers

tokens = list_of(whole(0, _LARGEST_TOKEN), least=1, most=MAX_TOKENS)
"""Check for the numbers of a program, which are yet to be one."""

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


def equation(names: Sequence[str] | None = None) -> Check:
    """Check for an equation as text.

    Args:
        names: names of the variables; x0, x1, … when not given.
    """
    return lambda value: parse(value, names)
