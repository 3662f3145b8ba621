"""Small networks that have learned a law which is known: what the suite `distill` tries to read back.

Laws of 3 to 12 nodes are drawn by the generator of the map's training stream, from skeletons kept for tests. A
network is trained on rows without noise until its R2 on fresh rows is at least .9999; a law that no network of
this size learns is left out, and the next one is taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.generated_problems import is_a_question
from datamodules.tables.problems import Problem
from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.goodness_of_fit import r2
from expressions.operators import FIRST_VARIABLE

__all__ = ["NETWORKS", "LawNetwork", "Trained", "factor_block", "trained"]

NETWORKS = 30
LEAST_R2 = 0.9999
ROWS, MORE_ROWS = 2_000, 5_000
"""Rows of a training table of up to three variables, and of more; as many fresh ones say what was learned."""
_VARIABLES = 5  # network k has 1 + k mod 5
_ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.Tanh, nn.ReLU, nn.GELU)  # k mod 3
_LAYERS = (2, 3)  # k mod 2
_WIDTHS, _STEPS = (32, 64), (400, 800)  # first and second try
_SHORTEST, _LONGEST = 3, 12  # nodes
_LAWS = 60  # drawn for every number of variables


class LawNetwork(nn.Module):
    """Hidden layers of one width, between columns and a target of unit size.

    Args:
        variables: number of columns.
        width: units of a hidden layer.
        layers: number of hidden layers.
        activation: class of the activation.
    """

    def __init__(self, variables: int, width: int, layers: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.centre: Tensor
        self.spread: Tensor
        self.offset: Tensor
        self.scale: Tensor
        sizes = [variables, *[width] * layers]
        parts: list[nn.Module] = []
        for into, out in itertools.pairwise(sizes):
            parts += [nn.Linear(into, out), activation()]
        self.layers = nn.Sequential(*parts, nn.Linear(width, 1))
        for name, size in (("centre", variables), ("spread", variables), ("offset", 1), ("scale", 1)):
            self.register_buffer(name, torch.zeros(size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Values of the target `[rows, 1]` for columns `[rows, variables]`."""
        found: Tensor = self.layers((inputs - self.centre) / self.spread) * self.scale + self.offset
        return found

    def fit(self, inputs: Tensor, target: Tensor, steps: int) -> None:
        """Train on all rows at once by L-BFGS, in float64."""
        self.double()
        for name, value in (
            ("centre", inputs.mean(0)),
            ("spread", inputs.std(0)),
            ("offset", target.mean(0)),
            ("scale", target.std(0)),
        ):
            self.get_buffer(name).copy_(value)
        optimizer = torch.optim.LBFGS(
            self.parameters(), max_iter=steps, history_size=30, line_search_fn="strong_wolfe",
            tolerance_grad=1e-9, tolerance_change=1e-13,
        )  # fmt: skip

        def loss() -> Tensor:
            optimizer.zero_grad()
            found = ((self(inputs) - target) / self.scale).square().mean()
            found.backward()
            return found

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        self.float().requires_grad_(False)


@dataclass(frozen=True)
class Trained:
    """A network and the law that it has learned.

    Attributes:
        problem: law, and how its rows are drawn.
        network: network of float32.
        inputs: columns of the training table. `[rows, variables]`
        target: target of the training table. `[rows]`
        r2: R2 of the network to the law on fresh rows.
        refused: number of laws that no network had learned before this one.
    """

    problem: Problem
    network: LawNetwork
    inputs: np.ndarray
    target: np.ndarray
    r2: float
    refused: int


def trained(number: int, seed: int) -> Trained:
    """A network by its number, counted from 0, trained anew.

    Args:
        number: number of the network, which says how many variables and layers it has, and its activation.
        seed: random seed of laws, rows and weights.
    """
    for refused, problem in enumerate(_laws(number, seed)):
        for width, steps in zip(_WIDTHS, _STEPS, strict=True):
            found = _fitted(problem, number, seed, width, steps, refused)
            if found.r2 >= LEAST_R2:
                return found
    raise RuntimeError(f"no law of network {number} was learned")


