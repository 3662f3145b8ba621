"""One small network from a user's file: numbers alone, never code.

The file is a `safetensors` file, a file written by `torch.save(network.state_dict(), …)` and read with
`weights_only=True`, an `npz` file of NumPy, or an ONNX file, which also holds the network's operations.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.zoo.onnx_network import LARGEST_FILE, MOST_WEIGHTS, PROBES, NetworkFileError, read_graph
from foundation.array_files import check_unpacked_size, read_npz
from foundation.errors import UserError
from foundation.files import read_regular
from foundation.weight_files import ZIP, no_file
from modules.networks.weights.small_networks import ACTIVATIONS, NetworkShape

__all__ = ["NetworkFileError", "read_network"]

_SAME = 1e-3  # largest difference between a graph and the network read from it, in spreads of the outputs


def read_network(path: str | Path, activation: str) -> tuple[NetworkShape, Tensor]:
    """The shape and the weights of a network with one input and one output.

    But for ONNX, its matrices must lie in the file in the order in which they are applied, as in a state dict of a
    `torch.nn.Sequential` of `Linear` layers: those with two dimensions are matrices, `[out, in]`, each followed by
    its bias or by none.

    Args:
        path: path of the file.
        activation: name of the activation between the layers, which no file of weights holds; for an ONNX file it
            is found by running the graph.

    Returns:
        The shape, and the weights `[1, P]` float32.

    Raises:
        NetworkFileError: there is no such file, it cannot be read safely, or it is not such a network.
        UserError: there is no such activation.
    """
    path = Path(path)
    wrong = no_file(path)
    if wrong is not None:
        raise NetworkFileError(f"{path} {wrong}: give a safetensors file, a state_dict saved by torch, or ONNX")
    found, outputs = read_graph(path) if path.suffix == ".onnx" else (_tensors(path), None)
    tensors = [(name, value) for name, value in found.items() if value.ndim > 0]
    if sum(value.numel() for _, value in tensors) > MOST_WEIGHTS:
        raise NetworkFileError(f"{path} has more than {MOST_WEIGHTS:,} weights, which no small network has")
    matrices, biases = _layers(path, tensors)
    if biases and len(biases) != len(matrices):
        raise NetworkFileError(f"{path} has {len(biases)} biases for {len(matrices)} layers: give all or none")
    widths = [matrices[0].shape[1], *(len(matrix) for matrix in matrices)]
    sizes = "-".join(map(str, widths))
    fits = all(a.shape[1] == len(b) for a, b in zip(matrices[1:], matrices, strict=False))
    fits &= all(len(bias) == len(matrix) for bias, matrix in zip(biases, matrices, strict=False))
    if not fits:
        shapes = ", ".join("x".join(map(str, value.shape)) for _, value in tensors)
        raise NetworkFileError(f"{path} is no chain of layers ({shapes}): give the layers from input to output")
    if widths[0] != 1 or widths[-1] != 1:
        raise NetworkFileError(
            f"{path} has the widths {sizes}: give a network with one input and one output, such as 1-8-7-8-1"
        )
    shape = NetworkShape.of(sizes, activation, bool(biases))
    parts = [
        part for layer in zip(matrices, biases or matrices, strict=True) for part in layer[: 1 + bool(biases)]
    ]
    flat = torch.cat([part.detach().float().flatten() for part in parts])[None]
    if not bool(flat.isfinite().all()):
        raise NetworkFileError(f"{path} has weights that are not finite: give a network that was trained")
    return shape if outputs is None else _of_same_outputs(path, shape, flat, outputs), flat


def _of_same_outputs(path: Path, shape: NetworkShape, flat: Tensor, outputs: Tensor) -> NetworkShape:
    """The shape with the activation that makes it compute what a graph does at `PROBES`."""

    def difference(candidate: NetworkShape) -> float:
        return float((candidate.run(flat, PROBES)[0] - outputs).abs().max())

    best = min((replace(shape, activation=name) for name in ACTIVATIONS), key=difference)
    if not difference(best) <= _SAME * float(outputs.std()) + _SAME**2:
        raise NetworkFileError(
            f"{path} computes something else than a chain of {len(shape.widths) - 1} layers with one "
            f"of {', '.join(ACTIVATIONS)} between them: give a network that is such a chain"
        )
    return best


def _tensors(path: Path) -> Mapping[str, Tensor]:
    """What a file holds, whichever of the three kinds it is."""
    if path.suffix == ".npz":
        return _in_order(_arrays(path))
    content = read_regular(path.resolve(), most=LARGEST_FILE)
    found = _saved_by_torch(path, content) if content.startswith(ZIP) else _safetensors(path, content)
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    plain = isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    )
    if not plain or not all(_is_plain(value) for value in found.values()):
        raise NetworkFileError(f"{path} holds other things than weights: give a state_dict")
    return _in_order(found)


def _is_plain(weights: Tensor) -> bool:
    """Whether a tensor holds each of its numbers once, in this machine's memory."""
    return (
        weights.layout == torch.strided
        and weights.device.type == "cpu"
        and (weights.is_floating_point() or weights.ndim == 0)
        and weights.numel() * weights.element_size() <= weights.untyped_storage().nbytes()
    )


def _safetensors(path: Path, content: bytes) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _unsafe(path) from error


def _saved_by_torch(path: Path, content: bytes) -> Any:
    stream = io.BytesIO(content)
    try:
        check_unpacked_size(stream, LARGEST_FILE)
        stream.seek(0)
        return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a torn or a strange file makes of it
        raise _unsafe(path) from error


def _unsafe(path: Path) -> NetworkFileError:
    return NetworkFileError(
        f"{path} cannot be read safely: give a safetensors file, or what torch.save(network.state_dict(), path) "
        "writes"
    )


def _arrays(path: Path) -> dict[str, Tensor]:
    """Arrays of an `npz` file; one of objects is refused, because reading it could run code."""
    try:
        arrays = read_npz(path.resolve(), most=LARGEST_FILE)
    except UserError as error:
        raise NetworkFileError(
            f"{path} cannot be read safely ({error}): give what numpy.savez(path, **arrays of numbers) writes"
        ) from error
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}


def _in_order(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By layer and, of a layer, the matrix first: safetensors sorts by name, in which 10 comes before 2."""

    def place(item: tuple[str, Tensor]) -> tuple[list[tuple[int, str]], int]:
        words = item[0].split(".")[:-1]
        return [(int(word), "") if word.isdecimal() else (-1, word) for word in words], -item[1].ndim

    return dict(sorted(found.items(), key=place))


def _layers(path: Path, tensors: list[tuple[str, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    matrices = [value for _, value in tensors if value.ndim == 2]
    biases = [value for _, value in tensors if value.ndim == 1]
    if len(matrices) < 2 or len(matrices) + len(biases) != len(tensors):
        kinds = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors[:6]) or "nothing"
        raise NetworkFileError(f"{path} holds {kinds}: give two or more matrices and their biases")
    return matrices, biases
