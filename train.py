"""Fit a model, test it, search for equations in it, and report.

    python train.py                                   the autoencoder on California Housing, all of it
    python train.py model=autoencoder data=tabular data.path=houses.csv data.target=price
    python train.py data=problem data.problem=nguyen  a benchmark problem, or a suite of them, a run each
    python train.py experiment=autoencoder_paper      a published setting
    python train.py model=cvae init=scratch           or pretrained, or a file of weights
    python train.py trainer=ddp trainer.devices=4     several GPUs
    python train.py model=weights_to_tokens data.network=FILE   the equation of a small network
    python train.py resume=auto                       go on with the newest run that was cut off
    python train.py -m seed=0,1,2                     a sweep

What the user can mend is one line on stderr, `error: ...`, and exit code 2; SIGTERM is exit code 143 with
everything saved; a fault of the program keeps its traceback.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from configs.validation import ConfigError, check_config, explain
from foundation.errors import UserError
from runs.directory import (
    RunDirectoryError,
    check_checkpoint_file,
    check_run_directory,
    checkpoint_of,
    claimed,
    newest_unfinished,
    run_directory_of,
    wandb_run_id,
)

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.loggers import Logger

__all__ = ["main"]

# Torch, Lightning and W&B are imported inside functions, after the configuration is found to be sound: they take
# seconds, and a wrong key should not.

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
PROBLEM = "data.problem="
SHORT = "init="  # for model.init=
LAUNCHERS = {"TORCHELASTIC_RUN_ID": "WORLD_SIZE", "SLURM_JOB_ID": "SLURM_NTASKS"}


def main() -> None:
    """Run the command line; the entry point of `python train.py`."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and what is said about it is said here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _one_sentence():
        sys.argv[1:] = arguments_of_a_suite(arguments_to_go_on(spelled_out(sys.argv[1:])))
        compose_and_run()


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2; anything else passes through as it is."""
    try:
        yield
    except UserError as error:
        _refuse(str(error))
    except Exception as error:
        sentence = explain(error) or _disk_fault(error)
        if sentence is None:
            raise
        _refuse(sentence)


def _disk_fault(error: Exception) -> str | None:
    if not isinstance(error, OSError) or error.errno not in DISK_ERRORS:
        return None
    where = f" to {error.filename}" if error.filename else ""
    return f"cannot write{where}: {os.strerror(error.errno or 0)}; make room, then resume=RUN_DIR"


def _refuse(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(2) from None


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def compose_and_run(config: DictConfig) -> None:
    """One job: a configuration that Hydra has composed."""
    with _one_sentence():  # here, not only outside: Hydra prints its own lines about whatever leaves a job
        _check_launch(config)
        check_config(config)
        run(config, Path(HydraConfig.get().runtime.output_dir), dict(HydraConfig.get().runtime.choices))


# ------------------------------------------------------------------------------------------- the run


def run(config: DictConfig, run_dir: Path, choices: dict[str, Any]) -> None:
    """Fit, test, search.

    Args:
        config: A sound configuration.
        run_dir: The run directory, which exists.
        choices: The chosen option of each configuration group.

    Raises:
        UserError: For whatever the user can mend.
    """
    with claimed(run_dir) if _rank() == 0 else contextlib.nullcontext():
        _run(config, run_dir, choices)


def _run(config: DictConfig, run_dir: Path, choices: dict[str, Any]) -> None:
    first = _rank() == 0
    checkpoint = _starting_point(config, run_dir)
    import lightning.pytorch as pl
    import torch

    from callbacks.run_record import RunRecord

    _quiet()
    if config.threads is not None:
        torch.set_num_threads(config.threads)

    pl.seed_everything(config.seed, workers=True, verbose=False)
    datamodule: LightningDataModule = hydra.utils.instantiate(config.data, _convert_="all")
    datamodule.prepare_data()
    datamodule.setup("fit")
    model = build_model(config, datamodule)
    state = _load(checkpoint, model) if checkpoint is not None else None
    facts = {"model": choices["model"], "data": _data_name(config, choices), "seed": config.seed}
    facts["wandb_run_id"] = wandb_run_id(run_dir) if first and config.logger else None
    record = RunRecord(run_dir, facts, writes=first)
    if first and config.resume is not None:
        _remember_overrides(run_dir)
    search = build_search(config, run_dir)
    trainer = build_trainer(config, run_dir, record, search, state, facts["wandb_run_id"])
    if first:
        print(f"{choices['model']} on {facts['data']}, in {_short(run_dir)}", flush=True)
    with _closing(trainer):
        with record.phase("fit"):  # one that was over ends before its first step
            resumed = checkpoint if state is not None and state["global_step"] > 0 else None
            trainer.fit(model, datamodule, ckpt_path=resumed, weights_only=True)
        with record.phase("test"):
            _take_best(config, run_dir, model)
            trainer.test(model, datamodule, verbose=False)
        if search is not None:
            with record.phase("search"):
                search.search(trainer, model, datamodule)
        record.finish(trainer)
        if first:
            _report(run_dir)


def build_model(config: DictConfig, datamodule: Any) -> "LightningModule":
    """The model, with what of its constructor the data decides (`Model.data_arguments(datamodule)`)."""
    kind = hydra.utils.get_class(config.model["_target_"])
    from_data = kind.data_arguments(datamodule) if hasattr(kind, "data_arguments") else {}
    model: LightningModule = hydra.utils.instantiate(config.model, **from_data, _convert_="all")
    return model


def build_search(config: DictConfig, run_dir: Path) -> Any:
    """The search callback, told not to begin by itself: `search(trainer, …)` is called after the test."""
    if "_target_" not in config.search:  # search=none; an experiment may still have set keys of a search
        return None
    return hydra.utils.instantiate(config.search, run_dir=str(run_dir), deferred=True, _convert_="all")


def build_trainer(
    config: DictConfig,
    run_dir: Path,
    record: "Callback",
    search: "Callback | None",
    state: dict[str, Any] | None,
    run_id: str | None,
) -> "Trainer":
    """A Trainer with everything that makes a run resumable and its loop cheap.

    Args:
        config: The configuration.
        run_dir: The run directory.
        record: What writes `results.json`.
        search: The search callback, or None.
        state: What the checkpoint says that the run goes on from, or None.
        run_id: The W&B run id, or None.
    """
    import lightning.pytorch as pl

    from callbacks.checkpoints import EpochCheckpoint, best_checkpoint
    from callbacks.progress import EpochProgress
    from callbacks.random_state import RandomState
    from callbacks.run_record import csv_logger
    from callbacks.termination import Termination

    folder = run_dir / "checkpoints"
    callbacks: list[Callback] = [RandomState(), Termination(), EpochProgress(), record]
    callbacks += _callbacks_of_the_model(config, run_dir)
    if search is not None:
        callbacks.append(search)
    callbacks.append(EpochCheckpoint(folder))
    if config.checkpoint.monitor is not None:
        callbacks.append(best_checkpoint(folder, config.checkpoint.monitor, config.checkpoint.mode))
    first = _rank() == 0
    loggers: list[Logger] = [csv_logger(run_dir, state["global_step"] if state else 0, writes=first)]
    if config.logger:
        loggers.append(_wandb_logger(config, run_dir, run_id))
    settings = {
        "num_sanity_val_steps": 0,  # the data have been checked, and the check would draw random numbers
        "use_distributed_sampler": False,  # the loaders shard themselves, by seed and epoch
        "enable_model_summary": False,
        "log_every_n_steps": 50,
        **OmegaConf.to_container(config.trainer, resolve=True),  # type: ignore[dict-item]
    }
    try:
        return pl.Trainer(**settings, callbacks=callbacks, logger=loggers, default_root_dir=str(run_dir))
    except (TypeError, ValueError, pl.utilities.exceptions.MisconfigurationException) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def _callbacks_of_the_model(config: DictConfig, run_dir: Path) -> "list[Callback]":
    """What a model's configuration adds to the Trainer; a key `run_dir` of an entry is the run's own."""
    entries = [entry for entry in (config.get("callbacks") or {}).values() if entry is not None]
    return [
        hydra.utils.instantiate(
            entry, _convert_="all", **({"run_dir": str(run_dir)} if "run_dir" in entry else {})
        )
        for entry in entries
    ]


def _wandb_logger(config: DictConfig, run_dir: Path, run_id: str | None) -> "Logger":
    """All runs of a machine in one folder, `logs/wandb`, under an id that a resumed run takes up again."""
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    options = config.logger
    mode = os.environ.get("WANDB_MODE", options.mode)
    if mode == "auto":
        with contextlib.redirect_stderr(None):
            mode = "online" if wandb.login(prompt=False) else "offline"
    save_dir = Path(options.save_dir).resolve()
    save_dir.mkdir(parents=True, exist_ok=True)
    if _rank() != 0:
        return WandbLogger(project=options.project, save_dir=str(save_dir), offline=True)  # never opens a run
    experiment = wandb.init(
        project=options.project,
        name=f"{run_dir.parent.name}/{run_dir.name}",
        dir=str(save_dir),
        id=run_id,
        group=options.group,
        tags=list(options.tags),
        resume="allow",
        mode=mode,
        settings=wandb.Settings(silent=True),
        config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
    )
    experiment.define_metric("trainer/global_step")
    experiment.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(experiment=experiment, save_dir=str(save_dir))


# ------------------------------------------------------------------------------------ several problems


def arguments_of_a_suite(arguments: Sequence[str]) -> list[str]:
    """Turn `data.problem=SUITE`, or several names joined by commas, into a sweep: a run fits one problem.

    Args:
        arguments: The command line without the program.

    Returns:
        The command line for Hydra.

    Raises:
        ProblemError: There is no such problem or suite.
    """
    value = _unquoted(next((item for item in reversed(arguments) if item.startswith(PROBLEM)), "")[len(PROBLEM) :])
    if not re.fullmatch(r"[\w.,-]+", value):  # none, or what only Hydra understands
        return list(arguments)
    from datamodules.tables.problems import names_of

    names = names_of(value)
    if names == (value,):
        return list(arguments)
    others = [item for item in arguments if not item.startswith(PROBLEM)]
    if not {"-m", "--multirun"} & set(arguments):
        print(f"{PROBLEM}{value} is a sweep of {len(names)} runs, one a problem", flush=True)
        others = ["-m", *(item.replace("hydra.run.dir=", "hydra.sweep.dir=") for item in others)]
    return [*others, f"{PROBLEM}{','.join(names)}"]


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """`init=…`, which is short for `model.init=…`, written out."""
    return [f"model.{argument}" if argument.startswith(SHORT) else argument for argument in arguments]


# ---------------------------------------------------------------------------------------- going on


def arguments_to_go_on(arguments: Sequence[str]) -> list[str]:
    """Turn `resume=…` or `ckpt_path=…` into the command line of the run that is to go on, in its own directory.

    The overrides that the run was started with come first, then what is given now, which wins.

    Args:
        arguments: The command line without the program.

    Returns:
        The command line for Hydra.

    Raises:
        RunDirectoryError: What is to go on cannot.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    resume, checkpoint = given.get("resume"), given.get("ckpt_path")
    if checkpoint not in (None, "null"):
        file = check_checkpoint_file(_unquoted(checkpoint))
        folder = run_directory_of(file)
        if folder is not None and given.get("data.network", "null") != "null":  # it reads, and is left as it is
            return [*_saved_overrides(folder), *arguments]
        if folder is None or "hydra.run.dir" in given:
            return list(arguments)  # a file from elsewhere: a new run that begins from it
    elif resume == "auto":
        folder = newest_unfinished(Path("logs") / _chosen_model(arguments))
        if folder is None:
            print("resume=auto found no run that was cut off: a new one begins", file=sys.stderr, flush=True)
            return [argument for argument in arguments if not argument.startswith("resume=")]
    elif resume not in (None, "null"):
        folder = check_run_directory(_unquoted(resume))
    else:
        return list(arguments)
    if given.get("hydra.run.dir") is not None:
        if Path(_unquoted(given["hydra.run.dir"])).resolve() == folder:
            return list(arguments)  # a process of a distributed run, started with what was worked out before
        raise RunDirectoryError("a run goes on in its own directory: leave out hydra.run.dir")
    mine = [argument for argument in arguments if not argument.startswith(("resume=", "ckpt_path="))]
    if checkpoint is not None:
        mine.append(f"ckpt_path='{file}'")
    going_on = [f"resume='{folder}'", f"hydra.run.dir='{folder}'", "hydra.output_subdir=null"]
    return [*_saved_overrides(folder), *mine, *going_on]


