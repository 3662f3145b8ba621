"""A fitted `SymbolicRegressor` as JSON: numbers, names and texts. Reading it runs no code."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.limits import MAX_TEXT
from expressions.numbering import NumberingError
from foundation.errors import UserError
from foundation.schema import (
    FormatError,
    choice,
    json_content,
    list_of,
    mapping_of,
    optional,
    record,
    text,
    truth,
    whole,
)
from rediscover.estimator.options import own_operators
from rediscover.estimator.target_fit import FIT, TargetFit

__all__ = ["ModelFileError", "model_text", "read_model"]

_FORMAT = "rediscover SymbolicRegressor 1"
_KEYS = ("parameters", "features", "names", "one_target", "targets")
_LONGEST = 1 << 26  # characters of a file


class ModelFileError(UserError, ValueError):
    """A text or a file that is no model, or one that cannot be read here."""


def model_text(parameters: Mapping[str, Any], state: Mapping[str, Any], fits: list[TargetFit]) -> str:
    """A fitted model as JSON. The callback, and functions of one's own, are code and stay behind.

    Args:
        parameters: parameters of the constructor by name.
        state: number and names of the features, and the shape of the target.
        fits: what was found for every target.
    """
    content = {
        "format": _FORMAT,
        "parameters": {name: _plain(name, value) for name, value in parameters.items() if name != "callback"},
        "own_operators": sorted(own_operators(parameters["operators"])),
        **state,
        "targets": [fit.plain() for fit in fits],
    }
    return json.dumps(content, indent=1)


def _plain(name: str, value: Any) -> Any:
    if name == "operators" and value is not None:
        return [each for each in value if each not in own_operators(value)] or None
    if name == "guesses" and value is not None:
        guesses = [value] if isinstance(value, str | Expression) else value
        return [each if isinstance(each, str) else each.infix() for each in guesses]
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, str | bool | float) else None


def read_model(content_text: str, source: str) -> tuple[dict[str, Any], dict[str, Any], list[TargetFit]]:
    """What `model_text` was given; operators of one's own must be in the operator table already.

    Args:
        content_text: JSON of `model_text`.
        source: name of the file, to begin a sentence with.

    Raises:
        ModelFileError: the text is no such model, or an operator of it is not known here.
    """
    try:
        content = json_content(content_text if len(content_text) <= _LONGEST else "", _KNOWN)
    except FormatError as error:
        raise ModelFileError(
            f"{source} is not a model of SymbolicRegressor: write one by model.save(path)"
        ) from error
    try:
        found = _CONTENT(content)
        fits = [TargetFit.of_plain(each, source, found["features"]) for each in found["targets"]]
        _check_together(found, fits)
    except NumberingError as error:
        raise ModelFileError(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{source} is damaged ({error}): write the model anew by model.save(path)") from error
    return found["parameters"], {key: found[key] for key in ("features", "names", "one_target")}, fits


def _check_together(found: Mapping[str, Any], fits: list[TargetFit]) -> None:
    """Make sure that names and equations are of as many columns as the model has.

    Raises:
        FormatError: they are not.
    """
    features, names = found["features"], found["names"]
    if names is not None and len(names) != features:
        raise FormatError(f"has {len(names)} names for {features} columns", "")
    equations = [each for fit in fits for candidate in fit.candidates for each in candidate.expression.variables]
    if max(equations, default=0) >= features:
        raise FormatError(f"has an equation of other columns than its {features}", "")


def _setting(value: Any) -> Any:
    """Check for a parameter: a number, a text, a truth value, null, or a list of texts."""
    if isinstance(value, str | list):
        return (text(MAX_TEXT) if isinstance(value, str) else list_of(text(MAX_TEXT), most=1_000))(value)
    if not isinstance(value, int | float | None):
        raise FormatError("is no parameter", "")
    return value


_KNOWN = record({"format": choice(_FORMAT)}, dict.fromkeys(_KEYS, lambda value: value), open_end=True)
_CONTENT = record(
    {
        "format": choice(_FORMAT),
        "parameters": mapping_of(_setting, most=100),
        "features": whole(1, 1_000_000),
        "names": optional(list_of(text(), most=1_000_000)),
        "one_target": truth,
        "targets": list_of(FIT, least=1, most=10_000),
    },
    open_end=True,
)
