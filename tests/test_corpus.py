"""A corpus holds what the stream gives, is shared exactly, survives a kill, and is refused if it is not sound."""

import json
import math
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.equations import Equations
from datamodules.loading.numbered_batches import Batch
from datamodules.streams.corpus import Corpus, CorpusLoader
from datamodules.streams.corpus_files import Content
from datamodules.streams.corpus_freezing import freeze
from foundation.errors import UserError

CONTENT = Content({"variables": 2, "noise_share": 0.3}, ("<pad>", "<start>", "<end>", "x0"), batch_size=4)
SHARD = 8  # samples: two batches
EPOCH = 12  # samples: three batches


@dataclass
class Numbers:
    """A stream-like source whose batches say what they are; quick, and it counts what it is asked for."""

    seed: int
    samples: int
    epoch: int = 0
    num_workers: int = 0
    pool_batches: int = 3
    delay: float = 0.0
    made: int = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def prepare(self) -> None:
        pass

    def batch(self, number: int) -> Batch:
        time.sleep(self.delay)
        self.made += 1
        rng = np.random.default_rng([self.seed, self.epoch, number])
        rows, length = rng.integers(2, 9, 2)
        return (
            torch.from_numpy(rng.normal(size=(4, rows, 2)).astype(np.float32)),
            torch.from_numpy(rng.normal(size=(4, rows)).astype(np.float32)),
            torch.from_numpy(rng.random((4, 2)) < 0.5),
            torch.from_numpy(rng.integers(0, 4, (4, length))),
        )

    def batches(self, numbers: Sequence[int]) -> Iterator[Batch]:
        return map(self.batch, numbers)


def frozen(folder: Path, samples: int, seed: int = 3, content: Content = CONTENT, delay: float = 0.0) -> Numbers:
    """Freeze; returns the source, which knows how much it had to make."""
    source = Numbers(seed, EPOCH, delay=delay)

    def make(own_seed: int, epoch_samples: int) -> Numbers:
        source.seed, source.samples = own_seed, epoch_samples
        return source

    freeze(make, folder, samples, content, seed=seed, epoch_samples=EPOCH, shard_samples=SHARD)
    return source


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_it_holds_what_the_stream_gives(tmp_path: Path) -> None:
    frozen(tmp_path, 40)
    corpus = Corpus(tmp_path, 40, CONTENT)
    assert len(corpus) == 10
    source = Numbers(3, EPOCH)
    for number in range(10):
        source.set_epoch(number // 3)
        assert equal(corpus.batch(number), source.batch(number % 3))


def test_the_datamodule_freezes_and_reads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "corpus"
    settings: dict[str, Any] = {"batch_size": 4096, "epoch_samples": 8192, "variables": 2, "longest": 6}
    settings |= {"programs": 500, "most_rows": 20, "held_out_samples": 8}
    data = Equations(**settings, corpus=str(folder), corpus_samples=8192)
    with pytest.raises(UserError, match="prepare_data"):
        data.train_dataloader()
    data.prepare_data()
    loader = data.train_dataloader()
    streamed = list(Equations(**settings).train_dataloader())
    read = list(loader)
    assert [loader.place(k) for k in range(2)] in ([0, 1], [1, 0])
    assert all(equal(read[k], streamed[loader.place(k)]) for k in range(2))
    before = sorted(path.stat().st_mtime_ns for path in folder.rglob("*.npy"))
    Equations(**settings, corpus=str(folder), corpus_samples=8192, seed=5).prepare_data()  # nothing to do
    assert before == sorted(path.stat().st_mtime_ns for path in folder.rglob("*.npy"))
    with pytest.raises(UserError, match=r"data\.noise_share=0\.3, not 0: give the same"):
        Equations(**settings, corpus=str(folder), corpus_samples=8192, noise_share=0).prepare_data()


def test_all_of_it_comes_once_before_any_of_it_comes_again(tmp_path: Path) -> None:
    frozen(tmp_path, 40)
    corpus = Corpus(tmp_path, 40, CONTENT)
    loader = CorpusLoader(corpus, 20, seed=1)  # half of it an epoch
    places = []
    for epoch in range(4):
        loader.set_epoch(epoch)
        assert len(loader) == 5
        places += [loader.place(number) for number in range(5)]
    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))
    assert places[:10] != places[10:]
    again = CorpusLoader(corpus, 20, seed=1)
    again.set_epoch(3)  # without the epochs before it, as in a resumed run
    assert [again.place(number) for number in range(5)] == places[15:]
    other = CorpusLoader(corpus, 20, seed=2)
    assert [other.place(number) for number in range(5)] != places[:5]


