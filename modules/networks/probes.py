"""What thousands of guesses about a table are worth: rows that an encoder looks at beside the points.

A guess is a product or a sum of two simple functions of the variables, for the target or for some function of it.
All guesses of a table are judged together: their correlations with the target are entries of a few Gram matrices
of the simple functions. The best of every family are written down by name, so that an encoder need not find out
from points alone what a regression tells at once; it starts where the guesses end.

Notation, in shapes: batch B, points N, variables V, atoms M (simple functions of a variable, and the constant 1),
pairs of atoms P.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from modules.networks.columns import over_largest, standardised

__all__ = ["FAMILIES", "probe_rows", "probe_width", "probes"]

KEPT = 3  # guesses of a family
_POWERS = {"id": 1.0, "square": 2.0, "cube": 3.0, "inv": -1.0, "inv_square": -2.0, "sqrt": 0.5}
_FUNCTIONS = (*_POWERS, "log", "exp", "neg_exp", "sin", "cos")
_TARGETS = ("id", "inv", "square", "sqrt", "log")
FAMILIES = (
    *(f"product_{name}" for name in _TARGETS),  # of the target, its inverse, …: one term
    *(f"sum_{name}" for name in _TARGETS),  # two terms
    "rest",  # of what the best product leaves of the target: one term more
)
_SMALLEST_SHARE = 1e-5  # of variance that float32 can tell from none
_COLLINEAR = 1e-3
_STEEPEST = 20.0  # argument of an exponential


def probe_rows() -> int:
    """How many rows `probes` makes."""
    return KEPT * len(FAMILIES)


def probe_width(variables: int) -> int:
    """How many numbers a row holds: its family, two atoms by name, and what the guess is worth."""
    return len(FAMILIES) + 2 * (len(_FUNCTIONS) + variables + 1) + 3


def probes(inputs: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """The best guesses of every family, best first, whatever the order of the points; all finite.

    Of a guess: its family, function and variable of both atoms (or that one is the constant), the explained share
    of the variance, the logarithm of the unexplained one from 0 (all) to 1 (none), and the sign of the
    correlation of a product; all 0 where there is no guess.

    Args:
        inputs: in raw units. `[B, N, V]`
        target: over its largest magnitude. `[B, N]`
        present: which variables the table has. `[B, V]` bool

    Returns:
        `[B, probe_rows(), probe_width(V)]` float32
    """
    atoms = _atoms(inputs, present)
    products, sums = (pairs.to(atoms.device) for pairs in _pairs(inputs.shape[2]))
    moments = _Moments(atoms)
    targets = standardised(_targets(target)).unbind(-1)
    correlations = [moments.correlations(wanted) for wanted in targets]
    one_term = [_best(each.flatten(1)[:, products].square()) for each in correlations]
    two_terms = [_best(each) for each in moments.explained_by_sums(correlations, sums)]
    rest = moments.correlations(_rest(atoms, targets[0], products[one_term[0][1][:, 0]]))
    another = _best(rest.flatten(1)[:, products].square())
    explained = torch.stack([share for share, _ in (*one_term, *two_terms, another)], dim=1)
    best = torch.stack(
        [
            *(products[place] for _, place in one_term),
            *(sums[place] for _, place in two_terms),
            products[another[1]],
        ],
        dim=1,
    )
    all_signs = [*correlations, *([torch.zeros_like(rest)] * len(correlations)), rest]
    signs = torch.stack(
        [each.flatten(1).gather(1, own).sign() for each, own in zip(all_signs, best.unbind(1), strict=True)], dim=1
    )
    return _rows(explained, signs, best, inputs.shape[2])


@cache
def _pairs(variables: int) -> tuple[Tensor, Tensor]:
    """Places in `[M, M]`, flattened, of the products and of the sums that are looked at, each once. `[P]` each

    A product of two functions of one variable is left out where it is an atom itself, or another such product, and
    so is cos**2, which is as good as sin**2.
    """
    atoms = [(name, variable) for name in _FUNCTIONS for variable in range(variables)]
    count = len(atoms) + 1  # and the constant
    products, sums = [], []
    powers = {(variable, power) for variable in range(variables) for power in (0.0, *_POWERS.values())}
    for i, (one, of) in enumerate(atoms):
        for j, (other, of_other) in enumerate(atoms[i:], i):
            power = (of, _POWERS[one] + _POWERS[other]) if one in _POWERS and other in _POWERS else None
            if of != of_other or not (power in powers or {one, other} in ({"exp", "neg_exp"}, {"cos"})):
                products.append(i * count + j)
                powers |= {power} if power is not None and of == of_other else set()
            if i < j:
                sums.append(i * count + j)
        products.append(i * count + len(atoms))  # the atom alone
    return torch.tensor(products), torch.tensor(sums)


class _Moments:
    """Moments of all products of two atoms.

    Args:
        atoms: values. `[B, N, M]`
    """

    def __init__(self, atoms: Tensor) -> None:
        self._atoms = atoms
        self._mean = atoms.transpose(1, 2) @ atoms / atoms.shape[1]
        squares = atoms.square()
        second = squares.transpose(1, 2) @ squares / atoms.shape[1]
        variance = second - self._mean.square()
        varies = variance > _SMALLEST_SHARE * second
        self._scale = torch.where(varies, variance.clamp(min=1e-30).rsqrt(), 0.0)

    def correlations(self, wanted: Tensor) -> Tensor:
        """Of all products with a standardised target. `[B, N] -> [B, M, M]`"""
        covariance = self._atoms.transpose(1, 2) @ (self._atoms * wanted[..., None]) / wanted.shape[1]
        return (covariance * self._scale).clamp(-1.0, 1.0)

    def explained_by_sums(self, correlations: list[Tensor], sums: Tensor) -> list[Tensor]:
        """Shares of variance that two atoms explain together, 0 where they are collinear.

        Args:
            correlations: of all products with some targets. `[B, M, M]` each
            sums: pairs of atoms. `[P]`

        Returns:
            Of every target, `[B, P]`.
        """
        count = self._scale.shape[-1]
        i, j = sums // count, sums % count
        mean, scale = self._mean[..., -1], self._scale[..., -1]  # the last atom is 1: a product with it is an atom
        between = (self._mean.flatten(1)[:, sums] - mean[:, i] * mean[:, j]) * scale[:, i] * scale[:, j]
        left = 1.0 - between.square()
        per_left = torch.where((left > _COLLINEAR) & (scale[:, i] * scale[:, j] > 0), left.reciprocal(), 0.0)
        shares = []
        for each in correlations:
            one, other = each[:, i, -1], each[:, j, -1]
            shares.append((one - other * between).square() * per_left + other.square() * (per_left > 0))
        return [share.clamp(0.0, 1.0) for share in shares]


def _atoms(inputs: Tensor, present: Tensor) -> Tensor:
    """Values of all atoms over their largest magnitudes, the constant last; 0 where undefined. `[B, N, M]`"""
    x = inputs
    columns = torch.stack(
        [
            x, x * x, x * x * x, x.reciprocal(), (x * x).reciprocal(), x.sqrt(), x.log(),
            x.clamp(max=_STEEPEST).exp(), (-x).clamp(max=_STEEPEST).exp(), x.sin(), x.cos(),
        ],
        dim=2,
    )  # fmt: skip
    columns = columns.flatten(2)
    usable = present.repeat(1, len(_FUNCTIONS))[:, None]
    columns = over_largest(columns) * usable
    return torch.cat([columns, torch.ones_like(columns[..., :1])], dim=2)


def _targets(target: Tensor) -> Tensor:
    """The target and functions of it, not finite where undefined. `[B, N] -> [B, N, targets]`"""
    y = target
    return torch.stack([y, y.reciprocal(), y * y, y.sqrt(), y.log()], dim=-1)


def _rest(atoms: Tensor, wanted: Tensor, best: Tensor) -> Tensor:
    """What a product of atoms leaves of a standardised target, standardised. `[B, N, M]`, `[B, N]`, `[B]`"""
    count = atoms.shape[-1]
    of = torch.stack([best // count, best % count], dim=1)[:, None].expand(-1, atoms.shape[1], -1)
    product = standardised(atoms.gather(2, of).prod(dim=2))
    rest = wanted - (product * wanted).mean(dim=1, keepdim=True) * product
    left = rest.square().mean(dim=1, keepdim=True)
    return torch.where(left > _SMALLEST_SHARE, rest * left.clamp(min=1e-30).rsqrt(), 0.0)


def _best(explained: Tensor) -> tuple[Tensor, Tensor]:
    """The best guesses, and their places. `[B, P] -> [B, KEPT]` each"""
    shares, places = explained.topk(KEPT, dim=1)
    return shares, places


def _rows(explained: Tensor, signs: Tensor, best: Tensor, variables: int) -> Tensor:
    """Guesses by name. `[B, families, KEPT]` each -> `[B, families * KEPT, probe_width(V)]`"""
    functions = torch.arange(len(_FUNCTIONS), device=best.device).repeat_interleave(variables)
    of_variables = torch.arange(variables, device=best.device).repeat(len(_FUNCTIONS))
    names = torch.cat(
        [functional.one_hot(functions, len(_FUNCTIONS)), functional.one_hot(of_variables, variables)], dim=1
    )
    names = functional.pad(names, (0, 1, 0, 1)).float()  # the constant, which has a place of its own
    names[-1, -1] = 1.0
    families = torch.eye(len(FAMILIES), device=best.device)[None, :, None].expand(*best.shape, -1)
    worth = (1.0 - explained).clamp(min=_SMALLEST_SHARE).log10() / -5.0
    values = torch.stack([explained, worth, signs], dim=-1)
    one, other = best // len(names), best % len(names)
    rows = torch.cat([families, names[one], names[other], values], dim=-1)
    return (rows * (explained > 0)[..., None]).flatten(1, 2)
