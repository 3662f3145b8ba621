"""Suite `distill`: is the law that a network has learned read back from it?

30 networks of 1 to 5 inputs, two or three layers and tanh, ReLU or GELU, each with an R2 of at least .9999 to a
law of 3 to 12 nodes (`benchmarks.distilled_networks`). `asked` is `rediscover.distill` on the network and its
training table; `unasked` is the same without questions to the network: its outputs on the rows of the table are
all that is known; `table` is the search of `SymbolicRegressor` on the training table, which has no noise, without
the network. `alone` is `asked` without the table's target.

A law is recovered if the equation has its structure (its constants, fitted to fresh rows of the law, leave a
normalised squared error below 1e-10, and it has at most two nodes more) and each constant is within .5 % of what
that fit gives. Budgets are seconds of the processor.

`block64` is a block of 64 outputs that mix 8 hidden laws of five variables: `asked` on all of it, and `pyoperon`
output by output with an equal share of the time; what is counted are outputs with an R2 of at least .999 on fresh
rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.distilled_networks import NETWORKS, ROWS, Trained, factor_block, trained
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.suites import Suite
from benchmarks.trust_laws import size_of
from expressions.canonical_form import canonical
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from foundation.errors import UserError

METHODS = ("asked", "unasked", "alone", "table", "pyoperon")
BLOCK = "block64"
FITS_NMSE = 1e-10
MORE_NODES = 2
CONSTANTS = 0.005
GOOD_R2 = 0.999
_FRESH_ROWS = 400
_STEPS, _STARTS = 60, 3
_UNDEFINED = 1e30
_OUTPUTS, _FACTORS = 64, 8


def run(cell: Cell) -> dict[str, Any]:
    """One network, or one block."""
    import distillation.distilling  # noqa: F401  # before its modules get another clock
    from benchmarks.processor_clock import count_processor_seconds

    if cell.problem == BLOCK:
        return _block(cell)
    if cell.method == "pyoperon":
        raise UserError("pyoperon is measured on block64: leave the networks out")
    learned = trained(int(cell.problem[1:]) - 1, int(cell.settings["problem_seed"]))
    count_processor_seconds()
    begun = time.process_time()
    found, front = _FOUND[cell.method](learned, float(cell.settings["seconds"]), cell.seed)
    seconds = time.process_time() - begun
    inputs, target = learned.problem.sample(_FRESH_ROWS, np.random.default_rng([cell.seed, 99]))
    verdict = judge(found, learned.problem.truth, inputs, target)
    known = [judge(each, learned.problem.truth, inputs, target) for each in front]
    return {
        **verdict,
        "in_front": any(each["right"] for each in known),
        "formula": learned.problem.formula,
        "found": found.infix(),
        "network_nmse": 1.0 - learned.r2,
        "refused": learned.refused,
        "size": size_of(found),
        "true_size": size_of(learned.problem.truth),
        "cpu_seconds": seconds,
    }


def judge(found: Expression, truth: Expression, inputs: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """Whether an equation is a law, on fresh rows of it.

    Args:
        found: equation with the constants that were found.
        truth: the law.
        inputs: columns. `[rows, variables]`
        target: values of the law. `[rows]`
    """
    shown = canonical(found)
    with np.errstate(all="ignore"):
        [fitted] = fit_constants([shown], inputs, target, iterations=_STEPS, starts=_STARTS).expressions
        refitted = min(nmse(target, np.broadcast_to(fitted(inputs), target.shape)), _UNDEFINED)
        own = min(nmse(target, np.broadcast_to(found(inputs), target.shape)), _UNDEFINED)
    right = refitted < FITS_NMSE and size_of(found) <= size_of(truth) + MORE_NODES
    apart = np.abs(shown.constants - fitted.constants) / np.maximum(np.abs(fitted.constants), 1e-12)
    worst = float(apart.max(initial=0.0))
    return {
        "nmse": own,
        "right": right,
        "worst_constant": min(worst, _UNDEFINED),
        "law": right and worst <= CONSTANTS,
    }


def _distilled(learned: Trained, seconds: float, seed: int, **options: Any) -> tuple[Expression, list[Expression]]:
    import torch

    from distillation.distilling import distill

    data: Any = torch.from_numpy(learned.inputs).float()
    if options.pop("target", True):
        data = (data, torch.from_numpy(learned.target[:, None]).float())
    [block] = distill(learned.network, data, seconds=seconds, seed=seed, **options).blocks
    return block.outputs[0].expression, [each for each, _, _ in block.outputs[0].front]


def _of_table(learned: Trained, seconds: float, seed: int) -> tuple[Expression, list[Expression]]:
    from rediscover.fitting import explain
    from searches.portfolio import PortfolioSettings

    result = explain(learned.inputs, learned.target, PortfolioSettings(seconds=seconds), seed=seed)
    return result.best.expression, [each.expression for each in result.front]


_FOUND = {
    "asked": _distilled,
    "unasked": lambda learned, seconds, seed: _distilled(learned, seconds, seed, ask=False),
    "alone": lambda learned, seconds, seed: _distilled(learned, seconds, seed, target=False),
    "table": _of_table,
}


def _block(cell: Cell) -> dict[str, Any]:
    """All outputs of the block, by the clock on the wall, since several processes may work on it."""
    import torch

    block, inputs = factor_block(_OUTPUTS, _FACTORS, int(cell.settings["problem_seed"]))
    table = torch.from_numpy(inputs).float()
    outputs = block(table).double().numpy()
    begun, spent = time.perf_counter(), _processor_seconds()
    if cell.method == "pyoperon":
        values, sizes = _by_pyoperon(inputs, outputs, cell)
    else:
        from distillation.distilling import distill

        found = distill(
            block,
            table[:ROWS],
            seconds=float(cell.settings["block_seconds"]),
            workers=int(cell.settings["workers"]),
            seed=cell.seed,
        )
        equations = [each.expression for each in found.blocks[0].outputs]
        values = np.stack([np.broadcast_to(each(inputs[ROWS:]), ROWS) for each in equations], axis=1)
        sizes = [size_of(each) for each in equations]
        sizes.append(found.blocks[0].size)
    errors = [nmse(outputs[ROWS:, k], values[:, k]) for k in range(_OUTPUTS)]
    return {
        "good": sum(error <= 1.0 - GOOD_R2 for error in errors),
        "median_nmse": float(np.median(errors)),
        "size": float(np.median(sizes[:_OUTPUTS])),
        "shared_size": sizes[_OUTPUTS] if len(sizes) > _OUTPUTS else None,
        "wall_seconds": time.perf_counter() - begun,
        "cpu_seconds": _processor_seconds() - spent,
    }


def _by_pyoperon(inputs: np.ndarray, outputs: np.ndarray, cell: Cell) -> tuple[np.ndarray, list[int]]:
    from benchmarks.peers import Data, fit

    seconds = float(cell.settings["block_seconds"]) * int(cell.settings["workers"]) / _OUTPUTS
    values, sizes = [], []
    for place in range(_OUTPUTS):
        rows = inputs[:ROWS], outputs[:ROWS, place]
        fitted = fit("pyoperon", Data(*rows, *rows), {**cell.settings, "seconds": seconds}, cell.seed)
        values.append(np.broadcast_to(fitted.chosen.predict(inputs[ROWS:]), ROWS))
        sizes.append(fitted.chosen.complexity)
    return np.stack(values, axis=1), sizes


def _processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    import resource

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def report(records: Sequence[Record]) -> Report:
    """One row a method: of the networks, and of the block."""
    networks = [record for record in records if record.cell.problem != BLOCK]
    blocks = [record for record in records if record.cell.problem == BLOCK]
    grids = []
    if networks:
        rows = [_network_row(method, found) for method, found in group(networks, _method).items()]
        grids.append(Grid("Laws read back from networks", _NETWORK_HEADINGS, rows))
    if blocks:
        rows = [_block_row(method, found) for method, found in group(blocks, _method).items()]
        grids.append(Grid("A block of 64 outputs from 8 hidden laws", _BLOCK_HEADINGS, rows))
    return Report(grids, [*_NOTES, *failures(records)])


_NETWORK_HEADINGS = ["method", "n", "recovered", "structure", "in the front", "median NMSE", "nodes", "CPU s"]
_BLOCK_HEADINGS = ["method", "n", "R2 >= .999", "median NMSE", "nodes", "shared nodes", "seconds", "CPU s"]
_NOTES = (
    "recovered: the structure of the law, and constants within .5 %; structure: constants may be off; in the "
    "front: the structure is among the equations offered. NMSE on fresh rows of the law. Nodes and seconds are "
    "medians.",
)


def _method(record: Record) -> str:
    return record.cell.method


def _network_row(method: str, found: Sequence[Record]) -> list[str]:
    done = good(found)
    count = len(found)
    return [
        method,
        status_note(found) or str(count),
        *(_share(sum(r.result[key] for r in done), count) for key in ("law", "right", "in_front")),
        f"{median(r.result['nmse'] for r in done):.1e}" if done else "-",
        decimals(median(r.result["size"] for r in done), 1),
        decimals(median(r.result["cpu_seconds"] for r in done), 1),
    ]


def _block_row(method: str, found: Sequence[Record]) -> list[str]:
    done = good(found)
    return [
        method,
        status_note(found) or str(len(found)),
        _share(sum(r.result["good"] for r in done), _OUTPUTS * len(found)),
        f"{median(r.result['median_nmse'] for r in done):.1e}" if done else "-",
        decimals(median(r.result["size"] for r in done), 1),
        decimals(median(r.result["shared_size"] or float("nan") for r in done), 0),
        decimals(median(r.result["wall_seconds"] for r in done), 1),
        decimals(median(r.result["cpu_seconds"] for r in done), 1),
    ]


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "-"


def _names(settings: Settings) -> list[str]:
    return [*(f"m{number:02d}" for number in range(1, NETWORKS + 1)), BLOCK]


def _words(word: str) -> Sequence[str]:
    """`networks`, `first10`, the first ten of them or any other number, or a problem."""
    number = word.removeprefix("first")
    if word == "networks" or (word.startswith("first") and number.isdigit()):
        return [f"m{k:02d}" for k in range(1, 1 + (NETWORKS if word == "networks" else int(number)))]
    return [word]


SUITE = Suite(
    name="distill",
    summary="laws that networks have learned: which are read back, with and without asking the network",
    methods=METHODS,
    seeds=(1,),
    settings={
        "seconds": 30.0,
        "problem_seed": 25,
        "block_seconds": 60.0,
        "workers": 2,
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
    },
    problems=_names,
    estimate=lambda cell: 20.0 + float(cell.settings["block_seconds" if cell.problem == BLOCK else "seconds"]),
    run=run,
    report=report,
    defaults=METHODS[:4],
    default_problems=tuple(_words("networks")),
    expand=_words,
)
