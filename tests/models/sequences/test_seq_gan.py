"""SeqGAN against sums over all sequences of three tokens of a vocabulary of three."""

import dataclasses
import itertools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Model, model_phases
from jaxgen.losses import maligan
from jaxgen.models.sequences import (
    ConstantReward,
    MaliGANObjective,
    PolicyGradient,
    PolicyStep,
    PrefixReward,
    RolloutReward,
    SeqGAN,
    shuffled_labels,
)
from jaxgen.nets import TokenConvCritic, TokenRNN, TokenRNNCritic
from jaxgen.training import Settings, fit
from jaxgen.training.description import build, describe

WORDS, LENGTH, KEY = 3, 3, jax.random.key(0)
SEQUENCES = np.array(list(itertools.product(range(WORDS), repeat=LENGTH)), np.int32)
CRITIC = TokenConvCritic(WORDS, ((1, 3), (2, 4)), 3, dropout=0.9)
MODEL = SeqGAN(
    TokenRNN(WORDS, LENGTH, 4, 3), CRITIC, objective=PolicyGradient(RolloutReward(2)), sequences=5, critic_batch=None
)
BATCH = {"x": SEQUENCES[[0, 5, 9, 26]].astype(np.int16)}
OBJECTIVES = {
    "rollouts": PolicyGradient(RolloutReward(2)), "lagging": PolicyGradient(RolloutReward(2, lag=0.8)),
    "constant": PolicyGradient(ConstantReward()),
    "maligan": MaliGANObjective(), "maligan full": MaliGANObjective(2, ramp=3),
}  # fmt: skip


def drawn(model, seed=1):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, KEY, BATCH)
    return jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)


VARIABLES = drawn(MODEL)
LOG_PROBS = np.asarray(MODEL.log_probs(VARIABLES, SEQUENCES), np.float64)
SCORES = 1 / (1 + np.exp(-np.float64(MODEL.critic_logits(VARIABLES, SEQUENCES))))


def policy_step(model, variables, tokens):
    fixed = partial(model.critic_logits, variables)
    return PolicyStep(
        tokens, model.log_probs(variables, tokens), (model.generator, variables["generator"]), fixed, KEY, Clock()
    )


def exact_rewards(tokens, log_probs, values):
    """E of `values` [27] over the sequences that begin as each row does, after each of its tokens: [B, T]."""
    rewards = np.zeros(tokens.shape)
    for b, t in np.ndindex(*tokens.shape):
        same = (SEQUENCES[:, : t + 1] == tokens[b, : t + 1]).all(1)
        p = np.exp(log_probs[same, t + 1 :].sum(1))
        np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
        rewards[b, t] = p @ values[same]
    return rewards


@pytest.mark.slow
def test_rewards_are_expected_scores_of_each_prefix_in_its_place():
    """Batch, positions and rollouts have different lengths: rewards with scrambled axes would fail."""
    tokens = SEQUENCES[[3, 7, 11, 20, 26]]
    rewards = RolloutReward(3000)(policy_step(MODEL, VARIABLES, tokens))
    exact = exact_rewards(tokens, LOG_PROBS, SCORES)
    assert exact.std(0).min() > 0.1 and exact.std(1).min() > 0.04
    np.testing.assert_allclose(rewards, exact, atol=0.025)
    np.testing.assert_allclose(rewards[:, -1], exact[:, -1], rtol=1e-4)


def test_a_lag_changes_rewards():
    """In the authors' code it does not: the compiled rollouts go on reading the generator's own parameters."""
    reward = RolloutReward(3000, lag=0.8)
    model = dataclasses.replace(MODEL, objective=PolicyGradient(reward))
    other = drawn(MODEL, seed=2)["generator"]["params"]
    variables = {**VARIABLES, "generator": {**VARIABLES["generator"], "lagging": other}}
    tokens = SEQUENCES[[3, 7, 11, 20, 26]]
    rewards = reward(policy_step(model, variables, tokens))
    lagging = np.asarray(MODEL.log_probs({"generator": {"params": other}}, SEQUENCES), np.float64)
    exact = exact_rewards(tokens, lagging, SCORES)
    assert np.abs(exact - exact_rewards(tokens, LOG_PROBS, SCORES)).max() > 0.1
    np.testing.assert_allclose(rewards, exact, atol=0.025)


def test_the_lagging_policy_begins_as_the_generator_and_follows_it():
    model = dataclasses.replace(MODEL, objective=PolicyGradient(RolloutReward(1, lag=0.8)))
    variables = drawn(model)
    begun = model.begin_rounds(variables, BATCH, KEY)["generator"]
    chex.assert_trees_all_equal(begun["lagging"], variables["generator"]["params"])
    out = jax.jit(model.policy_loss)(variables, BATCH, KEY, Clock())
    params, before = variables["generator"]["params"], variables["generator"]["lagging"]
    expected = jax.tree.map(lambda old, new: 0.8 * old + 0.2 * new, before, params)
    chex.assert_trees_all_close(out.memory["generator"]["lagging"], expected, rtol=1e-5)


