"""Polynomials as characters: every one has a number, a spelling and a meaning."""

import re

import numpy as np
import pytest
import torch

from expressions.errors import UserError
from expressions.polynomial_vocabulary import PolynomialVocabulary

GRAMMAR = re.compile(r"([+-]\d(\.\d)?\*x\*x)?([+-]\d(\.\d)?\*x)?([+-]\d(\.\d)?)?")


def test_how_many_equations_there_are_of_each_length() -> None:
    vocabulary = PolynomialVocabulary()
    counts = {length: vocabulary.count(length) for length in vocabulary.lengths}
    published = {6: 200, 8: 1990, 10: 10_000, 12: 10_900, 14: 35_100, 16: 243_000, 18: 729_000}
    assert counts == {2: 10, 4: 100} | published
    assert len(vocabulary) == 19


def test_numbers_name_all_strings_and_none_twice() -> None:
    vocabulary = PolynomialVocabulary()
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


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_what_is_spelled_means_what_was_meant(degree: int) -> None:
    vocabulary = PolynomialVocabulary(degree)
    rng = np.random.default_rng(0)
    lengths = rng.choice(vocabulary.lengths, 200)
    ids = vocabulary.strings(lengths, np.array([rng.integers(vocabulary.count(length)) for length in lengths]))
    found = vocabulary.coefficients(ids)
    x = np.linspace(-2, 2, 7)
    for row, coefficients in zip(ids, found, strict=True):
        text = vocabulary.text(row)
        assert vocabulary.spell(coefficients) == text
        assert (vocabulary.encode([text])[0] == row).all()
        values = vocabulary.expression(row)(x[:, None])
        assert np.allclose(values, np.polyval(coefficients[::-1], x))


def test_the_mask_leads_to_complete_strings_alone() -> None:
    for vocabulary in (PolynomialVocabulary(), PolynomialVocabulary(3, canonical=False)):
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
            assert 2 <= len(text) <= vocabulary.longest


def test_second_spellings() -> None:
    slides, ours = PolynomialVocabulary(canonical=False), PolynomialVocabulary()
    for text in ("+4.0*x-0", "-0.0", "+5.0*x*x+0.0*x+1"):
        slides.encode([text])
        with pytest.raises(ValueError, match="not a polynomial"):
            ours.encode([text])
    with pytest.raises(ValueError, match="not a polynomial"):
        slides.encode(["+5.1"])
    with pytest.raises(UserError, match="degree=7"):
        PolynomialVocabulary(7)
    with pytest.raises(UserError, match="largest=0"):
        PolynomialVocabulary(largest=0)
