"""Held-out problems: equations whose skeletons no training set has, as problems with rows to draw.

They pose the question that a map of equations is trained for, without being one of the benchmarks.
"""

from __future__ import annotations

import numpy as np

from datamodules.settings.streams import PoolSettings
from datamodules.streams.equation_stream import LARGEST_TARGET
from datamodules.streams.skeleton_pool import SkeletonPool, draw_pool
from datamodules.tables.problems import Problem, Uniform
from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE as _FIRST
from expressions.skeleton import Skeleton
from foundation.errors import UserError

__all__ = ["heldout_problems"]

_ROWS = 200
_TRIES = 1000  # rows to see where an equation is defined, and how large it becomes
_DEFINED = 0.95  # share of them on which it must be
_FLATTEST = 1e-3  # spread of the target over its magnitude
_SMALLEST = 1e-50  # magnitude of the target
_STEEPEST = 100.0  # largest deviation from the median over the standard one, beyond which a few rows are all
_PROGRAMS = 8_192
_MOST_POOLS = 20
_SPLIT_SEED = 1_000_003


def heldout_problems(
    count: int,
    settings: PoolSettings,
    seed: int = 0,
    *,
    fewest_variables: int = 1,
    most_variables: int = 3,
    shortest: int = 4,
    longest: int = 12,
) -> list[Problem]:
    """Problems of the test's skeletons.

    Args:
        count: Number of problems.
        settings: Settings of the pool of skeletons.
        seed: Random seed for skeletons, constants and ranges.
        fewest_variables: Smallest number of variables in an equation.
        most_variables: Largest number of variables in an equation.
        shortest: Smallest number of tokens in a skeleton.
        longest: Largest number of tokens in a skeleton.

    Returns:
        Problems called `heldout_0`, …, with 200 rows to search on and 200 to judge by, each variable uniform in a
        range of its own, and free constants log-uniform between 0.1 and 10.

    Raises:
        UserError: The test has fewer such skeletons than `count`.
    """
    found: list[Problem] = []
    known: set[Skeleton] = set()
    for number in range(_MOST_POOLS):
        rng = np.random.default_rng([seed, _SPLIT_SEED, number])
        pool = draw_pool(_PROGRAMS, rng, settings, "test")
        for index in rng.permutation(len(pool)).tolist():
            skeleton = _renumbered(pool, index)
            variables = len({token for token in skeleton.tokens if token >= _FIRST})
            if not (shortest <= len(skeleton) <= longest and fewest_variables <= variables <= most_variables):
                continue
            if skeleton in known:
                continue
            known.add(skeleton)
            problem = _problem(skeleton, variables, len(found), rng)
            if problem is not None:
                found.append(problem)
            if len(found) == count:
                return found
    raise UserError(
        f"there are only {len(found)} held-out skeletons of {shortest} to {longest} tokens with "
        f"{fewest_variables} to {most_variables} variables, not {count}: widen the limits"
    )


def _renumbered(pool: SkeletonPool, index: int) -> Skeleton:
    """A skeleton whose variables are x0, x1, … without gaps, in the order of their numbers."""
    skeleton = pool.skeleton(index)
    used = sorted({token for token in skeleton.tokens if token >= _FIRST})
    number = {token: _FIRST + k for k, token in enumerate(used)}
    return Skeleton(tuple(number.get(token, token) for token in skeleton.tokens), skeleton.values)


def _problem(skeleton: Skeleton, variables: int, number: int, rng: np.random.Generator) -> Problem | None:
    """A problem of the skeleton with constants and ranges on which it is defined; None if none is found."""
    for _ in range(8):
        truth = _with_constants(skeleton, rng)
        low = rng.choice((0.1, 0.5, 1.0), variables)
        high = low + rng.uniform(1.0, 4.0, variables)
        if rng.random() < 0.25:
            low = -high
        rows = rng.uniform(low, high, (_TRIES, variables))
        with np.errstate(all="ignore"):
            target = truth(rows)
        if _is_usable(np.broadcast_to(target, _TRIES)):
            names = tuple(f"x{j}" for j in range(variables))
            return Problem(
                name=f"heldout_{number}",
                suites=("heldout",),
                formula=truth.infix(names),
                variables=names,
                target_name="y",
                truth=truth,
                source=Uniform(tuple(low.tolist()), tuple(high.tolist())),
                train_rows=_ROWS,
                test_rows=_ROWS,
            )
    return None


def _with_constants(skeleton: Skeleton, rng: np.random.Generator) -> Expression:
    size = np.exp(rng.uniform(np.log(0.1), np.log(10.0), len(skeleton.values)))
    sign = np.where(rng.random(len(size)) < 0.3, -1.0, 1.0)
    drawn = [float(f"{value:.3g}") for value in size * sign]
    return skeleton.expression().with_constants(
        [own if value is None else value for own, value in zip(drawn, skeleton.values, strict=True)]
    )


def _is_usable(target: np.ndarray) -> bool:
    finite = target[np.isfinite(target)]
    if len(finite) < _DEFINED * len(target):
        return False
    largest = float(np.abs(finite).max())
    if not _SMALLEST < largest <= LARGEST_TARGET:  # as in training; beyond 1e-100 and 1e100 no search takes it
        return False
    spread = float(finite.std())
    deviation = float(np.abs(finite - np.median(finite)).max())
    return spread > _FLATTEST * largest and deviation < _STEEPEST * spread
