"""The conditional variational autoencoder of equations: prior, posterior, decoder, and what trains them.

Source: Q. Li, Y. Hu, J. Liu, Y. Chen, "GenSR: symbolic regression based on equation generative space", ICLR 2026,
arXiv 2602.20557: a prior p(z | data), a posterior q(z | data, equation) and a decoder p(equation | z), trained by
the evidence lower bound. Other than there: the encoder does not depend on the order of the points; each equation
is decoded from one of the two branches, not from both; the grammar and the variables that the data lack are masked
in the decoder, so that whatever is decoded is an equation; and two small heads say from z which ids occur in the
equation and what its values are, so that near latents mean near functions.

Notation, in shapes: batch B, points N, variables V, ids T of an equation with its start and end (padded with 0),
latents Z, width D, queries Q.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from expressions.vocabulary import Vocabulary
from modules.networks.equation_map.set_encoder import Features, SetEncoder, point_features
from modules.networks.transformer.decoding import beams, decoded
from modules.networks.transformer.equation_transformer import EquationDecoder, EquationEncoder
from modules.settings.cvae import MapSize

__all__ = ["Batch", "ConditionalVAE", "Gaussian", "Losses", "divergence", "token_losses"]

VALUE_POINTS = 16
_OF_VOCABULARY = ("operators", "variables", "integers")
_LOG_VARIANCES = (-10.0, 4.0)


class Batch(NamedTuple):
    """What the datamodule yields.

    Attributes:
        inputs: raw units, 0 in columns that the table lacks. `[B, N, V]`
        target: raw units. `[B, N]`
        present: which columns the table has. `[B, V]` bool
        ids: of the equation, with start and end, padded with 0. `[B, T]` int64
    """

    inputs: Tensor
    target: Tensor
    present: Tensor
    ids: Tensor


class Gaussian(NamedTuple):
    """Independent normal distributions. `[B, Z]` each"""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Reparametrised, from standard normal noise. `[B, Z] -> [B, Z]`"""
        return self.mean + noise * (0.5 * self.log_variance).exp()


class Losses(NamedTuple):
    """Parts of the loss of one batch, scalars, and what they count.

    Attributes:
        prior_cross_entropy: nats a token of the equations decoded from a sample of the prior.
        posterior_cross_entropy: the same from the posterior; 0 where no row is decoded from it.
        kl: nats of the posterior against the prior, summed over the latents.
        free_kl: the same, with no less than the free bits of each latent.
        values: of the value head.
        presence: of the presence head.
        tokens: ids that were predicted.
    """

    prior_cross_entropy: Tensor
    posterior_cross_entropy: Tensor
    kl: Tensor
    free_kl: Tensor
    values: Tensor
    presence: Tensor
    tokens: Tensor


def divergence(posterior: Gaussian, prior: Gaussian) -> Tensor:
    """KL(posterior || prior) of every latent. `[B, Z]`"""
    difference = posterior.log_variance - prior.log_variance
    distance = (posterior.mean - prior.mean).square() * (-prior.log_variance).exp()
    return 0.5 * (difference.exp() + distance - 1.0 - difference)


