"""Any trained network of PyTorch into equations, judged by the loss of the network that its blocks are in.

1. What goes into the blocks and what comes out is recorded over all batches (`distillation.preparation`).
2. Equations of every output are searched on three batches of four (`distillation.fitting`).
3. On the others, the loss of the whole network chooses (`distillation.choosing`).
4. Constants get intervals, and lose the digits that the loss does not need (`DistillationReport.read_back`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from distillation.blocks.recording import named_blocks
from distillation.choosing.greedy import Rivals
from distillation.fitting.blocks import search_forms
from distillation.parent.batches import batches_of
from distillation.parent.judge import FunctionNetwork, undisturbed_draws
from distillation.parent.network_files import guessed_equations, network_in_file
from distillation.preparation import Preparation
from distillation.report import DistillationReport
from expressions.expression import Expression
from foundation.errors import UserError
from foundation.settings import processes_rule
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.portfolio import PortfolioSettings

__all__ = ["DistillationReport", "distill"]

LEAST_SECONDS = 1.0
"""Shortest budget."""
_CHOICE_SHARE = 0.1  # of the time, for the choice between equations, and for their constants
_CONSTANTS_SHARE = 0.05  # at least, also where the rest took too long


def distill(
    model: nn.Module | Callable[..., Any] | str | Path,
    data: Any,
    blocks: Sequence[str] | None = None,
    *,
    loss: Callable[..., Any] | None = None,
    step: Callable[[nn.Module, Any], Any] | None = None,
    seconds: float = 60.0,
    tolerance: float = 0.01,
    operators: Sequence[str] | None = None,
    workers: int = 1,
    ask: bool = True,
    activation: str = "tanh",
    seed: int = 0,
) -> DistillationReport:
    """Equations that can stand in the place of blocks of a trained network.

    The model is copied: its modes, buffers, gradients and hooks stay as they are, and so do the states of the
    global random generators.

    Example:
        ```python
        report = distill(model, loader, blocks=["encoder"], loss=torch.nn.functional.mse_loss, seconds=60)
        print(report)
        ```

    Args:
        model: trained network, a function of tensors, or the path of a file with the weights of linear layers
            (ONNX, safetensors, a state dict that torch saved, npz), which are the blocks `0`, `2`, …
        data: batches that it is called with, see `distillation.parent.batches.batches_of`. What of a batch goes
            into the model, and what is a target, is said in `distillation.parent.judge.Parent`.
        blocks: names of the blocks to explain, as `model.named_modules()` has them; None: the whole model.
        loss: function of outputs and targets that judges, such as `torch.nn.functional.mse_loss`; None: the
            squared error to the target, or to the model's own outputs where there is none.
        step: function of a model and a batch that returns the loss, in the place of `loss`.
        seconds: budget by the clock, everything included.
        tolerance: rise of the loss that equations may cost, relative to its size.
        operators: names of the operators that equations may hold; None: the default ones.
        workers: number of processes.
        ask: whether the network is asked for more than its data say.
        activation: name of the activation between the layers of a file that does not say it.
        seed: random seed.

    Returns:
        The equations of every block, and the loss before and after.

    Raises:
        foundation.errors.UserError: a block does not exist or cannot be written as equations, the data hold no
            batches, or an argument is not allowed.
    """
    begun = time.perf_counter()
    settings = _settings(seconds, tolerance, operators, workers, seed)
    if loss is not None and step is not None:
        raise UserError("loss and step are both given: give one of them, step computes the loss by itself")
    given = _network(model, activation)
    named_blocks(given, blocks)  # a mistake is told before anything is copied
    with undisturbed_draws():
        guesses = guessed_equations(model, activation) if isinstance(model, str | Path) else []
        split = batches_of(data, seed=seed)
        prepared = Preparation(
            given, split.search, split.judge, blocks, loss=loss, step=step, seed=seed, ask=ask, notes=split.notes
        )
        ends = begun + (1.0 - _CHOICE_SHARE) * seconds
        rivals = _rivals(prepared, settings, ends, seed, workers, guesses)
    ends = begun + (1.0 - _CONSTANTS_SHARE) * seconds
    report = prepared.report(rivals, tolerance=tolerance, seconds=ends - time.perf_counter())
    left = begun + seconds - time.perf_counter()
    report = report.read_back(seconds=max(left, _CONSTANTS_SHARE * seconds))
    return replace(report, seconds=time.perf_counter() - begun)


def _network(model: nn.Module | Callable[..., Any] | str | Path, activation: str) -> nn.Module:
    if isinstance(model, str | Path):
        return network_in_file(model, activation)
    if isinstance(model, nn.Module):
        return model
    if not callable(model):
        raise UserError(f"a model of type {type(model).__name__} cannot be called: give a torch.nn.Module")
    return FunctionNetwork(model)


def _settings(
    seconds: float, tolerance: float, operators: Sequence[str] | None, workers: int, seed: int
) -> PortfolioSettings:
    if not LEAST_SECONDS <= seconds < math.inf:
        raise UserError(f"seconds={seconds:g} is not allowed: give at least {LEAST_SECONDS:g}")
    if not 0 <= tolerance < math.inf:
        raise UserError(f"tolerance={tolerance:g} is not allowed: give a share of the loss such as 0.01")
    if not processes_rule().allows(workers):
        raise UserError(f"workers={workers} is not allowed: it must be {processes_rule().words}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed={seed} is not allowed: it must be a whole number, at least 0")
    return PortfolioSettings(
        operators=DEFAULT_OPERATORS if operators is None else tuple(operators),
        seconds=seconds,
        simplify_seconds=min(1.0, 0.02 * seconds),
    )


def _rivals(
    prepared: Preparation,
    settings: PortfolioSettings,
    ends: float,
    seed: int,
    workers: int,
    guesses: Sequence[Expression],
) -> dict[str, list[Rivals]]:
    """Equations of all blocks: time is shared by their numbers of outputs."""
    found: dict[str, list[Rivals]] = {}
    outputs = {name: each.outputs.shape[1] for name, each in prepared.tables.items()}
    for name in outputs:
        left = {other: count for other, count in outputs.items() if other not in found}
        forms = search_forms(
            prepared.forms(name),
            settings,
            seconds=outputs[name] / sum(left.values()) * (ends - time.perf_counter()),
            seed=seed,
            workers=workers,
            guesses=() if name else guesses,
        )
        found[name] = [prepared.rivals(name, form, fronts) for form, fronts in forms]
    return found
