"""The methods that the suites compare: one function each, from a table and a budget to equations.

Whatever a peer finds is written as an `Expression`, node for node, and scored by this project's own functions in
float64, so that error and complexity mean the same for everyone. The peers' traps are handled here: pyoperon's
data set does not copy its array, its default choice of a model drops exact ones, and its time limit is whole
seconds of wall time; gplearn has no time limit, and its parsimony must be scaled by the variance of the target;
rils-rols prints constants with six decimals, so it predicts for itself.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from benchmarks.cells import Settings
from benchmarks.own_searches import OWN_SEARCHES, Search, prepare
from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS, POWER_ROWS

Predict = Callable[[np.ndarray], np.ndarray]

PYOPERON_OPERATORS = "add,sub,mul,div,exp,log,sin,cos,sqrt,square,tanh"
GPLEARN_FUNCTIONS = ("add", "sub", "mul", "div", "sqrt", "log", "sin", "cos", "inv")


@dataclass(frozen=True)
class Data:
    """Rows to search on and rows to choose by. Inputs `[rows, variables]`, targets `[rows]`, float64."""

    inputs: np.ndarray
    target: np.ndarray
    validation_inputs: np.ndarray
    validation_target: np.ndarray


@dataclass(frozen=True)
class Model:
    """An equation of some method.

    Attributes:
        expression: the equation in this project's form.
        predict: its values as the method itself computes them; the expression's where they are the same.
        complexity: nodes of the SymPy tree, as SRBench counts.
    """

    expression: Expression
    predict: Predict
    complexity: int


@dataclass(frozen=True)
class Fitted:
    """What a method returned.

    Attributes:
        chosen: model that the method presents first.
        front: all models that the method presents, the chosen one included.
        wall_seconds: seconds of the search by the clock, without the import of the method and the scoring.
        cpu_seconds: processor seconds of the search, without the import of the method and the scoring.
        first_seconds: seconds by the clock until the first equation was shown; None where a method does not say.
        stopped: why a search of ours ended, see `searches.search_result.SearchResult`; empty for others.
    """

    chosen: Model
    front: Sequence[Model]
    wall_seconds: float
    cpu_seconds: float
    first_seconds: float | None = None
    stopped: str = ""


@dataclass(frozen=True)
class _Found:
    """Equations before they are scored; `best` is the index of the chosen one."""

    equations: Sequence[tuple[Expression, Predict]]
    best: int
    first_seconds: float | None = None
    stopped: str = ""


def fit(method: str, data: Data, settings: Settings, seed: int) -> Fitted:
    """Run a method.

    Args:
        settings: `seconds` is the budget; `operators` the names to use, separated by commas, where a suite does
            not leave that to the method; `pyoperon_length`, `pyoperon_iterations`, `pyoperon_population` and
            `pyoperon_selection` the longest tree, the Levenberg-Marquardt steps, the individuals and the criterion
            of choice of pyoperon; `weights` the file of the map of equations.

    Raises:
        ModuleNotFoundError: the peer is not installed.
        KeyError: there is no such method.
    """
    module, function = _METHODS[method]
    if module:
        importlib.import_module(module)
    if method in OWN_SEARCHES:
        prepare(method, str(settings.get("weights", "pretrained")), float(settings.get("seconds", math.inf)))
    wall, cpu = time.perf_counter(), time.process_time()
    found = function(data, settings, seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    models = [Model(expression, predict, complexity(expression)) for expression, predict in found.equations]
    return Fitted(models[found.best], models, wall, cpu, found.first_seconds, found.stopped)


# --- ours ---------------------------------------------------------------------------------------------------


def _own(method: str, data: Data, settings: Settings, seed: int) -> _Found:
    """One of `benchmarks.own_searches`, its validation rows left out where they are the training rows."""
    same = data.validation_inputs is data.inputs
    operators = tuple(str(settings["operators"]).split(",")) if "operators" in settings else None
    search = Search(
        train=(data.inputs, data.target),
        validation=None if same else (data.validation_inputs, data.validation_target),
        seconds=float(settings["seconds"]),
        seed=seed,
        operators=operators,
        weights=str(settings.get("weights", "pretrained")),
    )
    result = search.run(method)
    equations = [candidate.expression for candidate in result.front]
    best = equations.index(result.best.expression)
    return _Found([(e, e) for e in equations], best, search.first_seconds, result.stopped)


def _ours(data: Data, settings: Settings, seed: int) -> _Found:
    from searches.evolution.settings import GeneticProgrammingSettings

    own: dict[str, Any] = {"seconds": float(settings["seconds"])}
    if "operators" in settings:
        own["operators"] = tuple(str(settings["operators"]).split(","))
    return _search(data, GeneticProgrammingSettings(**own), seed)


def _ours_powers(data: Data, settings: Settings, seed: int) -> _Found:
    """With a row of the operator table for every power up to the sixth."""
    operators = f"{settings['operators']},{','.join(name for power, name in POWER_ROWS.items() if 2 < power <= 6)}"
    return _ours(data, {**settings, "operators": operators}, seed)


def _ours_paper(data: Data, settings: Settings, seed: int) -> _Found:
    """Genetic programming as published (Anecone 2024): no budget of time, 200 generations."""
    from searches.evolution.settings import GeneticProgrammingSettings

    return _search(data, GeneticProgrammingSettings(**PAPER_SEARCH), seed)


PAPER_SEARCH: dict[str, Any] = {
    "operators": ("add", "sub", "mul", "safe_div", "neg", "cos", "sin", "safe_sqrt"),
    "constants": False,
    "linear_scaling": False,
    "population": 300,
    "selection": "tournament",
    "tournament": 5,
    "crossover": 0.5,
    "mutation": 0.2,
    "always_vary": False,
    "mutations": {"subtree": 1.0},
    "max_height": 17,
    "max_length": 1000,
    "refuse_duplicates": False,
    "fit_share": 0.0,
    "generations": 200,
    "seconds": None,
}


def _search(data: Data, settings: Any, seed: int) -> _Found:
    from searches.genetic_programming import search

    validation = (data.validation_inputs, data.validation_target)
    result = search(data.inputs, data.target, settings, seed=seed, validation=validation)
    equations = [candidate.expression for candidate in result.front]
    return _Found([(e, e) for e in equations], equations.index(result.best.expression))


# --- least squares ------------------------------------------------------------------------------------------


def _linear(data: Data, settings: Settings, seed: int) -> _Found:
    return _polynomial(data, 1)


def _cubic(data: Data, settings: Settings, seed: int) -> _Found:
    return _polynomial(data, 3)


def _polynomial(data: Data, degree: int) -> _Found:
    """Least squares on all monomials up to `degree`, conditioned by scaling the columns to unit size."""
    columns = data.inputs.shape[1]
    powers = [
        [chosen.count(j) for j in range(columns)]
        for d in range(degree + 1)
        for chosen in combinations_with_replacement(range(columns), d)
    ]
    design = np.stack([np.prod(data.inputs**power, axis=1) for power in powers], axis=1)
    scale = np.sqrt(np.mean(design**2, axis=0))
    weights = np.linalg.lstsq(design / scale, data.target, rcond=None)[0] / scale
    terms = [_monomial(float(w), power) for w, power in zip(weights, powers, strict=True)]
    expression = terms[0]
    for term in terms[1:]:
        expression = Expression.apply("add", expression, term)
    return _Found([(expression, expression)], 0)


def _monomial(weight: float, powers: Sequence[int]) -> Expression:
    term = Expression.constant(weight)
    for variable, power in enumerate(powers):
        if power:
            factor = Expression.variable(variable)
            term = Expression.apply(
                "mul", term, Expression.apply(POWER_ROWS[power], factor) if power > 1 else factor
            )
    return term


# --- pyoperon -----------------------------------------------------------------------------------------------


def pyoperon_regressor(settings: Settings, seed: int) -> Any:
    """NSGA-II on (R2, length) with Levenberg-Marquardt on every individual, one thread; see `fit` for settings."""
    from pyoperon.sklearn import SymbolicRegressor

    return SymbolicRegressor(
        allowed_symbols=f"{settings.get('operators', PYOPERON_OPERATORS)},constant,variable",
        objectives=["r2", "length"],
        optimizer="lm",
        optimizer_iterations=int(settings["pyoperon_iterations"]),
        max_length=int(settings["pyoperon_length"]),
        population_size=int(settings["pyoperon_population"]),
        generations=1_000_000,
        max_evaluations=1_000_000_000,
        max_time=math.ceil(float(settings["seconds"])),
        epsilon=1e-12,
        model_selection_criterion=str(settings.get("pyoperon_selection", "mean_squared_error")),
        n_threads=1,
        random_state=seed,
    )


def _pyoperon(data: Data, settings: Settings, seed: int) -> _Found:
    """pyoperon's front.

    Unless `pyoperon_selection` says otherwise, the model is the shortest of those whose mean squared error on the
    training rows is within rounding of the lowest: the default, minimum description length, drops exact models on
    clean data.
    """
    criterion = str(settings.get("pyoperon_selection", "mean_squared_error"))
    regressor = pyoperon_regressor(settings, seed)
    regressor.fit(np.asfortranarray(data.inputs, dtype=np.float32), data.target.astype(np.float32))
    variables = list(regressor.variables_)
    front: list[Expression] = []
    criteria: list[float] = []
    for entry in regressor.pareto_front_:
        expression = from_pyoperon(entry["tree"], variables)
        if math.isfinite(_mean_squared_error(expression, data)):
            front.append(expression)
            criteria.append(float(entry[criterion]))
    if criterion != "mean_squared_error":
        return _Found([(e, e) for e in front], int(np.nanargmin(criteria)))
    best = most_accurate(front, data)
    assert best is not None  # a constant is always among them
    return _Found([(e, e) for e in front], best)


def most_accurate(front: Sequence[Expression], data: Data) -> int | None:
    """Number of the shortest equation whose error on the training rows is within rounding of the lowest.

    Below float32's resolution of the target, errors are rounding and length decides. None where none is finite.
    """
    errors = [_mean_squared_error(expression, data) for expression in front]
    finite = [error for error in errors if math.isfinite(error)]
    if not finite:
        return None
    tolerance = max(1.001 * min(finite), (1e-6 * float(np.std(data.target))) ** 2)
    return min((k for k, error in enumerate(errors) if error <= tolerance), key=lambda k: len(front[k]))


def _mean_squared_error(expression: Expression, data: Data) -> float:
    with np.errstate(all="ignore"):
        return float(np.mean((expression(data.inputs) - data.target) ** 2))


def to_pyoperon(expression: Expression, variables: Sequence[int]) -> Any:
    """pyoperon's tree of an expression, node for node; its postfix order is our prefix order read backwards.

    Args:
        variables: the data set's hash of every variable.
    """
    import pyoperon

    nodes = []
    constants = expression.constants.tolist()
    for token in reversed(expression.tokens.tolist()):
        if token == CONSTANT:
            nodes.append(pyoperon.Node.Constant(constants.pop()))
        elif token >= FIRST_VARIABLE:
            node = pyoperon.Node.Variable(1.0)
            node.HashValue = node.CalculatedHashValue = variables[token - FIRST_VARIABLE]
            nodes.append(node)
        else:
            nodes.append(getattr(pyoperon.Node, OPERATORS[token - 1].name.capitalize())())
    return pyoperon.Tree(nodes).UpdateNodes()


def from_pyoperon(tree: Any, variables: Sequence[int]) -> Expression:
    """Expression of pyoperon's tree; the weight of a variable becomes a product.

    Raises:
        KeyError: the tree has a symbol without a row in the operator table.
    """
    stack: list[Expression] = []
    for node in tree.Nodes:
        if node.IsVariable:
            variable = Expression.variable(variables.index(node.HashValue))
            weight = Expression.constant(float(node.Value))
            stack.append(variable if node.Value == 1 else Expression.apply("mul", weight, variable))
        elif node.IsConstant:
            stack.append(Expression.constant(float(node.Value)))
        else:
            name = node.Type.name.lower()
            arguments = [stack.pop() for _ in range(node.Arity)]
            result = arguments[0]
            if len(arguments) == 1:
                result = Expression.apply(name, result)
            for argument in arguments[1:]:
                result = Expression.apply(name, result, argument)
            stack.append(result)
    return stack[0]


# --- gplearn ------------------------------------------------------------------------------------------------


def gplearn_regressor(data: Data, settings: Settings, seed: int) -> Any:
    """gplearn's defaults over `GPLEARN_FUNCTIONS`, which each call of `fit` takes on by one generation."""
    from gplearn.genetic import SymbolicRegressor

    wanted = str(settings.get("operators", ",".join(GPLEARN_FUNCTIONS))).split(",")
    functions = tuple(name for name in GPLEARN_FUNCTIONS if name in wanted)
    return SymbolicRegressor(
        population_size=1000,
        generations=1,
        function_set=functions,
        metric="mse",
        parsimony_coefficient=0.0001 * float(np.var(data.target)),
        const_range=(-5.0, 5.0),
        p_crossover=0.7,
        p_subtree_mutation=0.1,
        p_hoist_mutation=0.05,
        p_point_mutation=0.1,
        stopping_criteria=1e-14 * float(np.var(data.target)),
        low_memory=True,
        warm_start=True,
        n_jobs=1,
        random_state=seed,
    )


