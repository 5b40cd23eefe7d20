"""The causal transformer against NumPy, its distribution summed over all sequences, and sampling with the cache."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import chisquare

from jaxgen.nets import Autoregressive, CausalTransformer, TokenTransformer, sample_tokens
from jaxgen.nets.recurrent import mark

KEY = jax.random.key(0)
NETWORK = TokenTransformer(5, 6, width=8, layers=2, heads=2)
CONTEXT = np.eye(3, dtype=np.float32)
TOKENS = np.random.default_rng(0).integers(0, 5, (3, 6)).astype(np.int32)


def drawn(network, *inputs, scale=0.5):
    """Random variables: positions and last layer too, which start near zero."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, KEY, *inputs)
    return jax.tree.map(lambda leaf: scale * rng.normal(size=leaf.shape).astype(np.float32), shapes)


VARIABLES = drawn(NETWORK, TOKENS, CONTEXT)


def layer_norm(x, params):
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return normal * params["scale"] + params["bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def by_numpy(tokens, context):
    """The logits of one sequence, position by position and head by head."""
    params = jax.tree.map(np.float64, VARIABLES["params"])
    network, blocks = params["network"], params["network"]["blocks"]
    first = params["beginning"]["vector"] + context @ params["beginning"]["of_context"]["kernel"]
    x = np.stack([first, *params["embed"]["embedding"][tokens[:-1]]]) + network["positions"][: len(tokens)]
    for i in range(2):
        block = jax.tree.map(lambda leaf, i=i: leaf[i], blocks)
        qkv = layer_norm(x, block["LayerNorm_0"]) @ block["qkv"]["kernel"] + block["qkv"]["bias"]
        query, key, value = qkv.reshape(len(x), 3, 2, 4).transpose(1, 2, 0, 3)
        attended = np.zeros((len(x), 2, 4))
        for head, t in itertools.product(range(2), range(len(x))):
            weights = softmax(query[head, t] @ key[head, : t + 1].T / 2)
            attended[t, head] = weights @ value[head, : t + 1]
        x = x + attended.reshape(len(x), 8) @ block["out"]["kernel"] + block["out"]["bias"]
        h = gelu(layer_norm(x, block["LayerNorm_1"]) @ block["expand"]["kernel"] + block["expand"]["bias"])
        x = x + h @ block["contract"]["kernel"] + block["contract"]["bias"]
    return layer_norm(x, network["norm"]) @ params["last"]["kernel"]


@pytest.mark.slow
def test_logits_are_those_of_the_equations():
    logits = NETWORK.apply(VARIABLES, TOKENS, CONTEXT)
    expected = np.stack([by_numpy(tokens, context) for tokens, context in zip(TOKENS, CONTEXT, strict=True)])
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    log_probs = NETWORK.apply(VARIABLES, TOKENS, CONTEXT, method="log_probs")
    expected = np.take_along_axis(log_softmax(expected, -1), TOKENS[..., None], -1)[..., 0]
    np.testing.assert_allclose(log_probs, expected, rtol=1e-3, atol=1e-4)
    # shorter sequences are the beginnings of longer ones
    np.testing.assert_allclose(NETWORK.apply(VARIABLES, TOKENS[:, :4], CONTEXT), logits[:, :4], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("t", range(6))
def test_a_token_is_seen_by_later_positions_alone(t):
    changed = TOKENS.copy()
    changed[:, t] = (changed[:, t] + 1) % 5
    before, after = NETWORK.apply(VARIABLES, TOKENS, CONTEXT), NETWORK.apply(VARIABLES, changed, CONTEXT)
    moved = np.abs(before - after).max(-1) > 1e-4
    np.testing.assert_array_equal(moved, np.broadcast_to(np.arange(6) > t, (3, 6)))


@pytest.mark.slow
def test_probabilities_of_all_sequences_sum_to_one_and_samples_have_them():
    network = TokenTransformer(3, 3, width=4, layers=1, heads=1)
    sequences = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
    variables = drawn(network, sequences, scale=0.8)
    log_probs = np.float64(network.apply(variables, sequences, method="log_probs")).sum(1)
    np.testing.assert_allclose(logsumexp(log_probs), 0, atol=1e-5)
    samples = jax.jit(lambda key: sample_tokens(network, variables, key, 20_000))(KEY)
    counts = np.bincount(samples @ np.array([9, 3, 1]), minlength=27)
    assert chisquare(counts, 20_000 * np.exp(log_probs) / np.exp(log_probs).sum()).pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 3}, {"prefix": TOKENS[:, :2], "length": 5}])
