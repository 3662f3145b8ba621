"""The stream of generated equations: what is in it, what is not, and that it repeats and shares itself exactly."""

import numpy as np
import pytest
import torch

from datamodules.equations import Equations, StreamLoader
from datamodules.settings.streams import PoolSettings, StreamSettings
from datamodules.streams import heldout
from datamodules.streams.equation_stream import LARGEST_TARGET, EquationStream
from datamodules.streams.heldout import heldout_problems
from datamodules.streams.point_clouds import KINDS, draw_points
from datamodules.streams.skeleton_pool import benchmark_fingerprints, draw_pool, split_of
from datamodules.tables.problems import draw_tables, problem, suite
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE
from expressions.parsing import parse
from expressions.skeleton import fingerprints, skeleton_of, structure_of
from foundation.errors import UserError

POOL = PoolSettings()
SETTINGS = StreamSettings(programs=2_000, pool_epochs=2)
SUITES = ("feynman", "strogatz", "nguyen", "gmeql")


@pytest.fixture(scope="module")
def stream() -> EquationStream:
    return EquationStream(SETTINGS, seed=3, split="train", block=64)


def test_no_skeleton_is_a_benchmark_problem() -> None:
    known = {fingerprints([skeleton_of(problem(name).truth)])[0] for word in SUITES for name in suite(word)}
    with_them = draw_pool(4_000, np.random.default_rng(0), PoolSettings(exclude=()), "train")
    without = draw_pool(4_000, np.random.default_rng(0), POOL, "train")
    left = {key for key in fingerprints([without.skeleton(k) for k in range(len(without))]) if key in known}
    assert not left
    assert without.excluded > 30  # and there are many, as long as nobody looks
    assert len(with_them) > len(without)


def test_no_structure_is_one_of_a_benchmark_problem() -> None:
    """What a decoder learns to write says less than a skeleton: that must not bring a problem back in."""
    pool = draw_pool(4_000, np.random.default_rng(0), POOL, "train")
    structures = {structure_of(pool.skeleton(k)) for k in range(len(pool))}
    posed = {structure_of(skeleton_of(problem(name).truth)) for word in SUITES for name in suite(word)}
    assert len(structures) > 2_000
    assert not structures & posed
    loose = draw_pool(4_000, np.random.default_rng(0), PoolSettings(exclude=()), "train")
    assert len({structure_of(loose.skeleton(k)) for k in range(len(loose))} & posed) > 5


def test_the_constants_of_a_benchmark_problem_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    for word in SUITES:
        for name in suite(word):
            truth = problem(name).truth
            other = truth.with_constants(truth.constants * rng.uniform(1.1, 1.9, len(truth.constants)))
            tokens = [sorted(skeleton_of(each).tokens) for each in (other, truth)]
            if tokens[0] == tokens[1]:  # else an exponent or a cancellation has changed
                assert fingerprints([skeleton_of(other)])[0] in benchmark_fingerprints(SUITES), name


def test_splits_share_no_skeleton() -> None:
    pools = {
        split: draw_pool(3_000, np.random.default_rng(5), POOL, split) for split in ("train", "validation", "test")
    }
    keys = {
        split: set(fingerprints([pool.skeleton(k) for k in range(len(pool))])) for split, pool in pools.items()
    }
    assert len(keys["test"]) > 20
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]
    assert all(split_of(key) == split for split, found in keys.items() for key in found)


def test_skeletons_are_canonical_short_and_known(stream: EquationStream) -> None:
    pool = stream.pool(0)
    vocabulary = Equations().vocabulary
    for index in range(0, len(pool), 7):
        skeleton = pool.skeleton(index)
        assert len(skeleton) == pool.lengths[index] <= POOL.longest
        assert max(skeleton.tokens) - FIRST_VARIABLE < pool.columns[index] <= POOL.variables
        assert vocabulary.decode_skeletons(vocabulary.encode_skeletons([skeleton])) == [skeleton]
    assert len({pool.skeleton(k) for k in range(len(pool))}) == len(pool)


def test_a_target_is_its_equation(stream: EquationStream) -> None:
    checked = 0
    for number in range(6):
        block = stream.get(1, number)
        for sample in range(0, 64, 5):
            truth = stream.truth(1, block, sample)
            values = truth(block.inputs[sample].astype(np.float64))
            clean = block.clean[sample].astype(np.float64)
            assert abs(np.corrcoef(values, clean)[0, 1]) > 1.0 - 1e-4  # up to a sign and an offset
            # the skeleton that is to be learned can be fitted to it
            fit = fit_constants([truth], block.inputs[sample].astype(float), clean, iterations=8, affine=True)
            assert fit.errors[0] < 1e-4 * clean.var()
            checked += 1
    assert checked > 70


