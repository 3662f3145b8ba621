"""System 3's data: a zoo of small networks with their equations, as a LightningDataModule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.loading.batch_loader import BatchLoader
from datamodules.settings.network_weights import NetworkWeightsSettings
from datamodules.zoo.network_file import NetworkFileError, read_network
from datamodules.zoo.network_zoo import make_zoo
from datamodules.zoo.shards import Shards
from foundation.errors import UserError
from modules.networks.weights.small_networks import NetworkShape
from modules.settings.weights_to_tokens import ReadingTask

__all__ = ["NetworkWeights"]


class NetworkWeights(LightningDataModule):
    """Batches of networks: weights `[batch, P]` and the ids of their equations `[batch, T]`, padded with 0.

    The zoo is made once, by all processes that ask for it, and kept in `cache` under a name that its settings
    decide; see `datamodules.zoo.network_zoo`. With `network` there is no zoo: one network is read from a file,
    and all loaders are empty.

    Example:
        `python train.py model=weights_to_tokens data.networks=100000 data.activation=gelu`

    Args:
        **options: settings by name, see `datamodules.settings.network_weights.NetworkWeightsSettings`.

    Raises:
        UserError: a setting is unknown or its value not allowed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.settings = NetworkWeightsSettings.of(options)
        self.one: tuple[NetworkShape, Tensor] | None = None
        """The network of the file, shape and weights `[1, P]`; None without one."""
        self.zoo: dict[str, Shards] = {}

    def task(self) -> ReadingTask:
        """Facts about these networks that a reader needs."""
        settings = self.settings
        return ReadingTask(
            widths=settings.widths,
            activation=settings.activation,
            biases=settings.biases,
            low=settings.x_low,
            high=settings.x_high,
            degree=settings.degree,
            largest=settings.largest,
            canonical=settings.equations == "uniform",
            functions=settings.functions,
            terms=settings.terms,
        )

    def prepare_data(self) -> None:
        """Make the missing networks of the zoo; any number of processes share the work."""
        if self.settings.network is None:
            make_zoo(self.settings, self.settings.cache, self.settings.counts, self.settings.processes)

    def setup(self, stage: str | None = None) -> None:
        """Open the zoo, or the file."""
        if self.settings.network is not None:
            activation = self.settings.network_activation or self.settings.activation
            try:
                self.one = read_network(self.settings.network, activation)
            except NetworkFileError as error:
                raise UserError(f"data.network={error}") from error
        elif not self.zoo:
            settings, folder = self.settings, Path(self.settings.cache) / self.settings.name
            self.zoo = {name: Shards(folder, settings, name, count) for name, count in settings.counts.items()}
            poor = [name for name, part in self.zoo.items() if not len(part.accepted)]
            if poor:
                raise UserError(
                    f"no network of the {poor[0]} part reaches R2 {self.settings.floor}: give more data.steps or "
                    "data.passes, or a lower data.floor"
                )

    def facts(self) -> dict[str, float]:
        """Accuracy and speed of the zoo's training; empty without a zoo."""
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
            return BatchLoader(empty, self.settings.batch_size)
        size = self.settings.batch_size if shuffle else max(self.settings.batch_size, 256)
        return BatchLoader(columns, size, shuffle, self.settings.seed, num_workers=self.settings.num_workers)
