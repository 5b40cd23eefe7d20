import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import stats

from jaxgen.bijectors import ActNorm, Chain, ConditionalNormal, Invert, MaskedAutoregressive, TanhAffine
from jaxgen.contracts import Clock, Model
from jaxgen.distributions import Bernoulli, DiscretizedLogistic, Gaussian
from jaxgen.losses.elbo import kl_between_normals, warm_up
from jaxgen.models.vaes import (
    ELBO,
    VAE,
    ContextPrior,
    FlowPosterior,
    FlowPrior,
    conv_vae,
    dense_vae,
    lagging_inference,
    residual_vae,
)
from jaxgen.nets.mlp import MLP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn
from tests.models.vaes.linear_gaussian import LinearGaussian


@pytest.mark.slow
def test_with_the_posterior_for_an_encoder_one_draw_gives_log_p():
    case = LinearGaussian()
    x = np.float32(case.marginal.rvs(4, random_state=0))
    log_prob = jax.jit(case.model.log_prob, static_argnames="samples")(case.variables(), x, KEY, samples=1)
    np.testing.assert_allclose(log_prob, case.marginal.logpdf(x), rtol=1e-4)


@pytest.mark.slow
def test_log_prob_comes_up_to_the_truth_with_more_draws():
    case = LinearGaussian()
    x = np.float32(case.marginal.rvs(200, random_state=0))
    truth = case.marginal.logpdf(x)
    bound = jax.jit(case.model.log_prob, static_argnames="samples")
    gaps = [(truth - bound(case.variables(1.5), x, KEY, samples=k)).mean() for k in (1, 10, 1000)]
    # a posterior too wide by 1.5 in each of two dimensions: KL = 1.5^2 - 1 - 2 log 1.5
    assert gaps[0] == pytest.approx(1.25 - 2 * np.log(1.5), abs=0.35)
    assert gaps[0] > 2 * gaps[1] > 0 and abs(gaps[2]) < 0.005


def test_the_elbo_falls_short_by_the_divergence_to_the_posterior():
    case, rows = LinearGaussian(), 20_000
    x = np.float32(case.marginal.rvs(rows, random_state=0))
    figures = jax.jit(case.model.evaluate)(case.variables(1.5), {"x": x}, KEY)
    divergence = 1.5**2 - 1 - 2 * np.log(1.5)
    gap = case.marginal.logpdf(x).mean() - figures["elbo"]
    assert float(gap) == pytest.approx(divergence, abs=0.06)
    assert float(figures["reconstruction"] - figures["kl"]) == pytest.approx(float(figures["elbo"]), rel=1e-5)


@pytest.mark.slow
def test_the_loss_has_the_gradient_of_the_expected_bound():
    case, rows = LinearGaussian(), 50_000
    x = np.float32(np.tile(case.marginal.rvs(1, random_state=0), (rows, 1)))
    m = np.array([0.3, -0.4])
    variables = case.variables_at(m, 1.5)
    value = lambda v: case.model.loss(v, {"x": x}, KEY, Clock()).value  # noqa: E731
    grads = jax.jit(jax.grad(value))(variables)
    by_mean, by_log_variance, by_bias = case.gradient_at(x[0], m, 1.5)
    head = grads["encoder"]["params"]["head"]
    np.testing.assert_allclose(head["mean"]["bias"], by_mean, atol=0.06)
    np.testing.assert_allclose(head["log_variance"]["bias"], by_log_variance, atol=0.06)
    np.testing.assert_allclose(grads["decoder"]["params"]["head"]["out"]["bias"], by_bias, atol=0.06)


PRIOR_MEAN, PRIOR_VARIANCE = np.float32([0.5, -1.0]), np.float32([0.3, 2.0])
# a network of the context, here of a one, whose head gives these moments
PRIOR_NETWORK = {"params": {"head": {
    "mean": {"kernel": PRIOR_MEAN[None] - 0.25, "bias": np.full(2, 0.25)},
    "log_variance": {"kernel": 14 * np.arctanh(np.log(PRIOR_VARIANCE[None]) / 14) + 0.5, "bias": np.full(2, -0.5)},
}}}  # fmt: skip


