"""Every polynomial has one string and one number, and a decoder that follows the mask writes nothing else."""

import re

import numpy as np
import torch

from expressions.polynomial_vocabulary import PolynomialVocabulary

GRAMMAR = re.compile(r"([+-]\d(\.\d)?\*x\*x)?([+-]\d(\.\d)?\*x)?([+-]\d(\.\d)?)?")


def test_all_strings_of_a_length_are_counted_different_and_canonical() -> None:
    vocabulary = PolynomialVocabulary(2)
    assert len(vocabulary) == 19
    counted = {length: vocabulary.count(length) for length in (6, 8, 10, 12, 14, 16, 18)}
    assert counted == {6: 200, 8: 1990, 10: 10_000, 12: 10_900, 14: 35_100, 16: 243_000, 18: 729_000}
    ids = vocabulary.strings(np.full(1990, 8), np.arange(1990))
    texts = [vocabulary.text(row) for row in ids]
    assert len(set(texts)) == 1990
    assert all(GRAMMAR.fullmatch(text) and ".0" not in text for text in texts)
    assert [vocabulary.spell(row) for row in vocabulary.coefficients(ids)] == texts
    assert (vocabulary.encode(texts) == ids).all()


def test_a_decoder_that_follows_the_mask_writes_complete_strings() -> None:
    vocabulary = PolynomialVocabulary(3)
    state = torch.ones(500, dtype=torch.long)
    written = []
    generator = torch.Generator().manual_seed(0)
    for position in range(12):
        allowed = vocabulary.allowed_next(state, 11 - position)
        chosen = torch.multinomial(allowed.double(), 1, generator=generator)[:, 0]
        state = vocabulary.advance(state, chosen)
        written.append(chosen)
    assert (state == -1).all()
    rows = torch.stack(written, dim=1).tolist()
    assert all(vocabulary.accepts([id_ for id_ in row if id_ != vocabulary.pad]) for row in rows)


def test_second_spellings_are_of_the_ambiguous_grammar_alone() -> None:
    for text in ("-4.0*x*x+0", "+5.0", "+0*x+1"):
        ids = PolynomialVocabulary(2, canonical=False).encode([text])
        assert not PolynomialVocabulary(2).accepts(ids[0, 1 : len(text) + 2].tolist())
