"""The suite `families`: its classes, its split, its probes, and cells of every method on a tiny map."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import families
from benchmarks.cells import OK, Cell, Record
from benchmarks.families import CLASSES, LabelledTables, belongs, draw_tables, probe, split, statistics
from datamodules.streams.skeleton_pool import split_of
from expressions.parsing import parse
from expressions.rowwise_evaluation import PAD
from expressions.skeleton import fingerprints


def programs(*texts: str) -> np.ndarray:
    found = [parse(text).tokens for text in texts]
    tokens = np.full((len(found), max(map(len, found))), PAD, dtype=np.int16)
    for row, own in zip(tokens, found, strict=True):
        row[: len(own)] = own
    return tokens


def test_a_class_has_its_own_functions_and_all_of_its_variables() -> None:
    tokens = programs(
        "exp(x0)*x1",
        "sin(x0) + cos(x1)",
        "exp(x0)*log(x1)",
        "exp(x1)",
        "exp(x0)*tanh(x1)",
        "x0*x1",
        "exp(x0) + x1*x2",
    )
    assert belongs(tokens, "exp", 2).tolist() == [True, False, False, False, False, False, False]
    assert belongs(tokens, "trig", 2).tolist() == [False, True, False, False, False, False, False]
    assert not belongs(tokens, "log", 2).any()


@pytest.fixture(scope="module")
def drawn() -> LabelledTables:
    return draw_tables(3, skeletons=3, tables=2, programs=1000)


def test_classes_are_balanced_and_tables_are_clean(drawn: LabelledTables) -> None:
    assert np.bincount(drawn.label).tolist() == [6] * 6
    assert drawn.columns.tolist() == [CLASSES[label][1] for label in drawn.label]
    assert drawn.inputs.shape == (36, 200, 5)
    assert np.isfinite(drawn.target).all()
    assert (drawn.target.std(axis=1) > 0).all()
    assert (drawn.inputs[drawn.columns == 2][:, :, 2:] == 0).all()
    assert (drawn.inputs[drawn.columns == 5].std(axis=1) > 0).all()
    assert (np.bincount(drawn.skeleton) == 2).all()
    assert all(len(set(drawn.label[drawn.skeleton == k])) == 1 for k in range(18))
    one, other = drawn.target[drawn.skeleton == 0]
    assert not np.array_equal(one, other)  # constants and points of its own


def test_equations_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import datamodules.streams.skeleton_pool as pools

    seen = []
    real = pools.draw_pool

    def watched(*arguments: Any) -> Any:
        pool = real(*arguments)
        seen.append(pool)
        return pool

    monkeypatch.setattr(pools, "draw_pool", watched)
    rng = np.random.default_rng(0)
    next(families._sets_of_tables(0, rng, 1, 1500))
    keys = fingerprints([pool.skeleton(k) for pool in seen for k in range(len(pool))])
    assert keys
    assert all(split_of(key) == "test" for key in keys)


def test_no_skeleton_is_on_both_sides(drawn: LabelledTables) -> None:
    test = split(drawn, seed=1)
    assert not set(drawn.skeleton[test]) & set(drawn.skeleton[~test])
    assert np.bincount(drawn.label[test]).tolist() == [2] * 6
    assert not np.array_equal(test, split(drawn, seed=2))


def test_a_probe_finds_what_is_there_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    monkeypatch.setattr(families, "_CS", np.array([0.1, 10.0]))
    label = np.repeat(np.arange(3), 40)
    groups = np.arange(120) // 2
    test = (groups % 3) == 0
    told = np.eye(3)[label] + 0.1 * rng.normal(size=(120, 3))
    assert probe(told, label, groups, test) > 0.95
    assert probe(rng.normal(size=(120, 3)), label, groups, test) < 0.6


def test_statistics_forget_scale_and_order_and_are_finite() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 2))
    target = inputs[:, 0] ** 2 - inputs[:, 1]
    found = statistics(inputs, target)
    order = rng.permutation(200)
    assert np.allclose(found, statistics(inputs[order], 3.0 * target[order]))
    assert len(found) == len(statistics(rng.normal(size=(200, 5)), target))
    assert np.isfinite(statistics(np.ones((200, 5)), np.ones(200))).all()


def test_cells_of_all_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datamodules.equations import Equations
    from modules.networks.equation_map.conditional_vae import ConditionalVAE
    from modules.networks.equation_map.latent_map import LatentMap
    from modules.settings.cvae import MapSize

    sizes: dict[str, Any] = {"width": 16, "queries": 2, "heads": 2, "encoder_layers": 1, "equation_layers": 1}
    sizes |= {"decoder_layers": 1, "decoder_width": None, "prefix": 1, "latents": 6}
    network = ConditionalVAE(Equations().vocabulary, 8, MapSize(**sizes))
    LatentMap(network).save(tmp_path / "map.safetensors", {})
    label = np.repeat(np.arange(6), 12)
    inputs = np.random.default_rng(0).uniform(0.5, 2.0, (72, 200, 5)).astype(np.float32)
    columns = np.array([CLASSES[k][1] for k in label])
    any_tables = LabelledTables(inputs, inputs.prod(axis=2), columns, label, np.arange(72) // 2)
    calls = []
    monkeypatch.setattr(families, "draw_tables", lambda *arguments: calls.append(arguments) or any_tables)
    monkeypatch.setattr(families, "_CS", np.array([0.1, 1.0]))
    settings = {"weights": str(tmp_path / "map.safetensors"), "skeletons": 6, "tables": 2, "programs": 1500}
    cells = families.SUITE.cells(methods=[], problems=[], seeds=[1], settings=settings, out=str(tmp_path))
    assert [cell.method for cell in cells] == ["map", "untrained", "statistics"]
    records = [Record(cell, OK, families.run(cell)) for cell in cells]
    assert calls == [(1, 6, 2, 1500)]  # all methods of a seed share the tables
    for record in records:
        assert all(0.0 <= record.result[key] <= 1.0 for key in ("six", "three_2", "three_5"))
        assert record.result["test"] == 24
    assert records[0].result["features"] == records[1].result["features"] == 6
    text = families.SUITE.report(records).markdown("nothing")
    assert "| GenSR, published | 0.849 |" in text
    assert "| chance | 0.167 | 0.333 | 0.333 |" in text


def test_a_missing_map_is_named(tmp_path: Path) -> None:
    from foundation.errors import UserError

    cell = Cell("families", "map", "six", 1, {"weights": str(tmp_path / "none.safetensors")}, str(tmp_path))
    with pytest.raises(UserError, match=r"none\.safetensors"):
        families._map_features(LabelledTables(*(np.zeros((0, 1)) for _ in range(5))), cell)