def test_ranks_and_workers_share_an_epoch(tmp_path: Path) -> None:
    frozen(tmp_path, 40)

    def batches(**sharing: Any) -> list[Batch]:
        loader = CorpusLoader(Corpus(tmp_path, 40, CONTENT), 40, seed=1, **sharing)
        loader.set_epoch(2)
        return list(loader)

    whole = batches()
    ranks = [batches(rank=rank, world_size=2) for rank in (0, 1)]
    assert [len(own) for own in ranks] == [5, 5]
    assert all(
        equal(a, b) for a, b in zip(whole, (b for pair in zip(*ranks, strict=True) for b in pair), strict=True)
    )
    assert all(equal(a, b) for a, b in zip(whole, batches(num_workers=2), strict=True))
    uneven = [batches(rank=rank, world_size=3) for rank in range(3)]
    assert [len(own) for own in uneven] == [4, 4, 4]


def test_it_grows_with_its_own_seed(tmp_path: Path) -> None:
    frozen(tmp_path / "whole", 48)
    assert frozen(tmp_path / "grown", 16).made == 4 + 3  # and those by which the time is estimated
    grown = frozen(tmp_path / "grown", 48, seed=99)
    assert grown.seed == 3
    assert grown.made == 8 + 3
    one, other = (Corpus(tmp_path / name, 48, CONTENT) for name in ("whole", "grown"))
    assert all(equal(one.batch(number), other.batch(number)) for number in range(12))
    assert frozen(tmp_path / "grown", 20).made == 0


