"""Attention and the pre-norm transformer block that encoder, posterior and decoder are made of.

Notation, in shapes: batch B, positions L, width D, heads H of D / H numbers each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Block",
    "Cache",
    "CrossAttention",
    "Norm",
    "attend",
    "feed_forward",
    "in_working_precision",
    "scaled_initialisation",
    "split_heads",
]

Cache = tuple[Tensor, Tensor]
"""Keys and values of the positions so far, and room for those to come, each `[B, H, room, D / H]`."""


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention.

    On a CPU the products are written out: the backward pass of `scaled_dot_product_attention` alone took more than
    half of a training step there.

    Args:
        queries: `[B, H, L, D / H]`
        keys: `[B, H, M, D / H]`
        values: `[B, H, M, D / H]`
        bias: numbers added to the scores, -inf where a query may not look; broadcasts to `[B, H, L, M]`.

    Returns:
        The heads side by side, `[B, L, D]`.
    """
    if queries.is_cuda:
        queries = queries.expand(len(keys), -1, -1, -1)  # fused kernels do not broadcast
        bias = None if bias is None else bias.to(queries.dtype)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    else:
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
        scores = scores.float()
        if bias is not None:
            scores = scores + bias
        mixed = scores.softmax(dim=-1).to(values.dtype) @ values
    return mixed.transpose(1, 2).flatten(2)


def split_heads(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split projections that are stored side by side. `[B, L, parts * D] -> parts x [B, H, L, D / H]`"""
    batch, length, width = projected.shape
    split = projected.view(batch, length, parts, heads, width // (parts * heads))
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def in_working_precision(states: Tensor) -> Tensor:
    """States in autocast's type, if there is one, so that sums of products take no more memory than these."""
    kind = states.device.type
    return states.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else states


class Norm(nn.LayerNorm):
    """A layer norm in the type of its input, where autocast would work in float32.

    Its sums are in float32 whatever the type; autocast's copies to float32 and back were a tenth of a step's time
    on a GPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        """`[…, D] -> […, D]`"""
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
            return functional.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


def feed_forward(width: int, mlp_ratio: float) -> nn.Sequential:
    """Two layers with SiLU between them.

    SiLU and not GELU: with AVX2, GELU took six times as long, which was a fifth of a training step.
    """
    hidden = max(1, round(width * mlp_ratio))
    return nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width))


class Block(nn.Module):
    """Self-attention, then a feed-forward network, each on normalised inputs and added to its inputs (pre-norm).

    Args:
        width: size D of every state.
        heads: number H of attention heads.
        mlp_ratio: hidden width of the feed-forward network, in multiples of D.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = Norm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.mlp_norm = Norm(width)
        self.mlp = feed_forward(width, mlp_ratio)

    def forward(self, states: Tensor, bias: Tensor | None = None, kept: slice | None = None) -> Tensor:
        """All positions at once.

        Args:
            states: states of all positions. `[B, L, D]`
            bias: numbers added to the attention scores; broadcasts to `[B, H, L, L]`.
            kept: positions whose new states are returned, all when not given: the last block of a stack computes
                no others. `bias` then has the rows of the kept positions alone.

        Returns:
            New states. `[B, kept, D]`
        """
        queries, keys, values = split_heads(self.project_in(self.attention_norm(states)), 3, self.heads)
        if kept is not None:
            queries, states = queries[:, :, kept], states[:, kept]
        states = states + self.project_out(attend(queries, keys, values, bias))
        return states + self.mlp(self.mlp_norm(states))

    def extend(self, states: Tensor, cache: Cache, start: int) -> Tensor:
        """Positions that follow on those in the cache and see all of them, and each other.

        Args:
            states: states of the new positions. `[B, new, D]`
            cache: keys and values, to which those of the new positions are added.
            start: number of positions that the cache holds.

        Returns:
            New states. `[B, new, D]`
        """
        end = start + states.shape[1]
        queries, keys, values = split_heads(self.project_in(self.attention_norm(states)), 3, self.heads)
        cache[0][:, :, start:end] = keys
        cache[1][:, :, start:end] = values
        states = states + self.project_out(attend(queries, cache[0][:, :, :end], cache[1][:, :, :end]))
        return states + self.mlp(self.mlp_norm(states))


class CrossAttention(nn.Module):
    """Attention to other positions, whose keys and values are given; pre-norm, added to the inputs.

    Args:
        width: size D of every state.
        heads: number H of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(width)
        self.project_in = nn.Linear(width, width)
        self.project_out = nn.Linear(width, width)

    def forward(self, states: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """`[B, L, D]`, `[B, H, M, D / H]`, `[B, H, M, D / H] -> [B, L, D]`"""
        (queries,) = split_heads(self.project_in(self.norm(states)), 1, self.heads)
        return states + self.project_out(attend(queries, keys, values))


def scaled_initialisation(module: nn.Module, depth: int) -> None:
    """Small weights, and smaller ones where blocks add to the residual stream, so that its size is that of one.

    Args:
        module: stack of blocks, whose linear layers and embeddings are all set.
        depth: number of sums along the residual stream.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            std = part.in_features**-0.5
            if name.endswith(("project_out", "mlp.2")):
                std /= max(1, depth) ** 0.5
            nn.init.normal_(part.weight, std=std)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=1.0)
