"""Benchmark problems: formulas that are known, with rows drawn as published, to be found again.

    from datamodules.tables.problems import draw_tables, problem, suite

    suite("gmeql")                        # b1, …, b8
    truth = problem("b6").truth           # an Expression
    tables = draw_tables(problem("b6"), seed=1)

`problems.csv` is the catalogue, a row a problem; a suite is a word in the column `suites`. Adding a problem is
adding a row. Nothing here imports torch, so that a name can be checked before it is.

Sources:
    gmeql: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2.
    nguyen: N. Q. Uy et al., "Semantically-based crossover in genetic programming", Genetic Programming and
        Evolvable Machines 12, 2011; 11, 12 and 12a are later additions, with the ranges in use.
    feynman: S.-M. Udrescu and M. Tegmark, "AI Feynman: a physics-inspired method for symbolic regression",
        Science Advances 6, 2020: 100 formulas of the Lectures (`feynman_main`) and 20 of textbooks
        (`feynman_bonus`, test_1 to test_20). SRBench has 116 of them (`feynman_srbench`); papers with neural
        networks use 119, all but II.11.17 (`feynman_119`).
    strogatz: W. La Cava, K. Danai and L. Spector, "Inference of compact nonlinear dynamic models by epigenetic
        local search", Engineering Applications of Artificial Intelligence 55, 2016: both right-hand sides of seven
        systems of Strogatz's "Nonlinear Dynamics and Chaos".
    srbench: feynman_srbench and strogatz, the 130 problems with a ground truth of La Cava et al., "Contemporary
        Symbolic Regression Methods and their Relative Performance", NeurIPS Datasets and Benchmarks 2021.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from datamodules.settings.tables import MAX_ROWS
from datamodules.tables.table import Table, read_only
from expressions.expression import Expression
from expressions.parsing import parse
from foundation.errors import UserError, near

__all__ = [
    "CATALOGUE",
    "Problem",
    "ProblemError",
    "Simulation",
    "Uniform",
    "draw_tables",
    "names_of",
    "problem",
    "suite",
    "suites",
]

CATALOGUE = Path(__file__).with_name("problems.csv")
STEPS, STEP = 100, 0.1  # of a simulated trajectory, as published
_ROUNDS = 100  # of redrawing rows on which a formula is not finite


class ProblemError(UserError):
    """A problem that does not exist or has no such rows, as one sentence."""


# ------------------------------------------------------------------------------------- where rows come from


@dataclass(frozen=True)
class Uniform:
    """Every variable drawn uniformly and independently of the others.

    Attributes:
        low, high: ends of the range of each variable.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Simulation:
    """The states x, y that a system of two differential equations passes through.

    The published rows were not made by an accurate solver but by a fixed step h that takes x by forward Euler and
    y by the third-order method of Bogacki and Shampine, with x on a straight line within the step:

        dx = f(x, y);  k1 = g(x, y);  k2 = g(x + h/2 dx, y + h/2 k1);  k3 = g(x + 3h/4 dx, y + 3h/4 k2)
        x += h dx;  y += h/9 (2 k1 + 3 k2 + 4 k3)

    Attributes:
        rates: f and g, the right-hand sides of dx/dt and dy/dt.
        starts: initial x and y of each trajectory.
    """

    rates: tuple[Expression, Expression]
    starts: tuple[tuple[float, float], ...]

    def states(self) -> np.ndarray:
        """Every trajectory from its start, one after the other. `[trajectories * steps, 2]`, read-only"""
        return _simulate(self)


@cache
def _simulate(simulation: Simulation) -> np.ndarray:
    f, g = simulation.rates
    x, y = np.array(simulation.starts).T  # [trajectories]
    passed = np.empty((len(x), STEPS, 2))
    for step in range(STEPS):
        passed[:, step, 0], passed[:, step, 1] = x, y
        now = np.column_stack([x, y])
        dx, k1 = f(now), g(now)
        k2 = g(np.column_stack([x + STEP / 2 * dx, y + STEP / 2 * k1]))
        k3 = g(np.column_stack([x + 3 * STEP / 4 * dx, y + 3 * STEP / 4 * k2]))
        x, y = x + STEP * dx, y + STEP / 9 * (2 * k1 + 3 * k2 + 4 * k3)
    return read_only(passed.reshape(-1, 2))


# ------------------------------------------------------------------------------------------------- a problem


