"""The adversarial latent autoencoder: its losses against the equations, whom they move, and its methods."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.data import ArraySource
from jaxgen.models.hybrids import ALAE
from jaxgen.models.hybrids.alae import AUTHORS
from jaxgen.nets import MLP, BatchNorm, EqualizedMLP
from jaxgen.training import Settings, fit, fit_seeds
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, batch_for, drawn

MODEL = ALAE(
    EqualizedMLP((4, 3), lr_multiplier=0.1, normalize=True), EqualizedMLP((6,), 9), EqualizedMLP((5, 3)),
    EqualizedMLP((3, 3), 1, slope=1.0, lr_multiplier=0.1), (3, 3, 1), latent_dim=4, levels=9,
)  # fmt: skip
BATCH = batch_for(MODEL)
REAL = BATCH["x"] / 4.0 - 1


def ready(model=MODEL):
    """Random variables, larger than usual behind the small multipliers, so that all terms count."""
    variables = drawn(model, BATCH)
    return {
        **variables,
        **{
            p: jax.tree.map(lambda a, scale=scale: scale * a, variables[p])
            for p, scale in (("mapping", 12), ("critic", 30))
        },
    }


def mlp(collections, x, slope=0.2, multiplier=1.0, normalize=False, last=True):
    """The output and the Jacobian of each example, by NumPy in float64: [B, D] and [B, D, inputs]."""
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    jacobian = np.tile(np.eye(x.shape[1]), (len(x), 1, 1))
    if normalize:  # whose Jacobian nothing here needs
        x = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-8)
    layers = collections["params"]
    for i in range(len(layers)):
        kernel, bias = (
            multiplier * np.asarray(layers[f"EqualizedDense_{i}"][name], np.float64) for name in ("kernel", "bias")
        )
        kernel = kernel / np.sqrt(x.shape[1])
        x, jacobian = x @ kernel + bias, np.einsum("io,bij->boj", kernel, jacobian)
        factor = 2**0.5 * (np.where(x < 0, slope, 1.0) if not last or i < len(layers) - 1 else np.ones_like(x))
        x, jacobian = factor * x, factor[:, :, None] * jacobian
    return x, jacobian


def networks(variables, z, x):
    """F(z), G(F(z)), and of data and samples E, with D(E) and its gradient with respect to the pixels."""
    w = mlp(variables["mapping"], z, multiplier=0.1, normalize=True, last=False)[0]
    fake = mlp(variables["generator"], w)[0]
    coded = [mlp(variables["encoder"], images, last=False) for images in (x, fake)]
    scored = [mlp(variables["critic"], e, slope=1.0, multiplier=0.1) for e, _ in coded]
    gradient = np.einsum("boj,bjk->bok", scored[0][1], coded[0][1])[:, 0]
    return w, fake, [e for e, _ in coded], [d[:, 0] for d, _ in scored], gradient


def loss_of(play, variables, model=MODEL, key=KEY):
    return jax.jit(model.plays()[play].loss)(variables, BATCH, key, Clock())


def noise():
    return MODEL.noise(jax.random.split(KEY, 3)[0], 6)


def test_the_critics_loss_has_the_papers_penalty_at_data_alone():
    variables = ready()
    _, _, _, (on_real, on_fake), gradient = networks(variables, noise(), REAL)
    penalty = 10 / 2 * (gradient**2).sum(1).mean()
    loss = loss_of("critic", variables)
    np.testing.assert_allclose(loss.metrics["penalty"], penalty, rtol=1e-4)
    expected = np.logaddexp(0, -on_real).mean() + np.logaddexp(0, on_fake).mean() + penalty
    np.testing.assert_allclose(loss.value, expected, rtol=1e-4)
    assert penalty > 1e-3  # so that the tolerance would show another factor


def test_the_generators_loss_does_not_saturate():
    variables = ready()
    on_fake = networks(variables, noise(), REAL)[3][1]
    np.testing.assert_allclose(loss_of("generator", variables).value, np.logaddexp(0, -on_fake).mean(), rtol=1e-4)


def test_reciprocity_compares_latents_not_images():
    variables = ready()
    w, _, (_, again), _, _ = networks(variables, noise(), REAL)
    expected = ((w - again) ** 2).sum(1).mean()
    loss = loss_of("reciprocity", variables)
    np.testing.assert_allclose(loss.value, expected, rtol=1e-4)
    np.testing.assert_allclose(loss.metrics["relative"], expected / w.var(0).sum(), rtol=1e-4)


def gradients(play, variables, model=MODEL):
    def value(params):
        return loss_of(play, {p: {**variables[p], "params": params[p]} for p in variables}, model).value

    return jax.jit(jax.grad(value))({player: v["params"] for player, v in variables.items()})


def largest(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def test_the_target_of_the_reciprocity_has_no_gradient():
    """The authors' play moves the mapping, but by the gradient through the generator alone."""
    variables = ready()
    w = MODEL.latents(variables, noise())

    def through_the_generator(params):
        again = MODEL.latents({"mapping": {"params": params}}, noise())
        codes = MODEL.encoder.apply(variables["encoder"], MODEL.generate(variables, again))
        return ((w - codes) ** 2).sum(1).mean()

    expected = jax.jit(jax.grad(through_the_generator))(variables["mapping"]["params"])
    found = gradients("reciprocity", variables)["mapping"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7), found, expected)
    assert largest(found) > 3e-5

    def through_the_target(params):
        codes = MODEL.encoder.apply(variables["encoder"], MODEL.generate(variables, w))
        return ((MODEL.latents({"mapping": {"params": params}}, noise()) - codes) ** 2).sum(1).mean()

    assert largest(jax.jit(jax.grad(through_the_target))(variables["mapping"]["params"])) > 1e-2


