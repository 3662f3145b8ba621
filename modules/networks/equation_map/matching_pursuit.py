"""Sums of products, found by orthogonal matching pursuit: rows that an encoder looks at beside the points.

The last step of an equation is undone in many ways: some function of the target, alone, times a variable or over
one. What comes out is a sum of products of two simple functions more often than the target is: of generated
equations of 12 tokens at most, three such products explain 65 % to 1 part in 10,000, the guesses of
`modules.networks.equation_map.term_screening` 45 %; of longer ones 35 and 7 %. The most promising of these
targets are pursued; all of them would make that 66 and 36 %.

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

PURSUED = 6  # targets of a table
TERMS = 3  # products of a sum
_STEPS = 3  # nothing, times a variable, over a variable
_GROUP = 11  # targets whose correlations are in memory at a time
_NEW = 1e-6  # of a product's variance that those before it do not have: less is rounding


def pursuit_width(variables: int) -> int:
    """How many numbers a row holds: which target is pursued, and the terms, each by name with what it is worth."""
    term = 2 * (len(ATOM_FUNCTIONS) + variables + 1) + 3
    return len(TARGET_FUNCTIONS) + _STEPS + variables + TERMS * term


def pursuits(moments: Moments, inputs: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """The sums of the most promising targets, whatever the order of the points; all finite.

    Of a sum: function, step and variable of its target; and of every term function and variable of both atoms (or
    that one is the constant), the share of the variance that it and those before it explain, what that is worth
    (`modules.networks.equation_map.atoms.worth`), and the sign of its factor when it came in. A term is all 0
    where those before it leave nothing.

    Args:
        moments: moments of the table's atoms.
        inputs: inputs in raw units, 0 in absent columns. `[B, N, V]`
        target: over its largest magnitude. `[B, N]`
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
    """All targets, standardised, 0 where undefined; see `_target_names`. `[B, N, 5 (1 + 2 V)]`"""
    functions = target_functions(target)
    x = torch.where(present[:, None], inputs, torch.nan)[:, :, None]  # of absent variables nothing is defined
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
    """What is new in terms, of variance 1; 0 where nothing is. `[B, N, K]`, `[B, N, K]` each"""
    for other in basis:
        terms = terms - (terms * other).mean(dim=1, keepdim=True) * other
    size = terms.square().mean(dim=1, keepdim=True)
    return torch.where(size > _NEW, terms * size.clamp(min=1e-30).rsqrt(), 0.0)
