import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from scipy.special import logit

from jaxgen.bijectors import ActNorm, Chain, Invert, MaskedAutoregressive, TanhAffine
from jaxgen.contracts import Clock, Model
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.losses.elbo import mean_log_weight
from jaxgen.models.vaes import VAE, BurdaInitializer, ContextPrior, FlowPosterior, ImportanceWeighted
from jaxgen.nets.decoders import ConvDecoder
from jaxgen.nets.mlp import MLP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training.description import build, describe
from tests.models.parameters import KEY, batch_for, drawn
from tests.models.vaes.linear_gaussian import LinearGaussian


def linear(samples, **more):
    """The linear Gaussian model."""
    return dataclasses.replace(LinearGaussian.model, objective=ImportanceWeighted(samples, **more))


@pytest.mark.slow
def test_the_bound_is_below_log_p_and_rises_to_it():
    case, blocks = LinearGaussian(), 20
    x = np.float32(case.marginal.rvs(20_000, random_state=0)).reshape(blocks, -1, 5)
    truth = case.marginal.logpdf(x).mean(1)
    gaps, errors = {}, {}
    for k in (1, 8, 64):
        loss = linear(k).loss
        value = jax.jit(jax.vmap(lambda x, key, loss=loss: loss(case.variables(1.5), {"x": x}, key, Clock()).value))
        gap = truth + value(x, jax.random.split(KEY, blocks))
        gaps[k], errors[k] = gap.mean(), gap.std(ddof=1) / blocks**0.5
    # one draw: the divergence. Many: half of the weights' variance over k, here prod_d s^2 / sqrt(2 s^2 - 1) - 1
    assert abs(gaps[1] - (1.5**2 - 1 - 2 * np.log(1.5))) < 4 * errors[1]
    # sum_k u_k log w_k, which has the right gradient, lies above log p by about 0.25
    assert abs(gaps[64] - (1.5**4 / (2 * 1.5**2 - 1) - 1) / 128) < 4 * errors[64]
    assert gaps[1] - gaps[8] > 4 * errors[1] and gaps[8] - gaps[64] > 4 * errors[8] and gaps[64] > 4 * errors[64]


MODELS = {
    "ELBO": LinearGaussian.model,
    "IWAE": linear(4),
    "IWAE in chunks": linear(4, chunk=2),
    "ELBO by draws": linear(4, aggregate=mean_log_weight),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_gradients_are_those_of_finite_differences(model):
    # weights by a softmax over minus the log-weights would not be; nor a closed divergence beside weighted draws
    with jax.enable_x64(True):
        x = np.asarray(LinearGaussian.marginal.rvs(3, random_state=0))
        at, unravel = ravel_pytree(jax.tree.map(np.float64, drawn(model, {"x": x})))

        def value(at):
            return model.loss(unravel(at), {"x": x}, KEY, Clock()).value

        @jax.jit
        def both(at):
            steps = 1e-5 * jnp.eye(at.size)
            return jax.jit(jax.grad(value))(at), (jax.vmap(value)(at + steps) - jax.vmap(value)(at - steps)) / 2e-5

        gradient, differences = both(at)
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7)
        assert gradient.dtype == np.float64 and np.abs(gradient).min() > 0


def gradients(model, variables, x, draws):
    """Gradients of the loss on one example, for many keys: the encoder's [keys, 24], the decoder's [keys, 15]."""

    def one(key):
        grads = jax.jit(jax.grad(lambda v: model.loss(v, {"x": x[None]}, key, Clock()).value))(variables)
        return ravel_pytree(grads["encoder"])[0], ravel_pytree(grads["decoder"])[0]

    return (np.asarray(grads, np.float64) for grads in jax.jit(jax.vmap(one))(jax.random.split(KEY, draws)))


@pytest.mark.slow
def test_the_doubly_reparameterized_gradient_has_the_same_mean_and_less_variance():
    case, draws = LinearGaussian(), 50_000
    x = np.float32(case.marginal.rvs(1, random_state=0))
    # half a standard deviation off, and too wide
    variables = case.variables_at(case.to_mean @ (x - case.b) + 0.5 * np.sqrt(case.variance), 1.5)
    (plain, decoder), (doubly, same) = (
        gradients(linear(8, doubly=on), variables, x, draws) for on in (False, True)
    )
    np.testing.assert_allclose(same, decoder, rtol=1e-3, atol=1e-4)
    difference = plain - doubly
    error = difference.std(0) / draws**0.5
    assert (np.abs(difference.mean(0)) < 4.5 * error + 1e-6).all()
    # against these errors the gradient is large, and with u_k in place of u_k^2 would be off by hundreds of them
    assert (np.abs(plain.mean(0)) / error).max() > 15
    assert doubly.var(0).sum() < 0.1 * plain.var(0).sum()


