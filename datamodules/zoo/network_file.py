"""One small network from a user's file: numbers alone, never code.

The file is a `safetensors` file, a file written by `torch.save(network.state_dict(), …)` and read with
`weights_only=True`, an `npz` file of NumPy, or an ONNX file, which also holds the network's operations.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.zoo.onnx_network import LARGEST_FILE, MOST_WEIGHTS, NetworkFileError, probes, read_graph
from foundation.array_files import check_unpacked_size, read_npz
from foundation.errors import UserError, near
from foundation.files import read_regular
from foundation.weight_files import ZIP, no_file
from modules.networks.weights.small_networks import ACTIVATIONS, NetworkShape

__all__ = ["NetworkFileError", "StoredLayers", "read_layers", "read_network"]

_SAME = 1e-3  # largest difference between a graph and the network read from it, in spreads of the outputs


@dataclass(frozen=True)
class StoredLayers:
    """The layers of a chain, as a file holds them.

    Attributes:
        path: path of the file.
        matrices: matrix of every layer. `[out, in]` each
        biases: bias of every layer `[out]`, or none at all.
        outputs: outputs at `datamodules.zoo.onnx_network.probes` of a file that says them; None: it does not.
            `[PROBES, outputs]`
    """

    path: Path
    matrices: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    outputs: Tensor | None

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of units of the input, of every hidden layer and of the output."""
        return self.matrices[0].shape[1], *(len(matrix) for matrix in self.matrices)

    def values(self, inputs: Tensor, activation: str) -> Tensor:
        """Outputs `[rows, outputs]` for inputs `[rows, inputs]`, with an activation between the layers."""
        states = inputs
        for number, matrix in enumerate(self.matrices):
            states = ACTIVATIONS[activation](states) if number else states
            states = functional.linear(states, matrix, self.biases[number] if self.biases else None)
        return states

    def activation(self, given: str) -> str:
        """The activation of the outputs that the file says, or the one that is given where it says none.

        Raises:
            NetworkFileError: no activation makes the network compute what the file says.
            UserError: there is no such activation.
        """
        if given not in ACTIVATIONS:
            raise UserError(f"activation={given} does not exist; {near(given, ACTIVATIONS)}")
        if self.outputs is None:
            return given
        points, outputs = probes(self.widths[0]), self.outputs

        def difference(name: str) -> float:
            found = self.values(points, name)
            return float((found - outputs).abs().max()) if found.shape == outputs.shape else float("inf")

        best = min(ACTIVATIONS, key=difference)
        if not difference(best) <= _SAME * float(outputs.std()) + _SAME**2:
            raise NetworkFileError(
                f"{self.path} computes something else than a chain of {len(self.matrices)} layers with one "
                f"of {', '.join(ACTIVATIONS)} between them: give a network that is such a chain"
            )
        return best


def read_layers(path: str | Path) -> StoredLayers:
    """The layers of a network from a file that may come from a stranger.

    But for ONNX, its matrices must lie in the file in the order in which they are applied, as in a state dict of a
    `torch.nn.Sequential` of `Linear` layers: those with two dimensions are matrices, `[out, in]`, each followed by
    its bias or by none.

    Args:
        path: path of the file.

    Raises:
        NetworkFileError: there is no such file, it cannot be read safely, or it is no chain of layers.
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
    fits = all(a.shape[1] == len(b) for a, b in zip(matrices[1:], matrices, strict=False))
    fits &= all(len(bias) == len(matrix) for bias, matrix in zip(biases, matrices, strict=False))
    if not fits or not all(matrix.numel() for matrix in matrices):
        shapes = ", ".join("x".join(map(str, value.shape)) for _, value in tensors)
        raise NetworkFileError(f"{path} is no chain of layers ({shapes}): give the layers from input to output")
    parts = [[part.detach().float() for part in kind] for kind in (matrices, biases)]
    if not all(bool(part.isfinite().all()) for kind in parts for part in kind):
        raise NetworkFileError(f"{path} has weights that are not finite: give a network that was trained")
    return StoredLayers(path, tuple(parts[0]), tuple(parts[1]), outputs)


def read_network(path: str | Path, activation: str) -> tuple[NetworkShape, Tensor]:
    """The shape and the weights of a network with one input and one output.

    Args:
        path: path of the file, see `read_layers`.
        activation: name of the activation between the layers, which no file of weights holds; for an ONNX file it
            is found by running the graph.

    Returns:
        The shape, and the weights `[1, P]` float32.

    Raises:
        NetworkFileError: there is no such file, it cannot be read safely, or it is not such a network.
        UserError: there is no such activation.
    """
    layers = read_layers(path)
    widths, biases = layers.widths, layers.biases
    sizes = "-".join(map(str, widths))
    if widths[0] != 1 or widths[-1] != 1:
        raise NetworkFileError(
            f"{path} has the widths {sizes}: give a network with one input and one output, such as 1-8-7-8-1"
        )
    shape = NetworkShape.of(sizes, layers.activation(activation), bool(biases))
    parts = [
        part
        for layer in zip(layers.matrices, biases or layers.matrices, strict=True)
        for part in layer[: 1 + bool(biases)]
    ]
    return shape, torch.cat([part.flatten() for part in parts])[None]


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
