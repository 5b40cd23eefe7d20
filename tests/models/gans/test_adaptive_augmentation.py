"""Adaptive augmentation: what is augmented, and how the probability follows the critic's overfitting."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.gans import BEGAN, GAN, AdaptiveAugmentation
from jaxgen.nets import MLP
from jaxgen.training.description import build, describe
from tests.models.gans.linear import NET, PRIOR
from tests.models.parameters import KEY, batch_for, drawn


def add_ten(x, key, step):
    return x + 10


TERM = AdaptiveAugmentation((add_ten,), target=0.5, images=120, every=2, most=0.9)
GAME = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, terms=(TERM,))
BATCH = batch_for(GAME)
START = drawn(GAME, BATCH)


def at(probability, signs=0.0, bias=0.0):
    """The critic's score is `bias` for all examples."""
    memory = {"probability": jnp.float32(probability), "signs": jnp.float32(signs)}
    head = {"out": {"kernel": jnp.zeros((2, 1)), "bias": jnp.full(1, bias)}}
    return {**START, "critic": {"params": {"head": head}, "augmentation": memory}}


loss = jax.jit(lambda variables, moves: GAME.critic_loss(variables, BATCH, KEY, Clock(moves, moves, moves)))


@pytest.mark.parametrize(
    ("bias", "probability", "after"),
    [
        (1.0, 0.2, 0.2 + 2 * 6 / 120),  # every second move, by the fraction of 120 images that two moves see
        (-1.0, 0.2, 0.2 - 2 * 6 / 120),
        (-1.0, 0.05, 0.0),
        (1.0, 0.85, 0.9),
    ],
)
def test_the_probability_rises_while_the_critic_takes_training_examples_for_data(bias, probability, after):
    first = loss(at(probability, bias=bias), 0)
    memory = first.memory["critic"]["augmentation"]
    assert float(memory["probability"]) == pytest.approx(probability)
    assert float(memory["signs"]) == np.sign(bias) == float(first.metrics["overfitting"])
    second = loss(at(probability, float(memory["signs"]), bias), 1)
    memory = second.memory["critic"]["augmentation"]
    assert float(memory["probability"]) == pytest.approx(after, abs=1e-6) and float(memory["signs"]) == 0
    assert float(second.value) == pytest.approx(float(first.value))


def test_the_mean_over_moves_decides():
    # signs of +1 and 0 are at the target, of +1 and -1 below it
    steady = loss(at(0.2, 1.0, 0.0), 1).memory["critic"]["augmentation"]
    below = loss(at(0.2, 1.0, -1.0), 1).memory["critic"]["augmentation"]
    assert float(steady["probability"]) == pytest.approx(0.2) and float(below["probability"]) == pytest.approx(0.1)


def test_data_and_samples_are_augmented_each_with_the_probability():
    x = jnp.zeros((4000, 2))
    y = TERM.transform(at(0.3), x, KEY)
    assert set(np.unique(y)) == {0.0, 10.0} and (y[:, 0] == y[:, 1]).all()
    assert float((y[:, 0] == 10).mean()) == pytest.approx(0.3, abs=0.03)
    twice = dataclasses.replace(TERM, augmentations=(add_ten, add_ten)).transform(at(0.3), x, KEY)
    fractions = [float((twice[:, 0] == value).mean()) for value in (0, 10, 20)]
    np.testing.assert_allclose(fractions, [0.49, 0.42, 0.09], atol=0.04)
    np.testing.assert_array_equal(TERM.transform(at(0.0), x, KEY), x)


@pytest.mark.slow
def test_both_plays_of_the_game_show_the_critic_augmented_images():
    """The critic's score is the sum of an example: it grows by 20 where all are augmented."""

    def summing(probability):
        variables = at(probability)
        head = {"out": {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}}
        return {**variables, "critic": {**variables["critic"], "params": {"head": head}}}

    means = []
    for probability in (0.0, 1.0):
        variables = summing(probability)
        critic = loss(variables, 0).metrics
        generator = jax.jit(lambda v: GAME.generator_loss(v, BATCH, KEY, Clock()))(variables).metrics
        means.append([critic["real"], critic["fake"], generator["score"]])
    np.testing.assert_allclose(np.subtract(means[1], means[0]), 20, rtol=1e-4)
    # samples and evaluations are as they are
    evaluate = jax.jit(lambda v: GAME.evaluate(v, BATCH, KEY))
    np.testing.assert_allclose(evaluate(summing(0.0))["score_gap"], evaluate(summing(1.0))["score_gap"])


@pytest.mark.slow
def test_a_fixed_probability_stays_and_games_with_a_step_of_their_own_augment_too():
    fixed = dataclasses.replace(GAME, terms=(dataclasses.replace(TERM, initial=0.4, adaptive=False),))
    variables = fixed.init(KEY, BATCH)
    assert float(variables["critic"]["augmentation"]["probability"]) == pytest.approx(0.4)
    out = fixed.critic_loss(variables, BATCH, KEY, Clock(1, 1, 1))
    assert "critic" not in out.memory and float(out.metrics["probability"]) == pytest.approx(0.4)
    net = MLP((3,))
    game = BEGAN(net, net, (2, 2, 1), decoder=net, latent_dim=2, levels=5, terms=(AdaptiveAugmentation(images=100),))
    batch = batch_for(game)
    losses = jax.jit(lambda v: [play.loss(v, batch, KEY, Clock()).value for play in game.plays().values()])
    assert np.isfinite(losses(drawn(game, batch))).all()


def test_it_can_be_written_down():
    term = AdaptiveAugmentation(images=7)
    assert build(describe(term)) == term and hash(term) == hash(build(describe(term)))
    with pytest.raises(ValueError, match="`initial` must be"):
        AdaptiveAugmentation(initial=0.5, most=0.3)
