"""The parent network: how it is called on a batch, and its loss, with its own blocks or with equations in it."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillation.blocks.layout import Layout, tensors_in
from distillation.parent.batches import on_device
from foundation.errors import UserError

__all__ = ["FunctionNetwork", "Parent", "copied", "undisturbed_draws"]

Loss = Callable[..., Any]
"""Function of the outputs and the targets of a batch; what it returns is one number."""
Step = Callable[[nn.Module, Any], Any]
"""Function of a network and a batch that returns the loss, or a mapping that holds it as `loss`."""


class FunctionNetwork(nn.Module):
    """A function of tensors as a network without parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return self.function(*args, **kwargs)


def copied(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode, which shares nothing with it.

    Raises:
        UserError: it cannot be copied.
    """
    try:
        return copy.deepcopy(network).eval()
    except Exception as error:  # whatever the classes of others raise
        raise UserError(
            f"the model cannot be copied ({type(error).__name__}: {str(error)[:100]}): give one that "
            "copy.deepcopy copies"
        ) from error


@contextmanager
def undisturbed_draws() -> Iterator[None]:
    """Give all global random generators back as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class Parent:
    """A network as it is called in training.

    A batch is what the network is called with. Of a tuple or a list, the first entries are its arguments, as many
    as `forward` needs, and the others are targets; of a mapping, those are arguments whose names `forward` has.

    The loss is that of `step`, or `loss(outputs, *targets)`; where a batch has no targets, its inputs are, as of
    an autoencoder. Without either, it is the mean squared error to a target of the shape of the outputs; and where
    there is none, the share of the variance of the network's own outputs that is not met, which is 0 for itself.

    Args:
        network: network in evaluation mode, which is not changed.
        judge: batches on which losses are computed.
        loss: function of outputs and targets.
        step: function of a network and a batch.

    Raises:
        UserError: the network cannot be called with the first batch.
    """

    def __init__(
        self, network: nn.Module, judge: Sequence[Any], *, loss: Loss | None = None, step: Step | None = None
    ) -> None:
        self.network, self.loss, self.step = network, loss, step
        first = next(network.parameters(), next(network.buffers(), torch.empty(0)))
        self.device = first.device
        self.judge = [on_device(batch, self.device) for batch in judge]
        self._own = [self._outputs(network, batch) for batch in self.judge]
        self.measures_itself = loss is None and step is None and not self._has_targets()

    @property
    def loss_words(self) -> str:
        """Description of the loss."""
        if self.measures_itself:
            return "share of the variance of the model's outputs that is missed"
        if self.step is not None or self.loss is not None:
            return "loss of the model"
        return "mean squared error of the model"

    def call(self, network: nn.Module, batch: Any) -> Any:
        """The outputs of a network for a batch."""
        args, kwargs, _ = self._parts(batch)
        return network(*args, **kwargs)

    def targets(self, batches: Sequence[Any], layout: Layout) -> tuple[np.ndarray, np.ndarray] | None:
        """Rows of the whole network, `[rows, features]`, and its targets there, `[rows, outputs]`.

        Args:
            batches: batches to look at.
            layout: shapes of the tensors that go into the network, and of those that come out.

        Returns:
            None where batches have no target of the shape of the outputs.
        """
        inputs, targets = [], []
        for batch in batches:
            args, kwargs, found = self._parts(batch)
            given = list(tensors_in([args, kwargs]))
            leading = layout.leading(given)
            rows = int(np.prod(leading))
            if len(found) != 1 or not found[0].is_floating_point() or found[0].numel() != rows * layout.width:
                return None
            inputs.append(layout.rows(given).double().cpu().numpy())
            targets.append(found[0].reshape(rows, layout.width).double().cpu().numpy())
        return np.concatenate(inputs), np.concatenate(targets)

    def losses(self, network: nn.Module) -> float:
        """Mean loss over the batches that judge, weighted by their rows.

        Args:
            network: copy of the parent, with equations in the place of some blocks.
        """
        if self.measures_itself:
            return self._share_missed(network)
        found = [self._loss(network, batch) for batch in self.judge]
        weights = [max((len(each) for each in tensors_in(batch) if each.ndim), default=1) for batch in self.judge]
        return float(np.average(found, weights=weights))

    def _loss(self, network: nn.Module, batch: Any) -> float:
        if self.step is not None:
            with torch.enable_grad():  # a loss may hold derivatives
                found = self.step(network, batch)
        else:
            _, _, targets = self._parts(batch)
            with torch.no_grad():
                outputs = self.call(network, batch)
                found = (self.loss or nn.functional.mse_loss)(outputs, *(targets or list(tensors_in(batch))))
        found = found["loss"] if isinstance(found, Mapping) else found
        if not isinstance(found, Tensor | float) or (isinstance(found, Tensor) and found.numel() != 1):
            raise UserError(f"the loss is of type {type(found).__name__}: it must be one number")
        return float(found.detach() if isinstance(found, Tensor) else found)

    def _share_missed(self, network: nn.Module) -> float:
        own = torch.cat([each.flatten() for each in self._own])
        with torch.no_grad():
            other = torch.cat([self._outputs(network, batch).flatten() for batch in self.judge])
        centred = own - own.mean()
        scatter = float(centred.square().sum())
        missed = float((other - own).square().sum())
        return missed / scatter if scatter > 0 else missed

    def _outputs(self, network: nn.Module, batch: Any) -> Tensor:
        """All outputs in one row of float64."""
        with torch.no_grad():
            found = [each.detach().double().flatten() for each in tensors_in([self.call(network, batch)])]
        return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)

    def _has_targets(self) -> bool:
        """Whether every batch has one target, of the shape of the outputs."""
        for batch, own in zip(self.judge, self._own, strict=True):
            targets = self._parts(batch)[2]
            if len(targets) != 1 or not targets[0].is_floating_point() or targets[0].numel() != own.numel():
                return False
        return True

    def _parts(self, batch: Any) -> tuple[list[Any], dict[str, Any], list[Any]]:
        """Arguments by place and by name, and targets."""
        names, needed = _arguments(self.network)
        if isinstance(batch, Mapping):
            known = {name: each for name, each in batch.items() if name in names}
            if not known:
                return [batch], {}, []
            return [], known, [each for name, each in batch.items() if name not in names]
        if isinstance(batch, tuple | list) and not hasattr(batch, "_fields"):
            count = min(needed, len(batch)) if needed else len(batch)
            return list(batch[:count]), {}, list(batch[count:])
        return [batch], {}, []


def _arguments(network: nn.Module) -> tuple[set[str], int]:
    """Names of the arguments of a network, and how many it needs by place; 0: as many as there are."""
    function = network.function if isinstance(network, FunctionNetwork) else network.forward
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a compiled function
        return set(), 1
    by_place = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in by_place)
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        # A chain of layers takes one; of a network that takes any number, the last entry is the target.
        needed = max(needed, 1)
    return {each.name for each in parameters if each.kind is not each.VAR_POSITIONAL}, max(needed, 1)
