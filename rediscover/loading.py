"""What a folder holds that `discover` or `distill` has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distillation.stored.report_file import JSON_FILE
from rediscover import discovery

if TYPE_CHECKING:
    from distillation.report import DistillationReport

__all__ = ["load"]


def load(directory: str | Path) -> discovery.Discovery | DistillationReport:
    """The discovery, or the report of a distillation, in a folder. Nothing in it is run.

    Args:
        directory: folder that `discover(…, out=…)` or `DistillationReport.save` wrote.

    Raises:
        foundation.errors.UserError: there is neither, or a file is damaged.
    """
    if (Path(directory) / JSON_FILE).is_file():
        from distillation.report import DistillationReport  # with torch, which a discovery does without

        return DistillationReport.load(directory)
    return discovery.load(directory)