def test_what_is_absent_is_zero_and_unused(stream: EquationStream) -> None:
    for number in range(10):
        block = stream.get(0, number)
        absent = ~block.present
        assert (np.moveaxis(block.inputs, 1, 2)[absent] == 0).all()
        assert np.isfinite(block.inputs).all()
        assert np.isfinite(block.target).all()
        assert block.target.std(axis=1).min() > 0
        assert SETTINGS.fewest_rows <= block.target.shape[1] <= SETTINGS.most_rows
        tokens = stream.pool(0).tokens[block.skeletons]
        assert (tokens.max(axis=1) - FIRST_VARIABLE < block.present.sum(axis=1)).all()


def test_noise_and_outliers_are_where_they_are_asked_for() -> None:
    def deviations(**settings: float) -> np.ndarray:
        stream = EquationStream(StreamSettings(programs=500, **settings), 0, "train", 256)
        block = stream.get(0, 0)
        return np.abs(block.target - block.clean).max(axis=1) / block.clean.std(axis=1)

    assert (deviations(noise_share=0.0, outlier_share=0.0) == 0).all()
    noisy = deviations(noise_share=1.0, noise_low=0.01, noise_high=0.02, outlier_share=0.0)
    assert ((noisy > 0.01) & (noisy < 0.12)).all()
    assert deviations(noise_share=0.0, outlier_share=1.0).max() > 3.0


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    def batches(epoch: int, **sharing: int) -> list[tuple[torch.Tensor, ...]]:
        data = Equations(batch_size=16, epoch_samples=64, programs=500, seed=7)
        stream = EquationStream(data.settings, 7, "train", 16)
        loader = StreamLoader(stream, data.vocabulary, 64, **sharing)
        loader.set_epoch(epoch)
        return list(loader)

    whole = batches(5)
    assert len(whole) == 4
    shared = [
        batch for pair in zip(*(batches(5, rank=r, world_size=2) for r in (0, 1)), strict=True) for batch in pair
    ]
    workers = batches(5, num_workers=2)
    for one, two, three in zip(whole, shared, workers, strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)
    assert not torch.equal(whole[0][1], batches(6)[0][1][: len(whole[0][1])])


def test_drawing_takes_nothing_from_the_global_generators() -> None:
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    list(StreamLoader(EquationStream(SETTINGS, 0, "test", 8), Equations().vocabulary, 16, num_workers=1))
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


def test_validation_is_the_same_in_every_epoch() -> None:
    data = Equations(batch_size=16, held_out_samples=16, programs=2_000)
    loader = data.val_dataloader()
    first = next(iter(loader))
    loader.set_epoch(4)
    assert all(torch.equal(a, b) for a, b in zip(first, next(iter(loader)), strict=True))


@pytest.mark.parametrize("kind", list(KINDS))
def test_points_are_finite_and_vary(kind: str) -> None:
    shares = np.array([float(name == kind) for name in KINDS])
    points = draw_points(200, 50, 3, shares, np.random.default_rng(0))
    assert points.shape == (3, 200, 50)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    assert (points.std(axis=2) > 0).all()
    if kind == "log_uniform":
        assert points.min() > 0


def test_held_out_problems_are_new_and_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = heldout_problems(10, POOL, seed=1, shortest=4, longest=12)
    assert len({posed.name for posed in problems}) == 10
    for posed in problems:
        skeleton = skeleton_of(posed.truth)
        assert split_of(fingerprints([skeleton])[0]) == "test"
        assert len(posed.variables) <= 3
        assert isinstance(posed.truth, Expression)
        tables = draw_tables(posed, seed=0)
        assert len(tables["train"]) == len(tables["test"]) == 200
    again = heldout_problems(10, POOL, seed=1, shortest=4, longest=12)
    assert [posed.formula for posed in again] == [posed.formula for posed in problems]
    monkeypatch.setattr(heldout, "_MOST_POOLS", 2)
    with pytest.raises(UserError, match="widen the limits"):
        heldout_problems(1000, POOL, shortest=2, longest=2)


def test_held_out_targets_are_of_a_size_that_a_search_takes() -> None:
    """`x0*exp(exp(x0))` reaches 1e64 in the ranges that are drawn, `exp(-exp(5*x0))` can be 1e-106 everywhere."""
    for text, seeds in (("x0*exp(exp(x0))", 40), ("exp(-exp(5*x0))", 400)):
        steep = skeleton_of(parse(text))
        for seed in range(seeds):
            posed = heldout._problem(steep, 1, 0, np.random.default_rng(seed))
            if posed is not None:
                target = draw_tables(posed, seed=seed)["train"].target
                assert target is not None
                assert 1e-90 < np.abs(target).max() < 10 * LARGEST_TARGET


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"operator_weights": {"plus": 1.0}}, "plus"),
        ({"exclude": ["feinman"]}, "feinman"),
        ({"points": {"boxes": 1.0}}, "boxes"),
        ({"fewest_rows": 50, "most_rows": 20}, "rows"),
        ({"constant_low": 2.0, "constant_high": 1.0}, "constants"),
    ],
)
def test_wrong_settings_are_named(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(UserError, match=word):
        Equations(**arguments)  # type: ignore[arg-type]
