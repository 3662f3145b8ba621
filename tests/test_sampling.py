"""Random expressions: valid, of the sizes and shapes asked for, and fast."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.operators import ARITY, BY_NAME, CONSTANT, FIRST_VARIABLE, OPERATORS, TOKEN
from expressions.sampling import SamplingSettings, sample, sample_constants, sample_tokens

COUNT = 20_000


def is_program(tokens: np.ndarray) -> np.ndarray:
    """Whether every row `[count, length]`, padded behind with -1, is one complete prefix program. `[count]`"""
    real = tokens >= 0
    change = np.where(real, ARITY[np.minimum(tokens, FIRST_VARIABLE)].astype(np.int64) - 1, 0)
    missing = 1 + np.cumsum(change, axis=1)
    last = real & ~np.append(real[:, 1:], np.zeros((len(real), 1), dtype=bool), axis=1)
    return real[:, 0] & (missing[:, -1] == 0) & ((missing > 0) | last | ~real).all(axis=1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    names=st.lists(st.sampled_from([row.name for row in OPERATORS]), unique=True, min_size=1),
    low=st.integers(1, 8),
    more=st.integers(1, 20),
    leaf=st.floats(0.05, 20),
    share=st.floats(0, 1),
)
def test_every_row_is_a_program_of_the_settings(seed, names, low, more, leaf, share):
    chosen = SamplingSettings(
        operators=dict.fromkeys(names, 1.0),
        variables=2,
        min_size=low,
        max_size=low + more,
        leaf_weight=leaf,
        constant_probability=share,
    )
    tokens = sample_tokens(200, np.random.default_rng(seed), chosen)
    assert is_program(tokens).all()
    used = set(np.unique(tokens)) - {-1}
    assert used <= {CONSTANT, FIRST_VARIABLE, FIRST_VARIABLE + 1, *(TOKEN[name] for name in names)}
    lengths = (tokens >= 0).sum(axis=1)
    assert lengths.min() >= low
    assert lengths.max() <= low + more


def test_lengths_are_uniform_or_as_weighted():
    tokens = sample_tokens(COUNT, np.random.default_rng(0), SamplingSettings(min_size=3, max_size=12))
    shares = np.bincount((tokens >= 0).sum(axis=1), minlength=13) / COUNT
    assert np.abs(shares[3:] - 0.1).max() < 5 * np.sqrt(0.1 / COUNT)
    weighted = SamplingSettings(min_size=1, max_size=3, size_weights=(1.0, 2.0, 5.0))
    shares = np.bincount((sample_tokens(COUNT, np.random.default_rng(0), weighted) >= 0).sum(axis=1)) / COUNT
    assert np.abs(shares[1:] - np.array([1, 2, 5]) / 8).max() < 0.02


def test_impossible_lengths_are_left_out():
    only_binary = SamplingSettings(operators={"add": 1.0}, min_size=2, max_size=6)
    lengths = (sample_tokens(2000, np.random.default_rng(0), only_binary) >= 0).sum(axis=1)
    assert set(lengths) == {3, 5}
    with pytest.raises(ValueError, match="no program"):
        SamplingSettings(operators={"add": 1.0}, min_size=2, max_size=2)


def test_all_shapes_of_a_length_are_equally_likely():
    """With equal weights of leaf, unary and binary all Motzkin words of a length come equally often."""
    even = SamplingSettings(
        operators={"add": 1.0, "sin": 1.0}, min_size=6, max_size=6, leaf_weight=0.5, constant_probability=0.0
    )
    arity = ARITY[np.minimum(sample_tokens(COUNT, np.random.default_rng(0), even), FIRST_VARIABLE)]
    words, counts = np.unique(arity, axis=0, return_counts=True)
    possible = [
        word
        for word in itertools.product((0, 1, 2), repeat=6)
        if (1 + np.cumsum(np.array(word) - 1))[-1] == 0 and (1 + np.cumsum(np.array(word) - 1))[:-1].min() > 0
    ]
    assert len(words) == len(possible) == 21
    expected = COUNT / len(possible)
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-squared, 20 degrees, p = 0.001


def test_operators_and_leaves_follow_their_weights():
    chosen = SamplingSettings(
        operators={"add": 3.0, "mul": 1.0, "sin": 1.0, "cos": 0.0},
        variables=4,
        constant_probability=0.25,
        fold_constants=True,
    )
    tokens = sample_tokens(COUNT, np.random.default_rng(0), chosen)
    counts = np.bincount(tokens[tokens >= 0], minlength=FIRST_VARIABLE + 4)
    assert counts[TOKEN["add"]] / counts[TOKEN["mul"]] == pytest.approx(3.0, rel=0.05)
    assert counts[TOKEN["cos"]] == 0
    leaves = counts[[CONSTANT, *range(FIRST_VARIABLE, FIRST_VARIABLE + 4)]]
    assert leaves / leaves.sum() == pytest.approx([0.25] + [0.1875] * 4, abs=0.01)


def test_every_operator_has_a_variable_below_it():
    chosen = SamplingSettings(variables=2, constant_probability=0.9)
    for expression in sample(2000, np.random.default_rng(0), chosen):
        for start in range(len(expression)):
            subtree = expression.subtree(start)
            assert subtree.variables or (len(subtree) == 1 and len(expression) > 1)


@pytest.mark.parametrize(
    ("distribution", "low", "high"),
    [("log_uniform", 0.1, 10), ("uniform", -2, 3), ("normal", 0, 2), ("integer", -3, 3)],
)
def test_constants_follow_their_distribution(distribution, low, high):
    chosen = SamplingSettings(constant_distribution=distribution, constant_low=low, constant_high=high)
    values = sample_constants(COUNT, np.random.default_rng(0), chosen)
    if distribution == "log_uniform":
        assert np.abs(values).min() >= 0.1 - 1e-12
        assert np.abs(values).max() <= 10 + 1e-12
        assert np.mean(values < 0) == pytest.approx(0.5, abs=0.02)
        assert np.mean(np.abs(values) < 1) == pytest.approx(0.5, abs=0.02)
    elif distribution == "normal":
        assert np.std(values) == pytest.approx(2, rel=0.03)
    else:
        assert values.min() >= low
        assert values.max() <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.05)
        assert distribution != "integer" or set(values) == set(range(-3, 4))


def test_a_seed_gives_the_same_expressions_again():
    chosen = SamplingSettings(variables=2)
    first = sample(500, np.random.default_rng(7), chosen)
    assert first == sample(500, np.random.default_rng(7), chosen)
    assert first != sample(500, np.random.default_rng(8), chosen)
    assert np.array_equal(
        np.concatenate([e.tokens for e in first]),
        (t := sample_tokens(500, np.random.default_rng(7), chosen))[t >= 0],
    )


def test_the_default_weights_are_those_of_the_rows():
    assert SamplingSettings().operators == {
        "add": 4.0, "sub": 2.0, "mul": 6.0, "div": 2.0, "neg": 0.25, "inv": 0.5, "square": 1.0, "cube": 0.25,
        "sqrt": 0.75, "exp": 0.75, "log": 0.5, "sin": 0.75, "cos": 0.75, "tanh": 0.25,
    }  # fmt: skip
    assert list(SamplingSettings().operators) == [row.name for row in OPERATORS if row.sampled]
    assert not any(BY_NAME[name].protected for name in SamplingSettings().operators)


@pytest.mark.parametrize(
    "wrong",
    [
        {"operators": {"sine": 1.0}},
        {"operators": {"sin": -1.0}},
        {"min_size": 5, "max_size": 4},
        {"size_weights": (1.0,)},
        {"variables": 0},
        {"constant_probability": 1.5},
        {"constant_distribution": "cauchy"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"."):
        SamplingSettings(**wrong)


def test_programs_are_recognised():
    x, add = FIRST_VARIABLE, TOKEN["add"]
    rows = np.array([[add, x, x, -1], [x, -1, -1, -1], [add, x, -1, -1], [x, x, -1, -1], [-1, -1, -1, -1]])
    assert is_program(rows).tolist() == [True, True, False, False, False]
