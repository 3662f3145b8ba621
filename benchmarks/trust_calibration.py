"""How likely is a picked equation to be the law? The numbers of `searches.law_probability`, and their judgement.

    python -m benchmarks trust --problems drawn_any:2000 --out FIT
    python -m benchmarks trust --problems templates_any:500 --out JUDGE
    python -m benchmarks.trust_calibration FIT/trust.jsonl --judge JUDGE/trust.jsonl --write calibration.json

A logistic regression of the product's own features (`searches.trust.features`) is fitted to fronts of one
generator of laws, and judged on fronts of the other: reliability diagram, expected calibration error, Brier score.
`--keep` judges the numbers that the package has. The rule of choice is asked anew for each stored front, so that a
ledger serves a later rule, too. A pick is right if it can express the law, and is at most two nodes longer, has no
constant more, or has the law's own values. One without variables is no law, whatever the table is: its probability
is 0.

Sources: M. DeGroot and S. Fienberg, "The comparison and evaluation of forecasters", The Statistician 1983
(reliability); M. Naeini, G. Cooper and M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
binning", AAAI 2015 (expected calibration error).
"""

from __future__ import annotations

import argparse
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Ledger
from benchmarks.report import Grid, good
from benchmarks.trust_rules import candidate_of
from benchmarks.trust_tables import NoisyTable, noisy_table
from expressions.measurements import Measurements
from foundation.files import replace_file
from searches.law_probability import CERTAIN, WORDS, word_of
from searches.pareto_front import ParetoFront, pick
from searches.trust.calibration import Calibration, packaged_calibration
from searches.trust.features import FEATURES, features_of
from searches.trust.rivalry import Rivalry

__all__ = [
    "Bin",
    "Forecasts",
    "brier_score",
    "error_by_chance",
    "expected_calibration_error",
    "facts_of_pick",
    "fitted",
    "forecasts_of",
    "is_law",
    "parsed",
    "reliability",
    "said",
]

_BINS = 10
_EQUAL_NMSE = 1e-20  # on rows without noise, below which two equations have the same values


# --- what a ledger holds ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What is known of the picks of many fronts.

    Attributes:
        features: features of each pick. `[tables, features]`
        right: whether each pick is the law; a constant never is. `[tables]` bool
        constant: whether each pick has no variables. `[tables]` bool
        clean: whether the table has no noise. `[tables]` bool
        seconds: budget of each search. `[tables]`
    """

    features: np.ndarray
    right: np.ndarray
    constant: np.ndarray
    clean: np.ndarray
    seconds: np.ndarray

    @classmethod
    def of(cls, ledgers: Sequence[Path]) -> Facts:
        """The facts of all cells of some ledgers."""
        rows = []
        for ledger in ledgers:
            for record in good(Ledger(ledger).records()):
                table = noisy_table(record.cell.problem, ledger.parent / "trust")
                features, entry = facts_of_pick(record.result, table)
                constant = not candidate_of(entry).expression.variables
                right = is_law(entry) and not constant
                seconds = float(record.cell.settings["seconds"])
                rows.append((features, right, constant, table.noise == 0.0, seconds))
        right, constant, clean = np.array([row[1:4] for row in rows], dtype=bool).T
        return cls(np.array([row[0] for row in rows]), right, constant, clean, np.array([row[4] for row in rows]))


def is_law(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a front is the law: it can express it, and is about as short or has no constant more.

    `x1/x0 - 2/x0` is `(x1 - 2)/x0`, though it has six nodes more. What has the law's own values on fresh rows, to
    rounding, is the law, too, as `3*x0**2 + 6*x0 + 3` is `3*(x0 + 1)**2`.
    """
    return bool(entry["right"] or (entry["fits"] and (not entry["spurious"] or entry["nmse"] < _EQUAL_NMSE)))


