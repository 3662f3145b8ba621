"""Thousands of tiny networks trained at once, each to a target of its own: one tensor program.

There are two optimisers. `adam` takes gradient steps with a warm-up and a cosine. `gauss_newton` uses that tiny
networks have few points and more weights than points: the step of Levenberg-Marquardt that changes the weights
least is computed in the space of the points. With the derivatives d_l
`[H, X]` of the output with respect to the inputs of layer l's units, and the outputs a_l `[H, X]` of the layer
before, the matrix of the normal equations is

    K = sum over layers of (d_l' d_l) * (a_l' a_l + 1)          `[X, X]`, elementwise product

(the tangent kernel at the points; the 1 is the biases'), no Jacobian is ever written down, and the step of a
matrix is -(d_l * alpha) a_l' with (K + damping) alpha = residual. Some twenty steps do what 500 of Adam do.

Notation, in shapes: networks N, points X.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from datamodules.zoo.settings import TrainingSettings
from modules.networks.weights.small_networks import ACTIVATIONS, NetworkShape

__all__ = ["chebyshev_points", "initial_weights", "network_r2", "train_networks"]

_aten = torch.ops.aten
_DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # of what follows, the input, the output
    "tanh": lambda follows, before, after: _aten.tanh_backward(follows, after),
    "sigmoid": lambda follows, before, after: _aten.sigmoid_backward(follows, after),
    "relu": lambda follows, before, after: _aten.threshold_backward(follows, before, 0),
    "gelu": lambda follows, before, after: _aten.gelu_backward(follows, before),
    "silu": lambda follows, before, after: _aten.silu_backward(follows, before),
    "softplus": lambda follows, before, after: _aten.softplus_backward(follows, before, 1, 20),
}
_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 0.03, 1e-6, 1e3  # in units of the mean of K's diagonal
_EASES, _TIGHTENS = 0.2, 6.0  # of the damping, after a step that helped, and after one that did not
_WARMUP_SHARE = 0.05  # of Adam's steps
_CONSTANT = 1e-9  # spread, relative to the size, of what does not change

Layers = list[tuple[Tensor, Tensor | None]]


def chebyshev_points(count: int, low: float, high: float) -> Tensor:
    """Points of the fit, denser towards the ends, so that networks do not oscillate between points. `[count]`"""
    angles = (torch.arange(count) + 0.5) * (math.pi / count)
    return 0.5 * (low + high) + 0.5 * (high - low) * torch.cos(angles).flip(0)


def initial_weights(
    shape: NetworkShape, count: int, settings: TrainingSettings, generator: torch.Generator
) -> Tensor:
    """Independent random starts. `[count, P]`"""
    layers: Layers = []
    for inputs, out in zip(shape.widths[:-1], shape.widths[1:], strict=True):
        matrix = torch.randn(count, out, inputs, generator=generator) * (settings.gain / math.sqrt(inputs))
        bias = torch.randn(count, out, generator=generator) * settings.bias_std if shape.biases else None
        layers.append((matrix, bias))
    return shape.join(layers)


def train_networks(
    shape: NetworkShape, start: Tensor, x: Tensor, targets: Tensor, settings: TrainingSettings
) -> Tensor:
    """Train every network on its own target, by mean squared error.

    The result for one network does not depend on the other networks of the batch, up to the last bits.

    Args:
        shape: shape of all networks.
        start: initial weights. `[N, P]`
        x: points, the same ones for all networks. `[X]`
        targets: values that the networks learn. `[N, X]`
        settings: settings of the training.

    Returns:
        The trained weights. `[N, P]`
    """
    train = _gauss_newton if settings.optimizer == "gauss_newton" else _adam
    layers = [(m.contiguous(), None if b is None else b.contiguous()) for m, b in shape.split(start)]
    with torch.no_grad():
        return shape.join(train(shape, layers, x, targets, settings))


def network_r2(shape: NetworkShape, flat: Tensor, x: Tensor, values: Tensor) -> Tensor:
    """R2 of networks against target values; for a constant target, relative to 0 instead of its mean.

    Args:
        shape: shape of all networks.
        flat: weights of the networks. `[N, P]`
        x: points of the comparison. `[X]`
        values: target values at the points. `[N, X]`

    Returns:
        R2 of every network, -inf where it is not finite. `[N]`
    """
    error = (shape.run(flat, x) - values).square().sum(dim=1)
    spread = (values - values.mean(dim=1, keepdim=True)).square().sum(dim=1)
    size = values.square().sum(dim=1)
    r2 = 1.0 - error / torch.where(spread > _CONSTANT * size, spread, size)
    return torch.nan_to_num(r2, nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


# ------------------------------------------------------------------------------------- forwards and backwards


def _forward(shape: NetworkShape, layers: Layers, x: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Inputs of each layer `[N, in, X]`, inputs of each activation `[N, H, X]`, and outputs `[N, X]`."""
    function = ACTIVATIONS[shape.activation]
    states = x.expand(len(layers[0][0]), 1, -1)
    inputs, before = [], []
    for number, (matrix, bias) in enumerate(layers):
        inputs.append(states)
        if number == 0:
            states = matrix * x if bias is None else torch.addcmul(bias[:, :, None], matrix, x)
        else:
            states = torch.bmm(matrix, states) if bias is None else torch.baddbmm(bias[:, :, None], matrix, states)
        if number < shape.layers - 1:
            before.append(states)
            states = function(states)
    return inputs, before, states[:, 0]


