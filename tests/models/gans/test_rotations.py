"""The rotation term of the self-supervised GAN, on networks without layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.gans import GAN, Rotations
from jaxgen.models.gans.rotations import rotated
from tests.models.gans.linear import CONTEXT, NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, batch_for, drawn

TERM = Rotations(0.7, 0.3, fraction=3)
GAME = GAN(NET, NET, (2, 2, 1), latent_dim=2, prior=PRIOR, terms=(TERM,))
BATCH = batch_for(GAME)
X = BATCH["x"]
AT = drawn(GAME, BATCH)


def turned(x):
    """The first two examples by all four angles, and the angles, by NumPy."""
    return np.concatenate([np.rot90(x[:2], r, (1, 2)) for r in range(4)]), np.repeat(np.arange(4), 2)


def cross_entropy(params, x):
    images, labels = [x[:2]], np.repeat(np.arange(4), 2)
    for _ in range(3):
        # a quarter turn anticlockwise, of pixels (a b; c d) to (b d; a c)
        a, b, c, d = jnp.moveaxis(images[-1].reshape(2, 4), 1, 0)
        images.append(jnp.stack([b, d, a, c], 1).reshape(2, 2, 2, 1))
    features = jnp.concatenate(images).reshape(8, 4)
    log_q = jax.nn.log_softmax(linear(params["rotation"], features))
    return -log_q[jnp.arange(8), labels].mean()


def test_rotations_are_quarter_turns():
    images, labels = turned(X)
    np.testing.assert_array_equal(rotated(jnp.asarray(X[:2])), images)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_critic_tells_rotations_of_data():
    def expected(params):
        flat = params["critic"]
        on_real = linear(flat, X.reshape(6, 4))[:, 0]
        on_fake = linear(flat, linear(params["generator"], Z))[:, 0]
        return jnp.logaddexp(-on_real, 0).mean() + jnp.logaddexp(on_fake, 0).mean() + 0.7 * cross_entropy(params, X)

    play = GAME.plays()["critic"]
    assert play.players == ("critic", "rotation") and not play.accumulates
    out = as_written(play, AT, BATCH, expected)
    params = {player: v["params"] for player, v in AT.items()}
    assert float(out.metrics["rotation_real"]) == pytest.approx(float(cross_entropy(params, X)), rel=1e-4)


def test_the_generator_makes_rotations_of_its_samples_easy_to_tell():
    def expected(params):
        fake = linear(params["generator"], Z)
        on_fake = linear(params["critic"], fake)[:, 0]
        return jnp.logaddexp(-on_fake, 0).mean() + 0.3 * cross_entropy(params, fake.reshape(6, 2, 2, 1))

    play = GAME.plays()["generator"]
    assert play.players == ("generator",)
    as_written(play, AT, BATCH, expected)


def test_contexts_turn_with_their_examples():
    batch = {**BATCH, "context": CONTEXT}
    variables = drawn(GAME, batch)
    losses = jax.jit(lambda v: GAME.critic_loss(v, batch, KEY, Clock()))(variables)
    assert np.isfinite(losses.value)


def test_only_square_images_of_one_example_turn():
    with pytest.raises(ValueError, match="square images"):
        dataclasses.replace(GAME, event_shape=(2, 3, 1))
    with pytest.raises(ValueError, match="packing=1"):
        dataclasses.replace(GAME, packing=2)
