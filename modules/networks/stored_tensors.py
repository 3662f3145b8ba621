"""Check for the tensors in a file, to be put into a schema beside those of `foundation.schema`."""

from __future__ import annotations

from typing import Any

import torch

from foundation.schema import Check, FormatError

__all__ = ["tensor"]


def tensor(kinds: str, *shape: int | None, any_shape: bool = False, finite: bool = False) -> Check:
    """Check for a tensor of torch, dense and with a value of its own in every place that it names.

    Args:
        kinds: letters of the allowed kinds of its type, as in `numpy.dtype.kind`: `f`, `i`, `u`, `b`.
        shape: length of every dimension; None: any length.
        any_shape: whether any shape is allowed, in place of `shape`.
        finite: whether its numbers must be finite.
    """

    def check(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.is_quantized:
            raise FormatError(f"is of type {type(value).__name__}", "a dense tensor")
        found = "f" if value.is_floating_point() else "c" if value.is_complex() else "b"
        if found == "b" and value.dtype is not torch.bool:
            found = "i" if value.dtype.is_signed else "u"
        here = f"is a tensor {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        if found not in kinds or value.numel() > value.untyped_storage().nbytes() // value.element_size():
            raise FormatError(here, "one of such numbers")
        if not any_shape and (
            value.ndim != len(shape)
            or any(size not in (None, length) for size, length in zip(shape, value.shape, strict=True))
        ):
            raise FormatError(
                here, f"one of {' x '.join('any' if n is None else str(n) for n in shape) or 'no axis'}"
            )
        if finite and not bool(value.isfinite().all()):
            raise FormatError("has numbers that are not finite", "")
        return value

    return check
