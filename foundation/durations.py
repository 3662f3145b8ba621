"""Lengths of time in words."""

__all__ = ["duration"]


def duration(seconds: float) -> str:
    """Describe a length of time in the largest unit that fits: `40 seconds`, `3 minutes`, `2.5 hours`.

    Args:
        seconds: Length of time in seconds.
    """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
