"""Skeletons in a file: the same whoever draws them, complete, and refused where they are not what is wanted."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.equations import Equations
from datamodules.settings.streams import PoolSettings
from datamodules.streams import skeleton_file
from datamodules.streams.skeleton_file import keep_skeletons, read_skeletons, structures_of
from datamodules.streams.skeleton_pool import benchmark_fingerprints, split_of
from expressions.skeleton import fingerprints, structure_of
from foundation.errors import UserError

SETTINGS = PoolSettings(variables=3, longest=12)
PROGRAMS = 600
SHAPE = {"variables": 3, "longest": 12, "programs": PROGRAMS, "batch_size": 16, "epoch_samples": 64}


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skeleton_file, "_PART", 200)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("skeletons") / "skeletons.npz"
    keep_skeletons(path, PROGRAMS, 5, SETTINGS)
    return path


def test_each_is_there_once_in_order_with_its_structure(path: Path) -> None:
    kept = read_skeletons(path, PROGRAMS, SETTINGS)
    pool = kept.pool
    skeletons = [pool.skeleton(k) for k in range(len(pool))]
    assert len(pool) > 150
    assert len(set(skeletons)) == len(pool)
    assert pool.lengths.tolist() == sorted(map(len, skeletons))
    assert pool.drawn == PROGRAMS
    assert np.array_equal(kept.structures, structures_of(pool))
    first = tuple(kept.structures[0][kept.structures[0] >= 0].tolist())
    assert first == structure_of(skeletons[0]).tokens
    keys = fingerprints(skeletons)
    assert not set(keys) & benchmark_fingerprints(SETTINGS.exclude)
    assert {split_of(key) for key in keys} == {"train"}


def test_the_number_of_processes_changes_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    keep_skeletons(tmp_path / "other.npz", PROGRAMS, 5, SETTINGS)
    one, other = (read_skeletons(each, PROGRAMS, SETTINGS) for each in (path, tmp_path / "other.npz"))
    for name in ("tokens", "values", "columns", "lengths"):
        assert np.array_equal(getattr(one.pool, name), getattr(other.pool, name), equal_nan=name == "values")


def test_what_is_read_is_what_was_drawn(path: Path) -> None:
    drawn = skeleton_file._drawn(path, PROGRAMS, 5, SETTINGS)
    kept = read_skeletons(path, PROGRAMS, SETTINGS)
    assert np.isfinite(drawn.pool.values).any(), "fixed constants are among them"
    for name in ("tokens", "values", "columns", "lengths", "drawn", "excluded"):
        assert np.array_equal(getattr(drawn.pool, name), getattr(kept.pool, name), equal_nan=name == "values"), (
            name
        )
    assert np.array_equal(drawn.structures, kept.structures)


def test_it_is_not_drawn_again(path: Path) -> None:
    before = path.read_bytes()
    keep_skeletons(path, PROGRAMS, 77, SETTINGS)
    assert path.read_bytes() == before


def test_a_loader_says_the_same_ids_with_and_without_a_file(path: Path) -> None:
    data = Equations(skeletons=str(path), **SHAPE)
    data.prepare_data()
    loader = data.train_dataloader()
    loader.set_epoch(40)  # long after a stream would have drawn others
    inputs, target, present, ids = loader.batch(0)
    pool = loader.stream.pool(40)
    assert pool is loader.stream.pool(0)
    block = loader.stream.get(40, 0)
    structures = [structure_of(pool.skeleton(k)) for k in block.skeletons]
    wanted = data.vocabulary.encode_skeletons(structures)
    assert ids.dtype == torch.int64
    assert np.array_equal(ids.numpy(), wanted)
    assert np.array_equal(target.numpy(), block.target)
    assert inputs.shape == (16, block.target.shape[1], 3)
    assert present.shape == (16, 3)


def test_held_out_problems_are_drawn_as_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.equations._HELD_OUT_PROGRAMS", PROGRAMS)
    with_file, without = (Equations(skeletons=each, **SHAPE) for each in (str(path), None))
    for one, other in zip(with_file.val_dataloader().batch(0), without.val_dataloader().batch(0), strict=True):
        assert torch.equal(one, other)


def test_two_processes_draw_it_once(tmp_path: Path) -> None:
    path = tmp_path / "shared.npz"
    program = (
        "import sys\n"
        "from datamodules.streams import skeleton_file\n"
        "from datamodules.settings.streams import PoolSettings\n"
        "skeleton_file._PART = 200\n"
        f"skeleton_file.keep_skeletons({str(path)!r}, 400, int(sys.argv[1]), PoolSettings(variables=2, longest=8))"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(k)]) for k in range(2)]
    assert [process.wait(120) for process in started] == [0, 0]
    kept = [
        tmp_path / f"{seed}.npz" for seed in range(2)
    ]  # what each would have drawn alone: the file is one of them, whole
    settings = PoolSettings(variables=2, longest=8)
    for seed, each in enumerate(kept):
        keep_skeletons(each, 400, seed, settings)
    found = read_skeletons(path, 400, settings).pool.tokens
    assert any(np.array_equal(found, read_skeletons(each, 400, settings).pool.tokens) for each in kept)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("kind", ["missing", "text", "cut", "foreign"])
def test_what_is_no_such_file_is_refused(path: Path, tmp_path: Path, kind: str) -> None:
    strange = tmp_path / "strange.npz"
    if kind == "text":
        strange.write_text("hello")
    elif kind == "cut":
        strange.write_bytes(path.read_bytes()[:-200])
    elif kind == "foreign":
        np.savez(strange, tokens=np.zeros((3, 12), dtype=np.int16))
    with pytest.raises(UserError, match=r"strange\.npz"):
        read_skeletons(strange, PROGRAMS, SETTINGS)


def test_other_settings_are_refused_by_name(path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.programs=600, not 601"):
        read_skeletons(path, 601, SETTINGS)
    with pytest.raises(UserError, match=r"data\.deepest=2, not 1"):
        read_skeletons(path, PROGRAMS, PoolSettings(variables=3, longest=12, deepest=1))
    with pytest.raises(UserError, match="exclude each other"):
        Equations(skeletons=str(path), corpus="elsewhere")
    with pytest.raises(UserError, match="cannot be written"):
        keep_skeletons("/dev/null/skeletons.npz", PROGRAMS, 0, SETTINGS)
