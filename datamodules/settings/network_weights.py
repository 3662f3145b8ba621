"""Settings of the zoo of small networks (system 3)."""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.zoo.settings import ZooSettings
from foundation.settings import processes_rule, seed_setting, setting
from modules.settings.activations import ACTIVATION_NAMES

__all__ = ["NetworkWeightsSettings"]


@dataclass(frozen=True, kw_only=True)
class NetworkWeightsSettings(ZooSettings):
    """Settings of the zoo and of its batches, or of the one network that is read.

    Attributes:
        networks: Number of networks of the training; those below `floor` are then left out.
        validation_networks: Number of networks of validation.
        test_networks: Number of networks of the test.
        batch_size: Number of networks in a batch, for each rank.
        num_workers: Number of processes that gather batches.
        cache: Folder of all zoos.
        processes: Number of processes that make the zoo; None: one for every core.
        network: File with one network to read, see `datamodules.zoo.network_file`; None: none.
        network_activation: Name of that network's activation; None: that of the zoo.
        seed: Random seed for the order of the batches.
    """

    networks: int = setting(100_000, least=1)
    validation_networks: int = setting(2048, least=1)
    test_networks: int = setting(5000, least=1)
    batch_size: int = setting(128, least=1)
    num_workers: int = setting(0, rule=processes_rule(0))
    cache: str = setting("logs/zoo")
    processes: int | None = setting(None, rule=processes_rule())
    network: str | None = setting(None)
    network_activation: str | None = setting(None, choices=ACTIVATION_NAMES)
    seed: int = seed_setting()

    @property
    def counts(self) -> dict[str, int]:
        """Number of networks of every part."""
        return {"train": self.networks, "validation": self.validation_networks, "test": self.test_networks}
