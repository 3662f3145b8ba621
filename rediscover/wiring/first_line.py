"""The first line of a run: what it is, where it goes, and which command explains the target where it does not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from rediscover.wiring.job import Job
from runs.directory import short_path

__all__ = ["first_line"]

CALIFORNIA = "sklearn:california_housing"
"""Table of `data=california`, which names no path."""


def first_line(job: Job, search: Any) -> str:
    """What is printed before a fit.

    Args:
        job: Run to be made.
        search: Search callback of the run, or None.
    """
    line = f"{job.model} on {job.data}, in {short_path(job.run_dir)}"
    data = job.config.data
    if search is None or not getattr(search, "of_latents", False) or not {"target", "problem"} & set(data):
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