def test_samples_with_the_cache_are_those_without(options):
    samples = {
        cached: jax.jit(lambda key, cached=cached: sample_tokens(
            NETWORK, VARIABLES, key, 3, CONTEXT, cached=cached, **options
        ))(KEY)
        for cached in (True, False)
    }  # fmt: skip
    np.testing.assert_array_equal(samples[True], samples[False])
    assert samples[True].shape == (3, options.get("length", 6)) and len(np.unique(samples[True])) > 1
    if "prefix" in options:
        np.testing.assert_array_equal(samples[True][:, :2], TOKENS[:, :2])


@pytest.mark.slow
def test_temperature_and_top_k_cut_the_distribution():
    def sample(**options):
        return jax.jit(lambda key: sample_tokens(NETWORK, VARIABLES, key, 300, CONTEXT[:1], **options))(KEY)

    def logits(samples):
        return np.asarray(NETWORK.apply(VARIABLES, samples, CONTEXT[:1]))

    greedy = sample(temperature=0.0)
    np.testing.assert_array_equal(greedy, logits(greedy).argmax(-1))
    np.testing.assert_array_equal(sample(top_k=1), greedy)
    of_two = sample(top_k=2)
    rank = (logits(of_two) > np.take_along_axis(logits(of_two), np.asarray(of_two)[..., None], -1)).sum(-1)
    assert set(np.unique(rank)) == {0, 1}
    # the first position's distribution at a temperature is softmax(logits / temperature)
    first = np.bincount(sample(temperature=2.0)[:, 0], minlength=5)
    assert chisquare(first, 300 * softmax(np.float64(logits(greedy)[0, 0]) / 2)).pvalue > 0.01
    # the key of a position does not depend on what comes after it
    np.testing.assert_array_equal(sample(length=3), sample()[:, :3])


@pytest.mark.slow
def test_it_is_a_causal_network_for_other_decoders():
    decoder = Autoregressive(CausalTransformer(4, 8, layers=2, heads=2), (4, 2), 1)
    z, values = np.ones((3, 2), np.float32), np.random.default_rng(2).normal(size=(3, 4, 2)).astype(np.float32)
    variables = drawn(decoder, (z, values), scale=0.3)
    at_once = decoder.apply(variables, (z, values))
    carry, before = decoder.apply(variables, 3, method="start"), jnp.zeros((3, 3))
    for t in range(4):
        carry, params = decoder.apply(variables, carry, z, before, method="step")
        np.testing.assert_allclose(params[..., 0], at_once[:, t, :, 0], rtol=1e-4, atol=1e-5)
        before = mark(values[:, t])


def test_depth_is_a_loop():
    def equations(layers):
        network = TokenTransformer(5, 6, width=8, layers=layers, heads=2)
        shapes = jax.eval_shape(network.init, KEY, TOKENS)
        loss = jax.grad(lambda v: network.apply(v, TOKENS, method="log_probs").sum())
        return len(str(jax.make_jaxpr(loss)(shapes)).splitlines())

    assert equations(9) == equations(2)


@pytest.mark.slow
def test_initial_probabilities_are_equal_and_dropout_needs_a_stream():
    network = TokenTransformer(5, 6, width=8, layers=2, heads=2, dropout=0.5)
    variables = network.init(KEY, TOKENS)
    np.testing.assert_allclose(network.apply(variables, TOKENS, method="log_probs"), -np.log(5), rtol=1e-6)
    variables = drawn(network, TOKENS)
    still = network.apply(variables, TOKENS)
    np.testing.assert_array_equal(still, network.apply(variables, TOKENS))
    one, other = (network.apply(variables, TOKENS, rngs={"dropout": jax.random.key(i)}) for i in range(2))
    assert np.abs(one - other).max() > 0.1 and np.abs(one - still).max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 7}, "`length` must be at least 1 and at most 6"),
        ({"temperature": -1.0}, "`temperature`"),
        ({"top_k": 6}, "`top_k`"),
        ({"top_k": 0}, "`top_k`"),
        ({"prefix": TOKENS[:2]}, "`prefix`"),
        ({"prefix": TOKENS, "length": 5}, "`prefix`"),
        ({"context": np.zeros((2, 3), np.float32)}, "`context`"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        sample_tokens(NETWORK, VARIABLES, KEY, 3, **options)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`width` must be a multiple of heads=3, got 8"):
        TokenTransformer(5, 6, width=8, heads=3).init(KEY, TOKENS)
    with pytest.raises(ValueError, match="at most length=4 positions, got 6"):
        TokenTransformer(5, 4, width=8).init(KEY, TOKENS)
