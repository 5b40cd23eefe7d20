"""Critics of tokens against NumPy, their sizes, and which positions they see."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxgen.models.forward import forward
from jaxgen.nets import SEQGAN_FILTERS, SMALL_FILTERS, TokenConvCritic, TokenRNNCritic

KEY = jax.random.key(0)
TOKENS = np.random.default_rng(0).integers(0, 6, (4, 7)).astype(np.int32)
CONV = TokenConvCritic(6, ((1, 3), (2, 2), (7, 4)), embedding_width=5)


def drawn(network):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, KEY, TOKENS)
    return jax.tree.map(lambda leaf: np.float32(0.7 * rng.normal(size=leaf.shape)), shapes)


@pytest.mark.parametrize(("filters", "count"), [(SEQGAN_FILTERS, 7_045_402), (SMALL_FILTERS, 552_702)])
def test_parameters_are_as_many_as_in_the_authors_code(filters, count):
    shapes = jax.eval_shape(TokenConvCritic(5000, filters).init, KEY, np.zeros((1, 20), np.int32))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_the_critic_is_convolutions_maxima_and_a_highway():
    variables = drawn(CONV)
    params = jax.tree.map(np.float64, variables["params"])
    expected = []
    for tokens in TOKENS:
        x, h = params["embed"]["embedding"][tokens], []
        for width, number in CONV.filters:
            kernel = params[f"width{width}"]["kernel"].reshape(width, 5, number)
            values = [np.einsum("we,wef->f", x[t : t + width], kernel) for t in range(7 - width + 1)]
            h += list(np.maximum(np.stack(values) + params[f"width{width}"]["bias"], 0).max(0))
        h = np.array(h)
        dense = {name: h @ layer["kernel"] + layer["bias"] for name, layer in params["highway"].items()}
        gate = 1 / (1 + np.exp(-dense["gate"]))
        h = gate * np.maximum(dense["value"], 0) + (1 - gate) * h
        fake, real = h @ params["last"]["kernel"] + params["last"]["bias"]
        expected.append(real - fake)
    np.testing.assert_allclose(jax.jit(CONV.apply)(variables, TOKENS), expected, rtol=1e-4, atol=1e-5)


def test_only_training_drops():
    variables = drawn(CONV)
    judged = [forward(CONV, variables, TOKENS, train=False, key=key)[0] for key in jax.random.split(KEY)]
    np.testing.assert_array_equal(*judged)
    trained = [forward(CONV, variables, TOKENS, key=key)[0] for key in jax.random.split(KEY)]
    assert np.abs(trained[0] - trained[1]).max() > 0.1


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_critic_of_prefixes_sees_no_later_token(cell):
    network = TokenRNNCritic(6, 4, 3, cell, per_token=True)
    variables = drawn(network)
    changed = TOKENS.copy()
    changed[:, 3] = (changed[:, 3] + 1) % 6
    before, after = map(partial(jax.jit(network.apply), variables), (TOKENS, changed))
    assert before.shape == (4, 7)
    np.testing.assert_array_equal(np.abs(before - after).max(0) > 1e-6, np.arange(7) >= 3)
    # a whole sequence has the logit of its last token
    whole = TokenRNNCritic(6, 4, 3, cell)
    np.testing.assert_allclose(jax.jit(whole.apply)(variables, TOKENS), before[:, -1], rtol=1e-5)


def test_a_recurrent_critic_reads_up_to_the_end():
    tokens = np.array([[3, 1, 0, 0, 0], [3, 1, 2, 4, 0], [3, 1, 2, 4, 5]], np.int32)
    per_token, whole = (TokenRNNCritic(6, 4, 3, per_token=p, end=0) for p in (True, False))
    variables = drawn(whole)
    logits = np.asarray(jax.jit(per_token.apply)(variables, tokens))
    np.testing.assert_allclose(jax.jit(whole.apply)(variables, tokens), logits[np.arange(3), [2, 4, 4]], rtol=1e-5)


@pytest.mark.parametrize("network", [CONV, TokenRNNCritic(6)])
def test_malformed_tokens_are_refused(network):
    with pytest.raises(TypeError, match="`tokens` must be integers"):
        jax.eval_shape(network.init, KEY, np.zeros((2, 7), np.float32))
    with pytest.raises(ValueError, match="`tokens` must have shape"):
        jax.eval_shape(network.init, KEY, np.zeros(7, np.int32))
    if network is CONV:
        with pytest.raises(ValueError, match="`tokens` must have at least 7 positions, the greatest width, got 6"):
            jax.eval_shape(network.init, KEY, TOKENS[:, :6])