def _saved_overrides(folder: Path) -> list[str]:
    text = (folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")
    try:
        overrides = yaml.safe_load(text)
    except yaml.YAMLError:
        overrides = None
    if not isinstance(overrides, list):
        raise RunDirectoryError(f"{folder}/.hydra/overrides.yaml cannot be read: start a new run")
    return [str(item) for item in overrides if not str(item).startswith(("resume=", "ckpt_path="))]


def _remember_overrides(folder: Path) -> None:
    """Keep what a resumed run was given in addition, for the next time; only now is it known to be sound."""
    from callbacks.run_record import write_atomically

    overrides = [
        item for item in HydraConfig.get().overrides.task if not item.startswith(("resume=", "ckpt_path="))
    ]
    write_atomically(folder / ".hydra" / "overrides.yaml", yaml.safe_dump(overrides))


def _chosen_model(arguments: Sequence[str]) -> str:
    """The model that a command line leads to."""
    if any(argument.startswith(("model=", "experiment=")) for argument in arguments):
        choices = [
            argument
            for argument in arguments
            if argument.startswith(("model=", "experiment=", "data=", "search="))
        ]
        with hydra.initialize(version_base="1.3", config_path="configs"):
            composed = hydra.compose("train", overrides=choices, return_hydra_config=True)
            return str(composed.hydra.runtime.choices.model)
    return "autoencoder"


def _unquoted(text: str | None) -> str:
    return (text or "").strip("'\"")


def _starting_point(config: DictConfig, run_dir: Path) -> Path | None:
    """The checkpoint this run begins from."""
    if config.ckpt_path is not None:
        return check_checkpoint_file(config.ckpt_path)
    if config.resume is not None:
        path = checkpoint_of(run_dir)
        return None if path is None else check_checkpoint_file(path)
    return None


def _load(path: Path, model: "LightningModule") -> dict[str, Any]:
    """What a checkpoint says about itself, after making sure that it fits the model.

    Raises:
        RunDirectoryError: It is torn, of another model, or of one with other sizes.
    """
    state = _read_checkpoint(path)
    wanted, found = type(model).__name__, state.get("model_class")
    ours, theirs = model.state_dict(), state["state_dict"]
    if found is None and ours.keys() != theirs.keys():
        found = "another model"
    if found not in (None, wanted):
        raise RunDirectoryError(
            f"{_short(path)} is a checkpoint of {found}, not of {wanted}: choose its own model"
        )
    if {name: value.shape for name, value in ours.items()} != {
        name: value.shape for name, value in theirs.items()
    }:
        settings = {key: value for key, value in state.get("hyper_parameters", {}).items() if key in model.hparams}
        different = [f"{key}={value}" for key, value in settings.items() if value != model.hparams[key]]
        raise RunDirectoryError(
            f"{_short(path)} is of a model of other sizes: it was built with {', '.join(different)}; give the same"
        )
    if "optimizer_states" not in state:
        raise RunDirectoryError(f"{_short(path)} holds weights alone: go on from the last.ckpt beside it")
    return {"global_step": state["global_step"]}


def _read_checkpoint(path: Path) -> dict[str, Any]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a torn or a strange file makes of it
        raise RunDirectoryError(f"{path} is not a checkpoint that can be read safely: give another one") from error
    if not isinstance(state, dict) or not {"state_dict", "global_step"} <= state.keys():
        raise RunDirectoryError(f"{path} is not a Lightning checkpoint: give another one")
    return state


def _take_best(config: DictConfig, run_dir: Path, model: "LightningModule") -> None:
    """Test and search the best epoch, where one was asked for."""
    best = run_dir / "checkpoints" / "best.ckpt"
    if config.checkpoint.monitor is not None and best.is_file():
        model.load_state_dict(_read_checkpoint(best)["state_dict"])


# --------------------------------------------------------------------------------------- small things


def _check_launch(config: DictConfig) -> None:
    """Refuse what would end in a tangle of processes or directories."""
    hydra_config = HydraConfig.get()
    sweep = hydra_config.mode == RunMode.MULTIRUN
    devices = config.trainer.get("devices", 1)
    several = config.trainer.get("strategy", "auto") not in ("auto", "single_device") and devices != 1
    if sweep and (several or config.trainer.get("num_nodes", 1) != 1):
        raise ConfigError(
            "a sweep runs its jobs in one process each: use trainer=default, or one command a job with trainer=ddp"
        )
    if sweep and config.resume is not None:
        raise ConfigError("a sweep cannot resume: resume its runs one by one, resume=RUN_DIR")
    for mark, size in LAUNCHERS.items():
        given = any(item.startswith("hydra.run.dir=") for item in hydra_config.overrides.hydra)
        if mark in os.environ and int(os.environ.get(size, "1")) > 1 and not given:
            raise ConfigError(
                "processes started by a launcher must share a directory: give them hydra.run.dir=DIR"
            )


def _rank() -> int:
    """This process's number among those of the run, before the Trainer exists."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return 0


def _quiet() -> None:
    """Keep the terminal for what the user needs."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")  # nothing is logged a step
    warnings.filterwarnings("ignore", message=".*Experiment logs directory.*")
    warnings.filterwarnings("ignore", message=".*across ranks is zero.*")  # one network is read
    warnings.filterwarnings("ignore", message=".*no `validation_step`.*")  # some models only fit and test


@contextlib.contextmanager
def _closing(trainer: "Trainer") -> Iterator[None]:
    """Close the W&B run whatever happens: the next job of a sweep must begin its own."""
    code = 1
    try:
        yield
        code = 0
    finally:
        for logger in trainer.loggers:
            logger.finalize("success" if code == 0 else "failed")
        if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
            sys.modules["wandb"].finish(exit_code=code)


def _data_name(config: DictConfig, choices: dict[str, Any]) -> str:
    if "problem" in config.data:
        return str(config.data.problem)
    name = str(choices["data"])
    return f"{name}:{Path(str(config.data.path)).name}" if "path" in config.data else name


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _report(run_dir: Path) -> None:
    """The flat metrics of the test, and where everything is."""
    from callbacks.run_record import read_results

    results = read_results(run_dir)
    shown = [
        f"{name} {value:.6g}"
        for name, value in results.get("metrics", {}).items()
        if name.startswith("test/") and value
    ]
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in results.get("seconds", {}).items() if value)
    width = shutil.get_terminal_size().columns
    print(
        "\n".join(line for line in (", ".join(shown), seconds, f"all in {_short(run_dir)}"))[: 10 * width],
        flush=True,
    )


if __name__ == "__main__":
    main()
