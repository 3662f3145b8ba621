"""How likely is it that a picked equation is the law? A logistic regression on fronts of known laws.

    python -m benchmarks trust --problems drawn_any:2000 --out FIT
    python -m benchmarks trust --problems templates_any:500 --out JUDGE
    python -m benchmarks.trust_calibration FIT/trust.jsonl --judge JUDGE/trust.jsonl

What the regression sees is known after a search: by how much the next structure is longer in code length, how many
are about as good, rows for each constant, the error that is left, whether it is no more than the data's rounding,
whether residuals hang together along an input, and how often the same structure is picked once rows are weighted
anew. It is judged on tables of the other generator: reliability diagram, expected calibration error, Brier score.

Sources: M. DeGroot and S. Fienberg, "The comparison and evaluation of forecasters", The Statistician 1983
(reliability); M. Naeini, G. Cooper and M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
binning", AAAI 2015 (expected calibration error); D. Rubin, "The Bayesian bootstrap", Annals of Statistics 1981
(weights).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Ledger, Record
from benchmarks.report import Grid, good
from benchmarks.trust_rules import candidate_of, code_length, error_of
from benchmarks.trust_tables import NoisyTable, noisy_table
from expressions.canonical_form import canonical_key
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from searches.pareto_front import EXACT_NMSE

__all__ = [
    "CERTAIN",
    "FEATURES",
    "Bin",
    "Calibration",
    "brier_score",
    "certain",
    "expected_calibration_error",
    "features_of",
    "fitted",
    "reliability",
    "residual_dependence",
    "same_picks",
]

FEATURES = (
    "gap",
    "rivals",
    "rows_a_constant",
    "error",
    "exact",
    "dependence",
    "same_picks",
    "size",
)
"""Names of the features, in their order.

A greater gap, more rows a constant, exactness, independent residuals and more same picks speak for the law;
rivals, error and size speak against it.
"""
CERTAIN = 0.95
"""Probability from which on an equation is called certain."""
_FAR = 30.0  # nats of a gap beyond which more says nothing
_NEAR = 3.0  # nats within which a structure is a rival
_REPEATS = 20
_REFIT_STEPS = 5
_LEAST_P = 1e-10
_BINS = 10

Length = Callable[[Mapping[str, Any], Mapping[str, Any]], float]


# --- features -------------------------------------------------------------------------------------------------


def features_of(
    result: Mapping[str, Any], table: NoisyTable, length: Length = code_length
) -> tuple[int, np.ndarray]:
    """The picked entry of a stored front, and what is known of it.

    Args:
        result: result of a cell of the suite `trust`.
        table: its table.
        length: length of a description by an entry, in nats; the shortest is picked.

    Returns:
        Number of the entry, and its features `[len(FEATURES)]` in the order of `FEATURES`.
    """
    front = result["front"]
    lengths = np.array([length(result, entry) for entry in front])
    pick = int(np.argmin(lengths))
    others = _other_structures(front, pick)
    gaps = lengths[others] - lengths[pick]
    gap = min(float(gaps.min(initial=_FAR)), _FAR)
    entry = front[pick]
    inputs, target, weights = _rows(result, table)
    repeated = same_picks(result, lengths, pick, inputs, target, weights, others)
    residuals = candidate_of(entry).expression.with_constants(entry["refitted"]["values"])(inputs) - target
    p = 1.0 if entry["exact"] else residual_dependence(inputs, residuals, weights)
    found = {
        "gap": math.log1p(max(gap, 0.0)),
        "rivals": math.log1p(int(np.count_nonzero(gaps < _NEAR))),
        "rows_a_constant": math.log(result["rows"] / (1 + entry["constants"])),
        "error": math.log10(max(error_of(result, entry), EXACT_NMSE)),
        "exact": float(entry["exact"]),
        "dependence": math.log10(max(p, _LEAST_P)),
        "same_picks": repeated,
        "size": math.log(entry["complexity"]),
    }
    return pick, np.array([found[name] for name in FEATURES])


def _other_structures(front: Sequence[Mapping[str, Any]], pick: int) -> list[int]:
    """Numbers of the entries whose structure, constants aside, is not that of the pick."""
    keys = [canonical_key(candidate_of(entry).expression, constants=False) for entry in front]
    return [k for k, key in enumerate(keys) if key != keys[pick]]


def _rows(result: Mapping[str, Any], table: NoisyTable) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Inputs, target and weights that the search had."""
    places = result["places"] if result["places"] is not None else np.arange(len(table))
    weights = None if table.sigma is None or not result["known_errors"] else table.sigma[places] ** -2.0
    return table.inputs[places], table.target[places], weights