def test_the_policy_gradient_is_that_of_the_expected_score():
    model = dataclasses.replace(MODEL, objective=PolicyGradient(RolloutReward(1)), sequences=40_000)

    def loss(params):
        variables = {**VARIABLES, "generator": {"params": params}}
        return jax.jit(model.policy_loss)(variables, BATCH, KEY, Clock()).value

    def expected_score(params):
        log_probs = MODEL.log_probs({"generator": {"params": params}}, SEQUENCES).sum(1)
        return (jnp.exp(log_probs) * SCORES).sum()

    params = VARIABLES["generator"]["params"]
    found, exact = (jax.flatten_util.ravel_pytree(jax.jit(jax.grad(f))(params))[0] for f in (loss, expected_score))
    assert jnp.linalg.norm(exact) > 0.01
    assert jnp.linalg.norm(found + exact) < 0.1 * jnp.linalg.norm(exact)


def test_maligan_weighs_by_the_batch_and_by_completions():
    tokens = SEQUENCES[[3, 7, 11, 20, 26]]
    step, logits = policy_step(MODEL, VARIABLES, tokens), MODEL.critic_logits(VARIABLES, tokens)
    basic, metrics = MaliGANObjective().loss(step)
    weights = np.exp(logits) / np.exp(logits).sum()
    assert basic == pytest.approx(float(-((weights - 0.2) * step.log_probs.sum(1)).sum()), rel=1e-4)
    assert metrics["effective_samples"] == pytest.approx(float(1 / (weights**2).sum()), rel=1e-4)
    full, _ = MaliGANObjective(5000).loss(step)
    ratios = exact_rewards(tokens, LOG_PROBS, SCORES / (1 - SCORES))
    assert full == pytest.approx(float(maligan(step.log_probs, np.log(ratios), 1.0)), rel=0.05)
    # the baseline rises with the policy's steps
    values = [MaliGANObjective(ramp=2).loss(step._replace(clock=Clock(moves=n)))[0] for n in range(4)]
    for n, value in enumerate(values):
        assert value == pytest.approx(float(maligan(step.log_probs.sum(1), logits, min(1, n / 2))), rel=1e-5)


