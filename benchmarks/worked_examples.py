"""Suite `worked`: networks of physics as equations, from the training of the network to the fine-tuned formula.

`springs` and `inverse_square`: a network of messages learns how four particles move (`benchmarks.particles`). Its
block `edge` is written as equations; these are linear in the components of the true force, if what is said about
such networks is true. `oscillator`: a physics-informed network of a damped oscillator (`benchmarks.oscillator`);
its block `motion` is written as an equation, and damping and frequency are read from it.

The budget of the search is seconds of the processor. Losses are on batches that neither training nor search has
seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record
from benchmarks.particles import FORCES
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, number, status_note
from benchmarks.suites import Suite
from expressions.expression import Expression

_SCENES, _FRESH_SCENES = 3_000, 500
_TOLERANCE = 0.01
_EXACT = (
    1e-6  # normalised error that an equation of the law's form leaves, once its constants are fitted to the law
)
_REPEATS = 15


def run(cell: Cell) -> dict[str, Any]:
    """Train a network, write its block as equations, and train their constants for an epoch."""
    import distillation.distilling  # noqa: F401  # before its modules get another clock
    from benchmarks.processor_clock import count_processor_seconds

    count_processor_seconds()
    return _oscillator(cell) if cell.problem == "oscillator" else _particles(cell)


def _particles(cell: Cell) -> dict[str, Any]:
    import torch

    from benchmarks.particles import edges, learned, scenes

    begun = time.process_time()
    data = scenes(cell.problem, _SCENES, seed=cell.seed)
    network = learned(data, steps=int(cell.settings["steps"]), seed=cell.seed)
    trained = time.process_time() - begun
    others = scenes(cell.problem, _FRESH_SCENES, seed=cell.seed + 1_000)
    batches, judges = (
        list(zip(each.places.split(100), each.accelerations.split(100), strict=True)) for each in (data, others)
    )

    def loss(model: Any, batch: Any) -> Any:
        return torch.nn.functional.mse_loss(model(batch[0]), batch[1])

    fresh = edges(others.places).reshape(-1, 3)
    found = _distilled(network, "edge", (batches, judges), loss, fresh, cell)
    table = fresh.double().numpy()
    force = FORCES[cell.problem](table[:, 2])[:, None] * table[:, :2]
    with torch.no_grad():
        messages = network.edge(fresh).double().numpy()
    equations = found.pop("equations")
    values = np.column_stack([np.broadcast_to(each(table), len(table)) for each in equations])
    return {
        **found,
        "training_seconds": trained,
        "network_linear_r2": _linear_r2(force, messages),
        "linear_r2": _linear_r2(force, values),
        "force_r2": _linear_r2(values, force),
        "of_the_law": [_has_form(each, table, force) for each in equations],
    }


def _oscillator(cell: Cell) -> dict[str, Any]:
    import torch

    from benchmarks.oscillator import learned, physical_loss, random_motion

    begun = time.process_time()
    motion = random_motion(seed=cell.seed)
    noise = float(cell.settings["noise"])
    network, batches = learned(motion, noise=noise, steps=int(cell.settings["steps"]), seed=cell.seed)
    trained = time.process_time() - begun
    times = torch.linspace(0.0, 6.0, 2_000)[:, None]
    found = _distilled(network, "motion", (batches[:-2], batches[-2:]), physical_loss, times, cell)
    [equation] = found.pop("equations")
    table = times.double().numpy()
    place = motion(table[:, 0])
    values = np.broadcast_to(equation(table), len(table))
    damping, frequency = _parameters(equation, table)
    return {
        **found,
        "training_seconds": trained,
        "solution_r2": float(1.0 - np.mean((values - place) ** 2) / place.var()),
        "of_the_law": [_fits(equation, table, place)],
        "damping_error": abs(damping / motion.damping - 1.0),
        "frequency_error": abs(frequency / motion.frequency - 1.0),
        "network_damping_error": abs(network.damping / motion.damping - 1.0),
        "network_frequency_error": abs(network.frequency / motion.frequency - 1.0),
    }


def _distilled(
    network: Any,
    block: str,
    batches: tuple[Sequence[Any], Sequence[Any]],
    loss: Callable[[Any, Any], Any],
    rows: Any,
    cell: Cell,
) -> dict[str, Any]:
    """What every example measures: losses, sizes and times; and the equations, under `equations`."""
    from distillation.blocks.replacing import with_blocks
    from distillation.distilling import distill
    from distillation.parent.judge import copied
    from modules.fine_tuning import fine_tune

    begun = time.process_time()
    report = distill(
        network,
        batches[0],
        blocks=[block],
        step=loss,
        seconds=float(cell.settings["seconds"]),
        tolerance=_TOLERANCE,
        seed=cell.seed,
    )
    searched = time.process_time() - begun
    [own] = report.blocks
    formulas = own.module().eval()
    whole = with_blocks(copied(network), {block: formulas})
    tuned = fine_tune(whole, loss, *batches)
    before, after = (_milliseconds(each, rows) for each in (network.get_submodule(block), formulas))
    return {
        "equations": formulas.equations(),
        "formulas": [each.infix() for each in formulas.equations()],
        "nodes": sum(each.complexity for each in own.outputs),
        "r2": min(each.r2 for each in own.outputs),
        "replaced": own.replaced,
        "loss_before": _loss(network, loss, batches[1]),
        "loss_after": tuned.before,
        "loss_tuned": tuned.after,
        "block_milliseconds": before,
        "equations_milliseconds": after,
        "search_seconds": searched,
    }


def _loss(network: Any, loss: Callable[[Any, Any], Any], batches: Sequence[Any]) -> float:
    return float(np.mean([float(loss(network, batch).detach()) for batch in batches]))


def _milliseconds(module: Any, rows: Any) -> float:
    """Median time of the processor for a call."""
    import torch

    times = []
    with torch.inference_mode():
        for _ in range(_REPEATS):
            begun = time.process_time()
            module(rows)
            times.append(time.process_time() - begun)
    return 1e3 * median(times[1:])


def _linear_r2(causes: np.ndarray, values: np.ndarray) -> float:
    """Lowest R2 of the columns of `values` as linear functions of those of `causes`, both `[rows, columns]`."""
    design = np.column_stack([causes, np.ones(len(causes))])
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(np.min(1.0 - left.var(axis=0) / values.var(axis=0)))


def _has_form(equation: Expression, table: np.ndarray, force: np.ndarray) -> bool:
    """Whether an equation's constants can be chosen so that it is a linear function of the force's components."""
    values = np.broadcast_to(equation(table), len(table))
    design = np.column_stack([force, np.ones(len(force))])
    return _fits(equation, table, design @ np.linalg.lstsq(design, values, rcond=None)[0])


def _fits(equation: Expression, table: np.ndarray, target: np.ndarray) -> bool:
    from expressions.constant_fitting import fit_constants

    rows = slice(None, None, max(1, len(table) // 2_000))
    error = fit_constants([equation], table[rows], target[rows], iterations=50).errors[0]
    return bool(error < _EXACT * target.var())


def _parameters(equation: Expression, table: np.ndarray) -> tuple[float, float]:
    """Damping and frequency of the differential equation that a motion obeys best, by least squares."""
    step = 1e-3
    before, now, after = (np.broadcast_to(equation(table + shift), len(table)) for shift in (-step, 0.0, step))
    speed, acceleration = (after - before) / (2 * step), (after - 2 * now + before) / step**2
    design = np.column_stack([2.0 * speed, now])
    damping, stiffness = np.linalg.lstsq(design, -acceleration, rcond=None)[0]
    return float(damping), float(np.sqrt(max(stiffness, 0.0)))


def report(records: Sequence[Record]) -> Report:
    """Medians over the seeds, and what was found."""
    rows, notes = [], []
    for (problem,), found in group(records, lambda record: (record.cell.problem,)).items():
        results = [record.result for record in good(found)]
        form = [all(each["of_the_law"]) for each in results]
        truth: list[Any] = [each.get("force_r2", each.get("solution_r2")) for each in results]
        rows.append(
            [
                problem,
                status_note(found) or f"{sum(each['replaced'] for each in results)} of {len(results)}",
                f"{sum(form)} of {len(results)}",
                decimals(min(truth, default=float("nan")), 5),
                number(median(each["loss_after"] / each["loss_before"] for each in results)),
                number(median(each["loss_tuned"] / each["loss_before"] for each in results)),
                decimals(median(each["nodes"] for each in results), 0),
                number(median(each["block_milliseconds"] / each["equations_milliseconds"] for each in results)),
                number(median(each["training_seconds"] for each in results)),
                number(median(each["search_seconds"] for each in results)),
            ]
        )
        notes += [
            f"{problem}, seed {record.cell.seed}: {'; '.join(record.result['formulas'])}" for record in good(found)
        ]
        errors: list[Any] = [(each.get("damping_error"), each.get("frequency_error")) for each in results]
        if errors and errors[0][0] is not None:
            worst = [max(each) for each in zip(*errors, strict=True)]
            notes.append(f"{problem}: damping within {worst[0]:.2%}, frequency within {worst[1]:.2%} of the truth")
    columns = [
        "network",
        "replaced",
        "form of the law",
        "lowest R2 to truth",
        "loss, times",
        "after an epoch",
        "nodes",
        "times faster",
        "training s",
        "search s",
    ]
    return Report([Grid("Networks of physics as equations", columns, rows)], [*notes, *failures(records)])


SUITE = Suite(
    name="worked",
    summary="networks of messages between particles, and one of an oscillator, as equations",
    methods=("distill",),
    seeds=(1, 2, 3, 4, 5),
    settings={"seconds": 60.0, "steps": 3_000, "noise": 0.002},
    problems=lambda settings: [*FORCES, "oscillator"],
    estimate=lambda cell: 100.0 + float(cell.settings["seconds"]),
    run=run,
    report=report,
)
