"""A default stands in one place: settings classes have it, configuration files hold what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from configs.registry import SETTINGS, defaults_of
from configs.validation import check_config
from modules.networks.perceptron import ACTIVATIONS as LAYERS
from modules.networks.weights.small_networks import ACTIVATIONS
from modules.settings.activations import ACTIVATION_NAMES

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
GROUPS = ("data", "model", "search")
PRESETS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))


def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose("train", overrides=list(overrides)), resolve=True)
    return dict(plain)


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def written(path: Path) -> dict[str, Any]:
    """What a file says itself, by key; interpolations and mandatory values are no defaults."""
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    content.pop("defaults", None)
    if "@package _global_" not in path.read_text(encoding="utf-8"):
        content = {path.parent.name: content}
    return {
        key: value
        for key, value in leaves(content)
        if key.split(".")[0] in GROUPS and not str(value).startswith(("${", "???"))
    }


@pytest.mark.parametrize(
    "path", [path for group in GROUPS for path in sorted((CONFIGS / group).glob("*.yaml"))], ids=lambda p: p.stem
)
def test_no_file_repeats_a_default(path: Path) -> None:
    own = written(path)
    choice = f"{path.parent.name}={path.stem}"
    needs = ["data.path=houses.csv"] if path.stem == "tabular" else []
    config = composed(choice, *needs)
    for key, value in own.items():
        group, _, name = key.partition(".")
        if "_target_" not in config[group]:  # search=none
            continue
        default = defaults_of(config[group]["_target_"]).get(name, "no default")
        assert value != default, f"{path.name} says {key}={value}, which is the default"


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_repeats_what_holds_without_it(preset: str) -> None:
    path = CONFIGS / "experiment" / f"{preset}.yaml"
    entries: Any = OmegaConf.to_container(OmegaConf.load(path)).get("defaults", [])  # type: ignore[union-attr]
    choices = [
        f"{group.removeprefix('override /')}={choice}" for entry in entries for group, choice in entry.items()
    ]
    without = dict(leaves(composed(*choices)))
    for key, value in written(path).items():
        assert value != without.get(key, "nothing"), f"{preset} says {key}={value}, which holds without it"


def test_what_hydra_composes_are_the_defaults_of_the_classes() -> None:
    models = sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml"))
    assert len(models) == 5
    for model in models:
        config = composed(f"model={model}")
        for group in GROUPS:
            section = config[group]
            expected = {"_target_": section["_target_"], **defaults_of(section["_target_"])}
            assert section == expected | {"seed": config["seed"]} if "seed" in section else section == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_allowed(preset: str, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        check_config(compose("train", overrides=[f"experiment={preset}"]))


def test_every_configured_class_exists_and_takes_its_defaults() -> None:
    from hydra.utils import get_class

    for target, (_, classes) in SETTINGS.items():
        assert get_class(target).__name__ == target.rsplit(".", 1)[1]
        for settings in classes:
            values = settings.defaults()
            assert settings.of(values | {"path": "a.csv"} if "path" in settings.setting_names() else values)


def test_the_names_of_activations_are_those_that_there_are() -> None:
    assert tuple(ACTIVATIONS) == ACTIVATION_NAMES
    assert set(LAYERS) == set(ACTIVATION_NAMES)
