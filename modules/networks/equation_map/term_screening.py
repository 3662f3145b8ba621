"""Screening of thousands of candidate terms of a table: features that the encoder reads beside the points.

A candidate is a product or a sum of two simple functions of the variables, for the target or for a function of it.
All candidates of a table are scored together (`modules.networks.equation_map.atoms`). The best ones of every
family are written down by name, so that the encoder need not learn from points alone what a regression shows at
once.

Notation, in shapes: batch B, points N, variables V, atoms M, pairs of atoms P.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modules.networks.equation_map.atoms import (
    ATOM_FUNCTIONS,
    SMALLEST_SHARE,
    TARGET_FUNCTIONS,
    Moments,
    atom_names,
    sum_pairs,
    target_functions,
    worth,
)
from modules.networks.equation_map.scaling import standardised

__all__ = ["FAMILIES", "KEPT", "screened_terms", "screening_width"]

KEPT = 3  # candidates kept of each family
FAMILIES = (
    *(f"product_{name}" for name in TARGET_FUNCTIONS),  # the target, its inverse, … as one product
    *(f"sum_{name}" for name in TARGET_FUNCTIONS),  # the same as a sum of two atoms
    "rest",  # the residual of the best product, as one product more
)
_COLLINEAR = 1e-3


def screening_width(variables: int) -> int:
    """Numbers in a row: the family, the names of two atoms, and the worth of the candidate."""
    return len(FAMILIES) + 2 * (len(ATOM_FUNCTIONS) + variables + 1) + 3


def screened_terms(moments: Moments, target: Tensor, variables: int) -> Tensor:
    """The best candidates of every family, best first, in any order of the points; all numbers are finite.

    A row holds the family, the function and variable of both atoms (or the constant), the explained share of the
    variance, its worth (`modules.networks.equation_map.atoms.worth`), and the sign of a product's correlation; all
    are 0 where there is no candidate.

    Args:
        moments: moments of the table's atoms.
        target: target divided by its largest magnitude. `[B, N]`
        variables: number V of variables.

    Returns:
        Rows of the candidates. `[B, KEPT * len(FAMILIES), screening_width(V)]` float32
    """
    sums = sum_pairs(variables).to(target.device)
    targets = standardised(target_functions(target))
    correlations = list(moments.correlations(targets).unbind(2))
    one_term = [_best(each.flatten(1).square()) for each in correlations]
    two_terms = [_best(each) for each in _explained_by_sums(moments, correlations, sums)]
    rest = moments.correlations(_rest(moments, targets[..., :1], one_term[0][1][:, :1]))[:, :, 0]
    another = _best(rest.flatten(1).square())
    explained = torch.stack([share for share, _ in (*one_term, *two_terms, another)], dim=1).clamp(max=1.0)
    best = torch.stack(
        [*(place for _, place in one_term), *(sums[place] for _, place in two_terms), another[1]], dim=1
    )
    all_signs = [*correlations, *([torch.zeros_like(rest)] * len(correlations)), rest]
    signs = torch.stack(
        [each.flatten(1).gather(1, own).sign() for each, own in zip(all_signs, best.unbind(1), strict=True)], dim=1
    )
    return _rows(explained, signs, best, atom_names(variables).to(target.device))


def _explained_by_sums(moments: Moments, correlations: list[Tensor], sums: Tensor) -> list[Tensor]:
    """Shares of variance that two atoms explain together, 0 where they are collinear.

    Args:
        moments: moments of the atoms.
        correlations: correlations of all products with some targets. `[B, M, M]` each
        sums: pairs of atoms. `[P]`

    Returns:
        Explained shares for every target. `[B, P]` each
    """
    count = moments.scale.shape[-1]
    i, j = sums // count, sums % count
    mean, scale = moments.mean[..., -1], moments.scale[..., -1]  # the last atom is 1: a product with it is an atom
    between = (moments.mean.flatten(1)[:, sums] - mean[:, i] * mean[:, j]) * scale[:, i] * scale[:, j]
    left = 1.0 - between.square()
    per_left = torch.where((left > _COLLINEAR) & (scale[:, i] * scale[:, j] > 0), left.reciprocal(), 0.0)
    shares = []
    for each in correlations:
        one, other = each[:, i, -1], each[:, j, -1]
        shares.append((one - other * between).square() * per_left + other.square() * (per_left > 0))
    return [share.clamp(0.0, 1.0) for share in shares]


def _rest(moments: Moments, wanted: Tensor, best: Tensor) -> Tensor:
    """The standardised residual of a standardised target after a product. `[B, N, 1]`, `[B, 1] -> [B, N, 1]`"""
    product = moments.products(best)
    rest = wanted - (product * wanted).mean(dim=1, keepdim=True) * product
    left = rest.square().mean(dim=1, keepdim=True)
    return torch.where(left > SMALLEST_SHARE, rest * left.clamp(min=1e-30).rsqrt(), 0.0)


def _best(explained: Tensor) -> tuple[Tensor, Tensor]:
    """The largest explained shares and their indices. `[B, P] -> [B, KEPT]` each"""
    shares, places = explained.topk(KEPT, dim=1)
    return shares, places


def _rows(explained: Tensor, signs: Tensor, best: Tensor, names: Tensor) -> Tensor:
    """Rows of the candidates. `[B, families, KEPT]` each -> `[B, families * KEPT, screening_width(V)]`"""
    families = torch.eye(len(FAMILIES), device=best.device)[None, :, None].expand(*best.shape, -1)
    values = torch.stack([explained, worth(explained), signs], dim=-1)
    one, other = best // len(names), best % len(names)
    rows = torch.cat([families, names[one], names[other], values], dim=-1)
    return (rows * (explained > 0)[..., None]).flatten(1, 2)
