"""Files of weights: `safetensors`, whose header is JSON; nothing in them is ever run.

A file holds the weights of a network, the settings that it is built by, and a card, which says how it was trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from foundation.errors import UserError
from foundation.files import replace_file
from foundation.schema import FormatError, json_content, mapping_of, plain

__all__ = ["WeightsFile", "read_weights_file", "write_weights_file"]

_FACTS = mapping_of(plain, most=1_000)


@dataclass(frozen=True)
class WeightsFile:
    """Content of a file of weights.

    Attributes:
        settings: settings of the network.
        tensors: state dict of the network, in float32 even where the file has float16.
        card: facts that were written beside the weights.
    """

    settings: dict[str, Any]
    tensors: dict[str, Tensor]
    card: dict[str, Any]


def write_weights_file(
    path: str | Path,
    kind: str,
    settings: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
    half: bool = False,
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: path of the file, which is replaced if it exists.
        kind: name of the kind of network and of the version of its file.
        settings: settings of the network, JSON values.
        tensors: state dict of the network.
        card: facts about the weights, JSON values: data, steps, measures.
        half: whether float32 is written as float16, which halves the file.
    """
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    if half:
        kept = {name: value.half() if value.dtype == torch.float32 else value for name, value in kept.items()}
    words = {"format": kind, "settings": json.dumps(dict(settings)), "card": json.dumps(dict(card))}
    replace_file(path, save(kept, words))


def read_weights_file(
    path: str | Path, kind: str, wrong_kind: str, fits: Callable[[Any, Mapping[str, tuple[int, ...]]], bool]
) -> WeightsFile:
    """Read a file of weights and check that its parts fit together.

    Args:
        path: path of the file.
        kind: kind that the file must hold.
        wrong_kind: the rest of a sentence that begins with the path of a file of another kind.
        fits: function that says whether settings are allowed and whether the shapes of the tensors, by name, are
            those of a network with these settings.

    Raises:
        UserError: there is no such file, or it is another kind of file, or it is damaged.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}: give the path of a weights file")
    try:
        with safe_open(str(path), framework="pt") as file:
            words = file.metadata() or {}
            if words.get("format") != kind:
                raise UserError(f"{path} {wrong_kind}")
            settings, card = (json_content(words.get(name, "null"), _FACTS) for name in ("settings", "card"))
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            if not fits(settings, shapes):
                raise UserError(f"{path} is damaged, its weights do not fit its own settings: give another file")
            tensors = {name: file.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no weights file, or a damaged one: give another file") from error
    except FormatError as error:
        raise UserError(f"{path} is damaged, its header is wrong ({error}): give another file") from error
    kinds = (torch.float32, torch.float16, torch.int64)  # the latter are counts
    if not all(value.dtype in kinds and bool(value.isfinite().all()) for value in tensors.values()):
        raise UserError(
            f"{path} is damaged, some of its weights are no finite float32 or float16: give another file"
        )
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return WeightsFile(settings, tensors, card)
