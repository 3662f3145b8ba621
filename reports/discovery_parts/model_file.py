"""`model.json`: a discovery without its rows, which may come from a stranger.

Equations are text for our own parser; every field is checked, and nothing of the file is ever run.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from expressions.parsing import parse
from foundation.errors import UserError
from reports.discovery_parts.result import Discovery, Score
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["model_json", "read_model"]

_FORMAT = "rediscover discovery 1"
_LARGEST_FILE = 4 << 20  # bytes
_LONGEST_TEXT = 10_000
_LARGEST_COUNT = 2**53
_MOST_FEATURES, _MOST_EQUATIONS, _MOST_NOTES, _MOST_SCORES = 30_000, 1_000, 1_000, 100


def model_json(discovery: Discovery) -> str:
    """The discovery as JSON, all digits kept and its rows left out."""
    content = {
        "format": _FORMAT,
        "source": discovery.source,
        "target": discovery.target,
        "features": list(discovery.features),
        "target_name": discovery.target_name,
        "names": list(discovery.names),
        "equations": [
            {
                "equation": candidate.expression.infix(discovery.names),
                "complexity": candidate.complexity,
                "train_nmse": candidate.train_nmse,
                "validation_nmse": candidate.validation_nmse,
            }
            for candidate in discovery.front
        ],
        "chosen": list(discovery.front).index(discovery.chosen),
        "scores": {
            name: {"r2": score.r2 if math.isfinite(score.r2) else None, "complexity": score.complexity}
            for name, score in discovery.scores.items()
        },
        "rows": discovery.rows,
        "seconds": discovery.seconds,
        "evaluations": discovery.evaluations,
        "stopped": discovery.stopped,
        "seed": discovery.seed,
        "notes": list(discovery.notes),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_model(path: Path) -> Discovery:
    """Read a `model.json`.

    Args:
        path: file to read.

    Returns:
        The discovery, without rows.

    Raises:
        UserError: the file is missing, not a regular file, too large, or not what `model_json` writes.
    """
    try:
        return _discovery(_content(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"{str(path)!r} cannot be read ({reason}): give a folder of discover.py.") from error
    except (_FormatError, ValueError, RecursionError, UserError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else _first_line(error)
        raise UserError(
            f"{str(path)!r} is not the model of a discovery ({reason}): give a folder of discover.py."
        ) from error


class _FormatError(Exception):
    """What is wrong with a file, in words that stand in brackets."""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _content(path: Path) -> dict[str, Any]:
    """The mapping that the file holds."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _FormatError("it is not a regular file")
    if status.st_size > _LARGEST_FILE:
        raise _FormatError(f"it has {status.st_size:,} bytes, and at most {_LARGEST_FILE:,} are read")
    with path.open("rb") as stream:
        text = stream.read(_LARGEST_FILE).decode("utf-8")
    content = json.loads(text, parse_constant=_refuse)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _FormatError(f"its format is not {_FORMAT!r}")
    return content


def _refuse(number: str) -> float:
    raise _FormatError(f"{number} is not a number")


def _discovery(content: Mapping[str, Any]) -> Discovery:
    names = _list(content, "names", _MOST_FEATURES, _name)
    features = _list(content, "features", _MOST_FEATURES, _text)
    if len(features) != len(names):
        raise _FormatError(f"it has {len(features)} features, but {len(names)} names")
    front = ParetoFront(_list(content, "equations", _MOST_EQUATIONS, lambda row, key: _candidate(row, names)))
    chosen = _whole(_entry(content, "chosen"), "chosen")
    if not chosen < len(front):
        raise _FormatError(f"its 'chosen' is {chosen}, but it has {len(front)} equations")
    scores = _mapping(_entry(content, "scores"), "scores")
    if len(scores) > _MOST_SCORES:
        raise _FormatError(f"it has {len(scores)} scores, and at most {_MOST_SCORES} are read")
    return Discovery(
        source=_text(_entry(content, "source"), "source"),
        target=_text(_entry(content, "target"), "target"),
        features=tuple(features),
        target_name=_name(_entry(content, "target_name"), "target_name"),
        names=tuple(names),
        front=front,
        chosen=front[chosen],
        scores={_text(name, "scores"): _score(score) for name, score in scores.items()},
        rows=_whole(_entry(content, "rows"), "rows"),
        seconds=_number(_entry(content, "seconds"), "seconds"),
        evaluations=_whole(_entry(content, "evaluations"), "evaluations"),
        stopped=_text(_entry(content, "stopped"), "stopped"),
        seed=_whole(_entry(content, "seed"), "seed"),
        notes=tuple(_list(content, "notes", _MOST_NOTES, _text)),
    )


def _candidate(row: Any, names: list[str]) -> Candidate:
    entry = _mapping(row, "equations")
    return Candidate(
        expression=parse(_entry(entry, "equation"), names),
        complexity=_whole(_entry(entry, "complexity"), "complexity"),
        train_nmse=_number(_entry(entry, "train_nmse"), "train_nmse"),
        validation_nmse=_number(_entry(entry, "validation_nmse"), "validation_nmse"),
    )


def _score(value: Any) -> Score:
    entry = _mapping(value, "scores")
    r2, complexity = _entry(entry, "r2"), _entry(entry, "complexity")
    return Score(
        -math.inf if r2 is None else _number(r2, "r2", least=-math.inf),
        None if complexity is None else _whole(complexity, "complexity"),
    )


def _entry(content: Mapping[str, Any], key: str) -> Any:
    if key not in content:
        raise _FormatError(f"it has no {key!r}")
    return content[key]


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _FormatError(f"its {key!r} is {_shown(value)}, not a mapping")
    return value


def _list(content: Mapping[str, Any], key: str, most: int, read: Callable[[Any, str], Any]) -> list[Any]:
    value = _entry(content, key)
    if not isinstance(value, list) or len(value) > most:
        raise _FormatError(f"its {key!r} is not a list of at most {most:,} entries")
    return [read(item, key) for item in value]


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise _FormatError(f"its {key!r} is {_shown(value)}, not a text of at most {_LONGEST_TEXT:,} characters")
    return value


def _name(value: Any, key: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", _text(value, key)):
        raise _FormatError(f"its {key!r} holds {_shown(value)}, which is not a name of letters, digits and _")
    return str(value)


def _number(value: Any, key: str, least: float = 0.0) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308
    if not plain or value < least:
        raise _FormatError(f"its {key!r} is {_shown(value)}, not a finite number{' from 0 on' * (least == 0.0)}")
    return float(value)


def _whole(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_COUNT:
        raise _FormatError(f"its {key!r} is {_shown(value)}, not a whole number from 0 to 2**53")
    return value


def _shown(value: Any) -> str:
    return "too large a number" if isinstance(value, int) and abs(value) > _LARGEST_COUNT else repr(value)[:60]
