"""Loggers of a run: a table of its own for each attempt, and W&B."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from foundation.errors import UserError
from foundation.files import MissingFileError, read_regular
from foundation.terminal import warn
from runs.attempts import ATTEMPTS, begin_attempt
from runs.directory import short_path
from runs.launch import rank

__all__ = ["RunLogger", "build_loggers", "closing", "code_version", "flat"]

START_SECONDS = 60.0  # in which a server must answer, or the run is kept on this machine
FINISH_SECONDS = 60.0  # for what has not been sent at the end
_LARGEST_SETTINGS = 1 << 16  # bytes


class RunLogger(WandbLogger):
    """W&B with the run's own configuration; a fault of W&B ends no run."""

    lost = False
    """Whether W&B has failed, which was said then."""

    def log_hyperparams(self, params: Any) -> None:
        """Nothing: the configuration has these keys already, under their full names."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send numbers, as long as W&B takes them."""
        if self.lost:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception as error:  # whatever becomes of its process
            self.lost = True
            warn(f"warning: W&B has stopped ({type(error).__name__}): the run goes on, metrics.csv has everything")


def build_loggers(
    config: DictConfig, run_dir: Path, first_step: int, run_id: str | None, writes: bool
) -> list[Logger]:
    """A CSVLogger for the next attempt, and W&B where the configuration has it.

    Args:
        config: Configuration of the run.
        run_dir: Run directory.
        first_step: Optimiser step at which the attempt begins.
        run_id: W&B run id; None on all ranks but the first.
        writes: Whether this process writes; False on all ranks but the first.
    """
    version = begin_attempt(run_dir, first_step) if writes else "0"
    loggers: list[Logger] = [CSVLogger(str(run_dir), name=ATTEMPTS, version=version)]
    if config.logger:
        loggers.append(_wandb_logger(config, run_dir, run_id))
    return loggers


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as one mapping with the keys of the command line, such as `model.latents`."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        values |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return values


def code_version() -> str | None:
    """The git commit of this code, with `-dirty` where files differ from it; None where it is not in git."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", __file__], check=True, capture_output=True, timeout=10
        )
        words = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _wandb_logger(config: DictConfig, run_dir: Path, run_id: str | None) -> Logger:
    """A logger for W&B: all runs of a machine in one folder, under an id that a resumed run takes up again.

    Args:
        config: Configuration of the run.
        run_dir: Run directory, which the run is named after.
        run_id: W&B run id; None on all ranks but the first.
    """
    options = config.logger
    save_dir = Path(options.save_dir).resolve()
    save_dir.mkdir(parents=True, exist_ok=True)
    if rank() != 0:
        return RunLogger(project=str(options.project), save_dir=str(save_dir), offline=True)  # never opens a run
    group = None if options.group is None else str(options.group)
    tags = [str(tag) for tag in options.tags]
    settings = flat(OmegaConf.to_container(config, resolve=True))
    given: dict[str, Any] = {
        "project": str(options.project),
        "name": f"{run_dir.parent.name}/{run_dir.name}",
        "dir": str(save_dir),
        "id": run_id,
        "group": group,
        "tags": tags,
        "resume": "allow",
        "config": settings,
    }
    experiment = _begun(given, _mode(options.mode))
    experiment.define_metric("trainer/global_step")
    experiment.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    facts = {"git_commit": code_version(), "group": group, "tags": tags}
    experiment.summary.update({name: value for name, value in facts.items() if value})
    return RunLogger(experiment=experiment, save_dir=str(save_dir))


def _begun(given: Mapping[str, Any], mode: Any) -> Any:
    """A W&B run, offline where its server does not answer or refuses it."""
    settings = wandb.Settings(
        silent=True, init_timeout=START_SECONDS, finish_timeout=FINISH_SECONDS, finish_timeout_raises=True
    )
    try:
        return wandb.init(**given, mode=mode, settings=settings)
    except wandb.errors.Error as error:
        if mode == "offline":
            raise
        reason = " ".join(str(error).split())
        warn(f"warning: W&B cannot be reached ({reason:.200}): this run is kept on this machine")
        return wandb.init(**given, mode="offline", settings=settings)


def _mode(wanted: str) -> Any:
    """How W&B is to run: the environment's word first; `auto` is online where this machine is logged in."""
    mode = os.environ.get("WANDB_MODE", wanted)
    if mode in ("auto", "online"):
        _check_server()
    if mode != "auto":
        return mode
    with contextlib.redirect_stderr(None):
        return "online" if wandb.login(prompt=False) else "offline"


def _check_server() -> None:
    """Make sure that no file in the working directory, which may be a stranger's, says where our key is sent.

    Raises:
        UserError: W&B would read the address of its server there.
    """
    if "WANDB_BASE_URL" in os.environ:  # which W&B believes more than a file
        return
    for folder in ("wandb", ".wandb"):
        path = Path(os.environ.get("WANDB_DIR", "."), folder, "settings")
        with contextlib.suppress(MissingFileError):
            if b"base_url" in read_regular(path, most=_LARGEST_SETTINGS).lower():
                raise UserError(
                    f"{path} names a W&B server, to which your key would be sent: set WANDB_BASE_URL to it where "
                    "you trust it, or delete the file"
                )


@contextlib.contextmanager
def closing(trainer: Trainer) -> Iterator[None]:
    """Close the W&B run whatever happens: the next job of a sweep must begin its own."""
    code = 1
    try:
        yield
        code = 0
    finally:
        for logger in trainer.loggers:
            logger.finalize("success" if code == 0 else "failed")
        if wandb.run is not None:
            _finish(wandb.run, code)


def _finish(run: Any, code: int) -> None:
    """Send what has not been sent yet, for a limited time; it stays on this machine, too."""
    folder = short_path(Path(run.settings.sync_dir).resolve())
    try:
        run.finish(exit_code=code)
    except Exception as error:  # a server or a process that is gone
        reason = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        warn(f"warning: W&B has not got everything ({reason}): `wandb sync {folder}` sends it")
