"""System 4's data: generated equations with tables of numbers, without end, as a LightningDataModule."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule

from datamodules.loading.numbered_batches import Batch, NumberedBatches
from datamodules.settings.equations import EquationsSettings
from datamodules.settings.streams import OPERATOR_NAMES
from datamodules.streams.corpus import Corpus, CorpusLoader
from datamodules.streams.corpus_files import Content
from datamodules.streams.corpus_freezing import freeze
from datamodules.streams.equation_stream import EquationStream
from datamodules.streams.heldout import heldout_problems
from datamodules.streams.skeleton_file import KeptSkeletons, keep_skeletons, read_skeletons, structures_of
from datamodules.tables.problems import Problem
from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary

__all__ = ["Equations", "StreamLoader"]

_HELD_OUT_PROGRAMS = 16_384  # of which a twentieth is for validation, and another for the test


class Equations(LightningDataModule):
    """Batches of problems, each an equation and rows of it.

    A batch is inputs `[batch, rows, variables]` in raw units, 0 in absent columns; target `[batch, rows]`, up to
    an outer scale and offset; present `[batch, variables]` bool; and ids `[batch, length]` of the structure, see
    `expressions.skeleton`, with start and end, padded. Rows and length are the same within a batch and differ
    between batches.

    An epoch is `epoch_samples` indices of the stream; sample `i` of it is a function of `(seed, epoch, i)` for a
    given batch size, so a resumed run and any number of ranks and workers see the same samples. Ranks take turns
    in the batches. Validation and test are the same problems in every epoch, of skeletons that no training has.

    With a corpus, the training samples are made once, before the training, and read in every epoch: for machines
    whose GPUs are faster than their cores. Several runs, also with different seeds, may share one corpus.

    Example:
        `python train.py model=cvae data.variables=3 data.longest=12`

    Args:
        **options: Settings by name, see `datamodules.settings.equations.EquationsSettings`.

    Raises:
        UserError: A setting is unknown or its value not allowed, or so few programs are drawn that no skeleton is
            left.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        settings = EquationsSettings.of(options)
        self.save_hyperparameters(settings.as_mapping())
        self.settings = settings
        self.variables, self.longest = settings.variables, settings.longest
        self.batch_size, self.seed = settings.batch_size, settings.seed
        self.operators: list[str] = list(OPERATOR_NAMES)
        """Names that skeletons are written with."""
        self.feature_names = [f"x{j}" for j in range(settings.variables)]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Ids of the skeletons."""
        return Vocabulary(self.operators, self.variables, INTEGERS)

    def prepare_data(self) -> None:
        """Draw the skeletons or freeze the corpus where these are missing; other processes wait for the first."""
        if self.settings.skeletons is not None:
            keep_skeletons(self.settings.skeletons, self.settings.programs, self.seed, self.settings.pool)
        if self.settings.corpus is not None:
            freeze(
                lambda seed, samples: self._loader("train", samples, seed),
                self.settings.corpus,
                self.settings.corpus_samples,
                self._content,
                seed=self.seed,
                epoch_samples=self.settings.epoch_samples,
            )

    @property
    def _content(self) -> Content:
        """The settings that a corpus must share, by the names of the arguments."""
        return Content.of(self.settings)

    def train_dataloader(self) -> StreamLoader | CorpusLoader:
        """The stream, or the corpus; Lightning tells it the epoch."""
        if self.settings.corpus is None:
            kept = None
            if self.settings.skeletons is not None:
                kept = read_skeletons(self.settings.skeletons, self.settings.programs, self.settings.pool)
            return self._loader("train", self.settings.epoch_samples, kept=kept)
        corpus = Corpus(self.settings.corpus, self.settings.corpus_samples, self._content)
        return CorpusLoader(corpus, self.settings.epoch_samples, self.seed, self.settings.num_workers)

    def val_dataloader(self) -> StreamLoader:
        """The problems of validation."""
        return self._loader("validation", self.settings.held_out_samples)

    def test_dataloader(self) -> StreamLoader:
        """The problems of the test."""
        return self._loader("test", self.settings.held_out_samples)

    def heldout_problems(self, count: int, seed: int = 0, **limits: int) -> list[Problem]:
        """Problems to search for, of the test's skeletons; see `datamodules.streams.heldout`."""
        return heldout_problems(count, self.settings.pool, seed, **limits)

    def _loader(
        self, split: str, samples: int, seed: int | None = None, kept: KeptSkeletons | None = None
    ) -> StreamLoader:
        own, settings = self.seed if seed is None else seed, self.settings
        if settings.skeletons is not None and kept is None:  # the many programs of the file are the training's
            settings = replace(settings, programs=min(settings.programs, _HELD_OUT_PROGRAMS))
        stream = EquationStream(settings, own, split, self.batch_size, None if kept is None else kept.pool)
        structures = None if kept is None else kept.structures
        return StreamLoader(
            stream, self.vocabulary, samples, settings.num_workers, fixed=split != "train", structures=structures
        )


class StreamLoader(NumberedBatches):
    """Batches of a stream: those of one rank, epoch by epoch.

    Args:
        stream: Stream of samples; its block is a batch.
        vocabulary: Vocabulary of the ids.
        samples: Number of samples in an epoch, over all ranks; rounded up to the same number of whole batches on
            every rank.
        num_workers: Number of processes that make the batches, which do not depend on it.
        fixed: Whether every epoch repeats the first one.
        rank: Rank of this process; None asks `torch.distributed`.
        world_size: Number of processes that share the samples; None asks `torch.distributed`.
        structures: Structures of the stream's skeletons, if it has one pool for all epochs; None computes them.
    """

    def __init__(
        self,
        stream: EquationStream,
        vocabulary: Vocabulary,
        samples: int,
        num_workers: int = 0,
        fixed: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        structures: np.ndarray | None = None,
    ) -> None:
        super().__init__(samples, stream.block, num_workers, fixed, stream.seed, rank, world_size)
        self.stream, self.vocabulary = stream, vocabulary
        self._structures = structures
        self._ids: tuple[int, np.ndarray] | None = None

    @property
    def pool_batches(self) -> int:
        """Batches, of all ranks, that are made of the same skeletons."""
        return -(-self.samples // self.batch_size) * self.stream.settings.pool_epochs

    def prepare(self) -> None:
        """Draw the skeletons and translate them into ids."""
        self._pool_ids()

    def batch(self, number: int) -> Batch:
        """One batch of the epoch, of any rank."""
        block = self.stream.get(self.epoch, number)
        ids = self._pool_ids()[block.skeletons]
        longest = int((ids != self.vocabulary.pad).sum(axis=1).max())
        return (
            torch.from_numpy(block.inputs),
            torch.from_numpy(block.target),
            torch.from_numpy(block.present),
            torch.from_numpy(ids[:, :longest].astype(np.int64)),
        )

    def _pool_ids(self) -> np.ndarray:
        """`[skeletons, longest + 2]` int16"""
        pool = self.stream.pool(self.epoch)
        if self._ids is None or self._ids[0] != id(pool):
            structures = structures_of(pool) if self._structures is None else self._structures
            self._ids = (id(pool), self.vocabulary.encode_tokens(structures))
        return self._ids[1]
