"""Small networks: what a row of weights computes, how they are trained, kept and read from files."""

import itertools
import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from datamodules.zoo import shards
from datamodules.zoo.equations import SPLITS, draw_equations, equation_values
from datamodules.zoo.network_file import read_network
from datamodules.zoo.network_training import chebyshev_points, initial_weights, train_networks
from datamodules.zoo.network_zoo import make_zoo, trained
from datamodules.zoo.settings import TrainingSettings, ZooSettings
from datamodules.zoo.shards import Shards
from foundation.errors import UserError
from modules.networks.weights.small_networks import (
    ACTIVATIONS,
    NetworkShape,
    canonical_weights,
    rescaled,
    shuffled,
)

X = torch.linspace(-1, 1, 33)


def rows(shape: NetworkShape, count: int, seed: int = 0) -> torch.Tensor:
    return initial_weights(shape, count, TrainingSettings(), torch.Generator().manual_seed(seed))


def sequential(widths: tuple[int, ...] = (1, 8, 7, 8, 1), seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, behind in itertools.pairwise(widths):
        layers += [nn.Linear(before, behind), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


# ------------------------------------------------------------------------------------ what a row computes


def test_a_row_is_what_torch_says_it_is() -> None:
    network = sequential()
    flat = nn.utils.parameters_to_vector(network.parameters()).detach()[None]
    shape = NetworkShape.of("1-8-7-8-1", "tanh", True)
    assert shape.size == 152
    assert int((~shape.is_bias).sum()) == 128
    assert torch.allclose(shape.run(flat, X)[0], network(X[:, None])[:, 0], atol=1e-6)
    assert torch.equal(shape.join(shape.split(flat)), flat)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_other_rows_of_the_same_function(activation: str, biases: bool) -> None:
    shape = NetworkShape.of("1-8-7-8-1", activation, biases)
    flat = rows(shape, 50)
    torch.manual_seed(0)
    other = shuffled(shape, flat)
    assert (other - flat).abs().amax(dim=1).min() > 0.1
    for same in (other, canonical_weights(shape, flat)):
        assert torch.allclose(shape.run(same, X), shape.run(flat, X), atol=1e-5)
    assert torch.allclose(canonical_weights(shape, other), canonical_weights(shape, flat), atol=1e-6)
    half = 2.0
    wider = rescaled(shape, flat, 0.5 * biases, half, 3.0)
    assert torch.allclose(shape.run(wider, X), 3 * shape.run(flat, (X - 0.5 * biases) / half), atol=1e-4)


# ------------------------------------------------------------------------------------------ how they are trained


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("biases", [True, False])
def test_a_step_is_that_of_levenberg_and_marquardt(activation: str, biases: bool) -> None:
    """The step in the space of the points is the one that the Jacobian gives."""
    shape = NetworkShape.of("1-4-3-1", activation, biases)
    start, x = rows(shape, 1).double(), chebyshev_points(6, -1, 1).double()
    target = shape.run(start, x) + 0.02 * (x + x**2)  # near enough for the step to be taken
    jacobian = torch.autograd.functional.jacobian(lambda flat: shape.run(flat, x)[0], start)[:, 0]
    kernel = jacobian @ jacobian.T
    damped = kernel + 0.03 * kernel.diagonal().mean() * torch.eye(6).double()
    wanted = start - (jacobian.T @ torch.linalg.solve(damped, (shape.run(start, x) - target)[0]))[None]
    torch.set_default_dtype(torch.float64)
    try:
        found = train_networks(shape, start, x, target, TrainingSettings(steps=1))
    finally:
        torch.set_default_dtype(torch.float32)
    assert (wanted - start).abs().max() > 1e-4
    assert torch.allclose(found, wanted, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        (ZooSettings(), 0.995),
        (ZooSettings(activation="gelu", x_low=-2.0, x_high=3.0), 0.98),
        (ZooSettings(activation="softplus", biases=False), 0.98),
        (ZooSettings(start="shared"), 0.995),
        (ZooSettings(start="shared", target_size=0.2), 0.98),
        (ZooSettings(functions=("sin(3*x)", "exp(-x)", "log(x+2)"), terms=3), 0.98),
        (ZooSettings(optimizer="adam", steps=400, gain=1.5, floor=0.99, passes=1), 0.8),
    ],
    ids=["tanh", "gelu far", "softplus without biases", "shared", "shared and near", "functions", "adam"],
)
def test_networks_become_their_equations(settings: ZooSettings, share: float) -> None:
    count = 256
    ids = draw_equations(settings, "train", count, np.random.default_rng(0))
    coefficients = torch.from_numpy(settings.vocabulary.coefficients(ids))
    flat, r2 = trained(settings, coefficients, torch.Generator().manual_seed(0))
    assert (r2 >= settings.floor).double().mean() >= share
    x = torch.linspace(settings.x_low, settings.x_high, 50)
    wanted = equation_values(settings.vocabulary, coefficients, x)
    spread = (wanted - wanted.mean(dim=1, keepdim=True)).square().mean(dim=1)
    error = (settings.shape.run(flat, x) - wanted).square().mean(dim=1)
    judged = (spread > 1e-6) & (r2 >= settings.floor)  # R2 is that of the function, in its own units
    assert ((1 - error / spread)[judged] > settings.floor - 0.01).all()


def linear_error(target_size: float) -> float:
    """Median error of the coefficients that a linear function of the 128 weights reads."""
    settings = ZooSettings(start="shared", target_size=target_size)
    ids = draw_equations(settings, "train", 1000, np.random.default_rng(0))
    coefficients = torch.from_numpy(settings.vocabulary.coefficients(ids)).double()
    flat, _ = trained(settings, coefficients, torch.Generator().manual_seed(0))
    weights = torch.cat([matrix.flatten(1) for matrix, _ in settings.shape.split(flat)], dim=1).double()
    known = torch.cat([(weights - weights.mean(dim=0)) / weights.std(dim=0), torch.ones(1000, 1)], dim=1)
    solved = torch.linalg.lstsq(known[:700], coefficients[:700]).solution
    return float((known[700:] @ solved - coefficients[700:]).abs().median())


def test_near_a_shared_start_weights_are_linear_in_the_equation() -> None:
    assert linear_error(0.2) < 0.01 < linear_error(1.0)


# ------------------------------------------------------------------------------------------ which equations


def test_equations_are_uniform_by_length_and_held_out_by_meaning() -> None:
    settings = ZooSettings()
    vocabulary, meanings = settings.vocabulary, {}
    for split in SPLITS:
        ids = draw_equations(settings, split, 3000, np.random.default_rng(1))
        shares = np.bincount((ids > 3).sum(axis=1), minlength=19)[8::2] / len(ids)
        assert (abs(shares - 1 / 6.2) < 0.03).all()
        meanings[split] = {tuple(row) for row in np.rint(vocabulary.coefficients(ids) * 10).astype(int)}
    slides = ZooSettings(equations="slides")
    drawn = draw_equations(slides, "train", 3000, np.random.default_rng(2))
    meanings["slides"] = {tuple(row) for row in np.rint(vocabulary.coefficients(drawn) * 10).astype(int)}
    assert not meanings["train"] & meanings["validation"]
    assert not meanings["train"] & meanings["test"]
    assert not meanings["validation"] & meanings["test"]
    assert not meanings["slides"] & (meanings["test"] | meanings["validation"])
    shares = np.bincount((drawn > 3).sum(axis=1), minlength=19)[6::2] / len(drawn)
    assert np.abs(shares - [0.013, 0.037, 0.037, 0.116, 0.328, 0.348, 0.123]).max() < 0.03  # as published


# ------------------------------------------------------------------------------------------------- on disk


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ZooSettings:
    """A zoo whose shards are small."""
    monkeypatch.setattr(shards, "SHARD", 64)
    return ZooSettings(widths="1-4-4-1", floor=0.5, steps=3, passes=2)


def arrays(folder: Path) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*/*.npy"))}


def test_a_zoo_is_the_same_whoever_makes_it_and_goes_on(small: ZooSettings, tmp_path: Path) -> None:
    counts = {"train": 200, "test": 64}
    whole = make_zoo(small, tmp_path / "whole", counts, 1)
    assert json.loads((whole / "zoo.json").read_text())["degree"] == 2
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=make_zoo, args=(small, tmp_path / "two", counts, 1)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    two = tmp_path / "two" / small.name
    assert len(arrays(whole)) == 15
    assert arrays(two) == arrays(whole)
    shutil.rmtree(two / "train_00001")  # killed before this one, and in the middle of it
    (two / "train_00001.1.part").mkdir()
    make_zoo(small, tmp_path / "two", counts, 1)
    assert arrays(two) == arrays(whole)
    assert not list(two.glob("*.part"))


def test_rows_of_a_zoo(small: ZooSettings, tmp_path: Path) -> None:
    folder = make_zoo(small, tmp_path, {"train": 200}, 1)
    part = Shards(folder, small, "train", 200)
    assert len(part.r2) == 200
    assert (part.r2[part.accepted] >= small.floor).all()
    assert 0 < len(part.accepted) < 200
    picked = torch.tensor([len(part.accepted) - 1, 0, 3])
    flat, ids = part.column("weights")[picked], part.column("ids")[picked]
    for row, place in enumerate(part.accepted[picked.numpy()]):
        shard = folder / f"train_{place // 64:05d}"
        assert torch.equal(flat[row], torch.from_numpy(np.load(shard / "weights.npy")[place % 64]))
        assert (ids[row].numpy() == np.load(shard / "ids.npy")[place % 64]).all()
    np.save(folder / "train_00002" / "r2.npy", np.zeros(3, dtype=np.float32))
    with pytest.raises(UserError, match=r"train_00002 is damaged or missing: delete it"):
        Shards(folder, small, "train", 200)


def test_other_settings_are_another_zoo() -> None:
    assert ZooSettings().name == ZooSettings().name
    assert ZooSettings().name != ZooSettings(steps=17).name


# ------------------------------------------------------------------------------------------------- one file


@pytest.mark.parametrize(
    "widths", [(1, 8, 7, 8, 1), (1, 3, 1), (1, *[2] * 11, 1)], ids=["slides", "small", "deep"]
)
def test_a_network_of_somebody_else(widths: tuple[int, ...], tmp_path: Path) -> None:
    network = sequential(widths)
    torch.save(network.state_dict(), tmp_path / "torch.pt")
    save_file(network.state_dict(), tmp_path / "numbers.safetensors")
    for name in ("torch.pt", "numbers.safetensors"):
        shape, flat = read_network(tmp_path / name, "tanh")
        assert shape == NetworkShape(widths)
        assert torch.allclose(shape.run(flat, X)[0], network(X[:, None])[:, 0], atol=1e-6)


def _nan(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return state | {"0.bias": torch.full((8,), torch.nan)}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_nan, "not finite"),
        (lambda state: {k: v for k, v in state.items() if k[0] != "2"}, "no chain of layers"),
        (lambda state: {k: v for k, v in state.items() if k != "2.bias"}, "3 biases for 4 layers"),
        (lambda state: state | {"7.weight": torch.zeros(1, 1, 3)}, "two or more matrices"),
        (
            lambda state: {"0.weight": torch.zeros(8, 2), "1.weight": torch.zeros(1, 8)},
            "has the widths 2-8-1: give a network with one input and one output",
        ),
    ],
    ids=["nan", "a layer is missing", "a bias is missing", "a convolution", "two inputs"],
)
def test_files_that_are_no_network(spoil: Callable, words: str, tmp_path: Path) -> None:
    torch.save(spoil(dict(sequential().state_dict())), tmp_path / "file.pt")
    with pytest.raises(UserError, match=words):
        read_network(tmp_path / "file.pt", "tanh")


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_network(tmp_path / "none.pt", "tanh")
    (tmp_path / "text.pt").write_text("1 2 3")
    with pytest.raises(UserError, match="cannot be read safely"):
        read_network(tmp_path / "text.pt", "tanh")
    torch.save(sequential(), tmp_path / "code.pt")  # a pickled module would run code
    with pytest.raises(UserError, match="cannot be read safely"):
        read_network(tmp_path / "code.pt", "tanh")
    (tmp_path / "graph.onnx").write_bytes(b"\x08")
    with pytest.raises(UserError, match="cannot be read as ONNX"):
        read_network(tmp_path / "graph.onnx", "tanh")


# --- ONNX ---


def save_graph(path: Path, layers: list[str], *, transposed: bool = True, **external: Any) -> nn.Module:
    """A chain of layers, one number in and out, as operations of ONNX; `Gemm`, or `MatMul` and `Add`."""
    network = sequential((1, 5, 4, 1))
    nodes, tensors, name = [], [], "x"
    for number, layer in enumerate(m for m in network if isinstance(m, nn.Linear)):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        tensors.append(
            numpy_helper.from_array(np.ascontiguousarray(weight if transposed else weight.T), f"w{number}")
        )
        tensors.append(numpy_helper.from_array(bias, f"b{number}"))
        if transposed:
            nodes.append(helper.make_node("Gemm", [name, f"w{number}", f"b{number}"], [f"y{number}"], transB=1))
        else:
            nodes.append(helper.make_node("MatMul", [name, f"w{number}"], [f"m{number}"]))
            nodes.append(helper.make_node("Add", [f"b{number}", f"m{number}"], [f"y{number}"]))
        name = f"y{number}"
        for step, operation in enumerate(layers if number < 2 else []):
            inputs = [name, f"y{number}"] if operation == "Mul" else [name]
            nodes.append(helper.make_node(operation, inputs, [f"a{number}_{step}"]))
            name = f"a{number}_{step}"
    number_of = [helper.make_tensor_value_info(each, TensorProto.FLOAT, ["n", 1]) for each in ("x", name)]
    model = helper.make_model(helper.make_graph(nodes, "network", number_of[:1], number_of[1:], tensors))
    onnx.save(model, path, **external)
    return network


@pytest.mark.parametrize(
    ("layers", "activation", "function"),
    [
        (["Tanh"], "tanh", torch.tanh),
        (["Relu"], "relu", torch.relu),
        (["Sigmoid", "Mul"], "silu", nn.functional.silu),
        (["Softplus"], "softplus", nn.functional.softplus),
    ],
)
@pytest.mark.parametrize("transposed", [True, False], ids=["Gemm", "MatMul"])
def test_a_graph_tells_its_activation(
    layers: list[str], activation: str, function: Callable, transposed: bool, tmp_path: Path
) -> None:
    network = save_graph(tmp_path / "graph.onnx", layers, transposed=transposed)
    shape, flat = read_network(tmp_path / "graph.onnx", "gelu")
    assert shape == NetworkShape((1, 5, 4, 1), activation)
    states = X[:, None]
    for number, layer in enumerate(m for m in network if isinstance(m, nn.Linear)):
        states = layer(function(states) if number else states)
    assert torch.allclose(shape.run(flat, X)[0], states[:, 0], atol=1e-6)


def test_graphs_that_cannot_be_read(tmp_path: Path) -> None:
    save_graph(tmp_path / "graph.onnx", ["Cos"])
    with pytest.raises(UserError, match="computes something else than a chain of 3 layers"):
        read_network(tmp_path / "graph.onnx", "tanh")
    save_graph(tmp_path / "outside.onnx", ["Tanh"], save_as_external_data=True, size_threshold=0)
    with pytest.raises(UserError, match="weights in another file"):
        read_network(tmp_path / "outside.onnx", "tanh")
