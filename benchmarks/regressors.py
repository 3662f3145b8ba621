"""Regressions that give predictions and no equation, each tuned by cross-validation on the training rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers import Predict

__all__ = ["REGRESSORS", "Regression", "regress"]

_FOLDS = 3
_TUNED_ROWS = 2_000  # rows that the settings are chosen on, at most
_KERNEL_ROWS = 5_000  # of a kernel machine, whose time grows with the cube


@dataclass(frozen=True)
class Regression:
    """A fitted regression.

    Attributes:
        predict: function from inputs `[rows, features]` to predictions `[rows]`.
        size: number of nodes of all trees; None where there are none.
        cpu_seconds: processor seconds of tuning and fitting.
    """

    predict: Predict
    size: int | None
    cpu_seconds: float


def regress(method: str, inputs: np.ndarray, target: np.ndarray, seed: int) -> Regression:
    """Tune and fit one of `REGRESSORS`.

    Args:
        method: name in `REGRESSORS`.
        inputs: `[rows, features]`
        target: `[rows]`
        seed: random seed for folds, subsets and the method itself.
    """
    build, size = REGRESSORS[method]
    begun = time.process_time()
    model = build(inputs, target, seed)
    seconds = time.process_time() - begun
    return Regression(lambda rows: np.asarray(model.predict(rows), dtype=float).reshape(-1), size(model), seconds)


def _kernel_ridge(inputs: np.ndarray, target: np.ndarray, seed: int) -> Any:
    """A Gaussian kernel on standardised columns and target, penalty and width by cross-validation."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = inputs.shape[1]
    ridge = make_pipeline(StandardScaler(), KernelRidge(kernel="rbf"))
    model = TransformedTargetRegressor(ridge, transformer=StandardScaler())
    grid = {
        "regressor__kernelridge__alpha": [1e-3, 1e-2, 1e-1, 1.0],
        "regressor__kernelridge__gamma": [scale / features for scale in (0.01, 0.03, 0.1, 0.3, 1.0)],
    }
    return _tuned(model, grid, inputs, target, seed, _KERNEL_ROWS)


def _hist_gradient_boosting(inputs: np.ndarray, target: np.ndarray, seed: int) -> Any:
    """scikit-learn's boosting on binned columns, as it comes."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(random_state=seed).fit(inputs, target)


def _gradient_boosting(inputs: np.ndarray, target: np.ndarray, seed: int) -> Any:
    """scikit-learn's boosting, depth and number of trees by cross-validation."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(learning_rate=0.05, subsample=0.7, max_features=0.7, random_state=seed)
    grid = {"max_depth": [1, 2, 3, 5], "n_estimators": [100, 300]}
    return _tuned(model, grid, inputs, target, seed, len(inputs))


def _tuned(
    model: Any, grid: dict[str, list[Any]], inputs: np.ndarray, target: np.ndarray, seed: int, most_rows: int
) -> Any:
    """The model with the best of the settings, fitted on `most_rows` rows at most."""
    from sklearn.model_selection import GridSearchCV, KFold

    order = np.random.default_rng([seed, 11]).permutation(len(inputs))
    some, most = order[:_TUNED_ROWS], order[:most_rows]
    folds = KFold(_FOLDS, shuffle=True, random_state=seed)
    search = GridSearchCV(model, grid, cv=folds, refit=False).fit(inputs[some], target[some])
    return model.set_params(**search.best_params_).fit(inputs[most], target[most])


def _no_size(model: Any) -> None:
    """Nothing to count."""


def _hist_nodes(model: Any) -> int:
    return sum(len(tree.nodes) for stage in model._predictors for tree in stage)


def _nodes(model: Any) -> int:
    return sum(tree.tree_.node_count for tree in model.estimators_.ravel())


REGRESSORS: dict[str, tuple[Callable[[np.ndarray, np.ndarray, int], Any], Callable[[Any], int | None]]] = {
    "kernel_ridge": (_kernel_ridge, _no_size),
    "hist_gradient_boosting": (_hist_gradient_boosting, _hist_nodes),
    "gradient_boosting": (_gradient_boosting, _nodes),
}
"""Name -> the function that tunes and fits, and the one that counts nodes."""