def facts_of_pick(result: Mapping[str, Any], table: NoisyTable) -> tuple[np.ndarray, dict[str, Any]]:
    """Features of what is picked from a stored front, and its entry.

    Args:
        result: result of a cell of the suite `trust`.
        table: its table.
    """
    front = [candidate_of(entry) for entry in result["front"]]
    chosen = pick(ParetoFront(front))
    place = next(k for k, candidate in enumerate(front) if candidate is chosen)
    rows = result["places"] if result["places"] is not None else np.arange(len(table))
    sigma = table.sigma[rows] if table.sigma is not None and result["known_errors"] else None
    measurements = Measurements.of(table.inputs[rows], table.target[rows], sigma=sigma)
    return features_of(Rivalry.of(front, chosen, measurements)), result["front"][place]


# --- the regression -------------------------------------------------------------------------------------------


def fitted(
    features: np.ndarray, right: np.ndarray, origin: Mapping[str, str | float], strength: float = 1.0
) -> Calibration:
    """The regression that explains best which equations are laws.

    Args:
        features: features of the picked equations. `[equations, features]`
        right: whether each is the law. `[equations]` bool
        origin: record of where the equations are from.
        strength: inverse of the penalty on the squared weights.
    """
    from sklearn.linear_model import LogisticRegression

    means, scales = features.mean(axis=0), features.std(axis=0)
    scales = np.where(scales > 0, scales, 1.0)
    model = LogisticRegression(C=strength, max_iter=1_000).fit((features - means) / scales, right)
    return Calibration(_short(means), _short(scales), _short(model.coef_[0]), _short(model.intercept_)[0], origin)


