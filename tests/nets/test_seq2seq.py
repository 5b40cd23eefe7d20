"""The attention encoder-decoder against NumPy, its padding, its order of computation, and sums over all sequences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax, logsumexp, softmax

from jaxgen.nets import AttentionSeq2Seq, BidirectionalEncoder
from jaxgen.nets.token_sampling import rollouts, sample_tokens

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
NETWORK = AttentionSeq2Seq(4, 6, 3, width=5, embedding_width=4)
TOKENS = RNG.integers(0, 4, (3, 3)).astype(np.int32)
SOURCES = np.array([[3, 5, 2, 0, 0], [2, 2, 4, 3, 0], [5, 0, 0, 0, 0]], np.int32)


def drawn(network, *inputs, scale=0.7):
    """Random variables, biases too."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, KEY, *inputs)
    return jax.tree.map(lambda leaf: scale * rng.normal(size=leaf.shape).astype(np.float32), shapes)


VARIABLES = drawn(NETWORK, TOKENS, SOURCES)


def dense(x, params):
    return x @ params["kernel"] + params.get("bias", 0)


def gru(h, gates, params):
    recurrent = dense(h, params["recurrent"])
    (xr, xz, xn), (hr, hz, hn) = np.split(gates, 3), np.split(recurrent, 3)
    z = expit(xz + hz)
    return z * h + (1 - z) * np.tanh(xn + expit(xr + hr) * hn)


def by_numpy(tokens, source):
    """The logits of one sequence by the equations of the module, without padding."""
    params = jax.tree.map(np.float64, VARIABLES["params"])
    source = source[: list(source).index(0) + 1]
    encoder, annotations = params["encoder"], {}
    x = encoder["embed"]["embedding"][source]
    for name, order in (("forward", range(len(x))), ("backward", reversed(range(len(x))))):
        h = np.zeros(5)
        for j in order:
            h = gru(h, dense(x[j], encoder[f"{name}_gates"]), encoder[name])
            annotations[name, j] = h
    memory = np.stack([np.concatenate([annotations["forward", j], annotations["backward", j]]) for j in range(len(x))])
    s = np.tanh(dense(annotations["backward", 0], params["of_backward"]))
    last, attention, logits = params["beginning"], params["attention"], []
    for token in tokens:
        energies = np.tanh(dense(s, attention["query"]) + dense(memory, params["of_annotations"]))
        attended = softmax(dense(energies, attention["energy"])[:, 0]) @ memory
        s = gru(s, dense(last, params["of_last"]) + dense(attended, attention["of_attended"]), attention["inner"])
        hidden = np.tanh(dense(np.concatenate([s, last, attended]), params["hidden"]))
        logits.append(dense(hidden, params["last"]))
        last = params["embed"]["embedding"][token]
    return np.stack(logits)