def test_samples_of_the_critics_play_have_no_gradient():
    found = gradients("critic", ready())
    assert largest([found[player] for player in ("mapping", "generator")]) == 0
    assert largest(found["encoder"]) > 1e-3 and largest(found["critic"]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("play", "moved", "fields"),
    [
        ("critic", {"encoder", "critic"}, {}),
        ("generator", {"mapping", "generator"}, {}),  # the encoder stands still, although the gradient passes it
        ("reciprocity", {"encoder", "generator"}, {}),
        ("reciprocity", {"encoder", "generator", "mapping"}, AUTHORS),
    ],
)
def test_whom_each_play_moves(play, moved, fields):
    model = dataclasses.replace(MODEL, **fields)
    plays = {play: model.plays()[play]}
    state = init_state(model, plays, KEY, BATCH)
    after, _ = make_train_step(plays)(state, BATCH)
    found = {p for p in state.params if largest(jax.tree.map(lambda a, b: a - b, state.params[p], after.params[p]))}
    assert found == moved
    # what does not move could: a play of all players would move it
    assert play != "generator" or largest(gradients(play, ready())["encoder"]) > 1e-3


def test_methods_and_description():
    assert (
        isinstance(MODEL, Model)
        and build(describe(MODEL)) == MODEL
        and list(MODEL.plays()) == ["critic", "generator", "reciprocity"]
    )
    variables = ready()
    trained, z = TrainedModel(MODEL, variables), MODEL.noise(KEY, 5)
    w, fake, _, _, _ = networks(variables, z, REAL)
    np.testing.assert_allclose(trained.latents(z), w, rtol=1e-4)
    np.testing.assert_allclose(trained.generate(w.astype(np.float32)).reshape(5, -1), fake, rtol=1e-3, atol=1e-5)
    samples = trained.sample(KEY, 5)
    assert samples.shape == (5, 3, 3, 1) and samples.dtype == jnp.uint8
    expected = np.clip(np.round((fake + 1) * 4), 0, 8).reshape(samples.shape)
    assert (np.abs(samples - expected) <= 1).all()
    codes = trained.encode(BATCH["x"])
    np.testing.assert_allclose(codes, mlp(variables["encoder"], REAL, last=False)[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(trained.reconstruct(BATCH["x"]), trained.decode(codes))
    values = MODEL.evaluate(variables, BATCH, KEY)
    again = mlp(variables["generator"], np.asarray(codes))[0]
    np.testing.assert_allclose(
        values["squared_error"], ((again - REAL.reshape(6, -1)) ** 2).sum(1).mean() / 4, rtol=1e-4
    )
    w, _, (_, e), _, _ = networks(variables, MODEL.noise(KEY, 6), REAL)
    np.testing.assert_allclose(values["latent_error"], ((w - e) ** 2).sum() / ((w - w.mean(0)) ** 2).sum(), rtol=1e-3)
    assert np.isfinite(values[MODEL.monitor[0]])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"`mapping` and `encoder` must map to \[B, W\] alike, got \(2,\) and \(3,\)"):
        jax.eval_shape(dataclasses.replace(MODEL, mapping=MLP((2,))).init, KEY, BATCH)
    with pytest.raises(ValueError, match=r"`generator` must map to events of shape \(3, 3, 1\), got \(8,\)"):
        jax.eval_shape(dataclasses.replace(MODEL, generator=MLP((), features=8)).init, KEY, BATCH)
    with pytest.raises(ValueError, match="the encoder must not have batch statistics"):
        jax.eval_shape(dataclasses.replace(MODEL, encoder=MLP((3,), nn.relu, norm=BatchNorm)).init, KEY, BATCH)
    with pytest.raises(ValueError, match="`reciprocal` must be some of"):
        dataclasses.replace(MODEL, reciprocal=("critic",))
    with pytest.raises(ValueError, match="`penalty` must be at least 0"):
        dataclasses.replace(MODEL, penalty=-1.0)


@pytest.mark.slow
def test_seeds_side_by_side_and_a_resumed_run_are_what_single_runs_are(tmp_path):
    settings = Settings(steps=7, batch_size=8, steps_per_call=3, checkpoint_every=3, ema=0.5)
    data = ArraySource({"x": np.random.default_rng(5).integers(0, 9, (24, 3, 3, 1)).astype(np.int32)}, levels=9)
    whole = fit(MODEL, data, settings, progress=False)
    side_by_side = fit_seeds(MODEL, data, settings, seeds=(0, 1), progress=False)
    chex.assert_trees_all_close(side_by_side[0].variables, whole.variables, rtol=1e-3, atol=1e-4)
    fit(MODEL, data, settings, steps=3, out=tmp_path, progress=False)
    resumed = fit(MODEL, data, settings, out=tmp_path, resume=True, progress=False)
    chex.assert_trees_all_equal(resumed.variables, whole.variables)
