"""Updates of adversarial sequence models over all 256 strings of four words, against the gradients that they estimate.

The generator is a table of logits for each prefix, the critic is exact: D = p / (p + q), its logit log p - log q.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.losses import boundary_seeking, maligan, policy_gradient

WORDS, LENGTH = 4, 4
STRINGS = np.array(list(itertools.product(range(WORDS), repeat=LENGTH)))
N = len(STRINGS)
P = np.random.default_rng(0).dirichlet(np.ones(N))
BEFORE = [np.ravel_multi_index(STRINGS[:, :t].T, (WORDS,) * t) if t else np.zeros(N, int) for t in range(LENGTH)]
"""Of each string and position t, the index of its first t words among all prefixes of this length."""


def tables(scale, seed=1):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(scale * rng.normal(size=(WORDS**t, WORDS))) for t in range(LENGTH)]


def token_log_probs(params):
    """log q(y_t | y_<t) of all strings, [256, 4]."""
    return jnp.stack([jax.nn.log_softmax(params[t])[BEFORE[t], STRINGS[:, t]] for t in range(LENGTH)], 1)


def log_q(params):
    return token_log_probs(params).sum(1)


def kl(params):
    return jnp.sum(P * (jnp.log(P) - log_q(params)))


def expected(score):
    return lambda params: jnp.sum(jnp.exp(log_q(params)) * score)


def finite_differences(function, params, step=1e-5):
    """Central differences along every coordinate, one vector."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    directions = step * jnp.eye(len(flat))
    change = jax.jit(jax.vmap(lambda d: function(unravel(flat + d)) - function(unravel(flat - d))))
    return np.asarray(change(directions)) / (2 * step)


def update(loss, params):
    """The gradient descended, one vector."""
    return np.asarray(jax.flatten_util.ravel_pytree(jax.jit(jax.grad(loss))(params))[0])


def exact_rewards(params, score):
    """E_q[score | y_1..y_t] of each string and t, [256, 4]; the last column is the score itself."""
    q, rewards = np.exp(log_q(params)), np.zeros((N, LENGTH))
    for t in range(1, LENGTH + 1):
        prefix = np.ravel_multi_index(STRINGS[:, :t].T, (WORDS,) * t)
        rewards[:, t - 1] = (np.bincount(prefix, q * score) / np.bincount(prefix, q))[prefix]
    return rewards


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield tables(1.0)


def test_maligans_update_is_the_gradient_of_the_divergence(double):
    params = double
    logits = jnp.log(P) - log_q(params)
    # string i as often as q draws it: its copies' weights sum to the softmax of logit + log q
    copies = jax.lax.stop_gradient(log_q(params))
    got = update(lambda x: maligan(log_q(x), logits + copies), params)
    np.testing.assert_allclose(got, finite_differences(kl, params), atol=1e-5)
    assert np.abs(got).max() > 1e-2
    # probabilities D in place of ratios D / (1 - D) give another one
    wrong = update(lambda x: maligan(log_q(x), jax.nn.log_sigmoid(logits) + copies), params)
    assert np.abs(wrong - got).max() > 1e-2


def test_boundary_seeking_is_maligan_without_a_baseline(double):
    params = double
    logits = jnp.log(P) - log_q(params) + jax.lax.stop_gradient(log_q(params))
    got = update(lambda x: boundary_seeking(log_q(x)[:, None], logits[:, None]), params)
    np.testing.assert_allclose(got, update(lambda x: maligan(log_q(x), logits), params), atol=1e-12)
    np.testing.assert_allclose(got, finite_differences(kl, params), atol=1e-5)


def test_seqgans_update_ascends_the_expected_reward(double):
    """With the exact expectations of prefixes as rewards, the descended gradient is minus that of E_q D, D held
    fixed."""
    params = double
    score = np.asarray(jax.nn.sigmoid(jnp.log(P) - log_q(params)))
    count = np.tile(N * np.exp(log_q(params))[:, None], (1, LENGTH))
    rewards = exact_rewards(params, score)
    got = update(lambda x: policy_gradient(token_log_probs(x), rewards, count), params)
    np.testing.assert_allclose(got, -finite_differences(expected(score), params), atol=1e-5)
    assert np.abs(got).max() > 1e-3
    # the score of the whole string at all positions has the same expectation
    whole = update(lambda x: policy_gradient(token_log_probs(x), np.tile(score[:, None], (1, LENGTH)), count), params)
    np.testing.assert_allclose(whole, got, atol=1e-10)
    # rewards of the prefix before the token, one position late, have not
    late = np.concatenate([rewards[:, :1] * 0, rewards[:, :-1]], 1)
    wrong = update(lambda x: policy_gradient(token_log_probs(x), late, count), params)
    assert np.abs(wrong - got).max() > 1e-3


def test_log_ratios_as_rewards_descend_the_reverse_divergence(double):
    params = double
    score = np.asarray(jnp.log(P) - log_q(params))
    count = np.tile(N * np.exp(log_q(params))[:, None], (1, LENGTH))
    rewards = exact_rewards(params, score)
    got = update(lambda x: policy_gradient(token_log_probs(x), rewards, count), params)
    reverse = finite_differences(lambda x: jnp.sum(jnp.exp(log_q(x)) * (log_q(x) - jnp.log(P))), params)
    np.testing.assert_allclose(got, reverse, atol=1e-5)


def train(loss, steps=2000, m=64, rate=0.05):
    """KL(p||q) after training on m strings a step, drawn from q, with the exact critic."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def step(carry, key):
        params, state = carry
        sample_key, loss_key = jax.random.split(key)
        log_probs = log_q(params)
        index = jax.random.categorical(sample_key, log_probs, shape=(m,))
        logits = (jnp.log(P) - log_probs)[index]
        gradient = jax.grad(lambda x: loss(log_q(x)[index], logits, loss_key))(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    params = [jnp.asarray(table, jnp.float32) for table in tables(0.0)]
    keys = jax.random.split(jax.random.key(0), steps)
    (params, _), _ = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), keys))(params)
    return float(kl(params))


@pytest.mark.slow
def test_samples_of_64_strings_bring_the_generator_to_the_data():
    start = float(kl(tables(0.0)))
    assert start > 0.3
    assert train(lambda log_probs, logits, key: maligan(log_probs, logits)) < 0.02
    assert train(lambda log_probs, logits, key: maligan(log_probs, logits, 1.0)) < 0.02
    # weights of other samples of the batch say nothing
    permuted = train(lambda log_probs, logits, key: maligan(log_probs, jax.random.permutation(key, logits)))
    assert permuted > start