def in_a_process(action: Callable[..., Any], *arguments: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(target=action, args=arguments)
    process.start()
    return process


def test_a_kill_in_the_middle_costs_one_shard(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    slow = in_a_process(frozen, folder, 160, 3, CONTENT, 0.01)
    deadline = time.monotonic() + 20
    while len(list(folder.glob("shard_?????"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(slow.pid, signal.SIGKILL)
    slow.join()
    (folder / "shard_00019.1.part").mkdir()  # as a kill while a shard was written would leave it
    done = len(list(folder.glob("shard_?????")))
    assert 3 <= done < 20
    assert frozen(folder, 160).made == 40 - 2 * done + 3
    assert not list(folder.glob("*.part"))
    frozen(tmp_path / "whole", 160)
    one, other = (Corpus(path, 160, CONTENT) for path in (folder, tmp_path / "whole"))
    assert all(equal(one.batch(number), other.batch(number)) for number in range(40))


def test_of_several_processes_one_writes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    processes = [in_a_process(frozen, tmp_path / "corpus", 80, 3, CONTENT, 0.01) for _ in range(3)]
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert len(Corpus(tmp_path / "corpus", 80, CONTENT)) == 20
    assert Counter(capfd.readouterr().err.split())["waiting"] >= 1


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (Content({"variables": 2, "noise_share": 0.5}, CONTENT.vocabulary, 4), "noise_share=0.3, not 0.5"),
        (Content(CONTENT.settings, CONTENT.vocabulary, 8), "batch_size=4, not 8"),
        (Content({**CONTENT.settings, "deepest": 2}, CONTENT.vocabulary, 4), "deepest=null, not 2"),
        (Content(CONTENT.settings, ("<pad>", "<start>", "<end>", "x1"), 4), "another version"),
    ],
)
def test_other_samples_are_refused(tmp_path: Path, content: Content, word: str) -> None:
    frozen(tmp_path, 8)
    with pytest.raises(UserError, match=word):
        Corpus(tmp_path, 8, content)
    with pytest.raises(UserError, match=word):
        frozen(tmp_path, 8, content=content)


def test_what_is_damaged_is_refused_and_can_be_made_again(tmp_path: Path) -> None:
    frozen(tmp_path, 16)
    whole = [Corpus(tmp_path, 16, CONTENT).batch(number) for number in range(4)]
    target = tmp_path / "shard_00001" / "target.npy"
    content = bytearray(target.read_bytes())
    content[-3] ^= 1  # one bit of the last batch
    target.write_bytes(content)
    corpus = Corpus(tmp_path, 16, CONTENT)
    assert equal(corpus.batch(2), whole[2])
    with pytest.raises(UserError, match=r"shard_00001 is damaged.*delete it"):
        corpus.batch(3)
    loader = CorpusLoader(corpus, 16, num_workers=1)
    with pytest.raises(UserError, match=r"^\S*shard_00001 is damaged[^\n]*$"):
        list(loader)  # one sentence from a worker, too

    target.write_bytes(content[:-8])
    for action in (lambda: Corpus(tmp_path, 16, CONTENT), lambda: frozen(tmp_path, 16)):
        with pytest.raises(UserError, match="shard_00001 is damaged"):
            action()
    for path in target.parent.iterdir():
        path.unlink()
    target.parent.rmdir()
    with pytest.raises(UserError, match="lacks shard_00001"):
        Corpus(tmp_path, 16, CONTENT)
    frozen(tmp_path, 16)
    assert all(equal(Corpus(tmp_path, 16, CONTENT).batch(number), whole[number]) for number in range(4))


def test_a_folder_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    for name in ("notes.part", "shard_00000.mine.part"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(UserError, match="holds other things"):
            frozen(tmp_path, 8)
        assert [path.name for path in tmp_path.iterdir()] == [name], "not even a lock is left there"
        (tmp_path / name).unlink()
    (tmp_path / "corpus.json").write_text(json.dumps({"format": "another"}))
    with pytest.raises(UserError, match="damaged or of another version"):
        frozen(tmp_path, 8)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        frozen(tmp_path / "file", 8)


def test_a_corpus_leaves_alone_what_is_beside_it(tmp_path: Path) -> None:
    frozen(tmp_path, 8)
    others = ("notes.part", "shard_00001.mine.part", "shard_00007.12.part")
    for name in others:
        (tmp_path / name).mkdir()
    frozen(tmp_path, 16)
    assert all((tmp_path / name).is_dir() for name in others)


@pytest.mark.parametrize("place", ["corpus.json", "shard_00000", "shard_00000/ids.npy", ".lock"])
def test_a_corpus_that_leads_out_of_its_folder(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    frozen(folder, 8)
    (folder / place).rename(tmp_path / "outside")
    (folder / place).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="a symbolic link"):
        Corpus(folder, 8, CONTENT)
    with pytest.raises(UserError, match="a symbolic link"):
        frozen(folder, 16)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shard_batches": 0},
        {"shard_batches": -1},
        {"shard_batches": 1e9},
        {"epoch_samples": 0},
        {"seed": -1},
        {"seed": True},
        {"settings": []},
        {"vocabulary": 5},
        {"batch_size": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_that_is_false(wrong: dict[str, Any], tmp_path: Path) -> None:
    frozen(tmp_path, 8)
    header = json.loads((tmp_path / "corpus.json").read_text())
    (tmp_path / "corpus.json").write_text(json.dumps(header | wrong))
    for read in (lambda: Corpus(tmp_path, 8, CONTENT), lambda: frozen(tmp_path, 800)):
        with pytest.raises(UserError, match=r"damaged or of another version|was frozen"):
            read()


@pytest.mark.parametrize(
    "wrong",
    [{"rows": [-1, 1]}, {"rows": ["a", "b"]}, {"length": [10**9, 1]}, {"checksum": [None, 1]}, {"rows": 3}],
)
def test_an_index_that_is_false(wrong: dict[str, Any], tmp_path: Path) -> None:
    frozen(tmp_path, 8)
    path = tmp_path / "shard_00000" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(UserError, match="shard_00000 is damaged"):
        Corpus(tmp_path, 8, CONTENT).batch(0)


def test_a_full_disk_is_seen_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("datamodules.streams.corpus_freezing.shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="GB more"):
        frozen(tmp_path, 8)


def test_a_long_freeze_is_announced(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("datamodules.streams.corpus_freezing._SAYS_SO_SECONDS", 0.0)
    frozen(tmp_path, 40)
    sentence = capfd.readouterr().err
    assert "Freezing 40 samples" in sentence
    assert "seconds, once" in sentence
    assert math.isfinite(float(sentence.split("about ")[1].split()[0]))
