"""The running list of the best equations of all runs."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from expressions.parsing import parse
from searches.evolution.archive import ArchiveError, Entry, add_to_archive, check_archive, read_archive, seeds_from
from searches.evolution.seeding import adapted
from searches.evolution.settings import DEFAULT_OPERATORS, GeneticProgrammingSettings
from searches.genetic_programming import search


def entry(infix: str, nmse: float = 0.1, fingerprint: str = "a", names: tuple[str, ...] = ("x", "y")) -> Entry:
    return Entry(fingerprint=fingerprint, names=names, target="t", infix=infix, complexity=3, nmse=nmse)


def test_what_is_added_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "archive.jsonl"
    assert read_archive(path) == ([], 0)
    entries = [entry("x + y"), entry("sin(größe)", 1e-17, names=("größe",))]
    add_to_archive(path, entries[:1])
    add_to_archive(path, entries[1:])
    assert read_archive(path) == (entries, 0)


@pytest.mark.parametrize(
    "line",
    [
        "torn",
        '{"fingerprint": "a"',
        "[]",
        "7",
        '{"fingerprint": "a"}',
        json.dumps({"fingerprint": "a", "names": 3, "target": "t", "infix": "x", "complexity": 1, "nmse": 0}),
        '{"fingerprint":"a","names":["x"],"target":"t","infix":"x","complexity":Infinity,"nmse":0}',
        '{"fingerprint":"a","names":["x"],"target":"t","infix":"x","complexity":1,"nmse":NaN}',
        '{"fingerprint":"a","names":["x"],"target":"t","infix":"x","complexity":1,"nmse":1' + "0" * 400 + "}",
        "[" * 100_000,
        "\x00\x80",
    ],
)
def test_damaged_lines_are_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "archive"
    add_to_archive(path, [entry("x")])
    with path.open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    add_to_archive(path, [entry("y")])
    assert read_archive(path) == ([entry("x"), entry("y")], 1)


def test_a_torn_last_line_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    add_to_archive(path, [entry("x"), entry("x*x")])
    path.write_bytes(path.read_bytes()[:-20])
    add_to_archive(path, [entry("y")])
    assert read_archive(path) == ([entry("x"), entry("y")], 1)


def test_seeds_of_the_same_data_come_first_and_the_most_accurate_of_them(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    add_to_archive(
        path,
        [
            entry("x", 0.3),
            entry("y", 0.1),
            entry("x*y", 0.01, "b"),
            entry("x - y", 0.001, "b"),
            entry("y", 0.05),  # twice
            entry("z", 0.0, names=("z",)),  # a feature that the table lacks
            entry("__import__('os')", 0.0),
            entry("x +", 0.0),
        ],
    )
    wanted = [parse(text, ["x", "y"]) for text in ("y", "x", "x - y", "x*y")]
    assert seeds_from(path, ["x", "y"], "a") == wanted
    assert seeds_from(path, ["x", "y"], "a", limit=2) == wanted[:2]
    assert seeds_from(path, ["y", "x"], "a")[0] == parse("x0")  # by name, not by position


def _add(path: Path, number: int) -> None:
    for k in range(50):
        add_to_archive(path, [entry(f"x + {number}", k, "f" * 2000), entry("y", k)])


def test_several_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries, damaged = read_archive(path)
    assert damaged == 0
    assert sorted({e.infix for e in entries}) == ["x + 0", "x + 1", "x + 2", "y"]
    assert len(entries) == 300


def test_an_archive_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ArchiveError, match="cannot be read"):
        read_archive(tmp_path)
    with pytest.raises(ArchiveError, match="cannot be written"):
        add_to_archive(file / "archive", [entry("x")])
    with pytest.raises(ArchiveError, match="is not a directory"):
        check_archive(file / "archive")
    with pytest.raises(ArchiveError, match="cannot be read"):
        check_archive(tmp_path)
    file.write_text("import os\n")
    with pytest.raises(ArchiveError, match="is no archive"):
        check_archive(file)
    file.write_text("")
    check_archive(file)
    check_archive(tmp_path / "new" / "archive")
    assert not (tmp_path / "new").exists()


# --- equations of other searches as seeds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "1/x0 - x1**3",
        "-x0*x1",
        "x0**5 + x1**-3",
        "x0**0.5",
        "x0**7.0",
        "x0**4 - x1**6",
        "-(sin(3*x2)*x0) - x1/x0",
        "abs(x0 - x1)",
    ],
)
def test_a_seed_keeps_its_values_in_the_operators_of_the_search(text: str) -> None:
    inputs = np.random.default_rng(0).uniform(0.5, 2.0, (50, 3))
    (seed,) = adapted([parse(text)], DEFAULT_OPERATORS, constants=True, linear_scaling=False)
    np.testing.assert_allclose(seed(inputs), parse(text)(inputs), rtol=1e-12)
    (seed,) = adapted([parse(text)], ("add", "mul", "inv", "sqrt", "sin"), constants=True, linear_scaling=False)
    np.testing.assert_allclose(seed(inputs), parse(text)(inputs), rtol=1e-12)


def test_what_linear_scaling_adds_is_taken_off() -> None:
    def bare(text: str) -> str:
        (seed,) = adapted([parse(text)], DEFAULT_OPERATORS, constants=True, linear_scaling=True)
        return seed.infix()

    assert bare("3 - 2*(x0*sin(x1))/5") == "x0*sin(x1)"
    assert bare("-(x0 + 1)") == "x0"
    assert bare("1/x0") == "1/x0"
    assert bare("4.5") == "4.5"


def test_what_cannot_be_written_in_the_operators_is_left_out() -> None:
    texts = ["atan(x0)", "x0**1.5", "x0 + 2", "x0/x1", "x0 - x1"]
    seeds = adapted([parse(t) for t in texts], ("add", "mul", "safe_div"), constants=False, linear_scaling=False)
    assert [seed.infix() for seed in seeds] == ["safe_div(x0, x1)"]


def test_a_second_search_starts_where_the_first_ended(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(120, 3))
    target = np.exp(0.7 * inputs[:, 0]) / (1.5 + inputs[:, 1] ** 2) - inputs[:, 2] ** 3
    settings = GeneticProgrammingSettings(
        population=30, generations=4, seconds=None, simplify_seconds=0.5, max_length=30, linked_sums=0
    )
    first = search(inputs, target, settings, seed=1)
    path = tmp_path / "archive"
    names = ["a", "b", "c"]
    add_to_archive(path, [entry(c.expression.infix(names), c.error, names=tuple(names)) for c in first.front])
    seeds = seeds_from(path, names, "a")
    assert len(seeds) == len(first.front)
    np.testing.assert_array_equal(seeds[0](inputs), min(first.front, key=lambda c: c.error).expression(inputs))
    again = search(inputs, target, settings, seed=2, seeds=seeds)
    best = min(c.error for c in first.front)
    assert again.history[0]["best_nmse"] <= 1.01 * best
    alone = search(inputs, target, settings, seed=2)
    assert alone.history[0]["best_nmse"] > 1.01 * best
