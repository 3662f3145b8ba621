"""Random expressions in whole batches.

Expressions are drawn uniformly from all prefix programs of a given length, in the sense of Lample and Charton
(Deep Learning for Symbolic Mathematics, ICLR 2020, appendix C): every shape has the weight of what can stand
in its nodes, so that neither deep nor flat trees are favoured. They count the ways to finish a tree by its
operators that are still to come; here they are counted by its *tokens* that are still to come, so that the
length distribution is exactly the one asked for (Flajolet, Zimmermann and Van Cutsem, A calculus for the
random generation of labelled combinatorial structures, 1994):

    ways(open, left) = leaf * ways(open - 1, left - 1)
                     + unary * ways(open, left - 1)
                     + binary * ways(open + 1, left - 1)

where `open` arguments are missing, `left` tokens are to come, and `leaf`, `unary`, `binary` are the summed
weights of the tokens of that arity. All programs of a batch grow together, one token a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, OPERATORS, TOKEN

__all__ = ["SamplingSettings", "sample", "sample_constants", "sample_tokens"]

PAD = -1

# Sums and products carry most formulas; the rest in about the proportions of textbook physics.
DEFAULT_OPERATORS: Mapping[str, float] = MappingProxyType(
    {row.name: row.sampled for row in OPERATORS if row.sampled}
)


@dataclass(frozen=True)
class SamplingSettings:
    """Distribution of random expressions.

    Attributes:
        operators: weight of every operator, by name.
        variables: number of variables; each is as likely as the others.
        min_size, max_size: fewest and most tokens. Lengths are uniform between them, or follow
            `size_weights`.
        size_weights: weight of every length from `min_size` to `max_size`; empty for equal weights. Lengths
            that no program has (an even one with binary operators only) are left out.
        leaf_weight: weight of a leaf against the sum of all operators' weights, which counts as 1: more makes
            bushier trees (a binary operator brings a leaf more), less makes longer chains of unary ones.
        constant_probability: share of leaves that are constants.
        fold_constants: whether constants may meet each other, `sin(c)` or `c + c`. If not, such a leaf
            becomes a variable, so that every operator has a variable below it.
        constant_distribution: kind of draw of the values, `log_uniform` (magnitudes, either sign), `uniform`,
            `normal` or `integer`.
        constant_low, constant_high: range of the magnitudes of `log_uniform`, of the values of `uniform` and
            `integer` (both ends included); for `normal` the second is the standard deviation.
    """

    operators: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_OPERATORS))
    variables: int = 1
    min_size: int = 1
    max_size: int = 15
    size_weights: tuple[float, ...] = ()
    leaf_weight: float = 1.0
    constant_probability: float = 0.3
    fold_constants: bool = False
    constant_distribution: str = "log_uniform"
    constant_low: float = 0.1
    constant_high: float = 10.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.operators if name not in BY_NAME]
        if unknown:
            raise ValueError(f"no operator is called {', '.join(unknown)}")
        if any(not weight >= 0 for weight in self.operators.values()):
            raise ValueError("operator weights must not be negative")
        if not 1 <= self.min_size <= self.max_size:
            raise ValueError(f"sizes must be 1 <= {self.min_size} <= {self.max_size}")
        if self.size_weights and len(self.size_weights) != self.max_size - self.min_size + 1:
            raise ValueError(f"{len(self.size_weights)} size weights for {self.min_size} to {self.max_size}")
        if self.variables < 0 or not 0 <= self.constant_probability <= 1 or not self.leaf_weight > 0:
            raise ValueError("variables, constant_probability or leaf_weight is out of its range")
        if self.variables == 0 and (self.constant_probability < 1 or not self.fold_constants):
            raise ValueError("without variables every leaf is a constant: set both settings of constants so")
        if self.constant_distribution not in _CONSTANTS:
            raise ValueError(f"constant_distribution is one of {', '.join(_CONSTANTS)}")
        if self.size_probabilities().sum() == 0:
            raise ValueError("no program of these operators has a length in this range")

    def size_probabilities(self) -> np.ndarray:
        """Probability of every length from 0 to `max_size`, `[max_size + 1]`; all 0 if there is none."""
        weights = np.zeros(self.max_size + 1)
        weights[self.min_size :] = self.size_weights or 1.0
        weights *= _ways(*self.arity_weights(), self.max_size)[1] > 0
        return weights / max(weights.sum(), 1e-300)

    def arity_weights(self) -> tuple[float, float, float]:
        """Weights of a leaf, of all unary and of all binary operators."""
        sums = [0.0, 0.0, 0.0]
        for name, weight in self.operators.items():
            sums[BY_NAME[name].arity] += float(weight)
        total = sum(sums) or 1.0
        return self.leaf_weight, sums[1] / total, sums[2] / total


def sample_tokens(count: int, rng: np.random.Generator, settings: SamplingSettings) -> np.ndarray:
    """Draw programs.

    Args:
        count: number of programs.
        rng: source of every draw.
        settings: sizes, operators and leaves of the programs.

    Returns:
        `[count, max_size]` int16, padded behind with -1.
    """
    arity = _sample_arities(count, rng, settings)
    tokens = np.full(arity.shape, PAD, dtype=np.int16)
    for wanted in (1, 2):
        names = [name for name in settings.operators if BY_NAME[name].arity == wanted]
        where = arity == wanted
        needed = int(np.count_nonzero(where))
        if needed:
            weights = np.cumsum([settings.operators[name] for name in names])
            drawn = np.searchsorted(weights, rng.random(needed) * weights[-1], side="right")
            tokens[where] = np.array([TOKEN[name] for name in names], dtype=np.int16)[drawn]
    leaf = arity == 0
    needed = int(np.count_nonzero(leaf))
    # One draw decides both: the part above the share of constants is spread over the variables.
    share = settings.constant_probability
    u = (rng.random(needed) - share) / max(1.0 - share, 1e-300)
    variable = (
        np.minimum((np.maximum(u, 0.0) * settings.variables).astype(np.int64), settings.variables - 1)
        + FIRST_VARIABLE
    )
    tokens[leaf] = np.where(u < 0, CONSTANT, variable)
    if not settings.fold_constants:
        _separate_constants(tokens, arity, rng, settings.variables)
    return tokens


def sample_constants(count: int, rng: np.random.Generator, settings: SamplingSettings) -> np.ndarray:
    """Draw `[count]` values of constants."""
    return _CONSTANTS[settings.constant_distribution](
        rng, settings.constant_low, settings.constant_high, count
    ).astype(np.float64)


def sample(count: int, rng: np.random.Generator, settings: SamplingSettings) -> list[Expression]:
    """Draw expressions: `sample_tokens` with values from `sample_constants`."""
    tokens = sample_tokens(count, rng, settings)
    lengths = (tokens != PAD).sum(axis=1).tolist()
    counts = (tokens == CONSTANT).sum(axis=1)
    ends = np.cumsum(counts).tolist()
    values = sample_constants(int(counts.sum()), rng, settings)
    found = []
    start = 0
    for row, length, end in zip(tokens, lengths, ends, strict=True):
        found.append(Expression._trusted(row[:length].copy(), values[start:end].copy()))
        start = end
    return found


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    u = rng.random(count) * 2.0 - 1.0  # its sign is the sign, its magnitude the magnitude
    return np.copysign(low * (high / low) ** np.abs(u), u)


_CONSTANTS = {
    "log_uniform": _log_uniform,
    "uniform": lambda rng, low, high, count: rng.uniform(low, high, count),
    "normal": lambda rng, low, high, count: rng.normal(0.0, high, count),
    "integer": lambda rng, low, high, count: rng.integers(round(low), round(high), count, endpoint=True),
}


def _ways(leaf: float, unary: float, binary: float, longest: int) -> np.ndarray:
    """`[open, left]`: weight of all ways to fill `open` arguments with exactly `left` tokens.

    Every column is scaled to a maximum of 1: only ratios within a column are used, and weights of long
    programs overflow.
    """
    ways = np.zeros((longest + 3, longest + 1))
    ways[0, 0] = 1.0
    for left in range(1, longest + 1):
        before = ways[:, left - 1]
        ways[1:-1, left] = leaf * before[:-2] + unary * before[1:-1] + binary * before[2:]
        ways[:, left] /= max(float(ways[:, left].max()), 1e-300)
    return ways


def _sample_arities(count: int, rng: np.random.Generator, settings: SamplingSettings) -> np.ndarray:
    """Shapes: the arity of every token, `[count, max_size]` int8, -1 behind the end."""
    longest = settings.max_size
    leaf, unary, binary = settings.arity_weights()
    ways = _ways(leaf, unary, binary, longest)
    # Probability that the next token is a leaf, and that it is not binary, by [open, left].
    to_leaf, to_unary, to_binary = (np.zeros_like(ways) for _ in range(3))
    to_leaf[1:, 1:] = leaf * ways[:-1, :-1]
    to_unary[:, 1:] = unary * ways[:, :-1]
    to_binary[:-1, 1:] = binary * ways[1:, :-1]
    total = np.maximum(to_leaf + to_unary + to_binary, 1e-300)
    below_unary, below_binary = to_leaf / total, (to_leaf + to_unary) / total
    below_binary[to_binary == 0] = 2.0  # no rounding may lead where there is no way to finish
    below_unary[(to_unary == 0) & (to_binary == 0)] = 2.0
    below_unary[to_leaf == 0] = -1.0

    left = rng.choice(longest + 1, size=count, p=settings.size_probabilities())
    columns = ways.shape[1]
    flat_unary, flat_binary = below_unary.ravel(), below_binary.ravel()
    missing = np.ones(count, dtype=np.int64)
    arities = np.full((longest, count), PAD, dtype=np.int8)
    for i in range(longest):
        u = rng.random(count, dtype=np.float32)
        state = missing * columns + left
        arity = (u >= flat_unary[state]).astype(np.int8) + (u >= flat_binary[state])
        arity[left == 0] = PAD
        arities[i] = arity
        missing += np.where(left > 0, arity - 1, 0)
        left -= left > 0
    return np.ascontiguousarray(arities.T)


def _separate_constants(tokens: np.ndarray, arity: np.ndarray, rng: np.random.Generator, variables: int) -> None:
    """Turn constants that have no variable beside them into variables, in place.

    The last token of an operator whose arguments are all constants is the one to turn. No operator is then
    without a variable below it: the deepest one without would have constants for arguments.
    """
    constant = tokens == CONSTANT
    alone = np.zeros_like(constant)
    alone[:, 0] = constant[:, 0]
    alone[:, 1:] = constant[:, 1:] & (arity[:, :-1] == 1)
    alone[:, 2:] |= constant[:, 2:] & constant[:, 1:-1] & (arity[:, :-2] == 2)
    tokens[alone] = FIRST_VARIABLE + rng.integers(variables, size=int(np.count_nonzero(alone)))
