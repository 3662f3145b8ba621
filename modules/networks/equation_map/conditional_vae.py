"""The conditional variational autoencoder of equations: prior, posterior, decoder and their losses.

Source: Q. Li, Y. Hu, J. Liu, Y. Chen, "GenSR: symbolic regression based on equation generative space", ICLR 2026,
arXiv 2602.20557: a prior p(z | data), a posterior q(z | data, equation) and a decoder p(equation | z), trained by
the evidence lower bound. Four things differ from the paper. The encoder does not depend on the order of the
points. Each equation is decoded from one of the two branches, not from both. The decoder is masked by the
grammar and by the variables of the data, so that every decoded sequence is an equation. Two small heads predict
from z which ids occur in the equation and which values it takes, so that near latents mean near functions.

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
        inputs: inputs in raw units, 0 in columns that the table lacks. `[B, N, V]`
        target: target in raw units. `[B, N]`
        present: whether the table has each column. `[B, V]` bool
        ids: ids of the equation, with start and end, padded with 0. `[B, T]` int64
    """

    inputs: Tensor
    target: Tensor
    present: Tensor
    ids: Tensor


class Gaussian(NamedTuple):
    """Independent normal distributions: means and logarithms of the variances. `[B, Z]` each"""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Reparametrised samples from standard normal noise. `[B, Z] -> [B, Z]`"""
        return self.mean + noise * (0.5 * self.log_variance).exp()


class Losses(NamedTuple):
    """Parts of the loss of one batch, as scalars, and the number of predicted tokens.

    Attributes:
        prior_cross_entropy: nats per token of the equations decoded from a sample of the prior.
        posterior_cross_entropy: nats per token of the equations decoded from a sample of the posterior; 0 where
            no row is decoded from it.
        kl: KL divergence of the posterior from the prior, nats, summed over the latents.
        free_kl: KL divergence with at least the free bits for each latent, nats.
        values: loss of the value head.
        presence: loss of the presence head.
        tokens: number of predicted ids.
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
    """Cross entropy of every id after the first, and a mask of the ids that are no padding.

    Args:
        scores: scores of the id after each id. `[B, T - 1, size]`
        ids: equations with start and end, padded with 0. `[B, T]`

    Returns:
        Nats, 0 for padding, and the mask. `[B, T - 1]` each
    """
    wanted = ids[:, 1:]
    nats = functional.cross_entropy(scores.transpose(1, 2), wanted, ignore_index=0, reduction="none")
    return nats, wanted != 0


class ConditionalVAE(nn.Module):
    """The whole network.

    Args:
        vocabulary: vocabulary of the equations.
        longest: largest number of tokens of an equation, start and end not counted.
        size: size of the network: its `queries` Q are the vectors that the set encoder returns, its `width` is D,
            its `latents` are Z.
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
        """A network built from the settings of another network.

        Raises:
            KeyError: a setting of the vocabulary is missing.
            SettingsError: a size is unknown or not allowed.
        """
        sizes = {name: value for name, value in settings.items() if name not in (*_OF_VOCABULARY, "longest")}
        vocabulary = Vocabulary(*(settings[name] for name in _OF_VOCABULARY))
        return cls(vocabulary, settings["longest"], MapSize.of(sizes))

    # --- distributions of z ---------------------------------------------------------------------------------

    def encode(self, features: Features) -> Tensor:
        """States of the points. `[B, Q, D]`"""
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
        """Scores of the id after each id but the last, -inf where the grammar forbids it (teacher forcing).

        Args:
            latents: latent vectors. `[B, Z]`
            ids: equations with start and end, padded with 0. `[B, T]`
            present: whether each variable may be used. `[B, V]` bool

        Returns:
            Scores. `[B, T - 1, size]` float32
        """
        scores: Tensor = self.decoder(latents, ids[:, :-1])
        return scores.masked_fill(~self.allowed(ids[:, :-1], present), -torch.inf)

    def allowed(self, ids: Tensor, present: Tensor) -> Tensor:
        """Whether each id may follow, after each position. `[B, T]`, `[B, V] -> [B, T, size]` bool"""
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
        """One equation for each latent vector, see `transformer.decoding`. `[B, Z]`, `[B, V] -> [B, T]`"""
        return decoded(self.decoder, self.vocabulary, self.longest, latents, present, temperature, generator)

    def beam(self, latents: Tensor, present: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The likeliest equations and their log probabilities. `[B, Z]`, `[B, V] -> [B, W, T]`, `[B, W]`"""
        return beams(self.decoder, self.vocabulary, self.longest, latents, present, width)

    # --- training -------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, posterior_share: float, free_bits: float, heads: tuple[bool, bool]) -> Losses:
        """The parts of the loss: the first rows are decoded from the posterior, the others from the prior.

        Args:
            batch: batch with rows in random order.
            posterior_share: share of the rows that are decoded from the posterior, 0 to less than 1.
            free_bits: lower limit of a latent's mean KL in the loss, nats.
            heads: whether the losses of the value head and of the presence head are computed.

        Returns:
            The parts of the loss, means over rows, tokens or points.
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
        """Smooth L1 distance between the standardised target and the value head's predictions at some points.

        Args:
            latents: latent vectors. `[B, Z]`
            points: rows of `Features.points`. `[B, N, 4 V + 5]`
        """
        count = points.shape[1]
        step = max(1, count // VALUE_POINTS)
        some = points[:, : min(count, step * VALUE_POINTS) : step]
        of_variables = 3 * self.vocabulary.variables
        values = self.value_head(latents, some[..., :of_variables])
        return functional.smooth_l1_loss(values, some[..., of_variables])

    def presence_loss(self, latents: Tensor, ids: Tensor) -> Tensor:
        """Binary cross entropy of the predicted presence of each id. `[B, Z]`, `[B, T]`"""
        first = self.vocabulary.placeholder  # ids before it are padding, start and end
        held = latents.new_zeros(len(ids), len(self.vocabulary), dtype=torch.float32).scatter_(1, ids, 1.0)
        scores = self.presence_head(latents).float()
        return functional.binary_cross_entropy_with_logits(scores[:, first:], held[:, first:])


class ValueHead(nn.Module):
    """g(z, x): the standardised target at a point, from z and the variables alone.

    Args:
        variables: number V of variables.
        latents: number Z of latents.
        width: width D of the hidden layers.
    """

    def __init__(self, variables: int, latents: int, width: int) -> None:
        super().__init__()
        self.of_latents = nn.Linear(latents, width)
        self.of_variables = nn.Linear(3 * variables, width, bias=False)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, latents: Tensor, variables: Tensor) -> Tensor:
        """Predicted targets at points. `[B, Z]`, `[B, points, 3 V] -> [B, points]` float32"""
        hidden = self.of_latents(latents)[:, None] + self.of_variables(variables)
        values: Tensor = self.rest(hidden)[..., 0].float()
        return values


def _gaussian_head(inputs: int, latents: int) -> nn.Linear:
    head = nn.Linear(inputs, 2 * latents)
    nn.init.normal_(head.weight, std=0.5 * inputs**-0.5)  # small outputs at first
    nn.init.zeros_(head.bias)
    return head


def _gaussian(head: nn.Module, states: Tensor) -> Gaussian:
    mean, log_variance = head(states.flatten(1)).float().chunk(2, dim=1)
    return Gaussian(mean, log_variance.clamp(*_LOG_VARIANCES))


def _rows(distribution: Gaussian, rows: slice) -> Gaussian:
    return Gaussian(distribution.mean[rows], distribution.log_variance[rows])
