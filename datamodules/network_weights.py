"""System 3's data: a zoo of small networks with their equations, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.loading.batch_loader import BatchLoader
from datamodules.zoo.network_file import read_network
from datamodules.zoo.network_training import OPTIMIZERS, TrainingSettings
from datamodules.zoo.network_zoo import Shards, ZooSettings, make_zoo
from foundation.errors import UserError, near
from modules.networks.weights.small_networks import NetworkShape

__all__ = ["NetworkWeights"]

STARTS, EQUATIONS = ("independent", "shared"), ("uniform", "slides")


class NetworkWeights(LightningDataModule):
    """Batches of networks: weights `[batch, P]` and the ids of their equations `[batch, T]`, padded with 0.

    The zoo is made once, by all processes that ask for it, and kept in `cache` under a name that its settings
    decide; see `datamodules.zoo.network_zoo`. With `network` there is no zoo: one network is read from a file,
    and all loaders are empty.

    Example:
        `python train.py model=weights_to_tokens data.networks=100000 data.activation=gelu`

    Args:
        networks, validation_networks, test_networks: of each part; those below `floor` are then left out.
        widths, activation, biases: of all networks, see `modules.networks.weights.small_networks.NetworkShape.of`.
        start, start_seed, passes, floor, target_size, equations, degree, largest, functions, terms: see
            `datamodules.zoo.network_zoo.ZooSettings`.
        train_points: that a network is trained on.
        x_low, x_high: the range of x.
        optimizer, steps, learning_rate, gain, bias_std: see `datamodules.zoo.network_training.TrainingSettings`.
        zoo_seed: of everything that is drawn for the zoo; another one is another zoo.
        batch_size: networks a batch and rank.
        num_workers: processes that gather batches.
        cache: folder of all zoos.
        processes: that make the zoo; None: one a core.
        network: a file with one network to read, see `datamodules.zoo.network_file`.
        network_activation: of that network; None: as `activation`.
        seed: of the order of the batches.

    Raises:
        UserError: a value is outside what is listed.
    """

    def __init__(
        self,
        networks: int = 100_000,
        validation_networks: int = 2048,
        test_networks: int = 5000,
        widths: str = "1-8-7-8-1",
        activation: str = "tanh",
        biases: bool = True,
        start: str = "independent",
        start_seed: int = 0,
        optimizer: str = "gauss_newton",
        steps: int = 16,
        learning_rate: float = 0.02,
        gain: float = 1.0,
        bias_std: float = 0.5,
        passes: int = 4,
        floor: float = 0.999,
        train_points: int = 16,
        x_low: float = -1.0,
        x_high: float = 1.0,
        target_size: float = 1.0,
        equations: str = "uniform",
        degree: int = 2,
        largest: int = 5,
        functions: Sequence[str] = (),
        terms: int | None = None,
        zoo_seed: int = 0,
        batch_size: int = 128,
        num_workers: int = 0,
        cache: str = "logs/zoo",
        processes: int | None = None,
        network: str | None = None,
        network_activation: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, word, allowed in (
            ("start", start, STARTS), ("optimizer", optimizer, OPTIMIZERS), ("equations", equations, EQUATIONS)
        ):  # fmt: skip
            if word not in allowed:
                raise UserError(f"{name}={word} does not exist; {near(word, allowed)}")
        if x_low >= x_high:
            raise UserError(f"x_low={x_low} must be less than x_high={x_high}")
        if not target_size > 0:
            raise UserError(f"target_size={target_size} is not allowed: it must be greater than 0")
        if not biases and x_low != -x_high:
            raise UserError(f"without biases x must range from -x_high to x_high, not from {x_low} to {x_high}")
        self.counts = {"train": networks, "validation": validation_networks, "test": test_networks}
        self.settings = ZooSettings(
            shape=NetworkShape.of(widths, activation, biases),
            start=start,
            start_seed=start_seed,
            training=TrainingSettings(optimizer, steps, learning_rate, gain, bias_std),
            passes=passes,
            floor=floor,
            points=train_points,
            low=x_low,
            high=x_high,
            target_size=target_size,
            equations=equations,
            degree=degree,
            largest=largest,
            functions=tuple(map(str, functions)),
            terms=terms,
            seed=zoo_seed,
        )
        self.settings.vocabulary.size(x_low, x_high)  # refuses what it does not know, and what is not finite
        self.batch_size, self.num_workers = batch_size, num_workers
        self.cache, self.processes, self.seed = cache, processes, seed
        self.network, self.network_activation = network, network_activation or activation
        self.one: tuple[NetworkShape, Tensor] | None = None
        """The network of the file, shape and weights `[1, P]`; None without one."""
        self.zoo: dict[str, Shards] = {}

    def reader_arguments(self) -> dict[str, Any]:
        """What a reader of these networks must know of them."""
        settings = self.settings
        return {
            "widths": "-".join(map(str, settings.shape.widths)),
            "activation": settings.shape.activation,
            "biases": settings.shape.biases,
            "low": settings.low,
            "high": settings.high,
            "degree": settings.degree,
            "largest": settings.largest,
            "functions": list(settings.functions),
            "terms": settings.terms,
            "canonical": settings.equations == "uniform",
        }

    def prepare_data(self) -> None:
        """Make what the zoo lacks; any number of processes share the work."""
        if self.network is None:
            make_zoo(self.settings, self.cache, self.counts, self.processes)

    def setup(self, stage: str | None = None) -> None:
        """Open the zoo, or the file."""
        if self.network is not None:
            self.one = read_network(self.network, self.network_activation)
        elif not self.zoo:
            folder = Path(self.cache) / self.settings.name
            self.zoo = {name: Shards(folder, self.settings, name, count) for name, count in self.counts.items()}
            poor = [name for name, part in self.zoo.items() if not len(part.accepted)]
            if poor:
                raise UserError(
                    f"no network of the {poor[0]} part reaches R2 {self.settings.floor}: give more data.steps or "
                    "data.passes, or a lower data.floor"
                )

    def facts(self) -> dict[str, float]:
        """How well, and how fast, the zoo was trained; empty without one."""
        if not self.zoo:
            return {}
        r2 = torch.cat([torch.from_numpy(part.r2) for part in self.zoo.values()])
        seconds = sum(part.cpu_seconds for part in self.zoo.values())
        return {
            "zoo/networks": float(len(r2)),
            "zoo/r2_median": float(r2.median()),
            "zoo/accepted_rate": sum(len(part.accepted) for part in self.zoo.values()) / len(r2),
            "zoo/networks_per_second": len(r2) / max(seconds, 1e-9),
        }

    def train_dataloader(self) -> BatchLoader:
        """The training part, in another order every epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        """The validation part."""
        return self._loader("validation")

    def test_dataloader(self) -> BatchLoader:
        """The test part."""
        return self._loader("test")

    def _loader(self, split: str, shuffle: bool = False) -> BatchLoader:
        if self.zoo:
            columns = (self.zoo[split].column("weights"), self.zoo[split].column("ids"))
        else:
            empty = torch.zeros(0, self.settings.shape.size), torch.zeros(0, 2, dtype=torch.int64)
            return BatchLoader(empty, self.batch_size)
        size = self.batch_size if shuffle else max(self.batch_size, 256)
        return BatchLoader(columns, size, shuffle, self.seed, num_workers=self.num_workers)
