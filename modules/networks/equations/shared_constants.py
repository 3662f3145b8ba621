"""Which constants of several equations are one parameter: those of subtrees that are equal, values included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.operators import ARITY, CONSTANT, FIRST_VARIABLE

__all__ = ["shared_constants"]


def shared_constants(equations: Sequence[Expression]) -> tuple[list[np.ndarray], list[float]]:
    """Which parameter each constant is, equation by equation `[constants]`, and the parameters' values."""
    numbers: dict[tuple[Any, ...], int] = {}
    parameters: dict[int, np.ndarray] = {}  # of every subtree that lies behind the reader, by its number
    values: list[float] = []
    found = []
    for equation in equations:
        subtrees, ends = _subtrees(equation, numbers)
        before = np.concatenate([[0], np.cumsum(equation.tokens == CONSTANT)])
        places = np.zeros(before[-1], dtype=np.int64)
        open_ones: list[int] = []
        start, length = 0, len(equation)
        while start < length:
            known = parameters.get(subtrees[start])
            if known is not None:
                places[before[start] : before[ends[start]]] = known
                start = ends[start]
            elif equation.tokens[start] == CONSTANT:
                places[before[start]] = len(values)
                values.append(float(equation.constants[before[start]]))
                start += 1
            else:
                open_ones.append(start)
                start += 1
            while open_ones and ends[open_ones[-1]] <= start:
                first = open_ones.pop()
                parameters[subtrees[first]] = places[before[first] : before[ends[first]]]
        found.append(places)
    return found, values


def _subtrees(equation: Expression, numbers: dict[tuple[Any, ...], int]) -> tuple[list[int], list[int]]:
    """For the subtree that begins at each token: a number, the same for equal ones, and where it ends.

    Args:
        equation: equation with its constants.
        numbers: numbers of the subtrees that have been met, to which the new ones are added.
    """
    subtrees, ends = [0] * len(equation), [0] * len(equation)
    stack: list[int] = []  # where the arguments begin
    left = len(equation.constants)
    for start in reversed(range(len(equation))):
        token = int(equation.tokens[start])
        key: tuple[Any, ...] = (token,)
        if token == CONSTANT:
            left -= 1
            key = (token, float(equation.constants[left]).hex())  # 0.0 and -0.0 are two
        arguments = [stack.pop() for _ in range(int(ARITY[min(token, FIRST_VARIABLE)]))]
        subtrees[start] = numbers.setdefault((*key, *(subtrees[each] for each in arguments)), len(numbers))
        ends[start] = ends[arguments[-1]] if arguments else start + 1
        stack.append(start)
    return subtrees, ends
