"""Plain statistics of a table: features that the encoder reads beside the points.

An encoder of points must learn to correlate and to regress before it can tell a power from a sine. These features
spare it that: the correlations of single functions of a variable, and of a pair of variables, with the target, and
the coefficients of two regressions on all variables, one of the target and one of its logarithm, in which a
product of powers is linear.

Notation, in shapes: batch B, points N, variables V, pairs P = V (V - 1) / 2.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from modules.networks.equation_map.scaling import standardised

__all__ = ["statistic_width", "table_statistics"]

_OF_A_VARIABLE, _OF_A_PAIR = 22, 9
_RIDGE = 1e-3  # ridge on unit variance: absent and collinear columns have finite coefficients
_SMALLEST, _LARGEST = 1e-6, 1e4  # magnitudes that powers and logarithms are taken of
_STEEPEST = 10.0  # argument of an exponential
_CLIPPED = 8.0


def statistic_width(variables: int) -> int:
    """Numbers in a row: statistics, the names of their variables, and the presence of these."""
    return _OF_A_VARIABLE + variables + 1


def table_statistics(
    inputs: Tensor, target: Tensor, unit_inputs: Tensor, unit_target: Tensor, present: Tensor
) -> Tensor:
    """Statistics of each variable, then of each pair, whatever the order of the points; all finite.

    Args:
        inputs: inputs in raw units, 0 in absent columns. `[B, N, V]`
        target: target divided by its largest magnitude. `[B, N]`
        unit_inputs: standardised inputs. `[B, N, V]`
        unit_target: standardised and clipped target. `[B, N]`
        present: whether the table has each variable. `[B, V]` bool

    Returns:
        Statistics, 0 in rows of absent variables. `[B, V + P, statistic_width(V)]` float32
    """
    batch, _, variables = inputs.shape
    wanted = standardised(unit_target[..., None])
    single = _of_variables(inputs, target, unit_inputs, wanted)
    of_one, of_two = (names.to(single).expand(batch, -1, -1) for names in _names(variables))
    rows = [torch.cat([single, of_one], dim=-1)]
    here = [present]
    first, second = torch.triu_indices(variables, variables, 1, device=inputs.device)
    if len(first):
        pairs = _of_pairs(inputs, unit_inputs, wanted, first, second)
        empty = pairs.new_zeros(batch, len(first), _OF_A_VARIABLE - _OF_A_PAIR)
        rows.append(torch.cat([pairs, empty, of_two], dim=-1))
        here.append(present[:, first] & present[:, second])
    return torch.cat(rows, dim=1) * torch.cat(here, dim=1)[..., None]


def _of_variables(inputs: Tensor, target: Tensor, unit_inputs: Tensor, wanted: Tensor) -> Tensor:
    """Statistics of each variable. `[B, V, 22]`"""
    x = inputs.clamp(-_LARGEST, _LARGEST)
    size = x.abs().clamp(min=_SMALLEST)
    logarithm, steep = size.log(), x.clamp(-_STEEPEST, _STEEPEST)
    bank = [
        x, x * x, x * x * x, x.sign() / size, size.sqrt(), logarithm, steep.exp(), (-steep).exp(), x.sin(),
        x.cos(), unit_inputs * unit_inputs,
    ]  # fmt: skip
    target_logarithm = standardised(target.abs().clamp(min=_SMALLEST).log()[..., None])
    unit_logarithm = standardised(logarithm)
    linear, linear_share = _regression(unit_inputs, wanted)
    powers, power_share = _regression(unit_logarithm, target_logarithm)
    spread = (logarithm.std(dim=1, correction=0) + _SMALLEST).reciprocal()
    exponents = powers * spread * target.abs().clamp(min=_SMALLEST).log().std(dim=1, correction=0)[:, None]
    whole = [
        linear, powers, exponents.clamp(-_CLIPPED, _CLIPPED), linear_share.expand_as(linear),
        power_share.expand_as(linear), (x > 0).float().mean(dim=1),
        (target > 0).float().mean(dim=1, keepdim=True).expand_as(linear), x.amin(dim=1).asinh(),
        x.amax(dim=1).asinh(),
    ]  # fmt: skip
    of_target = _correlations(torch.stack(bank, dim=-1), wanted)
    of_logarithm = _correlations(torch.stack([x, logarithm], dim=-1), target_logarithm)
    return torch.cat([of_target, of_logarithm, torch.stack(whole, dim=-1)], dim=-1)


def _of_pairs(inputs: Tensor, unit_inputs: Tensor, wanted: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Statistics of each pair of variables. `[B, P, 9]`"""
    x = inputs.clamp(-_LARGEST, _LARGEST)
    a, b = x[..., first], x[..., second]
    divisor_a, divisor_b = (part.abs().clamp(min=_SMALLEST) * part.sign() for part in (a, b))
    divisor_a, divisor_b = (torch.where(part == 0, _SMALLEST, part) for part in (divisor_a, divisor_b))
    bank = [
        a * b, a / divisor_b, b / divisor_a, a + b, a - b, (a - b).square(), (a * a + b * b).sqrt(), a * a * b,
        unit_inputs[..., first] * unit_inputs[..., second],
    ]  # fmt: skip
    return _correlations(torch.stack(bank, dim=-1), wanted)


@cache
def _names(variables: int) -> tuple[Tensor, Tensor]:
    """One-hot names of the variables, and a 1, for rows of one variable and of two. `[V, V + 1]`, `[P, V + 1]`"""
    eye = torch.eye(variables)
    first, second = torch.triu_indices(variables, variables, 1)
    one, two = eye, eye[first] + eye[second]
    return functional.pad(one, (0, 1), value=1.0), functional.pad(two, (0, 1), value=1.0)


def _correlations(values: Tensor, wanted: Tensor) -> Tensor:
    """Correlations of `[B, N, columns, functions]` with a target `[B, N, 1]`. `[B, columns, functions]`"""
    unit = standardised(values.flatten(2))
    return (unit * wanted).mean(dim=1).unflatten(1, values.shape[2:])


def _regression(columns: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients `[B, columns]` of a regression on all columns, and the explained share `[B, 1]`."""
    points = columns.shape[1]
    gram = columns.transpose(1, 2) @ columns / points
    gram = gram + _RIDGE * torch.eye(columns.shape[2], dtype=columns.dtype, device=columns.device)
    moments = columns.transpose(1, 2) @ wanted / points
    # Unchecked: with the ridge it is never singular, and a check waits for the GPU.
    coefficients = torch.linalg.solve_ex(gram, moments).result
    share = (coefficients * moments).sum(dim=1)
    return coefficients[..., 0].clamp(-_CLIPPED, _CLIPPED), share.clamp(0.0, 1.0)
