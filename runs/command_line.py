"""The command line of a run, spelled out before Hydra reads it: short forms, suites, runs that go on.

Free of Hydra: the caller says which model a command line leads to.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from foundation.files import replace_file
from foundation.terminal import say, warn
from runs.directory import (
    RunDirectoryError,
    check_checkpoint_file,
    check_run_directory,
    run_directory_of,
)
from runs.unfinished import newest_unfinished

__all__ = ["arguments_of_a_suite", "arguments_to_go_on", "remember_overrides", "spelled_out"]

PROBLEM = "data.problem="
SHORT = "init="  # for model.init=
GOING_ON = ("resume=", "ckpt_path=")
OVERRIDES = Path(".hydra") / "overrides.yaml"


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """`init=…`, which is short for `model.init=…`, written out."""
    return [f"model.{argument}" if argument.startswith(SHORT) else argument for argument in arguments]


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
    from datamodules.tables.problems import names_of  # takes longer than all else that refuses a wrong key

    names = names_of(value)
    if names == (value,):
        return list(arguments)
    others = [item for item in arguments if not item.startswith(PROBLEM)]
    if not {"-m", "--multirun"} & set(arguments):
        say(f"{PROBLEM}{value} is a sweep of {len(names)} runs, one a problem")
        others = ["-m", *(item.replace("hydra.run.dir=", "hydra.sweep.dir=") for item in others)]
    return [*others, f"{PROBLEM}{','.join(names)}"]


def arguments_to_go_on(arguments: Sequence[str], chosen_model: Callable[[Sequence[str]], str]) -> list[str]:
    """Turn `resume=…` or `ckpt_path=…` into the command line of the run that is to go on, in its own directory.

    The overrides that the run was started with come first, then what is given now, which wins.

    Args:
        arguments: The command line without the program.
        chosen_model: Function that names the model that a command line leads to.

    Returns:
        The command line for Hydra.

    Raises:
        RunDirectoryError: The run cannot go on.
    """
    given = {key: _unquoted(value) for key, value in (item.split("=", 1) for item in arguments if "=" in item)}
    resume, checkpoint = given.get("resume", "null"), given.get("ckpt_path", "null")
    if checkpoint != "null":
        checkpoint = str(check_checkpoint_file(checkpoint))
        folder = run_directory_of(checkpoint)
        if folder is not None and given.get("data.network", "null") != "null":  # it reads, and is left as it is
            return [*_saved_overrides(folder), *arguments]
        if folder is None or "hydra.run.dir" in given:
            return list(arguments)  # a file from elsewhere: a new run that begins from it
    elif resume == "auto":
        folder = newest_unfinished(Path("logs") / chosen_model(arguments))
        if folder is None:
            warn("resume=auto found no run that was cut off: a new one begins")
            return [argument for argument in arguments if not argument.startswith("resume=")]
    elif resume != "null":
        folder = check_run_directory(resume)
    else:
        return list(arguments)
    if "hydra.run.dir" in given:
        if Path(given["hydra.run.dir"]).resolve() == folder:
            return list(arguments)  # a process of a distributed run, started with what was worked out before
        raise RunDirectoryError("a run goes on in its own directory: leave out hydra.run.dir")
    return _continuing(folder, arguments, checkpoint)


def _continuing(folder: Path, arguments: Sequence[str], checkpoint: str) -> list[str]:
    """The command line of the run in `folder`, with what is given now."""
    mine = [argument for argument in arguments if not argument.startswith(GOING_ON)]
    if checkpoint != "null":
        mine.append(f"ckpt_path='{checkpoint}'")
    going_on = [f"resume='{folder}'", f"hydra.run.dir='{folder}'", "hydra.output_subdir=null"]
    return [*_saved_overrides(folder), *mine, *going_on]


def remember_overrides(folder: Path, overrides: Sequence[str]) -> None:
    """Keep the overrides of a run that goes on, for the next time.

    Args:
        folder: Run directory.
        overrides: Overrides of the command line, known to be sound.
    """
    kept = [item for item in overrides if not item.startswith(GOING_ON)]
    replace_file(folder / OVERRIDES, yaml.safe_dump(kept))


def _saved_overrides(folder: Path) -> list[str]:
    try:
        overrides = yaml.safe_load((folder / OVERRIDES).read_text(encoding="utf-8"))
    except yaml.YAMLError:
        overrides = None
    if not isinstance(overrides, list):
        raise RunDirectoryError(f"{folder / OVERRIDES} cannot be read: start a new run")
    return [str(item) for item in overrides if not str(item).startswith(GOING_ON)]


def _unquoted(text: str) -> str:
    return text.strip("'\"")
