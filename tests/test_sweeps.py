"""Sweeps on engines that exist: jobs side by side on this machine, an array of SLURM jobs, a Ray cluster."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from configs.complaints import PLUGINS, explain

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LAUNCHERS = sorted(path.stem for path in (CONFIGS / "hydra" / "launcher").glob("*.yaml"))
BEHIND = {"ray_cluster": "ray", "side_by_side": "joblib", "slurm": "submitit_slurm"}
SHORT = ("experiment=smoke", "search=none", "logger=csv", "trainer.accelerator=cpu", "trainer.max_epochs=1")


def composed(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("train", list(overrides), return_hydra_config=True)


def installed(launcher: str) -> bool:
    package = PLUGINS[f"launcher/{BEHIND[launcher]}"].replace("-", "_")
    Plugins.instance()  # which puts the plugins on the path
    return importlib.util.find_spec(f"hydra_plugins.{package}") is not None


def test_every_launcher_is_known() -> None:
    assert set(LAUNCHERS) == set(BEHIND)
    assert installed("side_by_side"), "the test extra brings it"
    assert installed("slurm"), "the test extra brings it"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_shipped_launcher_suits_its_class_or_says_what_to_install(launcher: str) -> None:
    """What is composed is checked by the launcher's own schema, and its class takes it."""
    choice = f"hydra/launcher={launcher}"
    if not installed(launcher):
        with pytest.raises(Exception, match="Could not load") as error:
            composed(choice)
        package = PLUGINS[f"launcher/{BEHIND[launcher]}"]
        assert explain(error.value) == f"hydra/launcher={BEHIND[launcher]} is not installed: pip install {package}"
        return
    settings: Any = OmegaConf.to_container(composed(choice).hydra.launcher, resolve=False)
    made = hydra.utils.instantiate({name: value for name, value in settings.items() if "${" not in str(value)})
    assert type(made).__module__.startswith("hydra_plugins.")


def test_slurm_takes_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """submitit writes the script for sbatch, as it would on a cluster."""
    import submitit

    for name in ("srun", "sbatch"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    settings: Any = OmegaConf.to_container(
        composed("hydra/launcher=slurm", "hydra.launcher.partition=long").hydra.launcher, resolve=False
    )
    executor = submitit.AutoExecutor(folder=tmp_path / "logs", cluster="slurm")
    shared = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"}
    shared |= {"stderr_to_stdout"}
    ignored = {"_target_", "submitit_folder", "max_num_timeout"}
    executor.update_parameters(
        **{
            (name if name in shared else f"slurm_{name}"): value
            for name, value in settings.items()
            if name not in ignored and value is not None
        }
    )
    script = executor._executor._make_submission_file_text("python job.py", "1")
    for line in ("--partition=long", "--time=240", "--cpus-per-task=4", "--mem=16GB", "--job-name=rediscover"):
        assert f"#SBATCH {line}\n" in script, script


@pytest.mark.long
def test_jobs_run_side_by_side(tmp_path: Path, command: Callable) -> None:
    """Two processes, each with a directory of its own."""
    ended = command("-m", *SHORT, "hydra/launcher=side_by_side", "seed=1,2", "hydra.sweep.dir=sweep")
    assert ended.code == 0, ended.err
    runs = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/results.json")]
    assert sorted(run["seed"] for run in runs) == [1, 2]
    assert {run["phase"] for run in runs} == {"done"}
