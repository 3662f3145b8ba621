"""Sums of products that were pursued: they are what they say, and the target that is a short one is found."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modules.networks.equation_map.atoms import SMALLEST_SHARE, TARGET_FUNCTIONS, Moments, atoms
from modules.networks.equation_map.matching_pursuit import PURSUED, TERMS, pursuit_width, pursuits
from tests.named_atoms import FUNCTIONS, atom, atom_values, name_width

VARIABLES = 3
STEPS = {"": lambda y, x: y, "*": lambda y, x: y * x, "/": lambda y, x: y / x}


class Term(NamedTuple):
    atoms: frozenset[str]
    explained: float
    worth: float
    sign: float


class Sum(NamedTuple):
    function: str
    step: str  # "*1": times x1
    terms: list[Term]


@pytest.fixture
def inputs() -> Tensor:
    return 0.5 + 2.0 * torch.rand(1, 90, VARIABLES, generator=torch.Generator().manual_seed(0))


def made(inputs: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
    here = torch.ones(len(inputs), inputs.shape[2], dtype=torch.bool) if present is None else present
    raw = inputs * here[:, None]
    return pursuits(Moments(atoms(raw, here), inputs.shape[2]), raw, target / target.abs().amax(), here)


def sums(rows: Tensor) -> list[Sum]:
    """What rows say; those that say nothing are left out."""
    size = name_width(VARIABLES)
    first = len(TARGET_FUNCTIONS) + len(STEPS)
    found = []
    for row in rows.double().numpy():
        if not row.any():
            continue
        function = TARGET_FUNCTIONS[int(row[: len(TARGET_FUNCTIONS)].argmax())]
        step = list(STEPS)[int(row[len(TARGET_FUNCTIONS) : first].argmax())]
        terms = []
        for term in np.split(row[first + VARIABLES :], TERMS):
            if term.any():
                names = frozenset({atom(term[:size]), atom(term[size : 2 * size])})
                terms.append(Term(names, *term[2 * size :].tolist()))
        variable = int(row[first : first + VARIABLES].argmax())
        found.append(Sum(function, f"{step}{variable}" if step else "", terms))
    return found


@pytest.mark.parametrize(
    ("target", "function", "step", "terms"),
    [
        (lambda x: x[0] * x[1].sin() * 4 - 7, "id", "", [{"id(x0)", "sin(x1)"}]),
        (lambda x: x[0] * (x[1].sin() * x[2] + 2), "id", "/0", [{"sin(x1)", "id(x2)"}]),
        (
            lambda x: (x[2] ** 2 + 3 * x[0].exp() * x[1].sqrt()) / x[1],
            *("id", "*1", [{"exp(x0)", "sqrt(x1)"}, {"square(x2)", "1"}]),
        ),
        (
            lambda x: x[1] / (x[0] * x[1].exp() + x[2]),
            *("inv", "*1", [{"id(x0)", "exp(x1)"}, {"id(x2)", "1"}]),
        ),
        (lambda x: (x[1] * (x[0] ** 3 * x[2].exp() + 2)).sqrt(), "square", "/1", [{"cube(x0)", "exp(x2)"}]),
        (lambda x: (x[0] * x[1].log()).exp(), "log", "", [{"id(x0)", "log(x1)"}]),
    ],
)
def test_a_sum_behind_one_step_is_found(
    inputs: Tensor, target: Callable[..., Tensor], function: str, step: str, terms: list[set[str]]
) -> None:
    found = [one for one in sums(made(inputs, target(inputs.unbind(-1)))[0]) if one.terms[-1].worth > 0.8]
    assert (function, step, terms) in [
        (one.function, one.step, [set(t.atoms) for t in one.terms]) for one in found
    ]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_shares_are_those_of_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.5, 2.5, (40, VARIABLES)), rng.uniform(0.2, 1.0, 40)
    y /= y.max()
    found = sums(made(torch.from_numpy(x).float()[None], torch.from_numpy(y).float()[None])[0])
    assert len(found) == PURSUED
    for one in found:
        wanted = STEPS[one.step[:1]](FUNCTIONS[one.function](y), x[:, int(one.step[1:] or 0)])
        columns = [np.ones(40)]
        before = 0.0
        for term in one.terms:
            parts = [atom_values(name, x) for name in term.atoms]
            columns.append(np.prod(parts * (2 if len(parts) == 1 else 1), axis=0))
            design = np.stack(columns, axis=1)
            solution, *_ = np.linalg.lstsq(design / np.abs(design).max(axis=0), wanted, rcond=None)
            left = np.var(wanted - design / np.abs(design).max(axis=0) @ solution) / np.var(wanted)
            assert term.explained == pytest.approx(1.0 - left, abs=5e-3)
            assert term.worth == pytest.approx(
                np.log10(max(1.0 - term.explained, SMALLEST_SHARE)) / -5.0, abs=1e-3
            )
            assert term.explained >= before - 1e-6
            before = term.explained
        assert one.terms[0].sign in (-1.0, 1.0)


def test_nothing_is_said_behind_the_last_term(inputs: Tensor) -> None:
    x = inputs.unbind(-1)
    alone = [
        one for one in sums(made(inputs, 3 * x[0] * x[2].exp())[0]) if one.step == "" and one.function == "id"
    ]
    assert [len(one.terms) for one in alone] == [1]
    assert alone[0].terms[0].atoms == {"id(x0)", "exp(x2)"}
    assert alone[0].terms[0].sign == 1.0


def test_absent_variables_are_not_named(inputs: Tensor) -> None:
    found = sums(made(inputs, inputs[..., 0] + inputs[..., 2].sin(), torch.tensor([[True, False, True]]))[0])
    assert found
    for one in found:
        assert "1" not in one.step
        assert not any("x1" in name for term in one.terms for name in term.atoms)


def test_the_order_of_the_points_does_not_matter(inputs: Tensor) -> None:
    generator = torch.Generator().manual_seed(1)
    target = inputs[..., 0].sin() * inputs[..., 1] + 0.3 * torch.rand(1, 90, generator=generator)
    order = torch.randperm(90, generator=generator)
    assert torch.allclose(made(inputs, target), made(inputs[:, order], target[:, order]), atol=1e-3)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("points", [1, 2, 30])
@pytest.mark.parametrize("variables", [1, VARIABLES])
def test_all_is_finite(size: float, points: int, variables: int) -> None:
    table = size * torch.randn(2, points, variables, generator=torch.Generator().manual_seed(2))
    for target in (table[..., 0], torch.zeros(2, points), torch.ones(2, points)):
        here = torch.ones(2, variables) > 0
        scaled = target / target.abs().amax().clamp(min=1e-30)
        rows = pursuits(Moments(atoms(table, here), variables), table, scaled, here)
        assert rows.shape == (2, PURSUED, pursuit_width(variables))
        assert rows.isfinite().all()
