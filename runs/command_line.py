"""The command line of a run, spelled out before Hydra reads it: short forms, suites, runs that go on.

Free of Hydra: the caller says which model a command line leads to.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from foundation.files import check_plain_folder
from foundation.terminal import say, warn
from runs.directory import (
    FOREIGN,
    RunDirectoryError,
    check_checkpoint_file,
    check_run_directory,
)
from runs.unfinished import newest_unfinished

__all__ = ["arguments_of_a_suite", "arguments_to_go_on", "spelled_out"]

PROBLEM = "data.problem="
SHORT = "init="  # for model.init=
NO_OUTPUT = ("hydra.output_subdir=null",)  # Hydra writes down its configuration once, when the run begins


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


def arguments_to_go_on(
    arguments: Sequence[str],
    chosen_model: Callable[[Sequence[str]], str],
    stored_words: Callable[[Path, Sequence[str]], list[str]],
) -> list[str]:
    """Turn `resume=…` into the command line of the run that is to go on, in its own directory.

    The settings that the run was started with come first, then what is given now, which wins. `ckpt_path=…` alone
    begins a new run: what lies beside a checkpoint is not looked at.

    Args:
        arguments: The command line without the program.
        chosen_model: Function that names the model that a command line leads to.
        stored_words: Function that spells the settings stored in a run directory, but for those given now.

    Returns:
        The command line for Hydra.

    Raises:
        UserError: The run cannot go on, or the checkpoint cannot be read.
    """
    given = {key: _unquoted(value) for key, value in (item.split("=", 1) for item in arguments if "=" in item)}
    resume, checkpoint, run_dir = (given.get(key, "null") for key in ("resume", "ckpt_path", "hydra.run.dir"))
    if checkpoint != "null":
        check_checkpoint_file(checkpoint)
    if resume == "auto":
        folder = newest_unfinished(Path("logs") / chosen_model(arguments))
        if folder is None:
            warn("resume=auto found no run that was cut off: a new one begins")
            return [argument for argument in arguments if not argument.startswith("resume=")]
    elif resume != "null":
        folder = check_run_directory(resume)
    else:
        if run_dir != "null" and Path(run_dir).is_dir():
            check_plain_folder(run_dir, besides=FOREIGN)  # Hydra writes there before the directory is claimed
        return list(arguments)
    if run_dir != "null":
        if Path(run_dir).resolve() == folder:
            return list(arguments)  # a process of a distributed run, started with what was worked out before
        raise RunDirectoryError("a run goes on in its own directory: leave out hydra.run.dir")
    mine = [argument for argument in arguments if not argument.startswith("resume=")]
    place = str(folder)
    if "${" in place or "'" in place or "\\" in place:
        raise RunDirectoryError(f"{place!r} is no name of a directory that Hydra understands: rename it")
    return [*stored_words(folder, mine), *mine, f"resume='{place}'", f"hydra.run.dir='{place}'", *NO_OUTPUT]


def _unquoted(text: str) -> str:
    return text.strip("'\"")
