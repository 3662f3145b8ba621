"""Any trained network of PyTorch into equations, judged by the loss of the network that its blocks are in.

1. What goes into the blocks and what comes out is recorded over all batches (`distillation.blocks.recording`).
2. Equations of every output are searched on three batches of four (`distillation.fitting`).
3. On the others, the loss of the whole network chooses (`distillation.choosing`).
4. Constants get intervals, and lose the digits that the loss does not need (`DistillationReport.read_back`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from distillation.blocks.recording import Recording, called, named_blocks, record
from distillation.blocks.replacing import with_blocks
from distillation.blocks.slopes import rows_function, slopes_of
from distillation.choosing.greedy import Choice, ChosenBlock, Rivals, choose
from distillation.choosing.law import MOST_OUTPUTS, probability_of_law
from distillation.choosing.sizes import shared_size
from distillation.fitting.blocks import forms_of
from distillation.fitting.constants import Evidence
from distillation.fitting.factors import mixed
from distillation.fitting.outputs import Table, error_of
from distillation.parent.batches import batches_of, on_device
from distillation.parent.judge import FunctionNetwork, Parent, copied, undisturbed_draws
from distillation.parent.network_files import guessed_equations, network_in_file
from distillation.questions.answers import Answers
from distillation.report import BlockEquations, DistillationReport, OutputEquation
from expressions.complexity import complexity
from expressions.expression import Expression
from foundation.errors import UserError
from foundation.settings import processes_rule
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.pareto_front import Candidate
from searches.portfolio import PortfolioSettings

__all__ = ["DistillationReport", "distill", "report_of"]

LEAST_SECONDS = 1.0
"""Shortest budget."""
_COMPARED, _SAME = 64, 1e-4  # rows of which a block is asked again, and how far it may be off by rounding
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
        network = copied(given)
        split = batches_of(data, seed=seed)
        parent = Parent(network, split.judge, loss=loss, step=step)
        named = named_blocks(network, blocks)
        searched, judging = (
            record(
                named,
                [on_device(each, parent.device) for each in part],
                lambda batch: parent.call(network, batch),
                seed=seed,
            )
            for part in (split.search, split.judge)
        )
        ends = begun + (1.0 - _CHOICE_SHARE) * seconds
        rivals = _rivals(named, parent, searched, judging, settings, ends, seed, workers, ask, guesses)
        ends = begun + (1.0 - _CONSTANTS_SHARE) * seconds
        choice = choose(parent, rivals, tolerance=tolerance, seconds=ends - time.perf_counter())
    report = report_of(network, parent, split.search, judging, choice, split.notes)
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
    blocks: Mapping[str, nn.Module],
    parent: Parent,
    searched: Mapping[str, Recording],
    judging: Mapping[str, Recording],
    settings: PortfolioSettings,
    ends: float,
    seed: int,
    workers: int,
    ask: bool,
    guesses: Sequence[Expression],
) -> dict[str, list[Rivals]]:
    """Equations of all blocks: time is shared by their numbers of outputs."""
    found: dict[str, list[Rivals]] = {}
    outputs = {name: each.layout.width for name, each in searched.items()}
    for name, recording in searched.items():
        _check(name, recording, judging[name])
        left = {other: count for other, count in outputs.items() if other not in found}
        table = Table(recording.inputs, recording.outputs, judging[name].inputs, judging[name].outputs)
        forms = forms_of(
            table,
            settings,
            slopes_of(blocks[name], recording.layout, parent.device),
            seconds=outputs[name] / sum(left.values()) * (ends - time.perf_counter()),
            seed=seed,
            workers=workers,
            answers=_answers(blocks[name], recording, parent.device) if ask else None,
            guesses=() if name else guesses,
        )
        found[name] = [
            Rivals(recording.layout, tuple(fronts), torch.float32, None if whole is None else _mixing(whole))
            for fronts, whole in forms
        ]
    return found


def _answers(block: nn.Module, recording: Recording, device: torch.device) -> Answers | None:
    """What a block says of rows; None where it does not say of single rows what it did in its network."""
    answers = Answers(rows_function(block, recording.layout), device=device)
    some = slice(0, _COMPARED)
    try:
        again = answers(recording.inputs[some])
    except Exception:  # of a block that takes more than rows
        return None
    size = np.abs(recording.outputs[some]).max()
    return answers if np.abs(again - recording.outputs[some]).max() <= _SAME * size else None


def _mixing(table: Table) -> Callable[[Sequence[Expression]], list[Expression]]:
    """A function that makes equations of outputs of those of their factors."""
    return lambda equations: mixed(equations, table).outputs()


def _check(name: str, searched: Recording, judging: Recording) -> None:
    if searched.layout != judging.layout:
        raise UserError(f"{called(name)} is called with tensors of other shapes in some batches: give equal ones")
    if len(searched.inputs) < 2:
        raise UserError(f"{called(name)} has {len(searched.inputs)} rows to search on: give more data")


def report_of(
    network: nn.Module,
    parent: Parent,
    batches: Sequence[Any],
    judging: Mapping[str, Recording],
    choice: Choice,
    notes: tuple[str, ...],
) -> DistillationReport:
    """The report of a choice, whose blocks are replaced in the network; its time is not told yet.

    Args:
        network: copy of the model, which is changed.
        parent: judge of it.
        batches: batches that were searched on.
        judging: rows that judged, of every block.
        choice: what was chosen.
        notes: one sentence for what is not as it was asked for.
    """
    blocks = []
    for name, decided in choice.blocks.items():
        table = None if name else parent.targets(batches, decided.rivals.layout)
        blocks.append(_block(name, judging[name], decided, table))
    modules: dict[str, nn.Module] = {
        each.name: each.module().to(parent.device) for each in blocks if each.replaced
    }
    return DistillationReport(
        blocks=tuple(blocks),
        loss_before=choice.before,
        loss_after=choice.after,
        loss_limit=choice.limit,
        loss_words=parent.loss_words,
        seconds=0.0,
        notes=notes,
        module=with_blocks(network, modules),
        evidence=Evidence(parent, judging),
    )


def _block(
    name: str, judging: Recording, decided: ChosenBlock, table: tuple[np.ndarray, np.ndarray] | None
) -> BlockEquations:
    """What the report says of a block.

    Args:
        name: name of the block.
        judging: rows that judge.
        decided: its equations.
        table: inputs and targets of the whole model; None: the block is not all of it, or there are no targets.
    """
    rivals = decided.rivals
    fronts: Sequence[Sequence[Candidate]] = [()] * len(decided.expressions)
    if rivals.mix is None:
        fronts = [front.candidates for front in rivals.fronts]
    outputs = tuple(
        OutputEquation(
            expression,
            complexity(expression),
            1.0 - error_of(judging.outputs[:, place], expression, judging.inputs),
            None if table is None else _probability(expression, front, place, table),
            tuple((each.expression, each.complexity, 1.0 - each.validation_nmse) for each in front),
        )
        for place, (expression, front) in enumerate(zip(decided.expressions, fronts, strict=True))
    )
    return BlockEquations(
        name=name,
        layout=rivals.layout,
        outputs=outputs,
        replaced=decided.replaced,
        loss_alone=decided.loss_alone,
        size=shared_size(decided.expressions),
        dtype=rivals.dtype,
    )


def _probability(
    expression: Expression, front: Sequence[Candidate], place: int, table: tuple[np.ndarray, np.ndarray]
) -> float | None:
    inputs, targets = table
    if targets.shape[1] > MOST_OUTPUTS:
        return None
    return probability_of_law(expression, [each.expression for each in front], inputs, targets[:, place])
