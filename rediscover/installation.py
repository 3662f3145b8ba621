"""Our packages are ours: a check that no other file answers to the name of one of them.

`rediscover` stands on packages with plain names (`modules`, `callbacks`, `configs`, …). A person's folder may hold
a `callbacks.py` of its own, and Python takes whichever comes first. So whoever opens a door of `rediscover` first
checks the packages behind it. This file imports none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path

__all__ = ["ForeignPackageError", "check_packages"]

ROOT = Path(__file__).resolve().parents[1]
"""Directory of the installation (or of the checkout), which holds every package of ours."""


class ForeignPackageError(ImportError):
    """Another file stands where one of our packages is expected; one sentence says which, and what to do."""


def check_packages(names: Iterable[str]) -> None:
    """Check that packages are those of our own installation, whether they are imported already or will be.

    Both what is imported and what an import would find are looked at: a process that is started later searches
    the same path from the beginning.

    Args:
        names: names of packages of ours, without a dot.

    Raises:
        ForeignPackageError: one of them comes from elsewhere, or is missing.
    """
    for name in names:
        _check(name, _found(name))
        loaded = getattr(sys.modules.get(name), "__spec__", None)
        if loaded is not None:
            _check(name, loaded)


def _found(name: str) -> ModuleSpec | None:
    """What an import of a package would find now, however it was imported before."""
    for finder in sys.meta_path:
        if hasattr(finder, "find_spec") and (spec := finder.find_spec(name, None)) is not None:
            return spec
    return None


def _check(name: str, spec: ModuleSpec | None) -> None:
    ours = os.path.join(ROOT, name)
    place = _place(spec)
    if place is None:
        raise ForeignPackageError(
            f"{name} belongs to rediscover, and is missing beside {os.path.join(ROOT, 'rediscover')}: "
            "install rediscover again"
        )
    if os.path.realpath(place) not in (os.path.join(ours, "__init__.py"), f"{ours}.py", ours):
        theirs = place.removesuffix(f"{os.sep}__init__.py")
        raise ForeignPackageError(
            f"{name} belongs to rediscover, and {theirs} stands in its way: rename it, or run from another folder"
        )


def _place(spec: ModuleSpec | None) -> str | None:
    """File of a module, or the first folder of a package without one."""
    if spec is None:
        return None
    if spec.has_location and spec.origin:
        return spec.origin
    return next(iter(spec.submodule_search_locations or ()), None)