def widened(variables):
    """For an encoder and a decoder that see a column more and take no notice of it."""

    def wider(layer):
        return {**layer, "kernel": np.pad(layer["kernel"], ((0, 1), (0, 0)))}

    wide = {player: {"params": {"head": dict(v["params"]["head"])}} for player, v in variables.items()}
    for player, layers in {"encoder": ("mean", "log_variance"), "decoder": ("out",)}.items():
        for layer in layers:
            wide[player]["params"]["head"][layer] = wider(variables[player]["params"]["head"][layer])
    return wide


@pytest.mark.slow
@pytest.mark.parametrize("prior", [ContextPrior(MLP(())), FlowPrior(ConditionalNormal())], ids=["network", "flow"])
def test_a_learned_prior_rates_what_it_draws(prior):
    case, m, v = LinearGaussian(), PRIOR_MEAN, PRIOR_VARIANCE
    if isinstance(prior, FlowPrior):
        affine = {"params": {"prior": jnp.array([[0.3, -0.5], [-0.7, 0.8]])}}
        m, one = (
            np.asarray(prior.bijector.apply(affine, jnp.full((1, 2), a), method="inverse"))[0] for a in (0.0, 1.0)
        )
        v = (one - m) ** 2
    marginal = stats.multivariate_normal(case.b + case.w @ m, case.w @ np.diag(v) @ case.w.T + case.s**2 * np.eye(5))
    x = np.float32(marginal.rvs(300, random_state=0))
    model = dataclasses.replace(case.model, prior=prior)
    if isinstance(prior, FlowPrior):
        context, variables = None, {**case.variables(1.5), "prior": affine}
    else:
        context, variables = np.ones((300, 1), np.float32), {**widened(case.variables(1.5)), "prior": PRIOR_NETWORK}
    given = {"x": x} if context is None else {"x": x, "context": context}
    assert set(jax.eval_shape(model.init, KEY, given)) == set(model.players) == {"encoder", "decoder", "prior"}
    estimate = jax.jit(model.log_prob, static_argnames=("samples", "chunk"))(variables, x, KEY, context, 3000, 50)
    assert float(estimate.mean()) == pytest.approx(marginal.logpdf(x).mean(), abs=0.02)
    draws = jax.jit(model.sample, static_argnames="n")(variables, KEY, 300, context)
    assert marginal.logpdf(np.asarray(draws)).mean() == pytest.approx(marginal.logpdf(x).mean(), abs=0.3)
    # the divergence: exact by dimension where both are normals, else by its draws
    terms = jax.jit(model.terms)(variables, {name: np.tile(a[:1], (20_000, 1)) for name, a in given.items()}, KEY)[0]
    exact = kl_between_normals(terms.q.mean[:1], terms.q.log_variance[:1], m[None], np.log(v[None]))[0]
    assert (terms.kl_per_dimension is None) == isinstance(prior, FlowPrior)
    assert float(terms.kl.mean()) == pytest.approx(float(exact), abs=0.05)


