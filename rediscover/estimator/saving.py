"""A fitted `SymbolicRegressor` as JSON: numbers, names and texts. Reading it runs no code."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.numbering import NumberingError
from foundation.errors import UserError
from rediscover.estimator.options import own_operators
from rediscover.estimator.target_fit import TargetFit

__all__ = ["ModelFileError", "model_text", "read_model"]

_FORMAT = "rediscover SymbolicRegressor 1"


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


def read_model(text: str, source: str) -> tuple[dict[str, Any], dict[str, Any], list[TargetFit]]:
    """What `model_text` was given; operators of one's own must be in the operator table already.

    Args:
        text: JSON of `model_text`.
        source: name of the file, to begin a sentence with.

    Raises:
        ModelFileError: the text is no such model, or an operator of it is not known here.
    """
    try:
        content = json.loads(text)
        known = isinstance(content, dict) and content.get("format") == _FORMAT
    except ValueError:
        known = False
    if not known:
        raise ModelFileError(f"{source} is not a model of SymbolicRegressor: write one by model.save(path)")
    try:
        fits = [TargetFit.of_plain(each, source) for each in content["targets"]]
        state = {key: content[key] for key in ("features", "names", "one_target")}
        return dict(content["parameters"]), state, fits
    except NumberingError as error:
        raise ModelFileError(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{source} is damaged ({error}): write the model anew by model.save(path)") from error
