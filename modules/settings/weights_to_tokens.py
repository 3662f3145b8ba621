"""Settings of the reader of small networks (system 3)."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.settings import Rule, Settings, SettingsError, setting
from modules.settings.activations import ACTIVATION_NAMES
from modules.settings.averaged import AveragedTrainingSettings, bytes_of_blocks

__all__ = [
    "ENCODER_NAMES",
    "FUNCTIONS",
    "WEIGHTS_FORMAT",
    "WIDTHS",
    "ReaderSize",
    "ReadingTask",
    "WeightsToTokensSettings",
]

WEIGHTS_FORMAT = "rediscover weight reader 1"
"""Format of the files of a reader's weights, as it stands in them."""

ENCODER_NAMES = ("flat", "flat_bias", "canonical", "graph", "probe")
WIDTHS = Rule(
    lambda value: isinstance(value, str) and _are_widths(value),
    "widths from input to output, both 1, such as 1-8-7-8-1",
)
FUNCTIONS = Rule(
    lambda value: isinstance(value, list | tuple) and all(isinstance(text, str) for text in value),
    "a list of functions of x, such as [sin(2*x),exp(x)]",
)


def _are_widths(text: str) -> bool:
    parts = text.split("-")
    return (
        len(parts) > 2 and parts[0] == parts[-1] == "1" and all(part.isdecimal() and int(part) for part in parts)
    )


@dataclass(frozen=True, kw_only=True)
class ReadingTask(Settings):
    """What the data say about the networks that are read, and about their equations.

    Attributes:
        widths: widths of the networks of the training, from the input to the output, such as `1-8-7-8-1`.
        activation: name of their activation.
        biases: whether they have biases.
        low: lower end of the range of their inputs.
        high: upper end of that range.
        degree: highest power of x in an equation.
        largest: largest magnitude of a coefficient.
        canonical: whether every equation has one spelling; otherwise they are spelled as published.
        functions: functions of x that terms may have instead of a power.
        terms: largest number of terms; None: any number.
    """

    group = "data"

    widths: str = setting("1-8-7-8-1", rule=WIDTHS)
    activation: str = setting("tanh", choices=ACTIVATION_NAMES)
    biases: bool = setting(True)
    low: float = setting(-1.0)
    high: float = setting(1.0)
    degree: int = setting(2, least=1, most=6)
    largest: int = setting(5, least=1, most=9)
    canonical: bool = setting(True)
    functions: tuple[str, ...] = setting((), rule=FUNCTIONS)
    terms: int | None = setting(None, least=1)


@dataclass(frozen=True, kw_only=True)
class ReaderSize(Settings):
    """Size of a reader.

    Attributes:
        encoder: way to read the weights, see `modules.networks.weights.encoders`.
        latents: number of dimensions of the vector that the encoder hands to the decoder.
        encoder_width: width of the encoder's layers.
        encoder_layers: number of the encoder's layers.
        probes: number of inputs at which the encoder `probe` runs the network.
        width: width of the decoder's vectors, a multiple of `heads`.
        heads: number of heads of every attention.
        decoder_layers: number of blocks of the decoder.
        prefix: number of positions of the decoder that the encoder's vector becomes.
        mlp_ratio: hidden width of the feed-forward networks, in multiples of `width`.
    """

    group = "model"

    encoder: str = setting("probe", choices=ENCODER_NAMES)
    latents: int = setting(256, least=1, most=65_536)
    encoder_width: int = setting(256, least=8, most=65_536)
    encoder_layers: int = setting(2, least=1, most=256)
    probes: int = setting(16, least=1, most=4096)
    width: int = setting(64, least=8, most=65_536)
    heads: int = setting(4, least=1, most=1024)
    decoder_layers: int = setting(2, least=1, most=256)
    prefix: int = setting(2, least=1, most=65_536)
    mlp_ratio: float = setting(2, above=0)

    def _check_together(self) -> None:
        if self.width % self.heads:
            raise SettingsError(f"model.width={self.width} must be a multiple of model.heads={self.heads}")


@dataclass(frozen=True, kw_only=True)
class WeightsToTokensSettings(AveragedTrainingSettings, ReaderSize):
    """Size and training of a reader.

    Attributes:
        augment: whether the units of the networks are shuffled in every step, and their signs where these mean
            nothing.
        beams: number of beams of the test, and of draws.
    """

    learning_rate: float = setting(3e-3, above=0)
    warmup_steps: int = setting(200, least=0)
    ema_decay: float = setting(0.998, least=0, below=1)
    augment: bool = setting(False)
    beams: int = setting(8, least=1)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the encoder, of which a layer has two matrices at least, and of the decoder."""
        return {
            ("encoder_width", "encoder_layers"): bytes_of_blocks(self.encoder_layers, self.encoder_width),
            ("width", "mlp_ratio", "decoder_layers"): bytes_of_blocks(
                self.decoder_layers, self.width, self.mlp_ratio
            ),
        }