@dataclass(frozen=True)
class Problem:
    """A formula and the source of its rows.

    Attributes:
        name: name in the catalogue, or one of your own.
        suites: names of the suites it belongs to, its own first.
        formula: text of the true equation, in its variables' own names.
        variables: names of the inputs, in the order of their columns; the formula may not need them all.
        target_name: name of the target.
        truth: formula as an expression of x0, x1, …, which are `variables`.
        source: distribution or simulation that rows come from.
        train_rows: number of rows to search on, as published.
        test_rows: number of rows to judge by, as published (Nguyen's are ours).
        target_std: standard deviation of the target in the published rows, where known.
        published_success: share of runs in which the paper that posed it recovers the formula, where known.
    """

    name: str
    suites: tuple[str, ...]
    formula: str
    variables: tuple[str, ...]
    target_name: str
    truth: Expression
    source: Uniform | Simulation
    train_rows: int
    test_rows: int
    target_std: float | None = None
    published_success: float | None = None

    def sample(self, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows without noise, all finite.

        Uniform rows on which the formula is not finite are drawn again, so that the others are distributed
        uniformly over where it is. (No formula of the catalogue needs it, except where a draw hits a pole.) Of a
        simulation, which has only so many rows, they are taken without replacement, in random order.

        Args:
            rows: number of rows.
            rng: generator of the rows.

        Returns:
            Inputs `[rows, variables]` and target `[rows]`, float64.

        Raises:
            ProblemError: there are not so many rows, or the formula is hardly anywhere finite.
        """
        if isinstance(self.source, Simulation):
            return self._of_simulation(rows, rng, self.source)
        inputs, target = np.empty((0, len(self.variables))), np.empty(0)
        for _ in range(_ROUNDS):
            drawn = rng.uniform(self.source.low, self.source.high, (rows - len(inputs), len(self.variables)))
            values = self.truth(drawn)
            finite = np.isfinite(values)
            inputs, target = np.concatenate([inputs, drawn[finite]]), np.concatenate([target, values[finite]])
            if len(inputs) == rows:
                return inputs, target
        raise ProblemError(
            f"{self.name} = {self.formula} is finite on only {len(inputs):,} of {rows:,} rows, however often they "
            "are drawn: give it ranges on which it is defined"
        )

    def _of_simulation(
        self, rows: int, rng: np.random.Generator, simulation: Simulation
    ) -> tuple[np.ndarray, np.ndarray]:
        states = simulation.states()
        if rows > len(states):
            raise ProblemError(
                f"{self.name} has {len(states)} rows, not {rows}: ask for fewer to train, choose and test by"
            )
        inputs = states[rng.permutation(len(states))[:rows]]
        target = self.truth(inputs)
        if not (np.isfinite(inputs).all() and np.isfinite(target).all()):
            raise ProblemError(f"the simulation of {self.name} leaves the finite numbers: give it other starts")
        return inputs, target


def draw_tables(
    problem: Problem,
    train_rows: int | None = None,
    validation_rows: int | None = None,
    test_rows: int | None = None,
    noise: float = 0.0,
    noise_level: float = 0.0,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
) -> dict[str, Table]:
    """Rows to search on, to choose by and to judge by.

    All rows are one draw, of which the test rows come first and the validation rows last: a seed's test rows are
    the same for any number of training rows, and its training rows do not depend on the noise.

    Args:
        problem: formula and source of the rows.
        train_rows: number of rows to search on; None for the published number.
        validation_rows: number of further rows to choose by, with the noise of the training rows; None for the
            training rows themselves, as in the published protocols. To stay within a published number of rows,
            lower `train_rows` by as many.
        test_rows: number of rows to judge by, always without noise; None for the published number.
        noise: standard deviation of normal noise on the target.
        noise_level: the same as a share of the root mean square of the training target (SRBench's rule). At most
            one of the two may be above 0.
        seed: random seed for every draw.
        max_rows: largest number of rows in a part.

    Returns:
        `train`, `validation`, `test`, and `all`, the rows of the three, each once.

    Raises:
        ProblemError: there are both kinds of noise, fewer than two rows (R2 needs them), or what `Problem.sample`
            refuses.
    """
    if noise > 0 and noise_level > 0:
        raise ProblemError(
            f"noise={noise:g} (absolute) and noise_level={noise_level:g} (a share) are two ways to say the same: "
            "give one of them"
        )
    train = min(max_rows, problem.train_rows if train_rows is None else train_rows)
    test = min(max_rows, problem.test_rows if test_rows is None else test_rows)
    own = min(max_rows, validation_rows) if validation_rows is not None else 0
    if min(train, test) < 2 or (validation_rows is not None and own < 2):
        raise ProblemError("train_rows, validation_rows and test_rows must be at least 2 each, or null")
    # The name is part of the seed: two problems with the same variables do not have the same rows.
    key = [seed, zlib.crc32(problem.name.encode())]
    inputs, target = problem.sample(test + train + own, np.random.default_rng(key))
    fitted = target[test : test + train]
    deviation = noise if noise > 0 else noise_level * float(np.sqrt(np.mean(np.square(fitted))))
    if deviation > 0:
        target[test:] += np.random.default_rng([*key, 1]).normal(0.0, deviation, train + own)
    rows = Table(read_only(inputs), read_only(target), problem.variables, problem.target_name)
    tables = {"all": rows, "test": rows.take(np.arange(test)), "train": rows.take(np.arange(test, test + train))}
    tables["validation"] = rows.take(np.arange(test + train, len(rows))) if own else tables["train"]
    return tables


# ---------------------------------------------------------------------------------------------- the catalogue


def problem(name: str) -> Problem:
    """The problem called `name`, such as `b6`, `Nguyen-7`, `I.12.1`, `test_3` or `strogatz_vdp1`.

    Raises:
        ProblemError: there is none.
    """
    if name not in _rows():
        if name in suites():
            raise ProblemError(
                f"{name} is a suite of {len(suite(name))} problems where one is wanted, such as {suite(name)[0]}; "
                f"on the command line of train.py, data.problem={name} is a run of each"
            )
        raise _unknown(name, "problem")
    return _problem(name)


def suite(name: str) -> tuple[str, ...]:
    """Names of the problems of a suite, in the order of the catalogue.

    Raises:
        ProblemError: there is no such suite.
    """
    if name not in suites():
        raise _unknown(name, "suite")
    return suites()[name]


@cache
def suites() -> dict[str, tuple[str, ...]]:
    """Every suite with the names of its problems."""
    found: dict[str, list[str]] = {}
    for name, row in _rows().items():
        for word in row["suites"].split():
            found.setdefault(word, []).append(name)
    return {word: tuple(names) for word, names in found.items()}


def names_of(text: str) -> tuple[str, ...]:
    """Problems of a list such as `b1,b2` or `gmeql,Nguyen-7`: names and suites joined by commas, each once.

    Raises:
        ProblemError: a word is neither a problem nor a suite.
    """
    found: dict[str, None] = {}
    for word in text.split(","):
        name = word.strip()
        if name not in suites() and name not in _rows():
            raise _unknown(name, "problem or suite")
        found.update(dict.fromkeys(suites().get(name, (name,))))
    return tuple(found)


def _unknown(name: str, kind: str) -> ProblemError:
    close = near(name, [*suites(), *(() if kind == "suite" else _rows())])
    if not close.startswith("did you mean"):  # all names would be a screenful
        close = f"the suites are {', '.join(f'{word} ({len(names)})' for word, names in suites().items())}"
    return ProblemError(f"there is no {kind} {name!r}; {close}")


@cache
def _rows() -> Mapping[str, dict[str, str]]:
    """Name -> row of the catalogue."""
    with CATALOGUE.open(encoding="utf-8", newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


@cache
def _problem(name: str) -> Problem:
    row = _rows()[name]
    variables = tuple(row["variables"].split())
    truth = parse(row["formula"], variables)
    return Problem(
        name=name,
        suites=tuple(row["suites"].split()),
        formula=row["formula"],
        variables=variables,
        target_name=row["target"],
        truth=truth,
        source=_simulation(row, truth) if row["starts"] else _uniform(row, len(variables)),
        train_rows=int(row["train_rows"]),
        test_rows=int(row["test_rows"]),
        target_std=float(row["target_std"]) if row["target_std"] else None,
        published_success=float(row["published_success"]) if row["published_success"] else None,
    )


def _uniform(row: Mapping[str, str], variables: int) -> Uniform:
    """Ranges; one number stands for all variables."""
    low, high = (tuple(map(float, row[side].split())) for side in ("low", "high"))
    return Uniform(low * variables if len(low) == 1 else low, high * variables if len(high) == 1 else high)


def _simulation(row: Mapping[str, str], truth: Expression) -> Simulation:
    """The system of a right-hand side and its partner, the other one."""
    partner = parse(row["partner"], row["variables"].split())
    rates = (truth, partner) if row["target"] == "dx_dt" else (partner, truth)
    starts = [tuple(map(float, start.split())) for start in row["starts"].split("|")]
    return Simulation(rates, tuple((x, y) for x, y in starts))
