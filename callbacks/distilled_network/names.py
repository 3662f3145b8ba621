"""Names of the inputs and outputs of a model's blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule

__all__ = ["BlockNames"]


@dataclass(frozen=True)
class BlockNames:
    """How a module calls what goes into its blocks and what comes out.

    Attributes:
        known: names of the inputs and of the outputs of blocks; empty where the module names none.
    """

    known: Mapping[str, tuple[Sequence[str], Sequence[str]]]

    @classmethod
    def of(cls, module: LightningModule, datamodule: Any) -> BlockNames:
        """The names that a module has for columns of some data."""
        if not hasattr(module, "blocks") or not hasattr(datamodule, "feature_names"):
            return cls({})
        return cls(module.blocks(datamodule.feature_names, datamodule.target_name))  # type: ignore[operator]

    def inputs(self, block: str, count: int) -> tuple[str, ...]:
        """Names of so many inputs of a block; `x0` and so on where it has none."""
        own = self.known.get(block)
        return tuple(f"x{k}" for k in range(count)) if own is None else tuple(own[0])

    def output(self, block: str, place: int) -> str:
        """Name of an output of a block; `y0` and so on where it has none."""
        _, outputs = self.known.get(block, ((), ()))
        return outputs[place] if place < len(outputs) else f"y{place}"

    @staticmethod
    def label(block: str, place: int, is_factor: bool = False) -> str:
        """Name of an output of a block, or of a factor of its outputs, that is good for a file."""
        parts = block.split(".") if block else [] if is_factor else ["output"]
        return "_".join([*parts, *(["factor"] if is_factor else []), str(place)])
