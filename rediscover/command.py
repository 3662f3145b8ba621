"""The installed command `rediscover`: it finds the door that a verb names, and hands the other words to it.

Doors (`discover.py`, `compare.py`, `train.py`) stand above this file, so they are found by name when they are
asked for. Until then nothing is imported that takes time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from rediscover.installation import ForeignPackageError, check_packages

__all__ = ["main"]

HELP = """\
usage: rediscover TABLE TARGET [OPTION …]        the formula of a column of a table
       rediscover predict DIR NEW.csv            predictions of that formula for new rows
       rediscover network FILE [--table TABLE]   the equations that a trained network has learned
       rediscover compare [RUN_DIR …]            a table, or a page, of all training runs
       rediscover train [KEY=VALUE …]            fit, test and search one of the four systems
       rediscover discover TABLE TARGET          the same as without the verb, whatever the table is called

Each one says more with --help behind its verb: rediscover discover --help, rediscover train --help.
"""

_DISCOVER = (
    "foundation",
    "expressions",
    "searches",
    "datamodules",
    "modules",
    "distillation",
    "runs",
    "reports",
)
_TRAIN = (*_DISCOVER, "callbacks", "configs")
PACKAGES = {"discover": _DISCOVER, "compare": ("foundation", "expressions", "runs", "reports"), "train": _TRAIN}
"""Packages that each door imports, now or later, directly or by way of others."""


_PROGRAMS = {"discover": "rediscover", "compare": "rediscover compare"}
"""Names by which the doors call themselves in their help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words behind the command; those of this process when not given.

    Returns:
        The exit code.

    Raises:
        SystemExit: the door ends by itself, as with `--help` or after a mistake in a training's configuration.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(HELP, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] == "--version":
        print(f"rediscover {version('rediscover')}")
        return 0
    verb = words.pop(0) if words[0] in PACKAGES else "discover"  # which understands `predict` and `network` itself
    try:
        check_packages((verb, *PACKAGES[verb]))
    except ForeignPackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    door = import_module(verb)
    code: int = door.main(words) if verb == "train" else door.main(words, _PROGRAMS[verb])
    return code
