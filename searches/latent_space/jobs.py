"""One search of several in the latent space of a map, in a process of its own, which leaves state and result as
files.

A fresh process imports this module and what it needs: torch for the map, but neither Lightning nor W&B.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import UserError
from searches.common.search_state import replace_file
from searches.latent_cmaes import LatentMap, search
from searches.latent_space.settings import LatentSearchSettings

__all__ = ["search_one"]


def search_one(
    *,
    map_class: str,
    map_path: str | None,
    device: str,
    inputs: np.ndarray,
    target: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None,
    names: Sequence[str],
    settings: LatentSearchSettings,
    seed: int,
    folder: str,
    label: str,
    map_identity: str,
    identity: str,
    report: Callable[[dict[str, float]], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Search one problem, and leave `LABEL.json`, and `LABEL.state` to go on from.

    Args:
        map_class: where the class of the map is, `module.Class`; it has `load(path, device=…)`.
        map_path: file with the weights; None: no map, for `method=none`.
        device: that the map runs on.
        inputs, target, validation, names, settings, seed, should_stop: of `searches.latent_cmaes.search`.
        folder: where the files go.
        label: name of the search.
        map_identity: what tells this map from others.
        identity: written into the result, so that a reader knows what it is the result of.
        report: called with every entry of the history.

    Returns:
        What is in `LABEL.json`, and as `unwritten` whether the state or that file could not be written.

    Raises:
        UserError: the data cannot be searched, or the state is not one of this search.
    """
    try:
        result = search(
            None if map_path is None else _load(map_class, map_path, device),
            inputs,
            target,
            settings,
            seed=seed,
            validation=validation,
            names=names,
            identity=map_identity,
            state_path=Path(folder) / f"{label}.state",
            on_generation=lambda entry, _: report(entry),
            should_stop=should_stop,
        )
    except ValueError as error:
        raise UserError(f"{label}: {error}") from error
    plain = result.plain() | {"label": label, "identity": identity}
    unwritten = result.stopped == "disk"
    try:
        replace_file(Path(folder) / f"{label}.json", json.dumps(plain).encode())
    except OSError:
        unwritten = True
    return plain | {"unwritten": unwritten}


def _load(map_class: str, path: str, device: str) -> LatentMap:
    """The map, on one thread where it runs on the processor: the other cores have searches of their own."""
    module, name = map_class.rsplit(".", 1)
    kind = getattr(importlib.import_module(module), name)
    if device == "cpu" and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    loaded: LatentMap = kind.load(path, device=device)
    return loaded
