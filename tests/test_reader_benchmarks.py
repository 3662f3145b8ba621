"""The suites `zoo` and `readers`, tiny: what they count, not how fast."""

from pathlib import Path

import pytest

from benchmarks import network_zoo, weight_readers
from benchmarks.cells import OK, Cell, Record
from datamodules.zoo import shards


def recorded(cells: list[Cell], run: object) -> list[Record]:
    return [Record(cell, OK, run(cell), "", 1.0) for cell in cells]  # type: ignore[operator]


def test_the_zoo_counts_networks_that_are_good() -> None:
    settings = {"networks": 64, "single": 2, "adam_steps": 200}
    cells = [Cell("zoo", method, "tanh", 1, settings) for method in network_zoo.METHODS]
    records = recorded(cells, network_zoo.run)
    found = {record.cell.method: record.result for record in records}
    assert found["gauss_newton"]["good"] >= 60
    assert found["one_by_one"]["networks"] == 2
    assert found["adam"]["r2_median"] > 0.9
    rows = network_zoo.report(records).grids[0].rows
    assert [row[1] for row in rows] == list(network_zoo.METHODS)
    assert rows[2][-1] == "1" or not found["one_by_one"]["good"], "the loop, in units of itself"


@pytest.mark.long
def test_readers_are_measured_on_tracks_and_on_what_they_have_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = {name: weight_readers.UNSEEN[name] for name in ("1-16-1", "hardly trained")}
    monkeypatch.setattr(weight_readers, "UNSEEN", unseen)
    monkeypatch.setattr(shards, "SHARD", 256)  # small shards: a zoo is made of whole ones
    settings = {"seconds": 0.5, "networks": 256, "test": 128}
    cells = [
        Cell("readers", method, problem, 1, settings, str(tmp_path))
        for method, problem in (
            ("probe", "independent"), ("flat", "independent"), ("least_squares", "independent"),
            ("least_squares", "functions"),
        )
    ]  # fmt: skip
    records = recorded(cells, weight_readers.run)
    probe, flat, least, functions = (record.result for record in records)
    assert least["exact_match"] == 1.0, "every polynomial can be read off the network's outputs"
    assert functions["exact_match"] < 0.2, "but where terms are nearly the same curve, none can"
    assert "unseen/1-16-1" in probe
    assert set(flat) & {"unseen/1-16-1", "unseen/hardly trained"} == {"unseen/hardly trained"}, "not its shape"
    assert least["unseen/1-16-1"]["exact_match"] > 0.99
    assert least["unseen/hardly trained"]["r2_median"] < least["unseen/1-16-1"]["r2_median"]
    grids = weight_readers.report(records).grids
    assert [row[0] for row in grids[0].rows] == [
        "probe", "probe:beam", "probe:sampled", "probe:refit", "flat", "least_squares"
    ]  # fmt: skip
    assert grids[1].rows[4][1:4] == ["-"] * 3
    assert grids[0].rows[-1][1] == "100.0 %"