def _short(numbers: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{number:.5g}") for number in numbers)


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


def error_by_chance(probabilities: np.ndarray, draws: int = 1_000) -> float:
    """Expected calibration error that forecasts without any fault would show on so few tables, in the mean.

    Args:
        probabilities: forecasts, taken for true. `[equations]`
        draws: number of times that they come true or not.
    """
    rng = np.random.default_rng(0)
    drawn = rng.random((draws, len(probabilities))) < probabilities
    return float(np.mean([expected_calibration_error(probabilities, each) for each in drawn]))


def brier_score(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Mean squared distance of forecasts and what came true."""
    return float(np.mean((probabilities - right) ** 2))


def said(probabilities: np.ndarray, right: np.ndarray, least: float) -> tuple[float, float]:
    """Share of forecasts of at least some probability, and share of these that were right; NaN where none is.

    Args:
        probabilities: forecasts. `[equations]`
        right: what came true. `[equations]` bool
        least: probability from which on a forecast counts.
    """
    sure = probabilities >= least
    return float(sure.mean()), float(right[sure].mean()) if sure.any() else math.nan


@dataclass(frozen=True)
class Forecasts:
    """Forecasts for the picks of many fronts, beside what came true.

    Attributes:
        probabilities: forecasts. `[tables]`
        right: whether each pick is the law. `[tables]` bool
        clean: whether the table has no noise. `[tables]` bool
        seconds: budget of each search. `[tables]`
    """

    probabilities: np.ndarray
    right: np.ndarray
    clean: np.ndarray
    seconds: np.ndarray

    def figures(self) -> dict[str, float]:
        """Calibration error, Brier score, and what is said of how many tables, by name."""
        share = float(self.right.mean())
        found = {
            "tables": float(len(self.right)),
            "expected calibration error": expected_calibration_error(self.probabilities, self.right),
            "the same by chance, if every forecast were true": error_by_chance(self.probabilities),
            "Brier score": brier_score(self.probabilities, self.right),
            "Brier score of always saying the share of laws": share * (1.0 - share),
        }
        for name, part in (("all", np.ones_like(self.clean)), ("without noise", self.clean)):
            if part.any():
                told, held = said(self.probabilities[part], self.right[part], WORDS[CERTAIN])
                found[f"{name}: tables"] = float(part.sum())
                found[f"{name}: share certain"], found[f"{name}: of these right"] = told, held
        return {name: float(f"{value:.4g}") for name, value in found.items() if math.isfinite(value)}

    def grids(self) -> list[Grid]:
        """The reliability diagram, and how often each word is right."""
        bins = [
            [f"{each.forecast:.2f}", str(each.count), f"{each.observed:.2f}"]
            for each in reliability(self.probabilities, self.right)
        ]
        said_of = np.array([word_of(each) for each in self.probabilities.tolist()])
        words = [[word, *self._of(said_of == word)] for word in WORDS if (said_of == word).any()]
        budgets = [[f"{each:g}", *self._of(self.seconds == each)] for each in np.unique(self.seconds).tolist()]
        return [
            Grid("Reliability", ["forecast", "tables", "laws"], bins),
            Grid("Words", ["word", "tables", "forecast", "laws", "Brier score"], words),
            Grid("Budgets", ["seconds", "tables", "forecast", "laws", "Brier score"], budgets),
        ]

    def _of(self, which: np.ndarray) -> list[str]:
        """Number of some forecasts, their mean, the share of laws, and the Brier score."""
        probabilities, right = self.probabilities[which], self.right[which]
        numbers = (float(probabilities.mean()), float(right.mean()), brier_score(probabilities, right))
        return [str(which.sum()), *(f"{number:.2f}" for number in numbers)]


def forecasts_of(calibration: Calibration, facts: Facts) -> Forecasts:
    """What a calibration says of picks."""
    probabilities = np.where(facts.constant, 0.0, calibration.probabilities(facts.features))
    return Forecasts(probabilities, facts.right, facts.clean, facts.seconds)


# --- the command ----------------------------------------------------------------------------------------------


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust_calibration", description=__doc__)
    parser.add_argument("fit", type=Path, nargs="*", help="ledgers of the tables to fit on")
    parser.add_argument("--judge", type=Path, nargs="+", required=True, help="ledgers of the tables to judge by")
    parser.add_argument("--keep", action="store_true", help="judge the numbers of the package instead of new ones")
    parser.add_argument("--write", type=Path, help="file for the new numbers")
    options = parser.parse_args(arguments)
    if options.keep == bool(options.fit) or (options.keep and options.write):
        parser.error("give either ledgers to fit on or --keep, and --write with the former")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on ledgers, judge on others, print the diagram, and write the file of the numbers."""
    from rich.console import Console

    options = parsed(arguments)
    judge = Facts.of(options.judge)
    calibration = packaged_calibration() if options.keep else _new(options.fit)
    forecasts = forecasts_of(calibration, judge)
    console = Console()
    for grid in forecasts.grids():
        console.print(grid.rich())
    for name, value in forecasts.figures().items():
        console.print(f"{name}: {value:.3g}", highlight=False)
    for name, weight in zip(FEATURES, calibration.weights, strict=True):
        console.print(f"{name}: {weight:+.2f} a standard deviation", highlight=False)
    if options.write:
        figures = {f"judged, {name}": value for name, value in forecasts.figures().items()}
        ledgers = " ".join(map(str, (*options.fit, "--judge", *options.judge)))
        origin = {
            "command": f"python -m benchmarks.trust_calibration {ledgers}",
            "commit": _commit(),
            **calibration.origin,
            **figures,
        }
        again = Calibration(
            calibration.means, calibration.scales, calibration.weights, calibration.intercept, origin
        )
        replace_file(options.write, again.text())


def _new(ledgers: Sequence[Path]) -> Calibration:
    facts = Facts.of(ledgers)
    varied = ~facts.constant  # of the others, nothing is asked
    origin: dict[str, str | float] = {
        "fitted, tables": float(varied.sum()),
        "fitted, laws": float(facts.right.sum()),
        "fitted, seconds of a search": ", ".join(f"{each:g}" for each in np.unique(facts.seconds).tolist()),
    }
    return fitted(facts.features[varied], facts.right[varied], origin)


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    here = Path(__file__).parent
    found = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
