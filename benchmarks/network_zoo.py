"""Suite `zoo`: how many small networks a CPU-second trains, all at once and one by one.

Every method trains 1-8-7-8-1 networks to the equations of the zoo, drawn uniformly by length. What counts is how
many reach R2 0.999 over the whole range, a CPU-second of the training alone.

- `gauss_newton`: the zoo's own way, with its further passes for networks below the floor.
- `adam`: Adam on all networks at once, `adam_steps` steps.
- `one_by_one`: a loop over `torch.nn.Sequential`, each trained by Adam (learning rate 0.02, warm-up and cosine, on
  the same points) for `adam_steps` steps; `single` of them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import Cell, Record
from benchmarks.report import Grid, Report, failures, good, group, median, number, status_note
from benchmarks.suites import Suite

if TYPE_CHECKING:
    from torch import Tensor

    from datamodules.zoo.settings import ZooSettings

METHODS = ("gauss_newton", "adam", "one_by_one")
ACTIVATIONS = ("tanh", "gelu", "relu")
_RATE, _WARMUP = 0.02, 0.05
_GOOD = 0.999


def run(cell: Cell) -> dict[str, Any]:
    """Train, and count."""
    import torch

    from datamodules.zoo.equations import draw_equations
    from datamodules.zoo.network_zoo import trained
    from datamodules.zoo.settings import ZooSettings

    training: dict[str, Any] = {}
    if cell.method == "adam":
        steps = int(cell.settings["adam_steps"])
        training = {"optimizer": "adam", "steps": steps, "learning_rate": _RATE, "gain": 1.5, "passes": 1}
    settings = ZooSettings(activation=cell.problem, train_points=32 if cell.problem == "relu" else 16, **training)
    count = int(cell.settings["single" if cell.method == "one_by_one" else "networks"])
    ids = draw_equations(settings, "train", count, np.random.default_rng(cell.seed))
    coefficients = torch.from_numpy(settings.vocabulary.coefficients(ids))
    began = time.process_time()
    if cell.method == "one_by_one":
        torch.manual_seed(cell.seed)
        r2 = torch.cat([_single(settings, row, int(cell.settings["adam_steps"])) for row in coefficients.split(1)])
    else:
        _, r2 = trained(settings, coefficients, torch.Generator().manual_seed(cell.seed))
    seconds = time.process_time() - began
    return {
        "networks": count,
        "seconds": seconds,
        "good": int((r2 >= _GOOD).sum()),
        "r2_median": float(r2.median()),
    }


def _single(settings: ZooSettings, coefficients: Tensor, steps: int) -> Tensor:
    """R2 of one network, trained as anybody would. `[1]`"""
    import torch
    from torch import nn

    from datamodules.zoo.equations import equation_values
    from datamodules.zoo.network_training import chebyshev_points, network_r2

    activation = {"tanh": nn.Tanh, "gelu": nn.GELU, "relu": nn.ReLU}[settings.shape.activation]
    layers: list[nn.Module] = []
    for before, behind in itertools.pairwise(settings.shape.widths):
        layers += [nn.Linear(before, behind), activation()]
    network = nn.Sequential(*layers[:-1])
    x, compared = chebyshev_points(settings.train_points, -1.0, 1.0), torch.linspace(-1, 1, 64)
    target = (equation_values(settings.vocabulary, coefficients, x) / settings.scale).float().T
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE, betas=(0.9, 0.95))
    for step in range(steps):
        rate = min(1.0, (step + 1) / (_WARMUP * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = _RATE * rate
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x[:, None]), target).backward()
        optimizer.step()
    flat = nn.utils.parameters_to_vector(network.parameters()).detach()[None]
    values = equation_values(settings.vocabulary, coefficients, compared) / settings.scale
    return network_r2(settings.shape, flat, compared, values.float())


def report(records: Sequence[Record]) -> Report:
    """Networks above the floor a CPU-second, and how many times those of the loop."""
    rows = []
    for activation, own in group(records, lambda record: record.cell.problem).items():
        by_method = group(own, lambda record: record.cell.method)
        alone = _rate(by_method.get("one_by_one", []))
        for method, found in by_method.items():
            results = [record.result for record in good(found)]
            share = median(result["good"] / result["networks"] for result in results)
            all_of_them = median(result["networks"] / result["seconds"] for result in results)
            cells = (
                number(all_of_them),
                f"{100 * share:.2f} %",
                number(_rate(found)),
                number(_rate(found) / alone),
            )
            note = status_note(found)
            rows.append([activation, method, *([note] * 4 if note else cells)])
    columns = ["activation", "method", "networks / s", "R2 >= .999", "of these / s", "times the loop"]
    note = (
        "CPU-seconds of the training alone, on one core; median over seeds. Protocol: benchmarks/network_zoo.py."
    )
    return Report([Grid("Small networks trained a CPU-second", columns, rows)], [note, *failures(records)])


def _rate(records: Sequence[Record]) -> float:
    """Networks above the floor a CPU-second; NaN of none."""
    return median(record.result["good"] / record.result["seconds"] for record in good(records)) or math.nan


SUITE = Suite(
    name="zoo",
    summary="small networks trained a CPU-second, all at once and one by one",
    methods=METHODS,
    seeds=(1, 2, 3),
    settings={"networks": 4096, "single": 20, "adam_steps": 500},
    problems=lambda settings: ACTIVATIONS,
    estimate=lambda cell: 20.0,
    run=run,
    report=report,
    default_problems=("tanh",),
)
