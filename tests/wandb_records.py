"""What W&B has on disk of a run, read back: the records, the configuration and the summary that they come to."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["wandb_config", "wandb_records", "wandb_summary"]


def wandb_records(path: Path) -> Iterator[Any]:
    """Records of an offline run: protocol buffers in blocks of 32 KiB, as LevelDB writes its log."""
    from wandb.proto import wandb_internal_pb2

    content, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            message = wandb_internal_pb2.Record()
            message.ParseFromString(record)
            record = b""
            yield message


def wandb_config(records: Iterable[Any]) -> dict[str, Any]:
    """The configuration of a run."""
    parts = [r.run.config if r.WhichOneof("record_type") == "run" else r.config for r in records]
    return {_name(item): json.loads(item.value_json) for part in parts for item in part.update}


def wandb_summary(records: Iterable[Any]) -> dict[str, Any]:
    """The summary of a run; fields inside a field have its name before theirs."""
    summary: dict[str, Any] = {}
    for record in records:
        for item in record.summary.update:
            summary[_name(item)] = json.loads(item.value_json)
        for item in record.summary.remove:
            gone = _name(item)
            summary = {name: value for name, value in summary.items() if f"{name}/".find(f"{gone}/") != 0}
    return summary


def _name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)
