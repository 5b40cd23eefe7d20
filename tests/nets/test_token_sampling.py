"""Token networks position by position, samples with an end, and rollouts against completions one by one."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import chisquare

from jaxgen.nets import TokenRNN, TokenTransformer, rollout_rewards, rollouts, sample_tokens

KEY = jax.random.key(0)
CONTEXT = np.random.default_rng(3).normal(size=(3, 2)).astype(np.float32)
TOKENS = np.random.default_rng(0).integers(0, 5, (3, 7)).astype(np.int32)
NETWORKS = {
    "lstm": TokenRNN(5, 7, width=4, embedding_width=3),
    "gru": TokenRNN(5, 7, width=4, cell="gru"),
    "transformer": TokenTransformer(5, 7, width=4, layers=1, heads=2),
}
each_network = pytest.mark.parametrize("name", ["lstm", "gru", pytest.param("transformer", marks=pytest.mark.slow)])


def drawn(network, *inputs, scale=1.0):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, KEY, *inputs)
    return jax.tree.map(lambda leaf: scale * rng.normal(size=leaf.shape).astype(np.float32), shapes)


VARIABLES = {name: drawn(network, TOKENS, CONTEXT) for name, network in NETWORKS.items()}


@each_network
def test_all_positions_at_once_are_those_step_by_step(name):
    network, variables = NETWORKS[name], VARIABLES[name]

    @jax.jit
    def step(carry, x, token):
        carry, logits = network.apply(variables, carry, x, method="step")
        return carry, network.apply(variables, token, method="embedding"), logits

    at_once = jax.jit(network.apply)(variables, TOKENS, CONTEXT)
    assert at_once.shape == (3, 7, 5) and at_once.dtype == jnp.float32
    carry, x = jax.jit(partial(network.apply, method="begin"))(variables, TOKENS[:, 0], CONTEXT)
    for t in range(7):
        carry, x, logits = step(carry, x, TOKENS[:, t])
        np.testing.assert_allclose(logits, at_once[:, t], rtol=1e-4, atol=1e-5)
    assert np.abs(at_once - jax.jit(network.apply)(variables, TOKENS, CONTEXT[::-1])).max() > 0.01


def test_probabilities_of_all_sequences_sum_to_one_and_samples_have_them():
    network = TokenRNN(3, 3, width=4)
    sequences = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
    variables = drawn(network, sequences)
    log_probs = np.float64(network.apply(variables, sequences, method="log_probs")).sum(1)
    np.testing.assert_allclose(logsumexp(log_probs), 0, atol=1e-5)
    samples = jax.jit(lambda key: sample_tokens(network, variables, key, 20_000))(KEY)
    counts = np.bincount(samples @ np.array([9, 3, 1]), minlength=27)
    assert chisquare(counts, 20_000 * np.exp(log_probs)).pvalue > 0.01


def test_after_the_end_there_is_only_the_end():
    network, variables = NETWORKS["lstm"], VARIABLES["lstm"]
    free, ended = (
        np.asarray(jax.jit(partial(sample_tokens, network, n=200, end=end))(variables, KEY, context=CONTEXT[:1]))
        for end in (None, 2)
    )
    assert 0 < (free == 2).any(1).sum() < 200
    for before, after in zip(free, ended, strict=True):
        length = np.argmax(before == 2) if (before == 2).any() else 7
        np.testing.assert_array_equal(after, [*before[:length], *[2] * (7 - length)])


def test_a_token_that_is_never_sampled_leaves_the_others_in_proportion():
    network, variables = TokenRNN(4, 2, width=4), drawn(TokenRNN(4, 2, width=4), TOKENS[:, :2])
    samples = np.asarray(jax.jit(lambda key: sample_tokens(network, variables, key, 20_000, never=1))(KEY))
    logits = np.float64(jax.jit(network.apply)(variables, samples[:1])[0, 0])
    expected = np.exp(np.delete(logits, 1) - logsumexp(np.delete(logits, 1)))
    counts = np.bincount(samples[:, 0], minlength=4)
    assert counts[1] == 0 and not (samples == 1).any()
    assert chisquare(np.delete(counts, 1), 20_000 * expected).pvalue > 1e-3
    completed = np.asarray(rollouts(network, variables, KEY, np.array([[1, 1], [2, 1]]), 50, never=1))
    assert (completed[..., 0] == [[1, 2]]).all() and not (completed[..., 1] == 1).any()  # what is given is kept


def test_initial_parameters_have_the_given_deviation():
    network = TokenRNN(40, 5, width=30, initial_std=0.3)
    leaves = jax.tree.leaves(jax.jit(network.init)(KEY, TOKENS, CONTEXT))
    assert all(leaf.std() > 0.1 for leaf in leaves)
    np.testing.assert_allclose(np.concatenate([leaf.ravel() for leaf in leaves]).std(), 0.3, rtol=0.03)


@each_network
def test_rollouts_are_completions_of_prefixes(name):
    """With the most probable token at each position, completions are known."""
    network, variables = NETWORKS[name], VARIABLES[name]
    complete = jax.jit(partial(rollouts, network, n=2, temperature=0.0))
    completions = complete(variables, KEY, TOKENS, context=CONTEXT)
    assert completions.shape == (2, 6, 3, 7) and completions.dtype == jnp.int32
    logits = jax.jit(network.apply)
    for t, completion in itertools.product(range(1, 7), completions):
        np.testing.assert_array_equal(completion[t - 1, :, :t], TOKENS[:, :t])
        best = logits(variables, completion[t - 1], CONTEXT).argmax(-1)
        np.testing.assert_array_equal(completion[t - 1, :, t:], best[:, t:])


def test_rollouts_have_the_conditional_distribution_and_keep_ended_prefixes():
    network = TokenRNN(3, 3, width=4)
    tokens = np.array([[1, 2, 0], [0, 1, 2]], np.int32)
    variables = drawn(network, tokens)
    completions = np.asarray(jax.jit(partial(rollouts, network, n=5_000))(variables, KEY, tokens))
    sequences = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
    probability = np.exp(np.float64(network.apply(variables, sequences, method="log_probs").sum(1)))
    for t, b in itertools.product((1, 2), (0, 1)):
        possible = (sequences[:, :t] == tokens[b, :t]).all(1)
        counts = np.bincount(completions[:, t - 1, b] @ np.array([9, 3, 1]), minlength=27)
        assert counts[~possible].sum() == 0
        conditional = probability[possible] / probability[possible].sum()
        assert chisquare(counts[possible], 5_000 * conditional).pvalue > 0.01
    ended = np.asarray(jax.jit(partial(rollouts, network, n=200, end=2))(variables, KEY, tokens))
    np.testing.assert_array_equal(ended[:, 1, 0], np.broadcast_to([1, 2, 2], (200, 3)))
    assert len(np.unique(ended[:, 0, 0], axis=0)) == 7 and len(np.unique(ended[:, 1, 1], axis=0)) == 3


def test_rewards_are_the_mean_scores_of_completions_in_their_places():
    """B = 3 and T = 7 differ: other orders of the axes fail (TextGAN's rewards were scrambled so)."""
    network, variables = NETWORKS["lstm"], VARIABLES["lstm"]
    weights = np.random.default_rng(4).normal(size=7).astype(np.float32)

    def score(tokens, context):
        return jnp.tanh(tokens @ weights + context @ np.array([2, -1], np.float32))

    @jax.jit
    def rewards_and_completions(key, scale):
        options = {"context": CONTEXT, "temperature": 0.7}
        rewards = rollout_rewards(lambda *inputs: scale * score(*inputs), network, variables, key, TOKENS, 4, **options)
        return rewards.sum(), (rewards, rollouts(network, variables, key, TOKENS, 4, **options))

    gradient, (rewards, completions) = jax.jit(jax.grad(rewards_and_completions, 1, has_aux=True))(KEY, 1.0)
    expected = np.asarray(score(completions, CONTEXT)).mean(0).T
    np.testing.assert_allclose(rewards, np.concatenate([expected, score(TOKENS, CONTEXT)[:, None]], 1), rtol=1e-4)
    assert np.abs(rewards).min() > 0 and np.std(completions, 0).max() > 0 and gradient == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": TOKENS[:, :1]}, "`tokens` must have 2 to length=7"),
        ({"n": 0}, "`n`"),
        ({"end": 5}, "`end`"),
        ({"temperature": -1.0}, "`temperature`"),
        ({"top_k": 6}, "`top_k`"),
        ({"never": 5}, "`never`"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"tokens": TOKENS, "n": 2, **change}
    with pytest.raises(ValueError, match=message):
        rollouts(NETWORKS["lstm"], VARIABLES["lstm"], KEY, **arguments)
