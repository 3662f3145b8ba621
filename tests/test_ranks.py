"""Several processes compute what one would: they share the rows, and meet in every step."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.loading.batch_loader import BatchLoader
from datamodules.loading.numbered_batches import Batch, NumberedBatches


class Numbers(NumberedBatches):
    """Batches that are their own numbers."""

    def batch(self, number: int) -> Batch:
        tensor = torch.tensor([self.epoch, number])
        return tensor, tensor, tensor, tensor


@given(
    rows=st.integers(1, 70),
    batch_size=st.integers(1, 20),
    world=st.integers(1, 5),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_no_two_ranks_get_the_same_row(rows: int, batch_size: int, world: int, shuffle: bool, epoch: int) -> None:
    table = torch.arange(rows)
    shares, steps = [], []
    for rank in range(world):
        loader = BatchLoader((table,), batch_size, shuffle, 7, rank=rank, world_size=world)
        loader.set_epoch(epoch)
        batches = [batch for (batch,) in loader]
        assert len(batches) == len(loader)
        assert all(len(batch) for batch in batches)
        steps.append(len(batches))
        shares.append(torch.cat(batches))
    assert len(set(steps)) == 1, "no rank waits for one that has finished"
    seen = torch.cat(shares).tolist()
    if rows < world:
        return
    assert len(seen) == len(set(seen)), "no row is seen twice"
    assert rows - len(seen) < world if shuffle else len(seen) == rows
    if shuffle:
        assert len({len(share) for share in shares}) == 1, "all ranks weigh the same"


@given(samples=st.integers(1, 200), batch_size=st.integers(1, 9), world=st.integers(1, 5), epoch=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_ranks_take_turns_in_a_stream(samples: int, batch_size: int, world: int, epoch: int) -> None:
    ranks = [Numbers(samples, batch_size, rank=rank, world_size=world) for rank in range(world)]
    for loader in ranks:
        loader.set_epoch(epoch)
    turns = [[number.tolist() for number, *_ in loader] for loader in ranks]
    seen = [number for turn in zip(*turns, strict=True) for number in turn]
    assert seen == [[epoch, k] for k in range(len(seen))], "the batches of one process, each once, in its order"
    assert samples <= len(seen) * batch_size < samples + world * batch_size
