"""Suite `equations`: how fast the samples of the map of equations are made on one core, and what is thrown away.

`stream`: samples of the training as `data=equations` of a preset makes them, in CPU-seconds, without the drawing
of skeletons and with it (a pool serves `data.pool_epochs` epochs). accepted: share of the draws (a skeleton,
constants, rows) whose equation is defined on enough rows and not as good as constant. excluded: share of the
different skeletons that are left out because they are equivalent to a benchmark problem. `corpus`: the same
samples read again from disk, where the operating system still has them in memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.cells import Cell, Record
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note, thousands
from benchmarks.suites import Suite

if TYPE_CHECKING:
    from datamodules.equations import Equations
    from datamodules.settings.streams import StreamSettings

METHODS = ("stream", "corpus")
PRESETS = {"small": "model=cvae", "base": "experiment=cvae_base", "paper": "experiment=cvae_paper"}
"""Size of the map of equations -> what `train.py` is told."""
_POOL_SEED = 1


def run(cell: Cell) -> dict[str, Any]:
    """Measure one preset's data."""
    import torch

    torch.set_num_threads(1)
    batches = int(cell.settings["batches"])
    changes: dict[str, Any] = {"seed": cell.seed}
    changes |= {name: int(cell.settings[name]) for name in ("programs", "batch_size") if cell.settings.get(name)}
    return {"stream": _stream, "corpus": _corpus}[cell.method](cell.problem, changes, batches)


def datamodule(preset: str, **changes: Any) -> Equations:
    """The data of a preset as its configuration says, from the stream and without workers, but for the changes."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from configs.classes import built

    GlobalHydra.instance().clear()
    folder = Path(__file__).parents[1] / "configs"
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("train", overrides=[PRESETS[preset], "search=none"])
    changes = {"corpus": None, "num_workers": 0} | changes
    return cast("Equations", built("data", config.data, **changes))


def _stream(preset: str, changes: dict[str, Any], batches: int) -> dict[str, Any]:
    from datamodules.equations import StreamLoader

    data = datamodule(preset, **changes)
    stream = counting_stream(data.settings, data.seed, data.batch_size)
    loader = StreamLoader(stream, data.vocabulary, data.settings.epoch_samples)
    pool_seconds = _cpu_seconds(loader.prepare) + _cpu_seconds(lambda: loader.batch(0))  # and their ids
    stream.drawn = stream.accepted = 0
    seconds = _cpu_seconds(lambda: [loader.batch(1 + number) for number in range(batches)])
    each = seconds / (batches * data.batch_size)
    return {
        "samples_per_second": 1.0 / each,
        "with_pool": 1.0 / (each + pool_seconds / (loader.pool_batches * data.batch_size)),
        "pool_seconds": pool_seconds,
        "skeletons": len(stream.pool(0)),
        "accepted": stream.accepted / stream.drawn,
        "excluded": excluded_share(data.settings),
    }


def counting_stream(settings: StreamSettings, seed: int, block: int) -> Any:
    """A training stream that counts what it draws (`drawn`) and what of it can be used (`accepted`)."""
    from datamodules.streams.equation_stream import Block, EquationStream

    class Counting(EquationStream):
        drawn = accepted = 0

        def _attempt(self, pool: Any, low: int, high: int, rows: int, count: int, rng: Any) -> Block:
            found = super()._attempt(pool, low, high, rows, count, rng)
            self.drawn += count
            self.accepted += len(found.target)
            return found

    return Counting(settings, seed, "train", block)


def excluded_share(settings: StreamSettings) -> float:
    """Share of the skeletons of a pool that are equivalent to a benchmark problem."""
    from datamodules.streams.skeleton_pool import draw_pool

    def skeletons(exclude: tuple[str, ...]) -> int:
        rng = np.random.default_rng(_POOL_SEED)
        return len(draw_pool(settings.programs, rng, replace(settings.pool, exclude=exclude), "train"))

    return 1.0 - skeletons(settings.pool.exclude) / skeletons(())


def _corpus(preset: str, changes: dict[str, Any], batches: int) -> dict[str, Any]:
    size = datamodule(preset, **changes).batch_size
    with tempfile.TemporaryDirectory() as folder:
        data = datamodule(preset, **changes, corpus=folder, corpus_samples=batches * size)
        data.prepare_data()
        loader = data.train_dataloader()
        parts = [part for number in range(batches) for part in loader.batch(number)]
        kept = sum(part.numel() * part.element_size() for part in parts)
        seconds = _cpu_seconds(lambda: [loader.batch(number) for number in range(batches)])
    return {"samples_per_second": batches * size / seconds, "bytes": kept / (batches * size)}


def _cpu_seconds(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def report(records: Sequence[Record]) -> Report:
    """One row a preset and method: medians over the seeds."""
    rows = []
    for (name, method), found in group(records, lambda record: (record.cell.problem, record.cell.method)).items():
        results = [record.result for record in good(found)]

        def middle(key: str, scale: float = 1.0, results: list[dict[str, Any]] = results) -> float:
            return scale * median(result[key] for result in results if key in result)

        rows.append(
            [
                f"{name}, {method}",
                status_note(found) or thousands(middle("samples_per_second")),
                thousands(middle("with_pool")),
                decimals(middle("pool_seconds"), 1),
                thousands(middle("skeletons")),
                decimals(middle("accepted", 100.0), 1),
                decimals(middle("excluded", 100.0), 1),
                decimals(middle("bytes", 1e-3), 2),
            ]
        )
    columns = [
        "data of, from",
        "samples/s",
        "with the pool",
        "s a pool",
        "skeletons",
        "accepted %",
        "excluded %",
        "KB a sample",
    ]
    return Report(
        [Grid("Samples of the map of equations on one core", columns, rows)],
        [
            "CPU-seconds of one core, medians over the seeds. with the pool: with the time of drawing skeletons, "
            "spread over the epochs that share them.",
            "accepted: of the drawn samples; excluded: of the different skeletons, as benchmark problems.",
            *failures(records),
        ],
    )


SUITE = Suite(
    name="equations",
    summary="samples per second of the generated equations, what is refused, and the same from a corpus",
    methods=METHODS,
    seeds=(1,),
    settings={"batches": 200, "programs": 0, "batch_size": 0},  # 0: the preset's
    problems=lambda settings: list(PRESETS),
    estimate=lambda cell: 30.0 + {"small": 20.0, "base": 90.0, "paper": 250.0}[cell.problem],
    run=run,
    report=report,
)
