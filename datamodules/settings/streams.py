"""Settings of the stream of generated equations: what skeletons are drawn, and what problems are made of them.

Imports nothing heavy: the tables of operators and of problems are looked at when an object is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundation.errors import UserError, near
from foundation.settings import Rule, Settings, setting

__all__ = ["OPERATOR_NAMES", "PoolSettings", "StreamSettings"]

OPERATOR_NAMES = (
    "add", "sub", "mul", "div", "neg", "inv", "square", "cube", "pow4", "pow5", "pow6", "sqrt", "abs",
    "exp", "log", "sin", "cos", "tan", "tanh", "asin", "acos", "atan",
)  # fmt: skip
"""Operators of the skeletons: those that are drawn, and those that canonical forms bring in."""
_FURTHER_OPERATORS: Mapping[str, float] = {
    "tan": 0.1, "asin": 0.1, "acos": 0.1, "atan": 0.1, "abs": 0.1, "pow4": 0.1,
}  # fmt: skip
_POINTS: Mapping[str, float] = {"box": 0.55, "log_uniform": 0.15, "clusters": 0.2, "path": 0.1}
_BYTES_A_TOKEN = 10  # int16, and float64 for its value
WEIGHTS = Rule(
    lambda value: isinstance(value, Mapping) and all(type(w) in (int, float) and w >= 0 for w in value.values()),
    "a weight, at least 0, for each name, such as {add: 4, mul: 6}",
)
NUMBERS = Rule(
    lambda value: (
        isinstance(value, list | tuple) and all(type(n) in (int, float) and n >= 0 for n in value) and any(value)
    ),
    "a list of numbers, at least 0 and not all 0, such as [1,2,3]",
)


@dataclass(frozen=True, kw_only=True)
class PoolSettings(Settings):
    """What skeletons are drawn.

    Attributes:
        variables: Largest number of variables; a program is drawn with 1 to so many.
        longest: Largest number of tokens of a skeleton.
        operator_weights: Weight of every operator in the random programs; None: our own.
        constant_share: Share of leaves that are constants.
        integer_share: Share of constants that are small integers; all others are free.
        once_share: Share of the programs in which no variable occurs twice before all have occurred, as is usual
            in formulas of physics.
        most_free: Largest number of free constants of a skeleton.
        deepest: Largest number of functions inside one another.
        exclude: Suites of problems whose skeletons must not occur.
    """

    group = "data"

    variables: int = setting(5, least=1, most=10)
    longest: int = setting(20, least=3, most=100)
    operator_weights: dict[str, float] | None = setting(None, rule=WEIGHTS)
    constant_share: float = setting(0.25, above=0, below=1)
    integer_share: float = setting(0.6, least=0, most=1)
    once_share: float = setting(0.5, least=0, most=1)
    most_free: int = setting(5, least=0)
    deepest: int = setting(2, least=0)
    exclude: tuple[str, ...] = setting(("feynman", "strogatz", "nguyen", "gmeql"))

    @property
    def operators(self) -> Mapping[str, float]:
        """Weight of every operator in the random programs."""
        if self.operator_weights is not None:
            return self.operator_weights
        from expressions.sampling import DEFAULT_OPERATORS

        return {**DEFAULT_OPERATORS, **_FURTHER_OPERATORS}

    def content(self) -> dict[str, Any]:
        """What decides the samples, by the names of the configuration, nothing left open."""
        return self.as_mapping() | {"operator_weights": dict(self.operators)}

    def _check_together(self) -> None:
        for name in self.operators:
            if name not in OPERATOR_NAMES:
                raise UserError(
                    f"data.operator_weights has {name!r}, which is not one: {near(name, OPERATOR_NAMES)}"
                )
        if not self.exclude:
            return
        from datamodules.tables.problems import suites

        for word in self.exclude:
            if word not in suites():
                raise UserError(f"data.exclude has {word!r}, which is no suite: {near(word, suites())}")


@dataclass(frozen=True, kw_only=True)
class StreamSettings(PoolSettings):
    """What skeletons are drawn, and what problems are made of them.

    Attributes:
        programs: Number of random programs that a pool is drawn from.
        pool_epochs: Number of epochs that share a pool; then there are new skeletons.
        fewest_rows: Smallest number of rows of a table; the logarithm of the number is uniform.
        most_rows: Largest number of rows of a table.
        points: Weight of every kind of table, see `datamodules.streams.point_clouds`; None: our own.
        constant_low: Smallest magnitude of a free constant, which is log-uniform.
        constant_high: Largest magnitude of a free constant.
        negative_share: Share of free constants below 0.
        offset_share: Share of tables whose target has an outer offset.
        noise_share: Share of tables with noise on the target.
        noise_low: Smallest standard deviation of the noise, which is log-uniform, in units of the target's.
        noise_high: Largest standard deviation of the noise.
        outlier_share: Share of tables in which one row in twenty is far off.
        length_weights: Weights of skeletons of up to 5 tokens, of 6 to 8, of 9 to 11, …; the last weight is that
            of all longer ones. Short equations are the most frequent in use and are learned first.
    """

    programs: int = setting(16_384, least=100)
    pool_epochs: int = setting(16, least=1)
    fewest_rows: int = setting(16, least=2)
    most_rows: int = setting(200, least=2, most=200)
    points: dict[str, float] | None = setting(None, rule=WEIGHTS)
    constant_low: float = setting(0.1, above=0)
    constant_high: float = setting(10.0, above=0)
    negative_share: float = setting(0.3, least=0, most=1)
    offset_share: float = setting(0.3, least=0, most=1)
    noise_share: float = setting(0.3, least=0, most=1)
    noise_low: float = setting(1e-3, above=0)
    noise_high: float = setting(1e-1, above=0)
    outlier_share: float = setting(0.05, least=0, most=1)
    length_weights: tuple[float, ...] = setting((1.5, 2.0, 2.0, 1.5, 1.0, 0.5), rule=NUMBERS)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the programs that a pool is drawn from: tokens and values."""
        return {("programs", "longest"): float(_BYTES_A_TOKEN * self.programs * self.longest)}

    @property
    def pool(self) -> PoolSettings:
        """What skeletons are drawn."""
        return self.part(PoolSettings)

    @property
    def kinds(self) -> Mapping[str, float]:
        """Weight of every kind of table."""
        return _POINTS if self.points is None else self.points

    @property
    def length_edges(self) -> tuple[int, ...]:
        """Longest skeleton of each group of lengths: up to 5 tokens, then three more each."""
        return (*range(5, self.longest, 3), self.longest)

    @property
    def group_weights(self) -> tuple[float, ...]:
        """Weight of each group of lengths; the last of `length_weights` is that of all groups that have none."""
        edges = self.length_edges
        return (*self.length_weights, *([self.length_weights[-1]] * len(edges)))[: len(edges)]

    def content(self) -> dict[str, Any]:
        """What decides the samples, by the names of the configuration, nothing left open."""
        edges, weights = list(self.length_edges), list(self.group_weights)
        own = {"points": dict(self.kinds), "length_edges": edges, "length_weights": weights}
        return super().content() | own

    def _check_together(self) -> None:
        super()._check_together()
        for name in self.kinds:
            if name not in _POINTS:
                raise UserError(f"data.points has {name!r}: {near(name, _POINTS)}")
        if self.fewest_rows > self.most_rows:
            raise UserError(f"a table must have 2 <= {self.fewest_rows} <= {self.most_rows} rows")
        if self.constant_low >= self.constant_high:
            raise UserError(f"constants must be 0 < {self.constant_low} < {self.constant_high}")
