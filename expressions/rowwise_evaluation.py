"""Values of many expressions, each on a table of its own: what a generator of training data needs.

`expressions.evaluation` shares subtrees between expressions on one table. Here nothing can be shared, so all
programs run together on one stack machine, a token a step from behind: the programs whose token is the same take
one call of NumPy together.
"""

from __future__ import annotations

import numpy as np

from expressions.operators import ARITY, CONSTANT, FIRST_VARIABLE, OPERATORS

__all__ = ["PAD", "evaluate_pairs"]

PAD = -1


def evaluate_pairs(tokens: np.ndarray, constants: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Values of every program on its own rows.

    Args:
        tokens: prefix programs, padded behind with `PAD`. `[programs, length]`
        constants: values of the constants, each at its position. `[programs, length]`
        inputs: values of the variables, in the type to compute in. `[variables, programs, rows]`

    Returns:
        Values, not finite where a program is not defined. `[programs, rows]`
    """
    _, programs, rows = inputs.shape
    stack = np.empty((_deepest(tokens) * programs, rows), dtype=inputs.dtype)  # by level
    top = np.arange(programs)  # of each program's stack, the first free place
    with np.errstate(all="ignore"):
        for position in range(tokens.shape[1] - 1, -1, -1):
            column = tokens[:, position]
            order = np.argsort(column, kind="stable")
            ordered = column[order]
            starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
            for start, end in zip(starts, [*starts[1:], programs], strict=True):
                token, group = int(ordered[start]), order[start:end]
                if token != PAD:
                    _step(token, group, constants[:, position], inputs, stack, top)
    return stack[:programs]


def _step(
    token: int, group: np.ndarray, constants: np.ndarray, inputs: np.ndarray, stack: np.ndarray, top: np.ndarray
) -> None:
    """One token of the programs `group`."""
    level = inputs.shape[1]
    place = top[group]
    if token == CONSTANT:
        stack[place] = constants[group, None]
    elif token >= FIRST_VARIABLE:
        stack[place] = inputs[token - FIRST_VARIABLE].take(group, axis=0)
    else:
        row = OPERATORS[token - 1]
        arguments = [stack.take(place - (1 + k) * level, axis=0) for k in range(row.arity)]  # the first is on top
        place -= row.arity * level
        stack[place] = row.numpy(*arguments, np.empty_like(arguments[0]))
    top[group] = place + level


def _deepest(tokens: np.ndarray) -> int:
    """The highest that any program's stack becomes."""
    arity = ARITY[np.minimum(tokens, FIRST_VARIABLE)].astype(np.int64)
    change = np.where(tokens == PAD, 0, 1 - arity)
    return max(1, int(np.cumsum(change[:, ::-1], axis=1).max(initial=1)))
