"""How good an equation is: error, size, and whether it is the true one.

Errors are computed in float64 with the mean taken out first, so that a target like 1e9 + noise loses no digits.
A prediction with a value that is not finite has R2 = -inf and every error inf: an equation that fails on a row
fails. Nothing is clipped. Empty data raise ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from expressions import sympy_worker as symbolic
from expressions.expression import Expression
from expressions.operators import CONSTANT, POWER_ROWS, Operator
from expressions.sympy_size import sympy_nodes

__all__ = [
    "complexity",
    "equivalent",
    "mae",
    "mse",
    "nmse",
    "out_of_range",
    "probe_rows",
    "r2",
    "recovered",
    "rmse",
]

EQUIVALENT_NRMSE = 1e-6
_PROBE_SEED = 20240
_POWER_OF = {name: exponent for exponent, name in POWER_ROWS.items()}
_LONGEST = 5_000  # nodes; the time of SymPy, and of what imitates it, grows with the square of the length


def r2(y: np.ndarray, f: np.ndarray) -> float:
    """Coefficient of determination, 1 - NMSE: 1 is perfect, 0 is the mean of `y`, not bounded below.

    Args:
        y: target. `[rows]`
        f: prediction, or one number for all rows. `[rows]`

    Returns:
        R2; -inf if a prediction is not finite. A constant target has R2 = 1 if it is met exactly, else -inf.

    Raises:
        ValueError: no rows, shapes that differ, or a target that is not finite.
    """
    return 1.0 - nmse(y, f)


def nmse(y: np.ndarray, f: np.ndarray) -> float:
    """Mean squared error over the target's variance (divided by n, as the error is).

    Returns:
        NMSE; inf if a prediction is not finite. A constant target has NMSE = 0 if it is met exactly, else inf.
    """
    target, residual = _residual(y, f)
    if residual is None:
        return math.inf
    worst = float(np.max(np.abs(residual)))
    if worst == 0.0:
        return 0.0
    centred = target - target.mean()
    spread = float(np.max(np.abs(centred)))
    if spread <= 4e-16 * float(np.max(np.abs(target))):  # constant: the mean itself is rounded
        return math.inf
    # Both sums are scaled by their largest part: squares of 1e200 or 1e-200 leave the range of float64.
    ratio = worst / spread
    return ratio * ratio * float(np.mean((residual / worst) ** 2) / np.mean((centred / spread) ** 2))


def mse(y: np.ndarray, f: np.ndarray) -> float:
    """Mean squared error, in the target's unit squared; inf if a prediction is not finite."""
    return rmse(y, f) ** 2


def rmse(y: np.ndarray, f: np.ndarray) -> float:
    """Root mean squared error, in the target's unit; inf if a prediction is not finite."""
    _, residual = _residual(y, f)
    if residual is None:
        return math.inf
    worst = float(np.max(np.abs(residual)))
    return worst * math.sqrt(float(np.mean((residual / worst) ** 2))) if worst > 0.0 else 0.0


def mae(y: np.ndarray, f: np.ndarray) -> float:
    """Mean absolute error, in the target's unit; inf if a prediction is not finite."""
    _, residual = _residual(y, f)
    return math.inf if residual is None else float(np.mean(np.abs(residual)))


def _residual(y: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Target and residual in float64; the residual is None where a prediction is not finite."""
    target = np.asarray(y, dtype=np.float64)
    prediction = np.asarray(f, dtype=np.float64)
    if target.ndim != 1 or target.size == 0:
        raise ValueError(f"the target must be one column with at least one row, not of shape {target.shape}")
    if prediction.ndim == 0:
        prediction = np.full(target.shape, prediction)
    if prediction.shape != target.shape:
        raise ValueError(f"{prediction.shape} predictions for {target.shape} target values")
    if not np.isfinite(target).all():
        raise ValueError("the target has values that are not finite")
    if not np.isfinite(prediction).all():
        return target, None
    with np.errstate(over="ignore"):
        residual = prediction - target
    return target, residual if np.isfinite(residual).all() else None


# --- identity ---------------------------------------------------------------------------------------------------


def probe_rows(variables: int, rows: int = 240) -> np.ndarray:
    """Fixed rows on which two expressions are compared: a third positive, a third in (-3, 3), a third wide.

    Returns:
        `[rows, variables]`
    """
    rng = np.random.default_rng(_PROBE_SEED)
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


def recovered(
    model: Expression, truth: Expression, names: Sequence[str] | None = None, seconds: float = 10.0
) -> bool:
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
        names: not needed, variables are compared by position; accepted as everywhere where equations are printed.
        seconds: time limit of SymPy.
    """
    from expressions.simplification import canonical, canonical_key  # which measures complexity

    X = probe_rows(1 + max((*model.variables, *truth.variables), default=0))
    if not _constant_apart(model(X), truth(X), 0.05):
        return False
    rounded_model, rounded_truth = _rounded(canonical(model)), _rounded(canonical(truth))
    if canonical_key(rounded_model) == canonical_key(rounded_truth):
        return True
    answer = symbolic.is_recovered(model, truth, seconds)
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


# --- size -------------------------------------------------------------------------------------------------------


def complexity(expression: Expression) -> int:
    """Nodes of the expression's SymPy tree, as SRBench counts: `sum(1 for _ in sympy.preorder_traversal(tree))`.

    SymPy merges nested sums and products, writes a - b as a + (-1)*b, a/b as a*b**-1, sqrt(a) as a**(1/2), and
    more. What it makes of a tree is imitated where possible (see `expressions.sympy_size`); otherwise it is asked.
    Either way the number is the same. A protected operator counts as the plain one (SRBench reads them so).
    Only where SymPy might meet numbers beyond 10**1000 or below 10**-1000 (`out_of_range`), has not built the tree
    after 5 seconds, or would be asked for a tree of more than 5,000 nodes, the operators' own `complexity` is
    added up instead. Recent answers are remembered.
    """
    return _complexity(expression)


@lru_cache(maxsize=50_000)
def _complexity(expression: Expression) -> int:
    if len(expression) <= _LONGEST and not out_of_range(expression):
        nodes = sympy_nodes(expression)
        if nodes is None:
            nodes = symbolic.count_nodes(expression)
        if nodes is not None:
            return nodes
    return int(expression.fold(lambda *_: 1, lambda row, *arguments: row.complexity + sum(arguments)))


def out_of_range(expression: Expression) -> bool:
    """Whether SymPy, which computes with exact integers, might meet a number of more than a thousand digits.

    A float of such a size counts, too: SymPy holds it, but nothing here could take it back.
    """

    def combine(row: Operator, *digits: float) -> float:
        if row.name in _POWER_OF:
            return _POWER_OF[row.name] * digits[0]
        if row.name == "pow":
            return digits[0] * 10.0 ** min(digits[1], 300.0)
        return sum(digits) + 1.0 if row.arity == 2 else digits[0]

    def leaf(token: int, value: float) -> float:
        return abs(math.log10(abs(value))) if token == CONSTANT and value != 0.0 else 0.0

    return bool(expression.fold(leaf, combine) > 1_000.0)
