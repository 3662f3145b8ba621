"""The face of the project: what a notebook imports.

Names are resolved when they are first used, so `import rediscover` takes no time and imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rediscover.training import train

__all__ = ["train"]

_PLACES = {"train": "rediscover.training"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