@pytest.mark.slow
def test_a_posterior_flow_keeps_the_estimate_of_log_p():
    # any posterior gives log p(x) with enough draws; a wrong log-determinant or context would not
    case = LinearGaussian()
    made = MaskedAutoregressive(TanhAffine(), (8,))
    model = dataclasses.replace(case.model, posterior=FlowPosterior(Chain((Invert(made), ActNorm()))))
    x = np.float32(case.marginal.rvs(100, random_state=0))
    variables = drawn(model, {"x": x})
    fresh = case.variables(3.0)
    features = variables["encoder"]["params"]["head"]["features"]
    fresh["encoder"]["params"]["head"]["features"] = features
    variables = {**fresh, "posterior": variables["posterior"]}
    truth = case.marginal.logpdf(x)
    log_prob = jax.jit(model.log_prob, static_argnames=("samples", "chunk"))
    few, many = log_prob(variables, x, KEY, samples=1), log_prob(variables, x, KEY, samples=6000, chunk=50)
    assert (truth - few).mean() > 1 and abs(np.median(truth - many)) < 0.02
    # what the flow is conditioned on differs by row, and it shows in z
    z = jax.jit(model.encode)(variables, x)
    variables["encoder"]["params"]["head"]["features"] = jax.tree.map(lambda a: a + 1, features)
    assert np.abs(z - jax.jit(model.encode)(variables, x)).max() > 0.01
    (play,) = model.plays().values()
    assert play.players == ("encoder", "decoder", "posterior") and set(play.players) == set(variables)
    grads = jax.jit(jax.grad(lambda v: model.loss(v, {"x": x}, KEY, Clock()).value))(variables)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads["posterior"]))


@pytest.mark.slow
def test_draws_in_chunks_are_the_same_draws():
    case = LinearGaussian()
    x = np.float32(case.marginal.rvs(4, random_state=0))
    weights = jax.jit(case.model.log_weights, static_argnames=("samples", "chunk"))
    one, four = (weights(case.variables(1.5), x, KEY, samples=6, chunk=chunk) for chunk in (1, 4))
    np.testing.assert_allclose(one, four, rtol=1e-5)
    assert one.shape == (6, 4)


@pytest.mark.slow
def test_anomaly_scores_rise_with_what_is_unlikely():
    case = LinearGaussian()
    x = np.float32(case.marginal.rvs(200, random_state=0))
    score = jax.jit(case.model.anomaly_score, static_argnames=("by", "samples"))
    truth = -case.marginal.logpdf(x)
    by = {name: score(case.variables(), x, KEY, by=name, samples=50) for name in ("reconstruction", "elbo", "log_prob")}
    np.testing.assert_allclose(by["log_prob"], truth, rtol=1e-4)
    # with the posterior for an encoder the bound is log p itself, up to its draws
    assert abs((by["elbo"] - truth).mean()) < 0.05 and np.corrcoef(by["elbo"], truth)[0, 1] > 0.95
    kl = jax.jit(case.model.terms)(case.variables(), {"x": x}, KEY)[0].kl
    assert float((by["elbo"] - by["reconstruction"]).mean()) == pytest.approx(float(kl.mean()), rel=1e-4)


@pytest.mark.slow
def test_free_bits_cost_no_less_than_their_threshold():
    model = dataclasses.replace(SMALL["points"], objective=ELBO(2.0, free_bits=0.1))
    batch = batch_for(model)
    terms = jax.jit(model.terms)(drawn(model, batch), batch, KEY)[0]
    parts = np.asarray(terms.kl_per_dimension).mean(0)
    assert parts.min() < 0.1 < parts.max()
    expected = 2 * np.maximum(parts, 0.1).sum() - np.asarray(terms.log_likelihood).mean()
    assert float(model.objective(terms, Clock())) == pytest.approx(expected, rel=1e-5)
    # without its parts, the divergence as a whole has the threshold of all dimensions
    whole = terms._replace(kl_per_dimension=None)
    assert float(model.objective(whole, Clock())) == pytest.approx(
        2 * max(np.asarray(whole.kl).mean(), 0.2) - np.asarray(terms.log_likelihood).mean(), rel=1e-5
    )


