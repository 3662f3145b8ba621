"""The Gumbel-max equation learner: the network's values for many instances, and their gradients.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2.

Notation, in shapes: restarts R (runs of their own), instances p a restart, connections C, weights W, rows N. Every
connection chooses among its own number M of sources. Tensors have the largest M of the network as their last
dimension, `choices`; entries that stand for no source are excluded by `GumbelMaxNetwork.barrier`, have probability
0 and gradient 0.

    z [R, C, choices]       logits of the choices, shared by the instances of a restart
    V [R, p, C, choices]    what a connection takes of each source (eq. 2): a soft sample, or one-hot
    w [instances, W]        weights, see `expressions.equation_learner.architecture`

Gradients are written by hand. `GumbelMaxNetwork.forward` is the same network for autograd, and their test.

Values that are not finite: the arithmetic is plain IEEE, as everywhere in this project. An instance whose output
is not finite on a row has error inf, so that no repository takes it, and its gradients are 0, as are those of an
instance with a finite error but a slope that is infinite (a root at 0) or beyond 1e15: one such instance would
otherwise turn the shared parameters into NaN, or Adam's second moments into inf, for good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from expressions.equation_learner.architecture import IDENTITY, SUM, Architecture, Layer
from expressions.operators import BY_NAME, Operator

__all__ = ["GumbelMaxNetwork", "Measured", "mean_absolute_error"]

# Instances x rows that go through the network together at most. More do not stay in the cache; of less, the calls
# take longer than what they do.
_BLOCK_VALUES = 120 * 300
# The GNU allocator gives freed memory back to the system, to ask for it again at the next temporary, unless it has
# seen a larger block come and go: one that is never written to costs nothing.
_KEPT_BYTES = 16 << 20
_STEEPEST = 1e15  # slopes beyond it are rounding around a pole; their squares in Adam would leave float32


def mean_absolute_error(outputs: Tensor, target: Tensor) -> Tensor:
    """Loss of an instance (eq. 1). `[..., rows]`, `[rows] -> [...]`; inf where it is not finite."""
    errors = (outputs - target).abs().mean(dim=-1)
    return errors.nan_to_num_(nan=torch.inf, posinf=torch.inf)


# --- the network --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What a pass through the network tells about its instances.

    Attributes:
        errors: mean absolute errors (eq. 1), inf where not finite. `[instances]`
        selection_gradient: gradient of each instance's error for V; 0 where it is not usable.
            `[instances, C, choices]`
        weight_gradient: gradient of each instance's error for its weights. `[instances, W]`
    """

    errors: Tensor
    selection_gradient: Tensor
    weight_gradient: Tensor


@dataclass(frozen=True)
class _Group:
    """Nodes of one function, beside each other.

    Attributes:
        row: row of the operator table; None for nodes that return their input (identities and sums).
        nodes: range of the nodes among the layer's outputs.
        arguments: range of the nodes' inputs among the layer's inputs, for each argument.
    """

    row: Operator | None
    nodes: slice
    arguments: tuple[slice, ...]


@dataclass(frozen=True)
class _Stage:
    """One layer, as the passes need it: its inputs are those of its connections, then those of its sums."""

    layer: Layer
    connections: slice
    connection_weights: slice
    dense_weights: slice
    groups: tuple[_Group, ...]

    @property
    def inputs(self) -> int:
        return self.layer.connections + self.layer.sums

    @property
    def outputs(self) -> int:
        return len(self.layer.nodes)

    @property
    def passes_on(self) -> bool:
        """Whether the outputs are the inputs."""
        return all(group.row is None for group in self.groups)


