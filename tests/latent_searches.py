"""A short search in the latent space of a small map, for the tests of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from expressions.parsing import parse
from searches.latent_cmaes import search
from searches.latent_space.settings import LatentSearchSettings
from searches.search_result import SearchResult
from tests.latent_maps import CodeMap, skeletons_of

__all__ = ["BOOK", "ROOT", "SHARED", "SHORT", "TRUTH", "decoded", "run", "settings", "story", "table"]

ROOT = Path(__file__).resolve().parents[1]
TRUTH = "1.7*x0**2*sin(2.3*x1) + 0.4"
BOOK = skeletons_of(200, truth=TRUTH)
# No clock takes part, and no SymPy.
SHORT: dict[str, Any] = {
    "seconds": None, "polish": "none", "simplify_seconds": 0.0, "population": 16, "prior_share": 0.0,
    "rewritten_share": 0.6, "question_samples": 1, "patience": 4, "elites": 12,
    "polish_equations": 2, "search_rows": 60, "screen_rows": 30,
}  # fmt: skip
SHARED = {"prior_share": 0.25, "rewritten_share": 0.5, "question_samples": 4}


def table(truth: str = TRUTH, rows: int = 120, variables: int = 2, noise: float = 0.0) -> Any:
    """Inputs `[rows, variables]` and the target of a formula, `[rows]`, with noise relative to its deviation."""
    rng = np.random.default_rng(5)
    inputs = rng.uniform(0.5, 3.0, (rows, variables))
    target = parse(truth)(inputs)
    return inputs, target + noise * target.std() * rng.normal(size=rows)


def settings(**options: Any) -> LatentSearchSettings:
    """Settings of a short search; `options` replace them."""
    return LatentSearchSettings(**(SHORT | options))


def run(latent_map: Any = None, data: Any = None, **options: Any) -> SearchResult:
    """A short search; `options` are its settings and the other arguments of `search`."""
    own = {key: options.pop(key) for key in list(options) if hasattr(LatentSearchSettings(), key)}
    latent_map = CodeMap(BOOK) if latent_map is None else latent_map
    return search(*(data or table()), settings(**own), latent_map=latent_map, **({"seed": 3} | options))


def story(result: SearchResult) -> Any:
    """All of a result but the clock."""
    clock = ("seconds",)
    return (
        [(c.expression.infix(), c.complexity, c.train_nmse, c.validation_nmse) for c in result.front],
        [{key: value for key, value in entry.items() if key not in clock} for entry in result.history],
        result.best.expression.infix(),
        (result.counts, result.evaluations, result.stopped, result.notes),
    )


def decoded(latent_map: CodeMap) -> list[np.ndarray]:
    """The latents of every generation."""
    return [latents for kind, latents in latent_map.calls if kind == "decode"]
