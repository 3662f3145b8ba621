"""What a configuration may name, and the settings class that says the defaults and limits of its keys.

The defaults stand in the settings classes alone. Hydra gets them from here, under `defaults/GROUP_NAME`; a file
such as `configs/model/cvae.yaml` begins with them, and holds what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.core.config_store import ConfigStore

from callbacks.settings.searches import (
    CMAESSearchSettings,
    DistillationSettings,
    EliteRepositorySettings,
    GPSearchSettings,
    NetworkReadingSettings,
    StructureSearchOwnSettings,
)
from datamodules.settings.equations import EquationsSettings
from datamodules.settings.network_weights import NetworkWeightsSettings
from datamodules.settings.tables import CaliforniaSettings, ProblemSettings, TabularSettings
from foundation.settings import Settings
from modules.settings.autoencoder import AutoencoderSettings
from modules.settings.cvae import CVAESettings
from modules.settings.gmeql import GMEQLPaperSettings, GMEQLSettings
from modules.settings.weights_to_tokens import WeightsToTokensSettings
from searches.evolution.settings import GeneticProgrammingSettings
from searches.gumbel_structures.settings import StructureSearchSettings
from searches.latent_space.settings import LatentSearchSettings
from searches.portfolio_members.settings import PortfolioSettings

__all__ = ["SETTINGS", "defaults_of", "register"]

SETTINGS: Mapping[str, tuple[str, tuple[type[Settings], ...]]] = {
    "modules.autoencoder.Autoencoder": ("model_autoencoder", (AutoencoderSettings,)),
    "modules.cvae.CVAE": ("model_cvae", (CVAESettings,)),
    "modules.gmeql.GMEQL": ("model_gmeql", (GMEQLSettings,)),
    "modules.gmeql_paper.GMEQLPaper": ("model_gmeql_paper", (GMEQLPaperSettings,)),
    "modules.weights_to_tokens.WeightsToTokens": ("model_weights_to_tokens", (WeightsToTokensSettings,)),
    "datamodules.california.CaliforniaHousing": ("data_california", (CaliforniaSettings,)),
    "datamodules.equations.Equations": ("data_equations", (EquationsSettings,)),
    "datamodules.network_weights.NetworkWeights": ("data_network_weights", (NetworkWeightsSettings,)),
    "datamodules.problem_data.ProblemData": ("data_problem", (ProblemSettings,)),
    "datamodules.tabular.TabularData": ("data_tabular", (TabularSettings,)),
    "callbacks.cmaes_search.CMAESSearch": ("search_cmaes", (CMAESSearchSettings, LatentSearchSettings)),
    "callbacks.distillation.Distillation": (
        "search_distill",
        (DistillationSettings, PortfolioSettings),
    ),
    "callbacks.elite_repository.EliteRepository": ("search_elites", (EliteRepositorySettings,)),
    "callbacks.gp_search.GPSearch": ("search_gp", (GPSearchSettings, GeneticProgrammingSettings)),
    "callbacks.network_reading.NetworkReading": ("search_network_reading", (NetworkReadingSettings,)),
    "callbacks.structure_search.StructureSearch": (
        "search_structures",
        (StructureSearchOwnSettings, StructureSearchSettings),
    ),
}
"""Class that a configuration names -> name of its defaults, and settings classes: its own, and those of its
search."""


def defaults_of(target: str) -> dict[str, Any]:
    """Default values of all keys of a class; its own settings stand before those of its search."""
    values: dict[str, Any] = {}
    for settings in SETTINGS[target][1]:
        values = {**settings.defaults(), **values}
    return values


def register() -> None:
    """Give Hydra the defaults."""
    store = ConfigStore.instance()
    for target, (name, _) in SETTINGS.items():
        store.store(group="defaults", name=name, node={"_target_": target, **defaults_of(target)})
