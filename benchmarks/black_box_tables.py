"""Tables of measurements without a known law: scikit-learn's, and those inside the wheels of small packages.

A table is only what it names here: a file that a package ships, read without importing the package, the target,
and the columns to explain it by. Columns that hold the target itself in another form are left out, and so are
counters and identifiers; a column of two words becomes 0 and 1, its first word in alphabetical order being 0; rows
with missing cells are dropped.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TABLES", "BlackBoxTable", "installed_tables", "read_table"]


@dataclass(frozen=True)
class BlackBoxTable:
    """Where a table is, and what of it is used.

    Attributes:
        package: package that ships the table; `sklearn` for those that scikit-learn or this project ships.
        file: path inside the package, or the name of scikit-learn's set.
        target: column to explain.
        dropped: columns that are not used.
        features: columns to explain it by; None: all others that are not dropped.
    """

    package: str
    file: str
    target: str
    dropped: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None


_WINE = (
    "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids", "nonflavanoid_phenols",
    "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines", "proline",
)  # fmt: skip
_CARS = ("Cylinders", "Displacement", "Horsepower", "Weight_in_lbs", "Acceleration")
_PENGUINS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "sex")

TABLES: Mapping[str, BlackBoxTable] = {
    "california_housing": BlackBoxTable("sklearn", "california_housing", "MedHouseVal"),
    "diabetes": BlackBoxTable("sklearn", "diabetes", "target"),
    "breast_cancer": BlackBoxTable("sklearn", "breast_cancer", "worst texture", ("target",)),
    "wine": BlackBoxTable("sklearn", "wine", "alcohol", features=_WINE),
    "iris": BlackBoxTable("sklearn", "iris", "petal width (cm)", ("target",)),
    "body_fat": BlackBoxTable(
        "faraway", "datasets/fat/fat.csv.bz2", "brozek", ("siri", "density", "free", "adipos")
    ),
    "ozone": BlackBoxTable("faraway", "datasets/ozone/ozone.csv.bz2", "O3"),
    "us_wages": BlackBoxTable("faraway", "datasets/uswages/uswages.csv.bz2", "wage"),
    "meat_spectra": BlackBoxTable("faraway", "datasets/meatspec/meatspec.csv.bz2", "fat"),
    "child_height": BlackBoxTable(
        "faraway", "datasets/families/families.csv.bz2", "childHeight", ("family", "midparentHeight")
    ),
    "school_maths": BlackBoxTable("faraway", "datasets/jsp/jsp.csv.bz2", "math", ("school", "class", "id")),
    "primary_votes": BlackBoxTable(
        "faraway", "datasets/newhamp/newhamp.csv.bz2", "pObama", ("Obama", "Clinton", "dem")
    ),
    "kangaroo_jaws": BlackBoxTable("faraway", "datasets/kanga/kanga.csv.bz2", "mandible_length", ("species",)),
    "high_school": BlackBoxTable(
        "faraway", "datasets/hsb/hsb.csv.bz2", "math", features=("read", "write", "science", "socst", "schtyp")
    ),
    "tree_rings": BlackBoxTable("faraway", "datasets/globwarm/globwarm.csv.bz2", "nhtemp", ("year",)),
    "car_mileage": BlackBoxTable("vega_datasets", "_data/cars.json", "Miles_per_Gallon", features=_CARS),
    "seattle_weather": BlackBoxTable(
        "vega_datasets", "_data/seattle-weather.csv", "temp_max", ("date", "weather")
    ),
    "penguins": BlackBoxTable("palmerpenguins", "data/penguins.csv", "body_mass_g", features=_PENGUINS),
}
"""Name -> table; 101 to 20,640 rows, 3 to 100 columns to explain the target by."""


def installed_tables() -> tuple[str, ...]:
    """Names of the tables whose packages are installed."""
    return tuple(name for name, table in TABLES.items() if importlib.util.find_spec(table.package))


def read_table(name: str) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    """The rows of a table.

    Args:
        name: name in `TABLES`.

    Returns:
        Inputs `[rows, features]`, target `[rows]`, both float64, and the names of the features.

    Raises:
        UserError: the package that ships it is not installed.
        KeyError: there is no such table.
    """
    from datamodules.tables.table import check_table

    table = TABLES[name]
    if table.package == "sklearn" and table.file == "california_housing":  # as it comes with this project
        found = check_table(f"sklearn:{table.file}", table.target, None)
        assert found.target is not None
        return np.array(found.inputs), np.array(found.target), list(found.feature_names)
    frame = _frame(table)
    features = list(table.features or [c for c in frame.columns if c not in (table.target, *table.dropped)])
    frame = frame[[*features, table.target]].dropna()
    columns = [_numbers(frame[column]) for column in features]
    return np.stack(columns, axis=1), _numbers(frame[table.target]), features


def _frame(table: BlackBoxTable) -> pd.DataFrame:
    """The whole table, as it is shipped."""
    import pandas as pd

    if table.package == "sklearn":
        import sklearn.datasets

        frame: pd.DataFrame = getattr(sklearn.datasets, f"load_{table.file}")(as_frame=True).frame
        return frame
    found = importlib.util.find_spec(table.package)
    if found is None or found.origin is None:
        raise UserError(f"this table is in a package that is not installed: pip install {table.package}")
    path = Path(found.origin).parent / table.file
    return pd.read_json(path) if path.suffix == ".json" else pd.read_csv(path)


def _numbers(column: pd.Series) -> np.ndarray:
    """A column as numbers; of two words, the first in alphabetical order is 0 and the other 1. `[rows]`"""
    if column.dtype.kind in "fiub":
        return np.asarray(column, dtype=float)
    words = sorted(set(map(str, column)))
    if len(words) != 2:
        raise ValueError(f"{column.name} has {len(words)} different words, not two: leave it out")
    return np.array([float(words.index(str(word))) for word in column])
