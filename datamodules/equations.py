"""System 4's data: generated equations with tables of numbers, without end, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule

from datamodules.loading.numbered_batches import Batch, NumberedBatches
from datamodules.streams.corpus import Corpus, CorpusLoader
from datamodules.streams.corpus_files import Content
from datamodules.streams.corpus_freezing import freeze
from datamodules.streams.equation_stream import EquationStream, StreamSettings
from datamodules.streams.heldout import heldout_problems
from datamodules.streams.skeleton_file import KeptSkeletons, keep_skeletons, read_skeletons, structures_of
from datamodules.streams.skeleton_pool import OPERATOR_NAMES, PoolSettings
from datamodules.tables.problems import Problem
from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary
from foundation.errors import UserError

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

    With a corpus the samples of the training are made once, before it, and read again and again: for machines
    whose GPUs are faster than their cores. Several runs, of other seeds too, may share one.

    Example:
        `python train.py model=cvae data.variables=3 data.longest=12`

    Args:
        variables: Most variables of an equation, and columns of a batch.
        longest: Most tokens of a skeleton.
        operator_weights: Of each operator in the random programs; None: those of
            `datamodules.streams.skeleton_pool`.
        batch_size: Samples a batch and rank.
        epoch_samples: Samples of an epoch, of all ranks together.
        held_out_samples: Samples of validation and of test, each.
        length_weights: Of skeletons of up to 5 tokens, of 6 to 8, of 9 to 11, …; the last weight is that of all
            longer ones. Short ones are what is asked for most, and what is learned first.
        programs, pool_epochs, fewest_rows, most_rows, points, constant_low, constant_high, negative_share,
            offset_share, noise_share, noise_low, noise_high, outlier_share: See
            `datamodules.streams.equation_stream.StreamSettings`.
        constant_share, integer_share, once_share, most_free, deepest, exclude: See
            `datamodules.streams.skeleton_pool.PoolSettings`.
        num_workers: Processes that make batches; 0: they are made between the steps, which takes a few percent of
            the time.
        skeletons: File of the training's skeletons, see `datamodules.streams.skeleton_file`, which
            `prepare_data` draws where it is missing: then all epochs have these; None: new ones every
            `pool_epochs` epochs.
        corpus: Folder of a corpus for the training, see `datamodules.streams.corpus`, which `prepare_data` makes
            where it is missing; None: the stream, which never repeats itself.
        corpus_samples: That are read of it, and made where it has fewer.
        seed: Of everything that is drawn.

    Raises:
        UserError: A value is outside what is listed, or so few programs are drawn that no skeleton is left.
    """

    def __init__(
        self,
        variables: int = 5,
        longest: int = 20,
        operator_weights: Mapping[str, float] | None = None,
        batch_size: int = 128,
        epoch_samples: int = 16_384,
        held_out_samples: int = 2_048,
        programs: int = 16_384,
        pool_epochs: int = 16,
        fewest_rows: int = 16,
        most_rows: int = 200,
        points: Mapping[str, float] | None = None,
        constant_low: float = 0.1,
        constant_high: float = 10.0,
        negative_share: float = 0.3,
        offset_share: float = 0.3,
        noise_share: float = 0.3,
        noise_low: float = 1e-3,
        noise_high: float = 1e-1,
        outlier_share: float = 0.05,
        length_weights: Sequence[float] = (1.5, 2.0, 2.0, 1.5, 1.0, 0.5),
        constant_share: float = 0.25,
        integer_share: float = 0.6,
        once_share: float = 0.5,
        most_free: int = 5,
        deepest: int = 2,
        exclude: Sequence[str] = ("feynman", "strogatz", "nguyen", "gmeql"),
        num_workers: int = 0,
        skeletons: str | None = None,
        corpus: str | None = None,
        corpus_samples: int = 1_048_576,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.variables, self.longest = variables, longest
        self.batch_size, self.epoch_samples, self.held_out_samples = batch_size, epoch_samples, held_out_samples
        self.num_workers, self.seed = num_workers, seed
        self.skeletons, self.corpus, self.corpus_samples = skeletons, corpus, corpus_samples
        if skeletons is not None and corpus is not None:
            raise UserError(f"data.skeletons={skeletons} and data.corpus={corpus} exclude each other: give one")
        self.operators: list[str] = list(OPERATOR_NAMES)
        """Names that skeletons are written with."""
        self.feature_names = [f"x{j}" for j in range(variables)]
        pool: dict[str, Any] = {} if operator_weights is None else {"operators": dict(operator_weights)}
        kinds: dict[str, Any] = {} if points is None else {"points": dict(points)}
        self.settings = StreamSettings(
            pool=PoolSettings(
                variables=variables,
                longest=longest,
                constant_share=constant_share,
                integer_share=integer_share,
                once_share=once_share,
                most_free=most_free,
                deepest=deepest,
                exclude=tuple(exclude),
                **pool,
            ),
            programs=programs,
            pool_epochs=pool_epochs,
            fewest_rows=fewest_rows,
            most_rows=most_rows,
            constant_low=constant_low,
            constant_high=constant_high,
            negative_share=negative_share,
            offset_share=offset_share,
            noise_share=noise_share,
            noise_low=noise_low,
            noise_high=noise_high,
            outlier_share=outlier_share,
            **_groups_of_lengths(longest, length_weights),
            **kinds,
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Ids of the skeletons."""
        return Vocabulary(self.operators, self.variables, INTEGERS)

    def prepare_data(self) -> None:
        """Draw the skeletons or freeze the corpus where these are missing; other processes wait for the first."""
        if self.skeletons is not None:
            keep_skeletons(self.skeletons, self.settings.programs, self.seed, self.settings.pool)
        if self.corpus is not None:
            freeze(
                lambda seed, samples: self._loader("train", samples, seed),
                self.corpus,
                self.corpus_samples,
                self._content,
                seed=self.seed,
                epoch_samples=self.epoch_samples,
            )

    @property
    def _content(self) -> Content:
        """What a corpus must agree in, by the names of the arguments."""
        stream = asdict(self.settings)
        pool = stream.pop("pool")
        pool["operator_weights"] = pool.pop("operators")
        return Content(pool | stream, self.vocabulary.names, self.batch_size)

    def train_dataloader(self) -> StreamLoader | CorpusLoader:
        """The stream, or the corpus; Lightning tells it the epoch."""
        if self.corpus is None:
            kept = None
            if self.skeletons is not None:
                kept = read_skeletons(self.skeletons, self.settings.programs, self.settings.pool)
            return self._loader("train", self.epoch_samples, kept=kept)
        corpus = Corpus(self.corpus, self.corpus_samples, self._content)
        return CorpusLoader(corpus, self.epoch_samples, self.seed, self.num_workers)

    def val_dataloader(self) -> StreamLoader:
        """The problems of validation."""
        return self._loader("validation", self.held_out_samples)

    def test_dataloader(self) -> StreamLoader:
        """The problems of the test."""
        return self._loader("test", self.held_out_samples)

    def heldout_problems(self, count: int, seed: int = 0, **limits: int) -> list[Problem]:
        """Problems to search for, of the test's skeletons; see `datamodules.streams.heldout`."""
        return heldout_problems(count, self.settings.pool, seed, **limits)

    def _loader(
        self, split: str, samples: int, seed: int | None = None, kept: KeptSkeletons | None = None
    ) -> StreamLoader:
        own, settings = self.seed if seed is None else seed, self.settings
        if self.skeletons is not None and kept is None:  # the many programs of the file are the training's
            settings = replace(settings, programs=min(settings.programs, _HELD_OUT_PROGRAMS))
        stream = EquationStream(settings, own, split, self.batch_size, None if kept is None else kept.pool)
        structures = None if kept is None else kept.structures
        return StreamLoader(
            stream, self.vocabulary, samples, self.num_workers, fixed=split != "train", structures=structures
        )


class StreamLoader(NumberedBatches):
    """Batches of a stream: those of one rank, epoch by epoch.

    Args:
        stream: Where samples come from; its block is a batch.
        vocabulary: Of the ids.
        samples: Of an epoch, of all ranks together; rounded up to whole batches, as many on every rank.
        num_workers: Processes that make the batches; these are the same with any number.
        fixed: Whether all epochs are the first.
        rank: This process among the sharing ones; None asks `torch.distributed`.
        world_size: How many processes share the samples; None asks `torch.distributed`.
        structures: Of the stream's skeletons, if it has one pool for all epochs; None works them out.
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
        """Draw the skeletons, and say them in ids."""
        self._pool_ids()

    def batch(self, number: int) -> Batch:
        """One batch of the epoch, whichever rank's."""
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


def _groups_of_lengths(longest: int, weights: Sequence[float]) -> dict[str, Any]:
    """Up to 5 tokens, then three more each; the last weight is that of all groups that have none."""
    edges = (*range(5, longest, 3), longest)
    given = (*weights, *([weights[-1]] * len(edges)))
    return {"length_edges": edges, "length_weights": given[: len(edges)]}
