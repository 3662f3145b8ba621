"""A small network from an ONNX file: its layers, and its outputs at a few points.

A graph holds only a sequence of operations, and one activation is exported in many ways. So ONNX's own evaluator
runs the graph in NumPy, and the network that is read must agree with these outputs.

The file may come from a stranger. Only operations that such networks are made of are run, none of which loops or
makes a large array of a small one, and the size of every result is known and bounded before it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundation.errors import UserError
from foundation.files import read_regular

__all__ = ["LARGEST_FILE", "MOST_WEIGHTS", "PROBES", "NetworkFileError", "probes", "read_graph"]

PROBES = torch.linspace(-2.0, 2.0, 33)
"""Where the graph is run: the values of every input, in an order of its own."""

LARGEST_FILE = 1 << 26
"""Bytes of a file of weights."""

MOST_WEIGHTS = 1 << 20
"""Numbers in a small network."""

_ROLL = 7  # places by which the values of the next input are turned
_MOST_NODES = _MOST_INPUTS = 1_000
_MOST_WORK = 1 << 22  # numbers, or products, computed for one input
_PRODUCTS = ("Gemm", "MatMul")
_SAME_SIZE = ("Constant", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_OPERATIONS = frozenset(
    {
        *_PRODUCTS, *_SAME_SIZE, "Abs", "Add", "Cast", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Gelu",
        "Identity", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Selu", "Sigmoid",
        "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh",
    }
)  # fmt: skip


class NetworkFileError(UserError):
    """What is wrong with the file of a network, in one sentence that begins with its path."""


def probes(inputs: int) -> Tensor:
    """Points where a graph is run. `[PROBES, inputs]`"""
    return torch.stack([PROBES.roll(_ROLL * column) for column in range(inputs)], dim=1)


def read_graph(path: Path) -> tuple[dict[str, Tensor], Tensor]:
    """Matrices `[out, in]` and biases in the order in which they are applied, and outputs at `probes`.

    Returns:
        The weights, and the outputs `[PROBES, outputs]`.

    Raises:
        NetworkFileError: it is no ONNX file, has its weights elsewhere, has operations that no such network needs,
            or is no graph with one tensor as input and one as output.
    """
    import onnx

    content = read_regular(path.resolve(), most=LARGEST_FILE)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # whatever a torn or a strange file makes of it
        raise NetworkFileError(f"{path} cannot be read as ONNX: {_first_line(error)}") from error
    _check_operations(path, model)
    try:
        known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        tensors = {name: torch.tensor(value) for name, value in dict(_parts(model.graph.node, known)).items()}
    except Exception as error:
        raise NetworkFileError(f"{path} has weights that cannot be read: {_first_line(error)}") from error
    try:
        with np.errstate(all="ignore"):
            return tensors, _outputs(model, _inputs(tensors))
    except Exception as error:
        raise NetworkFileError(
            f"{path} cannot be run on one row ({_first_line(error)}): give a network with one tensor as input and "
            "one as output"
        ) from error


def _check_operations(path: Path, model: Any) -> None:
    """Make sure that a graph is a plain sequence of known operations on few numbers.

    Raises:
        NetworkFileError: it is not.
    """
    graph = model.graph
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
    if any(tensor.external_data or tensor.data_location for tensor in tensors):
        raise NetworkFileError(
            f"{path} has its weights in another file: export it with its weights inside, which "
            "torch.onnx.export does with external_data=False"
        )
    for node in graph.node:
        nested = any(
            a.HasField("g") or a.graphs or a.tensors or a.HasField("sparse_tensor") for a in node.attribute
        )
        if node.op_type not in _OPERATIONS or node.domain not in ("", "ai.onnx") or nested:
            raise NetworkFileError(
                f"{path} has the operation {node.op_type[:40]!r}, which no chain of layers needs: give a network "
                "of linear layers and an activation"
            )
    numbers = sum(math.prod(tensor.dims) for tensor in tensors)
    if len(graph.node) > _MOST_NODES or numbers > MOST_WEIGHTS or any(min(t.dims, default=1) < 0 for t in tensors):
        raise NetworkFileError(
            f"{path} has {len(graph.node):,} operations and {numbers:,} weights: at most {_MOST_NODES:,} and "
            f"{MOST_WEIGHTS:,} are read"
        )
    if model.functions or graph.sparse_initializer or len(graph.input) > _MOST_NODES:
        raise NetworkFileError(f"{path} has functions of its own, or sparse weights: give a plain graph")


def _parts(nodes: Any, known: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Matrices and biases, from the input to the output; ONNX wants nodes in that order."""
    for node in nodes:
        if node.op_type not in ("Gemm", "MatMul", "Add"):
            continue
        transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
        for name in node.input:
            value = known.get(name, np.zeros(()))
            if node.op_type != "Add" and value.ndim == 2:
                yield name, value if transposed else value.T
            elif value.size and value.ndim and value.size == value.shape[-1]:
                yield name, value.reshape(-1)


def _inputs(tensors: dict[str, Tensor]) -> int:
    """Number of inputs of the first matrix; 1 where there is none."""
    return next((value.shape[1] for value in tensors.values() if value.ndim == 2), 1)


def _outputs(model: Any, inputs: int) -> Tensor:
    """Of the graph, one row at a time: a batch may be part of its shapes. `[PROBES, outputs]`

    Raises:
        ValueError: the graph is no function of one row, or a result would be too large.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    if inputs > _MOST_INPUTS:
        raise ValueError(f"it has {inputs:,} inputs, and at most {_MOST_INPUTS:,} are read")
    evaluator = ReferenceEvaluator(model)
    known = {tensor.name for tensor in model.graph.initializer}
    [wanted] = [value for value in model.graph.input if value.name not in known]
    [output] = model.graph.output
    kind = onnx.helper.tensor_dtype_to_np_dtype(wanted.type.tensor_type.elem_type)
    axes = len(wanted.type.tensor_type.shape.dim)
    shape = (1,) * (axes - 1) + (inputs,) if axes else ()
    outputs = []
    for row in probes(inputs).numpy():
        values = {"": None, **evaluator.rt_inits_, wanted.name: row.astype(kind).reshape(shape)}
        work = 0
        for node in evaluator.rt_nodes_:
            arguments = [values[name] for name in node.input]
            work += _size(node.op_type, [each for each in arguments if each is not None])
            if work > _MOST_WORK:
                raise ValueError(f"it computes more than {_MOST_WORK:,} numbers")
            values.update(zip(node.output, node.run(*arguments), strict=True))
        outputs.append(np.asarray(values[output.name], dtype=np.float64).reshape(-1))
    return torch.from_numpy(np.stack(outputs)).float()


def _size(operation: str, arrays: Sequence[np.ndarray]) -> int:
    """Largest number of numbers, or of products, that an operation takes."""
    if operation in _SAME_SIZE:
        return arrays[0].size if arrays else 0
    if operation in _PRODUCTS:
        first, second = arrays[:2]
        return first.size * max(second.shape, default=1) + sum(each.size for each in arrays)
    return math.prod(np.broadcast_shapes(*(each.shape for each in arrays)))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
