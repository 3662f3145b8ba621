"""Settings of the autoencoder (system 1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from foundation.settings import Rule, Settings, setting
from modules.settings.activations import ACTIVATION_NAMES

__all__ = ["AutoencoderSettings"]

_BYTES_A_WEIGHT = 16  # float32, with its gradient and two moments of Adam
SCALINGS = ("standard", "minmax", "none")
WIDTHS = Rule(
    lambda value: (
        not isinstance(value, bool) and re.fullmatch(r"([1-9]\d{0,4}(-[1-9]\d{0,4})*)?", str(value)) is not None
    ),
    "widths joined by '-', such as 16-8",
)


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(Settings):
    """Shape and training of an autoencoder.

    Attributes:
        latents: width of the bottleneck.
        hidden: widths of the encoder's hidden layers, joined by `-`; the decoder has them in reverse.
        activation: name of the activation between the layers.
        decode: `inputs` reconstructs the inputs, `target` predicts the target.
        scaling: scaling of the inputs, learned from the training rows: `standard` (mean 0, variance 1), `minmax`
            (0 to 1) or `none`.
        target_scaling: scaling of the target; only `decode=target` reads it.
        learning_rate: learning rate of Adam, at its start.
        schedule: course of the learning rate: `constant`, or `cosine` down to zero at the end of the fit.
    """

    group = "model"

    latents: int = setting(2, least=1, most=65_536)
    hidden: str = setting("16-8", rule=WIDTHS)
    activation: str = setting("tanh", choices=ACTIVATION_NAMES)
    decode: str = setting("inputs", choices=("inputs", "target"))
    scaling: str = setting("standard", choices=SCALINGS)
    target_scaling: str = setting("standard", choices=SCALINGS)
    learning_rate: float = setting(1e-3, above=0)
    schedule: str = setting("constant", choices=("constant", "cosine"))

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the matrices between the hidden layers, of encoder and decoder."""
        widths = (*self.hidden_widths, self.latents)
        weights = 2 * sum(a * b for a, b in pairwise(widths))
        return {("hidden", "latents"): float(_BYTES_A_WEIGHT * weights)}

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Widths of the encoder's hidden layers."""
        return tuple(int(part) for part in str(self.hidden).split("-") if part)
