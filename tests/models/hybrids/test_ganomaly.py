"""GANomaly: its losses against the equations, whom they move, and scores that depend on one example alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.models.hybrids import GANomaly
from jaxgen.nets import MLP, DCGANCritic, DCGANGenerator, TransposedConv
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, batch_for, drawn

DENSE = GANomaly(
    MLP((5,), nn.tanh), MLP((4,), nn.tanh), (3, 3, 1), critic=MLP((6,), nn.tanh), latent_dim=2, levels=9,
    adversarial_weight=0.7, reconstruction_weight=3.0, latent_weight=0.4,
)  # fmt: skip
STRIDED = GANomaly(
    DCGANCritic((2, 3)), DCGANGenerator((2, 2), (3, 2), upsampling=TransposedConv), (8, 8, 1), latent_dim=3, levels=17
)
BATCH = batch_for(DENSE)


def loss_of(model, play, variables, batch=BATCH):
    return model.plays()[play].loss(variables, batch, KEY, Clock())


def dense(params, x, name):
    return x @ params[name]["kernel"] + params[name]["bias"]


def encoded(player, x):
    params = player["params"]
    hidden = np.tanh(dense(params["network"], x.reshape(len(x), -1), "Dense_0"))
    return dense(params["head"], hidden, "out")


def passed(variables):
    """x on [-1, 1], its latents, reconstruction and their latents, by NumPy, and the critic's features and logits."""
    x = BATCH["x"].reshape(6, -1) / 4.0 - 1
    z = encoded(variables["encoder"], x)
    params = variables["decoder"]["params"]
    fake = np.tanh(dense(params["head"], np.tanh(dense(params["network"], z, "Dense_0")), "out"))
    params = variables["critic"]["params"]
    features = [np.tanh(dense(params["network"], a, "Dense_0")) for a in (x, fake)]
    logits = [dense(params["head"], f, "out")[:, 0] for f in features]
    return x, z, fake, encoded(variables["second_encoder"], fake), features, logits


