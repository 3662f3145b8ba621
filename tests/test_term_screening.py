"""Guesses about a table: they are what they say, the right one comes first, and nothing but the table decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modules.networks.equation_map.atoms import Moments, atoms
from modules.networks.equation_map.term_screening import FAMILIES, KEPT, screened_terms, screening_width
from tests.named_atoms import FUNCTIONS, atom, atom_values, name_width

VARIABLES = 3
TARGETS = ("id", "inv", "square", "sqrt", "log")
Guess = tuple[set[str], float, float, float]  # atoms, explained share, worth, sign


@pytest.fixture
def inputs() -> Tensor:
    return 0.5 + 2.0 * torch.rand(1, 90, VARIABLES, generator=torch.Generator().manual_seed(0))


def made(inputs: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
    here = torch.ones(len(inputs), inputs.shape[2], dtype=torch.bool) if present is None else present
    return screened_terms(
        Moments(atoms(inputs, here), VARIABLES), target / target.abs().amax(dim=1, keepdim=True), VARIABLES
    )


def guesses(rows: Tensor, family: str) -> list[Guess]:
    """The guesses of a family, best first."""
    first = len(FAMILIES)
    size = name_width(VARIABLES)
    own = rows[rows[:, FAMILIES.index(family)] == 1]
    return [
        (
            {atom(row[first : first + size].numpy()), atom(row[first + size : first + 2 * size].numpy())},
            *row[-3:].tolist(),
        )
        for row in own
    ]


@pytest.mark.parametrize(
    ("family", "target", "atoms"),
    [
        ("product_id", lambda x: 4 * x[0] * x[2].sqrt() + 7, {"id(x0)", "sqrt(x2)"}),
        ("product_id", lambda x: -3 * x[1].exp(), {"exp(x1)", "1"}),
        ("product_id", lambda x: x[0].sin() * x[0].log(), {"sin(x0)", "log(x0)"}),
        ("product_inv", lambda x: 2 / (x[1].sin() * x[0] + 1.5), {"sin(x1)", "id(x0)"}),
        ("product_log", lambda x: (x[0] * (-x[1]).exp()).exp(), {"id(x0)", "neg_exp(x1)"}),
        ("sum_id", lambda x: 2 * x[0].cos() - 5 / x[1], {"cos(x0)", "inv(x1)"}),
        ("sum_inv", lambda x: 1 / (x[0] + 2 * x[1] ** 2), {"id(x0)", "square(x1)"}),
        ("sum_square", lambda x: (3 * x[0] ** 3 + x[1] ** 2).sqrt(), {"cube(x0)", "square(x1)"}),
        ("sum_sqrt", lambda x: (x[0].log() + 2 * x[2] + 1) ** 2, {"log(x0)", "id(x2)"}),
        ("rest", lambda x: x[0] ** 3 * x[1].exp() + 20 * x[2].sin(), {"sin(x2)", "1"}),
    ],
)
def test_the_right_guess_comes_first(inputs: Tensor, family: str, target: object, atoms: set[str]) -> None:
    values = target(inputs.unbind(-1))  # type: ignore[operator]
    found, share, worth, _ = guesses(made(inputs, values)[0], family)[0]
    assert found == atoms
    # What the first term left of the target is only the second one as far as they were not correlated.
    assert share > (0.9 if family == "rest" else 0.9999)
    assert worth > (0.2 if family == "rest" else 0.8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_shares_are_those_of_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.5, 2.5, (40, VARIABLES)), rng.uniform(0.5, 3.0, 40)
    rows = made(torch.from_numpy(x).float()[None], torch.from_numpy(y).float()[None])[0]
    for number, family in enumerate(FAMILIES[:-1]):
        kind = "product" if number < len(TARGETS) else "sum"
        wanted = FUNCTIONS[TARGETS[number % len(TARGETS)]](y)
        found = guesses(rows, family)
        assert [share for _, share, _, _ in found] == sorted((share for _, share, _, _ in found), reverse=True)
        for names, share, worth, sign in found:
            parts = [atom_values(name, x) for name in names]
            parts = parts if len(parts) == 2 else parts * 2  # the same atom twice
            columns = [np.prod(parts, axis=0)] if kind == "product" else parts
            design = np.stack([np.ones(40), *columns], axis=1)
            solution, *_ = np.linalg.lstsq(design, wanted, rcond=None)
            left = np.var(wanted - design @ solution) / np.var(wanted)
            assert share == pytest.approx(1.0 - left, abs=5e-3)
            assert worth == pytest.approx(np.log10(max(1.0 - share, 1e-5)) / -5.0, abs=1e-3)
            assert sign == (np.sign(solution[1]) if kind == "product" else 0.0)


def test_absent_variables_are_not_named(inputs: Tensor) -> None:
    rows = made(inputs, inputs[..., 0] * inputs[..., 2], torch.tensor([[True, False, True]]))[0]
    for family in FAMILIES:
        for names, _, _, _ in guesses(rows, family):
            assert not any("x1" in name for name in names)


def test_a_function_is_not_guessed_outside_its_domain(inputs: Tensor) -> None:
    centred = inputs - 1.5
    rows = made(centred, centred[..., 0] ** 2 + 0.1)[0]
    for family in FAMILIES:
        for names, _, _, _ in guesses(rows, family):
            assert not any(name.startswith(("sqrt", "log")) for name in names)


def test_the_order_of_the_points_does_not_matter(inputs: Tensor) -> None:
    generator = torch.Generator().manual_seed(1)
    target = inputs[..., 0].sin() * inputs[..., 1] + 0.3 * torch.rand(1, 90, generator=generator)
    order = torch.randperm(90, generator=generator)
    assert torch.allclose(made(inputs, target), made(inputs[:, order], target[:, order]), atol=1e-3)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("points", [1, 2, 30])
def test_all_is_finite(size: float, points: int) -> None:
    table = size * torch.randn(2, points, VARIABLES, generator=torch.Generator().manual_seed(2))
    for target in (table[..., 0], torch.zeros(2, points), torch.ones(2, points)):
        moments = Moments(atoms(table, torch.ones(2, VARIABLES) > 0), VARIABLES)
        rows = screened_terms(moments, target / target.abs().amax().clamp(min=1e-30), VARIABLES)
        assert rows.shape == (2, KEPT * len(FAMILIES), screening_width(VARIABLES)) == (2, KEPT * len(FAMILIES), 44)
        assert torch.isfinite(rows).all()