def same_picks(
    result: Mapping[str, Any],
    lengths: np.ndarray,
    pick: int,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    others: Sequence[int],
) -> float:
    """Share of weightings of the rows under which the same structure is picked, its constants fitted anew.

    Rubin's Bayesian bootstrap: independent exponential weights. Only the misfit is computed anew, the lengths of
    the equations themselves stay.

    Args:
        result: result of a cell.
        lengths: code lengths of its front. `[entries]`
        pick: number of the entry with the shortest one.
        inputs: inputs of the search. `[rows, variables]`
        target: target of the search. `[rows]`
        weights: weights of the squared errors; None: all alike. `[rows]`
        others: numbers of the entries of other structures.
    """
    front = result["front"]
    rows = result["rows"]
    errors = np.array([error_of(result, entry) for entry in front])
    with np.errstate(all="ignore"):
        own = lengths - 0.5 * rows * np.log(errors)
    floors = np.array([max(entry["rounding"], EXACT_NMSE) for entry in front])
    equations = [_refitted(entry) for entry in front]
    rng = np.random.default_rng([rows, len(front)])
    same = 0
    for _ in range(_REPEATS):
        drawn = rng.exponential(size=rows) if weights is None else weights * rng.exponential(size=rows)
        fits = fit_constants(equations, inputs, target, iterations=_REFIT_STEPS, weights=drawn)
        spread = float(np.average((target - np.average(target, weights=drawn)) ** 2, weights=drawn))
        with np.errstate(all="ignore"):
            again = own + 0.5 * rows * np.log(np.maximum(fits.errors / spread, floors))
        same += int(np.argmin(np.where(np.isfinite(again), again, np.inf))) not in others
    return same / _REPEATS


def _refitted(entry: Mapping[str, Any]) -> Expression:
    return candidate_of(entry).expression.with_constants(entry["refitted"]["values"])


def residual_dependence(inputs: np.ndarray, residuals: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Probability that independent residuals hang together so much along some input.

    For every input, the residuals are ordered by it, and the correlation of neighbours is compared with that of
    independent ones, which is normal with a variance of 1/rows (one-sided: a misfit makes neighbours alike).

    Args:
        inputs: values of the variables. `[rows, variables]`
        residuals: what an equation leaves. `[rows]`
        weights: weights of the squared errors; None: all alike. `[rows]`

    Returns:
        The least probability over the inputs, times their number, at most 1; 1 where nothing is left, or a
        residual is not finite.
    """
    left = residuals if weights is None else residuals * np.sqrt(weights)
    left = left - left.mean()
    total = float(left @ left)
    if not 0.0 < total < math.inf:
        return 1.0
    least = 1.0
    for column in inputs.T:
        ordered = left[np.argsort(column, kind="stable")]
        correlation = float(ordered[1:] @ ordered[:-1]) / total
        least = min(least, 0.5 * math.erfc(correlation * math.sqrt(len(left) / 2.0)))
    return min(1.0, least * inputs.shape[1])


# --- the regression -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """A logistic regression.

    Attributes:
        names: names of the features.
        means, scales: mean and standard deviation of each on the tables of the fit.
        weights: weight of each standardised feature.
        intercept: logarithm of the odds at the means.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probability that each equation is the law. `[equations]`

        Args:
            features: features as `features_of` gives them. `[equations, features]`
        """
        standard = (features - np.array(self.means)) / np.array(self.scales)
        odds = standard @ np.array(self.weights) + self.intercept
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0))))


def fitted(features: np.ndarray, right: np.ndarray, strength: float = 1.0) -> Calibration:
    """The regression that explains best which equations are laws.

    Args:
        features: features of the picked equations. `[equations, features]`
        right: whether each is the law. `[equations]` bool
        strength: inverse of the penalty on the squared weights.
    """
    from sklearn.linear_model import LogisticRegression

    means, scales = features.mean(axis=0), features.std(axis=0)
    scales = np.where(scales > 0, scales, 1.0)
    model = LogisticRegression(C=strength, max_iter=1_000).fit((features - means) / scales, right)
    return Calibration(
        FEATURES,
        tuple(means.tolist()),
        tuple(scales.tolist()),
        tuple(model.coef_[0].tolist()),
        float(model.intercept_[0]),
    )


# --- the judgement --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """Forecasts of about one probability.

    Attributes:
        count: number of forecasts.
        forecast: mean of their probabilities.
        observed: share of them that were right.
    """

    count: int
    forecast: float
    observed: float


def reliability(probabilities: np.ndarray, right: np.ndarray, bins: int = _BINS) -> list[Bin]:
    """The reliability diagram: forecasts in bins of equal width, those without any left out.

    Args:
        probabilities: forecasts. `[equations]`
        right: what came true. `[equations]` bool
        bins: number of bins between 0 and 1.
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [
        Bin(int(np.sum(place == k)), float(probabilities[place == k].mean()), float(right[place == k].mean()))
        for k in range(bins)
        if (place == k).any()
    ]


def expected_calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = _BINS) -> float:
    """Mean distance of forecast and observed share over the bins, each as heavy as it is full."""
    found = reliability(probabilities, right, bins)
    return sum(each.count * abs(each.forecast - each.observed) for each in found) / len(probabilities)


