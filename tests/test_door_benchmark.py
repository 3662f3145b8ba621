"""The suite `door` watches the command that a person types."""

from pathlib import Path

import pytest

from benchmarks.cells import OK, Cell, Record
from benchmarks.door import SUITE, run


def test_a_command_is_watched_to_its_end(tmp_path: Path) -> None:
    helped = run(Cell("door", "help", "8_rows", 1, {}, str(tmp_path)))
    assert helped["first_seconds"] is None
    searched = run(Cell("door", "seconds_2", "8_rows", 1, {}, str(tmp_path)))
    assert 0 < searched["first_seconds"] < searched["seconds"]
    assert searched["peak_mebibytes"] > 10
    assert (tmp_path / "door" / "8_rows.2.1" / "equation.py").is_file()
    record = Record(Cell("door", "seconds_2", "8_rows", 1, {}, str(tmp_path)), OK, searched)
    assert SUITE.report([record]).grids[0].rows[0][:3] == ["seconds_2", "8_rows", "1"]


def test_a_command_that_fails_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "8_rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RuntimeError, match="exit code 2"):
        run(Cell("door", "seconds_2", "8_rows", 1, {}, str(tmp_path)))
