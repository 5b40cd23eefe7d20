"""The conditional sequence GAN: its policy gradient against enumeration, rewards, phases, the critic's pretraining."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import jaxgen
from jaxgen.contracts import Clock
from jaxgen.data import ArraySource, Splits
from jaxgen.metrics import bleu
from jaxgen.models.forward import forward
from jaxgen.models.sequences import ConditionalSequenceGAN
from jaxgen.models.sequences.conditional_gan import DECAY, PRETRAINING
from jaxgen.nets import AttentionSeq2Seq, PairCritic, TokenConvTower

KEY = jax.random.key(0)
CRITIC = PairCritic(TokenConvTower(3, ((1, 4), (2, 4)), 3), TokenConvTower(4, ((1, 4), (2, 4)), 3), width=4)
MODEL = ConditionalSequenceGAN(
    AttentionSeq2Seq(3, 4, 3, width=4), critic=CRITIC, mle_steps=2, critic_steps=3, rollouts=0, unknown=None
)
CONTEXT = np.array([[2, 3, 0], [3, 0, 0], [2, 2, 0], [3, 3, 0]], np.int32)
TOKENS = np.array([[1, 2, 0], [2, 2, 0], [1, 0, 0], [2, 1, 0]], np.int32)
BATCH = {"x": TOKENS, "context": CONTEXT}
EVERY = np.array(sorted({
    tuple(y[: y.index(0)] + (0,) * (3 - y.index(0)) if 0 in y else y) for y in itertools.product(range(3), repeat=3)
}), np.int32)  # fmt: skip
"""All sequences of up to three tokens that end with 0."""


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(MODEL.init, KEY, BATCH)
    drawn = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    drawn["critic"][PRETRAINING] = {"accuracy": jnp.float32(0.5), "reached": jnp.bool_(False)}
    return drawn


def policy_loss(model, variables, samples, batch, params=None):
    """The policy's loss with these samples, [B, T], traced or not, in place of its own."""

    @dataclasses.dataclass(frozen=True)
    class Given(type(model)):
        def sample(self, variables, key, n, context, temperature=1.0, top_k=None):
            return jnp.asarray(samples)

    given = Given(**{field.name: getattr(model, field.name) for field in dataclasses.fields(model)})
    if params is not None:
        variables = {**variables, "generator": {"params": params}}
    return given.policy_loss(variables, batch, KEY, Clock())


@pytest.mark.parametrize("row", range(2))
def test_the_expected_policy_gradient_is_that_of_the_expected_reward(variables, row):
    """A loss with probabilities in place of their logarithms, as in the authors' code, has another gradient."""
    n = len(EVERY)
    context, reference = (np.broadcast_to(array[row], (n, 3)) for array in (CONTEXT, TOKENS))
    rewards = MODEL.rewards(variables, EVERY, context, reference)["reward"]
    assert rewards.std() > 0.02

    def probabilities(params):
        generator = {"params": params}
        return jnp.exp(MODEL.log_prob({**variables, "generator": generator}, EVERY, context))

    params = variables["generator"]["params"]
    q = probabilities(params)
    np.testing.assert_allclose(q.sum(), 1, rtol=1e-5)

    @jax.jit
    @jax.grad
    def gradient(params):
        # each sequence alone, weighted by its probability: the loss is a mean over the batch
        def one(y):
            batch = {"x": reference[:1], "context": context[:1]}
            return policy_loss(MODEL, variables, y[None], batch, params).value

        return (q * jax.vmap(one)(EVERY)).sum()

    expected = jax.grad(lambda params: -(probabilities(params) * rewards).sum())(params)
    got = gradient(params)
    wrong = jax.grad(lambda params: -(q * probabilities(params) * rewards).sum())(params)
    flat = [np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in (expected, got, wrong)]
    np.testing.assert_allclose(flat[1], flat[0], rtol=1e-3, atol=1e-5)
    assert np.abs(flat[2] - flat[0]).max() > 10 * np.abs(flat[1] - flat[0]).max() + 1e-3
    # and the derivative along it by finite differences
    step = 1e-3
    moved = [jax.tree.map(lambda p, g, s=s: p + s * step * g, params, expected) for s in (1, -1)]
    values = [-(probabilities(p) * rewards).sum() for p in moved]
    np.testing.assert_allclose((values[0] - values[1]) / (2 * step), (flat[0] ** 2).sum(), rtol=0.02)


