"""A search that leaves its result and its state as files, so that it can run in a process of its own.

A fresh process imports this module and the search that it is told to run, and nothing else: no torch for genetic
programming, and neither Lightning nor W&B for any search.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import replace_file
from searches.search_result import SearchResult

__all__ = ["SavedSearch", "run_saved_search"]


@dataclass(frozen=True)
class SavedSearch:
    """A search, the files that it leaves, and what these are called; it can be pickled.

    Attributes:
        function: place of the search function, `package.module.function`. It takes `arguments`, and also
            `state_path`, `on_generation` and `should_stop`, and returns a `SearchResult`.
        arguments: keyword arguments of the function.
        folder: directory of the files.
        label: name of the files, `LABEL.json` for the result and `LABEL.state` for the state.
        title: name of the search in a sentence.
        identity: fingerprint of data and settings, written into the result, by which a reader knows it.
    """

    function: str
    arguments: Mapping[str, Any]
    folder: str
    label: str
    title: str
    identity: str


def run_saved_search(
    saved: SavedSearch, report: Callable[[dict[str, float]], None], should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Run a search, going on from its state where there is one, and write its result.

    Args:
        saved: the search.
        report: function that is called with every entry of the history.
        should_stop: function that says after every generation whether to end early.

    Returns:
        The content of `LABEL.json` (the plain `SearchResult`, `label` and `identity`), and as `unwritten` whether
        the state or that file could not be written.

    Raises:
        UserError: the data cannot be searched, or the state belongs to another search.
    """
    place = Path(saved.folder) / saved.label
    try:
        result: SearchResult = _imported(saved.function)(
            **saved.arguments,
            state_path=place.with_name(f"{saved.label}.state"),
            on_generation=lambda entry, _: report(entry),
            should_stop=should_stop,
        )
    except ValueError as error:
        raise UserError(f"{saved.title}: {error}") from error
    plain = result.plain() | {"label": saved.label, "identity": saved.identity}
    unwritten = result.stopped == "disk"
    try:
        replace_file(place.with_name(f"{saved.label}.json"), json.dumps(plain))
    except OSError:
        unwritten = True
    return plain | {"unwritten": unwritten}


def _imported(reference: str) -> Any:
    """The function that `package.module.function` names."""
    module, name = reference.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)