def test_the_doubly_reparameterized_gradient_of_one_draw_is_that_of_the_elbo():
    case, m, draws = LinearGaussian(), np.array([0.3, -0.4]), 50_000
    x = np.float32(case.marginal.rvs(1, random_state=0))
    encoder, decoder = gradients(linear(1, doubly=True), case.variables_at(m, 1.5), x, draws)
    by_mean, by_log_variance, by_bias = case.gradient_at(x, m, 1.5)
    # leaves are in the order of their names: log_variance before mean, bias before kernel
    biases = np.concatenate([encoder[:, :2], encoder[:, 12:14], decoder[:, :5]], 1)
    exact = np.concatenate([by_log_variance, by_mean, by_bias])
    errors = biases.std(0) / draws**0.5
    assert (np.abs(biases.mean(0) - exact) < 4.5 * errors + 1e-5).all() and np.abs(exact).max() > 50 * errors.max()


@pytest.mark.slow
def test_the_doubly_reparameterized_gradient_vanishes_at_the_posterior_draw_by_draw():
    case = LinearGaussian()
    x = np.float32(case.marginal.rvs(1, random_state=0))
    doubly, plain = (
        next(gradients(linear(4, doubly=on), case.variables(), x, 100)) for on in (True, False)
    )
    assert np.abs(doubly).max() < 1e-3 and plain.std(0).max() > 0.1


@pytest.mark.slow
def test_the_doubly_reparameterized_loss_is_the_bound():
    batch = {"x": np.float32(LinearGaussian.marginal.rvs(6, random_state=0))}
    variables = LinearGaussian().variables(1.5)
    plain, doubly = (jax.jit(linear(4, doubly=on).loss)(variables, batch, KEY, Clock()) for on in (False, True))
    assert float(doubly.value) == pytest.approx(float(plain.value), rel=1e-6)
    assert float(doubly.metrics["bound"]) == -float(doubly.value) > float(doubly.metrics["elbo"])


def dense(samples, chunk, **more):
    objective = ImportanceWeighted(samples, chunk=chunk, **more)
    return VAE(MLP((16,)), MLP((64,)), (6, 6, 1), latent_dim=3, levels=9, objective=objective)


@pytest.mark.slow
@pytest.mark.parametrize("doubly", [False, True])
def test_chunks_change_memory_alone(doubly):
    def gradient(samples, chunk):
        model = dense(samples, chunk, doubly=doubly)
        return jax.jit(jax.value_and_grad(lambda v, batch: model.loss(v, batch, KEY, Clock()).value))

    batch = batch_for(dense(1, 1), 16)
    variables = drawn(dense(1, 1), batch)
    (value, grads), (other, others) = (gradient(8, chunk)(variables, batch) for chunk in (2, 8))
    assert float(value) == pytest.approx(float(other), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), grads, others)

    def temporaries(samples, chunk):
        return gradient(samples, chunk).lower(variables, batch).compile().memory_analysis().temp_size_in_bytes

    few, many, at_once = (temporaries(*sizes) for sizes in ((8, 4), (128, 4), (128, 128)))
    # log-weights, keys and their like: a few numbers for each draw and row
    assert many < few + 120 * 16 * 4 * 8 and at_once > 5 * many


@pytest.mark.slow
def test_draws_belong_to_their_rows():
    # with enough draws log p, unless a row met another's draws, features, context or prior
    case = LinearGaussian()
    made = MaskedAutoregressive(TanhAffine(), (8,))
    flow = dataclasses.replace(linear(4000, chunk=500), posterior=FlowPosterior(Chain((Invert(made), ActNorm()))))
    x = np.float32(case.marginal.rvs(10, random_state=0))
    variables = drawn(flow, {"x": x})
    features = variables["encoder"]["params"]["head"]["features"]
    variables |= case.variables(3.0)
    variables["encoder"]["params"]["head"]["features"] = features
    bound = jax.jit(flow.loss)(variables, {"x": x}, KEY, Clock()).metrics["bound"]
    assert float(bound) == pytest.approx(case.marginal.logpdf(x).mean(), abs=0.05)

    model = VAE(
        MLP((5,)), MLP((5,)), (2,), latent_dim=2, likelihood=Gaussian(), prior=ContextPrior(MLP((4,))),
        objective=ImportanceWeighted(2000, chunk=500),
    )  # fmt: skip
    batch = {**batch_for(model), "context": np.float32(np.random.default_rng(0).normal(size=(6, 3)))}
    variables = drawn(model, batch)
    log_prob = jax.jit(model.log_prob, static_argnames=("samples", "chunk"))
    exact = float(log_prob(variables, batch["x"], KEY, batch["context"], samples=2000, chunk=100).mean())
    assert float(jax.jit(model.loss)(variables, batch, KEY, Clock()).metrics["bound"]) == pytest.approx(exact, abs=0.02)
    other = {**batch, "context": np.roll(batch["context"], 1, 0)}
    assert abs(float(jax.jit(model.loss)(variables, other, KEY, Clock()).metrics["bound"]) - exact) > 0.1


