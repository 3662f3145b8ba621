"""Files of networks that a stranger has made to loop, to fill the memory or to run code: one sentence each."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from datamodules.zoo.network_file import read_network
from foundation.array_files import ArrayFileError, map_npy, read_npz
from foundation.errors import UserError
from foundation.files import FileError

Node = Any


def graph(path: Path, nodes: list[Node], weights: dict[str, np.ndarray], **changes: Any) -> None:
    """An ONNX file with these operations, from `x` to `y`, one number each."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors), **changes)
    path.write_bytes(model.SerializeToString())


def loop(path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("again", "still")]
    count = helper.make_tensor_value_info("n", TensorProto.INT64, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["again"], ["still"])], "body", [count, ends[0]], ends[1:]
    )
    nodes = [helper.make_node("Loop", ["", "yes"], [], body=body), helper.make_node("Identity", ["x"], ["y"])]
    graph(path, nodes, {"yes": np.array(True)})


def broadcast(path: Path) -> None:
    rows, columns = np.zeros((30_000, 1), np.float32), np.zeros((1, 30_000), np.float32)
    graph(path, [helper.make_node("Add", ["rows", "columns"], ["y"])], {"rows": rows, "columns": columns})


def endless_products(path: Path) -> None:
    names = ["w", *(f"h{k}" for k in range(98)), "y"]
    nodes = [helper.make_node("MatMul", [name, "w"], [after]) for name, after in pairwise(names)]
    graph(path, nodes, {"w": np.zeros((1000, 1000), np.float32)})


def false_dimensions(path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros((2, 1), np.float32), "w")
    tensor.dims[0] = 2**40
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "network", ends[:1], ends[1:], [tensor]))
    path.write_bytes(model.SerializeToString())


def torn_weights(path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros((2, 1), np.float32), "w")
    tensor.raw_data = tensor.raw_data[:-1]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "network", ends[:1], ends[1:], [tensor]))
    path.write_bytes(model.SerializeToString())


def constant_elsewhere(path: Path) -> None:
    value = TensorProto(data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="../secret")
    nodes = [helper.make_node("Constant", [], ["c"], value=value), helper.make_node("Add", ["x", "c"], ["y"])]
    graph(path, nodes, {})


def own_function(path: Path) -> None:
    opset = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("own", 1)]
    body = [helper.make_node("Tanh", ["a"], ["b"], domain="own")]
    function = helper.make_function("own", "Tanh", ["a"], ["b"], body, opset)
    nodes = [helper.make_node("Tanh", ["x"], ["y"], domain="own")]
    graph(path, nodes, {}, functions=[function], opset_imports=opset)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (loop, "has the operation 'Loop', which no chain of layers needs"),
        (broadcast, "cannot be run on one row .it computes more than"),
        (endless_products, "cannot be run on one row .it computes more than"),
        (false_dimensions, "weights: at most 1,000 and"),
        (torn_weights, "has weights that cannot be read"),
        (constant_elsewhere, "has its weights in another file"),
        (own_function, "has the operation 'Tanh'"),
    ],
)
def test_graphs_that_do_more_than_a_chain_of_layers(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    make(tmp_path / "graph.onnx")
    with pytest.raises(UserError, match=words) as raised:
        read_network(tmp_path / "graph.onnx", "tanh")
    assert "\n" not in str(raised.value)


def expanded(path: Path) -> None:
    weights = {"0.weight": torch.zeros(1, 1).expand(1 << 15, 1 << 15), "1.weight": torch.zeros(1, 4)}
    torch.save(weights, path)


def deflated(path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"0.weight": torch.zeros((1 << 24) + 1, 1)}, stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))


def many(path: Path) -> None:
    save_file({"0.weight": torch.zeros(1 << 21, 1), "1.weight": torch.zeros(1, 1 << 21)}, path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (expanded, "holds other things than weights"),
        (deflated, "cannot be read safely"),
        (many, "more than 1,048,576 weights"),
        (lambda path: torch.save({0: torch.zeros(2)}, path), "holds other things than weights"),
        (lambda path: torch.save({"a": torch.zeros(2, 2).to_sparse()}, path), "holds other things than weights"),
    ],
)
def test_weights_that_grow_in_memory(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").stat().st_size < 1 << 25
    with pytest.raises(UserError, match=words):
        read_network(tmp_path / "weights.pt", "tanh")


def npz(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", content)


def header(text: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"), "bytes for an array"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"x" * 8), "only arrays of numbers"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"), "only arrays of numbers"),
        (header("(" * 9_000 + "\n"), "holds no array"),
        (b"", "holds no array"),
        (bytes(1 << 21), "unpacks to"),
    ],
)
def test_arrays_that_are_no_arrays(content: bytes, words: str, tmp_path: Path) -> None:
    npz(tmp_path / "arrays.npz", content)
    with pytest.raises(ArrayFileError, match=words):
        read_npz(tmp_path / "arrays.npz", most=1 << 20)


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    wanted = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.eye(3)[:, :2]), "c": np.empty((0, 2))}
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **wanted)
    found = read_npz(tmp_path / "arrays.npz", most=1 << 20)
    assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in wanted.items()}
    np.save(tmp_path / "a.npy", wanted["a"])
    assert map_npy(tmp_path / "a.npy", np.float64, 2, 3).tolist() == wanted["a"].tolist()
    for kind, shape in ((np.float32, (2, 3)), (np.float64, (3, 2)), (np.float64, (6,))):
        with pytest.raises((ArrayFileError, FileError)):
            map_npy(tmp_path / "a.npy", kind, *shape)
