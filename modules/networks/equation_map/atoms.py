"""Atoms, simple functions of the variables of a table, and the correlations of all their products with a target.

`modules.networks.equation_map.term_screening` and `modules.networks.equation_map.matching_pursuit` build terms
from atoms. No product is computed row by row: the correlations of products with a target are entries of a few
matrices of moments of the atoms.

Notation, in shapes: batch B, points N, variables V, atoms M (simple functions of a variable, and the constant 1 as
the last), targets K, pairs of atoms P.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from modules.networks.equation_map.scaling import over_largest, standardised

__all__ = [
    "ATOM_FUNCTIONS",
    "SMALLEST_SHARE",
    "TARGET_FUNCTIONS",
    "Moments",
    "atom_names",
    "atoms",
    "product_mask",
    "sum_pairs",
    "target_functions",
    "worth",
]

_POWERS = {"id": 1.0, "square": 2.0, "cube": 3.0, "inv": -1.0, "inv_square": -2.0, "sqrt": 0.5}
ATOM_FUNCTIONS = (*_POWERS, "log", "exp", "neg_exp", "sin", "cos")
TARGET_FUNCTIONS = ("id", "inv", "square", "sqrt", "log")
SMALLEST_SHARE = 1e-5  # smallest share of the variance that float32 can tell from none
_STEEPEST = 20.0  # largest argument of an exponential


def atoms(inputs: Tensor, present: Tensor) -> Tensor:
    """Values of all atoms divided by their largest magnitudes, the constant last; 0 where undefined.

    Args:
        inputs: input columns in raw units. `[B, N, V]`
        present: whether the table has each variable. `[B, V]` bool

    Returns:
        Values of the atoms. `[B, N, M]`
    """
    x = inputs
    columns = torch.stack(
        [
            x, x * x, x * x * x, x.reciprocal(), (x * x).reciprocal(), x.sqrt(), x.log(),
            x.clamp(max=_STEEPEST).exp(), (-x).clamp(max=_STEEPEST).exp(), x.sin(), x.cos(),
        ],
        dim=2,
    )  # fmt: skip
    columns = columns.flatten(2)
    usable = present.repeat(1, len(ATOM_FUNCTIONS))[:, None]
    columns = over_largest(columns) * usable
    return torch.cat([columns, torch.ones_like(columns[..., :1])], dim=2)


def target_functions(target: Tensor) -> Tensor:
    """The target and functions of it, not finite where undefined. `[B, N] -> [B, N, 5]`"""
    y = target
    return torch.stack([y, y.reciprocal(), y * y, y.sqrt(), y.log()], dim=-1)


def worth(explained: Tensor) -> Tensor:
    """The logarithm of the unexplained share of the variance, from 0 (all) to 1 (none)."""
    return (1.0 - explained).clamp(min=SMALLEST_SHARE).log10() / -5.0


class Moments:
    """Moments of all products of two atoms.

    Args:
        atoms: values of the atoms. `[B, N, M]`
        variables: number V of variables.
    """

    def __init__(self, atoms: Tensor, variables: int) -> None:
        self.atoms = atoms
        self.mean = atoms.transpose(1, 2) @ atoms / atoms.shape[1]
        """Of the products. `[B, M, M]`"""
        squares = atoms.square()
        second = squares.transpose(1, 2) @ squares / atoms.shape[1]
        variance = second - self.mean.square()
        varies = variance > SMALLEST_SHARE * second
        self.scale = torch.where(varies, variance.clamp(min=1e-30).rsqrt(), 0.0)
        """1 over the deviations of the products, 0 of those that do not vary. `[B, M, M]`"""
        looked_at = product_mask(variables).to(atoms.device)
        self._per_rows = (self.scale * looked_at / atoms.shape[1])[:, :, None]

    def correlations(self, wanted: Tensor) -> Tensor:
        """Correlations of products with targets, up to rounding; 0 where `product_mask` is 0. `[B, M, K, M]`

        Args:
            wanted: standardised targets. `[B, N, K]`
        """
        weighted = (wanted[..., None] * self.atoms[:, :, None]).flatten(2)
        covariance = self.atoms.transpose(1, 2) @ weighted  # one product of matrices for all targets
        return covariance.unflatten(2, (wanted.shape[2], -1)) * self._per_rows

    def products(self, places: Tensor) -> Tensor:
        """Standardised values of products, given as flat indices into `[M, M]`. `[B, K] -> [B, N, K]`"""
        count = self.atoms.shape[-1]
        one, other = (self._columns(part) for part in (places // count, places % count))
        return standardised(one * other)

    def _columns(self, numbers: Tensor) -> Tensor:
        return self.atoms.gather(2, numbers[:, None].expand(-1, self.atoms.shape[1], -1))


# ------------------------------------------------------------------------------------------------ which, by name


@cache
def product_mask(variables: int) -> Tensor:
    """Mask of the products that are screened, each once: 1 there, 0 elsewhere. `[M, M]`

    A product of two functions of one variable is left out if it equals an atom or another such product. cos**2 is
    left out, because sin**2 explains as much.
    """
    named = [(name, variable) for name in ATOM_FUNCTIONS for variable in range(variables)]
    mask = torch.zeros(len(named) + 1, len(named) + 1)
    mask[:-1, -1] = 1.0  # the atoms alone
    powers = {(variable, power) for variable in range(variables) for power in (0.0, *_POWERS.values())}
    for i, (one, of) in enumerate(named):
        for j, (other, of_other) in enumerate(named[i:], i):
            power = (of, _POWERS[one] + _POWERS[other]) if one in _POWERS and other in _POWERS else None
            if of != of_other or not (power in powers or {one, other} in ({"exp", "neg_exp"}, {"cos"})):
                mask[i, j] = 1.0
                powers |= {power} if power is not None and of == of_other else set()
    return mask


@cache
def sum_pairs(variables: int) -> Tensor:
    """Flat indices into `[M, M]` of all pairs of different atoms without the constant. `[P]`"""
    count = len(ATOM_FUNCTIONS) * variables + 1
    return torch.tensor([i * count + j for i in range(count - 1) for j in range(i + 1, count - 1)])


@cache
def atom_names(variables: int) -> Tensor:
    """One-hot names of the atoms: the function and the variable, or the constant. `[M, 12 + V]`"""
    functions = torch.arange(len(ATOM_FUNCTIONS)).repeat_interleave(variables)
    of_variables = torch.arange(variables).repeat(len(ATOM_FUNCTIONS))
    names = torch.cat(
        [functional.one_hot(functions, len(ATOM_FUNCTIONS)), functional.one_hot(of_variables, variables)], dim=1
    )
    names = functional.pad(names, (0, 1, 0, 1)).float()  # the constant, which has a place of its own
    names[-1, -1] = 1.0
    return names
