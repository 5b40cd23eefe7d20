"""The recurrent conditional GAN: a GAN whose critic rates each step, conditioned at each step."""

import jax
import numpy as np
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.models.gans import GAN
from jaxgen.models.sequences import rc_gan
from jaxgen.training.description import build, describe
from tests.models.parameters import KEY, drawn

MODEL = rc_gan((5, 2), width=4, latent_dim=3, critic_steps=2)
RNG = np.random.default_rng(0)
BATCH = {
    "x": RNG.uniform(-1, 1, (6, 5, 2)).astype(np.float32),
    "context": np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 6)],
}
VARIABLES = drawn(MODEL, BATCH)


def test_losses_are_means_over_steps():
    output = MODEL.critic_output(VARIABLES, BATCH["x"], BATCH["context"])
    assert output.score.shape == (6, 5) and output.features.shape == (6, 5, 4)
    kernel = VARIABLES["critic"]["params"]["head"]["out"]
    expected = np.asarray(output.features) @ kernel["kernel"] + kernel["bias"]
    np.testing.assert_allclose(output.score, expected[..., 0], rtol=1e-5, atol=1e-6)
    z_key = jax.random.split(KEY, 8)[0]
    fake = MODEL.decode(VARIABLES, MODEL.noise(z_key, 6), BATCH["context"])
    on_fake = MODEL.score(VARIABLES, fake, BATCH["context"])
    value = np.logaddexp(0, -output.score).mean() + np.logaddexp(0, on_fake).mean()
    np.testing.assert_allclose(MODEL.critic_loss(VARIABLES, BATCH, KEY, Clock()).value, value, rtol=1e-5)


def test_every_step_has_its_noise_its_class_and_its_rating():
    z = MODEL.noise(KEY, 6)
    assert z.shape == (6, 5, 3) and np.std(z) == pytest.approx(1, abs=0.2)
    fake = MODEL.decode(VARIABLES, z, BATCH["context"])
    assert fake.shape == (6, 5, 2) and np.abs(fake).max() < 1
    other = np.roll(BATCH["context"], 1, 1)
    assert (np.asarray(MODEL.decode(VARIABLES, z, other)) != np.asarray(fake)).all()
    # causal: a step's value depends on no later noise, its rating on no later value
    changed = z.at[:, 3].add(1)
    differs = np.asarray(MODEL.decode(VARIABLES, changed, BATCH["context"]) != fake).all((0, 2))
    np.testing.assert_array_equal(differs, [False, False, False, True, True])
    rated = MODEL.score(VARIABLES, np.where(np.arange(5)[:, None] == 3, 0, BATCH["x"]), BATCH["context"])
    same = MODEL.score(VARIABLES, BATCH["x"], BATCH["context"])
    np.testing.assert_array_equal(np.asarray(rated != same).all(0), [False, False, False, True, True])


def test_each_play_moves_its_player_by_the_authors_optimizers():
    for name, play in MODEL.plays().items():
        gradient = jax.jit(jax.grad(lambda v, play=play: play.loss(v, BATCH, KEY, Clock()).value))(VARIABLES)[name]
        assert all(np.abs(leaf).max() > 1e-8 for leaf in jax.tree.leaves(gradient))
        updates, _ = play.optimizer.update(gradient, play.optimizer.init(VARIABLES[name]), VARIABLES[name])
        scale = 0.1 if name == "critic" else None
        for g, u in zip(jax.tree.leaves(gradient), jax.tree.leaves(updates), strict=True):
            expected = -scale * g if scale else -1e-3 * g / (np.abs(g) + 1e-8)  # Adam's first step
            np.testing.assert_allclose(u, expected, rtol=1e-3, atol=1e-9)
    assert MODEL.plays()["generator"].when.n == 2 and MODEL.plays()["critic"].accumulates


def test_it_is_a_gan_and_describes_itself():
    assert isinstance(MODEL, (GAN, Model)) and build(describe(MODEL)) == MODEL
    without = rc_gan((5, 2), width=4)
    variables = drawn(without, {"x": BATCH["x"]})
    assert without.sample(variables, KEY, 3).shape == (3, 5, 2)
    assert rc_gan((5, 2), latent_dim=3).latent_dim == 3 == rc_gan((5, 2), latent_dim=3).prior.event_shape[1]
    assert set(without.evaluate(variables, {"x": BATCH["x"]}, KEY)) == {"score_gap", "sliced_wasserstein"}
