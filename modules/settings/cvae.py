"""Settings of the map of equations, a conditional variational autoencoder (system 4)."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.settings import Settings, SettingsError, setting
from modules.settings.averaged import AveragedTrainingSettings, bytes_of_blocks

__all__ = ["WEIGHTS_FORMAT", "CVAESettings", "MapSize"]

WEIGHTS_FORMAT = "rediscover latent map 3"
"""Format of the files of a map's weights, as it stands in them."""


@dataclass(frozen=True, kw_only=True)
class MapSize(Settings):
    """Size of the network.

    Attributes:
        width: width of all vectors, a multiple of `heads`.
        queries: number of vectors in which the set encoder says what the points say.
        heads: number of heads of every attention.
        encoder_layers: number of times that the queries look at the points.
        equation_layers: number of blocks of the posterior.
        decoder_layers: number of blocks of the decoder.
        decoder_width: width of the decoder's vectors, a multiple of `heads`; None: `width`. The decoder is what a
            search waits for, the encoders read a table once.
        prefix: number of positions of the decoder that the latents become.
        latents: number of dimensions of the latent space.
        mlp_ratio: hidden width of the feed-forward networks, in multiples of `width`.
        checkpoint_activations: whether blocks are worked out again in the backward pass, to save memory.
    """

    group = "model"

    width: int = setting(256, least=8, most=65_536)
    queries: int = setting(16, least=1, most=65_536)
    heads: int = setting(4, least=1, most=1_024)
    encoder_layers: int = setting(6, least=1, most=256)
    equation_layers: int = setting(2, least=1, most=256)
    decoder_layers: int = setting(4, least=1, most=256)
    decoder_width: int | None = setting(192, least=1, most=65_536)
    prefix: int = setting(4, least=1, most=65_536)
    latents: int = setting(128, least=1, most=65_536)
    mlp_ratio: float = setting(2, above=0)
    checkpoint_activations: bool = setting(False)

    def _check_together(self) -> None:
        for name in ("width", "decoder_width"):
            value = getattr(self, name)
            if value is not None and value % self.heads:
                raise SettingsError(
                    f"{self.key(name)}={value} must be a multiple of {self.key('heads')}={self.heads}"
                )


@dataclass(frozen=True, kw_only=True)
class CVAESettings(AveragedTrainingSettings, MapSize):
    """Size and training of a map of equations.

    Attributes:
        kl_weight: weight of the KL divergence, summed over the latents, in the loss.
        free_bits: nats of a latent's mean KL that cost no less when there are fewer.
        kl_warmup_steps: steps over which `kl_weight` rises from 0.
        posterior_share: share of the rows that are decoded from the posterior; 0 trains without one.
        value_weight: weight of the value head's loss; 0 does not work it out.
        presence_weight: weight of the presence head's loss; 0 does not work it out.
    """

    kl_weight: float = setting(0.01, least=0)
    free_bits: float = setting(0.02, least=0)
    kl_warmup_steps: int = setting(2000, least=0)
    posterior_share: float = setting(0.5, least=0, below=1)
    value_weight: float = setting(0.1, least=0)
    presence_weight: float = setting(0.1, least=0)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the encoders, and of the decoder."""
        encoders = self.encoder_layers + self.equation_layers
        decoder = self.decoder_width or self.width
        return {
            ("width", "mlp_ratio", "encoder_layers", "equation_layers"): bytes_of_blocks(
                encoders, self.width, self.mlp_ratio
            ),
            ("width", "decoder_width", "mlp_ratio", "decoder_layers"): bytes_of_blocks(
                self.decoder_layers, decoder, self.mlp_ratio
            ),
        }
