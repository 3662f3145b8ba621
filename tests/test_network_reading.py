"""The equation of a network from a file, for whoever has no run to train."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from expressions.parsing import parse
from foundation.errors import UserError
from rediscover import read_network
from searches.pareto_front import ParetoFront

ROOT = Path(__file__).resolve().parents[1]


def trained(function: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Weights of a small network that was trained on a function, from one start."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.linspace(-1, 1, 64)[:, None]
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = (network(x) - function(x)).square().mean()
        error.backward()
        return error

    optimizer.step(loss)
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def quadratic() -> dict[str, Tensor]:
    """A network of 1.5 x^2 - 2 x + 0.5."""
    return trained(lambda x: 1.5 * x**2 - 2 * x + 0.5)


def save(weights: dict[str, Tensor], path: Path) -> Path:
    """The weights in the kind of file that the name says."""
    if path.suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in weights.items()})
    elif path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("name", ["net.npz", "net.safetensors", "net.pt"])
def test_a_network_is_read_from_any_file(name: str, quadratic: dict[str, Tensor], tmp_path: Path) -> None:
    found = read_network(save(quadratic, tmp_path / name))
    x = np.linspace(-1, 1, 9)[:, None]
    np.testing.assert_allclose(found.best.expression(x), 1.5 * x[:, 0] ** 2 - 2 * x[:, 0] + 0.5, atol=1e-12)
    assert found.network == "1-8-8-1 tanh"
    assert found.best_r2 > 0.9999
    assert found.agrees


def test_the_front_trades_length_for_agreement(quadratic: dict[str, Tensor], tmp_path: Path) -> None:
    found = read_network(save(quadratic, tmp_path / "net.npz"))
    assert len(found.front) > 1
    assert found.front == ParetoFront.of(found.front)
    assert found.best is found.front[-1]
    shown = str(found).splitlines()
    assert len(shown) == 2 + len(found.front)
    (marked,) = (line for line in shown if line.startswith("* "))
    assert parse(marked.split(" y = ")[1], ["x"]) == found.best.expression
    assert re.search(rf" {found.best_r2:.6f} ", marked)


def test_a_network_of_something_else_is_said_to_be_so(tmp_path: Path) -> None:
    found = read_network(save(trained(lambda x: torch.sin(9 * x)), tmp_path / "net.npz"))
    assert not found.agrees
    assert "warning: even the best equation explains only R2 = 0." in str(found)


def test_a_constant_network_has_an_answer_too(quadratic: dict[str, Tensor], tmp_path: Path) -> None:
    constant = {name: torch.zeros_like(value) for name, value in quadratic.items()}
    found = read_network(save(constant, tmp_path / "net.npz"))
    assert not found.agrees
    assert "warning" in str(found)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"w": np.zeros((8, 2)), "v": np.zeros((1, 8))}, "widths 2-8-1: give a network with one input"),
        ({"w": np.zeros((3, 1)), "v": np.zeros((1, 4))}, "is no chain of layers"),
        ({"w": np.array([{}], dtype=object)}, "cannot be read safely"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_about_the_file(
    arrays: dict[str, np.ndarray], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "net.npz", **arrays)
    with pytest.raises(UserError, match=words) as caught:
        read_network(tmp_path / "net.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'net.npz'} "), "the file as it was given, and no key"
    assert "\n" not in str(caught.value)


def test_an_activation_that_does_not_exist_is_named(quadratic: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean tanh"):
        read_network(save(quadratic, tmp_path / "net.npz"), activation="tahn")


def test_reading_a_network_needs_no_lightning() -> None:
    code = "import sys, rediscover; rediscover.read_network; sys.exit('lightning' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
