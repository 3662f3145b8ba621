"""Equations in the place of a block of a network: called as the block was, with tensors of the same shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distillation.blocks.layout import Layout, tensors_in
from expressions.expression import Expression
from foundation.errors import UserError
from modules.equation_module import EquationModule

__all__ = ["EquationBlock"]


class EquationBlock(nn.Module):
    """A block whose outputs are equations of its inputs; their constants can be trained.

    Args:
        equations: one equation for every output. `[outputs]`
        layout: shapes of the tensors of a call.
        dtype: type of the constants, and of the values.
    """

    def __init__(
        self, equations: Sequence[Expression], layout: Layout, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.layout = layout
        self.formulas = EquationModule(list(equations), layout.features, dtype=dtype)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the block would give for these tensors; what is no tensor is not looked at.

        Raises:
            UserError: the tensors have other shapes than those of the block.
        """
        given = list(tensors_in([args, kwargs]))
        try:
            leading = self.layout.leading(given)
        except UserError as error:
            raise UserError(f"a block of equations {error}") from None
        values: Tensor = self.formulas(self.layout.rows(given))
        return self.layout.restored(values.to(given[0].dtype), leading)

    def equations(self) -> list[Expression]:
        """The equations of the outputs, with the constants that they have now."""
        return self.formulas.equations()
