"""The trained autoencoders that the suites `latents` and `inference` look into, one run directory each.

They are trained by the project's own command, `python train.py`, once; both suites share them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import Cell, Settings

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


@dataclass(frozen=True)
class Network:
    """A trained network and the rows it was trained, chosen and tested on.

    Attributes:
        inputs: part of the table -> `[rows, 2]` float64, in raw units; parts are train, validation, test, all.
    """

    model: Autoencoder
    feature_names: tuple[str, ...]
    inputs: dict[str, np.ndarray]

    def latents(self, part: str) -> np.ndarray:
        """Latents of a part of the table, computed in float32 as the network does. `[rows, latents]` float64"""
        import torch

        with torch.no_grad():
            return np.asarray(self.model.encode(torch.tensor(self.inputs[part], dtype=torch.float32)), np.float64)


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
    import json

    target = directory(cell.out, cell.problem, cell.seed, cell.settings)
    words = [*KINDS[cell.problem], f"seed={cell.seed}", "search=none", "logger=csv", "threads=1"]
    if cell.settings["epochs"]:
        words.append(f"trainer.max_epochs={cell.settings['epochs']}")
    if cell.settings["rows"]:
        words.append(f"data.max_rows={cell.settings['rows']}")
    command = Path(__file__).parent.parent / "train.py"
    subprocess.run([sys.executable, str(command), *words, f"hydra.run.dir={target.resolve()}"], check=True)
    metrics: dict[str, Any] = json.loads((target / "results.json").read_text(encoding="utf-8"))["metrics"]
    return {"metrics": metrics}


def load(out: str, kind: str, seed: int, settings: Settings) -> Network:
    """The network of a kind and seed, as the run directory says: its best epoch, or its last as published."""
    import torch
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from modules.autoencoder import Autoencoder

    torch.set_num_threads(1)
    run = directory(out, kind, seed, settings)
    config = OmegaConf.load(run / ".hydra" / "config.yaml")
    data = instantiate(config.data, _convert_="all")
    data.setup("fit")
    name = "last" if config.checkpoint.monitor is None else "best"
    model = Autoencoder.load_from_checkpoint(run / "checkpoints" / f"{name}.ckpt", map_location="cpu")
    model.eval()
    parts: Sequence[str] = ("train", "validation", "test", "all")
    return Network(model, tuple(data.feature_names), {part: data.table(part).inputs for part in parts})
