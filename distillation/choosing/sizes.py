"""How large several equations are together: what they share counts once."""

from __future__ import annotations

from collections.abc import Sequence

from expressions.evaluation import Plan
from expressions.expression import Expression

__all__ = ["shared_size"]


def shared_size(equations: Sequence[Expression]) -> int:
    """Number of different nodes of some equations: operators, constants and variables.

    Args:
        equations: equations of the outputs of a block.
    """
    variables = {variable for each in equations for variable in each.variables}
    return len(Plan.of(equations, 1 + max(variables, default=-1))) + len(variables)
