"""The trained autoencoders that the suites `latents` and `inference` look into, one run directory each.

They are trained by the project's own command, `python train.py`, once; both suites share them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.cells import Cell, Settings
from foundation.files import writing

if TYPE_CHECKING:
    from modules.autoencoder import Autoencoder

NETWORK = "network"
"""The method of a cell that trains a network."""

KINDS: dict[str, tuple[str, ...]] = {
    "inputs": ("model.decode=inputs",),
    "target": ("model.decode=target",),
    "paper": ("experiment=autoencoder_paper",),
}
"""Kind -> what `train.py` is told: an autoencoder, a price regressor with a bottleneck, the published setting."""

SETTINGS: Settings = {"epochs": 0, "rows": 0}
"""Of the training; 0 stands for the project's own default. For short trials."""

_EPOCHS = {"inputs": 100, "target": 100, "paper": 500}
_SECONDS_AN_EPOCH = {"inputs": 0.3, "target": 0.3, "paper": 2.0}
LATENTS = 2


PARTS = ("train", "validation", "test", "all")


@dataclass(frozen=True)
class Latents:
    """What a trained network makes of the rows it was trained, chosen and tested on.

    Attributes:
        inputs: part of the table -> `[rows, 2]` float64, in raw units.
        latents: part of the table -> `[rows, latents]` float64, computed in float32 as the network does.
    """

    feature_names: tuple[str, ...]
    inputs: dict[str, np.ndarray]
    latents: dict[str, np.ndarray]


def directory(out: str, kind: str, seed: int, settings: Settings) -> Path:
    """Run directory of a network."""
    short = "".join(f"-{name}{settings[name]}" for name in SETTINGS if settings[name])
    return Path(out) / "networks" / f"{kind}-seed{seed}{short}"


def missing(cells: Iterable[Cell], kinds: Iterable[str]) -> list[Cell]:
    """Cells that train what `cells` need and is not there.

    Args:
        kinds: the kind that each of the cells needs.
    """
    wanted: dict[str, Cell] = {}
    for cell, kind in zip(cells, kinds, strict=True):
        settings = {name: cell.settings[name] for name in SETTINGS}
        if not (directory(cell.out, kind, cell.seed, settings) / "results.json").exists():
            training = Cell(cell.suite, NETWORK, kind, cell.seed, settings, cell.out)
            wanted[training.key] = training
    return list(wanted.values())


def estimate(cell: Cell) -> float:
    """Expected seconds of a training."""
    rows = float(cell.settings["rows"] or 20_640) / 20_640
    epochs = float(cell.settings["epochs"] or _EPOCHS[cell.problem])
    return 15.0 + epochs * rows * _SECONDS_AN_EPOCH[cell.problem]


def train(cell: Cell) -> dict[str, Any]:
    """Train the network of a cell and leave its run directory; returns the metrics of the run."""
    target = directory(cell.out, cell.problem, cell.seed, cell.settings)
    words = _words(cell.problem, cell.seed, cell.settings)
    command = Path(__file__).parent.parent / "train.py"
    subprocess.run([sys.executable, str(command), *words, f"hydra.run.dir={target.resolve()}"], check=True)
    metrics: dict[str, Any] = json.loads((target / "results.json").read_text(encoding="utf-8"))["metrics"]
    load(cell.out, cell.problem, cell.seed, cell.settings)  # writes the latents
    return {"metrics": metrics}


def load(out: str, kind: str, seed: int, settings: Settings) -> Latents:
    """The latents of a network, from a file beside it: a search needs not wait for torch to be imported."""
    path = directory(out, kind, seed, settings) / "latents.npz"
    if not path.exists():
        _write(path, out, kind, seed, settings)
    with np.load(path, allow_pickle=False) as stored:
        return Latents(
            tuple(str(name) for name in stored["names"]),
            {part: stored[f"inputs_{part}"] for part in PARTS},
            {part: stored[f"latents_{part}"] for part in PARTS},
        )


def _write(path: Path, out: str, kind: str, seed: int, settings: Settings) -> None:
    import torch

    model, data = _built(out, kind, seed, settings)
    arrays: dict[str, np.ndarray] = {"names": np.array(data.feature_names)}
    for part in PARTS:
        arrays[f"inputs_{part}"] = inputs = data.table(part).inputs
        with torch.no_grad():
            latents = model.encode(torch.tensor(inputs, dtype=torch.float32))
        arrays[f"latents_{part}"] = latents.numpy().astype(np.float64)
    with writing(path) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_model(out: str, kind: str, seed: int, settings: Settings) -> Autoencoder:
    """The network itself: its best epoch, or its last as published."""
    return _built(out, kind, seed, settings)[0]


def _built(out: str, kind: str, seed: int, settings: Settings) -> tuple[Autoencoder, Any]:
    """A network and its data, built as the suite says; of the run directory only the weights are read."""
    import torch
    from hydra.core.global_hydra import GlobalHydra

    from rediscover.training import compose
    from rediscover.wiring.building import build_data, build_model
    from rediscover.wiring.checkpoint_reading import read_checkpoint

    torch.set_num_threads(1)
    GlobalHydra.instance().clear()
    config = compose(_words(kind, seed, settings))
    data = build_data(config)
    model = build_model(config, data)
    name = "last" if config.checkpoint.monitor is None else "best"
    file = directory(out, kind, seed, settings) / "checkpoints" / f"{name}.ckpt"
    model.load_state_dict(read_checkpoint(file)["state_dict"])
    return cast("Autoencoder", model.eval()), data


def _words(kind: str, seed: int, settings: Settings) -> list[str]:
    """What `train.py` is told about a network."""
    words = [*KINDS[kind], f"seed={seed}", "search=none", "logger=csv", "threads=1"]
    if settings["epochs"]:
        words.append(f"trainer.max_epochs={settings['epochs']}")
    if settings["rows"]:
        words.append(f"data.max_rows={settings['rows']}")
    return words
