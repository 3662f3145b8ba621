"""`model.json`: a discovery without its rows, which may come from a stranger.

Equations are text for our own parser; every field is checked, and nothing of the file is ever run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expressions.parsing import parse
from expressions.schema import EQUATION_TEXT
from expressions.stored_intervals import INTERVALS, plain_intervals, restored_intervals
from foundation.errors import UserError
from foundation.files import FileError, read_regular
from foundation.schema import (
    NOTES,
    Check,
    FormatError,
    choice,
    json_content,
    list_of,
    mapping_of,
    number,
    optional,
    record,
    text,
    whole,
)
from reports.discovery_parts.result import Discovery, Score
from searches.pareto_front import Candidate, ParetoFront
from searches.trust.stored import TRUST, plain_trust, restored_trust

__all__ = ["model_json", "read_model"]

_FORMAT = "rediscover discovery 1"
_LARGEST_FILE = 4 << 20  # bytes
_MOST_FEATURES, _MOST_EQUATIONS, _MOST_SCORES = 30_000, 1_000, 100

_TEXT: Check = text(10_000)
_NAME: Check = text(10_000, "[A-Za-z_][A-Za-z0-9_]*", "of letters, digits and _ that is a name,")
_ERROR: Check = number(0.0, 1e308)
_CONTENT: Check = record(
    {
        "format": choice(_FORMAT),
        "source": _TEXT,
        "target": _TEXT,
        "features": list_of(_TEXT, most=_MOST_FEATURES),
        "target_name": _NAME,
        "names": list_of(_NAME, most=_MOST_FEATURES),
        "equations": list_of(
            record(
                {
                    "equation": EQUATION_TEXT,
                    "complexity": whole(),
                    "train_nmse": _ERROR,
                    "validation_nmse": _ERROR,
                },
                {"intervals": INTERVALS},
            ),
            least=1,
            most=_MOST_EQUATIONS,
        ),
        "chosen": whole(),
        "scores": mapping_of(
            record({"r2": optional(number(-1e308, 1e308)), "complexity": optional(whole())}), most=_MOST_SCORES
        ),
        "rows": whole(),
        "seconds": _ERROR,
        "evaluations": whole(),
        "stopped": _TEXT,
        "seed": whole(),
        "notes": NOTES,
    },
    {"trust": TRUST},
    open_end=True,
)


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
                "intervals": plain_intervals(discovery.intervals_of(candidate)),
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
        "trust": plain_trust(discovery.trust, list(discovery.front)),
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
        return _discovery(json_content(read_regular(path, most=_LARGEST_FILE), _CONTENT))
    except FileError as error:
        raise UserError(f"{error}: give a folder of discover.py.") from error
    except UserError as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UserError(
            f"{str(path)!r} is not the model of a discovery ({reason}): give a folder of discover.py."
        ) from error


def _discovery(content: Mapping[str, Any]) -> Discovery:
    names, features, chosen = content["names"], content["features"], content["chosen"]
    if len(features) != len(names):
        raise FormatError(f"has {len(features)} features, but {len(names)} names", "")
    front = ParetoFront([_candidate(row, names) for row in content["equations"]])
    if not chosen < len(front):
        raise FormatError(f"has {len(front)} equations, but its 'chosen' is {chosen}", "")
    intervals = tuple(
        restored_intervals(row.get("intervals"), candidate.expression)
        for row, candidate in zip(content["equations"], front, strict=True)
    )
    return Discovery(
        source=content["source"],
        target=content["target"],
        features=tuple(features),
        target_name=content["target_name"],
        names=tuple(names),
        front=front,
        chosen=front[chosen],
        scores={
            name: Score(-math.inf if row["r2"] is None else row["r2"], row["complexity"])
            for name, row in content["scores"].items()
        },
        rows=content["rows"],
        seconds=content["seconds"],
        evaluations=content["evaluations"],
        stopped=content["stopped"],
        seed=content["seed"],
        notes=tuple(content["notes"]),
        intervals=intervals if any(intervals) else (),
        trust=restored_trust(content.get("trust"), list(front), len(names)),
    )


def _candidate(row: Mapping[str, Any], names: list[str]) -> Candidate:
    expression = parse(row["equation"], names)
    return Candidate(expression, row["complexity"], row["train_nmse"], row["validation_nmse"])