def _gplearn(data: Data, settings: Settings, seed: int) -> _Found:
    """gplearn, generations added one by one until the time is up."""
    regressor = gplearn_regressor(data, settings, seed)
    started = time.process_time()
    best: dict[int, Any] = {}
    while True:
        regressor.fit(data.inputs, data.target)
        for program in regressor._programs[-1]:
            if program is not None and math.isfinite(program.raw_fitness_):
                known = best.get(program.length_)
                if known is None or program.raw_fitness_ < known.raw_fitness_:
                    best[program.length_] = program
        exact = min(p.raw_fitness_ for p in best.values()) <= regressor.stopping_criteria
        if exact or time.process_time() - started >= float(settings["seconds"]):
            break
        regressor.generations += 1
    programs = [*_improving(best), regressor._program]
    # Its protected functions differ from ours below magnitudes of 0.001, so it predicts for itself.
    return _Found([(from_gplearn(program), program.execute) for program in programs], len(programs) - 1)


def _improving(best: dict[int, Any]) -> Iterable[Any]:
    """Programs that are better than every shorter one."""
    lowest = math.inf
    for length in sorted(best):
        if best[length].raw_fitness_ < lowest:
            lowest = best[length].raw_fitness_
            yield best[length]


_GPLEARN_NAMES = {"div": "safe_div", "sqrt": "safe_sqrt", "log": "safe_log"}


