"""rils-rols (Kartelj and Djukanovic, "RILS-ROLS: robust symbolic regression via iterated local search and ordinary
least squares", Journal of Big Data 10, 2023) at its authors' settings.

It builds from source, with pybind11 installed beforehand and `pip install --no-build-isolation`, and is
therefore no part of the extra `peers`. Its time limit is whole seconds of wall time, and excludes a
simplification of up to two seconds at the end, which changes no value and is left out here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from expressions.expression import Expression
from expressions.parsing import parse

__all__ = ["from_rils_rols", "search"]


def search(
    inputs: np.ndarray, target: np.ndarray, *, seconds: float, seed: int
) -> tuple[Expression, Callable[[np.ndarray], np.ndarray]]:
    """Run rils-rols.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values. `[rows]`
        seconds: budget by the clock, rounded up to whole seconds.
        seed: random seed.

    Returns:
        The equation, with the six decimals that its text has, and the function that predicts with all of them.

    Raises:
        ModuleNotFoundError: rils-rols is not installed.
    """
    from rils_rols.rils_rols import RILSROLSRegressor

    class Unsimplified(RILSROLSRegressor):  # type: ignore[misc, valid-type]
        """The regressor without SymPy at its end."""

        def call_model_symplify(self) -> None:
            self.model_simp = self.model

    regressor = Unsimplified(
        max_fit_calls=100_000_000,
        max_time=math.ceil(seconds),
        complexity_penalty=0.001,
        max_complexity=50,
        sample_size=1,
        random_state=seed,
    )
    regressor.fit(inputs.copy(), target.copy())  # it reshapes what it is given

    def predict(rows: np.ndarray) -> np.ndarray:
        return np.asarray(regressor.predict(rows.copy()), dtype=float).reshape(-1)

    return from_rils_rols(regressor.model), predict


def from_rils_rols(text: str) -> Expression:
    """Expression of the text of its model, whose variables are x0, x1, … as ours are.

    Raises:
        expressions.parsing.ParseError: the text has something that our operators do not know.
    """
    return parse(re.sub(r"\bln\(", "log(", text))