SMALL = {
    "greys as chances": dense_vae((3, 3, 1), latent_dim=2, widths=(5,), levels=9),
    "greys, Gaussian": dense_vae((3, 3, 1), latent_dim=2, widths=(5,), likelihood=Gaussian(), levels=300),
    "convolutions": conv_vae((8, 8, 1), latent_dim=2, width=3, likelihood=DiscretizedLogistic(9), levels=9),
    "points": dense_vae((2,), latent_dim=2, widths=(5,), likelihood=Gaussian()),
}


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_small_models_learn_and_answer_in_data_units(model):
    assert isinstance(model, Model)
    batch = batch_for(model)
    variables = drawn(model, batch)
    (name, play), *others = model.plays().items()
    assert name == "elbo" and set(play.players) == set(variables) == {"encoder", "decoder"} and not others

    @jax.jit
    def everything(variables):
        grads = jax.grad(lambda v: play.loss(v, batch, KEY, Clock()).value)(variables)
        draws, means = (model.sample(variables, KEY, 500, means=means) for means in (False, True))
        return grads, model.evaluate(variables, batch, KEY), draws, means, model.reconstruct(variables, batch["x"])

    grads, figures, draws, means, reconstructed = everything(variables)
    for leaf in jax.tree.leaves(grads):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0
    assert all(np.isfinite(figure) for figure in figures.values())
    assert model.monitor[0] in figures
    assert ("bits_per_dim" in figures) == isinstance(model.likelihood, DiscretizedLogistic)
    assert draws.shape == means.shape == (500, *model.event_shape)
    assert reconstructed.shape == batch["x"].shape
    assert draws.dtype == means.dtype == reconstructed.dtype == batch["x"].dtype
    if model.levels is not None:
        # over all grey levels, and not beyond; a Bernoulli's pixels are off or on
        assert draws.min() == 0 and model.levels / 2 < draws.max() <= model.levels - 1
        assert (len(np.unique(draws)) == 2) == isinstance(model.likelihood, Bernoulli)
        assert means.max() > 1
    if not (isinstance(model.likelihood, Gaussian) and model.levels):
        # draws scatter around the means, unless they are clipped to the grey levels
        off = np.float32(draws).mean(0) - np.float32(means).mean(0)
        assert np.abs(off / np.float32(draws).std(0)).max() < 0.25


