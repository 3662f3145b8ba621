"""A changed file of any kind ends in the right object or a UserError, soon and in little memory."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import UserError
from tests.fuzz.mutations import mutated
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.trial import Course, TooMuchError, one_input

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused(name: str) -> None:
    reader = READERS[name]
    valid = reader.valid()
    assert one_input(reader, valid), "the file itself is valid"

    @settings(max_examples=15, deadline=None, database=None)
    @given(st.integers(0, 2**32))
    def changed(seed: int) -> None:
        one_input(reader, mutated(valid, random.Random(seed)))

    changed()


def test_what_is_no_user_error_or_too_much_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(content: bytes) -> None:
        raise UserError("no")

    def fails(content: bytes) -> None:
        raise KeyError(content)

    def takes_long(content: bytes) -> None:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    assert not one_input(Reader(bytes, refuses), b"")
    with pytest.raises(KeyError):
        one_input(Reader(bytes, fails), b"")
    assert one_input(Reader(bytes, takes_long), b"")
    monkeypatch.setattr("tests.fuzz.trial.SECONDS", 0.01)
    with pytest.raises(TooMuchError):
        one_input(Reader(bytes, takes_long), b"")


def test_changes_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    content = READERS["search_result"].valid()
    some = [mutated(content, random.Random(seed)) for seed in range(20)]
    assert some == [mutated(content, random.Random(seed)) for seed in range(20)]
    assert len(set(some)) > 15
    assert content not in some


def test_changes_of_a_change_are_files_again() -> None:
    content, rng = READERS["search_result"].valid(), random.Random(0)
    for _ in range(300):  # values that are put in twice must not be one object, which could then hold itself
        content = mutated(content, rng) if len(content) < 20_000 else READERS["search_result"].valid()


def test_failures_are_counted_and_the_first_of_each_place_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(content: bytes) -> None:
        if content == b"no":
            raise UserError("no")
        if content.startswith(b"key"):
            raise KeyError(content)

    monkeypatch.chdir(tmp_path)
    course = Course("one", Reader(bytes, fails))
    assert [course.take(content) for content in (b"yes", b"no", b"key", b"key 2")] == [True, False, False, False]
    assert (course.tried, course.accepted, course.failures) == (4, 1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["fuzz-one-1"]
    assert (tmp_path / "fuzz-one-1").read_bytes() == b"key"
    assert "KeyError" in capsys.readouterr().err
    assert str(course).startswith("one: 4 contents, 1 accepted, 2 failures in 1 places")


@pytest.mark.long
def test_fuzzing_is_guided_by_coverage(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.fuzz", "search_result", "--minutes", "0.05"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"^search_result: \d+ contents, \d+ accepted, 0 failures", done.stdout, re.MULTILINE)
    # What our own code compares has led to contents that it did not know before.
    assert len(list((tmp_path / "fuzz-corpus-search_result").iterdir())) > 5
