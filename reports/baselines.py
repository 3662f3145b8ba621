"""What a formula is compared with on held-out rows: a line, a cubic, gradient boosting."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from expressions.goodness_of_fit import r2
from reports.discovery_parts.result import CUBIC, EQUATION, LINEAR, Score
from reports.polynomial_baselines import MOST_ROWS, Monomials, Rows, drawn
from searches.pareto_front import Candidate

__all__ = ["LEAST_HELD_OUT", "GradientBoosting", "polynomial_score", "quick_scores"]

LEAST_HELD_OUT = 40
"""Held-out rows below which nothing is claimed: R2 of fewer rows is mostly chance."""
_LEAST_WAIT = 0.1  # seconds: with none, an answer that is there already is not read
_FEW_ROWS = 1_000  # below which exact splits are tried, which take no longer
_MOST_NUMBERS = 2_000_000  # monomials times rows, which take some tenths of a second
_PENALTIES = np.concatenate([[0.0], np.logspace(-10, 2, 25)])  # ridge penalties to choose from, per row


def quick_scores(chosen: Candidate, train: Rows, held_out: Rows | None) -> dict[str, Score]:
    """Scores of an equation and of the polynomials, within some tenths of a second.

    Args:
        chosen: equation that was fitted to `train`.
        train: rows of the fit.
        held_out: rows that nothing was fitted to, if any.

    Returns:
        Score by name; empty where fewer than `LEAST_HELD_OUT` rows are held out.
    """
    if held_out is None or len(held_out[1]) < LEAST_HELD_OUT:
        return {}
    scores: dict[str, Score | None] = {
        EQUATION: Score(r2(held_out[1], chosen.expression(held_out[0])), chosen.complexity),
        LINEAR: polynomial_score(train, held_out, 1),
        CUBIC: polynomial_score(train, held_out, 3),
    }
    return {name: score for name, score in scores.items() if score is not None}


def polynomial_score(train: Rows, held_out: Rows, degree: int) -> Score | None:
    """Held-out score of the ridge regression on all monomials up to a degree.

    The penalty is the one with the least generalised cross-validation error (Golub, Heath and Wahba, Technometrics
    21, 1979), so that many monomials on few rows stay tame.

    Args:
        train: rows of the fit, of which at most `MOST_ROWS` are used.
        held_out: rows of the score.
        degree: highest total degree of a monomial.

    Returns:
        R2, with the number of coefficients as complexity; None where there are more than a third as many
        coefficients as rows, or too many to be fitted quickly.
    """
    coefficients = math.comb(train[0].shape[1] + degree, degree)
    most = min(MOST_ROWS, _MOST_NUMBERS // coefficients)
    train = drawn(train, most)
    if 3 * coefficients > len(train[1]):
        return None
    monomials = Monomials(train[0], degree)
    mean = float(np.mean(train[1]))
    weights = _ridge(monomials.fitted, train[1] - mean)
    inputs, target = drawn(held_out, most)
    values = np.concatenate([block @ weights for block in monomials.blocks(inputs)]) + mean
    return Score(r2(target, values), coefficients)


def _ridge(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights of the ridge regression whose penalty generalised cross-validation chooses. `[columns]`"""
    rows = len(target)
    size = float(np.max(np.abs(target))) or 1.0  # squares of 1e200 leave the range of float64
    target = target / size
    values, vectors = np.linalg.eigh(columns.T @ columns / rows)
    values = np.maximum(values, 0.0)
    known = values > 1e-13 * values[-1]  # directions that are more than rounding
    values, vectors = values[known], vectors[:, known]
    moments = vectors.T @ (columns.T @ target) / rows
    total = float(np.mean(target**2))

    def weights(penalty: float) -> np.ndarray:
        return moments / (values + penalty)

    def validation_error(penalty: float) -> float:
        fit = weights(penalty)
        squares = max(total - float(np.sum(fit * (2.0 * moments - values * fit))), 0.0)
        spent = (1.0 + float(np.sum(values / (values + penalty)))) / rows
        return squares / (1.0 - spent) ** 2

    solution: np.ndarray = vectors @ weights(min(_PENALTIES.tolist(), key=validation_error)) * size
    return solution


class GradientBoosting:
    """Held-out score of gradient boosting, computed in a process of its own that ends in time.

    scikit-learn takes a second to import, and its fit cannot be interrupted: neither may hold up the answer.

    Args:
        train: rows of the fit, of which at most `MOST_ROWS` are used.
        held_out: rows of the score, at least `LEAST_HELD_OUT`, of which at most `MOST_ROWS` are used.
    """

    def __init__(self, train: Rows, held_out: Rows) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        root = str(Path(__file__).resolve().parent.parent)
        code = "import sys; sys.path.insert(0, sys.argv[1]); from reports.baselines import serve; serve()"
        with contextlib.suppress(OSError), tempfile.TemporaryFile() as stream:  # a full disk costs no answer
            for array in (*drawn(train, MOST_ROWS), *drawn(held_out, MOST_ROWS)):
                np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
            stream.seek(0)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, root],
                stdin=stream,  # a pipe would make us wait until the process reads
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},  # the search needs the other cores
                start_new_session=True,  # Ctrl-C is for us
            )

    def result(self, seconds: float) -> Score | None:
        """Wait for the score.

        Args:
            seconds: longest time to wait, after which the process is ended.

        Returns:
            The score; None where it did not come in time, or there is none.
        """
        if self.process is None:
            return None
        try:
            answer, _ = self.process.communicate(timeout=max(seconds, _LEAST_WAIT))
            return Score(float(json.loads(answer)))
        except (subprocess.TimeoutExpired, ValueError):
            return None
        finally:  # also on Ctrl-C
            self.stop()

    def stop(self) -> None:
        """End the process, if it has not ended."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def serve() -> None:
    """Body of the process: read the rows from standard input, write R2 to standard output."""
    inputs, target, held_inputs, held_target = (np.load(sys.stdin.buffer, allow_pickle=False) for _ in range(4))
    from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

    kind = GradientBoostingRegressor if len(target) < _FEW_ROWS else HistGradientBoostingRegressor
    mean, size = float(np.mean(target)), float(np.std(target)) or 1.0
    model = kind(random_state=0).fit(inputs, (target - mean) / size)
    print(json.dumps(r2(held_target, model.predict(held_inputs) * size + mean)), flush=True)
