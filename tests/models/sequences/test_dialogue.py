"""Adversarial dialogue: its game, rewards of prefixes, the baseline, and what is never sampled."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.sequences import (
    AdversarialDialogue,
    ConstantReward,
    PolicyStep,
    PrefixReward,
    RolloutReward,
    SequenceReward,
)
from jaxgen.nets import AttentionSeq2Seq, NGramCritic, TurnCritic
from jaxgen.nets.n_gram_critic import hashed_n_grams
from jaxgen.tokens import lengths, token_mask
from tests.models.parameters import drawn

KEY = jax.random.key(0)
LENGTH = 4
MODEL = AdversarialDialogue(
    AttentionSeq2Seq(5, 5, LENGTH, 3), critic=TurnCritic(5, 3, separators=(2,)), mle_steps=2, critic_steps=3
)
RNG = np.random.default_rng(0)
X = np.array([[2, 3, 0, 0], [4, 2, 3, 0], [3, 0, 0, 0], [1, 4, 4, 4], [2, 2, 0, 0], [3, 4, 2, 0]], np.int32)
CONTEXT = np.array([[3, 2, 4, 0], [4, 4, 2, 3], [2, 0, 0, 0], [3, 3, 0, 0], [4, 2, 2, 0], [3, 4, 0, 0]], np.int32)
BATCH = {"x": jnp.asarray(X), "context": jnp.asarray(CONTEXT)}
VARIABLES = jax.tree.map(lambda a: 2 * a, drawn(MODEL, BATCH))
REWARDS = {
    "prefix": PrefixReward(), "completions": RolloutReward(2), "sequence": SequenceReward(),
    "constant": ConstantReward(),
}  # fmt: skip
ALL = np.array(list(itertools.product(range(5), repeat=LENGTH)), np.int32)


def policy_step(tokens, context):
    """Of the model's policy, whose log-probabilities no reward sees."""
    return PolicyStep(
        tokens, None, (MODEL.generator, VARIABLES["generator"]), lambda x: MODEL.whole_logits(VARIABLES, x, context),
        KEY, Clock(), MODEL.end, MODEL.unknown, context, lambda x: MODEL.critic_logits(VARIABLES, x, context),
    )  # fmt: skip


def gradients(model, name, variables=VARIABLES, clock=Clock(), batch=BATCH):
    play = model.plays()[name]

    def loss(params):
        merged = {p: {**c, "params": params.get(p, c.get("params"))} for p, c in variables.items()}
        out = play.loss(merged, batch, KEY, clock)
        return out.value, out

    return jax.jit(jax.grad(loss, has_aux=True))({p: variables[p]["params"] for p in play.players})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mle", "critic", "policy", "teacher_forcing"])
def test_every_play_has_a_gradient_for_each_of_its_players(name):
    found, output = gradients(MODEL, name)
    assert set(found) == set(MODEL.plays()[name].players) and np.isfinite(output.value)
    for player, tree in found.items():
        # energies' scale apart, which softmax may ignore, everything that a player has takes part
        moved = [np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(tree)]
        assert all(moved), (player, jax.tree.map(lambda a: float(np.abs(a).max()), tree))


def test_the_schedule_is_five_steps_of_the_critic_for_one_of_the_generator():
    phases = MODEL.phases(25)
    assert [phase.steps for phase in phases] == [2, 3, 20]
    assert [list(phase.plays) for phase in phases] == [["mle"], ["critic"], ["critic", "policy", "teacher_forcing"]]
    rounds = phases[2].plays
    moves = {name: [t for t in range(10) if p.when is None or p.when(Clock(t, t))] for name, p in rounds.items()}
    assert moves == {"critic": list(range(10)), "policy": [4, 9], "teacher_forcing": [4, 9]}
    assert not phases[2].fresh_optimizers  # the critic goes on
    without = dataclasses.replace(MODEL, reward=ConstantReward()).phases(25)
    assert [(set(phase.plays), phase.steps) for phase in without] == [({"mle"}, 2), ({"policy", "teacher_forcing"}, 23)]


def test_unknown_words_are_never_sampled_and_the_policy_is_that_of_the_samples():
    variables = jax.tree.map(lambda a: a, VARIABLES)
    variables["generator"]["params"]["last"]["bias"] = np.array([0, 5, 0, 0, 0], np.float32)
    samples = np.asarray(MODEL.sample(variables, KEY, 300, CONTEXT[:1]))
    assert not (samples == 1).any() and len(np.unique(samples)) == 4
    free = dataclasses.replace(MODEL, unknown=None)
    assert (np.asarray(free.sample(variables, KEY, 300, CONTEXT[:1])) == 1).mean() > 0.5


