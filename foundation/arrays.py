"""Whether an array is what a search can work with: real numbers, none of them missing, all of them finite."""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Any

import numpy as np

__all__ = ["finite_numbers", "refuse_other_kinds"]

_KINDS = {"c": "Complex data", "U": "Texts", "S": "Texts", "M": "Dates", "m": "Time spans", "V": "Records"}
_TYPES: tuple[tuple[Any, str], ...] = (
    (complex | np.complexfloating, "Complex data"),
    (str | bytes, "Texts"),
    (date | time | np.datetime64, "Dates"),
    (timedelta | np.timedelta64, "Time spans"),
)


def finite_numbers(values: Any, what: str) -> np.ndarray:
    """The values as float64: the same array where it is one of float64 already.

    Args:
        values: array, list, DataFrame or tensor of real numbers; true and false count as 1 and 0.
        what: name of the array in a sentence.

    Raises:
        ValueError: a value is missing, not finite or no real number, or a conversion would drop a part of it.
    """
    refuse_other_kinds(values, what)
    try:
        with np.errstate(over="ignore"):  # of a longer type: infinite, hence refused below
            found = np.asarray(_without_placeholders(np.asarray(values)), dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{what}: not an array of real numbers, or one is missing ({error})") from error
    finite = np.isfinite(found)
    if not finite.all():
        first = ", ".join(map(str, np.argwhere(~finite)[0].tolist()))
        count = finite.size - int(np.count_nonzero(finite))
        raise ValueError(f"{what}: {count} value(s) missing or not finite, the first at [{first}]")
    return found


def _without_placeholders(values: np.ndarray) -> np.ndarray:
    """The values with NaN for what pandas, or Python, has in the place of a missing one."""
    if values.dtype != object:
        return values
    flat = [np.nan if each is None or type(each).__name__ == "NAType" else each for each in values.ravel()]
    filled = np.empty(len(flat), dtype=object)
    filled[:] = flat
    return filled.reshape(values.shape)


def refuse_other_kinds(values: Any, what: str) -> None:
    """Refuse what a conversion to numbers would take a part of away, or read numbers into.

    Args:
        values: array, list, DataFrame or tensor.
        what: name of the array in a sentence.

    Raises:
        ValueError: values are masked, complex, texts, dates or records, or the array is sparse.
    """
    if type(values).__module__.startswith("scipy.sparse"):
        raise ValueError(f"{what}: a sparse matrix cannot be searched, its toarray() can")
    if np.ma.is_masked(values):
        count = int(np.count_nonzero(np.ma.getmaskarray(values)))
        raise ValueError(f"{what}: {count} value(s) masked: fill them, or leave their rows out")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # no array at all: whoever makes numbers of it says so
        return
    kind = _KINDS.get(array.dtype.kind)
    if array.dtype.kind == "O":
        types = set(map(type, array.ravel().tolist()))
        kind = next((kind for some, kind in _TYPES if any(issubclass(each, some) for each in types)), None)
    if kind is not None:
        raise ValueError(f"{what}: {kind} not supported, give real numbers")
