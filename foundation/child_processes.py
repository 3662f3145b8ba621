"""What Python is told before it starts the processes of a command.

A process that Python starts with `-c` or `-m`, as `multiprocessing` and `joblib` do, looks for modules in the
working directory first. That may be a stranger's folder, in which a table lies beside a `json.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["environment", "isolate_children", "isolated_children"]

_ROOT = Path(__file__).resolve().parents[1]


def isolate_children() -> None:
    """Have all processes of this command import nothing from the working directory."""
    os.environ.update(_environment())


@contextmanager
def isolated_children() -> Iterator[None]:
    """Have the processes that are started in here import nothing from the working directory."""
    with environment(_environment()):
        yield


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Give variables of the environment other values in here, for the processes that are started.

    Args:
        variables: names and values.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _environment() -> Mapping[str, str]:
    """Variables for Python; a checkout that is not installed is found by its path."""
    found = {"PYTHONSAFEPATH": "1"}
    if (_ROOT / "pyproject.toml").is_file():
        places = [str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(place for place in places if place))
    return found
