"""Files and folders that a configuration names, looked at before torch is imported.

What a file holds inside is for its reader, after the import. Here: whether it is there, whether it is of the right
kind, and whether what is to be written can be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datamodules.settings.equations import EquationsSettings
from datamodules.settings.network_weights import NetworkWeightsSettings
from foundation.errors import UserError
from foundation.files import FileError
from foundation.folders import check_folder
from foundation.weight_files import check_network_file, no_file, safetensors_words, weights_kind
from modules.settings import cvae, weights_to_tokens

__all__ = ["check_named_files"]

WEIGHTS = {"cvae": cvae.WEIGHTS_FORMAT, "weights_to_tokens": weights_to_tokens.WEIGHTS_FORMAT}
"""Model -> format of its files of weights, as it stands in them."""


def check_named_files(model: str | None, plain: Mapping[str, Any]) -> None:
    """Check the files and folders of the model, of the data and of the search.

    Args:
        model: name of the model.
        plain: whole configuration, its settings found to be sound.

    Raises:
        UserError: a file or a folder cannot be used.
    """
    data, search = plain["data"], plain["search"]
    init = plain["model"].get("init", "auto")
    if init not in ("auto", "pretrained", "scratch"):
        _check_init(str(init), WEIGHTS.get(str(model)))
    if data.get("network") is not None:
        check_network_file(str(data["network"]), "data.network=")
    elif data.get("cache") is not None:
        _check_cache(data)
    if data.get("skeletons") is not None:
        _check_skeletons(str(data["skeletons"]))
    if data.get("corpus") is not None:
        _check_corpus(data)
    if search.get("archive") is not None:
        from searches.evolution.archive import check_archive

        check_archive(Path(str(search["archive"])))


def _check_init(path: str, kind: str | None) -> None:
    """The first weights: a file of this model's."""
    words = safetensors_words(path)
    if words is None:
        raise UserError(f"model.init={path} is no weights file, or a damaged one: give another file")
    found = words.get("format")
    if kind is not None and found != kind:
        other = next((name for name, each in WEIGHTS.items() if each == found), None)
        of_whom = f"weights of model={other}" if other else "other weights"
        raise UserError(f"model.init={path} holds {of_whom}: give a file of this model, or model.init=scratch")


def _check_skeletons(path: str) -> None:
    """A file of skeletons, or a place where one can be made."""
    wrong = no_file(path)
    if wrong == "does not exist":
        check_folder("data.skeletons", path)
    elif wrong is not None or weights_kind(path) != "zip":
        raise UserError(
            f"data.skeletons={path} {wrong or 'is damaged, or no file of skeletons'}: choose another file"
        )


def _check_corpus(data: Mapping[str, Any]) -> None:
    """A corpus of the wanted samples, or a place where one can be made."""
    from datamodules.streams.corpus_files import Content, check_is_ours, read_header

    folder = Path(str(data["corpus"]))
    try:
        if folder.is_dir():
            check_is_ours(folder)
            read_header(folder, Content.of(EquationsSettings.of(_own(data))))
            return  # one that is there may be where nobody can write
    except FileNotFoundError:
        pass
    except FileError as error:
        raise UserError(f"data.corpus={folder} cannot be read ({error}): choose another folder") from error
    check_folder("data.corpus", str(folder))


def _check_cache(data: Mapping[str, Any]) -> None:
    """A zoo that is there, or a place where one can be made."""
    folder = Path(str(data["cache"]))
    if not (folder / NetworkWeightsSettings.of(_own(data)).name).is_dir():
        check_folder("data.cache", str(folder))


def _own(section: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a section."""
    return {key: value for key, value in section.items() if key != "_target_"}
