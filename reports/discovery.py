"""A discovery: the formula of a table's column, what belongs to it, and the files that it is kept in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from expressions.numpy_source import SourceError
from foundation.errors import UserError
from foundation.files import replace_file
from reports.discovery_parts.equation_files import equation_module, equation_tex, front_csv
from reports.discovery_parts.model_file import model_json, read_model
from reports.discovery_parts.page import page
from reports.discovery_parts.result import (
    CUBIC,
    EQUATION,
    GRADIENT_BOOSTING,
    LINEAR,
    Discovery,
    Score,
)
from reports.discovery_parts.shown import ShownEquations

__all__ = [
    "CUBIC", "EQUATION", "GRADIENT_BOOSTING", "LINEAR", "MODEL", "Discovery", "Score", "ShownEquations",
    "read", "write",
]  # fmt: skip

MODEL = "model.json"
"""Name of the file that `read` reads."""


def write(directory: str | Path, discovery: Discovery, shown: ShownEquations | None = None) -> tuple[Path, ...]:
    """Write a discovery, each file whole, the equations first.

    Args:
        directory: folder for the files; it is made where there is none, and files of the same names are replaced.
        discovery: equations with their rows and scores.
        shown: equations with the digits that the data support; computed when not given.

    Returns:
        Paths of `equations.csv` (the Pareto front), `equation.py` (`predict(X)` in NumPy alone), `equation.tex`,
        `model.json` (for `read`) and `report.html`. There is no `equation.py` where an operator of one's own has
        no form in NumPy.

    Raises:
        UserError: a file cannot be written.
    """
    directory = Path(directory)
    shown = ShownEquations.of_discovery(discovery) if shown is None else shown
    written: list[Path] = []
    for name, content in (
        ("equations.csv", lambda: front_csv(discovery, shown)),
        ("equation.py", lambda: equation_module(discovery, shown)),
        ("equation.tex", lambda: equation_tex(discovery, shown)),
        (MODEL, lambda: model_json(discovery)),
        ("report.html", lambda: page(discovery, shown)),
    ):
        with contextlib.suppress(SourceError):
            written.append(_written(directory / name, content))
    return tuple(written)


def read(directory: str | Path) -> Discovery:
    """Read what `write` wrote; the file may come from a stranger, and runs no code.

    Args:
        directory: folder of the files.

    Returns:
        The discovery without its rows.

    Raises:
        UserError: there is no `model.json` in the folder, or it is not one.
    """
    return read_model(Path(directory) / MODEL)


def _written(path: Path, content: Callable[[], str]) -> Path:
    """Write a file, and return its path; numbers that overflow are shown as such."""
    with np.errstate(all="ignore"):
        text = content()
    try:
        replace_file(path, text.encode("utf-8", errors="replace"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"{str(path)!r} cannot be written ({reason}): give another folder.") from error
    return path
