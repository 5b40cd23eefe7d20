import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.gans import GAN, ClassLoss
from tests.models.gans.linear import CONTEXT, NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, batch_for, drawn

TERM = ClassLoss(3, weight=0.7)
GAME = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, terms=(TERM,))
X = batch_for(GAME)["x"]
BATCH = {"x": X, "context": CONTEXT}
VARIABLES = drawn(GAME, BATCH)


def class_loss(params, x):
    return -(jax.nn.log_softmax(linear(params["classifier"], x)) * CONTEXT).sum(-1).mean()


def samples(params):
    return linear(params["generator"], jnp.concatenate([Z, CONTEXT], -1))


@pytest.mark.slow
def test_critic_and_classifier_learn_the_classes_of_data_and_of_samples():
    # the critic is linear in x itself, which is all of its features
    def expected(params):
        on_real, on_fake = (linear(params["critic"], x)[:, 0] for x in (X, samples(params)))
        game = jnp.logaddexp(-on_real, 0).mean() + jnp.logaddexp(on_fake, 0).mean()
        return game + 0.7 * (class_loss(params, X) + class_loss(params, samples(params)))

    play = GAME.plays()["critic"]
    assert play.players == ("critic", "classifier")
    figures = as_written(play, VARIABLES, BATCH, expected).metrics
    params = {player: v["params"] for player, v in VARIABLES.items()}
    assert float(figures["class_real"]) == pytest.approx(float(class_loss(params, X)), rel=1e-4)
    assert float(figures["class_fake"]) == pytest.approx(float(class_loss(params, samples(params))), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("given", "weight"), [(None, 0.7), (0.2, 0.2), (0.0, 0.0)])
def test_the_generator_gains_by_classes_that_can_be_told(given, weight):
    model = dataclasses.replace(GAME, terms=(dataclasses.replace(TERM, generator_weight=given),))

    def expected(params):
        on_fake = linear(params["critic"], samples(params))[:, 0]
        return jnp.logaddexp(-on_fake, 0).mean() + weight * class_loss(params, samples(params))

    play = model.plays()["generator"]
    assert play.players == ("generator",)
    as_written(play, VARIABLES, BATCH, expected)


@pytest.mark.slow
def test_classes_are_read_off_rows_and_counted_against_those_asked_for():
    log_p, figures, score, other = jax.jit(
        lambda v: (
            TERM.classify(v, GAME.critic_output(v, X)), GAME.evaluate(v, BATCH, KEY),
            GAME.score(v, X, CONTEXT), GAME.score(v, X, jnp.roll(CONTEXT, 1, 0)),
        )
    )(VARIABLES)  # fmt: skip
    params, labels = {player: v["params"] for player, v in VARIABLES.items()}, CONTEXT.argmax(-1)
    np.testing.assert_allclose(log_p, jax.nn.log_softmax(linear(params["classifier"], X)), rtol=1e-4, atol=1e-6)
    seen = {"accuracy": X, "fake_accuracy": np.asarray(samples(params))}
    right = {name: float((linear(params["classifier"], x).argmax(-1) == labels).mean()) for name, x in seen.items()}
    assert right["accuracy"] != right["fake_accuracy"]
    assert {name: float(figures[name]) for name in right} == pytest.approx(right)
    # the critic is not told the class
    np.testing.assert_array_equal(score, other)


def test_what_has_no_classes_is_refused():
    for batch in ({"x": X}, {"x": X, "context": CONTEXT[:, :2]}):
        with pytest.raises(ValueError, match="one-hot labels of 3 classes, got shape"):
            jax.eval_shape(GAME.init, KEY, batch)
    with pytest.raises(ValueError, match="`ClassLoss` requires packing=1.*got 2"):
        dataclasses.replace(GAME, packing=2)
