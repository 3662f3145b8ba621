"""A changed file of any kind ends in the right object or a UserError, soon and in little memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import UserError
from tests.fuzz.__main__ import TooMuchError, one_input
from tests.fuzz.mutations import mutated
from tests.fuzz.readers import READERS, Reader


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


def test_what_is_no_user_error_or_too_much_is_noticed() -> None:
    def refuses(content: bytes) -> None:
        raise UserError("no")

    def fails(content: bytes) -> None:
        raise KeyError(content)

    def takes_memory(content: bytes) -> None:
        bytes(1) * (1 << 32)

    assert not one_input(Reader(bytes, refuses), b"")
    with pytest.raises(KeyError):
        one_input(Reader(bytes, fails), b"")


def test_changes_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    content = READERS["search_result"].valid()
    some = [mutated(content, random.Random(seed)) for seed in range(20)]
    assert some == [mutated(content, random.Random(seed)) for seed in range(20)]
    assert len(set(some)) > 15
    assert content not in some
    assert issubclass(TooMuchError, Exception)