@pytest.mark.slow
def test_weights_of_extreme_logits_are_finite():
    for shift in (-500.0, 500.0):
        step = policy_step(MODEL, VARIABLES, SEQUENCES[:5])
        step = step._replace(logits=lambda tokens, f=step.logits, shift=shift: 40 * f(tokens) + shift)
        assert np.isfinite(MaliGANObjective(2).loss(step)[0]) and np.isfinite(MaliGANObjective().loss(step)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_play_moves_its_player(name):
    model = dataclasses.replace(MODEL, objective=OBJECTIVES[name])
    variables = drawn(model)
    for play in model.plays().values():
        def loss(params, play=play):
            given = {**variables, **{p: {**variables[p], "params": leaf} for p, leaf in params.items()}}
            return jax.jit(play.loss)(given, BATCH, KEY, Clock()).value

        grads = jax.jit(jax.grad(loss))({player: variables[player]["params"] for player in play.players})
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
            assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, (name, path)


def test_rewards_are_without_dropout():
    out = jax.jit(MODEL.policy_loss)(VARIABLES, BATCH, KEY, Clock())
    tokens = MODEL.sample(VARIABLES, jax.random.split(KEY)[0], MODEL.sequences)
    scores = jax.nn.sigmoid(MODEL.critic_logits(VARIABLES, tokens))
    assert out.metrics["reward"] == pytest.approx(float(scores.mean()), rel=1e-5)
    assert scores.std() > 0.05


@pytest.mark.slow
def test_the_critic_is_penalised_in_its_last_layer_and_learns_the_labels():
    model = dataclasses.replace(MODEL, critic=dataclasses.replace(CRITIC, dropout=0.0))
    values = [dataclasses.replace(model, l2=l2).critic_loss(VARIABLES, BATCH, KEY, Clock()).value for l2 in (0.0, 0.5)]
    last = VARIABLES["critic"]["params"]["last"]
    squares = (last["kernel"] ** 2).sum() + (last["bias"] ** 2).sum()
    assert values[1] - values[0] == pytest.approx(float(0.25 * squares), rel=1e-4)
    fake = model.sample(VARIABLES, jax.random.split(KEY, 3)[0], 4)
    logits = [model.critic_logits(VARIABLES, x) for x in (BATCH["x"], fake)]
    expected = (jax.nn.softplus(-logits[0]).mean() + jax.nn.softplus(logits[1]).mean()) / 2
    assert values[0] == pytest.approx(float(expected), rel=1e-4)
    labels = jnp.repeat(jnp.array([1.0, 0.0]), 50)
    shuffled = shuffled_labels(KEY, labels)
    assert shuffled.sum() == 50 and 15 < shuffled[:50].sum() < 35


def test_samples_at_a_temperature_have_its_likelihood():
    samples = np.asarray(MODEL.sample(VARIABLES, KEY, 20_000, temperature=0.5))
    p = np.exp(np.asarray(MODEL.log_probs(VARIABLES, SEQUENCES, temperature=0.5), np.float64).sum(1))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    frequencies = np.bincount(samples @ [9, 3, 1], minlength=27) / 20_000
    np.testing.assert_allclose(frequencies, p, atol=0.015)
    assert np.abs(p - np.exp(LOG_PROBS.sum(1))).max() > 0.05


def test_phases_are_maximum_likelihood_the_critic_and_rounds():
    model = dataclasses.replace(MODEL, mle_steps=4, critic_steps=3, moves_per_round=5, critic_batch=2)
    phases = model_phases(model, 20)
    assert [(set(p.plays), p.steps, p.batch_size) for p in phases] == [
        ({"mle"}, 4, None), ({"critic"}, 3, 2), ({"policy", "critic"}, 13, 2)
    ]  # fmt: skip
    when = phases[2].plays["policy"].when
    assert [i for i in range(13) if when(Clock(phase_step=i))] == [0, 5, 10]
    assert list(phases[2].plays) == ["policy", "critic"] and not phases[2].fresh_optimizers
    assert [(set(p.plays), p.steps) for p in model_phases(model, 4)] == [({"mle"}, 4)]
    # without a critic each step is one of the policy
    constant = dataclasses.replace(model, objective=PolicyGradient(ConstantReward()))
    (_, rounds) = model_phases(constant, 20)
    assert set(rounds.plays) == {"policy"} and rounds.plays["policy"].when is None and rounds.steps == 16


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 7, 9])
def test_runs_resume_bit_for_bit_at_and_between_the_boundaries_of_phases(stop, tmp_path):
    model = dataclasses.replace(
        MODEL, objective=PolicyGradient(RolloutReward(1, lag=0.8)), mle_steps=4, critic_steps=3, moves_per_round=3,
        critic_batch=2,
    )
    settings = Settings(steps=14, batch_size=4, ema=0.0, steps_per_call=3, checkpoint_every=100, eval_every=100)
    data = {"x": SEQUENCES}
    whole = fit(model, data, settings, progress=False).variables
    fit(model, data, dataclasses.replace(settings, steps=stop), out=tmp_path, progress=False)
    resumed = fit(model, data, settings, out=tmp_path, resume=True, progress=False).variables
    chex.assert_trees_all_equal(resumed, whole)
    behind = jax.tree.map(jnp.subtract, resumed["generator"]["params"], resumed["generator"]["lagging"])
    assert optax.tree.norm(behind) > 0


def test_it_is_a_model_that_describes_itself():
    model = dataclasses.replace(
        MODEL, objective=MaliGANObjective(2), labels=shuffled_labels, critic=TokenRNNCritic(WORDS, 4), end=0
    )
    assert isinstance(model, Model) and build(describe(model)) == model
    variables = drawn(model)
    metrics = jax.jit(model.evaluate)(variables, {"x": SEQUENCES}, KEY)
    assert 0 <= metrics["critic_accuracy"] <= 1
    log_probs = np.asarray(model.log_probs(variables, SEQUENCES))
    ends = [list(s).index(0) + 1 if 0 in s else LENGTH for s in SEQUENCES]
    counted = [sum(row[:end]) for row, end in zip(log_probs, ends, strict=True)]
    np.testing.assert_allclose(model.log_prob(variables, SEQUENCES), counted, rtol=1e-5)
    assert metrics["nll"] == pytest.approx(-sum(counted) / sum(ends), rel=1e-5)


def test_malformed_arguments_are_refused():
    with pytest.raises(ValueError, match="`critic_steps` must be integers of at least 0"):
        dataclasses.replace(MODEL, critic_steps=-1)
    with pytest.raises(ValueError, match="`lag` must be at least 0 and at most 1"):
        RolloutReward(lag=1.5)
    with pytest.raises(ValueError, match="`PrefixReward` requires a critic of partial sequences"):
        PrefixReward()(policy_step(MODEL, VARIABLES, SEQUENCES[:2]))
    with pytest.raises(TypeError, match="`x` must be integers"):
        jax.eval_shape(MODEL.init, KEY, {"x": np.zeros((2, 3), np.float32)})
    from flax import linen as nn

    with pytest.raises(ValueError, match="`critic` must have a layer `last` unless l2=0"):
        jax.eval_shape(dataclasses.replace(MODEL, critic=nn.Sequential([nn.Embed(3, 2), nn.Dense(1)])).init, KEY, BATCH)
