"""Masks, lengths and log-probabilities of tokens against loops."""

import numpy as np
from scipy.special import log_softmax

from jaxgen.tokens import lengths, log_probs_of, token_mask

TOKENS = np.array([[3, 0, 0, 0], [1, 2, 3, 0], [0, 0, 0, 0], [1, 2, 3, 1], [2, 0, 5, 0]])


def test_masks_end_with_the_first_end():
    expected = [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]]
    np.testing.assert_array_equal(token_mask(TOKENS, 0), expected)
    np.testing.assert_array_equal(lengths(TOKENS, 0), np.sum(expected, 1))
    assert token_mask(TOKENS, 0).dtype == np.float32 and lengths(TOKENS, 0).dtype == np.int32
    np.testing.assert_array_equal(token_mask(TOKENS, None), np.ones((5, 4)))
    np.testing.assert_array_equal(lengths(TOKENS, None), [4] * 5)
    np.testing.assert_array_equal(lengths(TOKENS, 3), [1, 3, 4, 3, 4])


def test_log_probs_are_those_of_the_tokens():
    rng = np.random.default_rng(0)
    logits, tokens = 3 * rng.normal(size=(2, 3, 5)).astype(np.float32), rng.integers(0, 5, (2, 3))
    expected = [[log_softmax(logits[b, t])[tokens[b, t]] for t in range(3)] for b in range(2)]
    np.testing.assert_allclose(log_probs_of(logits, tokens), expected, rtol=1e-5)
