"""The suite that measures how fast the data of the map of equations are made."""

import numpy as np
import pytest

from benchmarks import equations_data
from benchmarks.cells import OK, Record


def test_the_data_of_a_preset_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.streams.corpus_freezing.SHARD_SAMPLES", 384)
    settings = {"batches": 3, "programs": 800}
    cells = equations_data.SUITE.cells(methods=[], problems=["small"], seeds=[1], settings=settings, out="")
    records = [Record(cell, OK, equations_data.run(cell)) for cell in cells]
    stream, corpus = (record.result for record in records)
    assert 0.3 < stream["accepted"] < 1.0
    assert 0.0 < stream["excluded"] < 0.2
    assert 0 < stream["with_pool"] < stream["samples_per_second"]
    assert corpus["samples_per_second"] > stream["samples_per_second"]
    assert 300 < corpus["bytes"] < 10_000
    text = equations_data.SUITE.report(records).markdown("nothing")
    assert "| small, stream |" in text
    assert "| small, corpus |" in text


def test_the_counter_counts_what_is_drawn() -> None:
    data = equations_data.datamodule("small", programs=800)
    stream = equations_data.counting_stream(data.settings, 0, 32)
    block = stream.get(0, 0)
    assert stream.drawn >= int(32 * 1.4)
    assert np.isfinite(block.target).all()
    assert len(block.target) <= stream.accepted <= stream.drawn