def _backward(
    shape: NetworkShape, layers: Layers, inputs: list[Tensor], before: list[Tensor], follows: Tensor
) -> list[Tensor]:
    """`follows [N, X]` times the derivative of the output to each layer's units. `[N, out, X]` each"""
    derivative = _DERIVATIVES[shape.activation]
    signals = [follows[:, None]]
    for number in range(shape.layers - 1, 0, -1):
        matrix = layers[number][0]
        back = matrix.transpose(1, 2) * signals[0] if matrix.shape[1] == 1 else matrix.transpose(1, 2) @ signals[0]
        signals.insert(0, derivative(back, before[number - 1], inputs[number]))
    return signals


def _products(signals: list[Tensor], inputs: list[Tensor], biases: bool) -> Layers:
    """Signals times inputs, summed over the points: gradients, or steps."""
    return [
        (signal @ states.transpose(1, 2), signal.sum(dim=2) if biases else None)
        for signal, states in zip(signals, inputs, strict=True)
    ]


# --------------------------------------------------------------------------------------------- the optimisers


def _gauss_newton(
    shape: NetworkShape, layers: Layers, x: Tensor, targets: Tensor, settings: TrainingSettings
) -> Layers:
    damping = targets.new_full((len(targets),), _DAMPING)
    inputs, before, outputs = _forward(shape, layers, x)
    residual = outputs - targets
    error = residual.square().sum(dim=1)
    identity = torch.eye(len(x))
    for _ in range(settings.steps):
        signals = _backward(shape, layers, inputs, before, torch.ones_like(residual))
        kernel = torch.zeros(len(targets), len(x), len(x))
        for signal, states in zip(signals, inputs, strict=True):
            kernel += _gram(signal) * (_gram(states) + float(shape.biases))
        scale = kernel.diagonal(dim1=1, dim2=2).mean(dim=1) * damping
        factor, failed = torch.linalg.cholesky_ex(kernel + scale[:, None, None] * identity)
        alpha = torch.cholesky_solve(residual[:, :, None], factor)[:, :, 0]
        steps = _products([signal * alpha[:, None] for signal in signals], inputs, shape.biases)
        tried: Layers = [
            (m - dm, None if b is None or db is None else b - db)
            for (m, b), (dm, db) in zip(layers, steps, strict=True)
        ]
        new_inputs, new_before, outputs = _forward(shape, tried, x)
        new_residual = outputs - targets
        new_error = new_residual.square().sum(dim=1)
        better = (new_error < error) & (failed == 0)  # False for what is not finite
        damping = torch.where(better, damping * _EASES, damping * _TIGHTENS).clamp_(_LEAST_DAMPING, _MOST_DAMPING)
        layers = [
            (_taken(better, a, m), None if c is None or b is None else _taken(better, c, b))
            for (a, c), (m, b) in zip(tried, layers, strict=True)
        ]
        inputs = [inputs[0], *(_taken(better, a, b) for a, b in zip(new_inputs[1:], inputs[1:], strict=True))]
        before = [_taken(better, a, b) for a, b in zip(new_before, before, strict=True)]
        residual, error = _taken(better, new_residual, residual), _taken(better, new_error, error)
    return layers


def _gram(states: Tensor) -> Tensor:
    """`[N, H, X] -> [N, X, X]`"""
    if states.shape[1] == 1:
        return states.transpose(1, 2) * states
    return states.transpose(1, 2) @ states


def _taken(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)


def _adam(shape: NetworkShape, layers: Layers, x: Tensor, targets: Tensor, settings: TrainingSettings) -> Layers:
    parameters = [torch.nn.Parameter(part) for layer in layers for part in layer if part is not None]
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)
    steps, warmup = settings.steps, max(1, round(_WARMUP_SHARE * settings.steps))
    for step in range(steps):
        rate = min(1.0, (step + 1) / warmup) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = settings.learning_rate * rate
        inputs, before, outputs = _forward(shape, layers, x)
        follows = (outputs - targets) * (2.0 / len(x))
        signals = _backward(shape, layers, inputs, before, follows)
        gradients = _products(signals, inputs, shape.biases)
        flat_gradients = [gradient for pair in gradients for gradient in pair if gradient is not None]
        for parameter, gradient in zip(parameters, flat_gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    return layers