def test_rewards_join_the_critic_and_bleu(variables):
    model = dataclasses.replace(MODEL, critic_weight=0.25, baseline=0.4)
    samples, contexts = np.tile(EVERY[4:8], (2, 1)), np.tile(CONTEXT, (2, 1))
    parts = model.rewards(variables, samples, contexts, TOKENS)
    critic = expit(forward(CRITIC, variables["critic"], samples, contexts)[0])
    of_bleu = [
        bleu([[t for t in TOKENS[i % 4].tolist() if t]], [[t for t in y.tolist() if t]]) for i, y in enumerate(samples)
    ]
    np.testing.assert_allclose(parts["critic"], critic, rtol=1e-5)
    np.testing.assert_allclose(parts["bleu"], of_bleu, rtol=1e-5)
    np.testing.assert_allclose(parts["reward"], 0.25 * (critic - 0.4) + 0.75 * np.array(of_bleu), rtol=1e-5, atol=1e-7)


def test_rewards_after_the_end_do_not_count(variables):
    """Padding of samples and of references changes neither the loss nor its gradient."""
    wide = AttentionSeq2Seq(3, 4, 6, width=4)
    model = dataclasses.replace(MODEL, critic_weight=0.0, generator=wide)
    samples, results, params = [[0, 0, 0], [1, 0, 0], [2, 2, 0]], [], variables["generator"]["params"]
    for width in (3, 6):
        rows = [row + [0] * (width - 3) for row in samples]
        batch = {"x": np.pad(TOKENS, ((0, 0), (0, width - 3)))[:3], "context": CONTEXT[:3]}
        loss = partial(policy_loss, model, variables, np.array(rows), batch)
        results.append(jax.jit(jax.value_and_grad(lambda params, loss=loss: loss(params).value))(params))
    assert abs(results[0][0]) > 0.01
    for result in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), results[0], result)


@pytest.mark.slow
def test_rollouts_are_scored_with_the_reference_of_their_own_source(variables):
    model = dataclasses.replace(MODEL, rollouts=2, critic_weight=0.0)
    # a generator that ends wherever it is: what follows a prefix is known
    params = {**variables["generator"]["params"], "last": {"kernel": np.zeros((4, 3)), "bias": np.array([40.0, 0, 0])}}
    ending = {**variables, "generator": {"params": jax.tree.map(jnp.float32, params)}}
    samples = np.array([[1, 0, 0], [2, 0, 0], [1, 0, 0], [2, 0, 0]], np.int32)
    references = np.array([[1, 0, 0], [1, 2, 0], [2, 0, 0], [2, 2, 0]], np.int32)
    loss = policy_loss(model, ending, samples, {"x": references, "context": CONTEXT})
    pairs = zip(references.tolist(), samples[:, 0].tolist(), strict=True)
    scores = np.array([bleu([[t for t in reference if t]], [[word]]) for reference, word in pairs])
    assert len(np.unique(scores.round(6))) >= 3
    log_probs = np.asarray(model.log_probs(ending, samples, CONTEXT))
    # two tokens count, the word and the end
    np.testing.assert_allclose(loss.value, -(scores[:, None] * log_probs[:, :2]).sum(1).mean(), rtol=1e-4)
    np.testing.assert_allclose(loss.metrics["reward"], scores.mean(), rtol=1e-5)


@pytest.mark.slow
def test_every_play_moves_its_player(variables):
    model = dataclasses.replace(MODEL, rollouts=1)
    plays = model.plays()
    assert set(plays) == {"mle", "critic_pretraining", "critic", "policy", "teacher_forcing"}
    for name, play in plays.items():
        (player,) = play.players

        def value(params, play=play, player=player):
            changed = {**variables, player: {**variables[player], "params": params}}
            return play.loss(changed, BATCH, KEY, Clock()).value

        gradient = jax.jit(jax.grad(value))(variables[player]["params"])
        sizes = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)]
        assert max(sizes) > 1e-4 and np.isfinite(sizes).all(), name