@pytest.mark.parametrize(
    "reward", [pytest.param("completions", marks=pytest.mark.slow), "prefix", "sequence", "constant"]
)
def test_rewards_are_probabilities_of_the_critic(reward):
    tokens = MODEL.sample(VARIABLES, KEY, 6, CONTEXT)
    values = np.asarray(REWARDS[reward](policy_step(tokens, BATCH["context"])))
    whole = 1 / (1 + np.exp(-np.asarray(MODEL.whole_logits(VARIABLES, tokens, BATCH["context"]))))
    assert values.shape == (6, LENGTH)
    last = np.asarray(lengths(tokens, 0)) - 1
    assert (last < LENGTH - 1).any()
    if reward == "constant":
        np.testing.assert_array_equal(values, 0.5)
    elif reward == "sequence":
        np.testing.assert_allclose(values, np.broadcast_to(whole[:, None], values.shape), rtol=1e-5)
    else:  # the last token of a reply has the score of the reply
        np.testing.assert_allclose(values[np.arange(6), last], whole, rtol=1e-4)
        assert np.std(values[:, 0]) > 1e-3


def test_the_reward_of_a_prefix_does_not_depend_on_what_follows():
    tokens = np.array([[2, 3, 4, 0], [2, 3, 2, 3]], np.int32)
    values = PrefixReward()(policy_step(tokens, np.repeat(CONTEXT[:1], 2, 0)))
    np.testing.assert_allclose(values[0, :2], values[1, :2], rtol=1e-5)
    assert np.abs(values[0, 2:] - values[1, 2:]).min() > 1e-4


def test_prefixes_are_of_all_lengths_of_a_reply_and_whole_replies_otherwise():
    tokens = jnp.tile(X[:3], (400, 1))
    positions = np.asarray(MODEL._judged(tokens, KEY)).reshape(400, 3)
    for i, size in enumerate((3, 4, 2)):  # with the end token
        np.testing.assert_allclose(np.bincount(positions[:, i], minlength=size) / 400, 1 / size, atol=0.08)
    whole = dataclasses.replace(MODEL, reward=RolloutReward(2))
    np.testing.assert_array_equal(whole._judged(tokens[:3], KEY), [2, 3, 1])


