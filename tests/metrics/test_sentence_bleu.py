"""BLEU on the device against BLEU on the host."""

import numpy as np
import pytest

from jaxgen.metrics import bleu, sentence_bleu

RNG = np.random.default_rng(0)


def cut(tokens, end):
    tokens = tokens.tolist()
    return tokens[: tokens.index(end)] if end in tokens else tokens


@pytest.mark.parametrize(("n", "smoothing"), [(4, 0.1), (2, 0.5), (1, 0.0)])
@pytest.mark.parametrize("vocabulary", [3, 8])
def test_it_is_that_of_each_sentence_alone(n, smoothing, vocabulary):
    candidates, references = (RNG.integers(0, vocabulary, (40, t)) for t in (9, 12))
    candidates[0], candidates[1], references[2] = 1, references[1, :9], 1
    got = sentence_bleu(candidates, references, 0, n, smoothing)
    for candidate, reference, value in zip(candidates, references, got, strict=True):
        expected = bleu([cut(reference, 0)], [cut(candidate, 0)], n, smoothing)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)
    assert len(np.unique(np.asarray(got).round(4))) > 5


def test_without_an_end_all_tokens_count():
    candidates, references = (RNG.integers(0, 3, (20, 7)) for _ in range(2))
    expected = [bleu([r], [c]) for r, c in zip(references, candidates, strict=True)]
    np.testing.assert_allclose(sentence_bleu(candidates, references, None), expected, rtol=1e-5)


def test_unknown_words_match_nothing():
    reference = np.array([[5, 1, 6, 7, 8, 0]])
    known, unknown = np.array([[5, 1, 6, 7, 8, 0]]), 9
    np.testing.assert_allclose(sentence_bleu(known, reference, 0), 1, rtol=1e-6)
    wrong = known.copy()
    wrong[0, 1] = unknown
    expected = sentence_bleu(wrong, reference, 0)
    np.testing.assert_allclose(sentence_bleu(known, reference, 0, unknown=1), expected, rtol=1e-6)


def test_wrong_arguments_are_refused():
    tokens = np.ones((2, 3), int)
    with pytest.raises(ValueError, match="`references` must have shape"):
        sentence_bleu(tokens, tokens[:1], 0)
    with pytest.raises(TypeError, match="`candidates` must be integers"):
        sentence_bleu(tokens + 0.5, tokens, 0)
    with pytest.raises(ValueError, match="`smoothing` must be at least 0"):
        sentence_bleu(tokens, tokens, 0, smoothing=-1.0)
