"""A network of linear layers from a file of weights, as a network of torch."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import nn

from datamodules.zoo.network_file import read_layers, read_network
from expressions.expression import Expression
from modules.networks.perceptron import ACTIVATIONS
from modules.networks.weights.reader import PRETRAINED, load_reader

__all__ = ["guessed_equations", "network_in_file"]

_BEAMS = 8


def network_in_file(path: str | Path, activation: str) -> nn.Sequential:
    """The network of a file: linear layers called `0`, `2`, … and an activation between any two of them.

    Args:
        path: path of a safetensors file, of a state dict that torch saved, of an npz file or of an ONNX file.
        activation: name of the activation, which no file but ONNX says.

    Raises:
        UserError: the file cannot be read safely, is no chain of layers, or there is no such activation.
    """
    stored = read_layers(path)
    function = ACTIVATIONS[stored.activation(activation)]
    parts: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(stored.widths)):
        layer = nn.Linear(inputs, outputs, bias=bool(stored.biases))
        with torch.no_grad():
            layer.weight.copy_(stored.matrices[number])
            if stored.biases:
                layer.bias.copy_(stored.biases[number])
        parts += [layer, function()]
    return nn.Sequential(*parts[:-1])


def guessed_equations(path: str | Path, activation: str) -> list[Expression]:
    """What the packaged reader of weights takes a network for; nothing where it has several inputs or outputs.

    Args:
        path: path of the file, see `network_in_file`.
        activation: name of the activation.
    """
    widths = read_layers(path).widths
    if (widths[0], widths[-1]) != (1, 1) or not PRETRAINED.is_file():
        return []
    shape, weights = read_network(path, activation)
    reader = load_reader(PRETRAINED)
    found = reader.read(shape, weights, _BEAMS).candidates[0]
    return list(dict.fromkeys(reader.vocabulary.expression(ids) for ids in found))
