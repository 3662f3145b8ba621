"""Which number means which operator: written into every file that holds programs, and asked when it is read.

A file keeps its programs as the numbers of `expressions.operators`, and beside them the names of these operators:

    {"add": 1, "mul": 3, "sin": 19, "x0": 1000}

where `x0` is the first variable. So a file means the same whatever rows the table has got since, and one whose
operators this version does not have is refused instead of misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from expressions.operators import FIRST_VARIABLE, OPERATORS, TOKEN
from expressions.schema import program, tokens
from foundation.errors import UserError
from foundation.schema import FormatError, list_of, mapping_of, number, record, whole

__all__ = ["NumberingError", "check_numbers", "numbers_of", "plain", "renumbered", "restored"]

_LARGEST = 2**15 - 1  # tokens are 16-bit integers
_VARIABLES = "x0"  # no operator may be called so
_STORED = record(
    {
        "tokens": tokens,
        "constants": list_of(number(), most=MAX_TOKENS),
        "numbers": mapping_of(whole(1, _LARGEST), most=1_000),
    }
)


class NumberingError(UserError):
    """A file whose programs cannot be read, since their operators are not named or not known."""


def numbers_of(tokens: np.ndarray | None = None) -> dict[str, int]:
    """Numbers of the operators by name, and that of the first variable as `x0`.

    Args:
        tokens: programs of any shape; only operators that occur in them are named. The whole table if None.
    """
    if tokens is None:
        return {**TOKEN, _VARIABLES: FIRST_VARIABLE}
    used = set(np.unique(tokens).tolist())
    names = {row.name: number for number, row in enumerate(OPERATORS, 1) if number in used}
    return {**names, _VARIABLES: FIRST_VARIABLE}


def check_numbers(numbers: object, source: str, remedy: str) -> None:
    """Make sure that the programs of a file mean the same here, number by number.

    Args:
        numbers: what `numbers_of` returned when the file was written.
        source: name of the file, to begin a sentence with.
        remedy: advice, to end a sentence with.

    Raises:
        NumberingError: the numbers are missing or damaged, or another operator has one of them here.
    """
    for name, theirs in _known(numbers, source, remedy).items():
        if theirs != _number(name):
            raise NumberingError(
                f"{source} gives {name} the number {theirs}, this version {_number(name)}: {remedy}"
            )


def renumbered(tokens: np.ndarray, numbers: object, source: str, remedy: str) -> np.ndarray:
    """Programs of a file in the numbers of this version.

    Args:
        tokens: programs of any shape as they lie in the file; negative numbers are padding.
        numbers: numbers of the operators that the file stores, see `check_numbers`.
        source: name of the file in an error sentence, see `check_numbers`.
        remedy: advice in an error sentence, see `check_numbers`.

    Raises:
        NumberingError: the numbers are missing or damaged, or an operator of the file is unknown here.
    """
    known = _known(numbers, source, remedy)
    first = known.pop(_VARIABLES)
    found = np.where(tokens >= first, tokens - first + FIRST_VARIABLE, tokens)
    strangers = (tokens > 0) & (tokens < first)
    for name, theirs in known.items():
        here = tokens == theirs
        found[here] = _number(name)
        strangers &= ~here
    if strangers.any():
        raise NumberingError(f"{source} does not name its operator {int(tokens[strangers][0])}: {remedy}")
    return found.astype(tokens.dtype)


def plain(expression: Expression) -> dict[str, Any]:
    """The expression as numbers, lists and names, for a file that may hold nothing else."""
    tokens = expression.tokens
    return {
        "tokens": tokens.tolist(),
        "constants": expression.constants.tolist(),
        "numbers": numbers_of(tokens),
    }


def restored(found: object, source: str, remedy: str) -> Expression:
    """The expression that `plain` has written; the last two arguments are those of `check_numbers`.

    Raises:
        NumberingError: as `renumbered`.
    """
    stored: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    if "numbers" not in stored:
        _known(None, source, remedy)
    try:
        fields = _STORED(stored)
        theirs = np.array(fields["tokens"], dtype=np.int64)
        return program([renumbered(theirs, fields["numbers"], source, remedy).tolist(), fields["constants"]])
    except FormatError as error:
        raise NumberingError(f"{source} is not one of this program ({error}): {remedy}") from error


def _number(name: str) -> int:
    return FIRST_VARIABLE if name == _VARIABLES else TOKEN[name]


def _known(numbers: object, source: str, remedy: str) -> dict[str, int]:
    """Numbers by name, each name one of ours.

    Raises:
        NumberingError: as `renumbered`.
    """
    found: Mapping[Any, Any] = numbers if isinstance(numbers, Mapping) else {}
    if _VARIABLES not in found or not all(type(n) is int and 0 < n <= _LARGEST for n in found.values()):
        raise NumberingError(
            f"{source} does not name the operators of its programs, as versions before did not: {remedy}"
        )
    for name in found:
        if name not in TOKEN and name != _VARIABLES:
            raise NumberingError(
                f"{source} uses the operator {name!r}, which is not in this version (give its function, "
                f"operators={{{name!r}: …}}, where it is one of your own): {remedy}"
            )
    return {str(name): int(number) for name, number in found.items()}
