"""The set encoder: from a table of points to a few vectors that do not depend on the order of the points.

Source: the latent queries are those of Jaegle et al., "Perceiver", 2021; E2E and SNIP encode points in a sequence
model instead, which is quadratic in the points.

Notation, in shapes: batch B, points N, variables V, width D, queries Q.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modules.networks.equation_map.atoms import Moments, atoms
from modules.networks.equation_map.matching_pursuit import pursuit_width, pursuits
from modules.networks.equation_map.scaling import SMALLEST_SPREAD, over_largest, standardised
from modules.networks.equation_map.table_statistics import statistic_width, table_statistics
from modules.networks.equation_map.term_screening import screened_terms, screening_width
from modules.networks.transformer.attention import (
    Block,
    CrossAttention,
    Norm,
    in_working_precision,
    scaled_initialisation,
    split_heads,
)

__all__ = ["Features", "SetEncoder", "point_features"]

_SMALLEST_LOG = -8.0  # smallest logarithm of a magnitude; the largest is its negative
_FARTHEST = 10.0  # standard deviations, or asinh of robust ones, beyond which values are clipped


class Features(NamedTuple):
    """Features of a table, in rows of four kinds.

    Attributes:
        points: numbers of each point, first 3 V of the variables, then those of the standardised target.
            `[B, N, 4 V + 5]`
        statistics: rows of `modules.networks.equation_map.table_statistics`. `[B, rows, statistic_width(V)]`
        guesses: rows of `modules.networks.equation_map.term_screening`. `[B, rows, screening_width(V)]`
        sums: rows of `modules.networks.equation_map.matching_pursuit`. `[B, rows, pursuit_width(V)]`
    """

    points: Tensor
    statistics: Tensor
    guesses: Tensor
    sums: Tensor


def _widths(variables: int) -> tuple[int, ...]:
    """Numbers of a row of each kind, in the order of `Features`."""
    return 4 * variables + 5, statistic_width(variables), screening_width(variables), pursuit_width(variables)


@torch.no_grad()
def point_features(inputs: Tensor, target: Tensor, present: Tensor) -> Features:
    """Features of each point and of the whole table, finite for every finite table.

    Features of each variable: its standardised value (0 where the column is constant); asinh of the raw value,
    which shows the scale and zero; whether the table has it; and the logarithm of its magnitude. All are 0 where
    the table lacks the variable. Features of the target, whose scale does not matter: the standardised value,
    clipped; asinh of the distance from the median in robust standard deviations, clipped, so that poles do not
    hide the other values; its rank from -1 to 1; the logarithm of its magnitude over the root mean square; and its
    sign.

    Args:
        inputs: inputs in raw units. `[B, N, V]`
        target: target in raw units. `[B, N]`
        present: whether the table has each variable. `[B, V]` bool

    Returns:
        The features, float32.
    """
    inputs, target = inputs.float(), target.float()
    variables = inputs.shape[2]
    here = present[:, None, :].expand(inputs.shape)
    raw = inputs.masked_fill(~here, 0.0)
    unit = standardised(raw)
    scaled = over_largest(target)
    unit_target = standardised(scaled[..., None])[..., 0].clamp(-_FARTHEST, _FARTHEST)
    relative = scaled / scaled.square().mean(dim=1, keepdim=True).sqrt().clamp(min=torch.finfo(scaled.dtype).tiny)
    of_points = [
        unit,
        raw.asinh(),
        here.to(raw.dtype),
        torch.stack([unit_target, *_order_statistics(scaled), _logarithm(relative), scaled.sign()], dim=-1),
        _logarithm(raw) * here,
    ]
    with torch.autocast(inputs.device.type, enabled=False):  # regressions need more digits than bfloat16 has
        moments = Moments(atoms(raw, present), variables)
        return Features(
            torch.cat(of_points, dim=-1),
            table_statistics(raw, scaled, unit, unit_target, present),
            screened_terms(moments, scaled, variables),
            pursuits(moments, raw, scaled, present),
        )


def _logarithm(values: Tensor) -> Tensor:
    """Logarithm of the magnitude, clipped."""
    return values.abs().clamp(min=torch.finfo(values.dtype).tiny).log().clamp(_SMALLEST_LOG, -_SMALLEST_LOG)


def _order_statistics(scaled: Tensor) -> tuple[Tensor, Tensor]:
    """Distance from the median and rank, `[B, N]` each, of values `[B, N]` of magnitude 1 at most."""
    points = scaled.shape[1]
    ordered = scaled.sort(dim=1).values
    median = (ordered[:, (points - 1) // 2] + ordered[:, points // 2])[:, None] / 2
    spread = (ordered[:, -1 - points // 4] - ordered[:, points // 4])[:, None] / 1.349  # of a normal distribution
    deviation = scaled.std(dim=1, keepdim=True, correction=0)
    spread = torch.where(spread > SMALLEST_SPREAD * deviation, spread, deviation)  # half of them are equal
    distance = torch.where(deviation > SMALLEST_SPREAD, (scaled - median) / spread.clamp(min=1e-12), 0.0)
    below = torch.searchsorted(ordered, scaled.contiguous())
    not_above = torch.searchsorted(ordered, scaled.contiguous(), right=True)
    rank = (below + not_above - 1).to(scaled.dtype) / max(points - 1, 1) - 1.0  # ties share their mean rank
    rank = rank if points > 1 else torch.zeros_like(scaled)
    return distance.asinh().clamp(-_FARTHEST, _FARTHEST), rank


class PerceiverBlock(nn.Module):
    """Cross-attention of the queries to the points, then self-attention of the queries.

    Args:
        width: size D of every state.
        heads: number of attention heads.
        mlp_ratio: width of the feed-forward network over D.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.cross = CrossAttention(width, heads)
        self.block = Block(width, heads, mlp_ratio)

    def forward(self, states: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """`[B, Q, D]` and keys and values of the points `[B, heads, N, D / heads] -> [B, Q, D]`"""
        return self.block(self.cross(states, keys, values))


class SetEncoder(nn.Module):
    """Map from points to Q vectors that do not depend on the order of the points.

    One network maps each row to keys and values. All blocks share them and have queries of their own: separate
    keys and values in every layer would take a sixth of a training step.

    Args:
        variables: number V of variables.
        width: size D of every state.
        queries: number Q of learned queries.
        heads: number of attention heads.
        layers: number of blocks.
        mlp_ratio: width of the feed-forward networks over D.
        checkpoint_activations: whether blocks are computed again in the backward pass, to save memory.
    """

    def __init__(
        self,
        variables: int,
        width: int,
        queries: int,
        heads: int,
        layers: int,
        mlp_ratio: float,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.checkpoint_activations = checkpoint_activations
        networks = (_keys_and_values(features, width) for features in _widths(variables))
        self.points, self.statistics, self.probes, self.pursuits = networks
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.blocks = nn.ModuleList(PerceiverBlock(width, heads, mlp_ratio) for _ in range(layers))
        self.norm = Norm(width)
        scaled_initialisation(self, 3 * layers)

    def forward(self, features: Features) -> Tensor:
        """Encode the features that `point_features` returns. `[B, Q, D]`"""
        networks = (self.points, self.statistics, self.probes, self.pursuits)
        parts = zip(networks, features, strict=True)
        seen = torch.cat([network(rows) for network, rows in parts], dim=1)
        # Copied once here, not by the products of every block.
        keys, values = (part.contiguous() for part in split_heads(seen, 2, self.heads))
        # The same for all tables, until the first block has looked at their points.
        states = in_working_precision(self.queries)[None]
        for block in self.blocks:
            if self.checkpoint_activations and torch.is_grad_enabled():
                states = checkpoint(block, states, keys, values, use_reentrant=False)
            else:
                states = block(states, keys, values)
        return self.norm(states)


def _keys_and_values(features: int, width: int) -> nn.Sequential:
    """A network that each row goes through alone. `[…, features] -> […, 2 D]`"""
    return nn.Sequential(
        nn.Linear(features, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        Norm(width),
        nn.Linear(width, 2 * width),
    )
