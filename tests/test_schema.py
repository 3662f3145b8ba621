"""Content of files that is as described is returned, and any other is refused in a few words."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.parsing import parse
from foundation.errors import UserError
from foundation.schema import (
    Check,
    FormatError,
    array,
    choice,
    json_content,
    list_of,
    mapping_of,
    number,
    optional,
    record,
    row_of,
    text,
    truth,
    whole,
)

ENTRY = record(
    {"infix": parse, "nmse": number(0.0), "names": list_of(text(9), most=3)},
    {"kind": choice("a", "b"), "pair": row_of(whole(1, 5), optional(truth)), "more": mapping_of(whole(), most=2)},
)
GOOD = {"infix": "x0 + 1", "nmse": 1, "names": ["x0", "x1"], "kind": "b", "pair": [5, None], "more": {"k": 0}}


def test_good_content_comes_back_as_the_program_uses_it() -> None:
    assert ENTRY(GOOD) == GOOD | {"infix": parse("x0 + 1")}
    assert type(ENTRY(GOOD)["nmse"]) is float
    assert ENTRY({key: GOOD[key] for key in ("infix", "nmse", "names")})["nmse"] == 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nmse": -1}, "its nmse is -1, not a finite number from 0"),
        ({"nmse": math.nan}, "its nmse is nan"),
        ({"nmse": math.inf}, "its nmse is inf"),
        ({"nmse": True}, "its nmse is True"),
        ({"nmse": 10**400}, "its nmse is a very large number"),
        ({"names": "x0"}, "its names is 'x0', not a list of 0 to 3 entries"),
        ({"names": ["x"] * 4}, "its names is a list of 4"),
        ({"names": ["x", "y" * 99]}, "its names[1] is 'yyy"),
        ({"infix": "x0 +"}, "its infix is 'x0 +': the equation ends"),
        ({"infix": 3}, "its infix is 3: an equation is text"),
        ({"kind": ["a"]}, "its kind is a list of 1, not one of a, b"),
        ({"pair": [6, None]}, "its pair[0] is 6, not a whole number from 1 to 5"),
        ({"pair": [1.0, None]}, "its pair[0] is 1.0"),
        ({"pair": [1, 1]}, "its pair[1] is 1, not true or false"),
        ({"pair": [1]}, "its pair is a list of 1, not a list of 2"),
        ({"more": {"a": 0, "b": 0, "c": 0}}, "its more is a mapping of 3"),
        ({"more": {"a": []}}, "its more.a is a list of 0"),
        ({"other": 1}, "it has 'other', which is none of its keys"),
    ],
)
def test_other_content_is_refused_and_the_place_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError) as raised:
        ENTRY(GOOD | changes)
    assert str(raised.value).startswith(words)
    assert len(str(raised.value)) < 300


def test_what_is_no_mapping_or_has_no_key_is_refused() -> None:
    with pytest.raises(FormatError, match="it is None, not a mapping"):
        ENTRY(None)
    with pytest.raises(FormatError, match="it has no 'infix'"):
        ENTRY({})
    assert record({}, open_end=True)({"later": 1}) == {}


@pytest.mark.parametrize(
    ("value", "check"),
    [
        (np.zeros((2, 3)), array("f", 2, 2)),
        (np.zeros(3), array("iu", 3)),
        (np.array([1.0, math.nan]), array("f", None)),
        ([1.0], array("f", 1)),
    ],
)
def test_arrays_have_a_shape_a_type_and_finite_numbers(value: Any, check: Check) -> None:
    with pytest.raises(FormatError):
        check(value)
    assert array("f", None, 3)(np.ones((2, 3))).shape == (2, 3)
    assert math.isnan(array("f", 1, finite=False)(np.array([math.nan]))[0])


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, b"\xff", '{"a": ' + "9" * 5_000 + "}", "nul"])
def test_a_text_that_is_no_json_is_refused(content: str | bytes) -> None:
    with pytest.raises(FormatError):
        json_content(content, optional(text()))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GOOD)), ANY_JSON)
def test_any_content_is_checked_or_refused(key: str, value: Any) -> None:
    refused = ""
    try:
        assert json_content(json.dumps(GOOD | {key: value}), ENTRY).keys() == GOOD.keys()
    except UserError as error:
        refused = str(error)
    assert len(refused) < 400
