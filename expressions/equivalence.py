"""Whether two equations are the same: numerically, symbolically by SRBench's rule, or on every row they share."""

from __future__ import annotations

import numpy as np

from expressions import sympy_worker
from expressions.canonical_form import canonical, canonical_key
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse

__all__ = ["comparison_rows", "equivalent", "recovered", "same_values"]

EQUIVALENT_NRMSE = 1e-6
_SEED = 20240


def comparison_rows(variables: int, rows: int = 240) -> np.ndarray:
    """Fixed rows on which two expressions are compared: a third positive, a third in (-3, 3), a third wide.

    Returns:
        `[rows, variables]`
    """
    rng = np.random.default_rng(_SEED)
    third = rows // 3
    wide = rows - 2 * third
    return np.concatenate(
        [
            rng.uniform(0.1, 4.0, (third, variables)),
            rng.uniform(-3.0, 3.0, (third, variables)),
            rng.normal(0.0, 1.0, (wide, variables)) * np.exp(rng.normal(0.0, 1.5, (wide, 1))),
        ]
    )


def equivalent(model: Expression, truth: Expression, X: np.ndarray) -> bool:
    """Whether the model is numerically the truth: NRMSE < 1e-6 in float64.

    Args:
        model: the equation that was found.
        truth: the equation that generated the data.
        X: rows that the search did not see. `[rows, variables]`

    Returns:
        False if the model is not finite on a row. Rows on which the truth is not finite do not count; with none
        left, False.
    """
    target, values = truth(X), model(X)
    defined = np.isfinite(target)
    if not defined.any():
        return False
    return nmse(target[defined], values[defined]) < EQUIVALENT_NRMSE**2


def same_values(original: Expression, candidate: Expression, X: np.ndarray) -> bool:
    """Whether two expressions have equal values, up to rounding, and are finite on the same rows.

    Args:
        original: the expression whose values are right.
        candidate: the expression that may stand for it.
        X: rows to compare on. `[rows, variables]`

    Returns:
        False, too, if the candidate has a variable that the rows have no column for.
    """
    if max(candidate.variables, default=0) >= X.shape[1]:
        return False
    with np.errstate(all="ignore"):
        expected, found = original(X), candidate(X)
        finite = np.isfinite(expected)
        if not np.array_equal(finite, np.isfinite(found)):
            return False
        expected, found = expected[finite], found[finite]
        if not expected.size:
            return True
        # Rounding where large terms cancel is judged by the size of values in general.
        usual = float(np.median(np.abs(expected)))
        return bool((np.abs(found - expected) <= 1e-9 * np.maximum(np.abs(expected), usual) + 1e-300).all())


def recovered(model: Expression, truth: Expression, seconds: float = 10.0) -> bool:
    """Whether the model is the true equation, by SRBench's rule of a symbolic solution.

    The model is simplified and its constants are rounded to 3 decimals; it is a solution if truth - model is a
    constant, or model/truth is a constant other than 0 (La Cava et al., "Contemporary symbolic regression methods
    and their relative performance", NeurIPS 2021, definition 4.1).

    Who answers: (1) numbers on fixed random rows say no if neither the difference nor the ratio is within 5 % of
    a constant; (2) equal canonical forms after rounding say yes; (3) otherwise SymPy decides, in a worker with a
    time limit; (4) if SymPy does not finish, numbers decide: after rounding the canonical forms' constants,
    the difference or the ratio is constant to 1e-6 on the rows where the truth is finite.

    Args:
        model: the equation that was found.
        truth: the equation that generated the data.
        seconds: time limit of SymPy.
    """
    X = comparison_rows(1 + max((*model.variables, *truth.variables), default=0))
    if not _constant_apart(model(X), truth(X), 0.05):
        return False
    rounded_model, rounded_truth = _rounded(canonical(model)), _rounded(canonical(truth))
    if canonical_key(rounded_model) == canonical_key(rounded_truth):
        return True
    answer = sympy_worker.is_recovered(model, truth, seconds)
    return _constant_apart(rounded_model(X), rounded_truth(X), 1e-6) if answer is None else answer


def _constant_apart(model: np.ndarray, truth: np.ndarray, tolerance: float) -> bool:
    """Whether difference or ratio is a constant, up to a share of its spread, on the rows where both are finite.

    Most rows on which the truth is finite must be finite in the model too.
    """
    with np.errstate(all="ignore"):
        usable = np.isfinite(truth) & np.isfinite(model)
        if usable.sum() < max(2, 0.5 * np.isfinite(truth).sum()):
            return False
        f, y = model[usable], truth[usable]
        # Rows of huge values would decide alone; the middle of the distribution is what a formula is.
        keep = np.abs(y) <= np.quantile(np.abs(y), 0.9)
        f, y = f[keep], y[keep]
        spread = float(np.std(y))
        if float(np.std(f - y)) <= tolerance * spread or np.ptp(f - y) == 0.0:
            return True
        ratio = f[y != 0.0] / y[y != 0.0]
        middle = float(np.median(ratio)) if ratio.size else 0.0
        return middle != 0.0 and float(np.median(np.abs(ratio / middle - 1.0))) <= tolerance


def _rounded(expression: Expression) -> Expression:
    return expression.with_constants(np.round(expression.constants, 3))