class GumbelMaxNetwork:
    """The values and gradients of many instances of an architecture, on one table.

    It holds no parameters: the module that trains it keeps logits and weights.

    Args:
        architecture: nodes and connections.
        device, dtype: to compute on and in.
    """

    def __init__(
        self,
        architecture: Architecture,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.architecture = architecture
        self.device, self.dtype = torch.device(device), dtype
        self.choices = int(architecture.choices.max())
        sources = torch.from_numpy(architecture.choices)
        excluded = torch.arange(self.choices) >= sources[:, None]
        self.barrier = torch.zeros(excluded.shape).masked_fill_(excluded, -torch.inf).to(self.device, dtype)
        """What excludes entries that stand for no source, to be added to z: 0 or -inf. `[C, choices]`"""
        self._stages = _stages(architecture)
        places = torch.arange(architecture.weights)
        self._connection_weights = torch.cat([places[s.connection_weights] for s in self._stages]).to(self.device)
        self._workspaces: dict[tuple[int, int], _Workspace] = {}

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> GumbelMaxNetwork:
        """The same network on another device or in another type; itself where that is no change."""
        if (device, dtype) == (self.device, self.dtype):
            return self
        return GumbelMaxNetwork(self.architecture, device, dtype)

    def columns(self, inputs: Tensor) -> Tensor:
        """Sources of the first layer. `[rows, features] -> [features (+ 1), rows]`"""
        columns = inputs.T
        if self.architecture.constant:
            columns = torch.cat([columns, torch.ones_like(columns[:1])])
        return columns.contiguous()

    def forward(self, selection: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
        """Outputs of all instances, differentiable.

        Args:
            selection: V. `[instances, C, choices]`
            weights: `[instances, W]`
            columns: from `columns`. `[sources, rows]`

        Returns:
            `[instances, rows]`
        """
        values = columns.expand(len(selection), -1, -1)
        for stage in self._stages:
            inputs = self._matrix(stage, selection, weights) @ values
            parts = []
            for group in stage.groups:
                arguments = [inputs[:, argument] for argument in group.arguments]
                parts.append(arguments[0] if group.row is None else group.row.torch(torch, *arguments))
            values = torch.cat(parts, dim=1)
        return values[:, 0]

    def _matrix(self, stage: _Stage, selection: Tensor, weights: Tensor) -> Tensor:
        """What takes a layer's sources to its inputs. `[instances, inputs, sources]`"""
        sources = stage.layer.sources
        chosen = selection[:, stage.connections, :sources] * weights[:, stage.connection_weights, None]
        dense = weights[:, stage.dense_weights].reshape(len(weights), stage.layer.sums, sources)
        return torch.cat([chosen, dense], dim=1)

    @torch.no_grad()
    def errors(self, selection: Tensor, weights: Tensor, columns: Tensor, target: Tensor) -> Tensor:
        """Mean absolute errors (eq. 1); arguments as in `measure`. `[instances]`"""
        errors = [
            mean_absolute_error(self.forward(selection[own], weights[own], columns), target)
            for own in self._blocks(len(selection), columns.shape[1])
        ]
        return torch.cat(errors)

    @torch.no_grad()
    def measure(self, selection: Tensor, weights: Tensor, columns: Tensor, target: Tensor) -> Measured:
        """Errors of all instances and their gradients, by hand.

        Args:
            selection: V. `[instances, C, choices]`
            weights: `[instances, W]`
            columns: from `columns`. `[sources, rows]`
            target: `[rows]`
        """
        out = Measured(target.new_empty(len(selection)), torch.empty_like(selection), torch.empty_like(weights))
        for own in self._blocks(len(selection), columns.shape[1]):
            part = Measured(out.errors[own], out.selection_gradient[own], out.weight_gradient[own])
            self._measure(selection[own], weights[own], columns, target, part)
        return out

    def _blocks(self, instances: int, rows: int) -> list[slice]:
        """Instances that go through the network together: as few blocks as the cache allows, of equal size."""
        most = instances if self.device.type == "cuda" else max(1, _BLOCK_VALUES // max(1, rows))
        size = math.ceil(instances / max(1, math.ceil(instances / most)))
        return [slice(first, min(first + size, instances)) for first in range(0, instances, size)]

    def _measure(self, selection: Tensor, weights: Tensor, columns: Tensor, target: Tensor, out: Measured) -> None:
        """Write what is to be known of one block into `out`."""
        space = self._workspace(len(selection), columns.shape[1])
        for stage, passed in zip(self._stages, space.layers, strict=True):
            _fill_matrix(stage, passed, selection, weights)
        values = columns
        for passed in space.layers:
            passed.forward(values)
            values = passed.outputs
        slopes = space.error_slopes
        torch.sub(values[:, 0], target, out=slopes)
        torch.mean(slopes.abs(), dim=-1, out=out.errors)
        slopes.sign_().div_(slopes.shape[1])
        for passed, before in zip(reversed(space.layers), [*reversed(space.layers[:-1]), None], strict=True):
            passed.backward(columns if before is None else before.outputs)
            if before is not None:
                torch.bmm(passed.transposed_matrix, passed.input_slopes, out=before.output_slopes)
        self._gradients(space, selection, weights, out)
        steepest = torch.maximum(out.weight_gradient.abs().amax(), out.errors.amax())
        if not bool(steepest < _STEEPEST):  # also where it is NaN
            _silence(out)

    def _gradients(self, space: _Workspace, selection: Tensor, weights: Tensor, out: Measured) -> None:
        """From slopes for matrices, whose entries are `w V`, to gradients for V and w."""
        for stage, passed in zip(self._stages, space.layers, strict=True):
            passed.selection_slopes.copy_(passed.chosen_slopes)
            if passed.dense_slopes is not None:
                out.weight_gradient[:, stage.dense_weights] = passed.dense_slopes.flatten(1)
        for_connections = torch.linalg.vecdot(space.slopes, selection)
        for stage in self._stages:
            out.weight_gradient[:, stage.connection_weights] = for_connections[:, stage.connections]
        torch.mul(space.slopes, weights[:, self._connection_weights, None], out=out.selection_gradient)

    def _workspace(self, instances: int, rows: int) -> _Workspace:
        key = (instances, rows)
        if key not in self._workspaces:
            if len(self._workspaces) >= 4:  # sizes come and go with tables; a run has one or two
                self._workspaces.clear()
            self._workspaces[key] = _Workspace(self._stages, self.barrier, instances, rows)
        return self._workspaces[key]


def _fill_matrix(stage: _Stage, passed: _Passed, selection: Tensor, weights: Tensor) -> None:
    """`GumbelMaxNetwork._matrix`, into memory that is there."""
    layer = stage.layer
    own = selection[:, stage.connections, : layer.sources]
    torch.mul(own, weights[:, stage.connection_weights, None], out=passed.chosen)
    if passed.dense is not None:
        passed.dense.copy_(weights[:, stage.dense_weights].view(passed.dense.shape))


def _silence(measured: Measured) -> None:
    """Give instances without a finite error inf, and those without usable gradients none."""
    errors, for_choices, for_weights = measured.errors, measured.selection_gradient, measured.weight_gradient
    errors.nan_to_num_(nan=torch.inf, posinf=torch.inf)
    steepest = torch.maximum(for_weights.abs().amax(-1), for_choices.abs().amax((-1, -2)))
    bad = ~((steepest < _STEEPEST) & errors.isfinite())
    for_choices.masked_fill_(bad[:, None, None], 0.0)
    for_weights.masked_fill_(bad[:, None], 0.0)


@dataclass(frozen=True)
class _Nodes:
    """A group's values and slopes: views, made once, since making one costs as much as a small product."""

    row: Operator | None
    arguments: tuple[Tensor, ...]
    argument_slopes: tuple[Tensor, ...]
    outputs: Tensor
    output_slopes: Tensor

    def forward(self) -> None:
        """Outputs of the nodes from their arguments."""
        self.outputs.copy_(self.arguments[0] if self.row is None else self.row.torch(torch, *self.arguments))

    def backward(self) -> None:
        """Slopes for the arguments from those for the outputs."""
        if self.row is None:
            self.argument_slopes[0].copy_(self.output_slopes)
            return
        partials = self.row.partials(torch, self.outputs, *self.arguments)
        for slopes, partial in zip(self.argument_slopes, partials, strict=True):
            torch.mul(self.output_slopes, partial, out=slopes)


class _Passed:
    """What one layer keeps between the passes, for a fixed number of instances and rows.

    Attributes:
        matrix: matrix from sources to inputs; `chosen` is its part for connections, `dense` its part for sums.
            `[instances, inputs, sources]`
        inputs: inputs of the nodes. `[instances, inputs, rows]`
        outputs: outputs of the nodes, the same memory as `inputs` where all nodes return their input.
            `[instances, outputs, rows]`
        matrix_slopes: gradient of the error for `matrix`.
        input_slopes: gradient of the error for `inputs`.
        output_slopes: gradient of the error for `outputs`.
        selection_slopes: memory for the gradient for V of this layer's connections.
    """

    def __init__(self, stage: _Stage, instances: int, rows: int, selection_slopes: Tensor) -> None:
        own, sources = stage.layer.connections, stage.layer.sources
        self.matrix = selection_slopes.new_empty(instances, stage.inputs, sources)
        self.matrix_slopes = torch.empty_like(self.matrix)
        self.transposed_matrix = self.matrix.transpose(1, 2)
        self.chosen, self.chosen_slopes = self.matrix[:, :own], self.matrix_slopes[:, :own]
        self.dense = self.matrix[:, own:] if stage.layer.sums else None
        self.dense_slopes = self.matrix_slopes[:, own:] if stage.layer.sums else None
        self.selection_slopes = selection_slopes[:, stage.connections, :sources]
        self.inputs = selection_slopes.new_empty(instances, stage.inputs, rows)
        self.input_slopes = torch.empty_like(self.inputs)
        self.outputs, self.output_slopes = self.inputs, self.input_slopes
        self.groups: list[_Nodes] = []
        if not stage.passes_on:
            self.outputs = selection_slopes.new_empty(instances, stage.outputs, rows)
            self.output_slopes = torch.empty_like(self.outputs)
            self.groups = [self._nodes(group) for group in stage.groups]

    def _nodes(self, group: _Group) -> _Nodes:
        return _Nodes(
            group.row,
            tuple(self.inputs[:, argument] for argument in group.arguments),
            tuple(self.input_slopes[:, argument] for argument in group.arguments),
            self.outputs[:, group.nodes],
            self.output_slopes[:, group.nodes],
        )

    def forward(self, values: Tensor) -> None:
        """Outputs from the sources, `[instances, sources, rows]` or, the same for all, `[sources, rows]`."""
        if values.ndim == 2:
            torch.mm(self.matrix.flatten(0, 1), values, out=self.inputs.flatten(0, 1))
        else:
            torch.bmm(self.matrix, values, out=self.inputs)
        for nodes in self.groups:
            nodes.forward()

    def backward(self, values: Tensor) -> None:
        """Slopes for the inputs and the matrix, from those for the outputs; sources as in `forward`."""
        for nodes in self.groups:
            nodes.backward()
        if values.ndim == 2:
            torch.mm(self.input_slopes.flatten(0, 1), values.T, out=self.matrix_slopes.flatten(0, 1))
        else:
            torch.bmm(self.input_slopes, values.transpose(1, 2), out=self.matrix_slopes)


class _Workspace:
    """Memory for both passes, allocated once.

    Attributes:
        layers: memory of every layer.
        slopes: gradient of the error for V without the factor w; 0 where there is no source.
            `[instances, C, choices]`
        error_slopes: gradient of the error for the network's output. `[instances, rows]`
    """

    def __init__(self, stages: Sequence[_Stage], barrier: Tensor, instances: int, rows: int) -> None:
        torch.empty(_KEPT_BYTES, dtype=torch.uint8)
        self.slopes = barrier.new_zeros(instances, *barrier.shape)
        self.layers = [_Passed(stage, instances, rows, self.slopes) for stage in stages]
        self.error_slopes = self.layers[-1].output_slopes[:, 0]


def _stages(architecture: Architecture) -> list[_Stage]:
    stages = []
    weight = 0
    for layer in architecture.layers:
        first, own = layer.first_connection, layer.connections
        stages.append(
            _Stage(
                layer=layer,
                connections=slice(first, first + own),
                connection_weights=slice(weight, weight + own),
                dense_weights=slice(weight + own, weight + layer.weights),
                groups=tuple(_groups(layer)),
            )
        )
        weight += layer.weights
    return stages


def _groups(layer: Layer) -> list[_Group]:
    groups = []
    node = 0
    for name, nodes in groupby(layer.nodes):
        count = len(list(nodes))
        firsts = (layer.connections,) if name == SUM else layer.arguments[node]
        row = None if name in (IDENTITY, SUM) else BY_NAME[name]
        groups.append(
            _Group(row, slice(node, node + count), tuple(slice(first, first + count) for first in firsts))
        )
        node += count
    return groups
