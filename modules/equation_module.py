"""Equations as a network of torch: their constants are its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS

__all__ = ["EquationModule"]


class EquationModule(torch.nn.Module):
    """One equation, or several side by side, whose constants can be trained.

    What an operator computes stands in its row of the operator table, as everywhere; an equation that is not
    defined on a row is not finite there.

    Args:
        equations: one equation, or a sequence of them.
        dtype: type of the constants and of the values.
    """

    def __init__(self, equations: Expression | Sequence[Expression], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.single = isinstance(equations, Expression)
        self._given = (equations,) if isinstance(equations, Expression) else tuple(equations)
        self.constants = torch.nn.ParameterList(
            torch.nn.Parameter(torch.tensor(equation.constants, dtype=dtype)) for equation in self._given
        )
        self.dtype = dtype

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Values of the equations.

        Args:
            inputs: values of the variables. `[..., variables]`

        Returns:
            `[...]` for one equation, `[..., equations]` for several.
        """
        columns = inputs.to(self.constants[0].dtype) if len(self.constants) else inputs
        values = [
            _values(equation.tokens.tolist(), constants, columns)
            for equation, constants in zip(self._given, self.constants, strict=True)
        ]
        return values[0] if self.single else torch.stack(values, dim=-1)

    def expressions(self) -> list[Expression]:
        """The equations with the constants that they have now."""
        return [
            equation.with_constants(constants.detach().cpu().double().numpy())
            for equation, constants in zip(self._given, self.constants, strict=True)
        ]

    def extra_repr(self) -> str:
        """The equations, for `print`."""
        return "\n".join(equation.infix() for equation in self.expressions())


def _values(tokens: list[int], constants: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Values of one program, from its end to its beginning. `[...]`"""
    stack: list[Any] = []
    left = len(constants)
    for token in reversed(tokens):
        if token == CONSTANT:
            left -= 1
            stack.append(constants[left])
        elif token >= FIRST_VARIABLE:
            stack.append(columns[..., token - FIRST_VARIABLE])
        else:
            row = OPERATORS[token - 1]
            stack.append(row.torch(torch, *(stack.pop() for _ in range(row.arity))))
    return stack[0].expand(columns.shape[:-1])
