"""Suite `inference`: is the equation faster than the network that it explains?

All 20,640 rows through the encoder in eager mode, and through its two exported equations together, in one process,
one thread, in turns. The published equations took 15 times as long as their network (Anecone 2024).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.cells import OK, Cell, Ledger, Record
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, number, status_note
from benchmarks.suites import Suite
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, Operator

METHODS = ("evaluator", "numpy")
_TRIES = 9
Compiled = Callable[[Sequence[np.ndarray]], Any]


def run(cell: Cell) -> dict[str, Any]:
    """Median milliseconds of the encoder and of the equations on all rows, timed in turns."""
    if cell.method == networks.NETWORK:
        return networks.train(cell)
    import torch

    network = networks.load(cell.out, cell.problem, cell.seed, cell.settings)
    model = networks.load_model(cell.out, cell.problem, cell.seed, cell.settings)
    equations = _equations(cell, network)
    inputs = network.inputs["all"].astype(np.float32)
    tensor = torch.tensor(inputs)

    def encoder() -> object:
        with torch.inference_mode():
            return model.encode(tensor)

    method = {"evaluator": _evaluator, "numpy": _numpy}[cell.method](equations, inputs)
    latents = network.latents["all"]
    values = np.stack([np.broadcast_to(column, len(inputs)) for column in method()], axis=1)
    seconds, encoder_seconds = _in_turns(method, encoder, int(cell.settings["repeats"]))
    residual = np.mean((values - latents) ** 2, axis=0) / np.var(latents, axis=0)
    return {
        "milliseconds": 1e3 * seconds,
        "encoder_milliseconds": 1e3 * encoder_seconds,
        "r2": (1.0 - residual).tolist(),
        "nodes": [len(equation) for equation in equations],
        "rows": len(inputs),
    }


def _equations(cell: Cell, network: networks.Latents) -> list[Expression]:
    """The equation picked for every latent: from the ledger of `latents` where it is, else searched for."""
    from expressions.parsing import parse

    known = _known(cell)
    if known is not None:
        return [parse(text, network.feature_names) for text in known]
    from benchmarks.peers import Data, fit

    parts, rows = network.latents, network.inputs
    return [
        fit(
            "ours",
            Data(rows["train"], parts["train"][:, k], rows["validation"], parts["validation"][:, k]),
            cell.settings,
            cell.seed,
        ).chosen.expression
        for k in range(networks.LATENTS)
    ]


def _known(cell: Cell) -> list[str] | None:
    """Equations of the same network and budget in the ledger of the suite `latents`, None where one is missing."""
    same = {name: cell.settings[name] for name in (*networks.SETTINGS, "seconds")}
    found: dict[str, str] = {}
    for record in Ledger(Path(cell.out) / "latents.jsonl").records():
        other = record.cell
        settings = {name: other.settings.get(name) for name in same}
        if record.status == OK and (other.method, other.seed, settings) == ("ours", cell.seed, same):
            found[other.problem] = record.result["infix"]
    problems = [f"{cell.problem}/z{k + 1}" for k in range(networks.LATENTS)]
    return [found[problem] for problem in problems] if all(problem in found for problem in problems) else None


def _evaluator(equations: Sequence[Expression], inputs: np.ndarray) -> Callable[[], Sequence[np.ndarray]]:
    """This project's evaluator in float32, both equations in one batch."""
    from expressions.evaluation import Evaluator

    evaluator = Evaluator(inputs, np.float32)
    return lambda: list(evaluator.values(equations))


def _numpy(equations: Sequence[Expression], inputs: np.ndarray) -> Callable[[], Sequence[np.ndarray]]:
    """The equations as NumPy code that someone pastes into a script: one call an operator, nothing shared."""
    columns = [np.ascontiguousarray(inputs[:, j]) for j in range(inputs.shape[1])]
    functions = [_compiled(equation) for equation in equations]

    def evaluate() -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [function(columns) for function in functions]

    return evaluate


def _compiled(equation: Expression) -> Compiled:
    """A closure for every node, composed; float32 throughout."""

    def leaf(token: int, value: float) -> Compiled:
        if token == CONSTANT:
            number = np.array([value], np.float32)  # one entry, so that the float32 of the columns decides
            return lambda columns: number
        return lambda columns: columns[token - FIRST_VARIABLE]

    def combine(row: Operator, *arguments: Compiled) -> Compiled:
        if len(arguments) == 1:
            (only,) = arguments

            def unary(columns: Sequence[np.ndarray]) -> np.ndarray:
                value = only(columns)
                return row.numpy(value, np.empty_like(value))

            return unary
        left, right = arguments

        def binary(columns: Sequence[np.ndarray]) -> np.ndarray:
            a, b = left(columns), right(columns)
            return row.numpy(a, b, np.empty_like(a if len(a) >= len(b) else b))

        return binary

    compiled: Compiled = equation.fold(leaf, combine)
    return compiled


def _in_turns(method: Callable[[], object], encoder: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median CPU-seconds of a call of both, in turns of `_TRIES` calls; the first turn is not counted."""
    times: dict[Callable[[], object], list[float]] = {method: [], encoder: []}
    for turn in range(repeats + 1):
        for timed, seconds in times.items():
            started = time.process_time()
            for _ in range(_TRIES):
                timed()
            if turn:
                seconds.append((time.process_time() - started) / _TRIES)
    return median(times[method]), median(times[encoder])


def report(records: Sequence[Record]) -> Report:
    """Medians over the networks."""
    rows = []
    keys = group(records, lambda record: (record.cell.problem, record.cell.method))
    for (kind, method), found in keys.items():
        results = [record.result for record in good(found)]
        ratios = [r["encoder_milliseconds"] / r["milliseconds"] for r in results]
        rows.append(
            [
                f"{kind}, {method}",
                status_note(found) or number(median(r["milliseconds"] for r in results)),
                number(median(r["encoder_milliseconds"] for r in results)),
                number(median(ratios)),
                number(min(ratios)) if ratios else "-",
                decimals(median(sum(r["nodes"]) for r in results), 0),
                decimals(min((min(r["r2"]) for r in results), default=float("nan"))),
            ]
        )
    columns = [
        "network, method",
        "equations ms",
        "encoder ms",
        "times faster",
        "least",
        "nodes of both",
        "lowest R2",
    ]
    count = next((record.result["rows"] for record in good(records)), 0)
    grid = Grid(f"Inference on {count:,} rows: both equations together and the encoder", columns, rows)
    settings = records[0].cell.settings if records else {}
    return Report(
        [grid],
        [
            f"CPU time of one thread, float32; medians of {settings.get('repeats')} turns and over the networks. "
            "evaluator: this project's, shared subtrees once; numpy: plain NumPy calls. encoder: PyTorch in eager "
            "and inference mode. Published: the equations take 15 times as long as the network.",
            *failures(records),
        ],
    )


def _estimate(cell: Cell) -> float:
    if cell.method == networks.NETWORK:
        return networks.estimate(cell)
    searched = 0.0 if _known(cell) else networks.LATENTS * (float(cell.settings["seconds"]) + 3.0)
    return 10.0 + searched


SUITE = Suite(
    name="inference",
    summary="time of the exported equations against the encoder",
    methods=METHODS,
    seeds=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    settings={"seconds": 30.0, "repeats": 60, **networks.SETTINGS},
    problems=lambda settings: list(networks.KINDS)[:2],
    estimate=_estimate,
    run=run,
    report=report,
    first=lambda cells: networks.missing(cells, [cell.problem for cell in cells]),
)
