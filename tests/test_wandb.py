"""Weights & Biases: a server that goes away costs a run nothing, and one sentence says how to send the rest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rediscover.wiring.loggers import _finish, code_version, flat

ROOT = Path(__file__).resolve().parents[1]


class Gone:
    """A W&B run whose server is gone."""

    def __init__(self, folder: Path) -> None:
        self.settings = type("Settings", (), {"sync_dir": str(folder)})()

    def finish(self, exit_code: int) -> None:
        """As W&B does when it has waited long enough."""
        raise TimeoutError("Timed out finishing run.")


def test_what_a_server_has_not_got_can_be_sent_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _finish(Gone(tmp_path / "logs" / "wandb" / "run-1"), 0)
    said = capsys.readouterr().err
    assert (
        said == "warning: W&B has not got everything (no answer in time): `wandb sync logs/wandb/run-1` sends it\n"
    )


def test_a_configuration_is_flat() -> None:
    config = OmegaConf.create({"seed": 1, "model": {"latents": 2, "hidden": [1, 2]}, "search": {"a": {"b": None}}})
    assert flat(OmegaConf.to_container(config)) == {
        "seed": 1,
        "model.latents": 2,
        "model.hidden": [1, 2],
        "search.a.b": None,
    }


def test_the_version_of_the_code_is_a_commit() -> None:
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:
        assert (code_version() or "").removesuffix("-dirty") == head.stdout.strip()
    else:
        assert code_version() is None