def from_gplearn(program: Any) -> Expression:
    """Expression of a gplearn program; its protected functions become the nearest protected rows of our table."""
    stack: list[Expression] = []
    for node in reversed(program.program):
        if isinstance(node, int | np.integer):
            stack.append(Expression.variable(int(node)))
        elif isinstance(node, float | np.floating):
            stack.append(Expression.constant(float(node)))
        else:
            arguments = [stack.pop() for _ in range(node.arity)]
            stack.append(Expression.apply(_GPLEARN_NAMES.get(node.name, node.name), *arguments))
    return stack[0]


# --- rils-rols ----------------------------------------------------------------------------------------------


def _rils_rols(data: Data, settings: Settings, seed: int) -> _Found:
    from benchmarks.rils_rols import search

    return _Found([search(data.inputs, data.target, seconds=float(settings["seconds"]), seed=seed)], 0)


_METHODS: dict[str, tuple[str, Callable[[Data, Settings, int], _Found]]] = {
    **{name: (module, partial(_own, name)) for name, (module, _) in OWN_SEARCHES.items()},
    "ours": ("searches.genetic_programming", _ours),
    "ours:powers": ("searches.genetic_programming", _ours_powers),
    "ours:paper": ("searches.genetic_programming", _ours_paper),
    "linear": ("", _linear),
    "cubic": ("", _cubic),
    "pyoperon": ("pyoperon.sklearn", _pyoperon),
    "gplearn": ("gplearn.genetic", _gplearn),
    "rils_rols": ("rils_rols.rils_rols", _rils_rols),
}
"""Method -> what to import before its clock starts, and the function."""
