"""The catalogue: every formula parses, is finite, has the facts of its row, and its rows are those published."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.problem_data import ProblemData
from datamodules.tables.problems import (
    CATALOGUE,
    Problem,
    ProblemError,
    Simulation,
    Uniform,
    draw_tables,
    names_of,
    problem,
    suite,
    suites,
)
from expressions.equivalence import equivalent, recovered
from expressions.parsing import parse

ROOT = Path(__file__).resolve().parents[1]
NAMES = names_of(",".join(suites()))
FEYNMAN = suite("feynman")
SIZES = {
    "gmeql": 8, "nguyen": 13, "feynman": 120, "feynman_main": 100, "feynman_bonus": 20, "feynman_119": 119,
    "feynman_srbench": 116, "strogatz": 14, "srbench": 130,
}  # fmt: skip


# ----------------------------------------------------------------------------------------------- formulas


def test_suites() -> None:
    assert {name: len(found) for name, found in suites().items()} == SIZES
    assert len(NAMES) == 8 + 13 + 120 + 14
    assert not set(suites()) & set(NAMES)
    assert set(suite("feynman")) - set(suite("feynman_srbench")) == {"I.26.2", "I.30.5", "II.11.17", "test_10"}
    assert set(suite("feynman")) - set(suite("feynman_119")) == {"II.11.17"}


def test_a_row_has_no_cell_too_many_and_no_name_twice() -> None:
    with CATALOGUE.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(None not in row and None not in row.values() for row in rows)
    assert len({row["name"] for row in rows}) == len(rows) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_formula(name: str) -> None:
    """What the catalogue says is what is computed; names such as I, E_n, gamma and beta are variables."""
    one = problem(name)
    assert one.name == name
    assert one.truth == parse(one.formula, one.variables)
    assert parse(one.truth.infix(one.variables), one.variables) == one.truth
    assert one.target_name not in one.variables
    rows = 400 if isinstance(one.source, Simulation) else 2_000
    inputs, target = one.sample(rows, np.random.default_rng(0))
    assert inputs.shape == (rows, len(one.variables))
    assert np.isfinite(inputs).all()
    assert np.isfinite(target).all()
    assert np.array_equal(target, one.truth(inputs))
    assert np.ptp(target) > 0


@pytest.mark.parametrize("name", FEYNMAN)
def test_ranges(name: str) -> None:
    """Finite over the whole range, and about as spread out as the published rows."""
    one = problem(name)
    assert isinstance(one.source, Uniform)
    low, high = np.array(one.source.low), np.array(one.source.high)
    assert (low < high).all()
    inputs = np.random.default_rng(1).uniform(low, high, (20_000, len(low)))
    target = one.truth(inputs)
    assert np.isfinite(target).all()
    assert one.target_std is not None
    # The standard error of a standard deviation; that of the published rows, which were fewer, is larger.
    kurtosis = np.mean((target - target.mean()) ** 4) / np.var(target) ** 2
    error = np.sqrt((kurtosis - 1) / (4 * len(target)))
    assert np.std(target) == pytest.approx(one.target_std, rel=0.02 + 10 * error)


def test_most_are_as_spread_out_as_published_to_a_few_percent() -> None:
    ratios = [
        np.std(one.sample(20_000, np.random.default_rng(2))[1]) / one.target_std for one in map(problem, FEYNMAN)
    ]
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.04) > 0.85


@pytest.mark.parametrize("name", suite("gmeql"))
def test_gmeql(name: str) -> None:
    one = problem(name)
    assert (one.train_rows, one.test_rows) == (300, 300)
    assert one.published_success is not None
    assert 0.4 <= one.published_success <= 1
    assert recovered(one.truth, one.truth)
    inputs, _ = one.sample(50, np.random.default_rng(3))
    assert equivalent(one.truth, one.truth, inputs)


def test_unknown_names_get_near_ones() -> None:
    with pytest.raises(ProblemError, match=r"'Nguyen7'.*Nguyen-7"):
        problem("Nguyen7")
    with pytest.raises(ProblemError, match=r"'b9'; the suites are gmeql \(8\)"):
        problem("b9")
    with pytest.raises(ProblemError, match=r"gmeql is a suite of 8 problems"):
        problem("gmeql")
    with pytest.raises(ProblemError, match=r"no suite 'ngyuen'; did you mean nguyen"):
        suite("ngyuen")
    with pytest.raises(ProblemError, match="strogatz_vdp1"):
        names_of("b1,strogatz_vpd1")
    assert names_of("b2,gmeql,Nguyen-1") == ("b2", "b1", "b3", "b4", "b5", "b6", "b7", "b8", "Nguyen-1")


# --------------------------------------------------------------------------------------------------- rows


def slowly(
    f: Callable, g: Callable, x: float, y: float, steps: int = 100, h: float = 0.1
) -> list[tuple[float, float]]:
    """The published scheme with plain numbers: Euler in x, Bogacki-Shampine in y."""
    states = []
    for _ in range(steps):
        states.append((x, y))
        slope = f(x, y)
        first = g(x, y)
        second = g(x + slope * (h / 2), y + first * (h / 2))
        third = g(x + slope * (3 * h / 4), y + second * (3 * h / 4))
        x, y = x + h * slope, y + h * (2 / 9 * first + 1 / 3 * second + 4 / 9 * third)
    return states


SYSTEMS: dict[str, tuple[Callable, Callable, tuple[float, float]]] = {
    "bacres": (
        lambda x, y: 20 - x - x * y / (1 + 0.5 * x**2),
        lambda x, y: 10 - x * y / (1 + 0.5 * x**2),
        (9.01502740318998, 12.8015055992981),
    ),
    "barmag": (
        lambda x, y: 0.5 * math.sin(x - y) - math.sin(x),
        lambda x, y: 0.5 * math.sin(y - x) - math.sin(y),
        (4.26461875246862, 4.76102165511013),
    ),
    "glider": (
        lambda x, y: -0.05 * x**2 - math.sin(y),
        lambda x, y: x - math.cos(y) / x,
        (5.603272452842469, 1.8551204022395),
    ),
    "lv": (lambda x, y: x * (3 - x - 2 * y), lambda x, y: y * (2 - x - y), (1.0, 3.0)),
    "predprey": (
        lambda x, y: x * (4 - x - y / (1 + x)),
        lambda x, y: y * (x / (1 + x) - 0.075 * y),
        (4.86070775030401, 11.5069474930959),
    ),
    "shearflow": (
        lambda x, y: math.cos(x) * math.cos(y) / math.sin(y),
        lambda x, y: (math.cos(y) ** 2 + 0.1 * math.sin(y) ** 2) * math.sin(x),
        (-1.40163422326322, -1.42574462518204),
    ),
    "vdp": (
        lambda x, y: 10 * (y + (x - x**3) / 3),
        lambda x, y: -0.1 * x,
        (0.35730070503580397, 0.21669793236700896),
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_strogatz_is_simulated_as_published(system: str) -> None:
    f, g, start = SYSTEMS[system]
    expected = np.array(slowly(f, g, *start))
    for target_name, rate, one in zip(
        ("dx_dt", "dy_dt"), (f, g), map(problem, (f"strogatz_{system}1", f"strogatz_{system}2")), strict=True
    ):
        assert isinstance(one.source, Simulation)
        states = one.source.states()
        assert states.shape == (400, 2)
        np.testing.assert_allclose(states[:100], expected, rtol=1e-10, atol=1e-12)
        assert one.target_name == target_name
        np.testing.assert_allclose(
            one.truth(states[:100]), [rate(x, y) for x, y in expected], rtol=1e-9, atol=1e-11
        )
        for k, other in enumerate(one.source.starts):
            assert tuple(states[100 * k]) == other


def test_a_simulation_has_only_its_rows_each_once() -> None:
    one = problem("strogatz_lv1")
    tables = draw_tables(one, train_rows=240, validation_rows=60, seed=4)
    assert [len(tables[part]) for part in ("train", "validation", "test", "all")] == [240, 60, 100, 400]
    assert sorted(map(tuple, tables["all"].inputs)) == sorted(map(tuple, one.source.states()))
    with pytest.raises(ProblemError, match="has 400 rows, not 460"):
        draw_tables(one, validation_rows=60)


def test_training_samples_are_the_published_ones() -> None:
    """b6 as drawn before there was a catalogue: uniform, in the order of rows, from one generator."""
    rng, same = np.random.default_rng([1, 6]), np.random.default_rng([1, 6])
    for _ in range(2):
        inputs, target = problem("b6").sample(300, rng)
        expected = same.uniform(0, 10, (300, 2))
        assert np.array_equal(inputs, expected)
        np.testing.assert_allclose(target, 1.2 * np.sin(1.1 * expected[:, 0]) * np.cos(0.9 * expected[:, 1]))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2**32 - 1), st.integers(2, 200), st.integers(2, 100))
def test_rows_are_a_function_of_the_seed(name: str, seed: int, train: int, test: int) -> None:
    one = problem(name)
    tables = draw_tables(one, train_rows=train, test_rows=test, seed=seed)
    again = draw_tables(one, train_rows=train, test_rows=test, seed=seed)
    more = draw_tables(one, train_rows=train + 5, test_rows=test, seed=seed, noise=0.3)
    other = draw_tables(one, train_rows=train, test_rows=test, seed=seed ^ 1)
    assert np.array_equal(tables["all"].inputs, again["all"].inputs)
    assert np.array_equal(tables["test"].inputs, more["test"].inputs)
    assert np.array_equal(tables["train"].inputs, more["train"].inputs[:train])
    assert not np.array_equal(tables["all"].inputs, other["all"].inputs)
    assert [len(tables[part]) for part in ("train", "validation", "test", "all")] == [
        train,
        train,
        test,
        train + test,
    ]
    for table in (*tables.values(), more["test"]):
        assert np.isfinite(table.inputs).all()
        assert np.array_equal(table.target, one.truth(table.inputs))
        if isinstance(one.source, Uniform):
            assert (table.inputs >= one.source.low).all()
            assert (table.inputs <= one.source.high).all()


def noise_of(tables: dict, part: str) -> np.ndarray:
    return tables[part].target - problem("I.12.1").truth(tables[part].inputs)


@pytest.mark.parametrize("how", ["noise", "noise_level"])
def test_noise_is_on_what_is_searched_and_chosen_by(how: str) -> None:
    one = problem("I.12.1")
    tables = draw_tables(one, 10_000, 10_000, 1_000, seed=5, **{how: 0.1})
    clean = one.truth(tables["train"].inputs)
    deviation = 0.1 if how == "noise" else 0.1 * np.sqrt(np.mean(clean**2))
    for part in ("train", "validation"):
        assert np.std(noise_of(tables, part)) == pytest.approx(deviation, rel=0.05)
        assert np.mean(noise_of(tables, part)) == pytest.approx(0, abs=0.05 * deviation)
    assert not noise_of(tables, "test").any()
    assert not np.array_equal(noise_of(tables, "train"), noise_of(tables, "validation"))
    with pytest.raises(ProblemError, match="two ways to say the same"):
        draw_tables(one, noise=0.1, noise_level=0.1)


def own_problem(formula: str) -> Problem:
    truth = parse(formula, ["x"])
    return Problem("mine", (), formula, ("x",), "y", truth, Uniform((-1.0,), (1.0,)), 50, 50)


def test_rows_that_are_not_finite_are_drawn_again_or_refused() -> None:
    inputs, target = own_problem("log(x)").sample(500, np.random.default_rng(6))
    assert np.isfinite(target).all()
    assert (inputs > 0).all()
    longer, _ = own_problem("log(x)").sample(800, np.random.default_rng(6))
    assert np.array_equal(longer[:500], inputs)
    with pytest.raises(ProblemError, match="finite on only 0 of 500 rows"):
        own_problem("sqrt(-1 - x**2)").sample(500, np.random.default_rng(6))


# ---------------------------------------------------------------------------------------------- the module


def test_data_module() -> None:
    data = ProblemData("b8", seed=7)
    assert data.feature_names == ["x1", "x2", "x3"]
    assert data.target_name == "y"
    assert data.problem.truth == problem("b8").truth
    assert data.table("validation") is data.table("train")
    assert [len(data.table(part)) for part in ("train", "test", "all")] == [300, 300, 600]
    inputs, target = next(iter(data.test_dataloader()))
    assert np.array_equal(inputs.numpy(), data.table("test").inputs[:256].astype(np.float32))
    assert np.array_equal(target.numpy(), data.table("test").target[:256].astype(np.float32))
    statistics = data.input_statistics()
    np.testing.assert_allclose(statistics["offset"], data.table("train").inputs.mean(axis=0))
    assert dict(data.hparams)["problem"] == "b8"
    assert ProblemData(own_problem("x**2")).table("train").target is not None


@pytest.mark.parametrize(
    ("name", "rows"),
    [("b1", (300, 300)), ("Nguyen-9", (20, 100)), ("I.8.14", (10_000, 25_000)), ("test_1", (70, 70))],
)
def test_rows_as_published(name: str, rows: tuple[int, int]) -> None:
    data = ProblemData(name, max_rows=70 if name == "test_1" else 1_000_000)
    assert (len(data.table("train")), len(data.table("test"))) == rows


# -------------------------------------------------------------------------------------------- command line

SHORT = ("data=problem", "search=none", "logger=csv", "trainer.accelerator=cpu", "trainer.max_epochs=1")


def test_hydra_reads_every_name_as_it_is_written() -> None:
    for name in NAMES:
        (override,) = OverridesParser.create().parse_overrides([f"data.problem={name}"])
        assert override.value() == name


@pytest.mark.parametrize("value", ["nguyen_two", "b1,b2"])
def test_a_suite_is_a_sweep(
    value: str, tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datamodules.tables.problems.suites", lambda: {"nguyen_two": ("Nguyen-1", "Nguyen-9")})
    names = {"Nguyen-1", "Nguyen-9"} if value == "nguyen_two" else {"b1", "b2"}
    ended = command(*SHORT, f"data.problem={value}", "hydra.run.dir=out")
    assert ended.code == 0, ended.err
    assert f"data.problem={value} is a sweep of 2 runs" in ended.out
    results = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/results.json")]
    assert {result["data"] for result in results} == names
    assert all(result["phase"] == "done" for result in results)


def test_arguments_of_a_suite() -> None:
    from runs.command_line import arguments_of_a_suite

    gmeql = "data.problem=b1,b2,b3,b4,b5,b6,b7,b8"
    assert arguments_of_a_suite(["data.problem=gmeql", "seed=1"]) == ["-m", "seed=1", gmeql]
    assert arguments_of_a_suite(["-m", "data.problem=gmeql", "seed=1,2"]) == ["-m", "seed=1,2", gmeql]
    for same in (["data.problem=b1"], ["seed=1"], [], ["data.problem=choice(b1,b2)"]):
        assert arguments_of_a_suite(same) == same


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data.problem=strogatz_vpd1"], ["strogatz_vdp1"]),
        (["data.problem=b1,b22"], ["'b22'", "did you mean b2"]),
        (["data.noise=-1"], ["data.noise=-1", "at least 0"]),
        (["data.noise=0.1", "data.noise_level=0.1"], ["give one of them"]),
        (["data.train_rows=1"], ["data.train_rows=1", "at least 2"]),
        (["data.problem=strogatz_lv1", "data.train_rows=350"], ["has 400 rows, not 450"]),
        (["data.problm=b1"], ["did you mean data.problem"]),
        (["data.problem=[b1,b2]"], ["data.problem=[b1,b2] is not allowed", "name"]),
    ],
    ids=lambda value: " ".join(value) if "=" in value[0] else None,
)
def test_refused_at_once(arguments: list[str], words: list[str], command: Callable) -> None:
    ended = command("data=problem", *arguments)
    assert ended.code == 2, ended.err
    lines = [line for line in ended.err.splitlines() if line]
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def test_without_problem_data_the_sentence_says_how_to_get_it(command: Callable) -> None:
    ended = command("data=california", "data.problem=b1")
    assert ended.code == 2
    assert ended.err == "error: data.problem is not a key; data=problem has it\n"


def test_nothing_heavy_is_imported_to_refuse() -> None:
    code = (
        "import sys; sys.argv[1:] = ['data=problem', 'data.problem=b1', 'data.noise=1', 'data.noise_level=1']\n"
        "import train\n"
        "try: train.main()\n"
        "except SystemExit as end: assert end.code == 2\n"
        "assert not {'torch', 'lightning', 'wandb'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60)
