"""Sums of products, found by orthogonal matching pursuit: features of a table that the encoder reads beside
points.

The outermost operator of an equation is inverted in many ways: a function of the target, alone, times a variable
or divided by one. An inverted target is a sum of products of two simple functions more often than the target
itself. For 65 % of the generated equations of at most 12 tokens, three such products explain all but 1 part in
10,000 of the variance; the terms of `modules.networks.equation_map.term_screening` do so for 45 %. For longer
equations the shares are 35 % and 7 %. Only the most promising inverted targets are pursued; all of them would
reach 66 % and 36 %.

Source: Y. C. Pati, R. Rezaiifar, P. S. Krishnaprasad, "Orthogonal matching pursuit", 1993.

Notation, in shapes: batch B, points N, variables V, atoms M, targets K.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from modules.networks.equation_map.atoms import (
    ATOM_FUNCTIONS,
    SMALLEST_SHARE,
    TARGET_FUNCTIONS,
    Moments,
    atom_names,
    target_functions,
    worth,
)
from modules.networks.equation_map.scaling import standardised

__all__ = ["PURSUED", "TERMS", "pursuit_width", "pursuits"]

PURSUED = 6  # number of targets of a table that are pursued
TERMS = 3  # products of a sum
_STEPS = 3  # the target alone, times a variable, over a variable
_GROUP = 11  # targets whose correlations are in memory at a time
_NEW = 1e-6  # new share of a product's variance below which it is rounding


def pursuit_width(variables: int) -> int:
    """Numbers in a row: the name of the pursued target, and the name and worth of every term."""
    term = 2 * (len(ATOM_FUNCTIONS) + variables + 1) + 3
    return len(TARGET_FUNCTIONS) + _STEPS + variables + TERMS * term


def pursuits(moments: Moments, inputs: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """The sums of the most promising targets, whatever the order of the points; all finite.

    A row holds the function, step and variable of the sum's target. For every term it holds the function and
    variable of both atoms (or the constant), the share of the variance that the terms so far explain, its worth
    (`modules.networks.equation_map.atoms.worth`), and the sign of the term's factor when it was chosen. A term is
    all 0 where the terms before it leave nothing.

    Args:
        moments: moments of the table's atoms.
        inputs: inputs in raw units, 0 in absent columns. `[B, N, V]`
        target: target divided by its largest magnitude. `[B, N]`
        present: whether the table has each variable. `[B, V]` bool

    Returns:
        `[B, PURSUED, pursuit_width(V)]` float32
    """
    variables = inputs.shape[2]
    wanted = _undone(inputs, target, present)
    chosen = _promising(moments, wanted)
    rest = wanted.gather(2, chosen[:, None].expand(-1, wanted.shape[1], -1))
    left = torch.ones_like(chosen, dtype=rest.dtype)
    basis: list[Tensor] = []
    names = atom_names(variables).to(target.device)
    rows = [_target_names(variables).to(target.device)[chosen]]
    for _ in range(TERMS):
        places = moments.correlations(standardised(rest)).abs().transpose(1, 2).flatten(2).argmax(dim=2)
        term = _orthogonal(moments.products(places), basis)
        basis.append(term)
        factor = (term * rest).mean(dim=1, keepdim=True)
        needed = (left > SMALLEST_SHARE) & (factor[:, 0] != 0)
        rest = rest - factor * term
        left = torch.where(needed, rest.square().mean(dim=1), left)
        explained = (1.0 - left).clamp(0.0, 1.0)
        values = torch.stack([explained, worth(explained), factor[:, 0].sign()], dim=-1)
        one, other = places // len(names), places % len(names)
        rows.append(torch.cat([names[one], names[other], values], dim=-1) * needed[..., None])
    return torch.cat(rows, dim=-1) * (left < 1.0)[..., None]


def _undone(inputs: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """All inverted targets, standardised, 0 where undefined; see `_target_names`. `[B, N, 5 (1 + 2 V)]`"""
    functions = target_functions(target)
    x = torch.where(present[:, None], inputs, torch.nan)[:, :, None]  # absent variables make it undefined
    whole = torch.cat([functions[..., None], functions[..., None] * x, functions[..., None] / x], dim=3)
    return standardised(whole.flatten(2))


@cache
def _target_names(variables: int) -> Tensor:
    """Function, step and variable of every target. `[5 (1 + 2 V), 5 + 3 + V]`"""
    functions = torch.eye(len(TARGET_FUNCTIONS)).repeat_interleave(1 + 2 * variables, dim=0)
    eye = torch.eye(variables)
    of_variables = torch.cat([torch.zeros(1, variables), eye, eye])
    steps = functional.one_hot(torch.tensor([0] + [1] * variables + [2] * variables), _STEPS)
    undone = torch.cat([steps.float(), of_variables], dim=1).repeat(len(TARGET_FUNCTIONS), 1)
    return torch.cat([functions, undone], dim=1)


def _promising(moments: Moments, wanted: Tensor) -> Tensor:
    """The targets of which a single product explains most. `[B, N, K] -> [B, PURSUED]`"""
    groups = wanted.split(_GROUP, dim=2)
    promise = torch.cat([moments.correlations(some).abs().amax(dim=(1, 3)) for some in groups], dim=1)
    return promise.topk(PURSUED, dim=1).indices


def _orthogonal(terms: Tensor, basis: list[Tensor]) -> Tensor:
    """The parts of terms that are orthogonal to a basis, with variance 1; 0 where nothing is left. `[B, N, K]`"""
    for other in basis:
        terms = terms - (terms * other).mean(dim=1, keepdim=True) * other
    size = terms.square().mean(dim=1, keepdim=True)
    return torch.where(size > _NEW, terms * size.clamp(min=1e-30).rsqrt(), 0.0)
