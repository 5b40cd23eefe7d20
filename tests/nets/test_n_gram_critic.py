"""The critic of n-grams: sums of weights, prefixes, pairs with the context's words."""

import itertools

import jax
import numpy as np
import pytest

from jaxgen.nets import NGramCritic
from jaxgen.nets.n_gram_critic import hashed_n_grams

TOKENS = np.array([[3, 4, 3, 2, 0, 0], [3, 4, 3, 4, 3, 0], [5, 0, 0, 0, 0, 0], [2, 2, 3, 4, 5, 6]], np.int32)
CONTEXT = np.array([[1, 2, 3, 0], [4, 1, 0, 0]], np.int32)


def drawn(network):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, jax.random.key(0), TOKENS, CONTEXT)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def test_n_grams_have_values_of_their_own_wherever_they_are():
    every = np.array(list(itertools.product(range(8), repeat=3)), np.int32)
    values = np.asarray(hashed_n_grams(every, (1, 2, 3)))
    assert [len(np.unique(values[:, t, n])) for t, n in ((0, 0), (2, 0), (1, 1), (2, 2))] == [8, 8, 64, 512]
    assert len(np.unique(values[:, 2] % 2**17)) > 580  # 584 of three orders
    first, later = np.array([[7, 3, 4, 5], [1, 1, 3, 4]]), 3
    values = np.asarray(hashed_n_grams(first, (2,)))[..., 0]
    assert values[0, 2] == values[1, later] and values[0, 1] != values[1, 1]
    # that of a beginning is no bigram of tokens
    assert values[0, 0] not in np.asarray(hashed_n_grams(every, (2,)))[:, 1:]


def test_a_logit_is_the_sum_of_the_weights_of_the_n_grams_so_far():
    critic = NGramCritic((1, 2), 64, per_token=True)
    variables = drawn(critic)
    weights, bias = variables["params"]["weights"], variables["params"]["bias"]
    logits, values = critic.apply(variables, TOKENS, CONTEXT), np.asarray(hashed_n_grams(TOKENS, (1, 2)))
    for i, size in enumerate((5, 6, 2, 6)):  # with the end
        for t in range(6):
            expected = bias + sum(weights[values[i, s] % 64].sum() for s in range(min(t + 1, size)))
            np.testing.assert_allclose(logits[i, t], expected, rtol=1e-5)
    whole = NGramCritic((1, 2), 64).apply(variables, TOKENS, CONTEXT)
    np.testing.assert_allclose(whole, np.asarray(logits)[:, -1], rtol=1e-5)
    other = NGramCritic((1, 2), 64).apply(variables, TOKENS, CONTEXT[::-1])
    np.testing.assert_array_equal(whole, other)


def test_crossed_weights_are_of_pairs_and_over_the_root_of_the_context_s_length():
    critic = NGramCritic((1,), 512, crossed=True, per_token=True)
    variables = drawn(critic)

    def crossed(context):
        plain = NGramCritic((1,), 512, per_token=True).apply(variables, TOKENS, context)
        return np.asarray(critic.apply(variables, TOKENS, context) - plain)

    found = crossed(CONTEXT)
    assert np.abs(found - crossed(CONTEXT[::-1])).min() > 1e-3
    np.testing.assert_allclose(found, crossed(np.pad(CONTEXT, ((0, 0), (0, 3)))), atol=1e-4)  # padding
    np.testing.assert_allclose(found, crossed(np.array([[3, 1, 2, 0], [1, 4, 0, 0]])), atol=1e-4)  # no order
    alone = [crossed(np.array([[word], [4]]))[[0, 2]] for word in (1, 2, 3)]  # sequences 0 and 2 have the first context
    np.testing.assert_allclose(found[[0, 2]], np.sum(alone, 0) / np.sqrt(3), atol=1e-4)


def test_malformed_arguments():
    variables = drawn(NGramCritic())
    with pytest.raises(ValueError, match="multiple of the 2 contexts"):
        NGramCritic().apply(variables, TOKENS[:3], CONTEXT)
    with pytest.raises(ValueError, match="`orders`"):
        NGramCritic((0, 1)).init(jax.random.key(0), TOKENS, CONTEXT)
    with pytest.raises(TypeError, match="`tokens`"):
        NGramCritic().apply(variables, TOKENS * 1.0, CONTEXT)
