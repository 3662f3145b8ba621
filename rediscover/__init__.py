"""The face of the project: what a notebook imports.

Names are resolved when they are first used, so `import rediscover` takes no time and imports no torch. First the
packages behind a name are checked to be ours (`rediscover.installation`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rediscover.installation import check_packages

if TYPE_CHECKING:
    from rediscover.discovery import discover, predict
    from rediscover.distillation import DistillationReport, distill
    from rediscover.loading import load
    from rediscover.network_reading import read_network
    from rediscover.symbolic_regressor import SymbolicRegressor
    from rediscover.training import train

__all__ = [
    "DistillationReport",
    "SymbolicRegressor",
    "discover",
    "distill",
    "load",
    "predict",
    "read_network",
    "train",
]

_PLACES = {
    "DistillationReport": "rediscover.distillation",
    "SymbolicRegressor": "rediscover.symbolic_regressor",
    "discover": "rediscover.discovery",
    "distill": "rediscover.distillation",
    "load": "rediscover.loading",
    "predict": "rediscover.discovery",
    "read_network": "rediscover.network_reading",
    "train": "rediscover.training",
}
_PACKAGES = {
    "rediscover.discovery": (
        "foundation", "expressions", "searches", "modules", "datamodules", "runs", "reports",
    ),
    "rediscover.loading": (
        "foundation", "expressions", "searches", "modules", "datamodules", "distillation", "runs", "reports",
    ),
    "rediscover.distillation": (
        "foundation", "expressions", "searches", "modules", "datamodules", "distillation",
    ),
    "rediscover.network_reading": ("foundation", "expressions", "searches", "modules", "datamodules"),
    "rediscover.symbolic_regressor": (
        "foundation", "expressions", "searches", "modules", "datamodules", "reports",
    ),
    "rediscover.training": (
        "foundation", "expressions", "searches", "modules", "datamodules", "distillation",
        "runs", "reports", "callbacks", "configs",
    ),
}  # fmt: skip
"""Packages that each module of the face imports, now or later, directly or by way of others."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_packages(_PACKAGES[_PLACES[name]])
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
