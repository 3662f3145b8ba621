"""A small, honest map of equations for tests: a code of known skeletons, decoded by distance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE
from expressions.parsing import parse
from expressions.skeleton import Skeleton, skeleton_of
from foundation.errors import UserError

__all__ = ["CodeMap", "skeletons_of"]


class CodeMap:
    """Skeletons as points of R^n: a latent decodes to the nearest one, or to a near one, drawn by distance.

    The prior of a table is centred at a point that the table's numbers decide, wide enough to hold all code words;
    the posterior of a skeleton is narrow around its own.

    Args:
        skeletons: the code book.
        latents: n.
        variables: that the map knows.
        centre: code word at which the prior is centred, None: between all of them.
        seed: of the code.
    """

    def __init__(
        self,
        skeletons: Sequence[Skeleton],
        latents: int = 8,
        variables: int = 2,
        centre: int | None = None,
        seed: int = 0,
    ) -> None:
        self.skeletons, self.latents, self.variables = list(skeletons), latents, variables
        rng = np.random.default_rng(seed)
        self.code = rng.normal(size=(len(self.skeletons), latents))
        self.centre = np.zeros(latents) if centre is None else self.code[centre]
        self.calls: list[tuple[str, Any]] = []

    def prior(self, tables: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        for inputs, target in tables:
            assert inputs.shape[1] <= self.variables
            assert len(inputs) == len(target) <= 200
            assert np.isfinite(inputs).all()
            assert np.isfinite(target).all()
        self.calls.append(("prior", len(tables)))
        shifts = np.array([[0.01 * np.tanh(float(np.mean(target)))] for _, target in tables])
        means = np.repeat(self.centre[None], len(tables), axis=0) + shifts
        return means, np.ones((len(tables), self.latents)) * np.linspace(1.0, 0.6, self.latents)

    def posterior(
        self, table: tuple[np.ndarray, np.ndarray], skeletons: Sequence[Skeleton]
    ) -> tuple[np.ndarray, np.ndarray]:
        self.calls.append(("posterior", list(skeletons)))
        place = {skeleton: k for k, skeleton in reversed(list(enumerate(self.skeletons)))}
        if any(skeleton not in place for skeleton in skeletons):
            raise UserError("a skeleton is none of the code words")
        means = self.code[[place[skeleton] for skeleton in skeletons]]
        return means, np.full(means.shape, 0.1)

    def decode(
        self, latents: np.ndarray, variables: int, *, temperature: float = 1.0, seed: int = 0
    ) -> list[Skeleton]:
        self.calls.append(("decode", np.array(latents)))
        assert np.isfinite(latents).all()
        usable = np.array([self._uses(skeleton) <= variables for skeleton in self.skeletons])
        distances = ((latents[:, None] - self.code) ** 2).sum(axis=-1) + np.where(usable, 0.0, np.inf)
        if temperature > 0:  # Gumbel noise: the logits are minus half the squared distances
            noise = np.random.default_rng(seed).gumbel(size=distances.shape)
            distances = distances - 2.0 * temperature * noise
        return [self.skeletons[k] for k in np.argmin(distances, axis=1)]

    @staticmethod
    def _uses(skeleton: Skeleton) -> int:
        return max((token - FIRST_VARIABLE + 1 for token in skeleton.tokens), default=0)

    # As a trained map, it is a file.

    def save(self, path: str | Path) -> None:
        words = [[list(s.tokens), list(s.values)] for s in self.skeletons]
        Path(path).write_text(json.dumps({"words": words, "latents": self.latents, "variables": self.variables}))

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> CodeMap:
        content = json.loads(Path(path).read_text())
        words = [Skeleton(tuple(tokens), tuple(values)) for tokens, values in content["words"]]
        return cls(words, content["latents"], content["variables"])


def skeletons_of(count: int, variables: int = 2, truth: str | None = None, seed: int = 0) -> list[Skeleton]:
    """Different skeletons, the one of `truth` in the middle of them."""
    rng = np.random.default_rng(seed)
    wanted = [] if truth is None else [skeleton_of(parse(truth))]
    found: dict[Skeleton, None] = {}
    while len(found) < count - len(wanted):
        skeleton = skeleton_of(_random(rng, variables, int(rng.integers(2, 5))))
        if skeleton not in wanted and 2 <= len(skeleton) <= 14 and CodeMap._uses(skeleton) > 0:
            found[skeleton] = None
    kept = list(found)
    return kept[: count // 2] + wanted + kept[count // 2 :]


def _random(rng: np.random.Generator, variables: int, depth: int) -> Expression:
    if depth == 0 or rng.random() < 0.15:
        if rng.random() < 0.25:
            return Expression.constant(float(rng.choice([2.0, 3.0, float(rng.uniform(0.3, 0.9))])))
        return Expression.variable(int(rng.integers(variables)))
    if rng.random() < 0.35:
        return Expression.apply(
            str(rng.choice(["sin", "exp", "square", "sqrt"])), _random(rng, variables, depth - 1)
        )
    left, right = (_random(rng, variables, depth - 1) for _ in range(2))
    return Expression.apply(str(rng.choice(["add", "sub", "mul", "div"])), left, right)
