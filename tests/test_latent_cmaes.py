"""The search in a latent space, with a small map whose every answer is known, and with a real one."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expressions.equivalence import recovered
from expressions.parsing import parse
from expressions.skeleton import Skeleton, skeleton_of, structure_of
from searches.common.skeleton_fitting import SkeletonFitter
from searches.latent_cmaes import search
from searches.latent_space.skeleton_scores import SkeletonScores, program_to_fit
from searches.latent_space.tables import PreparedTable, relevance
from searches.pareto_front import EXACT_NMSE
from tests.latent_maps import CodeMap
from tests.latent_searches import BOOK, TRUTH, decoded, run, settings, story, table

# --- what is found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cmaes", "prior"])
def test_the_truth_among_two_hundred_is_found_exactly(method: str) -> None:
    near = next(k for k, skeleton in enumerate(BOOK) if skeleton == skeleton_of(parse(TRUTH)))
    result = run(CodeMap(BOOK, centre=near), method=method, decodes=2000)
    assert result.stopped == "exact"
    assert result.counts["decodes"] < 2000
    assert result.best.error < EXACT_NMSE
    assert recovered(result.best.expression, parse(TRUTH))
    assert sorted(np.round(result.best.expression.constants, 6).tolist()) == [0.4, 1.7, 2.3]


def test_a_structure_is_completed_by_the_constants_that_it_needs() -> None:
    """What is decoded says neither factors nor signs: the fit finds them."""
    structure = parse("x0**2 + x0 + sin(x1)")
    decoded = Skeleton(tuple(structure.tokens.tolist()), (None,) * len(structure.constants))
    truth = "2.5*(x0**2 - 3*x0) + sin(1.31*x1)"
    scores = SkeletonScores(SkeletonFitter(*table(truth), linear_scaling=True), fitted_share=None)
    assert scores.errors([decoded])[0] < EXACT_NMSE
    result = run(CodeMap([decoded, *BOOK[:10]], centre=0), table(truth), decodes=200)
    assert result.stopped == "exact"
    assert recovered(result.best.expression, parse(truth))


def test_a_constant_in_a_sine_gets_several_starts() -> None:
    inputs, _ = table(rows=200)
    target = np.sin(7.9 * inputs[:, 0] + 0.3)
    skeleton = skeleton_of(parse("sin(0.7*x0 + 0.2)"))
    errors = []
    for starts in (1, 12):
        fitter = SkeletonFitter(inputs, target, linear_scaling=True, frequency_starts=starts)
        errors.append(float(SkeletonScores(fitter, fitted_share=None).errors([skeleton])[0]))
    assert errors[1] < 1e-20 < 1e-3 < errors[0]


@pytest.mark.parametrize("unit", [1e6, 1e-7])
def test_units_are_written_back(unit: float) -> None:
    """A column at a million is searched as one of ordinary size, and the equation is in its own units."""
    inputs, target = table("x0*exp(x1) + 2.5")
    book = [skeleton_of(parse("x0*exp(x1)")), *BOOK[:20]]
    scaled = np.column_stack([unit * inputs[:, 0], inputs[:, 1] * unit])
    power = parse(f"x0*exp(x1/{unit!r})")
    own = power(scaled) / unit + 2.5
    assert np.allclose(own, target)
    latent_map = CodeMap(book, centre=0)
    result = run(latent_map, (scaled, target * 1e9), decodes=200)
    # exp(x1 / 1e6) is exp(c x1) with c = 10**-6, the power of ten that the column was divided by
    assert result.stopped == "exact"
    assert result.best.error < EXACT_NMSE
    assert np.allclose(result.best.expression(scaled), target * 1e9)


def test_ordinary_columns_are_left_as_they_are() -> None:
    inputs, target = table()
    prepared = PreparedTable.of(inputs, target, 2)
    assert prepared.exponents == (0, 0)
    assert prepared.inputs.tobytes() == inputs.tobytes()
    assert prepared.restored(parse("x0*x1")) == parse("x0*x1")
    odd = PreparedTable.of(np.column_stack([0 * inputs[:, 0], 3e5 * inputs[:, 1]]), target, 2)
    assert odd.exponents == (0, 5)
    assert odd.restored(parse("x0 + sin(x1)")) == parse("x0 + sin(1e-05*x1)")
    assert odd.factors == {1e-5}
    extreme = PreparedTable.of(np.array([[1e300], [-1e300]]), np.array([1e-80, 2e-80]), 1)
    assert extreme.exponents == (300,)
    assert np.isfinite(extreme.inputs).all()
    assert np.allclose(extreme.target, [1.0, 2.0])


# --- more variables than the map knows --------------------------------------------------------------------------


def test_the_most_relevant_columns_are_shown_and_it_is_said() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.uniform(-2.0, 2.0, (300, 6))
    target = 3.0 * inputs[:, 4] ** 2 + inputs[:, 1]  # one that is not monotone, one that is
    result = run(
        CodeMap([skeleton_of(parse("x1**2 + 0.7*x0")), *BOOK[:20]], centre=0), (inputs, target), decodes=200
    )
    assert result.best.expression.variables == (1, 4)
    assert result.stopped == "exact"
    (note,) = result.notes
    assert note == (
        "the map knows 2 variables and the table has 6: it is shown x1, x4, which have most to do with the target"
    )
    named = search(
        inputs, target, settings(decodes=16), latent_map=CodeMap(BOOK[:20]), seed=1, names=list("abcdef")
    )
    assert "it is shown b, e," in named.notes[0]


def test_relevance_is_about_the_target_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=400)
    columns = np.column_stack(
        [np.exp(5 * x), x**2, np.ones(400), rng.normal(size=400), x + 3 * rng.normal(size=400)]
    )
    found = relevance(columns, x)
    assert found[0] == pytest.approx(1.0)  # whatever is monotone
    assert found[2] == 0.0
    assert found[3] < 0.05 < found[4] < 0.3
    assert relevance(x[:, None], x**2)[0] > 0.7
    assert relevance(np.ones((3, 2)), np.array([1.0, 2.0, 3.0])).tolist() == [0.0, 0.0]
    assert np.isfinite(relevance(rng.normal(size=(2, 3)), np.array([1.0, 2.0]))).all()


# --- tables that cannot be searched -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, 0 * y + 2.5), "the target is 2.5 on every row"),
        (lambda x, y: (x[:1], y[:1]), "on every row"),
        (lambda x, y: (x, np.where(np.arange(len(y)) == 3, np.nan, y)), "not finite"),
        (lambda x, y: (np.where(x > 2.9, np.inf, x), y), "not finite"),
        (lambda x, y: (x[:0], y[:0]), "are not"),
        (lambda x, y: (x, 1e200 * y), "scale it"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(change: Callable, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        run(data=change(*table()), decodes=16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [2, 3, 7])
@pytest.mark.parametrize("method", ["cmaes", "prior", "greedy", "paper"])
def test_a_handful_of_rows_and_a_constant_column_are_searched(rows: int, method: str) -> None:
    inputs, target = table(rows=rows)
    inputs[:, 1] = 4.0
    result = run(data=(inputs, target), method=method, decodes=64)
    assert np.isfinite(result.best.error)


def test_skeletons_that_are_nowhere_finite_leave_the_mean() -> None:
    inputs, target = table()
    book = [skeleton_of(parse(text)) for text in ("sqrt(x0)", "sqrt(x1)*x0")]
    result = run(CodeMap(book), (-inputs, target), decodes=64)
    assert len(result.front) == len(result.best.expression) == 1
    assert result.best.expression.constants[0] == pytest.approx(target.mean(), abs=0.1 * target.std())  # rounded
    assert result.history[-1]["best_nmse"] == 1.0
    assert result.stopped == "decodes"


# --- the same again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cmaes", "prior", "greedy", "paper"])
def test_the_seed_decides_and_global_generators_are_left_alone(method: str) -> None:
    import torch

    data = table(noise=0.1)
    np.random.seed(7)  # noqa: NPY002
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate())  # noqa: NPY002
    first = run(data=data, method=method, decodes=100)
    after = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate())  # noqa: NPY002
    assert before == after
    np.random.seed(8)  # noqa: NPY002
    assert story(run(data=data, method=method, decodes=100)) == story(first)
    if method != "greedy":
        other = CodeMap(BOOK)
        run(other, data=data, method=method, decodes=100, seed=4)
        mine = CodeMap(BOOK)
        run(mine, data=data, method=method, decodes=100)
        assert not np.array_equal(decoded(mine)[0], decoded(other)[0])


def test_nothing_that_cma_prints_or_draws_gets_out(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.chdir(tmp_path)
    run(data=table(noise=0.1), decodes=400, inject=8, elite_share=0.9)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert list(tmp_path.iterdir()) == []


# --- budgets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cmaes", "prior", "paper"])
@pytest.mark.parametrize("decodes", [1, 16, 100, 131])
def test_equal_budgets_are_equal(method: str, decodes: int) -> None:
    latent_map = CodeMap(BOOK)
    result = run(latent_map, table(noise=0.1), method=method, decodes=decodes)
    assert (
        sum(map(len, decoded(latent_map))) == decodes == result.counts["decodes"] == result.history[-1]["decodes"]
    )
    assert result.stopped == "decodes"


def test_the_clock_ends_a_search() -> None:
    begun = time.perf_counter()
    result = run(data=table(noise=0.1), seconds=1.0, decodes=None)
    assert result.stopped == "seconds"
    assert 0.6 < result.history[-1]["seconds"] < result.seconds < time.perf_counter() - begun + 1e-3 < 5.0


def test_greedy_decodes_the_mean_once() -> None:
    latent_map = CodeMap(BOOK, centre=3)
    result = run(latent_map, method="greedy")
    assert (result.stopped, result.counts["decodes"], result.counts["skeletons"]) == ("greedy", 1, 1)
    assert [kind for kind, _ in latent_map.calls] == ["prior", "decode"]
    structures = [structure_of(skeleton_of(candidate.expression)) for candidate in result.front]
    assert structure_of(BOOK[3]) in structures


def test_a_skeleton_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Skeleton] = []
    plain = SkeletonFitter.fit

    def counted(self: SkeletonFitter, skeletons: Any, bar: float) -> Any:
        fitted.extend(skeletons)
        return plain(self, skeletons, bar)

    monkeypatch.setattr(SkeletonFitter, "fit", counted)
    result = run(data=table(noise=0.1), decodes=300)
    assert len(fitted) == len(set(fitted)) == result.counts["skeletons"]
    fitted.clear()
    result = run(data=table(noise=0.1), decodes=600, rewritten_share=0.0, recombine_every=0)
    assert len(fitted) == len(set(fitted)) == result.counts["skeletons"] < 200
    assert set(fitted) <= {program_to_fit(skeleton) for skeleton in BOOK}


# --- with a real map --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Any:
    """The real network with random weights."""
    import torch

    from datamodules.settings.streams import OPERATOR_NAMES
    from expressions.skeleton import INTEGERS
    from expressions.vocabulary import Vocabulary
    from modules.networks.equation_map.conditional_vae import ConditionalVAE
    from modules.networks.equation_map.latent_map import LatentMap
    from modules.settings.cvae import MapSize

    torch.manual_seed(0)
    vocabulary = Vocabulary(list(OPERATOR_NAMES), 3, integers=INTEGERS)  # all that structures are made of
    network = ConditionalVAE(
        vocabulary,
        10,
        MapSize(
            width=16, queries=2, heads=2, encoder_layers=1, equation_layers=1,
            decoder_layers=1, decoder_width=None, prefix=2, latents=8,
        ),
    )  # fmt: skip
    return LatentMap(network.eval().requires_grad_(False))


@pytest.mark.parametrize("method", ["cmaes", "prior", "greedy", "paper"])
def test_a_real_map_is_searched_the_same_every_time(method: str, real: Any, tmp_path: Path) -> None:
    data = table(noise=0.1)
    first = run(real, data, method=method, decodes=102)
    assert np.isfinite(first.best.error)
    if method != "greedy":
        run(real, data, method=method, decodes=34 if method == "paper" else 48, state_path=tmp_path / "state")
    assert story(run(real, data, method=method, decodes=102, state_path=tmp_path / "state")) == story(first)


def test_a_real_map_takes_what_a_table_may_be(real: Any) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(500, 5)) * np.array([1e8, 1.0, 1e-9, 3.0, 0.0])
    target = 1e20 * np.sin(inputs[:, 0] / 1e8) + 1e19 * inputs[:, 3]
    result = run(real, (inputs, target), decodes=96, polish="gp", polish_generations=2)
    assert result.best.error < 0.5
    assert len(result.notes) == 1