def test_a_model_learns_and_says_how_well():
    model = dense(4, 2, doubly=True)
    assert isinstance(model, Model) and build(describe(model)) == model
    batch = batch_for(model)
    variables = drawn(model, batch)
    ((name, play),) = model.plays().items()
    assert name == "elbo" and set(play.players) == set(variables)
    by_draws = dataclasses.replace(model, objective=ImportanceWeighted(4, chunk=2, aggregate=mean_log_weight))

    @jax.jit
    def everything(variables):
        grads = jax.jit(jax.grad(lambda v: play.loss(v, batch, KEY, Clock()).value))(variables)
        return grads, model.evaluate(variables, batch, KEY), by_draws.evaluate(variables, batch, KEY)

    grads, figures, others = everything(variables)
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    assert model.monitor == ("bound", "max") and figures["bound"] > others["bound"]
    assert (
        figures["elbo"] == others["elbo"] == pytest.approx(float(figures["reconstruction"] - figures["kl"]), rel=1e-5)
    )


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        return BatchNorm()(nn.Dense(4, use_bias=False)(x))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [2, 4])
def test_batch_statistics_move(chunk):
    objective = ImportanceWeighted(4, chunk=chunk)
    model = VAE(Normalised(), Normalised(), (3,), latent_dim=2, likelihood=Gaussian(), objective=objective)
    batch = batch_for(model)
    variables = jax.jit(model.init)(KEY, batch)
    state = jax.jit(model.loss)(variables, batch, KEY, Clock()).statistics
    for player in ("encoder", "decoder"):
        before, after = variables[player]["batch_stats"], state[player]["batch_stats"]
        assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)
        assert all(np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("decoder", [MLP((4,)), ConvDecoder((6, 6), (4,))], ids=["dense", "convolution"])
def test_the_output_starts_at_the_datas_mean(decoder):
    plain = VAE(MLP((4,)), decoder, (6, 6, 2), latent_dim=2, levels=9)
    model = dataclasses.replace(plain, initializer=BurdaInitializer(kernel_init=None))
    x = np.random.default_rng(0).integers(0, 4, (50, 6, 6, 2)).astype(np.uint8)
    x[..., 1] *= 2
    x[:, 0, 0] = 0
    variables = jax.jit(model.init)(KEY, {"x": x})
    bias = variables["decoder"]["params"]["head"]["out"].pop("bias")
    means = x.mean((0, 1, 2) if bias.size == 2 else 0).ravel() / 8
    np.testing.assert_allclose(bias, logit(np.clip(means, 1e-3, 1)), rtol=1e-4)
    others = jax.jit(plain.init)(KEY, {"x": x})
    del others["decoder"]["params"]["head"]["out"]["bias"]
    jax.tree.map(np.testing.assert_array_equal, variables, others)


@pytest.mark.slow
def test_the_output_bias_of_other_likelihoods_is_left_alone():
    plain = VAE(MLP((4,)), MLP((4,)), (3,), latent_dim=2, likelihood=Gaussian())
    initializer = BurdaInitializer(kernel_init=None, output_bias=False)
    batch = batch_for(plain)
    ours, others = (jax.jit(m.init)(KEY, batch) for m in (dataclasses.replace(plain, initializer=initializer), plain))
    jax.tree.map(np.testing.assert_array_equal, ours, others)


def test_kernels_start_as_they_are_asked_to():
    model = VAE(MLP((30,)), MLP((60,)), (100,), latent_dim=20, levels=9, initializer=BurdaInitializer())
    assert build(describe(model)) == model
    x = np.zeros((5, 100), np.uint8)
    variables = jax.jit(model.init)(KEY, {"x": x})
    kernels = [leaf for leaf in jax.tree.leaves(variables) if leaf.ndim == 2]
    assert sorted(k.shape for k in kernels) == [(20, 60), (30, 20), (30, 20), (60, 100), (100, 30)]
    for kernel in kernels:
        bound = (6 / sum(kernel.shape)) ** 0.5
        assert 0.97 * bound < np.abs(kernel).max() <= bound and abs(kernel.std() * 3**0.5 / bound - 1) < 0.1
    same = [k for k in kernels if k.shape == (30, 20)]
    assert np.abs(same[0] - same[1]).min() > 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`draws` must be integers of at least 1, got 0"):
        linear(0)
    with pytest.raises(ValueError, match="`chunk` must divide draws=4, got 3"):
        linear(4, chunk=3)
    with pytest.raises(ValueError, match="`aggregate` must be importance_weighted_bound"):
        linear(4, aggregate=mean_log_weight, doubly=True)
    with pytest.raises(ValueError, match="`posterior` must be NormalPosterior"):
        dataclasses.replace(linear(4, doubly=True), posterior=FlowPosterior(ActNorm()))
