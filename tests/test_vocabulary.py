"""Ids of expressions, and the grammar mask that decoders follow."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.expression import Expression
from expressions.operators import OPERATORS
from expressions.parsing import parse
from expressions.sampling import SamplingSettings, sample
from expressions.vocabulary import Vocabulary
from foundation.errors import UserError

ALL = Vocabulary([row.name for row in OPERATORS], variables=3)


def decode_at_random(vocabulary, batch, length, rng, kind, variables=None):
    """A decoder that knows nothing but the mask; returns `[batch, length + 1]` ids."""
    missing = vocabulary.begin(batch)
    if kind == "torch":
        missing = torch.as_tensor(missing)
        variables = None if variables is None else torch.as_tensor(variables)
    columns = []
    for left in range(length, -1, -1):
        allowed = np.asarray(vocabulary.allowed_next(missing, left, variables))
        assert allowed.any(axis=1).all()
        ids = np.argmax(allowed * rng.random(allowed.shape), axis=1)
        columns.append(ids)
        missing = vocabulary.advance(missing, torch.as_tensor(ids) if kind == "torch" else ids)
    assert (np.asarray(missing) == -1).all()
    return np.stack(columns, axis=1)


def test_ids_are_numbered_without_gaps():
    vocabulary = Vocabulary(["sin", "add"], variables=2, integers=(2, -1, 2))
    assert vocabulary.names == ("<pad>", "<start>", "<end>", "<constant>", "-1", "2", "x0", "x1", "add", "sin")
    assert len(vocabulary) == 10
    assert vocabulary.operators == ("add", "sin")


def test_integers_have_ids_of_their_own_and_other_constants_a_placeholder():
    vocabulary = Vocabulary(["add", "mul"], variables=1, integers=(1, 2))
    ids, constants = vocabulary.encode(parse("2*x0 + 2.5"))
    assert vocabulary.spell(ids) == "add mul 2 x0 <constant>"
    assert constants.tolist() == [2.5]
    assert vocabulary.decode(ids, constants) == parse("2*x0 + 2.5")
    assert vocabulary.decode(ids).constants.tolist() == [2.0, 1.0]


def test_negative_zero_keeps_its_sign():
    expression = Expression.constant(-0.0)
    ids, constants = ALL.encode(expression)
    assert np.signbit(ALL.decode(ids, constants).constants[0])


def test_random_expressions_come_back_single_and_in_batches():
    vocabulary = Vocabulary(["add", "sub", "mul", "div", "sin", "exp"], variables=3)
    names = dict.fromkeys(vocabulary.operators, 1.0)
    drawn = sample(300, np.random.default_rng(0), SamplingSettings(operators=names, variables=3))
    whole = sample(
        300,
        np.random.default_rng(1),
        SamplingSettings(operators=names, variables=3, constant_distribution="integer", constant_low=-6),
    )
    for expression in drawn + whole:
        ids, constants = vocabulary.encode(expression)
        assert vocabulary.decode(ids, constants) == expression
    ids, constants = vocabulary.encode_batch(drawn + whole, length=20)
    assert ids.shape == (600, 20)
    for rows in (ids, torch.as_tensor(ids)):
        decoded = [vocabulary.decode(row, values) for row, values in zip(rows, constants, strict=True)]
        assert decoded == drawn + whole


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 30),
    names=st.lists(st.sampled_from([row.name for row in OPERATORS]), unique=True),
    kind=st.sampled_from(["numpy", "torch"]),
)
def test_whatever_follows_the_mask_is_an_expression(seed, length, names, kind):
    vocabulary = Vocabulary(names, variables=2, integers=(0, 1))
    rng = np.random.default_rng(seed)
    ids = decode_at_random(vocabulary, 50, length, rng, kind)
    for expression in map(vocabulary.decode, ids):
        assert 1 <= len(expression) <= length


def test_the_mask_reaches_every_expression():
    """Nothing valid is forbidden: every id of every random expression is allowed where it stands."""
    drawn = sample(200, np.random.default_rng(2), SamplingSettings(variables=3, max_size=12))
    ids, _ = ALL.encode_batch(drawn, length=14)
    missing = ALL.begin(len(drawn))
    for step in range(13):
        column = ids[:, step + 1]
        allowed = ALL.allowed_next(missing, 12 - step)
        assert allowed[np.arange(len(drawn)), column].all()
        missing = ALL.advance(missing, column)


def test_variables_that_the_data_lack_are_not_written():
    rng = np.random.default_rng(3)
    per_row = np.array([[True, False, False]] * 40 + [[False, True, True]] * 40)
    for kind in ("numpy", "torch"):
        ids = decode_at_random(ALL, 80, 15, rng, kind, per_row)
        for row, expression in enumerate(map(ALL.decode, ids)):
            assert set(expression.variables) <= ({0} if row < 40 else {1, 2})
    ids = decode_at_random(ALL, 80, 15, rng, "numpy", np.array([False, False, True]))
    assert {v for row in ids for v in ALL.decode(row).variables} == {2}


def test_budgets_may_differ_from_row_to_row():
    missing, left = ALL.begin(2), np.array([1, 2])
    for kind in (np.asarray, torch.as_tensor):
        allowed = np.asarray(ALL.allowed_next(kind(missing), kind(left)))
        assert not allowed[0, ALL.first_operator :].any()
        unary = ALL.effect[ALL.first_operator :] == 0
        assert np.array_equal(allowed[1, ALL.first_operator :], unary)


def test_numpy_and_torch_agree():
    rng = np.random.default_rng(4)
    missing = rng.integers(-1, 4, 100)
    left = np.maximum(missing, 0) + rng.integers(0, 3, 100)
    here = ALL.allowed_next(missing, left)
    there = ALL.allowed_next(torch.as_tensor(missing), torch.as_tensor(left))
    assert there.dtype == torch.bool
    assert np.array_equal(here, there.numpy())


def test_programs_of_free_constants_are_encoded_all_at_once():
    vocabulary = Vocabulary(["add", "mul", "sin"], variables=3, integers=(1, 2))
    programs = [parse("sin(x0) + 1.5 * x2"), parse("x1"), parse("0.7")]
    tokens = np.full((3, 7), -1, dtype=np.int16)
    for row, program in enumerate(programs):
        tokens[row, : len(program.tokens)] = program.tokens
    assert np.array_equal(vocabulary.encode_tokens(tokens), vocabulary.encode_batch(programs, 9)[0])
    with pytest.raises(UserError, match="no x2"):
        Vocabulary(["add", "mul", "sin"], variables=2).encode_tokens(tokens)
    with pytest.raises(UserError, match="no sin"):
        Vocabulary(["add", "mul"], variables=3).encode_tokens(tokens)


def test_what_has_no_id_is_named():
    small = Vocabulary(["add"], variables=1)
    with pytest.raises(UserError, match="no sin"):
        small.encode(parse("sin(x0)"))
    with pytest.raises(UserError, match="no x1"):
        small.encode(parse("x0 + x1"))
    with pytest.raises(UserError, match="did you mean"):
        Vocabulary(["sinn"], variables=1)
    with pytest.raises(UserError, match="at least 1 variable"):
        Vocabulary(["sin"], variables=0)
    with pytest.raises(UserError, match="5 ids"):
        small.encode_batch([parse("x0 + x0")], length=4)


@pytest.mark.parametrize("ids", [[], [8], [4, 4], [99], [-1], [0, 1]])
def test_what_is_not_a_program_is_refused(ids):
    vocabulary = Vocabulary(["add"], variables=1, integers=(1, 2, 3))
    assert vocabulary.names[8] == "add"
    with pytest.raises(ValueError, match=r"program|token|ids"):
        vocabulary.decode(ids)


def test_missing_values_are_refused():
    ids, _ = ALL.encode(parse("x0 + 0.5"))
    with pytest.raises(ValueError, match="1 placeholders, but 0 values"):
        ALL.decode(ids, [])
