"""Equations as a network of torch: their constants are its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from expressions.evaluation import Plan
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS
from foundation.errors import UserError
from modules.networks.equations.read_outs import read_outs
from modules.networks.equations.shared_constants import shared_constants

__all__ = ["EquationModule"]


class EquationModule(torch.nn.Module):
    """One equation, or several side by side, whose constants can be trained.

    What an operator computes stands in its row of the operator table, as everywhere; an equation that is not
    defined on a row is not finite there. A subtree that stands in several places is computed once.

    All constants are one flat parameter, `constants`. A subtree that occurs several times, written alike and with
    the same values of its constants, is one subtree in training, too: its constants are shared. Every other
    constant is a parameter of its own, also where its value is that of another. Whether two are shared is settled
    when the module is made; training never makes or ends a sharing.

    Args:
        equations: one equation, or a sequence of at least one.
        inputs: number of input columns; None: as many as the equations need, and further columns are ignored.
        dtype: type of the constants and of the values.

    Raises:
        foundation.errors.UserError: there is no equation, or one uses a variable that the inputs do not have.
    """

    def __init__(
        self,
        equations: Expression | Sequence[Expression],
        inputs: int | None = None,
        *,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.single = isinstance(equations, Expression)
        self._given = (equations,) if isinstance(equations, Expression) else tuple(equations)
        if not self._given:
            raise UserError("a module of no equations has no values: give at least one equation")
        self.inputs = inputs
        self._needed = 1 + max((max(each.variables, default=-1) for each in self._given), default=-1)
        if inputs is not None and inputs < self._needed:
            raise UserError(
                f"the equations use x{self._needed - 1}, but there are {inputs} inputs: "
                f"give at least {self._needed}, counted from x0"
            )
        self._places, values = shared_constants(self._given)
        self.constants = torch.nn.Parameter(torch.tensor(values, dtype=dtype))
        self._plan()

    def _plan(self) -> None:
        """The program that `forward` runs. Constants are further columns, so that equal values stay two."""
        programs = []
        for equation, places in zip(self._given, self._places, strict=True):
            tokens = equation.tokens.copy()
            tokens[tokens == CONSTANT] = FIRST_VARIABLE + self._needed + places
            programs.append(Expression(tokens))
        groups = read_outs(programs, self._needed)
        grouped = {output for group in groups for output in group.outputs}
        self._alone = tuple(output for output in range(len(programs)) if output not in grouped)
        wanted = [programs[output] for output in self._alone]
        wanted += [term for group in groups for term in group.terms]
        plan = Plan.of(wanted, self._needed + len(self.constants))
        self._steps = tuple(zip(plan.operators, plan.first, plan.second, strict=True))
        self._roots = tuple(plan.roots)
        self._groups = tuple(groups)
        read = {*plan.first, *plan.second, *plan.roots}
        self._used = tuple(number for number in range(len(self.constants)) if self._needed + number in read)
        for number, group in enumerate(groups):
            factors = torch.from_numpy(group.factors).to(self.constants.device)
            self.register_buffer(f"_factors_{number}", factors, persistent=False)
            self.register_buffer(
                f"_signs_{number}", torch.from_numpy(group.signs).to(self.constants), persistent=False
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan()  # operators of one's own may have other numbers in this process

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Values of the equations.

        Args:
            inputs: values of the variables; they are cast to the type of the constants. `[..., inputs]`

        Returns:
            `[...]` for one equation, `[..., equations]` for several.

        Raises:
            foundation.errors.UserError: there are more or fewer columns than inputs.
        """
        self._check(inputs)
        table = inputs.to(self.constants.dtype)
        values = [table[..., variable] for variable in range(self._needed)]
        values += [self.constants] * len(self.constants)  # only those that are read alone are taken out
        for number in self._used:
            values[self._needed + number] = self.constants[number]
        for token, first, second in self._steps:
            arguments = (values[first],) if second < 0 else (values[first], values[second])
            values.append(OPERATORS[token - 1].torch(torch, *arguments))
        columns = [values[root].expand(table.shape[:-1]) for root in self._roots]
        if not self._groups:
            return columns[0] if self.single else torch.stack(columns, dim=-1)
        outputs = dict(zip(self._alone, columns, strict=False))
        begin = len(self._alone)
        for number, group in enumerate(self._groups):
            end = begin + len(group.terms)
            read = self._read_out(number, torch.stack(columns[begin:end], dim=-1))
            if len(group.outputs) == len(self._given):
                return read
            outputs.update(zip(group.outputs, read.unbind(-1), strict=True))
            begin = end
        return torch.stack([outputs[output] for output in range(len(self._given))], dim=-1)

    def _read_out(self, number: int, terms: torch.Tensor) -> torch.Tensor:
        """Outputs of a group `[..., outputs]` from its terms `[..., terms]`."""
        factors = torch.cat([self.constants, self.constants.new_ones(1)])  # -1 is the last one
        matrix = factors[self.get_buffer(f"_factors_{number}")] * self.get_buffer(f"_signs_{number}")
        count = terms.shape[-1]
        offset = matrix[:, count] if matrix.shape[1] > count else None
        return torch.nn.functional.linear(terms, matrix[:, :count], offset)

    def equations(self) -> list[Expression]:
        """The equations with the constants that they have now.

        Raises:
            foundation.errors.UserError: a constant is no longer finite, since training went astray.
        """
        values = _shortest(self.constants.detach().cpu())
        if not np.isfinite(values).all():
            raise UserError(
                f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} constants are not finite after "
                "training: train with a lower learning rate, or clip the gradients"
            )
        return [
            equation.with_constants(values[places])
            for equation, places in zip(self._given, self._places, strict=True)
        ]

    @torch.no_grad()
    def set_equations(self, equations: Sequence[Expression]) -> None:
        """Give the constants other values, those of the same equations.

        Args:
            equations: what `equations` returned, with other constants; shared constants are alike.

        Raises:
            foundation.errors.UserError: an equation has another structure, or shared constants differ.
        """
        values = np.full(len(self.constants), np.nan)
        if len(equations) != len(self._given):
            raise UserError(
                f"{len(equations)} equations for a module of {len(self._given)}: give as many as it has"
            )
        for given, own, places in zip(equations, self._given, self._places, strict=True):
            if not np.array_equal(given.tokens, own.tokens):
                raise UserError(
                    f"{given.infix()} has another structure than {own.infix()}: a module takes other constants "
                    "only; make a new one for other equations"
                )
            known = values[places]
            if np.any((known != given.constants) & ~np.isnan(known)):
                raise UserError(
                    f"{given.infix()} has other constants in a part that it shares with an equation before it: "
                    "give shared parts the same constants, or make a new module"
                )
            values[places] = given.constants
        self.constants.copy_(torch.tensor(values))

    def extra_repr(self) -> str:
        """The equations, for `print`."""
        finite = bool(torch.isfinite(self.constants).all())
        return "\n".join(each.infix() for each in self.equations()) if finite else "constants that are not finite"

    def _check(self, inputs: torch.Tensor) -> None:
        columns = inputs.shape[-1] if inputs.dim() else 0
        if columns < self._needed or (self.inputs is not None and columns != self.inputs):
            wanted = f"{self._needed} or more" if self.inputs is None else f"{self.inputs}"
            raise UserError(
                f"inputs of shape {list(inputs.shape)} for equations of {wanted} columns: [..., columns]"
            )


def _shortest(values: torch.Tensor) -> np.ndarray:
    """Numbers in float64: of those that are the same in their own type, the one with the fewest digits."""
    if values.dtype not in (torch.float32, torch.float16):
        return np.asarray(values.double().numpy())
    return np.array([float(str(value)) for value in values.numpy()], dtype=np.float64)