def test_the_losses_are_the_papers():
    variables = drawn(DENSE, BATCH)
    x, z, fake, second_z, features, logits = passed(variables)
    loss = loss_of(DENSE, "autoencoder", variables)
    expected = {
        "reconstruction": np.abs(x - fake).mean(),
        "latent": ((z - second_z) ** 2).mean(),
        "adversarial": ((features[0] - features[1]) ** 2).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(loss.metrics[name], value, rtol=1e-4)
    total = 0.7 * expected["adversarial"] + 3 * expected["reconstruction"] + 0.4 * expected["latent"]
    np.testing.assert_allclose(loss.value, total, rtol=1e-4)
    expected = 0.5 * (np.logaddexp(0, -logits[0]).mean() + np.logaddexp(0, logits[1]).mean())
    np.testing.assert_allclose(loss_of(DENSE, "critic", variables).value, expected, rtol=1e-4)


def gradients(play, variables):
    """The sizes of the gradients of a play's loss and of its metrics in the parameters of each player."""

    def values(params):
        loss = loss_of(DENSE, play, {p: {**variables[p], "params": params[p]} for p in variables})
        return {"value": loss.value, **loss.metrics}

    slopes = jax.jit(jax.jacrev(values))({player: v["params"] for player, v in variables.items()})
    return {
        name: {
            player: max(float(jnp.abs(a).max()) for a in jax.tree.leaves(tree)) for player, tree in by_player.items()
        }
        for name, by_player in slopes.items()
    }


def test_each_term_moves_whom_it_should():
    """The features' distance reaches the autoencoder, which early versions of the authors' code left out."""
    variables = drawn(DENSE, BATCH)
    moved = {
        "adversarial": {"encoder", "decoder"}, "reconstruction": {"encoder", "decoder"},
        "latent": {"encoder", "decoder", "second_encoder"},
    }  # fmt: skip
    slopes = gradients("autoencoder", variables)
    for metric, players in moved.items():
        sizes = slopes[metric]
        for player in ("encoder", "decoder", "second_encoder"):
            assert (sizes[player] > 1e-4) == (player in players), (metric, player)
    sizes = gradients("critic", variables)["value"]
    assert sizes["critic"] > 1e-3 and sizes["encoder"] == sizes["decoder"] == sizes["second_encoder"] == 0
    plays = {name: play.players for name, play in DENSE.plays().items()}
    assert plays == {"autoencoder": ("encoder", "decoder", "second_encoder"), "critic": ("critic",)}
    assert list(plays) == ["autoencoder", "critic"]


def test_scores_are_what_they_are_called():
    variables = drawn(DENSE, BATCH)
    x, z, fake, second_z, *_ = passed(variables)
    expected = {
        "latent": np.abs(z - second_z).sum(1), "latent_squared": ((z - second_z) ** 2).mean(1),
        "pixels": np.abs(x - fake).mean(1) / 2,
    }  # fmt: skip
    for by, values in expected.items():
        np.testing.assert_allclose(DENSE.anomaly_score(variables, BATCH["x"], by=by), values, rtol=1e-4)
    np.testing.assert_allclose(DENSE.anomaly_score(variables, BATCH["x"]), expected["latent"], rtol=1e-4)
    metrics = DENSE.evaluate(variables, BATCH, KEY)
    np.testing.assert_allclose(metrics["pixel_error"], expected["pixels"].mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["latent_error"], expected["latent_squared"].mean(), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["latent", "latent_squared", "pixels"])
def test_a_score_depends_on_no_other_example(by):
    """Neither by statistics of the batch nor by a scale of the test set, as in the authors' code."""
    batch = batch_for(STRIDED)
    variables = drawn(STRIDED, batch)
    together = STRIDED.anomaly_score(variables, batch["x"], by=by)
    apart = jnp.concatenate([STRIDED.anomaly_score(variables, batch["x"][i : i + 1], by=by) for i in range(6)])
    np.testing.assert_allclose(together, apart, rtol=1e-4)
    assert np.ptp(together) > 1e-3


def test_without_a_critic_or_a_second_encoder_there_is_none():
    variables = drawn(DENSE, BATCH)
    without_critic = dataclasses.replace(DENSE, adversarial_weight=0.0)
    autoencoder = dataclasses.replace(without_critic, latent_weight=0.0)
    assert set(without_critic.init(KEY, BATCH)) == {"encoder", "decoder", "second_encoder"}
    assert set(autoencoder.init(KEY, BATCH)) == {"encoder", "decoder"} and list(autoencoder.plays()) == ["autoencoder"]
    pair = {player: variables[player] for player in ("encoder", "decoder")}
    x, _, fake, *_ = passed(variables)
    loss = loss_of(autoencoder, "autoencoder", pair)
    np.testing.assert_allclose(loss.value, 3 * np.abs(x - fake).mean(), rtol=1e-4)
    assert set(autoencoder.evaluate(pair, BATCH, KEY)) == {"pixel_error"}
    pixels = autoencoder.anomaly_score(pair, BATCH["x"], by="pixels")
    np.testing.assert_array_equal(pixels, DENSE.anomaly_score(variables, BATCH["x"], by="pixels"))
    with pytest.raises(ValueError, match=r"`by` must be one of \['pixels'\] of this model, got 'latent'"):
        autoencoder.anomaly_score(pair, BATCH["x"])


@pytest.mark.slow
def test_a_step_of_strided_networks_and_what_the_model_can_do():
    model, batch = STRIDED, batch_for(STRIDED)
    assert isinstance(model, Model)
    assert build(describe(model)) == model and hash(build(describe(model))) == hash(model)
    assert not any(play.accumulates for play in model.plays().values())  # batch normalisation
    assert all(play.accumulates for play in DENSE.plays().values())
    state = init_state(model, model.plays(), KEY, batch)
    after, metrics = jax.jit(make_train_step(model.plays(), 0.9))(state, batch)
    for play, values in metrics.items():
        assert all(np.isfinite(value) for value in values.values()), (play, values)
    for player in ("encoder", "decoder", "second_encoder", "critic"):
        for part in ("params", "collections"):
            moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), *(getattr(s, part)[player] for s in (state, after)))
            # batch statistics of every layer, that of the second encoder on reconstructions
            assert all(size > 0 for size in jax.tree.leaves(moved)) or part == "params", player
            assert max(jax.tree.leaves(moved)) > 0, player
    trained = TrainedModel(model, after.variables)
    reconstructed = trained.reconstruct(batch["x"])
    assert reconstructed.shape == batch["x"].shape and reconstructed.dtype == jnp.uint8
    np.testing.assert_array_equal(reconstructed, trained.decode(trained.encode(batch["x"])))
    assert trained.anomaly_score(batch["x"]).shape == (6,)
    assert trained.evaluate(batch, KEY).keys() == {"pixel_error", "latent_error", "feature_error"}


def test_what_does_not_fit_is_refused():
    variables = drawn(DENSE, BATCH)
    with pytest.raises(ValueError, match="`by` must be one of .*, got 'elbo'"):
        DENSE.anomaly_score(variables, BATCH["x"], by="elbo")
    with pytest.raises(ValueError, match="`context` must be None"):
        DENSE.anomaly_score(variables, BATCH["x"], context=np.zeros((6, 2)))
    with pytest.raises(ValueError, match="`latent_weight` must be at least 0, got -1"):
        dataclasses.replace(DENSE, latent_weight=-1.0)
    with pytest.raises(ValueError, match="`latent_dim` must be integers of at least 1, got 0"):
        dataclasses.replace(DENSE, latent_dim=0)