def token_losses(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of every id after the first, and which of them count.

    Args:
        scores: of what follows each id. `[B, T - 1, size]`
        ids: padded with 0. `[B, T]`

    Returns:
        Nats, 0 for padding, and a mask. `[B, T - 1]` each
    """
    wanted = ids[:, 1:]
    nats = functional.cross_entropy(scores.transpose(1, 2), wanted, ignore_index=0, reduction="none")
    return nats, wanted != 0


class ConditionalVAE(nn.Module):
    """The whole network.

    Args:
        vocabulary: vocabulary of the equations.
        longest: largest number of tokens of an equation, start and end not counted.
        size: size of the network; its `queries` Q are the vectors in which the set encoder says what the points
            say, its `width` is D, its `latents` are Z.
    """

    def __init__(self, vocabulary: Vocabulary, longest: int, size: MapSize) -> None:
        super().__init__()
        width, heads, latents, again = size.width, size.heads, size.latents, size.checkpoint_activations
        decoder_width = width if size.decoder_width is None else size.decoder_width
        self.vocabulary = vocabulary
        self.longest = longest
        self.latents = latents
        sizes = size.part(MapSize).as_mapping() | {"decoder_width": decoder_width}
        del sizes["checkpoint_activations"]  # which changes nothing that is learned
        self.settings: dict[str, Any] = {
            "operators": list(vocabulary.operators),
            "variables": vocabulary.variables,
            "integers": list(vocabulary.integers),
            "longest": longest,
            **sizes,
        }
        """What says which network this is, as `build` takes it."""
        ids = len(vocabulary)
        self.set_encoder = SetEncoder(
            vocabulary.variables, width, size.queries, heads, size.encoder_layers, size.mlp_ratio, again
        )
        self.equation_encoder = EquationEncoder(
            ids, longest + 2, width, heads, size.equation_layers, size.mlp_ratio, again
        )
        self.decoder = EquationDecoder(
            ids,
            longest + 1,
            latents,
            decoder_width,
            heads,
            size.decoder_layers,
            size.prefix,
            size.mlp_ratio,
            again,
        )
        self.prior_head = _gaussian_head(size.queries * width, latents)
        self.posterior_head = _gaussian_head(size.queries * width, latents)
        self.presence_head = nn.Linear(latents, ids)
        self.value_head = ValueHead(vocabulary.variables, latents, width)

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> ConditionalVAE:
        """A network of the settings of another.

        Raises:
            KeyError: a setting of the vocabulary is missing.
            SettingsError: a size is unknown or not allowed.
        """
        sizes = {name: value for name, value in settings.items() if name not in (*_OF_VOCABULARY, "longest")}
        vocabulary = Vocabulary(*(settings[name] for name in _OF_VOCABULARY))
        return cls(vocabulary, settings["longest"], MapSize.of(sizes))

    # --- distributions of z ---------------------------------------------------------------------------------

    def encode(self, features: Features) -> Tensor:
        """What the points say. `[B, Q, D]`"""
        encoded: Tensor = self.set_encoder(features)
        return encoded

    def prior(self, data: Tensor) -> Gaussian:
        """p(z | data). `[B, Q, D]`"""
        return _gaussian(self.prior_head, data)

    def posterior(self, data: Tensor, ids: Tensor) -> Gaussian:
        """q(z | data, equation). `[B, Q, D]`, `[B, T]`"""
        return _gaussian(self.posterior_head, self.equation_encoder(data, ids))

    # --- p(equation | z) ------------------------------------------------------------------------------------

    def scores(self, latents: Tensor, ids: Tensor, present: Tensor) -> Tensor:
        """Scores of what follows each id but the last, -inf where the grammar forbids it (teacher forcing).

        Args:
            latents: `[B, Z]`
            ids: `[B, T]`
            present: variables that may be used. `[B, V]` bool

        Returns:
            `[B, T - 1, size]` float32
        """
        scores: Tensor = self.decoder(latents, ids[:, :-1])
        return scores.masked_fill(~self.allowed(ids[:, :-1], present), -torch.inf)

    def allowed(self, ids: Tensor, present: Tensor) -> Tensor:
        """What may follow each id, all at once. `[B, T]`, `[B, V] -> [B, T, size]` bool"""
        batch, length = ids.shape
        missing = self.vocabulary.advance(torch.ones_like(ids), ids)  # the table is on the device now
        missing = 1 + (missing - 1).cumsum(dim=1)
        left = self.longest - torch.arange(length, device=ids.device)
        allowed = self.vocabulary.allowed_next(
            missing.flatten(),
            left.expand(batch, -1).flatten(),
            present[:, None, :].expand(-1, length, -1).flatten(0, 1),
        )
        return allowed.view(batch, length, -1)

    def decode(
        self,
        latents: Tensor,
        present: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """One equation for each latent vector, as `transformer.decoding` says. `[B, Z]`, `[B, V] -> [B, T]`"""
        return decoded(self.decoder, self.vocabulary, self.longest, latents, present, temperature, generator)

    def beam(self, latents: Tensor, present: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The likeliest equations and their log probabilities. `[B, Z]`, `[B, V] -> [B, W, T]`, `[B, W]`"""
        return beams(self.decoder, self.vocabulary, self.longest, latents, present, width)

    # --- training -------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, posterior_share: float, free_bits: float, heads: tuple[bool, bool]) -> Losses:
        """The parts of the loss: the first rows are decoded from the posterior, the others from the prior.

        Args:
            batch: rows in random order.
            posterior_share: of the rows that are decoded from the posterior, 0 to less than 1.
            free_bits: nats of a latent's mean KL that cost no less when there are fewer.
            heads: whether the value head and the presence head are worked out.

        Returns:
            The parts, of means over rows, tokens or points.
        """
        features = point_features(batch.inputs, batch.target, batch.present)
        data = self.encode(features)
        prior = self.prior(data)
        rows = min(len(data) - 1, round(len(data) * posterior_share))
        from_posterior = _rows(prior, slice(0, rows))
        nats_kl = data.new_zeros(())
        free = nats_kl
        if rows:
            from_posterior = self.posterior(data[:rows], batch.ids[:rows])
            mean_kl = divergence(from_posterior, _rows(prior, slice(0, rows))).mean(dim=0)
            nats_kl, free = mean_kl.sum(), mean_kl.clamp(min=free_bits).sum()
        mixed = Gaussian(
            torch.cat([from_posterior.mean, prior.mean[rows:]]),
            torch.cat([from_posterior.log_variance, prior.log_variance[rows:]]),
        )
        latents = mixed.sample(torch.randn_like(mixed.mean))
        nats, counted = token_losses(self.scores(latents, batch.ids, batch.present), batch.ids)
        return Losses(
            prior_cross_entropy=nats[rows:].sum() / counted[rows:].sum(),
            posterior_cross_entropy=nats[:rows].sum() / counted[:rows].sum().clamp(min=1),
            kl=nats_kl,
            free_kl=free,
            values=self.value_loss(latents, features.points) if heads[0] else data.new_zeros(()),
            presence=self.presence_loss(latents, batch.ids) if heads[1] else data.new_zeros(()),
            tokens=counted.sum(),
        )

    def value_loss(self, latents: Tensor, points: Tensor) -> Tensor:
        """Smooth L1 distance of the standardised target from what z and the variables say about some points.

        Args:
            latents: `[B, Z]`
            points: as `Features` has them. `[B, N, 4 V + 5]`
        """
        count = points.shape[1]
        step = max(1, count // VALUE_POINTS)
        some = points[:, : min(count, step * VALUE_POINTS) : step]
        of_variables = 3 * self.vocabulary.variables
        values = self.value_head(latents, some[..., :of_variables])
        return functional.smooth_l1_loss(values, some[..., of_variables])

    def presence_loss(self, latents: Tensor, ids: Tensor) -> Tensor:
        """Binary cross entropy of which ids an equation holds. `[B, Z]`, `[B, T]`"""
        first = self.vocabulary.placeholder  # those before it are no part of an equation
        held = latents.new_zeros(len(ids), len(self.vocabulary), dtype=torch.float32).scatter_(1, ids, 1.0)
        scores = self.presence_head(latents).float()
        return functional.binary_cross_entropy_with_logits(scores[:, first:], held[:, first:])


class ValueHead(nn.Module):
    """g(z, x): the standardised target at a point, from z and the variables alone.

    Args:
        variables: V.
        latents: Z.
        width: D.
    """

    def __init__(self, variables: int, latents: int, width: int) -> None:
        super().__init__()
        self.of_latents = nn.Linear(latents, width)
        self.of_variables = nn.Linear(3 * variables, width, bias=False)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, latents: Tensor, variables: Tensor) -> Tensor:
        """`[B, Z]`, `[B, points, 3 V] -> [B, points]` float32"""
        hidden = self.of_latents(latents)[:, None] + self.of_variables(variables)
        values: Tensor = self.rest(hidden)[..., 0].float()
        return values


def _gaussian_head(inputs: int, latents: int) -> nn.Linear:
    head = nn.Linear(inputs, 2 * latents)
    nn.init.normal_(head.weight, std=0.5 * inputs**-0.5)  # little is said at first
    nn.init.zeros_(head.bias)
    return head


def _gaussian(head: nn.Module, states: Tensor) -> Gaussian:
    mean, log_variance = head(states.flatten(1)).float().chunk(2, dim=1)
    return Gaussian(mean, log_variance.clamp(*_LOG_VARIANCES))


def _rows(distribution: Gaussian, rows: slice) -> Gaussian:
    return Gaussian(distribution.mean[rows], distribution.log_variance[rows])
