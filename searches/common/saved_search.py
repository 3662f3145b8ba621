"""One search of several, in a process of its own, which leaves its state and its result as files.

A fresh process imports this module and what it needs, and so neither torch nor Lightning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expressions.parsing import parse
from foundation.errors import UserError
from searches.common.search_state import replace_file
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search


def search_and_save(
    *,
    inputs: np.ndarray,
    target: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    settings: GeneticProgrammingSettings,
    seed: int,
    seeds: Sequence[str],
    workers: int,
    folder: str,
    label: str,
    identity: str,
    report: Callable[[dict[str, float]], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Search, and leave `LABEL.json`, and `LABEL.state` to go on from.

    Args:
        inputs, target, validation, settings, seed, workers, should_stop: of `searches.genetic_programming.search`.
        seeds: equations to start from, as text over x0, x1, ….
        folder: where the files go.
        label: name of the search.
        identity: written into the result, so that a reader knows what it is the result of.
        report: called with every entry of the history.

    Returns:
        What is in `LABEL.json`, and as `unwritten` whether the state or that file could not be written.

    Raises:
        UserError: the data cannot be searched, or the state is not one of this search.
    """
    try:
        result = search(
            inputs,
            target,
            settings,
            seed=seed,
            validation=validation,
            seeds=[parse(text) for text in seeds],
            workers=workers,
            state_path=Path(folder) / f"{label}.state",
            on_generation=lambda entry, _: report(entry),
            should_stop=should_stop,
        )
    except ValueError as error:
        raise UserError(f"{label.replace('_', ' ')}: {error}") from error
    plain = result.plain() | {"label": label, "identity": identity}
    unwritten = result.stopped == "disk"
    try:
        replace_file(Path(folder) / f"{label}.json", json.dumps(plain).encode())
    except OSError:
        unwritten = True
    return plain | {"unwritten": unwritten}
