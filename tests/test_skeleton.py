"""Skeletons, their fingerprints, and expressions that are evaluated each on a table of its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.canonical_form import without_affine
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.operators import CONSTANT, FIRST_VARIABLE
from expressions.parsing import parse
from expressions.rowwise_evaluation import PAD, evaluate_pairs
from expressions.sampling import SamplingSettings, sample, sample_tokens
from expressions.skeleton import INTEGERS, Skeleton, fingerprints, skeleton_of
from expressions.vocabulary import Vocabulary
from foundation.errors import UserError

SETTINGS = SamplingSettings(variables=4, min_size=3, max_size=15)


def of(text: str) -> Skeleton:
    return skeleton_of(parse(text))


def key(text: str) -> bytes:
    return fingerprints([of(text)])[0]


@pytest.mark.parametrize(
    ("text", "skeleton"),
    [
        ("3.2*x0 - 6.4*x1 + 1", "x0 - 2*x1"),
        ("2*x0 + 3*x1", "x0 + c*x1"),  # 1.5 is no integer
        ("1.3*sqrt(1.3*x0 + x1**2) + 2", "sqrt(x1**2 + c*x0)"),
        ("-x0", "x0"),
        ("2.5/x0", "1/x0"),
        ("1 - x0**2", "x0**2"),
        ("exp(-x0**2/2)/2.5", "exp(c*x0**2)"),
        ("x0*(x1 - 1.5)/2", "x0*(x1 + c)"),
        ("4*x0/(x1 + 1) - 7", "x0/(x1 + 1)"),
    ],
)
def test_a_skeleton_has_no_outer_scale_and_offset(text: str, skeleton: str) -> None:
    assert of(text).infix() == skeleton


def test_integers_are_fixed_and_other_constants_free() -> None:
    skeleton = of("3*x1 + sin(2*x0 + 1.7)*x1")
    assert skeleton.infix() == "x1*sin(2*x0 + c) + 3*x1"
    assert [value for value in skeleton.values if value is not None] == [2.0, 3.0]
    assert skeleton.free == 1
    assert skeleton.fixed.sum() == len(skeleton.values) - skeleton.free
    assert skeleton.expression(0.25).constants[~skeleton.fixed].tolist() == [0.25] * skeleton.free


@given(seed=st.integers(0, 10_000))
def test_nothing_but_scale_and_offset_is_missing_from_a_skeleton(seed: int) -> None:
    """With the constants where they were, a line through its values is the equation."""
    [truth] = sample(1, np.random.default_rng(seed), SETTINGS)
    inputs = np.random.default_rng(1).uniform(0.5, 2.0, (60, 4))
    with np.errstate(all="ignore"):
        target = np.broadcast_to(truth(inputs), 60)
    if (
        not np.isfinite(target).all()
        or np.std(target) <= 1e-6 * np.abs(target).max()
        or np.abs(target).max() > 1e6
    ):
        return
    values = np.broadcast_to(_own_constants(truth)(inputs), 60)
    basis = np.stack([values / np.abs(values).max(), np.ones(60)], axis=1)
    assert nmse(target, basis @ np.linalg.lstsq(basis, target, rcond=None)[0]) < 1e-9


def _own_constants(truth: Expression) -> Expression:
    plain, skeleton = without_affine(truth), skeleton_of(truth)
    assert plain.tokens.tolist() == list(skeleton.tokens)
    for value, own in zip(skeleton.values, plain.constants.tolist(), strict=True):
        assert value == own if value is not None else own not in INTEGERS
    return plain


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x0 - x1", "3*x2 + 5*x4 - 1", True),  # coefficients, signs, names
        ("x0*x1/x2", "4*x2*x0/x1", True),
        ("x0*x1/x2", "x0/(x1*x2)", False),
        ("x0*(x1 - x2)", "x0*x1 + 3*x0*x2", True),  # spelled in another way
        ("sin(x0)", "cos(x0)", False),
        ("sqrt(x0**2 + 1)", "sqrt(x0**2)", False),
        ("exp(-x0**2/2)/2.5", "1 - exp(3*x3**2)", True),
        ("x0**2", "x0**3", False),
        ("x0 + x1", "x0 + x1 + x2", False),
    ],
)
def test_fingerprints_forget_constants_signs_and_names(one: str, other: str, same: bool) -> None:
    assert (key(one) == key(other)) is same


@given(seed=st.integers(0, 10_000), order=st.permutations(range(4)))
def test_fingerprints_do_not_depend_on_the_order_of_variables(seed: int, order: list[int]) -> None:
    [equation] = sample(1, np.random.default_rng(seed), SETTINGS)
    renamed = equation.tokens.copy()
    for old, new in enumerate(order):
        renamed[equation.tokens == FIRST_VARIABLE + old] = FIRST_VARIABLE + new
    other = Expression(renamed, equation.constants * 1.7)
    first, second = fingerprints([skeleton_of(equation), skeleton_of(other)])
    plain = np.isfinite(np.frombuffer(first[1:])).all() and not np.isin(equation.constants, INTEGERS).any()
    assert first == second or not plain


def test_fingerprints_do_not_depend_on_the_company() -> None:
    skeletons = [skeleton_of(e) for e in sample(50, np.random.default_rng(0), SETTINGS)]
    assert fingerprints(skeletons) == [fingerprints([skeleton])[0] for skeleton in skeletons]
    assert fingerprints([]) == []


def test_pairs_are_evaluated_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    tokens = sample_tokens(300, rng, SETTINGS)
    constants = rng.normal(size=tokens.shape)
    inputs = rng.uniform(-2.0, 3.0, (4, 300, 17))
    values = evaluate_pairs(tokens, constants, inputs)
    for row in range(300):
        program = tokens[row][tokens[row] != PAD]
        own = Expression(program, constants[row][: len(program)][program == CONSTANT])
        with np.errstate(all="ignore"):
            expected = np.broadcast_to(own(inputs[:, row].T), 17)
        assert np.array_equal(values[row], expected, equal_nan=True)


def test_ids_and_skeletons_are_the_same_thing() -> None:
    vocabulary = Vocabulary(SETTINGS.operators.keys() | {"pow4", "pow5", "pow6", "abs", "pow"}, 4, INTEGERS)
    skeletons = [skeleton_of(e) for e in sample(200, np.random.default_rng(3), SETTINGS)]
    ids = vocabulary.encode_skeletons(skeletons)
    assert vocabulary.decode_skeletons(ids) == skeletons
    with pytest.raises(UserError, match="no 7"):
        vocabulary.encode_skeletons([Skeleton((CONSTANT,), (7.0,))])
    with pytest.raises(ValueError, match="not one complete program"):
        vocabulary.decode_skeletons(np.array([[vocabulary.start, vocabulary.first_variable, 5, vocabulary.end]]))
