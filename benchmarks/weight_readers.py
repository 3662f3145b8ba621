"""Suite `readers`: which encoders read the equation of a network, and from which networks.

Problems are tracks:

- `independent`: networks from random starts of their own, with biases, polynomials of degree 2.
- `shared`: all networks from one start, trained to targets of a fifth of the usual size, so that they stay near
  it. What can be read there is where training has moved the weights, nearly a linear function of the equation; a
  reader of such networks knows nothing about others. R2 of the networks is printed: most suffer little.
- `degree4`: as `independent`, polynomials of degree 4.
- `functions`: as `independent`, sums of up to three of seven functions and powers up to the second.

Every encoder is trained for `seconds` CPU-seconds on the same networks, with the same decoder and learning-rate
schedule (a cosine over the time). Reported, of held-out equations: the share that is written exactly as it is,
character by character without any search, so that the encoders that never run the network are not helped by
running it; that with the right terms, whatever their coefficients; and that with R2 >= 0.99 to the truth.
`least_squares` learns nothing: the sum of all terms that is nearest to the network's outputs, with its
coefficients rounded; `probe:beam` takes of eight equations of a beam search the one that agrees best with the
network, `probe:sampled` does so with eight that are drawn, and `probe:refit` takes the better of these, fits its
coefficients to the network's outputs and rounds them; all are measured on the reader of the cell `probe`.

Readers of the track `independent` are also shown networks that they have never seen: of other widths and depths
(where they can take them), of another activation, trained by another optimiser, or hardly trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, Record
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.suites import Suite

METHODS = ("probe", "graph", "canonical", "flat_bias", "flat", "least_squares")
FUNCTIONS = ("sin(2*x)", "sin(3*x)", "cos(2*x)", "cos(3*x)", "exp(x)", "exp(-x)", "log(x+2)")
TRACKS: dict[str, dict[str, Any]] = {
    "independent": {},
    "shared": {"start": "shared", "target_size": 0.2},
    "degree4": {"degree": 4},
    "functions": {"functions": FUNCTIONS, "terms": 3},
}
"""Track -> what is different about its zoo."""

UNSEEN: dict[str, dict[str, Any]] = {
    "1-16-1": {"widths": "1-16-1"},
    "1-12-12-12-1": {"widths": "1-12-12-12-1"},
    "gelu": {"activation": "gelu"},
    "by Adam": {"optimizer": "adam", "steps": 500, "gain": 1.5, "passes": 1},
    "hardly trained": {"steps": 3, "passes": 1, "floor": 0.8},
}
"""Networks that nobody was trained on -> what is different about their zoo."""

_MEASURES = ("exact_match", "structure_accuracy", "r2_above_0.99_rate")
_RATE, _WARMUP, _BATCH, _BEAMS = 3e-3, 0.05, 128, 8
_UNSEEN_NETWORKS = 1000


def run(cell: Cell) -> dict[str, Any]:
    """Train a reader, and read."""
    import torch

    from modules.networks.weights.reader import WeightReader
    from modules.settings.weights_to_tokens import ReaderSize

    torch.set_num_threads(1)
    torch.manual_seed(cell.seed)
    data = _zoo(cell, **TRACKS[cell.problem])
    learns = cell.method != "least_squares"
    reader = WeightReader(data.task(), ReaderSize(encoder=cell.method if learns else "probe"))
    samples = _train(reader, data, float(cell.settings["seconds"])) if learns else 0
    reader.eval()
    found: dict[str, Any] = {"samples": samples, **data.facts(), **_measured(cell, reader, data)}
    if cell.problem == "independent":
        for name, different in UNSEEN.items():
            unseen = _zoo(cell, networks=1, test_networks=_UNSEEN_NETWORKS, **different)
            if reader.encoder.any_shape or unseen.settings.shape == reader.shape:
                measures = _measured(cell, reader, unseen)
                found[f"unseen/{name}"] = {**measures, "r2_median": unseen.facts()["zoo/r2_median"]}
    return found


def _zoo(cell: Cell, **different: Any) -> Any:
    """Networks, made if they are not there yet."""
    from datamodules.network_weights import NetworkWeights

    arguments = {
        "networks": int(cell.settings["networks"]),
        "test_networks": int(cell.settings["test"]),
        **different,
    }
    data = NetworkWeights(
        validation_networks=1,
        batch_size=_BATCH,
        cache=str(Path(cell.out) / "zoo"),
        processes=1,
        seed=cell.seed,
        **arguments,
    )
    data.prepare_data()
    data.setup()
    return data


def _measured(cell: Cell, reader: Any, data: Any) -> dict[str, float]:
    """How good the equations are that a reader reads from the test's networks."""
    from modules.weights_to_tokens import ReadingMeasures

    ways = {"": "least_squares" if cell.method == "least_squares" else "greedy"}
    if cell.method == "probe":
        ways |= {":beam": "beam", ":sampled": "sampled", ":refit": "refit"}
    measures = {end: ReadingMeasures(reader.longest + 1) for end in ways}
    for flat, ids in data.test_dataloader():
        read = reader.read(data.settings.shape, flat, _BEAMS if len(ways) > 1 else 1)
        for end, way in ways.items():
            measures[end].update(reader, getattr(read, way), ids, read.outputs)
    return {
        name + end: float(value)
        for end, measured in measures.items()
        for name, value in measured.compute().items()
        if end == "" or name in _MEASURES
    }


