"""Launch of the processes of a run, and a check that they can work together."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from foundation.errors import UserError

__all__ = ["LaunchError", "check_launch", "rank"]

LAUNCHERS = {"TORCHELASTIC_RUN_ID": "WORLD_SIZE", "SLURM_JOB_ID": "SLURM_NTASKS"}


class LaunchError(UserError):
    """Why a run cannot be started like this."""


def rank() -> int:
    """This process's number among those of the run, before a Trainer exists; 0 is the first one of all machines.

    Where a command a machine starts the others, a process knows the number of its machine and its place there.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    numbers = (os.environ.get(name, "") for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))
    return next((int(number) for number in numbers if number.isdecimal() and int(number) > 0), 0)


def check_launch(trainer: Mapping[str, Any], resumes: bool, sweep: bool, hydra_overrides: Sequence[str]) -> None:
    """Refuse a launch whose processes or directories would conflict.

    Args:
        trainer: Settings of the Trainer.
        resumes: Whether a run is to go on.
        sweep: Whether the run is one of several that one command starts.
        hydra_overrides: Overrides of Hydra's own settings.

    Raises:
        LaunchError: The processes or directories of the run would get in each other's way.
    """
    several = trainer.get("strategy", "auto") not in ("auto", "single_device") and trainer.get("devices", 1) != 1
    if sweep and (several or trainer.get("num_nodes", 1) != 1):
        raise LaunchError(
            "a sweep runs its jobs in one process each: use trainer=default, or one command a job with trainer=ddp"
        )
    if sweep and resumes:
        raise LaunchError("a sweep cannot resume: resume its runs one by one, resume=RUN_DIR")
    shared = any(item.startswith("hydra.run.dir=") for item in hydra_overrides)
    for mark, size in LAUNCHERS.items():
        if mark in os.environ and int(os.environ.get(size, "1")) > 1 and not shared:
            raise LaunchError(
                "processes started by a launcher must share a directory: give them hydra.run.dir=DIR"
            )
