"""Suite `readers`: which encoders read the equation of a network, and from which networks.

Problems are tracks:

- `independent`: networks from random starts of their own, with biases.
- `shared`: all networks from one start. What can be read there is where training has moved the weights; a reader
  of such networks knows nothing about others.

Every encoder is trained for `seconds` CPU-seconds on the same networks, with the same decoder and learning-rate
schedule (a cosine over the time). Reported, of held-out equations: the share that is written exactly as it is,
character by character without any search, so that the encoders that never run the network are not helped by
running it; and the share with R2 >= 0.99 to the truth. `least_squares` learns nothing: the polynomial of degree 2
that is nearest to the network's outputs, with its coefficients rounded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, Record
from benchmarks.report import Grid, Report, failures, good, group, median, status_note
from benchmarks.suites import Suite

METHODS = ("probe", "graph", "canonical", "flat_bias", "flat", "least_squares")
TRACKS = ("independent", "shared")
_RATE, _WARMUP, _BATCH = 3e-3, 0.05, 128


def run(cell: Cell) -> dict[str, Any]:
    """Train a reader, and read."""
    import torch

    from datamodules.network_weights import NetworkWeights
    from modules.networks.weight_reader import WeightReader
    from modules.weights_to_tokens import ReadingMeasures

    torch.set_num_threads(1)
    torch.manual_seed(cell.seed)
    data = NetworkWeights(
        networks=int(cell.settings["networks"]),
        validation_networks=1,
        test_networks=int(cell.settings["test"]),
        start=cell.problem,
        batch_size=_BATCH,
        cache=str(Path(cell.out) / "zoo"),
        processes=1,
        seed=cell.seed,
    )
    data.prepare_data()
    data.setup()
    learns = cell.method != "least_squares"
    reader = WeightReader(**data.reader_arguments(), encoder=cell.method if learns else "probe")
    samples = _train(reader, data, float(cell.settings["seconds"])) if learns else 0
    reader.eval()
    measures = ReadingMeasures(reader.longest + 1)
    for flat, ids in data.test_dataloader():
        read = reader.read(reader.shape, flat, 1)
        measures.update(reader, read.greedy if learns else read.least_squares, ids, read.outputs)
    found = {name: float(value) for name, value in measures.compute().items()}
    return {"samples": samples, **data.facts(), **found}


def _train(reader: Any, data: Any, seconds: float) -> int:
    """Until the time is over; how many networks were looked at."""
    import torch

    from modules.networks.conditional_vae import token_losses

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
    """Encoders by tracks."""
    rows = []
    for method, own in group(records, lambda record: record.cell.method).items():
        by_track = group(own, lambda record: record.cell.problem)
        row = [method]
        for track in TRACKS:
            found = by_track.get(track, [])
            note = status_note(found) if found else "-"
            row += [note] * 2 if note else [_percent(found, key) for key in ("exact_match", "r2_above_0.99_rate")]
        rows.append(row)
    columns = ["encoder"] + [f"{track}: {words}" for track in TRACKS for words in ("exact", "R2 >= .99")]
    settings = records[0].cell.settings if records else {}
    note = (
        f"{settings.get('seconds')} CPU-seconds of training on {settings.get('networks')} networks, held-out "
        "equations of uniform length, written greedily; median over seeds. Protocol: benchmarks/weight_readers.py."
    )
    return Report([Grid("Equations read from the weights of networks", columns, rows)], [note, *failures(records)])


def _percent(records: Sequence[Record], key: str) -> str:
    return f"{100 * median(record.result[key] for record in good(records)):.1f} %"


SUITE = Suite(
    name="readers",
    summary="which encoders read the equation of a network from its weights",
    methods=METHODS,
    seeds=(1,),
    settings={"seconds": 300.0, "networks": 98304, "test": 5000},
    problems=lambda settings: TRACKS,
    estimate=lambda cell: 60.0 + 1.2 * float(cell.settings["seconds"]),
    run=run,
    report=report,
)
