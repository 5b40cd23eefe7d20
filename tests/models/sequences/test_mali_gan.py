"""MaliGAN's mixed training against sums over all sequences of three tokens of a vocabulary of three."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Model, model_phases
from jaxgen.models.sequences import ConstantReward, MaliGANObjective, MixedMaliGAN, PolicyGradient
from jaxgen.nets import TokenRNN
from jaxgen.training import Settings, fit
from jaxgen.training.description import build, describe
from tests.models.sequences.test_seq_gan import BATCH, CRITIC, KEY, LENGTH, LOG_PROBS, SEQUENCES, WORDS, drawn

MODEL = MixedMaliGAN(
    TokenRNN(WORDS, LENGTH, 4, 3), CRITIC, sequences=8, completions=2, released=1, baseline=0.5, critic_batch=None
)
VARIABLES = drawn(MODEL)


def gradient(model, kept, variables=VARIABLES, batch=BATCH, key=KEY):
    def loss(params):
        given = {**variables, "generator": {"params": params}}
        return model.mixed_loss(given, batch, key, Clock(), kept).value

    return jax.flatten_util.ravel_pytree(jax.grad(loss)(variables["generator"]["params"]))[0]


@pytest.mark.slow
@pytest.mark.parametrize("kept", [1, 2])
def test_prefixes_are_learned_and_completions_weighed_among_themselves(kept):
    """The mean over many completions, against the sum over all pairs of completions of each prefix."""
    model, x = MODEL, BATCH["x"]
    logits = np.asarray(model.critic_logits(VARIABLES, SEQUENCES), np.float64)
    p = np.exp(LOG_PROBS)
    pairs = np.zeros((len(x), len(SEQUENCES)))  # the expected coefficient of each completion's log-probability
    for b, row in enumerate(x):
        same = np.flatnonzero((SEQUENCES[:, :kept] == row[:kept]).all(1))
        of_completion = p[same, kept:].prod(1)
        assert of_completion.sum() == pytest.approx(1, rel=1e-5)
        for i, j in np.ndindex(len(same), len(same)):
            w = np.exp(logits[same[[i, j]]])
            w /= w.sum()
            both = of_completion[i] * of_completion[j]
            pairs[b, same[i]] += both * (w[0] - 0.25)
            pairs[b, same[j]] += both * (w[1] - 0.25)

    def expected(params):
        log_probs = model.log_probs({"generator": {"params": params}}, SEQUENCES)
        of_data = model.log_probs({"generator": {"params": params}}, x)
        completed = (jnp.asarray(pairs) * log_probs[:, kept:].sum(1)).sum() / len(x)
        return -completed - of_data[:, :kept].sum(1).mean()

    exact = jax.flatten_util.ravel_pytree(jax.grad(expected)(VARIABLES["generator"]["params"]))[0]
    many = dataclasses.replace(model, sequences=2 * 4 * 2000)
    rows = {"x": np.tile(x, (2000, 1))}
    found = jax.jit(lambda: gradient(many, kept, batch=rows))()
    assert jnp.linalg.norm(found - exact) < 0.05 * jnp.linalg.norm(exact)
    # the part of the completions is seen: without it the difference is larger
    alone = jax.grad(lambda q: -model.log_probs({"generator": {"params": q}}, x)[:, :kept].sum(1).mean())
    alone = jax.flatten_util.ravel_pytree(alone(VARIABLES["generator"]["params"]))[0]
    assert jnp.linalg.norm(exact - alone) > 5 * jnp.linalg.norm(exact - found)


def test_samples_of_the_critic_begin_as_the_data():
    kept = MODEL.sample(VARIABLES, KEY, 4, prefix=BATCH["x"][:, :2])
    np.testing.assert_array_equal(kept[:, :2], BATCH["x"][:, :2])
    model = dataclasses.replace(MODEL, critic=dataclasses.replace(CRITIC, dropout=0.0), l2=0.0)
    for n in (0, 2):
        prefix = BATCH["x"][:, :n] if n else None
        fake = model.sample(VARIABLES, jax.random.split(KEY, 3)[0], 4, prefix=prefix)
        real, fake = (model.critic_logits(VARIABLES, x) for x in (BATCH["x"], fake))
        expected = (jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()) / 2
        value = model.critic_loss(VARIABLES, BATCH, KEY, Clock(), kept=n).value
        assert value == pytest.approx(float(expected), rel=1e-4)


def test_prefixes_become_shorter_by_phases():
    model = dataclasses.replace(MODEL, mle_steps=4, critic_steps=3, moves_per_round=2, critic_batch=2)
    phases = model_phases(model, 20)
    assert [(set(p.plays), p.steps) for p in phases] == [
        ({"mle"}, 4), ({"critic"}, 3), ({"policy", "critic"}, 4), ({"policy", "critic"}, 4), ({"policy", "critic"}, 5)
    ]  # fmt: skip
    kept = [getattr(p.plays["policy"].loss, "keywords", {}).get("kept", 0) for p in phases[2:]]
    of_critic = [getattr(p.plays["critic"].loss, "keywords", {}).get("kept", 0) for p in phases[2:]]
    assert kept == of_critic == [2, 1, 0]
    assert not any(p.fresh_optimizers for p in phases[2:])
    assert [(set(p.plays), p.steps) for p in model_phases(model, 4)] == [({"mle"}, 4)]
    # five tokens in steps of two: 3, 1, 0
    longer = dataclasses.replace(model, generator=TokenRNN(WORDS, 5, 4, 3), released=2)
    stages = model_phases(longer, 37)[2:]
    assert [getattr(p.plays["policy"].loss, "keywords", {}).get("kept", 0) for p in stages] == [3, 1, 0]


def test_stages_with_prefixes_need_a_critic():
    with pytest.raises(ValueError, match="`objective` must use a critic"):
        dataclasses.replace(MODEL, objective=PolicyGradient(ConstantReward()))


def test_every_play_moves_its_player():
    def loss(params):
        return MODEL.mixed_loss({**VARIABLES, "generator": {"params": params}}, BATCH, KEY, Clock(), 1).value

    grads = jax.jit(jax.grad(loss))(VARIABLES["generator"]["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path


def test_it_is_a_model_that_describes_itself():
    model = dataclasses.replace(MODEL, objective=MaliGANObjective(2, ramp=3), end=0)
    assert isinstance(model, Model) and build(describe(model)) == model
    with pytest.raises(ValueError, match="completions"):
        dataclasses.replace(model, completions=1)


@pytest.mark.slow
def test_runs_resume_within_and_between_stages(tmp_path):
    model = dataclasses.replace(MODEL, mle_steps=2, critic_steps=2, moves_per_round=2, critic_batch=2)
    settings = Settings(steps=16, batch_size=4, ema=0.0, steps_per_call=2, checkpoint_every=100, eval_every=100)
    whole = fit(model, {"x": SEQUENCES}, settings, progress=False).variables
    for stop in (8, 10):
        folder = tmp_path / str(stop)
        fit(model, {"x": SEQUENCES}, dataclasses.replace(settings, steps=stop), phases=model.phases(16)[: 3] + tuple(
            phase._replace(steps=stop - 8) for phase in model.phases(16)[3:4] if stop > 8
        ), out=folder, progress=False)
        resumed = fit(model, {"x": SEQUENCES}, settings, out=folder, resume=True, progress=False).variables
        difference = jax.tree.map(jnp.subtract, resumed["generator"], whole["generator"])
        assert optax.tree.norm(difference) == 0
