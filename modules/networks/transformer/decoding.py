"""Equations from latents, token by token: greedy, drawn, or by beam search.

The grammar is masked in every step, and so are the variables that the data lack; what comes out is complete. Keys
and values of the tokens so far are kept, so that a token costs one position and not all of them.

Notation, in shapes: batch B, latents Z, variables V, ids T = longest + 2, beams W, ids of the vocabulary S.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from modules.networks.transformer.attention import Cache
from modules.networks.transformer.equation_transformer import EquationDecoder

__all__ = ["Grammar", "beams", "decoded"]

_TINY = 1e-30  # smallest exponential variate, so that its logarithm is finite
_OPEN_SHARE = 0.75  # share of unfinished rows below which the finished ones are put aside


class Grammar(Protocol):
    """Grammar of a vocabulary; a row's state is 1 before its first id, and negative when it is complete."""

    start: int

    def __len__(self) -> int: ...

    def allowed_next(self, state: Any, left: int, variables: Any, /) -> Any:
        """Whether each id may come next, if at most `left` more may be written. `[rows] -> [rows, S]`"""

    def advance(self, state: Any, ids: Any, /) -> Any:
        """The states after these ids. `[rows], [rows] -> [rows]`"""


@torch.no_grad()
def decoded(
    decoder: EquationDecoder,
    vocabulary: Grammar,
    longest: int,
    latents: Tensor,
    present: Tensor,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One equation of each latent vector.

    Args:
        decoder: network that continues the ids.
        vocabulary: grammar of the ids.
        longest: largest number of tokens in an equation.
        latents: latent vectors. `[B, Z]`
        present: variables that may be used. `[B, V]` bool
        temperature: divisor of the scores that ids are drawn from; 0 for the likeliest id of each step.
        generator: generator of the draws, on the device of the latents.

    Returns:
        `[B, T]`, with start and end, padded with 0.
    """
    ids = torch.zeros(len(latents), longest + 2, dtype=torch.long, device=latents.device)
    ids[:, 0] = vocabulary.start
    rows = torch.arange(len(latents), device=latents.device)
    missing = torch.ones_like(rows)
    caches = decoder.begin(latents)
    for position in range(longest + 1):
        scores = decoder.advance(ids[rows, position], caches, position)
        allowed = vocabulary.allowed_next(missing, longest - position, present)
        chosen = _chosen(scores.masked_fill(~allowed, -torch.inf), temperature, generator)
        ids[rows, position + 1] = chosen
        missing = vocabulary.advance(missing, chosen)
        still_open = (missing >= 0).nonzero()[:, 0]
        if not len(still_open):
            break
        if len(still_open) < _OPEN_SHARE * len(rows):
            rows, missing, present = rows[still_open], missing[still_open], present[still_open]
            caches = _selected(caches, still_open)
    return ids


def _chosen(scores: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """One id for each row: the likeliest, or a draw by the Gumbel-max trick. `[rows, S] -> [rows]`"""
    if temperature > 0:
        arrivals = torch.empty_like(scores).exponential_(generator=generator).clamp_(min=_TINY)
        scores = scores / temperature - arrivals.log_()
    return scores.argmax(dim=-1)


@torch.no_grad()
def beams(
    decoder: EquationDecoder, vocabulary: Grammar, longest: int, latents: Tensor, present: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """The likeliest equations of each latent vector that a beam search finds.

    Args:
        decoder: network that continues the ids.
        vocabulary: grammar of the ids.
        longest: largest number of tokens in an equation.
        latents: latent vectors. `[B, Z]`
        present: variables that may be used. `[B, V]` bool
        width: number W of beams.

    Returns:
        Ids `[B, W, T]`, all different and the likeliest first, and their log probabilities `[B, W]`, -inf for
        unused beams, where the grammar allows fewer than W equations.
    """
    batch, size = len(latents), len(vocabulary)
    device = latents.device
    ids = torch.zeros(batch, 1, longest + 2, dtype=torch.long, device=device)
    ids[..., 0] = vocabulary.start
    missing = torch.ones(batch, 1, dtype=torch.long, device=device)
    total = torch.zeros(batch, 1, device=device)
    caches = decoder.begin(latents)
    first_of = torch.arange(batch, device=device)[:, None]
    for position in range(longest + 1):
        count = ids.shape[1]
        scores = decoder.advance(ids[..., position].flatten(), caches, position)
        variables = present[:, None, :].expand(-1, count, -1).flatten(0, 1)
        allowed = vocabulary.allowed_next(missing.flatten(), longest - position, variables)
        logs = scores.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)
        logs = logs.nan_to_num(nan=-torch.inf, neginf=-torch.inf)  # unused beams
        candidates = (total[:, :, None] + logs.view(batch, count, size)).flatten(1)
        total, place = candidates.topk(min(width, candidates.shape[1]), dim=1)
        parents, chosen = place // size, place % size
        ids = ids.gather(1, parents[:, :, None].expand(-1, -1, ids.shape[2]))
        ids[..., position + 1] = chosen
        missing = vocabulary.advance(missing.gather(1, parents), chosen)
        if bool(((missing < 0) | total.isinf()).all()):
            break
        caches = _selected(caches, (first_of * count + parents).flatten())
    return ids, total


def _selected(caches: Iterable[Cache], rows: Tensor) -> list[Cache]:
    return [(keys[rows], values[rows]) for keys, values in caches]
