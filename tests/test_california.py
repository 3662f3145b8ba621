"""California Housing equals scikit-learn's, bit for bit, without a download."""

import hashlib

import joblib
import numpy as np
import pytest
from sklearn.datasets import fetch_california_housing

from datamodules.california import CaliforniaHousing
from datamodules.tables.sources import (
    CALIFORNIA_FEATURES,
    CALIFORNIA_FILE,
    CALIFORNIA_TARGET,
    TableError,
    california_arrays,
)

SHA256 = "9b9082ab86651a01d663a8e4a70ea14c0b41d0b2bd693bccd3221dcd111e15ca"
"""Of the float64 array `[20640, 9]`, features and target, in the order of rows in memory, little-endian."""

# Means to the last digit that is printed where they are published.
MEANS = {
    "MedInc": 3.870671,
    "HouseAge": 28.639486,
    "AveRooms": 5.429000,
    "AveBedrms": 1.096675,
    "Population": 1425.476744,
    "AveOccup": 3.070655,
    "Latitude": 35.631861,
    "Longitude": -119.569704,
    "MedHouseVal": 2.068558,
}


def whole() -> np.ndarray:
    inputs, target = california_arrays()
    return np.column_stack([inputs, target])


def test_shape_order_and_documented_means():
    array = whole()
    assert array.shape == (20640, 9)
    assert array.dtype == np.float64
    names = [*CALIFORNIA_FEATURES, CALIFORNIA_TARGET]
    assert names == list(MEANS)
    np.testing.assert_allclose(array.mean(axis=0), list(MEANS.values()), atol=5e-7)


def test_first_row_is_the_documented_one():
    first = [8.3252, 41.0, 6.984126984126984, 1.0238095238095237, 322.0, 2.5555555555555554, 37.88, -122.23, 4.526]
    assert whole()[0].tolist() == first


def test_checksum():
    assert hashlib.sha256(np.ascontiguousarray(whole()).astype("<f8").tobytes()).hexdigest() == SHA256


def test_equals_what_scikit_learn_computes_from_the_same_census(tmp_path):
    """scikit-learn's own function, run on the census counts in the form in which it keeps them on disk."""
    with np.load(CALIFORNIA_FILE, allow_pickle=False) as stored:
        columns = [stored["value"], np.array([float(f"{x // 10000}.{x % 10000:04d}") for x in stored["income"]])]
        columns += [stored[name] for name in ("age", "rooms", "bedrooms", "population", "households")]
        for name in ("latitude", "longitude"):  # from their decimal text, as the original file is read
            columns.append(np.array([float(f"{int(x) / 100:.2f}") for x in stored[name]]))
    raw = np.column_stack([column.astype(np.float64) for column in columns])
    joblib.dump(raw, tmp_path / "cal_housing_py3.pkz")
    joblib.dump(raw, tmp_path / "cal_housing.pkz")
    theirs = fetch_california_housing(data_home=tmp_path, download_if_missing=False)
    inputs, target = california_arrays()
    assert tuple(theirs.feature_names) == CALIFORNIA_FEATURES
    assert list(theirs.target_names) == [CALIFORNIA_TARGET]
    assert theirs.data.tobytes() == np.ascontiguousarray(inputs).tobytes()
    assert theirs.target.tobytes() == target.tobytes()


def test_the_file_is_small_and_holds_integers_only():
    assert CALIFORNIA_FILE.stat().st_size < 300_000
    with np.load(CALIFORNIA_FILE, allow_pickle=False) as stored:
        assert len(stored.files) == 9
        assert all(stored[name].dtype.kind in "ui" for name in stored.files)


def test_default_is_the_papers_two_features():
    data = CaliforniaHousing()
    data.setup()
    assert data.feature_names == ["HouseAge", "AveRooms"]
    assert data.target_name == "MedHouseVal"
    assert [len(data.table(part)) for part in ("train", "validation", "test", "all")] == [14448, 2064, 4128, 20640]
    inputs, target = next(iter(data.test_dataloader()))
    assert np.array_equal(inputs.numpy(), data.table("test").inputs[:256].astype(np.float32))
    assert np.array_equal(target.numpy(), data.table("test").target[:256].astype(np.float32))


def test_any_features_in_the_order_asked_for():
    data = CaliforniaHousing(features=["Longitude", "MedInc"], target=None)
    inputs, _ = california_arrays()
    assert np.array_equal(data.table("all").inputs, inputs[:, [7, 0]])
    assert data.target_name is None


def test_paper_split_trains_and_tests_on_every_row():
    data = CaliforniaHousing(split="paper")
    assert all(len(data.table(part)) == 20640 for part in ("train", "validation", "test"))
    assert np.array_equal(data.table("train").inputs, data.table("test").inputs)


def test_unknown_feature_names_the_near_one():
    with pytest.raises(TableError, match=r"'AverageRooms'.*AveRooms"):
        CaliforniaHousing(features=["AverageRooms"]).setup()
