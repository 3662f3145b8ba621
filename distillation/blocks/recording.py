"""What goes into the blocks of a network and what comes out, over all batches, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillation.blocks.layout import Layout, tensors_in
from foundation.errors import UserError, near

__all__ = ["Recording", "named_blocks", "record"]

MOST_ROWS = 20_000
"""Rows of a block that are kept: a random choice of all."""
_NOISE = 1e-6  # difference of two calls with the same tensors, relative to the largest output, that is rounding


@dataclass(frozen=True)
class Recording:
    """The calls of a block as a table.

    Attributes:
        layout: shapes of the tensors of a call.
        inputs: what went in. `[rows, features]` float64
        outputs: what came out. `[rows, outputs]` float64
        calls: number of calls.
        rows: number of rows of all calls, of which those of the table were drawn.
    """

    layout: Layout
    inputs: np.ndarray
    outputs: np.ndarray
    calls: int
    rows: int


def named_blocks(network: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    """The blocks to be explained, by name; None: the whole network, whose name is empty.

    Raises:
        UserError: a block does not exist, holds another one, or has dropout that is switched on.
    """
    if names is None:
        return _checked({"": network})
    if isinstance(names, str):
        names = [names]
    known = dict(network.named_modules(remove_duplicate=False))
    for name in names:
        if name not in known:
            raise UserError(
                f"the model has no block {name!r}; {near(str(name), [each for each in known if each])}"
            )
    if not names:
        raise UserError("blocks names no block: give some, or leave it out for the whole model")
    for name in names:
        inside = next(
            (each for each in names if each != name and each.startswith(f"{name}." if name else "")), None
        )
        if inside is not None:
            raise UserError(f"the block {inside!r} is part of {name!r}: name one of them")
    return _checked({name: known[name] for name in names})


def _checked(blocks: dict[str, nn.Module]) -> dict[str, nn.Module]:
    for name, block in blocks.items():
        for part in block.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0:
                raise UserError(
                    f"{called(name)} has dropout and is in training mode, where equal inputs have different "
                    "outputs: call model.eval() first"
                )
    return blocks


def called(name: str) -> str:
    """The name of a block in a sentence."""
    return f"the block {name!r}" if name else "the model"


def record(
    blocks: Mapping[str, nn.Module], batches: Sequence[Any], call: Callable[[Any], Any], *, seed: int
) -> dict[str, Recording]:
    """Call a network on batches, and keep what its blocks do.

    Args:
        blocks: blocks of the network by name, in evaluation mode.
        batches: batches, on the network's device.
        call: function that calls the network on a batch.
        seed: random seed for the choice of rows.

    Raises:
        UserError: a block is never called, or its calls cannot be rows of a table.
    """
    takers = {name: _Taker(name, seed) for name in blocks}
    with torch.no_grad(), _hooked(blocks, takers):
        for batch in batches:
            call(batch)
    return {name: taker.recording() for name, taker in takers.items()}


@contextmanager
def _hooked(blocks: Mapping[str, nn.Module], takers: Mapping[str, _Taker]) -> Iterator[None]:
    handles = [block.register_forward_hook(takers[name].take, with_kwargs=True) for name, block in blocks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Taker:
    """Takes down the calls of one block: of all rows, those with the smallest of random numbers.

    Args:
        name: name of the block.
        seed: random seed.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._rng = np.random.default_rng([seed, len(name)])
        self._layout: Layout | None = None
        self._marks = np.empty(0)
        self._inputs: list[np.ndarray] = []
        self._outputs: list[np.ndarray] = []
        self._calls = self._rows = 0
        self._checking = False

    def take(self, block: nn.Module, args: Any, kwargs: Any, made: Any) -> None:
        """Hook behind a call of the block."""
        if self._checking:
            return
        given = list(tensors_in([args, kwargs]))
        try:
            if self._layout is None:
                self._layout = Layout.of_call(given, made)
                self._check_same_again(block, args, kwargs, made)
            layout = self._layout
            inputs = _table(layout.rows(given))
            outputs = _table(layout.output_rows(made, layout.leading(given)))
            self._check_finite(inputs, "is given")
            self._check_finite(outputs, "gives")
        except UserError as error:
            raise UserError(f"{called(self.name)} {error}") from None
        self._keep(inputs, outputs)

    def _check_same_again(self, block: nn.Module, args: Any, kwargs: Any, made: Any) -> None:
        """Whether the block gives the same once more."""
        self._checking = True
        try:
            again = block(*args, **kwargs)
        finally:
            self._checking = False
        for one, other in zip(tensors_in([made]), tensors_in([again]), strict=True):
            if one.numel() and float((one - other).abs().max()) > _NOISE * float(one.abs().max()):
                raise UserError(
                    "gives other values for the same inputs: an equation has no randomness and no memory, switch "
                    "them off"
                )

    @staticmethod
    def _check_finite(table: np.ndarray, verb: str) -> None:
        bad = int(np.count_nonzero(~np.isfinite(table).all(axis=1)))
        if bad:
            raise UserError(
                f"{verb} values that are not finite in {bad:,} of {len(table):,} rows: leave these rows out, or "
                "train the model again"
            )

    def _keep(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        self._calls += 1
        self._rows += len(inputs)
        self._inputs.append(inputs)
        self._outputs.append(outputs)
        self._marks = np.concatenate([self._marks, self._rng.random(len(inputs))])
        if len(self._marks) > 2 * MOST_ROWS:
            self._thin()

    def _thin(self) -> None:
        inputs, outputs = np.concatenate(self._inputs), np.concatenate(self._outputs)
        if len(self._marks) > MOST_ROWS:
            kept = np.sort(np.argpartition(self._marks, MOST_ROWS)[:MOST_ROWS])
            inputs, outputs, self._marks = inputs[kept], outputs[kept], self._marks[kept]
        self._inputs, self._outputs = [inputs], [outputs]

    def recording(self) -> Recording:
        """The table of all calls."""
        if self._layout is None:
            raise UserError(f"{called(self.name)} is never called on these data: name one that is")
        self._thin()
        return Recording(self._layout, self._inputs[0], self._outputs[0], self._calls, self._rows)


def _table(values: Tensor) -> np.ndarray:
    table: np.ndarray = values.detach().cpu().double().numpy()
    return table