def constant_decoder(model, batch, *values):
    """Variables with posterior N(0, I) for every x and p(x|z) the same for every z."""
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(model.init, KEY, batch))
    bias = zeros["decoder"]["params"]["head"]["out"]["bias"]
    zeros["decoder"]["params"]["head"]["out"]["bias"] = jnp.tile(jnp.array(values), bias.shape[0] // len(values))
    return zeros


@pytest.mark.slow
def test_bits_per_dim_are_those_of_the_integers():
    model = dense_vae((4,), latent_dim=2, widths=(3,), likelihood=DiscretizedLogistic(16), levels=16)
    batch = batch_for(model, 50)
    variables = constant_decoder(model, batch, 0.2, -1.0)
    figures = jax.jit(model.evaluate)(variables, batch, KEY)
    d = stats.logistic(7.5 * 1.2, 7.5 * (1e-3 + np.logaddexp(0, -1.0)))
    upper = np.where(batch["x"] == 15, 1.0, d.cdf(batch["x"] + 0.5))
    lower = np.where(batch["x"] == 0, 0.0, d.cdf(batch["x"] - 0.5))
    assert float(figures["bits_per_dim"]) == pytest.approx(-np.log2(upper - lower).mean(), rel=1e-5)
    assert figures["kl"] == 0


@pytest.mark.slow
def test_greys_are_binarized_anew_or_rated_as_chances():
    model = dense_vae((400,), latent_dim=2, widths=(3,), levels=5)
    batch = {"x": np.full((1, 400), 1, np.uint8)}
    variables = constant_decoder(model, batch, 2.0)
    # log p is 2 for each pixel that is on, less a constant: so it counts them
    off = 400 * np.logaddexp(0, 2.0)

    def counts(model):
        keys = jax.random.split(KEY, 20)
        figures = jax.jit(jax.vmap(lambda key: model.evaluate(variables, batch, key)["reconstruction"]))(keys)
        return (np.asarray(figures) + off) / 2

    binary = counts(model)
    np.testing.assert_allclose(binary, np.round(binary), atol=1e-3)
    assert len(np.unique(np.round(binary))) > 5
    # a quarter of 400, standard deviation 8.7
    assert binary.mean() == pytest.approx(100, abs=4 * 8.7 / 20**0.5)
    np.testing.assert_allclose(counts(dataclasses.replace(model, binarize=False)), np.full(20, 100), rtol=1e-4)


@pytest.mark.slow
def test_the_encoder_sees_what_the_likelihood_rates():
    # the posterior's mean is the sum of the encoder's input: binarized where the pixels are
    model = VAE(MLP(()), MLP(()), (100,), latent_dim=1, levels=5)
    batch = {"x": np.full((8, 100), 2, np.uint8)}
    variables = constant_decoder(model, batch, 2.0)
    variables["encoder"]["params"]["head"]["mean"]["kernel"] = jnp.ones((100, 1))
    figures = jax.jit(model.evaluate)(variables, {"x": batch["x"][:1]}, KEY)
    on = (float(figures["reconstruction"]) + 100 * np.logaddexp(0, 2.0)) / 2
    assert float(figures["kl"]) == pytest.approx(on**2 / 2, rel=1e-4) and on != 50
    # without a key there is nothing to draw with: the chances themselves
    np.testing.assert_allclose(jax.jit(model.encode)(variables, batch["x"]), np.full((8, 1), 50))
    draws = jax.jit(model.encode)(variables, batch["x"], KEY)
    assert np.ptp(np.asarray(draws)) > 1


def test_a_context_reaches_encoder_and_decoder():
    model = SMALL["greys, Gaussian"]
    batch = {**batch_for(model), "context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
    variables = drawn(model, batch)
    other = np.roll(batch["context"], 1, axis=0)

    @jax.jit
    def results(context):
        z = jnp.ones((6, model.latent_dim))
        return {
            "encode": model.encode(variables, batch["x"], context=context),
            "decode": model.decode(variables, z, context).astype(jnp.float32),
            "log_prob": model.log_prob(variables, batch["x"], KEY, context, samples=2),
            "elbo": model.evaluate(variables, {**batch, "context": context}, KEY)["elbo"],
            "loss": model.loss(variables, {**batch, "context": context}, KEY, Clock()).value,
            "sample": model.sample(variables, KEY, 6, context).astype(jnp.float32),
        }

    ours, others = results(batch["context"]), results(other)
    for name in ours:
        assert np.abs(ours[name] - others[name]).max() > 0, name


@pytest.mark.slow
def test_the_divergences_weight_may_follow_the_step():
    model = dataclasses.replace(SMALL["points"], objective=ELBO(functools.partial(warm_up, steps=10)))
    batch = batch_for(model)
    variables = drawn(model, batch)
    loss = jax.jit(model.loss)
    for step, weight in ((0, 0.0), (5, 0.5), (30, 1.0)):
        out = loss(variables, batch, KEY, Clock(phase_step=step))
        m = {name: float(value) for name, value in out.metrics.items()}
        assert float(out.value) == pytest.approx(weight * m["kl"] - m["reconstruction"], rel=1e-5)
        assert m["elbo"] == pytest.approx(m["reconstruction"] - m["kl"], rel=1e-5)
    fixed = jax.jit(dataclasses.replace(model, objective=ELBO(4.0)).loss)(variables, batch, KEY, Clock())
    assert float(fixed.value) == pytest.approx(4 * m["kl"] - m["reconstruction"], rel=1e-5)


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=not self.has_rng("dropout"))(BatchNorm()(nn.Dense(4, use_bias=False)(x)))


@pytest.mark.slow
def test_batch_statistics_move_in_training_and_decide_afterwards():
    model = VAE(Normalised(), Normalised(), (3,), latent_dim=2, likelihood=Gaussian())
    batch = batch_for(model)
    variables = jax.jit(model.init)(KEY, batch)
    state = jax.jit(model.loss)(variables, batch, KEY, Clock()).statistics
    for player in ("encoder", "decoder"):
        before, after = variables[player]["batch_stats"], state[player]["batch_stats"]
        assert jax.tree.structure(before) == jax.tree.structure(after)
        assert all(np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))
    # the averages decide when evaluated, and only then
    moved = {p: {**v, "batch_stats": jax.tree.map(lambda a: a + 1, v["batch_stats"])} for p, v in variables.items()}
    losses = [jax.jit(model.loss)(v, batch, KEY, Clock()).value for v in (variables, moved)]
    figures = [jax.jit(model.evaluate)(v, batch, KEY)["elbo"] for v in (variables, moved)]
    assert losses[0] == losses[1] and figures[0] != figures[1]
    # so that a row does not depend on the others, nor on what dropout would drop
    encode = jax.jit(model.encode)
    np.testing.assert_allclose(encode(variables, batch["x"])[:1], encode(variables, batch["x"][:1]), rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
@pytest.mark.parametrize("builder", [conv_vae, residual_vae])
def test_the_convolutional_builders_fit_the_usual_images(builder, shape):
    model = builder(shape)
    batch = {"x": jax.ShapeDtypeStruct((2, *shape), jnp.uint8)}
    variables = jax.eval_shape(model.init, KEY, batch)
    samples = jax.eval_shape(functools.partial(model.sample, n=5), variables, KEY)
    assert samples.shape == (5, *shape) and samples.dtype == jnp.uint8
    assert jax.eval_shape(model.loss, variables, batch, KEY, Clock()).value.shape == ()
    # the image comes out of a convolution
    assert variables["decoder"]["params"]["head"]["out"]["kernel"].shape[:2] == (3, 3)


def test_the_dense_builders_defaults_are_the_papers():
    model = dense_vae((784,))
    variables = jax.eval_shape(model.init, KEY, {"x": jax.ShapeDtypeStruct((2, 784), jnp.float32)})
    kernels = [leaf.shape for leaf in jax.tree.leaves(variables) if len(leaf.shape) == 2]
    decoder, encoder = [(50, 200), (200, 200), (200, 784)], [(784, 200), (200, 200), (200, 50), (200, 50)]
    assert sorted(kernels) == sorted(decoder + encoder)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must be those of the likelihood, 16, got 256"):
        dense_vae((4,), likelihood=DiscretizedLogistic(16), levels=256)
    model = SMALL["points"]
    with pytest.raises(ValueError, match=r"events of shape \(2,\)"):
        model.init(KEY, {"x": jnp.zeros((4, 3))})
    with pytest.raises(ValueError, match="number of levels"):
        model.init(KEY, {"x": jnp.zeros((4, 2), jnp.uint8)})
    with pytest.raises(ValueError, match="levels=None"):
        SMALL["convolutions"].init(KEY, {"x": jnp.zeros((4, 8, 8, 1))})
    with pytest.raises(ValueError, match="for convolutional networks"):
        conv_vae((784,))


@pytest.mark.slow
def test_a_lagging_encoder_moves_more_often_than_its_decoder():
    model = SMALL["points"]
    batch = {"x": np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)}
    plays = {name: play._replace(optimizer=optax.sgd(0.1)) for name, play in lagging_inference(model, 3).items()}
    state = jax.jit(lambda: init_state(model, plays, jax.random.key(1), batch))()
    step, moved = jax.jit(make_train_step(plays)), []
    for _ in range(6):
        before, (state, _) = state.params, step(state, batch)
        moved.append(
            {
                p
                for p in before
                if any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (before[p], state.params[p])), strict=True))
            }
        )
    assert moved == 2 * [{"encoder"}, {"encoder"}, {"encoder", "decoder"}]
