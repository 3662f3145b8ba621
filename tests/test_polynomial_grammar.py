"""Sums of terms as characters: every one has a number, a spelling and a meaning."""

import re

import numpy as np
import pytest
import torch

from expressions.polynomial_grammar import SumVocabulary
from foundation.errors import UserError

GRAMMAR = re.compile(r"([+-]\d(\.\d)?\*x\*x)?([+-]\d(\.\d)?\*x)?([+-]\d(\.\d)?)?")

WIDE = ("sin(2*x)", "cos(3*x)", "exp(-x)", "log(x+2)", "sin(x*x)")


def test_how_many_equations_there_are_of_each_length() -> None:
    vocabulary = SumVocabulary()
    counts = {length: vocabulary.count(length) for length in vocabulary.lengths}
    published = {6: 200, 8: 1990, 10: 10_000, 12: 10_900, 14: 35_100, 16: 243_000, 18: 729_000}
    assert counts == {2: 10, 4: 100} | published
    assert len(vocabulary) == 19


def test_numbers_name_all_strings_and_none_twice() -> None:
    vocabulary = SumVocabulary()
    texts = set()
    for length in (2, 4, 6, 8):
        count = vocabulary.count(length)
        ids = vocabulary.strings(np.full(count, length), np.arange(count))
        texts |= {vocabulary.text(row) for row in ids}
    assert len(texts) == 10 + 100 + 200 + 1990
    for text in texts:
        assert GRAMMAR.fullmatch(text)
        assert ".0" not in text
        assert not re.search(r"[+-]0(?!\.)", text)
    with pytest.raises(ValueError, match="no string"):
        vocabulary.strings(np.array([2]), np.array([10]))


@pytest.mark.parametrize(
    "vocabulary",
    [SumVocabulary(1), SumVocabulary(), SumVocabulary(4), SumVocabulary(2, functions=WIDE, terms=3)],
    ids=["1", "2", "4", "functions"],
)
def test_what_is_spelled_means_what_was_meant(vocabulary: SumVocabulary) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.choice(vocabulary.lengths, 200)
    ids = vocabulary.strings(lengths, np.array([rng.integers(vocabulary.count(length)) for length in lengths]))
    found = vocabulary.coefficients(ids)
    x = np.linspace(-1.9, 2, 7)
    for row, coefficients in zip(ids, found, strict=True):
        text = vocabulary.text(row)
        assert vocabulary.spell(coefficients) == text
        assert (vocabulary.encode([text])[0] == row).all()
        values = vocabulary.expression(row)(x[:, None])
        assert np.allclose(values, coefficients @ vocabulary.basis(x))
        if not vocabulary.functions:
            assert np.allclose(values, np.polyval(coefficients[::-1], x))


def test_the_mask_leads_to_complete_strings_alone() -> None:
    for vocabulary in (SumVocabulary(), SumVocabulary(3, canonical=False), SumVocabulary(functions=WIDE, terms=2)):
        state = torch.ones(500, dtype=torch.long)
        generator = torch.Generator().manual_seed(0)
        rows = []
        for position in range(vocabulary.longest + 1):
            allowed = vocabulary.allowed_next(state, vocabulary.longest - position)
            assert allowed.any(dim=1).all()
            chosen = torch.multinomial(allowed.double(), 1, generator=generator)[:, 0]
            rows.append(chosen)
            state = vocabulary.advance(state, chosen)
        assert (state < 0).all()
        for ids in torch.stack(rows, dim=1):
            text = vocabulary.text(ids)
            assert vocabulary.accepts([id_ for id_ in ids.tolist() if id_ != vocabulary.pad])
            vocabulary.expression(ids)
            assert 2 <= int((ids >= 4).sum()) <= vocabulary.longest
            assert len(vocabulary.expression(ids).constants) >= 1
            outside = re.sub(r"\(.*?\)", "", text)
            assert outside.count("+") + outside.count("-") <= vocabulary.terms


def test_second_spellings() -> None:
    slides, ours = SumVocabulary(canonical=False), SumVocabulary()
    for text in ("+4.0*x-0", "-0.0", "+5.0*x*x+0.0*x+1"):
        slides.encode([text])
        with pytest.raises(ValueError, match="not a sum"):
            ours.encode([text])
    with pytest.raises(ValueError, match="not a sum"):
        slides.encode(["+5.1"])
    with pytest.raises(UserError, match="degree=7"):
        SumVocabulary(7)
    with pytest.raises(UserError, match="largest=0"):
        SumVocabulary(largest=0)


def test_functions_are_terms_of_their_own() -> None:
    vocabulary = SumVocabulary(functions=WIDE, terms=3)
    row = vocabulary.encode(["+1.5*sin(2*x)-0.7*exp(-x)+4*x*x"])[0]
    assert vocabulary.coefficients(row[None])[0].tolist() == [0, 0, 4, 0, 0, -0.7, 0, 1.5]
    assert vocabulary.expression(row)(np.array([[0.3]]))[0] == pytest.approx(
        1.5 * np.sin(0.6) - 0.7 * np.exp(-0.3) + 4 * 0.09
    )
    assert vocabulary.spell([0.1, 0, 4, 0, 0, -0.7, 0, 1.5]) == "+1.5*sin(2*x)-0.7*exp(-x)+4*x*x"  # three terms
    for text in ("+1*exp(-x)+2*sin(2*x)", "+1*sin(2*x)+2*sin(2*x)", "+1*sin(2*x)*x", "+1*x+2*sin(2*x)"):
        with pytest.raises(ValueError, match="not a sum"):
            vocabulary.encode([text])
    with pytest.raises(ValueError, match="not a sum"):  # four terms
        vocabulary.encode(["+1*sin(2*x)+1*cos(3*x)+1*x+1"])
    few = SumVocabulary(1, functions=("exp(x)",), terms=2)
    assert few.count(2) == 10
    assert few.count(6) == 100 + 90 + 100 + 90  # `+1*x+1`, `+1.1*x`, `+1*exp(x)+1`, `+1.1*exp(x)`
    assert vocabulary.size(-1, 1) == pytest.approx(5 * np.e)


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        (["sin(x)+exp(x)"], "no function of x"),
        (["sin(x)*exp(x)"], "no function of x"),
        (["x"], "no function of x"),
        (["2"], "no function of x"),
        (["exp(2)"], "no function of x"),
        (["sine(x)"], "sine"),
        (["sin(x)", "sin(x)"], "there twice"),
        (["sin(x)"] * 17, "17 entries"),
    ],
)
def test_functions_that_are_refused(functions: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SumVocabulary(functions=functions, terms=2)


def test_limits_of_functions() -> None:
    with pytest.raises(UserError, match="log"):
        SumVocabulary(functions=["log(x)"]).size(-1, 1)
    with pytest.raises(UserError, match="terms=None"):
        SumVocabulary(functions=WIDE)
    with pytest.raises(UserError, match="canonical spelling"):
        SumVocabulary(canonical=False, functions=["sin(x)"])
