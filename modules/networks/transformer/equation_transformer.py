"""Equations as tokens: an encoder for the posterior, and the decoder, which writes one token after the other.

Notation, in shapes: batch B, ids T of an equation with its start and end, width D, queries Q, prefix M, latents Z.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modules.networks.transformer.attention import Block, Cache, Norm, in_working_precision, scaled_initialisation

__all__ = ["EquationDecoder", "EquationEncoder"]


class EquationEncoder(nn.Module):
    """Encoder of the data and the equation together, by full attention over both.

    Args:
        size: size of the vocabulary; id 0 is padding.
        longest: largest number T of ids.
        width: size D of every state.
        heads: number of attention heads.
        layers: number of blocks, at least 1.
        mlp_ratio: width of the feed-forward networks over D.
        checkpoint_activations: work the blocks out again in the backward pass, to save memory.
    """

    def __init__(
        self,
        size: int,
        longest: int,
        width: int,
        heads: int,
        layers: int,
        mlp_ratio: float,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.checkpoint_activations = checkpoint_activations
        self.embedding = nn.Embedding(size, width)
        self.positions = nn.Parameter(torch.randn(longest, width) * 0.5)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(layers))
        self.norm = Norm(width)
        scaled_initialisation(self, 2 * layers)

    def forward(self, data: Tensor, ids: Tensor) -> Tensor:
        """New states of the data.

        Args:
            data: states from the set encoder. `[B, Q, D]`
            ids: equations with start and end, padded with 0. `[B, T]`

        Returns:
            New states. `[B, Q, D]`
        """
        queries = data.shape[1]
        tokens = self.embedding(ids) + self.positions[: ids.shape[1]]
        states = in_working_precision(torch.cat([data, tokens], dim=1))
        bias = data.new_zeros(len(ids), 1, 1, states.shape[1], dtype=torch.float32)
        bias[..., queries:].masked_fill_((ids == 0)[:, None, None, :], -torch.inf)
        for block in self.blocks[:-1]:
            states = _through(block, self.checkpoint_activations, states, bias)
        states = _through(self.blocks[-1], self.checkpoint_activations, states, bias, slice(0, queries))
        normed: Tensor = self.norm(states)
        return normed


class EquationDecoder(nn.Module):
    """A causal transformer that continues M positions, which are a linear map of the latents.

    The prefix positions all see each other; an id sees the prefix and the ids before it.

    Args:
        size: size of the vocabulary.
        longest: largest number of ids that are read, the start included.
        latents: number Z of latents.
        width: size D of every state.
        heads: number of attention heads.
        layers: number of blocks, at least 1.
        prefix: number M of states made of the latents.
        mlp_ratio: width of the feed-forward networks over D.
        checkpoint_activations: work the blocks out again in the backward pass, to save memory.
    """

    def __init__(
        self,
        size: int,
        longest: int,
        latents: int,
        width: int,
        heads: int,
        layers: int,
        prefix: int,
        mlp_ratio: float,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.width = width
        self.prefix = prefix
        self.longest = longest
        self.checkpoint_activations = checkpoint_activations
        self.expand = nn.Linear(latents, prefix * width)
        self.embedding = nn.Embedding(size, width)
        self.positions = nn.Parameter(torch.randn(prefix + longest, width) * 0.5)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(layers))
        self.norm = Norm(width)
        self.head = nn.Linear(width, size)
        scaled_initialisation(self, 2 * layers)
        self.bias: Tensor
        places = torch.arange(prefix + longest)
        hidden = places > places[:, None].clamp(min=prefix - 1)
        self.register_buffer("bias", torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf), persistent=False)

    def forward(self, latents: Tensor, ids: Tensor) -> Tensor:
        """Scores of the id after each id, all ids at once.

        Args:
            latents: latent vectors. `[B, Z]`
            ids: ids, beginning with the start. `[B, T]`

        Returns:
            Scores. `[B, T, size]` float32
        """
        states = in_working_precision(torch.cat([self._prefix(latents), self._tokens(ids, 0)], dim=1))
        total = states.shape[1]
        bias = self.bias[:total, :total]
        for block in self.blocks[:-1]:
            states = _through(block, self.checkpoint_activations, states, bias)
        kept = slice(self.prefix, total)
        states = _through(self.blocks[-1], self.checkpoint_activations, states, bias[kept], kept)
        return self._scores(states)

    def begin(self, latents: Tensor) -> list[Cache]:
        """Keys and values of the prefix, a pair a block, with room for `longest` ids. `[B, Z]`"""
        states = self._prefix(latents)
        shape = (len(latents), self.heads, self.prefix + self.longest, self.width // self.heads)
        caches = []
        for block in self.blocks:
            cache = (states.new_empty(shape), states.new_empty(shape))
            states = cast(Block, block).extend(states, cache, 0)
            caches.append(cache)
        return caches

    def advance(self, ids: Tensor, caches: list[Cache], position: int) -> Tensor:
        """Scores of the next id after one more id.

        Args:
            ids: ids at `position`. `[B]`
            caches: caches from `begin`, to which the id is added.
            position: position of the id, 0 for the start.

        Returns:
            Scores. `[B, size]` float32
        """
        states = self._tokens(ids[:, None], position)
        for block, cache in zip(self.blocks, caches, strict=True):
            states = cast(Block, block).extend(states, cache, self.prefix + position)
        return self._scores(states)[:, 0]

    def _prefix(self, latents: Tensor) -> Tensor:
        expanded: Tensor = self.expand(latents).view(len(latents), self.prefix, self.width)
        return expanded + self.positions[: self.prefix]

    def _tokens(self, ids: Tensor, position: int) -> Tensor:
        start = self.prefix + position
        tokens: Tensor = self.embedding(ids) + self.positions[start : start + ids.shape[1]]
        return tokens

    def _scores(self, states: Tensor) -> Tensor:
        with torch.autocast(states.device.type, enabled=False):
            scores: Tensor = self.head(self.norm(states.float()))
        return scores


def _through(block: nn.Module, again: bool, *arguments: object) -> Tensor:
    """Call a block; with `again`, the backward pass computes it a second time instead of storing it."""
    if again and torch.is_grad_enabled():
        states: Tensor = checkpoint(block, *arguments, use_reentrant=False)
    else:
        states = block(*arguments)
    return states
