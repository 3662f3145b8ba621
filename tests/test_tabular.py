"""Tables as data modules: parts that share no row, scales of the training rows, and rows in batches."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.tables.refusals import MIN_SPLIT_ROWS
from datamodules.tables.splits import input_statistics, split_table
from datamodules.tables.table import TableError, check_table
from datamodules.tabular import TabularData
from tests.small_tables import ROWS, frame


@settings(max_examples=30, deadline=None)
@given(st.integers(MIN_SPLIT_ROWS, 300), st.integers(0, 5))
def test_every_row_is_in_exactly_one_part(rows, seed):
    data = pd.DataFrame({"a": np.arange(rows), "y": np.arange(rows)})
    parts = split_table(check_table(data, "y"), seed=seed)
    together = np.concatenate([parts[name].inputs[:, 0] for name in ("train", "validation", "test")])
    assert sorted(together) == list(range(rows))
    assert min(len(part) for part in parts.values()) >= 2
    if rows >= 100:
        assert abs(len(parts["test"]) - 0.2 * rows) <= 1
        assert abs(len(parts["validation"]) - 0.1 * rows) <= 1


def test_bad_splits_are_refused():
    table = check_table(frame(), "y")
    with pytest.raises(TableError, match="did you mean paper"):
        split_table(table, split="papper")
    with pytest.raises(TableError, match="below 1"):
        split_table(table, test_fraction=0.95)
    with pytest.raises(TableError, match="fewer than two"):
        split_table(table, test_fraction=0.5, validation_fraction=0.49)


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none"])
def test_scaling_statistics(scaling):
    values = np.column_stack([frame()["a"], np.full(ROWS, 0.1)])
    made = input_statistics(values, scaling)
    scaled = (values - made["offset"]) / made["scale"]
    assert np.isfinite(scaled).all()
    if scaling == "standard":
        np.testing.assert_allclose([scaled[:, 0].mean(), scaled[:, 0].std()], [0, 1], atol=1e-12)
    elif scaling == "minmax":
        assert (scaled[:, 0].min(), scaled[:, 0].max()) == (0, 1)
    assert made["scale"][1] == 1
    with pytest.raises(TableError, match="scaling"):
        input_statistics(values, "robust")


def test_statistics_come_from_training_rows_alone():
    data = TabularData(frame(200), "y", seed=1)
    data.setup()
    train = data.table("train").inputs
    np.testing.assert_allclose(data.input_statistics()["offset"], train.mean(axis=0))
    np.testing.assert_allclose(data.target_statistics()["offset"], [data.table("train").target.mean()])


def test_loaders_give_raw_units_and_hyperparameters_stay_plain():
    data = TabularData("sklearn:iris", "target", ("petal width (cm)",), batch_size=16)
    data.setup()
    batches = list(data.train_dataloader())
    assert batches[0][0].shape == (16, 1)
    assert batches[0][1].shape == (16,)
    seen = np.sort(np.concatenate([inputs[:, 0] for inputs, _ in batches]))
    assert np.array_equal(seen, np.sort(data.table("train").inputs[:, 0].astype(np.float32)))
    assert data.feature_names == ["petal_width_cm"]
    assert data.hparams["features"] == ["petal width (cm)"]
    assert "path" not in TabularData(frame(), "y").hparams


def test_no_target_is_nan_for_whoever_asks_for_it():
    data = TabularData(frame(), None, ["a"])
    _, target = next(iter(data.test_dataloader()))
    assert np.isnan(target.numpy()).all()


def test_a_table_that_is_to_be_split_has_ten_rows():
    with pytest.raises(TableError, match="at least 10 rows to fit, choose and test by"):
        TabularData(frame(9), "y").setup()


def test_rows_come_in_single_precision_if_it_can_hold_them_and_in_double_if_a_model_asks():
    data = TabularData(frame().assign(a=2459000.5 + np.arange(ROWS) / 1e3), "y", ["a"])
    with pytest.raises(TableError, match="too little for single precision"):
        data.test_dataloader()
    data.serve_double()
    inputs, target = next(iter(data.predict_dataloader()))
    assert inputs.dtype == target.dtype == torch.float64
    assert inputs[1, 0] == 2459000.501
