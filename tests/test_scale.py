"""The sizes that are shipped, what is counted of them, and the arithmetic on it; the suite of the data's speed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import equations_data, scale
from benchmarks.cells import OK, Record
from benchmarks.presets import PRESETS, configuration, datamodule, network
from benchmarks.scale import Shape, batch, bytes_a_sample, counted_flops, largest_batch, saved_bytes, slope, train
from modules.networks.equation_map.set_encoder import Features, point_features

TINY = {"model.width": 16, "model.queries": 2, "model.heads": 2, "model.encoder_layers": 1, "model.latents": 8}
TINY |= {"model.equation_layers": 1, "model.decoder_layers": 1, "model.prefix": 2, "model.mlp_ratio": 2}


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_sound_and_build(name: str) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from configs.validation import check_config

    GlobalHydra.instance().clear()
    folder = Path(scale.__file__).parents[1] / "configs"
    with initialize_config_dir(str(folder), version_base="1.3"):
        check_config(compose("train", overrides=list(PRESETS[name])))  # with its search
    config = configuration(name)
    data = datamodule(config)
    assert data.settings.length_edges[-1] == data.longest
    with torch.device("meta"):
        net = network(config, data)
    assert net.longest == config.data.longest
    assert net.set_encoder.checkpoint_activations == config.model.checkpoint_activations
    assert net.latents == config.model.latents
    sizes = {"small": (5e6, 1e7), "base": (2e7, 4e7), "paper": (1e8, 2.5e8)}[name]
    assert sizes[0] < sum(parameter.numel() for parameter in net.parameters()) < sizes[1]


def tiny_configuration() -> Any:
    config = configuration("small")
    for key, value in TINY.items():
        group, word = key.split(".")
        config[group][word] = value
    return config


def tiny() -> tuple[Any, Any]:
    config = tiny_configuration()
    data = datamodule(config)
    torch.manual_seed(0)
    return network(config, data), data


def flops_of(step: Callable[[], None]) -> int:
    def watched(watch: scale.Watch) -> None:
        with watch:
            step()

    return counted_flops(watched)


def flops_of_network(net: Any, tables: Any) -> int:
    """Of a step, but for those of the features, which have no weights."""
    features = flops_of(lambda: point_features(tables.inputs, tables.target, tables.present))
    return flops_of(lambda: train(net, tables, 0.5)) - features


def test_a_batch_holds_sound_equations_of_the_length() -> None:
    net, data = tiny()
    for tokens in (1, 2, 5, 8, 20):
        tables = batch(data, 2, Shape(16, tokens))
        assert len(data.vocabulary.decode_skeletons(tables.ids)[0]) == tokens
        parts = net.losses(tables, 0.5, 0.02, (True, True))
        assert bool(torch.isfinite(parts.prior_cross_entropy))


def test_flops_are_those_of_the_matrix_products() -> None:
    net, _ = tiny()
    encoder: Any = net.set_encoder
    width, features, blocks, queries = 16, encoder.points[0].in_features, 1, 2

    def step(points: int) -> None:
        others = (encoder.statistics, encoder.probes, encoder.pursuits)
        rows = (torch.randn(2, 1, network[0].in_features) for network in others)
        encoder(Features(torch.randn(2, points, features), *rows)).sum().backward()

    # A point more: three linear layers, the first without a gradient of its inputs, and attention in each block.
    a_point = 2 * (2 * features * width + 3 * width**2 + 3 * 2 * width**2) + 3 * blocks * 4 * queries * width
    found = [flops_of(lambda points=points: step(points)) for points in (80, 120)]
    assert (found[1] - found[0]) / (2 * 40) == a_point


def test_fake_tensors_count_as_real_ones_do() -> None:
    config = tiny_configuration()
    counted = scale.count(config)
    net, data = tiny()
    mean, largest = scale.shapes(data)
    real = slope(lambda rows: saved_bytes(net, lambda: train(net, batch(data, rows, largest), 0.5, half=True)))
    assert counted["activations"] == pytest.approx(real, rel=0.02)
    flops = slope(lambda rows: flops_of_network(net, batch(data, rows, mean)))
    assert counted["flops"] == pytest.approx(flops, rel=0.03)
    assert counted["parameters"] == sum(parameter.numel() for parameter in net.parameters())


def test_checkpointing_keeps_less_and_works_more() -> None:
    net, data = tiny()

    def step(rows: int) -> None:
        train(net, batch(data, rows, Shape(32, 9)), 0.5, half=True)

    kept = {}
    flops = {}
    for again in (False, True):
        scale.checkpointing(net, again)
        kept[again] = slope(lambda rows: saved_bytes(net, lambda: step(rows)))
        flops[again] = flops_of_network(net, batch(data, 2, Shape(16, 20)))  # few rows: blocks have most to do
    assert 0 < kept[True] < 0.8 * kept[False]
    assert flops[True] > 1.1 * flops[False]
    assert scale.blocks(net) == 3


def test_saved_bytes_are_those_that_a_layer_keeps() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Sigmoid())
    module: Any = layer
    # The input of the linear layer and the output of the sigmoid, but not the weights.
    found = [saved_bytes(module, lambda rows=rows: layer(torch.ones(rows, 8)).sum().backward()) for rows in (2, 4)]
    assert found == [2 * (8 + 4) * 4, 4 * (8 + 4) * 4]


def counted(**changes: Any) -> dict[str, Any]:
    known = {"parameters": 1e8, "activations": 5e6, "block": 1e6, "flops": 3e10, "operations": 2000, "batch": 256}
    return {**known, "ddp": True, **changes}


def test_the_arithmetic() -> None:
    assert scale.fixed_bytes(counted()) == 26e8
    assert scale.fixed_bytes(counted(ddp=False)) == 22e8
    assert bytes_a_sample(counted()) == 6e6
    fits = largest_batch(counted(), 80e9)
    assert fits % 16 == 0
    assert 26e8 + fits * 6e6 <= 72e9 < 26e8 + (fits + 16) * 6e6
    assert largest_batch(counted(parameters=1e10), 80e9) == 0
    by_flops, by_launches = scale.step_seconds(counted(), 1e15, 0.3, 8.0)
    assert by_flops == pytest.approx(256 * 3e10 / 3e14)
    assert by_launches == pytest.approx(0.016)


def test_the_report_says_where_its_two_numbers_are_from() -> None:
    more = {"activations_whole": 2e7, "rows": 70, "tokens": 12}
    more |= {"cpu_samples_per_second": 5.0, "cpu_peak": 6e10, "cpu_utilisation": 0.5}
    cells = scale.SUITE.cells(methods=[], problems=["small"], seeds=[1], settings={}, out="")
    text = scale.SUITE.report([Record(cells[0], OK, counted(**more))]).markdown("nothing")
    assert "From one H200: 2.8 % of the dense bfloat16 peak" in text
    assert "28.0 microseconds an operation" in text
    assert "| small, H100 80 GB | 256 |" in text
    assert "50 %" in text


def test_a_cell_of_a_tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_configuration()
    monkeypatch.setattr(scale, "configuration", lambda name: config)
    settings = {"cpu_batch": 2, "cpu_seconds": 0.01}
    (cell,) = scale.SUITE.cells(methods=[], problems=["small"], seeds=[1], settings=settings, out="")
    found = scale.run(cell)
    assert found["activations"] == found["activations_whole"] > 0
    assert 300 < found["operations"] < 2000
    assert found["cpu_utilisation"] == pytest.approx(
        found["cpu_samples_per_second"] * found["flops"] / found["cpu_peak"]
    )


# ----------------------------------------------------------------------------------------- the data's speed


def test_the_data_of_a_preset_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.streams.corpus.SHARD_SAMPLES", 384)
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
    data = datamodule(configuration("small"), programs=800)
    stream = equations_data.counting_stream(data.settings, 0, 32)
    block = stream.get(0, 0)
    assert stream.drawn >= int(32 * 1.4)
    assert np.isfinite(block.target).all()
    assert len(block.target) <= stream.accepted <= stream.drawn
