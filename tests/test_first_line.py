"""The first line of a run says what its equations are of, and which command explains the target."""

import shlex
from pathlib import Path

import pytest

from rediscover.training import compose
from rediscover.wiring.first_line import first_line
from rediscover.wiring.job import Job


def line_of(*overrides: str) -> str:
    config = compose(overrides)
    return first_line(Job(config, Path("out"), "some_model", "some_data", list(overrides)))


@pytest.mark.parametrize("where", ["checkout", "elsewhere"])
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((), ["sklearn:california_housing", "MedHouseVal", "--features", "HouseAge", "AveRooms"]),
        (("data=tabular", "data.path=houses.csv", "data.target=price"), ["houses.csv", "price"]),
        (
            ("data=tabular", "data.path='my houses.csv'", "data.target='y (kW h)'", "data.features=[a,'b $']"),
            ["my houses.csv", "y (kW h)", "--features", "a", "b $"],
        ),
        (
            ("data=tabular", "data.path=houses.csv", "model.decode=target", "data.target=price"),
            ["houses.csv", "price"],
        ),
        (("data=tabular", "data.path=houses.csv"), ["houses.csv", "COLUMN"]),
    ],
)
def test_a_run_that_explains_latents_names_the_command_that_explains_the_target(
    overrides: tuple[str, ...], words: list[str], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if where == "checkout":
        (tmp_path / "discover.py").touch()
    line = line_of(*overrides)
    assert "\n" not in line
    assert "its equations explain its latents" in line
    assert ("price" in words) == (", not price: for that, run " in line)
    door = ["python", "discover.py"] if where == "checkout" else ["rediscover"]
    assert shlex.split(line.partition(", run ")[2]) == [*door, *words], "as a shell takes it"


def test_of_a_problem_the_command_is_another_run() -> None:
    line = line_of("data=problem", "data.problem=I.12.1")
    assert line.endswith("not I.12.1: for that, run python train.py model=gmeql data.problem=I.12.1")


def test_a_run_that_explains_its_target_or_searches_nothing_says_no_more() -> None:
    plain = f"some_model on some_data, in {Path('out')}"
    assert line_of("model=gmeql", "data.problem=b1") == plain
    assert line_of("search=none") == plain
    assert line_of("model=cvae") == plain
