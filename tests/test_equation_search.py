"""The base of the callbacks that report equations: when they search, and what a full disk says."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch import LightningModule

from callbacks.equation_search import EquationSearch
from foundation.errors import UserError
from reports.findings import Finding


class Noted(EquationSearch):
    """Notes what it is given; fails as a full disk does, if told so."""

    def __init__(self, deferred: bool = False, full: bool = False) -> None:
        super().__init__("logs/mine", deferred)
        self.full = full
        self.given: list[Any] = []

    def find_and_report(self, trainer: Any, module: LightningModule, datamodule: Any) -> list[Finding]:
        self.given.append(datamodule)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return []


TRAINER: Any = SimpleNamespace(datamodule="that of the fit")


def test_it_searches_at_the_end_of_a_fit_unless_it_is_deferred() -> None:
    at_once, later = Noted(), Noted(deferred=True)
    for callback in (at_once, later):
        callback.on_fit_end(TRAINER, LightningModule())
    assert (at_once.given, later.given) == (["that of the fit"], [])
    other: Any = "another"
    later.search(TRAINER, LightningModule(), other)
    assert later.given == ["another"]


def test_a_full_disk_is_one_sentence_that_says_how_to_go_on() -> None:
    with pytest.raises(UserError) as caught:
        Noted(full=True).search(TRAINER, LightningModule())
    assert str(caught.value) == (
        "logs/mine cannot be written to (No space left on device): make room, then resume=logs/mine"
    )
