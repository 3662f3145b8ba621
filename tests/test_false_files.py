"""Files beside the runs that are whole but false: zoos, skeletons, corpora, weights, ledgers and problems."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from benchmarks.cells import FAILED, OK, Cell, Ledger, Record
from benchmarks.generated_problems import read_problems
from datamodules.settings.streams import PoolSettings
from datamodules.streams.skeleton_file import keep_skeletons, read_skeletons
from datamodules.zoo import shards
from datamodules.zoo.network_zoo import make_zoo
from datamodules.zoo.settings import ZooSettings
from datamodules.zoo.shards import Shards
from expressions.operators import CONSTANT, FIRST_VARIABLE, TOKEN
from expressions.parsing import parse
from expressions.schema import check_programs
from foundation.errors import UserError
from foundation.schema import FormatError, plain
from modules.networks.stored_tensors import tensor
from modules.networks.weights_file import read_weights_file

ZOO = ZooSettings(widths="1-4-1", floor=0.5, steps=3, passes=2)
SKELETONS = PoolSettings(variables=3, longest=12)


# ---------------------------------------------------------------------------------------------- the checks


def test_plain_values_are_bounded() -> None:
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    for value in (deep, 10**400, object(), {1: 2}, {"a": b"x"}, "x" * 2_000_000):
        with pytest.raises(FormatError):
            plain(value)
    assert plain({"a": [1, 2.5, None, True, "x", float("nan")]})


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, 3),
        torch.zeros(3),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(1).expand(2),
        torch.zeros(2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.tensor([0.0, torch.nan]),
        np.zeros(2),
        [0.0, 0.0],
    ],
    ids=str,
)
def test_a_tensor_of_another_kind_is_refused(value: Any) -> None:
    assert tensor("f", 2, finite=True)(torch.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(FormatError):
        tensor("f", 2, finite=True)(value)


def test_every_row_must_be_a_program() -> None:
    sin, add, x0 = TOKEN["sin"], TOKEN["add"], FIRST_VARIABLE
    good = np.array([[add, x0, x0 + 1, -1], [x0, -1, -1, -1], [sin, sin, sin, CONSTANT]], np.int16)
    check_programs(good, 2)
    check_programs(good, np.array([2, 1, 1]))
    for row in ([add, x0, -1, -1], [x0, x0, -1, -1], [-1, x0, -1, -1], [x0, -1, x0, -1], [-1] * 4, [sin] * 4,
                [x0 + 2, -1, -1, -1], [500, x0, -1, -1], [-7, -1, -1, -1]):  # fmt: skip
        with pytest.raises(FormatError, match="in its row 1"):
            check_programs(np.array([good[0], row], np.int16), 2)
    with pytest.raises(FormatError, match="in its row 0"):
        check_programs(good, np.array([1, 1, 1]))


# ---------------------------------------------------------------------------------------------- zoos


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 32)
        return make_zoo(ZOO, tmp_path_factory.mktemp("zoo"), {"train": 32}, 1)


def _array(change: Callable[[np.ndarray], object], name: str) -> Callable[[Path], None]:
    def write(shard: Path) -> None:
        values = np.load(shard / f"{name}.npy")
        changed = change(values)
        np.save(shard / f"{name}.npy", values if changed is None else changed)

    return write


def _link(shard: Path) -> None:
    (shard / "r2.npy").rename(shard / "other.npy")
    (shard / "r2.npy").symlink_to("other.npy")


@pytest.mark.parametrize(
    "damage",
    [
        _array(lambda ids: ids.fill(255), "ids"),
        _array(lambda ids: ids.astype(np.int64), "ids"),
        _array(lambda r2: r2.fill(2.0), "r2"),
        _array(lambda r2: r2.astype(object), "r2"),
        _array(lambda weights: weights[:, :-1], "weights"),
        lambda shard: (shard / "facts.json").write_text('{"cpu_seconds": "many"}'),
        lambda shard: (shard / "facts.json").write_text("[" * 100_000),
        lambda shard: (shard / "r2.npy").unlink(),
        lambda shard: (shard / "r2.npy").unlink() or os.mkfifo(shard / "r2.npy"),
        lambda shard: np.savez(shard / "r2", a=np.zeros(1)) or (shard / "r2.npz").replace(shard / "r2.npy"),
        _link,
    ],
    ids=[
        "names",
        "kind of names",
        "r2",
        "objects",
        "shape",
        "facts",
        "deep facts",
        "missing",
        "pipe",
        "zip",
        "link",
    ],
)
def test_a_shard_that_is_false(
    damage: Callable[[Path], Any], zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD", 32)
    shard = tmp_path / "train_00000"
    shard.mkdir()
    for path in (zoo / "train_00000").iterdir():
        (shard / path.name).write_bytes(path.read_bytes())
    assert len(Shards(tmp_path, ZOO, "train", 32).r2) == 32
    damage(shard)
    with pytest.raises(UserError, match="train_00000 is damaged or missing"):
        Shards(tmp_path, ZOO, "train", 32)


def test_weights_of_a_zoo_that_are_not_finite(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 32)
    shard = tmp_path / "train_00000"
    shard.mkdir()
    for path in (zoo / "train_00000").iterdir():
        (shard / path.name).write_bytes(path.read_bytes())
    _array(lambda weights: weights.fill(np.nan), "weights")(shard)
    part = Shards(tmp_path, ZOO, "train", 32)
    with pytest.raises(UserError, match="not finite"):
        part.column("weights")[torch.tensor([0])]


# ---------------------------------------------------------------------------------------------- skeletons


@pytest.fixture(scope="module")
def skeletons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("skeletons") / "skeletons.npz"
    keep_skeletons(path, 100, 5, SKELETONS)
    return path


def _skeletons(path: Path, other: Path, header: dict[str, Any], **changes: Callable[[np.ndarray], Any]) -> Path:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    for name, change in changes.items():
        changed = change(arrays[name])
        arrays[name] = arrays[name] if changed is None else changed
    words = {**json.loads(arrays["header"].tobytes()), **header}
    arrays["header"] = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)
    np.savez_compressed(other, **{name: values for name, values in arrays.items() if values.size})
    return other


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        ({}, {"tokens": lambda tokens: tokens.fill(TOKEN["add"])}),
        ({}, {"tokens": lambda tokens: tokens.fill(-1)}),
        ({}, {"tokens": lambda tokens: tokens.fill(FIRST_VARIABLE + 5)}),
        ({}, {"structures": lambda tokens: tokens.fill(TOKEN["add"])}),
        ({}, {"structures": lambda tokens: tokens[:1]}),
        ({}, {"values": lambda places: places.fill(60_000)}),
        ({}, {"fixed": lambda fixed: np.full_like(fixed, np.inf)}),
        ({}, {"columns": lambda columns: columns.fill(0)}),
        ({}, {"columns": lambda columns: columns.fill(4)}),
        ({}, {"columns": lambda columns: columns.astype(np.float64)}),
        ({}, {"tokens": lambda tokens: np.empty(0)}),
        ({"drawn": -1}, {}),
        ({"drawn": [1]}, {}),
        ({"settings": 5}, {}),
        ({"numbers": {"x0": 10**400}}, {}),
        ({"numbers": {"x0": 0}}, {}),
        ({"more": 1}, {}),
    ],
)
def test_skeletons_that_are_false(
    header: dict[str, Any], changes: dict[str, Any], skeletons: Path, tmp_path: Path
) -> None:
    assert len(read_skeletons(skeletons, 100, SKELETONS).pool) > 10
    with pytest.raises(UserError, match=r"data\.skeletons="):
        read_skeletons(_skeletons(skeletons, tmp_path / "other.npz", header, **changes), 100, SKELETONS)


def test_skeletons_that_are_no_archive_or_a_bomb(skeletons: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))  # what NumPy reads by another reader
    _skeletons(skeletons, tmp_path / "bomb.npz", {}, fixed=lambda _: np.zeros(10_000_000))
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("array.npy", "bomb.npz", "pipe.npz"):
        with pytest.raises(UserError, match="is damaged, or no file of skeletons"):
            read_skeletons(tmp_path / name, 100, SKELETONS)


# ---------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("words", ["[" * 100_000, "5", '{"a": ' + "9" * 400 + "}", "nothing"])
def test_weights_with_a_false_header(words: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for header in ({"settings": words, "card": "{}"}, {"settings": "{}", "card": words}):
        path.write_bytes(save({"a": torch.zeros(1)}, {"format": "one", **header}))
        with pytest.raises(UserError, match="is damaged, its header is wrong"):
            read_weights_file(path, "one", "is another", lambda settings, shapes: True)


# ---------------------------------------------------------------------------------------------- benchmarks

RECORD = Record(Cell("evaluation", "ours", "random15", 1), OK, {"a": [1.5, None, float("nan")]}, "", 2.0)


def test_a_ledger_with_a_false_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.add(RECORD)
    whole = path.read_text()
    assert len(Ledger(path).records()) == 1
    good = json.loads(whole)
    false: list[Any] = [
        {**good, "status": "splendid"},
        {**good, "seconds": -1},
        {**good, "result": [1]},
        {**good, "more": 1},
        {**good, "cell": {**good["cell"], "seed": "one"}},
        {**good, "cell": {**good["cell"], "settings": 5}},
        {"cell": good["cell"]},
        [],
    ]
    for entry in false:
        path.write_text(whole + json.dumps(entry) + "\n")
        with pytest.raises(UserError, match=r"ledger\.jsonl, line 2, is no record of a benchmark \(it.*: remove"):
            Ledger(path)
    path.write_text(whole + "[" * 100_000 + "\n" + whole.replace(OK, FAILED))
    assert [record.status for record in Ledger(path).records()] == [FAILED]
    (tmp_path / "link.jsonl").symlink_to(path)
    with pytest.raises(UserError, match="a symbolic link"):
        Ledger(tmp_path / "link.jsonl")


def test_problems_that_are_false(tmp_path: Path) -> None:
    path = tmp_path / "problems.json"
    truth = parse("x0*sin(x1)")
    good = {
        "formula": truth.infix(("x0", "x1")),
        "tokens": truth.tokens.tolist(),
        "constants": [],
        "low": [0.0, 1.0],
        "high": [1.0, 2.0],
    }
    path.write_text(json.dumps([good]))
    assert read_problems(path, 1)["g001"].truth == truth
    false: list[dict[str, Any]] = [
        {"tokens": [TOKEN["mul"], FIRST_VARIABLE]},
        {"tokens": [TOKEN["mul"]] * 100_000},
        {"tokens": [TOKEN["mul"], FIRST_VARIABLE, TOKEN["cos"], FIRST_VARIABLE + 1]},
        {"constants": [1.0]},
        {"constants": [float("nan")]},
        {"low": [0.0], "high": [1.0]},
        {"low": [0.0, 2.0]},
        {"low": [0.0, float("-inf")]},
        {"formula": "x0"},
        {"formula": 5},
        {"more": 1},
    ]
    for wrong in false:
        path.write_text(json.dumps([good | wrong]))
        with pytest.raises(UserError, match=r"problems\.json holds no problems of this program"):
            read_problems(path, 1)
    path.write_text(json.dumps([good]))
    with pytest.raises(UserError, match="a list of 2 entries"):
        read_problems(path, 2)