def _laws(number: int, seed: int) -> Iterator[Problem]:
    """Laws of the network's number of variables: those that other networks of as many begin with come last."""
    from datamodules.settings.streams import PoolSettings
    from datamodules.streams.heldout import heldout_problems

    variables = 1 + number % _VARIABLES
    drawn = heldout_problems(
        _LAWS,
        PoolSettings(variables=variables, longest=_LONGEST),
        seed,
        fewest_variables=variables,
        most_variables=variables,
        shortest=_SHORTEST,
        longest=_LONGEST,
    )
    laws = [one for one in drawn if is_a_question(one) and _SHORTEST <= complexity(one.truth) <= _LONGEST]
    groups = NETWORKS // _VARIABLES
    begin = number // _VARIABLES
    yield from laws[begin::groups]


def _fitted(problem: Problem, number: int, seed: int, width: int, steps: int, refused: int) -> Trained:
    rng = np.random.default_rng([seed, number])
    rows = ROWS if len(problem.variables) <= 3 else MORE_ROWS
    inputs, target = problem.sample(2 * rows, rng)
    torch.manual_seed(number)
    network = LawNetwork(
        inputs.shape[1], width, _LAYERS[number % len(_LAYERS)], _ACTIVATIONS[number % len(_ACTIVATIONS)]
    )
    train = torch.from_numpy(inputs[:rows]), torch.from_numpy(target[:rows, None])
    network.fit(*train, steps)
    with torch.no_grad():
        values = network(torch.from_numpy(inputs[rows:]).float())[:, 0].double().numpy()
    score = r2(target[rows:], values) if np.isfinite(values).all() else -np.inf
    return Trained(problem, network, inputs[:rows], target[:rows], score, refused)


def factor_block(outputs: int, factors: int, seed: int) -> tuple[nn.Module, np.ndarray]:
    """A block whose outputs are mixtures of a few hidden laws, and rows of its inputs. `[rows, variables]`

    Args:
        outputs: number of outputs.
        factors: number of laws, of one to three of five variables each.
        seed: random seed of laws, mixtures and rows.
    """
    from datamodules.settings.streams import PoolSettings
    from datamodules.streams.heldout import heldout_problems
    from modules.equation_module import EquationModule

    rng = np.random.default_rng([seed, 64])
    drawn = heldout_problems(
        6 * factors, PoolSettings(variables=3, longest=8), seed, fewest_variables=1, most_variables=3,
        shortest=_SHORTEST, longest=8,
    )  # fmt: skip
    inputs = rng.uniform(0.5, 2.0, (2 * ROWS, _VARIABLES))
    laws, values = [], []
    for problem in drawn:
        own = rng.choice(_VARIABLES, len(problem.variables), replace=False)
        law = _with_variables(problem, own)
        value = law(inputs)
        if np.isfinite(value).all() and np.ptp(value) > 0 and np.abs(value - value.mean()).max() < 8 * value.std():
            laws.append(law)
            values.append(value)
        if len(laws) == factors:
            break
    if len(laws) < factors:
        raise RuntimeError(f"only {len(laws)} of {factors} laws are defined on these rows")
    spreads = np.std(values, axis=1)
    mixture = nn.Linear(factors, outputs)
    with torch.no_grad():
        mixture.weight.copy_(torch.from_numpy(rng.normal(size=(outputs, factors)) / spreads))
        mixture.bias.copy_(torch.from_numpy(rng.normal(size=outputs)))
    hidden = EquationModule(laws, _VARIABLES, dtype=torch.float32)
    return nn.Sequential(hidden, mixture).requires_grad_(False).eval(), inputs


def _with_variables(problem: Problem, own: np.ndarray) -> Expression:
    tokens = problem.truth.tokens.copy()
    variable = tokens >= FIRST_VARIABLE
    tokens[variable] = FIRST_VARIABLE + own[tokens[variable] - FIRST_VARIABLE]
    return Expression(tokens, problem.truth.constants)
