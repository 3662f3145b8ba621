"""The files of a corpus: their content, their settings and their checksums.

On disk a corpus is a folder:

    corpus.json                  what the samples are (settings, vocabulary, seed), and how they are laid out
    shard_00000/index.json       rows, ids and checksum of each batch of the shard
    shard_00000/inputs.npy …     target.npy present.npy ids.npy: its batches one behind the other, flat
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.settings.equations import EquationsSettings
from datamodules.settings.streams import OPERATOR_NAMES, StreamSettings
from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary
from foundation.errors import UserError
from foundation.files import FileError, check_plain_folder, read_regular
from foundation.schema import FormatError, choice, json_content, list_of, mapping_of, record, text
from foundation.schema import whole as whole_number

__all__ = [
    "Content",
    "check_is_ours",
    "checksum",
    "damaged",
    "missing_shards",
    "read_header",
    "read_index",
    "shard_folder",
]

FORMAT = "rediscover corpus 1"
HEADER, INDEX, LOCK = "corpus.json", "index.json", ".lock"
TYPES: dict[str, Any] = {"inputs": np.float32, "target": np.float32, "present": np.bool_, "ids": np.int16}
"""Array of a batch -> its type on disk."""

_LARGEST_HEADER, _LARGEST_INDEX = 1 << 20, 64 << 20
_HEADER = record(
    {
        "format": choice(FORMAT),
        "settings": mapping_of(lambda value: value, most=1_000),
        "vocabulary": list_of(text(100), most=10_000),
        "batch_size": whole_number(1, 1 << 24),
        "seed": whole_number(0, (1 << 32) - 1),
        "epoch_samples": whole_number(1),
        "shard_batches": whole_number(1, 1 << 24),
    }
)
_BATCHES = {"least": 1, "most": 1 << 20}
_INDEX = record(
    {
        "rows": list_of(whole_number(0, 1 << 24), **_BATCHES),
        "length": list_of(whole_number(0, 1 << 16), **_BATCHES),
        "checksum": list_of(whole_number(0, (1 << 32) - 1), **_BATCHES),
        "bytes": record({name: whole_number() for name in TYPES}),
    }
)


@dataclass(frozen=True)
class Content:
    """Description of the samples of a corpus; a corpus with another description is refused.

    Attributes:
        settings: settings that the samples are drawn by, as JSON values by their names in the configuration;
            `variables` is one of them.
        vocabulary: name of each id.
        batch_size: number of samples in a batch.
    """

    settings: Mapping[str, Any]
    vocabulary: Sequence[str]
    batch_size: int

    @classmethod
    def of(cls, settings: EquationsSettings) -> Content:
        """Description of the samples that settings lead to."""
        vocabulary = Vocabulary(list(OPERATOR_NAMES), settings.variables, INTEGERS)
        return cls(settings.part(StreamSettings).content(), vocabulary.names, settings.batch_size)


def check_is_ours(folder: Path) -> None:
    """Make sure that a folder holds a corpus, or nothing but what a process left that was killed as it began one.

    Raises:
        UserError: the folder holds other things.
    """
    others = [path for path in folder.iterdir() if not path.name.startswith((LOCK, f"{HEADER}."))]
    if others and not (folder / HEADER).exists():  # in this order: a header is written before anything else
        raise UserError(f"data.corpus={folder} holds other things than a corpus: choose an empty folder")


def read_header(folder: Path, content: Content) -> dict[str, Any]:
    """Header of the corpus in a folder, if its samples are those described by `content`.

    Raises:
        FileNotFoundError: there is no corpus.
        FileError: the folder holds a link, a pipe or a device.
        UserError: there is a corpus of other samples, or a damaged one.
    """
    check_plain_folder(folder)
    raw = read_regular(folder / HEADER, most=_LARGEST_HEADER)
    try:
        header: dict[str, Any] = json_content(raw, _HEADER)
    except FormatError as error:
        raise UserError(
            f"{folder / HEADER} is damaged or of another version, {error}: choose another folder"
        ) from error
    theirs = {**header["settings"], "batch_size": header["batch_size"]}
    ours = json.loads(json.dumps({**content.settings, "batch_size": content.batch_size}))  # tuples become lists
    for key, value in ours.items():
        if key not in theirs or theirs[key] != value:
            raise UserError(
                f"{folder} was frozen with data.{key}={_shown(theirs.get(key))}, not {_shown(value)}: give the "
                "same, or another folder as data.corpus"
            )
    if header["vocabulary"] != list(content.vocabulary) or theirs.keys() != ours.keys():
        raise UserError(f"{folder} was frozen by another version of this program: choose another folder")
    return header


def _shown(value: Any) -> str:
    """A value as on the command line."""
    return "null" if value is None else json.dumps(value).replace('"', "").replace(" ", "")


def shard_folder(folder: Path, number: int) -> Path:
    """Folder of a shard."""
    return folder / f"shard_{number:05d}"


def missing_shards(folder: Path, samples: int, header: Mapping[str, Any]) -> list[int]:
    """Numbers of the missing shards among those that hold the first `samples` samples.

    Raises:
        UserError: an existing shard is damaged.
    """
    missing = []
    for number in range(math.ceil(samples / (header["batch_size"] * header["shard_batches"]))):
        shard = shard_folder(folder, number)
        if not shard.exists():
            missing.append(number)
        elif len(read_index(shard)["rows"]) != header["shard_batches"]:
            raise damaged(shard)
    return missing


def read_index(shard: Path) -> dict[str, Any]:
    """The index of an existing shard, after a check of the lengths of its files."""
    try:
        index: dict[str, Any] = json_content(read_regular(shard / INDEX, most=_LARGEST_INDEX), _INDEX)
        counts = {len(index[name]) for name in ("rows", "length", "checksum")}
        sizes = {name: (shard / f"{name}.npy").stat().st_size for name in TYPES}
        whole = len(counts) == 1 and sizes == index["bytes"]
    except (OSError, FileError, FormatError):
        whole = False
    if not whole:
        raise damaged(shard)
    return index


def damaged(shard: Path) -> UserError:
    """The error of a shard that is not as it was written."""
    return UserError(
        f"{shard} is damaged, its content is not what was written: delete it, and the next run makes it again"
    )


def checksum(arrays: Mapping[str, np.ndarray]) -> int:
    """CRC-32 of a batch."""
    value = 0
    for name in TYPES:
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).data, value)
    return value
