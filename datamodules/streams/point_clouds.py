"""Distributions of the rows of a generated table: boxes, log-uniform ranges, clusters, and paths.

Tables of users and benchmarks come from grids, uniform ranges, measurements that gather around a few settings, and
from the states that a system passes through. Each table is of one of these kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

__all__ = ["KINDS", "draw_points"]

Array = np.ndarray


def draw_points(tables: int, rows: int, columns: int, shares: Array, rng: np.random.Generator) -> Array:
    """Draw the inputs of many tables.

    Args:
        tables: Number of tables.
        rows: Number of rows of each table.
        columns: Number of columns of each table.
        shares: Probability of each of `KINDS`. `[kinds]`
        rng: Random generator for every draw.

    Returns:
        Inputs. `[columns, tables, rows]` float32
    """
    points = np.empty((columns, tables, rows), dtype=np.float32)
    kind = rng.choice(len(KINDS), tables, p=shares)
    for number, draw in enumerate(KINDS.values()):
        chosen = rng.permutation(np.flatnonzero(kind == number))  # a kind may put like tables side by side
        if len(chosen):
            points[:, chosen] = draw(len(chosen), rows, columns, rng)
    return points


def _boxes(tables: int, rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Uniform in a range for each column: positive, symmetric or anywhere; often the same for all columns."""
    shape = (columns, tables, 1)
    kind = rng.choice(3, (1, tables, 1), p=(0.55, 0.2, 0.25))
    low, width = rng.choice((0.0, 0.1, 0.5, 1.0, 2.0), shape), rng.uniform(0.5, 5.0, shape)
    half = 0.5 * 20.0 ** rng.random(shape)
    centre = rng.normal(0.0, 3.0, shape)
    low = np.choose(kind, (low, -half, centre - half / 2))
    width = np.choose(kind, (width, 2 * half, half))
    same = rng.random((1, tables, 1)) < 0.5
    low, width = np.where(same, low[:1], low), np.where(same, width[:1], width)
    inside = rng.random((columns, tables, rows), dtype=np.float32)
    return low.astype(np.float32) + width.astype(np.float32) * inside


def _log_uniform(tables: int, rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Positive, the logarithm uniform over half a decade to two and a half."""
    shape = (columns, tables, 1)
    decades = rng.uniform(0.5, 2.5, shape)
    low = rng.uniform(-2.0, 1.5 - decades / 2, shape)
    exponent = low.astype(np.float32) + decades.astype(np.float32) * rng.random(
        (columns, tables, rows), dtype=np.float32
    )
    return np.exp(np.float32(np.log(10.0)) * exponent)


def _clusters(tables: int, rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Up to five Gaussians of about as many rows, each turned and stretched in its own way."""
    most = 5
    spread = 0.2 * 15.0 ** rng.random((tables, 1, 1, 1))
    turn = (rng.normal(0.0, 1.0, (tables, most, columns, columns)) * spread / np.sqrt(columns)).astype(np.float32)
    shift = rng.choice((0.0, 3.0), (tables, 1, 1))  # away from 0, where much is undefined
    centre = (rng.normal(0.0, 1.5, (tables, most, columns)) + shift).astype(np.float32)
    normal = rng.standard_normal((tables, rows, columns), dtype=np.float32)
    points = np.empty((columns, tables, rows), dtype=np.float32)
    ends = np.cumsum(rng.multinomial(tables, [1 / most] * most))
    for clusters, (start, end) in enumerate(pairwise([0, *ends]), 1):  # tables of as many clusters together
        alike = slice(start, end)
        for number in range(clusters):
            members = slice(number, None, clusters)
            turned = normal[alike, members] @ turn[alike, number] + centre[alike, number, None]
            points[:, alike, members] = np.moveaxis(turned, 2, 0)
    return points


def _paths(tables: int, rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Up to four spirals or decays, followed in equal steps, as the states of a system are."""
    most = 4
    path = np.arange(rows) * most // rows
    shape = (columns, tables, most)
    centre = rng.normal(0.0, 1.0, (columns, tables, 1)) + rng.choice((0.0, 2.0), (1, tables, 1))
    size = rng.normal(0.0, 1.5, shape)
    phase = rng.uniform(0.0, 2 * np.pi, shape)
    speed, decay = rng.uniform(0.5, 8.0, (1, tables, 1)), rng.uniform(0.0, 4.0, (1, tables, 1))
    time = (np.arange(rows) / rows * most) % 1.0
    angle = (speed * time).astype(np.float32) + phase.astype(np.float32)[:, :, path]
    fading = np.exp(-(decay * time)).astype(np.float32)
    return centre.astype(np.float32) + size.astype(np.float32)[:, :, path] * fading * np.cos(angle)


KINDS: dict[str, Callable[[int, int, int, np.random.Generator], Array]] = {
    "box": _boxes,
    "log_uniform": _log_uniform,
    "clusters": _clusters,
    "path": _paths,
}
"""Name -> `draw(tables, rows, columns, rng)`, which returns `[columns, tables, rows]` float32."""