@pytest.mark.slow
def test_a_lagging_policy_completes_replies_and_follows_the_generator():
    model = dataclasses.replace(MODEL, reward=RolloutReward(1, lag=0.75))
    variables = drawn(model, BATCH)
    before, params = variables["generator"]["lagging"], variables["generator"]["params"]
    entered = model.phases(25)[2].enter(variables, BATCH, KEY)["generator"]
    jax.tree.map(np.testing.assert_array_equal, entered["lagging"], params)
    _, output = gradients(model, "policy", variables)
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, before, params)
    for a, b in zip(jax.tree.leaves(output.memory["generator"]["lagging"]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_policy_gradient_is_that_of_the_expected_reward():
    """All replies in place of samples, their rewards times their number and their probability: no noise."""
    valid = ((token_mask(ALL, 0) > 0) | (ALL == 0)).all(1) & (ALL != 1).all(1)
    replies = ALL[np.asarray(valid)]
    context = jnp.repeat(BATCH["context"][:1], len(replies), 0)
    scores = jax.nn.sigmoid(MODEL.whole_logits(VARIABLES, replies, context[:1]))
    scores *= jnp.linspace(0, 1, len(scores))  # the critic's alone are nearly equal

    def probabilities(params):
        logits = MODEL.generator.apply({"params": params}, replies, context).at[..., 1].set(-jnp.inf)
        log_probs = jnp.take_along_axis(jax.nn.log_softmax(logits), replies[..., None], -1)[..., 0]
        return jnp.exp((token_mask(replies, 0) * log_probs).sum(1))

    params = VARIABLES["generator"]["params"]
    q = probabilities(params)
    assert q.sum() == pytest.approx(1, rel=1e-5)

    class Enumerated(AdversarialDialogue):
        def sample(self, *arguments, **keywords):
            return replies

    class Scaled(SequenceReward):
        def __call__(self, step):
            return jnp.broadcast_to((len(replies) * q * scores)[:, None], step.tokens.shape)

    model = Enumerated(MODEL.generator, critic=MODEL.critic, reward=Scaled(), baseline=0.0)

    def loss(params):
        variables = {**VARIABLES, "generator": {"params": params}}
        return model.policy_loss(variables, {"x": replies, "context": context}, KEY, Clock()).value

    found = jax.jit(jax.grad(loss))(params)
    exact = jax.jit(jax.grad(lambda params: -(probabilities(params) * scores).sum()))(params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_baselines_are_learned_or_earlier_rewards():
    _, output = gradients(MODEL, "policy")
    flat = dataclasses.replace(MODEL, baseline="mean")
    variables = drawn(flat, BATCH)
    assert set(variables) == {"generator", "critic"}
    variables["critic"]["rewards"]["mean"] = jnp.float32(0.4)
    _, output = gradients(flat, "policy", variables, Clock(moves=jnp.int32(3)))
    assert output.metrics["baseline"] == pytest.approx(0.4)
    mean, reward = (float(a) for a in (output.memory["critic"]["rewards"]["mean"], output.metrics["reward"]))
    assert mean == pytest.approx((3 * 0.4 + reward) / 4, rel=1e-5)
    # gradient descent on the learned one alone finds the constant reward
    model = dataclasses.replace(MODEL, reward=ConstantReward(0.7))
    variables, optimizer = VARIABLES, optax.adam(0.05)
    state = optimizer.init(variables["baseline"]["params"])
    step = jax.jit(lambda variables: gradients(model, "policy", variables))
    for _ in range(150):
        found, output = step(variables)
        updates, state = optimizer.update(found["baseline"], state)
        params = optax.apply_updates(variables["baseline"]["params"], updates)
        variables = {**variables, "baseline": {"params": params}}
    assert output.metrics["baseline"] == pytest.approx(0.7, abs=0.02)


def test_generator_and_baseline_have_a_rate_each():
    play = MODEL.plays()["policy"]
    params = {player: VARIABLES[player]["params"] for player in play.players}
    ones = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1e-3), params)
    updates, _ = play.optimizer.update(ones, play.optimizer.init(params), params)
    np.testing.assert_allclose(updates["baseline"]["bias"], -5e-4 * 1e-3, rtol=1e-5)
    np.testing.assert_allclose(updates["generator"]["last"]["bias"], -1e-2 * 1e-3, rtol=1e-5)


def test_a_learned_baseline_moves_nothing_but_itself():
    """The constant reward as its own baseline leaves the generator no gradient; the baseline's error would be one."""
    model = dataclasses.replace(MODEL, reward=ConstantReward(0.7))
    variables = jax.tree.map(lambda a: a, VARIABLES)
    variables["baseline"] = {"params": {"kernel": np.zeros((3, 1), np.float32), "bias": np.full(1, 0.7, np.float32)}}
    found, _ = gradients(model, "policy", variables)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(found["generator"])) < 1e-6


@pytest.mark.parametrize("reward", ["prefix", "sequence"])
def test_the_critic_learns_nothing_from_unknown_words(reward):
    """The generator has none: a critic could tell humans by them, and by nothing that its rewards depend on."""
    critic = NGramCritic((1,), 64, per_token=True)
    model = dataclasses.replace(MODEL, reward=REWARDS[reward], critic=critic)
    variables = drawn(model, BATCH)
    unknown = int(hashed_n_grams(jnp.array([[1]]), (1,))[0, 0, 0]) % 64
    replies = BATCH["x"].at[:, 1].set(1)
    for x, learns in ((replies, False), (replies.at[0].set(BATCH["x"][0]), True)):
        found, output = gradients(model, "critic", variables, batch={**BATCH, "x": x})
        assert np.isfinite(output.value) and found["critic"]["weights"][unknown] == 0
        if not learns and reward == "sequence":  # all have one
            assert output.metrics["accuracy"] <= 0.5 and (found["critic"]["weights"] >= 0).all()
    free = dataclasses.replace(model, unknown=None)
    assert gradients(free, "critic", variables, batch={**BATCH, "x": replies})[0]["critic"]["weights"][unknown] != 0


@pytest.mark.slow
def test_evaluation_and_invalid_fields():
    metrics = MODEL.evaluate(VARIABLES, BATCH, KEY)
    assert set(metrics) == {"nll", "nll_per_token", "critic_accuracy", "critic_context_preference"}
    blind = dataclasses.replace(MODEL, critic=TurnCritic(5, 3, with_context=False))
    assert blind.evaluate(drawn(blind, BATCH), BATCH, KEY)["critic_context_preference"] == 0.5
    with pytest.raises(ValueError, match="`baseline`"):
        dataclasses.replace(MODEL, baseline="average")
    with pytest.raises(ValueError, match="`critic_moves`"):
        dataclasses.replace(MODEL, critic_moves=0)
