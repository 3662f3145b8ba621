"""California Housing, without a download."""

from __future__ import annotations

from typing import Any

from datamodules.settings.tables import CaliforniaSettings
from datamodules.tabular import TabularData

__all__ = ["CaliforniaHousing"]


class CaliforniaHousing(TabularData):
    """The 20,640 block groups of the 1990 census of California (Pace and Barry 1997).

    The same numbers as scikit-learn's `fetch_california_housing`, bit for bit, rebuilt from a file that is shipped
    (`CALIFORNIA.md`). The default features are the two of Anecone (2024).

    Args:
        **options: Settings by name, see `datamodules.settings.tables.CaliforniaSettings`.

    Raises:
        SettingsError: A setting is unknown or its value is not allowed.
        TableError: In `setup`, for an unknown feature or target.
    """

    def __init__(self, **options: Any) -> None:
        settings = CaliforniaSettings.of(options)
        super().__init__(path="sklearn:california_housing", **settings.as_mapping())
