"""How the tensors of a call become rows of a table, and how rows become tensors again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foundation.errors import UserError

__all__ = ["MOST_FEATURES", "Layout", "output_tensors", "tensors_in"]

MOST_FEATURES, MOST_OUTPUTS = 10_000, 4_096
"""Numbers of a row, beyond which a block is no formula that anyone reads."""


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and mappings, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)


def output_tensors(value: Any) -> list[Tensor] | None:
    """The tensors that a block gives: one, or a tuple or a list of some; None where it gives anything else."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list) and value and all(isinstance(each, Tensor) for each in value):
        return list(value)
    return None


@dataclass(frozen=True)
class Layout:
    """What the tensors of a block have behind the axes that are rows.

    Attributes:
        inputs: shape of every tensor that goes in, without its rows; none: it is one number a row.
        outputs: the same of every tensor that comes out.
        container: `tensor`, or the kind of sequence that holds the outputs: `tuple` or `list`.
    """

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    container: str = "tensor"

    @classmethod
    def of_call(cls, given: Sequence[Tensor], made: Any) -> Layout:
        """The layout of a call: its rows are all leading axes that inputs and outputs have in common.

        The last axis of an input of several is never one of them: it holds the features.

        Args:
            given: tensors that went in.
            made: what came out.

        Raises:
            UserError: there is no tensor, or no axis that all have; the sentence begins with a verb.
        """
        results = output_tensors(made)
        if results is None:
            raise UserError(f"gives {_kind(made)}, no tensor: name a block that gives tensors")
        if not given:
            raise UserError("is called without a tensor: name a block that is given some")
        wrong = next((each for each in given if not each.is_floating_point()), None)
        if wrong is not None:
            kind = str(wrong.dtype).removeprefix("torch.")
            raise UserError(
                f"is given tensors of type {kind}: equations need real numbers, name a block behind it"
            )
        if not all(each.is_floating_point() for each in results):
            raise UserError("gives tensors that are no real numbers: name a block before it")
        leading = _leading_axes(given, results)
        container = "tensor" if isinstance(made, Tensor) else "list" if isinstance(made, list) else "tuple"
        inputs = tuple(tuple(each.shape[leading:]) if each.ndim else () for each in given)
        layout = cls(inputs, tuple(tuple(each.shape[leading:]) for each in results), container)
        if layout.features > MOST_FEATURES or layout.width > MOST_OUTPUTS:
            raise UserError(
                f"has {layout.features:,} inputs and {layout.width:,} outputs a row, and at most "
                f"{MOST_FEATURES:,} and {MOST_OUTPUTS:,} are searched: name a smaller block"
            )
        return layout

    @property
    def features(self) -> int:
        """Number of input columns."""
        return sum(map(math.prod, self.inputs))

    @property
    def width(self) -> int:
        """Number of output columns."""
        return sum(map(math.prod, self.outputs))

    def leading(self, given: Sequence[Tensor]) -> torch.Size:
        """Axes of a call that are rows.

        Raises:
            UserError: the tensors do not have this layout; the sentence begins with a verb.
        """
        shapes = [each.shape for each in given]
        if len(shapes) != len(self.inputs):
            raise UserError(f"is called with {len(shapes)} tensors, and before with {len(self.inputs)}")
        leading = []
        for shape, behind in zip(shapes, self.inputs, strict=True):
            cut = len(shape) - len(behind)
            if cut < 0 or tuple(shape[cut:]) != behind:
                raise UserError(f"is called with a tensor {tuple(shape)}, and before with one of {behind} a row")
            leading.append(shape[:cut])
        try:
            return torch.broadcast_shapes(*leading)
        except RuntimeError:
            raise UserError(f"is called with tensors {[tuple(s) for s in shapes]} of different rows") from None

    def rows(self, given: Sequence[Tensor]) -> Tensor:
        """The inputs of a call as a table. `[rows, features]`

        Args:
            given: tensors that went in.

        Raises:
            UserError: as `leading`.
        """
        leading = self.leading(given)
        columns = [
            each.expand(*leading, *behind).reshape(math.prod(leading), math.prod(behind))
            for each, behind in zip(given, self.inputs, strict=True)
        ]
        return columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)

    def output_rows(self, made: Any, leading: torch.Size) -> Tensor:
        """The outputs of a call as a table. `[rows, outputs]`

        Args:
            made: what came out.
            leading: axes that are rows.

        Raises:
            UserError: the outputs have another layout; the sentence begins with a verb.
        """
        results = output_tensors(made) or []
        if [tuple(each.shape) for each in results] != [(*leading, *behind) for behind in self.outputs]:
            raise UserError(f"gives tensors {[tuple(each.shape) for each in results]}, and before others")
        columns = [
            each.reshape(math.prod(leading), math.prod(behind))
            for each, behind in zip(results, self.outputs, strict=True)
        ]
        return columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)

    def restored(self, table: Tensor, leading: torch.Size) -> Any:
        """The tensors of a block, from a table of its outputs.

        Args:
            table: outputs. `[rows, outputs]`
            leading: axes that are rows.
        """
        parts = table.split([math.prod(behind) for behind in self.outputs], dim=1)
        tensors = [part.reshape(*leading, *behind) for part, behind in zip(parts, self.outputs, strict=True)]
        if self.container == "tensor":
            return tensors[0]
        return tensors if self.container == "list" else tuple(tensors)


def _leading_axes(given: Sequence[Tensor], results: Sequence[Tensor]) -> int:
    """Number of leading axes that all tensors have, 0 for single rows."""
    axed = [each for each in given if each.ndim]
    most = min([len(each.shape) - (each.ndim > 1) for each in axed] + [each.ndim for each in results], default=0)
    leading = 0
    while leading < most and _agree([each.shape[leading] for each in axed], results, leading):
        leading += 1
    if leading == 0 and any(each.ndim > 1 for each in axed):
        shapes = ", ".join(str(tuple(each.shape)) for each in given)
        raise UserError(
            f"makes {tuple(results[0].shape)} of {shapes}: it does not go row by row, as an equation does; name a "
            "block that does"
        )
    return leading


def _agree(lengths: Sequence[int], results: Sequence[Tensor], axis: int) -> bool:
    """Whether inputs of these lengths, of which those of 1 are repeated, make the axis of the outputs."""
    length = max(lengths, default=1)
    return all(each in (1, length) for each in lengths) and all(each.shape[axis] == length for each in results)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
