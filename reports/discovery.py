"""A discovery: the formula of a table's column, and all that belongs to it."""

from reports.discovery_parts.result import (
    CUBIC,
    EQUATION,
    GRADIENT_BOOSTING,
    LINEAR,
    Discovery,
    Score,
)

__all__ = ["CUBIC", "EQUATION", "GRADIENT_BOOSTING", "LINEAR", "Discovery", "Score"]