@pytest.mark.slow
def test_the_critic_stops_at_its_accuracy(variables):
    play = MODEL.plays()["critic_pretraining"]
    loss = MODEL.critic_pretraining_loss(variables, BATCH, KEY, Clock())
    value, accuracy = MODEL._cross_entropy(variables, BATCH, KEY)
    running = DECAY * 0.5 + (1 - DECAY) * float(accuracy)
    after = loss.memory["critic"][PRETRAINING]["accuracy"]
    np.testing.assert_allclose([loss.value, after], [value, running], rtol=1e-5)
    assert loss.metrics["reached"] == 0
    low = dataclasses.replace(MODEL, accuracy=0.4)
    memory = low.critic_pretraining_loss(variables, BATCH, KEY, Clock()).memory["critic"]
    assert memory[PRETRAINING]["reached"]
    later = {**variables, "critic": {**variables["critic"], **memory}}

    def stopped(params):
        critic = {**later["critic"], "params": params}
        return low.critic_pretraining_loss({**later, "critic": critic}, BATCH, jax.random.key(1), Clock()).value

    params = variables["critic"]["params"]
    value, gradient = jax.value_and_grad(stopped)(params)
    assert value == 0 and not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    updates, _ = play.optimizer.update(gradient, play.optimizer.init(params), params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates))
    again = low.critic_pretraining_loss(later, BATCH, jax.random.key(1), Clock()).memory["critic"][PRETRAINING]
    assert again["accuracy"] == memory[PRETRAINING]["accuracy"] and again["reached"]


def test_phases_follow_each_other(variables):
    phases = MODEL.phases(9)
    assert [(tuple(phase.plays), phase.steps) for phase in phases] == [
        (("mle",), 2), (("critic_pretraining",), 3), (("critic", "policy", "teacher_forcing"), 4),
    ]  # fmt: skip
    assert [phase.steps for phase in MODEL.phases(4)] == [2, 2]
    assert [tuple(phase.plays) for phase in dataclasses.replace(MODEL, mle_steps=0, critic_steps=0).phases(4)] == [
        ("critic", "policy", "teacher_forcing")
    ]


@pytest.mark.slow
def test_a_critic_of_the_targets_alone_does_not_see_shuffled_sources(variables):
    model = dataclasses.replace(MODEL, critic=dataclasses.replace(CRITIC, source=None))
    drawn = model.init(KEY, BATCH)
    metrics = model.evaluate({**variables, "critic": drawn["critic"]}, BATCH, KEY)
    assert metrics["critic_accuracy"] == metrics["critic_accuracy_shuffled"]
    assert set(metrics) == {"nll", "nll_per_token", "critic_accuracy", "critic_accuracy_shuffled"}


def test_numbers_out_of_range_are_refused():
    for fields, message in (
        ({"critic_weight": 2.0}, "`critic_weight` must be at least 0 and at most 1"),
        ({"accuracy": -1.0}, "`accuracy` must be at least 0"),
        ({"rollouts": -1}, "`rollouts` must be integers of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(MODEL, **fields)


@pytest.mark.slow
def test_a_run_through_all_phases_resumes_bit_for_bit(tmp_path):
    model = dataclasses.replace(MODEL, rollouts=1)
    rng = np.random.default_rng(0)
    x, context = (np.pad(rng.integers(1, k, (32, 2)), ((0, 0), (0, 1))).astype(np.int32) for k in (3, 4))
    data = Splits(*(ArraySource({"x": x, "context": context}, levels=3) for _ in range(3)))
    settings = jaxgen.training.Settings(
        steps=8, batch_size=8, eval_every=2, checkpoint_every=1, log_every=1, steps_per_call=1, ema=0.5
    )
    calls = []

    def interrupt(trained):
        calls.append(trained)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {}

    quiet = {"host_metrics": lambda trained: {}, "progress": False}
    jaxgen.fit(model, data, settings, out=tmp_path / "whole", **quiet)
    with pytest.raises(KeyboardInterrupt):
        jaxgen.fit(model, data, settings, out=tmp_path / "part", host_metrics=interrupt, progress=False)
    jaxgen.fit(model, data, settings, out=tmp_path / "part", resume=True, **quiet)
    whole, part = (jaxgen.load(tmp_path / name, which="last").variables for name in ("whole", "part"))
    jax.tree.map(np.testing.assert_array_equal, whole, part)
    assert set(whole) == {"generator", "critic"}