def brier_score(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Mean squared distance of forecasts and what came true."""
    return float(np.mean((probabilities - right) ** 2))


def certain(probabilities: np.ndarray, right: np.ndarray, least: float = CERTAIN) -> tuple[float, float]:
    """Share of forecasts of at least some probability, and share of these that were right; NaN where none is.

    Args:
        probabilities: forecasts. `[equations]`
        right: what came true. `[equations]` bool
        least: probability from which on a forecast counts.
    """
    sure = probabilities >= least
    return float(sure.mean()), float(right[sure].mean()) if sure.any() else math.nan


# --- the command ----------------------------------------------------------------------------------------------


def _design(ledger: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features `[tables, features]`, and whether the pick is the law and the table without noise `[tables]`."""
    rows, right, clean = [], [], []
    for record in good(Ledger(ledger).records()):
        pick, features = features_of(record.result, _table(record, ledger))
        rows.append(features)
        right.append(record.result["front"][pick]["right"])
        clean.append(record.result["table"]["noise"] == 0.0)
    return np.array(rows), np.array(right, dtype=bool), np.array(clean, dtype=bool)


def _table(record: Record, ledger: Path) -> NoisyTable:
    return noisy_table(record.cell.problem, ledger.parent / "trust")


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on a ledger, judge on another, and print the diagram and the coefficients."""
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust_calibration", description=__doc__)
    parser.add_argument("fit", type=Path, help="ledger of the tables to fit on")
    parser.add_argument("--judge", type=Path, required=True, help="ledger of the tables to judge by")
    options = parser.parse_args(arguments)
    features, right, _ = _design(options.fit)
    calibration = fitted(features, right)
    features, right, clean = _design(options.judge)
    forecasts = calibration.probabilities(features)
    bins = reliability(forecasts, right)
    rows = [[f"{each.forecast:.2f}", str(each.count), f"{each.observed:.2f}"] for each in bins]
    console = Console()
    console.print(Grid("Reliability", ["forecast", "n", "observed"], rows).rich())
    error, score = expected_calibration_error(forecasts, right), brier_score(forecasts, right)
    share = float(right.mean())
    console.print(f"expected calibration error {error:.3f}, Brier score {score:.3f}")
    console.print(f"{len(right)} tables, {share:.3f} right, Brier score of saying so {share * (1 - share):.3f}")
    for name, part in (("all tables", np.ones(len(right), dtype=bool)), ("tables without noise", clean)):
        if part.any():
            said, held = certain(forecasts[part], right[part])
            console.print(f"{name}: at least {CERTAIN} for {said:.3f}, of which {held:.3f} are right")
    console.print_json(json.dumps(asdict(calibration)))


if __name__ == "__main__":
    main()
