"""What a machine cannot hold is refused before anything is built, and what it can hold is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from callbacks.settings.searches import EliteRepositorySettings
from datamodules.settings.equations import EquationsSettings
from datamodules.settings.tables import ProblemSettings
from datamodules.tables.opened import TableError
from datamodules.tables.table import check_table
from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary
from foundation.settings import Settings, SettingsError
from modules.autoencoder import Autoencoder
from modules.networks.equation_map.conditional_vae import ConditionalVAE
from modules.networks.weights.reader import WeightReader
from modules.settings.autoencoder import AutoencoderSettings
from modules.settings.cvae import CVAESettings, MapSize
from modules.settings.gmeql import GMEQLPaperSettings
from modules.settings.weights_to_tokens import ReadingTask, WeightsToTokensSettings

LARGE: list[tuple[type[Settings], dict[str, Any]]] = [
    (AutoencoderSettings, {"hidden": "99999-99999-99999-99999-99999"}),
    (CVAESettings, {"width": 65_536}),
    (CVAESettings, {"mlp_ratio": 1e9}),
    (CVAESettings, {"decoder_width": 65_536, "decoder_layers": 256}),
    (WeightsToTokensSettings, {"encoder_width": 65_536, "encoder_layers": 64}),
    (WeightsToTokensSettings, {"width": 65_536, "decoder_layers": 64}),
    (GMEQLPaperSettings, {"instances": 1_000_000_000}),
    (EliteRepositorySettings, {"size": 1 << 40}),
    (ProblemSettings, {"train_rows": 1 << 40, "max_rows": 1 << 40}),
    (ProblemSettings, {"test_rows": 1 << 40, "max_rows": 1 << 40}),
    (EquationsSettings, {"programs": 1 << 40}),
    (EquationsSettings, {"batch_size": 1 << 40}),
]


@pytest.mark.parametrize(("settings", "options"), LARGE, ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_is_too_large_is_refused(
    settings: type[Settings], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundation.settings.memory", lambda: 1e12)
    settings()
    first = next(iter(options))
    with pytest.raises(SettingsError, match=rf"{first}=.* needs about .* and this machine has 1,000: give fewer"):
        settings(**options)


def test_more_rows_than_are_kept_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foundation.settings.memory", lambda: 1e9)
    ProblemSettings(train_rows=1 << 40)


def built(name: str) -> tuple[int, Settings, int]:
    """Parameters of a trained network, its settings, and the bytes of a parameter."""
    if name == "autoencoder":
        own = AutoencoderSettings(hidden="512-256", latents=64)
        return parameters(Autoencoder(in_features=8, **own.as_mapping())), own, 16
    if name == "cvae":
        size = CVAESettings(init="scratch")
        with torch.device("meta"):
            network = ConditionalVAE(Vocabulary(["add", "mul", "sin"], 3, INTEGERS), 12, size.part(MapSize))
        return parameters(network), size, 20
    reader = WeightsToTokensSettings(init="scratch")
    return parameters(WeightReader(ReadingTask(), reader)), reader, 20


def parameters(network: torch.nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


@pytest.mark.parametrize("name", ["autoencoder", "cvae", "weights_to_tokens"])
def test_the_estimate_is_no_more_than_what_is_built(name: str) -> None:
    count, settings, each = built(name)
    estimate = sum(settings.needed_memory().values()) / each
    assert count / 4 < estimate <= count


def test_a_table_that_does_not_fit_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(5_000, 3))
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", header="a,b,y", comments="")
    monkeypatch.setattr("datamodules.tables.refusals.memory", lambda: 1e5)
    with pytest.raises(TableError, match=r"is too long for the 0.0 GB of memory .* give max_rows=520 or fewer"):
        check_table(tmp_path / "t.csv", "y")
    assert len(check_table(tmp_path / "t.csv", "y", max_rows=520)) == 520
