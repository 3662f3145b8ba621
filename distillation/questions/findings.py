"""What a network has said of its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distillation.questions.symmetries import Symmetry

__all__ = ["Findings", "OutputFindings", "Split"]


@dataclass(frozen=True)
class Split:
    """A form of an output as a sum, or a product, of functions of fewer inputs.

    Attributes:
        kind: `sum` or `product`.
        parts: numbers of the inputs of each part. Inputs that do not matter are in none.
        offset: what is added to the product; 0 for a sum.
        defect: how far the output is from that form, see `distillation.questions.rectangles`.
    """

    kind: str
    parts: tuple[tuple[int, ...], ...]
    offset: float
    defect: float

    @property
    def words(self) -> str:
        """The form as a sentence."""
        groups = "; ".join(", ".join(f"x{each}" for each in part) for part in self.parts)
        offset = f", plus {self.offset:.4g}" if self.offset else ""
        return f"a {self.kind} of functions of {groups}{offset}"


@dataclass(frozen=True)
class OutputFindings:
    """What is known of one output.

    Attributes:
        effects: change by each input alone, relative to that by the one that matters most. `[inputs]`
        matters: numbers of the inputs that matter.
        split: form in parts; None where none was found.
        symmetries: symmetries that were found, the smallest defect first.
        pair_defects: defect as a sum of each pair of inputs that matter.
    """

    effects: np.ndarray
    matters: tuple[int, ...]
    split: Split | None
    symmetries: tuple[Symmetry, ...]
    pair_defects: Mapping[tuple[int, int], float]

    @property
    def words(self) -> str:
        """All of it in one line, with the measured defects."""
        said = [f"inputs that matter: {', '.join(f'x{each}' for each in self.matters) or 'none'}"]
        if self.split is not None:
            said.append(f"{self.split.words} (defect {self.split.defect:.1%})")
        said += [f"{each.words} (defect {each.defect:.1%})" for each in self.symmetries]
        return "; ".join(said)


@dataclass(frozen=True)
class Findings:
    """What a network has said.

    Attributes:
        outputs: what is known of each output.
        asked: number of rows that it was asked.
        notes: one sentence for what was not asked.
    """

    outputs: tuple[OutputFindings, ...]
    asked: int
    notes: tuple[str, ...] = ()
