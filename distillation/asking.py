"""Questions to a network that a table cannot answer: which inputs matter, and how an output falls into parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np

from distillation.questions.answers import Answers, Function
from distillation.questions.findings import Findings, OutputFindings, Split
from distillation.questions.rectangles import (
    Corners,
    corners,
    offset_of_products,
    product_defect,
    rms,
    sum_defect,
)
from distillation.questions.region import Region, designed_points
from distillation.questions.symmetries import Symmetry, symmetries_of

__all__ = [
    "LIMIT",
    "SYMMETRY_LIMIT",
    "Findings",
    "Function",
    "OutputFindings",
    "Split",
    "Symmetry",
    "ask",
    "designed_points",
]

LIMIT = 0.05
"""Defect up to which something counts as found: a network that has learned a law well keeps its form to a few
per cent."""
SYMMETRY_LIMIT = 0.08
"""The same of a symmetry, which a network keeps less well."""
_MATTERS = 0.02  # effect, relative to the largest one, from which on an input matters
_RECTANGLES = 128
_MOST_ASKED = 20  # inputs whose pairs are asked about


def ask(
    function: Function | Answers,
    inputs: np.ndarray,
    *,
    seed: int,
    limit: float = LIMIT,
    symmetry_limit: float = SYMMETRY_LIMIT,
) -> Findings:
    """Ask a network about its form, within the region of its activations and 0.1 standard deviations beyond.

    Args:
        function: network, or a function of a tensor, row by row: `[rows, inputs]` to `[rows, outputs]`.
        inputs: activations. `[rows, inputs]`
        seed: random seed for the choice of places.
        limit: defect up to which a form counts as found.
        symmetry_limit: defect up to which a symmetry counts as found.

    Returns:
        What was found for each output, with measured defects.
    """
    answers = function if isinstance(function, Answers) else Answers(function)
    region = Region(inputs, seed=seed)
    rng = np.random.default_rng([seed, 3])
    values = answers(region.rows)
    size = values.std(axis=0)
    effects = _effects(answers, region, size, rng)
    ever = [int(each) for each in np.flatnonzero((effects > _MATTERS).any(axis=0))]
    notes: tuple[str, ...] = ()
    if len(ever) > _MOST_ASKED:
        notes = (f"{len(ever)} inputs matter, so pairs of the {_MOST_ASKED} most important ones were asked about",)
        ever = sorted(np.argsort(-effects.max(axis=0))[:_MOST_ASKED].tolist())
    pairs = {
        pair: corners(answers, region, size, [pair[0]], [pair[1]], _RECTANGLES, rng)
        for pair in combinations(ever, 2)
    }
    symmetric: dict[tuple[int, int], list[list[Symmetry]]] = {
        pair: symmetries_of(answers, region, size, *pair, _RECTANGLES, rng) for pair in pairs
    }
    outputs = []
    for output in range(len(size)):
        mine = tuple(each for each in ever if effects[output, each] > _MATTERS)
        own = {pair: found for pair, found in pairs.items() if set(pair) <= set(mine)}
        found_symmetries = [
            each for pair in own for each in symmetric[pair][output] if each.defect <= symmetry_limit
        ]
        outputs.append(
            OutputFindings(
                effects[output],
                mine,
                _split(answers, region, size, output, mine, own, limit, rng) if not notes else None,
                tuple(sorted(found_symmetries, key=lambda each: each.defect)),
                {pair: float(sum_defect(found)[output]) for pair, found in own.items()},
            )
        )
    return Findings(tuple(outputs), answers.asked, notes)


def _effects(answers: Answers, region: Region, size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change of every output by every input alone, relative to the largest. `[outputs, inputs]`"""
    changes = np.zeros((len(size), region.rows.shape[1]))
    for each in np.flatnonzero(region.varies).tolist():
        found = corners(answers, region, size, [each], [], _RECTANGLES, rng)
        changes[:, each] = rms(found.values[1] - found.values[0])
    return np.asarray(changes / np.maximum(changes.max(axis=1, keepdims=True), 1e-300))


def _split(
    answers: Answers,
    region: Region,
    size: np.ndarray,
    output: int,
    inputs: Sequence[int],
    pairs: Mapping[tuple[int, int], Corners],
    limit: float,
    rng: np.random.Generator,
) -> Split | None:
    """The form of an output with the most parts: as a sum, else as a product, else as a product and an offset."""
    tied = {pair: float(sum_defect(found)[output]) for pair, found in pairs.items()}
    offsets = [("sum", 0.0), ("product", 0.0)]
    if mixed := [pair for pair, defect in tied.items() if defect > limit]:
        guesses = [(pair, offset_of_products(pairs[pair])[output]) for pair in mixed]
        offsets.append(
            ("product", min(guesses, key=lambda each: _defect("product", pairs[each[0]], output, each[1]))[1])
        )
    for kind, offset in offsets:
        joined = [pair for pair, found in pairs.items() if _defect(kind, found, output, offset) > limit]
        parts = _components(inputs, joined)
        if len(parts) < 2:
            continue
        defects = []
        for part in parts:
            rest = [each for each in inputs if each not in part]
            found = corners(answers, region, size, part, rest, _RECTANGLES, rng)
            defects.append(_defect(kind, found, output, offset))
        if max(defects) <= limit:
            return Split(kind, parts, float(offset), max(defects))
    return None


def _defect(kind: str, found: Corners, output: int, offset: float) -> float:
    defects = sum_defect(found) if kind == "sum" else product_defect(found, offset)
    return float(defects[output])


def _components(inputs: Collection[int], joined: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Groups of inputs that are connected."""
    group = {each: {each} for each in inputs}
    for first, second in joined:
        merged = group[first] | group[second]
        for each in merged:
            group[each] = merged
    return tuple(sorted({tuple(sorted(each)) for each in group.values()}))
