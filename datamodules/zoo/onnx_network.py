"""A small network from an ONNX file: its layers, and its outputs at a few points.

A graph holds only a sequence of operations, and one activation is exported in many ways. So ONNX's own evaluator
runs the graph in NumPy, and the network that is read must agree with these outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundation.errors import UserError

__all__ = ["PROBES", "NetworkFileError", "read_graph"]

PROBES = torch.linspace(-2.0, 2.0, 33)
"""Where the graph is run."""


class NetworkFileError(UserError):
    """What is wrong with the file of a network, in one sentence that begins with its path."""


def read_graph(path: Path) -> tuple[dict[str, Tensor], Tensor]:
    """Matrices `[out, in]` and biases in the order in which they are applied, and outputs at `PROBES`.

    Raises:
        NetworkFileError: it is no ONNX file, has its weights elsewhere, or is no graph with one number as input
            and one as output.
    """
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # whatever a torn or a strange file makes of it
        raise NetworkFileError(f"{path} cannot be read as ONNX: {_first_line(error)}") from error
    graph = model.graph
    if any(tensor.external_data for tensor in graph.initializer):
        raise NetworkFileError(
            f"{path} has its weights in another file: export it with its weights inside, which "
            "torch.onnx.export does with external_data=False"
        )
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in _parts(graph.node, known)}
    try:
        return tensors, _outputs(model)
    except Exception as error:
        raise NetworkFileError(
            f"{path} cannot be run on one number ({_first_line(error)}): give a network with one "
            "input and one output"
        ) from error


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


def _outputs(model: Any) -> Tensor:
    """Of the graph, one number at a time: a batch may be part of its shapes. `[PROBES]`"""
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    known = {tensor.name for tensor in model.graph.initializer}
    [wanted] = [value for value in model.graph.input if value.name not in known]
    kind = onnx.helper.tensor_dtype_to_np_dtype(wanted.type.tensor_type.elem_type)
    rank = len(wanted.type.tensor_type.shape.dim)
    outputs = []
    for x in PROBES.tolist():
        [value] = evaluator.run(None, {wanted.name: np.full((1,) * rank, x, dtype=kind)})
        outputs.append(float(np.asarray(value).item()))
    return torch.tensor(outputs)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
