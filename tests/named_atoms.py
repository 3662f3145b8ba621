"""Names of simple functions, as rows for an encoder hold them, read back and worked out: for tests."""

from __future__ import annotations

import numpy as np

__all__ = ["FUNCTIONS", "atom", "atom_values", "name_width"]

FUNCTIONS = {
    "id": lambda x: x,
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "inv": lambda x: 1 / x,
    "inv_square": lambda x: x**-2.0,
    "sqrt": np.sqrt,
    "log": np.log,
    "exp": np.exp,
    "neg_exp": lambda x: np.exp(-x),
    "sin": np.sin,
    "cos": np.cos,
}
"""In the order of the rows; written down once more, so that a row says what it is known to say."""


def name_width(variables: int) -> int:
    """How many numbers name an atom."""
    return len(FUNCTIONS) + variables + 1


def atom(names: np.ndarray) -> str:
    """Such as `sin(x1)`, or `1`. `[name_width(variables)]`"""
    if names[-1]:
        return "1"
    function = list(FUNCTIONS)[int(names[: len(FUNCTIONS)].argmax())]
    return f"{function}(x{int(names[len(FUNCTIONS) : -1].argmax())})"


def atom_values(name: str, x: np.ndarray) -> np.ndarray:
    """`[rows, variables] -> [rows]`"""
    if name == "1":
        return np.ones(len(x))
    function, variable = name[:-1].split("(x")
    return np.asarray(FUNCTIONS[function](x[:, int(variable)]))
