"""The sizes of the map of equations that are shipped, as their configurations say, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from datamodules.equations import Equations
    from modules.networks.equation_map.conditional_vae import ConditionalVAE

PRESETS: dict[str, tuple[str, ...]] = {
    "small": ("model=cvae",),
    "base": ("experiment=cvae_base",),
    "paper": ("experiment=cvae_paper",),
}
"""Name -> what `train.py` is told."""


def configuration(name: str) -> DictConfig:
    """The whole configuration of a preset."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    folder = Path(__file__).parents[1] / "configs"
    with initialize_config_dir(str(folder), version_base="1.3"):
        return cast("DictConfig", compose("train", overrides=[*PRESETS[name], "search=none"]))


def datamodule(config: DictConfig, **changes: Any) -> Equations:
    """Its data, from the stream."""
    from hydra.utils import instantiate

    data = instantiate(config.data, _convert_="all", **({"corpus": None, "num_workers": 0} | changes))
    return cast("Equations", data)


def network(config: DictConfig, data: Equations) -> ConditionalVAE:
    """Its network, untrained."""
    from modules.networks.equation_map.conditional_vae import ConditionalVAE

    training = {"learning_rate", "weight_decay", "ema_decay", "init", "_target_"}
    sizes = {
        name: value
        for name, value in config.model.items()
        if name not in training and not str(name).endswith(("_steps", "_weight", "_bits", "_share"))
    }
    return ConditionalVAE(data.vocabulary, longest=data.longest, **cast("dict[str, Any]", sizes))
