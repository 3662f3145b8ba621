"""The first line of a run: what it is, where it goes, and which command explains the target where it does not."""

from __future__ import annotations

import shlex
from pathlib import Path

from omegaconf import DictConfig

from configs.systems import SYSTEMS, name_of
from rediscover.wiring.job import Job
from runs.directory import short_path

__all__ = ["first_line"]

CALIFORNIA = "sklearn:california_housing"
"""Table of `data=california`, which names no path."""


def first_line(job: Job) -> str:
    """What is printed before torch is imported, which takes seconds.

    Args:
        job: Run to be made.
    """
    line = f"{job.model} on {job.data}, in {short_path(job.run_dir)}"
    data = job.config.data
    search = name_of("search", job.config.search.get("_target_"))
    of_latents = any(system.search == search and system.explains == "latents" for system in SYSTEMS.values())
    if not of_latents or not {"target", "problem"} & set(data):
        return line
    target = data.get("problem", data.get("target"))
    if target is None:
        return f"{line}; its equations explain its latents: for those of a column, run {_command(data)}"
    return f"{line}; its equations explain its latents, not {target}: for that, run {_command(data)}"


def _command(data: DictConfig) -> str:
    """The command that explains the target of a table or a problem, as a shell takes it."""
    if "problem" in data:
        return shlex.join(["python", "train.py", "model=gmeql", f"data.problem={data.problem}"])
    door = ["python", "discover.py"] if Path("discover.py").is_file() else ["rediscover"]
    features = data.get("features")
    chosen = [] if features is None else ["--features", *([features] if isinstance(features, str) else features)]
    path, target = data.get("path", CALIFORNIA), "COLUMN" if data.target is None else data.target
    return shlex.join([*door, str(path), str(target), *map(str, chosen)])
