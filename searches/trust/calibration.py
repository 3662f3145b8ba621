"""From features to a calibrated probability: a logistic regression whose numbers are data of the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from foundation.files import read_regular
from foundation.schema import FormatError, choice, json_content, list_of, mapping_of, number, record, text
from searches.trust.features import FEATURES

__all__ = ["CALIBRATION", "Calibration", "packaged_calibration", "read_calibration"]

CALIBRATION = Path(__file__).with_name("calibration.json")
"""The file that comes with the package; `python -m benchmarks.trust_calibration` writes it."""
_FORMAT = "rediscover law probability 1"
_LARGEST_FILE = 1 << 16  # bytes
_FARTHEST = 3.0  # standard deviations from the mean up to which a feature counts: no table was seen much beyond
_LEAST, _MOST = 0.01, 0.99  # some hundreds of tables cannot tell more


@dataclass(frozen=True)
class Calibration:
    """A logistic regression of `searches.trust.features.FEATURES`.

    Attributes:
        means, scales: mean and standard deviation of each feature on the tables of the fit. `[features]`
        weights: weight of each standardised feature. `[features]`
        intercept: logarithm of the odds at the means.
        origin: record of how the numbers were made: command, commit, and figures of the judgement.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    origin: Mapping[str, str | float]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probability that each equation is the law, between .01 and .99. `[equations]`

        Args:
            features: features as `features_of` gives them. `[equations, features]`
        """
        standard = (features - np.array(self.means)) / np.array(self.scales)
        odds = np.clip(standard, -_FARTHEST, _FARTHEST) @ np.array(self.weights) + self.intercept
        return np.asarray(np.clip(1.0 / (1.0 + np.exp(-odds)), _LEAST, _MOST))

    def text(self) -> str:
        """The file of this calibration."""
        return json.dumps({"format": _FORMAT, "features": list(FEATURES), **asdict(self)}, indent=1) + "\n"


def read_calibration(content: bytes | str) -> Calibration:
    """The calibration that `Calibration.text` wrote.

    Raises:
        foundation.schema.FormatError: the content is none, or is of other features.
    """
    found = json_content(content, _CONTENT)
    if tuple(found["features"]) != FEATURES:
        raise FormatError("has other features than this version", "")
    return Calibration(
        tuple(found["means"]), tuple(found["scales"]), tuple(found["weights"]), found["intercept"], found["origin"]
    )


@cache
def packaged_calibration() -> Calibration:
    """The calibration that comes with the package."""
    return read_calibration(read_regular(CALIBRATION, most=_LARGEST_FILE))


def _told(value: Any) -> Any:
    """Check for a fact of the origin: a text or a number."""
    return (text(1_000) if isinstance(value, str) else number(-1e9, 1e9))(value)


def _numbers(least: float, most: float) -> Any:
    return list_of(number(least, most), least=len(FEATURES), most=len(FEATURES))


_CONTENT = record(
    {
        "format": choice(_FORMAT),
        "features": list_of(text(100), most=100),
        "means": _numbers(-1e3, 1e3),
        "scales": _numbers(1e-6, 1e3),
        "weights": _numbers(-100.0, 100.0),
        "intercept": number(-100.0, 100.0),
        "origin": mapping_of(_told, most=100),
    }
)
