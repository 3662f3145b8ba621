"""`SymbolicRegressor`: equations by scikit-learn's conventions."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state, estimator_html_repr
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from expressions.expression import Expression
from expressions.own_operators import register
from foundation.arrays import refuse_other_kinds
from foundation.files import read_regular, replace_file
from rediscover.estimator.options import (
    AT_ONCE,
    AUTO,
    Budget,
    ParameterError,
    operator_names,
    own_operators,
    read_equation,
    read_guesses,
    settings_of,
    workers_of,
)
from rediscover.estimator.rows import merged_rows
from rediscover.estimator.saving import ModelFileError, model_text, read_model
from rediscover.estimator.target_fit import TargetFit
from rediscover.estimator.watching import Watch
from rediscover.fitting import explain
from searches.law_probability import LawProbability
from searches.pareto_front import Candidate
from searches.portfolio_members.robust import outlying_weights
from searches.portfolio_members.settings import LOSSES

if TYPE_CHECKING:
    import pandas as pd

    from modules.equation_module import EquationModule

__all__ = ["SymbolicRegressor"]

_LARGEST_FILE = 1 << 26  # bytes of a saved model
_MOST_SEED = 2**31 - 1


class SymbolicRegressor(RegressorMixin, BaseEstimator):
    """Finds the formula of a target, and predicts by it.

    A search keeps the most accurate equation of every size. One of them is picked: the shortest exact one, or the
    one after which a longer equation gains too little. From 40 rows on, a quarter of the rows only chooses, and
    constants are then fitted to all rows.

    Args:
        max_time: seconds of wall time that `fit` may take, everything included; None: no limit.
        max_evaluations: computations of one equation on the search rows; None: no limit. With this budget alone
            and a `random_state`, the same data give the same equations bit for bit, and neither SymPy nor (but by
            `method="map"`) the map of equations is used.
        method: `auto` for all searches together, or one of `regression`, `genetic_programming`, `structures`,
            `map`.
        operators: names of the operators that equations may hold; None for the default ones. A mapping may hold
            operators of one's own: functions of NumPy arrays, or `expressions.own_operators.CustomOperator`, by
            name, and shipped ones with the value None; without shipped ones, the default ones are added.
        guesses: equations to start from, as text in the features' names or as expressions.
        max_complexity: largest complexity of an equation (nodes of its SymPy tree); None: no limit.
        loss: `squares`, or `huber` for data with outliers: errors beyond a few standard deviations of the others
            count less, gross ones nothing.
        n_jobs: number of processes; None: one, -1: all cores.
        random_state: random seed, or a generator that gives one; None: another one each time.
        warm_start: whether `fit` starts from the equations of the last fit.
        progress: whether better equations are printed on standard error while the search runs.
        callback: function that is called some five times a second with a `searches.portfolio.Progress`; the fit
            ends when it returns True.

    Attributes:
        n_features_in_: number of features.
        feature_names_in_: names of the features, where X had names. `[features]`
        equations_: all equations, one row each, as a DataFrame; see `equations_`.
        best_: picked equation with its scores; a list of them for several targets.
        trust_: probability that this is the law, with its competitors; a list of them for several targets.

    Example:
        >>> model = SymbolicRegressor(max_time=10, random_state=0).fit(df[["n", "T", "V"]], df["P"])
        >>> model.equations_, model.predict(df), model.latex(), model.source()
    """

    def __init__(
        self,
        max_time: float | None = 30.0,
        max_evaluations: int | None = None,
        method: str = AUTO,
        operators: Sequence[str] | Mapping[str, Any] | None = None,
        guesses: Sequence[str | Expression] | None = None,
        max_complexity: int | None = None,
        n_jobs: int | None = 1,
        random_state: Any = None,
        warm_start: bool = False,
        progress: bool = False,
        callback: Callable[[Any], Any] | None = None,
        loss: str = LOSSES[0],
    ) -> None:
        self.max_time = max_time
        self.max_evaluations = max_evaluations
        self.method = method
        self.operators = operators
        self.guesses = guesses
        self.max_complexity = max_complexity
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.progress = progress
        self.callback = callback
        self.loss = loss

    # --- fitting ------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Search for equations.

        Ctrl-C ends the search; what was found by then is kept, with a warning. Targets that were still to come get
        what needs no search, such as a straight line.

        Args:
            X: finite values of the features; the names of a DataFrame are kept. `[rows, features]`
            y: finite values of the target, or of several. `[rows]` or `[rows, targets]`
            sample_weight: weights of the rows' squared errors, none negative. A row of weight 2 is the same as
                that row twice (up to 10,000 rows, bit for bit), but in intervals: these take weights for inverse
                variances of the errors, but for one factor that the residuals tell, and a row for one
                measurement, whatever it weighs. `[rows]`

        Raises:
            ValueError: the data or a parameter cannot be used.
        """
        begun = time.perf_counter()
        budget = Budget.of(self.max_time, self.max_evaluations)
        operators, workers = operator_names(self.operators), workers_of(self.n_jobs)
        settings_of(
            budget, self.method, operators, self.max_complexity, self.loss
        )  # refused before the data are looked at
        labels = _target_labels(y)
        for values, name in ((X, "X"), (y, "y"), (sample_weight, "sample_weight")):
            refuse_other_kinds(values, name)
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        weights = _weights(sample_weight, X)
        seed = int(check_random_state(self.random_state).randint(_MOST_SEED))
        names = self._names()
        guesses = read_guesses(self.guesses, names)
        targets = y.reshape(len(y), -1).astype(np.float64)
        earlier = self._earlier(targets.shape[1])
        fits: list[TargetFit] = []
        for place, label in enumerate(labels or _numbered(targets.shape[1])):
            is_over = bool(fits) and fits[-1].stopped == "interrupted"
            share = AT_ONCE if is_over else budget.share(time.perf_counter() - begun, targets.shape[1] - place)
            settings = settings_of(share, self.method, operators, self.max_complexity, self.loss)
            callback = None if is_over else self.callback
            watch = Watch(bool(self.progress) and not is_over, callback, label, names)
            seeds = [*guesses, *earlier[place]]
            fits.append(_fit_target(label, X, targets[:, place], weights, settings, seed, seeds, workers, watch))
        self._fits, self._one_target = fits, y.ndim == 1
        return self

    def _earlier(self, targets: int) -> list[list[Expression]]:
        """Equations of the last fit of as many features and targets, for every target."""
        fits: list[TargetFit] = getattr(self, "_fits", [])
        if not self.warm_start or len(fits) != targets:
            return [[] for _ in range(targets)]
        known = range(self.n_features_in_)
        equations = [[candidate.expression for candidate in fit.candidates] for fit in fits]
        return [[each for each in some if set(each.variables) <= set(known)] for some in equations]

    def _names(self) -> list[str]:
        """Names of the features in equations."""
        from datamodules.tables.column_names import identifiers

        given = getattr(self, "feature_names_in_", None)
        return [f"x{k}" for k in range(self.n_features_in_)] if given is None else identifiers(list(given))

    # --- predicting ---------------------------------------------------------------------------------------------

    def predict(self, X: Any, index: Any = None) -> np.ndarray:
        """Values of the picked equation, or of another one.

        Where the equation is not defined on a row, there is one warning, and the value is the target's mean in the
        fit, or its largest or smallest value where the equation is infinite.

        Args:
            X: finite values of the features. `[rows, features]`
            index: row of `equations_` to predict by, a list with a row for every target where there are several;
                None: the picked ones.

        Returns:
            `[rows]`, or `[rows, targets]` as in the fit.

        Raises:
            ValueError: X does not fit, or there is no such row.
        """
        check_is_fitted(self)
        places = self._places(index)
        refuse_other_kinds(X, "X")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        found = [fit.values(place, X) for fit, place in zip(self._fits, places, strict=True)]
        undefined = max(bad for _, bad in found)
        if undefined:
            warnings.warn(
                f"the equation is not defined on {undefined} of {len(X)} rows: the prediction there is the "
                "target's mean in the fit, or its largest or smallest value where the equation is infinite",
                stacklevel=2,
            )
        return found[0][0] if self._one_target else np.column_stack([values for values, _ in found])

    def predict_interval(
        self, X: Any, level: float = 0.95, *, curve: bool = False, index: Any = None
    ) -> np.ndarray:
        """Ends of the interval of every prediction.

        If the equation is the law and errors are normal, a new measurement lies in its interval with the
        probability `level`: the uncertainty of the constants (delta method) and the error of a typical row add up.

        Args:
            X: finite values of the features. `[rows, features]`
            level: probability, between 0 and 1.
            curve: whether the interval is that of the law's own value, without the error of a measurement.
            index: row of `equations_`, as for `predict`.

        Returns:
            Lower and upper end: equal where the equation is exact, NaN where it is not defined or nothing is
            known. `[rows, 2]`, or `[rows, targets, 2]` as in the fit.

        Raises:
            ValueError: X does not fit, the level is none, or there is no such row.
        """
        check_is_fitted(self)
        places = self._places(index)
        if not 0.0 < level < 1.0:
            raise ParameterError(f"level={level!r} is not allowed: it must be a probability between 0 and 1")
        refuse_other_kinds(X, "X")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        ends = []
        for fit, place in zip(self._fits, places, strict=True):
            values, margins = fit.candidates[place].expression(X), fit.margins(place, X, level, curve)
            with np.errstate(invalid="ignore"):
                ends.append(np.stack([values - margins, values + margins], axis=1))
        found = np.stack(ends, axis=1)
        found[~np.isfinite(found)] = np.nan
        return found[:, 0] if self._one_target else found

    def _places(self, index: Any) -> list[int]:
        """Place of the equation to use in every target's front."""
        if index is None:
            return [fit.chosen for fit in self._fits]
        rows = [index] if isinstance(index, int | np.integer) else list(index)
        ends = np.cumsum([len(fit.candidates) for fit in self._fits]).tolist()
        places = [
            int(row) - start
            for row, start, end in zip(rows, [0, *ends[:-1]], ends, strict=False)
            if start <= row < end
        ]
        if len(places) != len(self._fits) or len(rows) != len(places):
            what = "a row of equations_" if len(ends) == 1 else "a list with a row of equations_ for every target"
            raise ParameterError(f"index={index!r} is not allowed: it must be {what}, which has {ends[-1]} rows")
        return places

    def score_equation(
        self, equation: str | Expression, X: Any, y: Any, sample_weight: Any = None
    ) -> pd.DataFrame:
        """Scores of a formula of your own, with its constants as given and fitted to the rows.

        Args:
            equation: text in the features' names (x0, x1, … where X has none), or an expression.
            X: finite values of the features. `[rows, features]`
            y: finite values of the target. `[rows]`
            sample_weight: weights of the rows' squared errors, none negative. `[rows]`

        Returns:
            The rows `as given` and `fitted`, with the columns complexity, loss (mean squared error), r2, equation.

        Raises:
            expressions.parsing.ParseError: the text is not an equation of these names.
            ValueError: the data cannot be used.
        """
        from rediscover.estimator.tables import score_table

        register(own_operators(self.operators))
        scratch = SymbolicRegressor()  # the names of these rows, not those of the fit
        for values, name in ((X, "X"), (y, "y"), (sample_weight, "sample_weight")):
            refuse_other_kinds(values, name)
        X, y = validate_data(scratch, X, y, dtype=np.float64, y_numeric=True)
        names, weights = scratch._names(), _weights(sample_weight, X)
        return score_table(read_equation(equation, names), names, X, np.asarray(y, dtype=np.float64), weights)

    # --- what was found -----------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fits")

    @property
    def equations_(self) -> pd.DataFrame:
        """All equations, the shortest first.

        The columns: `target` (where there are several), `picked`, `complexity` (nodes of the SymPy tree), `loss`
        (mean squared error on all rows), `r2` (on the rows that chose, or on all where none were held out),
        `equation` and `latex` with the digits that the data support, and `intervals`: a list with the ends of each
        constant's 95 % interval, in the order of the equation, infinite where there is no end, and an empty list
        where the equation is exact or there are no more rows than constants. The first look computes them.
        `probability` is that of the picked equation being the law (NaN of the others), `trust` the word for it,
        and `behind` the nats by which a competitor, which the data hardly tell from it, describes them longer.
        """
        from rediscover.estimator.tables import equations_table

        self._check_fitted("equations_")
        return equations_table(self._fits, self._names())

    @property
    def best_(self) -> Candidate | list[Candidate]:
        """The picked equation with its scores; a list of them for several targets."""
        self._check_fitted("best_")
        picked = [fit.candidates[fit.chosen] for fit in self._fits]
        return picked[0] if self._one_target else picked

    @property
    def trust_(self) -> LawProbability | list[LawProbability | None] | None:
        """The probability that the picked equation is the law, see `searches.law_probability`.

        None where nothing is known; a list for several targets. The first look computes it.
        """
        self._check_fitted("trust_")
        found = [fit.trust for fit in self._fits]
        return found[0] if self._one_target else found

    def _check_fitted(self, name: str) -> None:
        if not hasattr(self, "_fits"):
            raise NotFittedError(f"this {type(self).__name__} has no {name} yet: call fit first")

    def _forms(self, index: Any, form: Callable[[Expression], Any]) -> Any:
        """A form of the equation to use; a list of them for several targets."""
        check_is_fitted(self)
        fits = zip(self._fits, self._places(index), strict=True)
        forms = [form(fit.candidates[place].expression) for fit, place in fits]
        return forms[0] if self._one_target else forms

    def sympy(self, index: Any = None) -> Any:
        """The equation as SymPy has it, over real symbols; a list of them for several targets.

        Args:
            index: row of `equations_`, as for `predict`.
        """
        return self._forms(index, lambda equation: _sympy_form(equation, self._names()))

    def latex(self, index: Any = None, intervals: bool = False) -> Any:
        r"""The equation in LaTeX, with the digits that the data support; a list of them for several targets.

        Args:
            index: row of `equations_`, as for `predict`.
            intervals: whether each constant has its 95 % interval, as in `\left(1.613 \pm 0.032\right)`, where
                there is one.
        """
        check_is_fitted(self)
        names = self._names()
        forms = [
            fit.latex(place, names, intervals) for fit, place in zip(self._fits, self._places(index), strict=True)
        ]
        return forms[0] if self._one_target else forms

    def source(self, index: Any = None) -> Any:
        """The equation as a module of Python that needs NumPy alone; a list of them for several targets.

        Args:
            index: row of `equations_`, as for `predict`.

        Raises:
            foundation.errors.UserError: the equation holds an operator of one's own, whose source is not known.
        """
        from expressions.numpy_source import numpy_source

        given = getattr(self, "feature_names_in_", None)
        columns = None if given is None else [str(name) for name in given]
        return self._forms(index, lambda equation: numpy_source(equation, self._names(), columns))

    def torch_module(self, index: Any = None) -> EquationModule:
        """The equation as a module of torch, whose constants are parameters, in float64.

        Args:
            index: row of `equations_`, as for `predict`.

        Returns:
            A module of `[rows, features]` that returns `[rows]`, or `[rows, targets]` for several targets.
        """
        from modules.equation_module import EquationModule

        return EquationModule(self._forms(index, lambda equation: equation))

    def _html_repr(self) -> str:
        """What a notebook shows: the formulas, and below them the parameters."""
        parameters: str = estimator_html_repr(self)
        if not hasattr(self, "_fits"):
            return parameters
        from rediscover.estimator.tables import formulas_page

        return f"<div>{formulas_page(self._fits, self._names())}</div>{parameters}"

    # --- keeping ------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The fitted model as JSON. The callback, and functions of one's own, are code and stay behind."""
        check_is_fitted(self)
        given = getattr(self, "feature_names_in_", None)
        state = {
            "features": self.n_features_in_,
            "names": None if given is None else [str(name) for name in given],
            "one_target": self._one_target,
        }
        return model_text(self.get_params(deep=False), state, self._fits)

    @classmethod
    def from_json(cls, text: str, operators: Mapping[str, Any] | None = None, source: str = "the text") -> Self:
        """The model that `to_json` wrote; reading it runs no code.

        Args:
            text: JSON of `to_json`.
            operators: operators of one's own by name, where the model was given such.
            source: name of the text in an error sentence.

        Raises:
            rediscover.estimator.saving.ModelFileError: the text is no model, or an operator of it is not known.
        """
        operator_names(operators)
        parameters, state, fits = read_model(text, source)
        own = own_operators(operators)
        if own:
            shipped = parameters.get("operators") or ()
            parameters["operators"] = {**dict.fromkeys(shipped), **own}
        try:
            model = cls(**parameters)
        except TypeError as error:
            raise ModelFileError(f"{source} has other parameters ({error}): write the model anew") from error
        model.n_features_in_ = int(state["features"])
        if state["names"] is not None:
            model.feature_names_in_ = np.array(state["names"], dtype=object)
        model._fits, model._one_target = fits, bool(state["one_target"])
        return model

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file, whole or not at all.

        Args:
            path: file in a directory that exists.
        """
        replace_file(Path(path), self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path, operators: Mapping[str, Any] | None = None) -> Self:
        """The model that `save` wrote; the arguments and errors are those of `from_json`.

        Args:
            path: file that `save` wrote.
            operators: operators of one's own by name, where the model was given such.
        """
        content = read_regular(Path(path).resolve(), most=_LARGEST_FILE)
        return cls.from_json(content.decode(errors="replace"), operators, str(path))

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "_fits" in state:  # by the operators' names, since one's own have other numbers in another process
            state["_fits"] = [fit.plain() for fit in state["_fits"]]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        register(own_operators(state.get("operators")))
        if "_fits" in state:
            columns = state["n_features_in_"]
            fits = [TargetFit.of_plain(each, "the pickle", columns) for each in state["_fits"]]
            state = {**state, "_fits": fits}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _fit_target(
    label: str,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    settings: Any,
    seed: int,
    seeds: Sequence[Expression],
    workers: int,
    watch: Watch,
) -> TargetFit:
    """Search one target."""
    count = len(target) if weights is None else int(np.count_nonzero(weights))
    inputs, target, weights = merged_rows(inputs, target, weights)
    if target.min() == target.max():
        return TargetFit.of_constant(label, float(target[0]))
    result = explain(
        inputs,
        target,
        settings,
        seed=seed,
        weights=weights,
        seeds=seeds,
        workers=workers,
        on_progress=watch.told if watch.is_needed else None,
        should_stop=lambda: watch.is_over,
    )
    if result.stopped == "interrupted" and not watch.is_over:
        warnings.warn(f"the search for {label} was interrupted: the best equations so far are kept", stacklevel=3)
    if settings.loss == "huber":  # gross outliers, which counted nothing, are no noise by which to tell intervals
        kept = outlying_weights(result.best.expression, inputs, target, weights) > 0.0
        count -= len(target) - int(np.count_nonzero(kept))
        inputs, target, weights = inputs[kept], target[kept], None if weights is None else weights[kept]
    return TargetFit.of(label, result, inputs, target, weights, count)


def _sympy_form(equation: Expression, names: Sequence[str]) -> Any:
    """The SymPy form, whose numbers print with no more digits than they have."""
    import sympy

    tree = equation.to_sympy(names)
    return tree.xreplace({number: sympy.Float(repr(float(number))) for number in tree.atoms(sympy.Float)})


def _weights(sample_weight: Any, X: np.ndarray) -> np.ndarray | None:
    """Checked weights of the rows. `[rows]`"""
    if sample_weight is None:
        return None
    weights: np.ndarray = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ParameterError("all sample weights are 0: there is nothing to fit")
    return weights


def _target_labels(y: Any) -> list[str]:
    """Names of the targets of a DataFrame or a Series; empty where they have none."""
    if hasattr(y, "columns"):
        return [str(name) for name in y.columns]
    name = getattr(y, "name", None)
    return [str(name)] if isinstance(name, str) else []


def _numbered(targets: int) -> list[str]:
    return ["y"] if targets == 1 else [f"y{k}" for k in range(targets)]