def test_logits_are_those_of_the_equations():
    logits = jax.jit(NETWORK.apply)(VARIABLES, TOKENS, SOURCES)
    expected = np.stack([by_numpy(tokens, source) for tokens, source in zip(TOKENS, SOURCES, strict=True)])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    log_probs = NETWORK.apply(VARIABLES, TOKENS, SOURCES, method="log_probs")
    expected = np.take_along_axis(log_softmax(expected, -1), TOKENS[..., None], -1)[..., 0]
    np.testing.assert_allclose(log_probs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_padding_of_the_source_has_no_effect_and_its_order_has_one(cell):
    network = AttentionSeq2Seq(4, 6, 3, width=5, cell=cell)
    variables = drawn(network, TOKENS, SOURCES)
    log_probs = jax.jit(lambda context: network.apply(variables, TOKENS, context, method="log_probs"))
    padded = log_probs(np.pad(SOURCES, ((0, 0), (0, 4))))
    np.testing.assert_allclose(padded, log_probs(SOURCES), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_probs(SOURCES[:, :4])[0], padded[0], rtol=1e-5, atol=1e-6)
    # what follows the end is no word
    after = SOURCES.copy()
    after[0, 4] = after[2, 2] = 3
    np.testing.assert_allclose(log_probs(after), padded, rtol=1e-5, atol=1e-6)
    permuted = SOURCES.copy()
    permuted[0, :3] = [5, 2, 3]
    changed = np.abs(log_probs(permuted) - padded).max(1) > 1e-3
    assert changed.tolist() == [True, False, False]


def test_sources_without_an_end_are_whole():
    network = AttentionSeq2Seq(4, 6, 3, width=5, source_end=None)
    variables = drawn(network, TOKENS, SOURCES)
    short, whole = (network.apply(variables, TOKENS, s, method="log_probs") for s in (SOURCES[:, :4], SOURCES))
    assert (np.abs(short - whole).max(1) > 1e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize("t", range(3))
def test_a_token_is_seen_by_later_positions_alone(t):
    changed = TOKENS.copy()
    changed[:, t] = (changed[:, t] + 1) % 4
    before, after = (jax.jit(NETWORK.apply)(VARIABLES, tokens, SOURCES) for tokens in (TOKENS, changed))
    moved = np.abs(before - after).max(-1) > 1e-5
    np.testing.assert_array_equal(moved, np.broadcast_to(np.arange(3) > t, (3, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_steps_have_the_logits_of_all_positions(cell):
    network = AttentionSeq2Seq(4, 6, 3, width=5, cell=cell)
    variables = drawn(network, TOKENS, SOURCES)
    expected = jax.jit(network.apply)(variables, TOKENS, SOURCES)
    carry, x = network.apply(variables, TOKENS[:, 0], SOURCES, method="begin")
    for t in range(3):
        carry, logits = network.apply(variables, carry, x, method="step")
        np.testing.assert_allclose(logits, expected[:, t], rtol=1e-5, atol=1e-6)
        x = network.apply(variables, TOKENS[:, t], method="embedding")


@pytest.mark.slow
def test_probabilities_of_all_sequences_sum_to_one_and_greedy_ones_are_most_probable_each_step():
    every = np.array(list(itertools.product(range(4), repeat=3)), np.int32)
    for source in SOURCES:
        context = np.broadcast_to(source, (len(every), 5))
        log_probs = NETWORK.apply(VARIABLES, every, context, method="log_probs")
        np.testing.assert_allclose(logsumexp(log_probs.sum(1)), 0, atol=1e-5)
    greedy = sample_tokens(NETWORK, VARIABLES, KEY, 3, SOURCES, temperature=0.0)
    np.testing.assert_array_equal(jax.jit(NETWORK.apply)(VARIABLES, greedy, SOURCES).argmax(-1), greedy)


@pytest.mark.slow
def test_rollouts_keep_the_prefix_and_the_source():
    network = AttentionSeq2Seq(6, 6, 4, width=8)
    variables = drawn(network, np.zeros((3, 4), np.int32), SOURCES)
    # nearly deterministic, by the source
    variables["params"]["last"]["kernel"] *= 200
    tokens = sample_tokens(network, variables, KEY, 3, SOURCES)
    assert len(np.unique(tokens, axis=0)) > 1
    completed = rollouts(network, variables, jax.random.key(5), tokens, 2, SOURCES)
    np.testing.assert_array_equal(completed, np.broadcast_to(tokens, completed.shape))


def test_every_part_has_a_gradient():
    @jax.jit
    @jax.grad
    def gradient(variables):
        return NETWORK.apply(variables, TOKENS, SOURCES, method="log_probs").sum()

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(VARIABLES)):
        assert np.abs(leaf).max() > 0, path


def test_dropout_is_active_with_its_stream_alone():
    network = AttentionSeq2Seq(4, 6, 3, width=5, dropout=0.5)
    one, other = (network.apply(VARIABLES_OF_5, TOKENS, SOURCES, rngs={"dropout": jax.random.key(i)}) for i in range(2))
    assert np.abs(one - other).max() > 1e-3
    still = jax.jit(network.apply)(VARIABLES_OF_5, TOKENS, SOURCES)
    np.testing.assert_array_equal(still, jax.jit(network.apply)(VARIABLES_OF_5, TOKENS, SOURCES))


VARIABLES_OF_5 = drawn(AttentionSeq2Seq(4, 6, 3, width=5), TOKENS, SOURCES)


def test_the_backward_state_has_seen_all_words():
    encoder = BidirectionalEncoder(6, 3)
    variables = drawn(encoder, SOURCES)
    annotations, backward = jax.jit(encoder.apply)(variables, SOURCES)
    np.testing.assert_allclose(backward, annotations[:, 0, 3:], rtol=1e-6)
    assert annotations.shape == (3, 5, 6)


@pytest.mark.slow
def test_sources_that_do_not_fit_are_refused():
    for context, error, message in (
        (None, ValueError, "`context` must be the source's tokens"),
        (SOURCES[:2], ValueError, "`context` must have shape"),
        (SOURCES[0], ValueError, "`context` must have shape"),
        (SOURCES.astype(np.float32), TypeError, "`context` must be integers"),
    ):
        with pytest.raises(error, match=message):
            NETWORK.apply(VARIABLES, TOKENS, context)
    with pytest.raises(ValueError, match="`num_source_tokens`"):
        jax.eval_shape(AttentionSeq2Seq(4, 0, 3).init, KEY, TOKENS, SOURCES)
    assert jnp.isfinite(jax.jit(NETWORK.apply)(jax.jit(NETWORK.init)(KEY, TOKENS, SOURCES), TOKENS, SOURCES)).all()