def _train(reader: Any, data: Any, seconds: float) -> int:
    """Until the time is over; how many networks were looked at."""
    import torch

    from modules.networks.equation_map.conditional_vae import token_losses

    optimizer = torch.optim.AdamW(reader.parameters(), lr=_RATE, betas=(0.9, 0.98), fused=True)
    loader = data.train_dataloader()
    began, samples, epoch = time.process_time(), 0, 0
    while True:
        loader.set_epoch(epoch)
        epoch += 1
        for flat, ids in loader:
            done = (time.process_time() - began) / seconds
            if done >= 1:
                return samples
            rate = min(1.0, done / _WARMUP + 1e-3) * 0.5 * (1 + math.cos(math.pi * done))
            for group_ in optimizer.param_groups:
                group_["lr"] = _RATE * rate
            nats, counted = token_losses(reader.scores(flat, ids), ids)
            optimizer.zero_grad()
            (nats.sum() / counted.sum()).backward()
            torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step()
            samples += len(flat)


def report(records: Sequence[Record]) -> Report:
    """Encoders by tracks, and by networks that they have never seen."""
    settings = records[0].cell.settings if records else {}
    note = (
        f"{settings.get('seconds')} CPU-seconds of training on {settings.get('networks')} networks, held-out "
        "equations of uniform length, written greedily but for :beam, :sampled and :refit; median over seeds. "
        "Protocol: benchmarks/weight_readers.py."
    )
    by_method = group(records, lambda record: record.cell.method)
    tracks = [track for track in TRACKS if any(record.cell.problem == track for record in records)]
    words = ("exact", "terms", "R2 >= .99")
    rows, unseen_rows = [], []
    for method, own in by_method.items():
        by_track = group(own, lambda record: record.cell.problem)
        for end in ("", ":beam", ":sampled", ":refit") if method == "probe" else ("",):
            row = [method + end]
            for track in tracks:
                found = by_track.get(track, [])
                note_ = status_note(found) if found else "-"
                row += (
                    [note_] * 3
                    if note_
                    else [_percent([r.result for r in good(found)], n + end) for n in _MEASURES]
                )
            rows.append(row)
            unseen_rows.append([method + end, *_of_unseen(good(by_track.get("independent", [])), end)])
    columns = ["encoder"] + [f"{track}: {word}" for track in tracks for word in words]
    grids = [Grid("Equations read from the weights of networks", columns, rows)]
    if "independent" in tracks:
        headings = [f"{name}: {word}" for name in UNSEEN for word in ("exact", "R2 >= .99", "their R2")]
        grids.append(Grid("Networks that no reader has seen", ["encoder", *headings], unseen_rows))
    return Report(grids, [note, *_networks(records), *failures(records)])


def _networks(records: Sequence[Record]) -> list[str]:
    """How good the networks of each track are."""
    lines = []
    for track, own in group(good(records), lambda record: record.cell.problem).items():
        share, r2 = (
            median(record.result[f"zoo/{key}"] for record in own) for key in ("accepted_rate", "r2_median")
        )
        lines.append(f"Networks of {track}: {100 * share:.2f} % reach the floor of R2, the median is {r2:.6f}.")
    return lines


def _of_unseen(records: Sequence[Record], end: str) -> list[str]:
    cells = []
    for name in UNSEEN:
        found = [record.result[f"unseen/{name}"] for record in records if f"unseen/{name}" in record.result]
        if not found:
            cells += ["-"] * 3
            continue
        cells += [_percent(found, key + end) for key in ("exact_match", "r2_above_0.99_rate")]
        cells.append(decimals(median(result["r2_median"] for result in found), 4))
    return cells


def _percent(results: Sequence[dict[str, Any]], key: str) -> str:
    return f"{100 * median(result[key] for result in results):.1f} %"


SUITE = Suite(
    name="readers",
    summary="which encoders read the equation of a network from its weights",
    methods=METHODS,
    seeds=(1,),
    settings={"seconds": 300.0, "networks": 98304, "test": 5000},
    problems=lambda settings: tuple(TRACKS),
    estimate=lambda cell: 180.0 + 1.2 * float(cell.settings["seconds"]),
    run=run,
    report=report,
    default_problems=("independent", "shared"),
)
