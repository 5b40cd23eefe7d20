import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxgen.contracts import Clock, Model
from jaxgen.distributions import Bernoulli, Categorical, DiscretizedLogistic
from jaxgen.losses.vector_quantization import nearest_codes, update_averages
from jaxgen.models.vaes import (
    ELBO,
    Codebook,
    QuantizedPosterior,
    SequenceVAE,
    StandardPrior,
    UniformCodes,
    lagging_inference,
    recurrent_vae,
)
from jaxgen.nets.mlp import MLP
from jaxgen.nets.recurrent import CausalDecoder, RecurrentDecoder, RecurrentEncoder
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn

CAUSAL = CausalDecoder(6, (1, 2))
SMALL = {
    "symbols": recurrent_vae((3,), latent_dim=1, width=6, likelihood=Categorical(3), levels=3),
    "pairs of symbols": SequenceVAE(
        RecurrentEncoder(4), CAUSAL, (2, 2), latent_dim=1, likelihood=Categorical(2), levels=2
    ),
    "pixels": SequenceVAE(MLP((4,)), CAUSAL, (2, 2, 1), latent_dim=1, levels=2, axes=2),
    "rows of pixels": SequenceVAE(MLP((4,)), RecurrentDecoder(6, "lstm"), (2, 2, 1), latent_dim=1, levels=2),
    "grey pixels": SequenceVAE(
        MLP((4,)), CAUSAL, (2, 1, 1), latent_dim=1, likelihood=DiscretizedLogistic(5), levels=5, axes=2
    ),
}
SERIES = recurrent_vae((5, 2), latent_dim=3, width=6, cell="lstm")
CODEBOOK = Codebook(num_codes=5, code_dim=2)
CODES = SequenceVAE(
    RecurrentEncoder(4), CAUSAL, (3,), latent_dim=4, likelihood=Categorical(3), levels=3, word_dropout=0.3,
    posterior=QuantizedPosterior(CODEBOOK), prior=UniformCodes(CODEBOOK),
)  # fmt: skip


def with_codebook(**fields):
    codebook = dataclasses.replace(CODEBOOK, **fields)
    posterior, prior = QuantizedPosterior(codebook), UniformCodes(codebook)
    return dataclasses.replace(CODES, word_dropout=0.0, posterior=posterior, prior=prior)


def vectors(model, variables, x):
    """The encoder's outputs, [B, L]."""
    q = model._infer(variables, model._observe(jnp.asarray(x), None)[0], None)[0]
    return q.z_e.reshape(len(x), -1)


def everything(model):
    """All events of the model's."""
    size = math.prod(model.event_shape)
    rows = np.array(list(itertools.product(range(model.levels), repeat=size)), np.uint8)
    return rows.reshape(-1, *model.event_shape)


def variables_of(model, scale=3.0):
    """Far from where they start, so that what comes before matters, and z."""
    return jax.tree.map(lambda a: scale * a, drawn(model, batch_for(model)))


def log_likelihood(model, variables, z, x):
    """log p(x|z) of each row x by one z."""
    target = model._observe(jnp.asarray(x), None)[1]
    params = model._parameters(variables, jnp.broadcast_to(z, (len(x), model.latent_dim)), None, target)
    return model.likelihood.log_prob(params, target)


@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_what_all_events_have_is_one(model):
    variables, x = variables_of(model), everything(model)
    ours = jax.jit(lambda z: log_likelihood(model, variables, z, x))
    one, other = ours(jnp.ones(1)), ours(-jnp.ones(1))
    assert float(jax.nn.logsumexp(one)) == pytest.approx(0, abs=1e-5)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_draws_are_as_frequent_as_they_are_rated(model):
    variables, x, rows = variables_of(model), everything(model), 20_000
    expected = np.exp(jax.jit(lambda: log_likelihood(model, variables, 0.5 * jnp.ones(1), x))())
    draws = jax.jit(lambda: model._data_units(model._generate(variables, jnp.full((rows, 1), 0.5), None, KEY)))()
    assert draws.shape == (rows, *model.event_shape) and draws.dtype == np.uint8
    weights = model.levels ** np.arange(math.prod(model.event_shape))[::-1]
    counts = np.bincount(np.asarray(draws).reshape(rows, -1) @ weights, minlength=len(x))
    # within five standard errors of a count
    assert (np.abs(counts / rows - expected) < 5 * np.sqrt(expected / rows) + 1e-4).all()
    # coordinates are not independent: otherwise the product of their frequencies would do as well
    ones = [np.array([expected[x.reshape(len(x), -1)[:, i] == v].sum() for v in range(model.levels)]) for i in (0, -1)]
    joint = np.zeros((model.levels, model.levels))
    np.add.at(joint, (x.reshape(len(x), -1)[:, 0], x.reshape(len(x), -1)[:, -1]), expected)
    assert np.abs(joint - np.outer(*ones)).max() > 0.002


def test_decoding_goes_on_with_the_likeliest_symbol():
    model = SMALL["symbols"]
    variables, x = variables_of(model), everything(model)
    p = np.exp(jax.jit(lambda: log_likelihood(model, variables, jnp.ones(1), x))())
    best = []
    for t in range(3):
        after = [p[(x[:, : t + 1] == [*best, v]).all(-1)].sum() for v in range(3)]
        best.append(int(np.argmax(after)))
    np.testing.assert_array_equal(jax.jit(model.decode)(variables, jnp.ones((1, 1)))[0], best)
    assert len(set(best)) > 1 or best[0] != 0


def test_drawn_series_have_the_moments_that_rate_them():
    model = SERIES
    variables, rows = variables_of(model, 1.0), 4000
    z = jnp.asarray(np.random.default_rng(0).normal(size=(rows, 3)), jnp.float32)
    x = jax.jit(lambda: model._generate(variables, z, None, KEY))()
    params = jax.jit(lambda: model._parameters(variables, z, None, x))()
    std = 1e-3 + np.logaddexp(0, np.asarray(params[..., 1]))
    standard = (np.asarray(x) - np.asarray(params[..., 0])) / std
    assert stats.kstest(standard.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(standard.reshape(rows, -1).T) - np.eye(10)).max() < 0.07
    # and what is decoded goes on with means
    means = jax.jit(model.decode)(variables, z)
    again = jax.jit(lambda: model._parameters(variables, z, None, means))()
    np.testing.assert_allclose(means, again[..., 0], rtol=1e-4, atol=1e-5)


def test_log_prob_is_the_integral_over_z():
    model = SMALL["symbols"]
    variables, x = variables_of(model), everything(model)
    # a posterior near the prior, so that it covers what it should
    variables["encoder"] = jax.tree.map(lambda a: 0.1 * a, variables["encoder"])
    grid = np.linspace(-6, 6, 481)
    by_z = jax.jit(jax.vmap(lambda z: log_likelihood(model, variables, z[None], x)))(jnp.asarray(grid, jnp.float32))
    truth = np.log(np.trapezoid(np.exp(np.asarray(by_z)) * stats.norm.pdf(grid)[:, None], grid, axis=0))
    log_prob = jax.jit(model.log_prob, static_argnames=("samples", "chunk"))
    estimate = log_prob(variables, x, KEY, samples=4000, chunk=100)
    assert float(jax.nn.logsumexp(estimate)) == pytest.approx(0, abs=0.05)
    np.testing.assert_allclose(estimate, truth, atol=0.2)
    figures = jax.jit(model.evaluate)(variables, {"x": x}, KEY)
    assert float(figures["elbo"]) < truth.mean()
    assert float(figures["bits_per_dim"]) == pytest.approx(-float(figures["elbo"]) / 3 / math.log(2), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", [*SMALL.values(), SERIES, CODES], ids=[*SMALL, "series", "codes"])
def test_small_models_learn_and_answer_in_data_units(model):
    assert isinstance(model, Model) and build(describe(model)) == model
    batch = batch_for(model)
    variables = drawn(model, batch)
    (play,) = model.plays().values()
    assert set(play.players) == set(variables) == set(model.players)

    @jax.jit
    def results(variables):
        grads = jax.jit(jax.grad(lambda v: play.loss(v, batch, KEY, Clock()).value))(variables)
        draws, again = model.sample(variables, KEY, 7), model.reconstruct(variables, batch["x"])
        return grads, model.evaluate(variables, batch, KEY), draws, again

    grads, figures, draws, again = results(variables)
    for leaf in jax.tree.leaves(grads):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0
    assert all(np.isfinite(figure) for figure in figures.values()) and model.monitor[0] in figures
    assert draws.shape == (7, *model.event_shape) and draws.dtype == again.dtype == batch["x"].dtype
    assert again.shape == batch["x"].shape
    if model.levels is not None and not isinstance(model.likelihood, Bernoulli):
        np.testing.assert_array_equal(model.observed(batch["x"], KEY), batch["x"])


def test_symbols_have_no_order():
    # an encoder that saw numbers would take the symbol between two for their mean
    model = dataclasses.replace(SMALL["symbols"], encoder=MLP(()))
    variables = drawn(model, batch_for(model))
    mean = jax.jit(model.encode)(variables, np.tile(np.arange(3, dtype=np.uint8)[:, None], (1, 3)))
    assert abs(float(mean[1, 0] - (mean[0, 0] + mean[2, 0]) / 2)) > 0.05


def test_words_drop_while_learning_and_only_then():
    model = dataclasses.replace(SMALL["symbols"], word_dropout=0.9)
    batch, whole = batch_for(model, 50), SMALL["symbols"]
    variables = variables_of(model)
    ours, theirs = (jax.jit(m.loss)(variables, batch, KEY, Clock()) for m in (model, whole))
    assert abs(float(ours.value - theirs.value)) > 0.01 and float(ours.metrics["kl"]) == float(theirs.metrics["kl"])
    ours, theirs = (jax.jit(m.evaluate)(variables, batch, KEY) for m in (model, whole))
    assert ours == theirs


def test_a_context_reaches_encoder_and_decoder():
    model = SMALL["symbols"]
    batch = {**batch_for(model), "context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
    variables = jax.tree.map(lambda a: 3 * a, drawn(model, batch))

    @jax.jit
    def results(context):
        return {
            "encode": model.encode(variables, batch["x"], context=context),
            "elbo": model.evaluate(variables, {**batch, "context": context}, KEY)["elbo"],
            "log_prob": model.log_prob(variables, batch["x"], KEY, context, samples=2),
            "rated": model._parameters(variables, jnp.ones((6, 1)), context, model._observe(batch["x"], None)[1]),
            "draws": model._generate(variables, jnp.ones((600, 1)), jnp.tile(context, (100, 1)), KEY),
        }

    ours, others = results(batch["context"]), results(np.roll(batch["context"], 1, axis=0))
    for name in ours:
        assert np.abs(ours[name] - others[name]).max() > 0, name


def test_discrete_latents_have_a_divergence_that_stays():
    model, batch = CODES, batch_for(CODES, 20)
    variables = variables_of(model)
    figures = jax.jit(model.evaluate)(variables, batch, KEY)
    assert float(figures["kl"]) == pytest.approx(2 * math.log(5), rel=1e-6)
    bound = jax.jit(model.log_prob, static_argnames="samples")
    one, three = (bound(variables, batch["x"], KEY, samples=k) for k in (1, 3))
    # a posterior without noise: one weight is all of them
    np.testing.assert_allclose(one, three, rtol=1e-5)
    assert float(one.mean()) == pytest.approx(float(figures["elbo"]), rel=1e-5)
    codebook = np.asarray(variables["codebook"]["params"]["codes"])
    z = np.asarray(jax.jit(model.encode)(variables, batch["x"])).reshape(20, 2, 2)
    z_e = vectors(model, variables, batch["x"])
    nearest = ((np.asarray(z_e).reshape(20, 2, 1, 2) - codebook) ** 2).sum(-1).argmin(-1)
    np.testing.assert_allclose(z, codebook[nearest], rtol=1e-5)
    draws = np.asarray(model.sample_prior(variables, KEY, 500)).reshape(1000, 2)
    which = ((draws[:, None] - codebook) ** 2).sum(-1).argmin(-1)
    np.testing.assert_allclose(draws, codebook[which])
    assert np.abs(np.bincount(which, minlength=5) / 1000 - 0.2).max() < 0.07


def test_the_codebook_follows_the_encoder_and_the_encoder_the_bound():
    model, batch = with_codebook(commitment=0.7), batch_for(CODES, 20)
    variables = variables_of(model)
    z_e = np.asarray(vectors(model, variables, batch["x"]))
    z = np.asarray(jax.jit(model.encode)(variables, batch["x"]))
    grads = jax.jit(jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value))(variables)
    codebook = np.asarray(variables["codebook"]["params"]["codes"])
    nearest = ((z.reshape(-1, 1, 2) - codebook) ** 2).sum(-1).argmin(-1)
    expected = np.zeros_like(codebook)
    np.add.at(expected, nearest, 2 * (z - z_e).reshape(-1, 2) / 20)
    np.testing.assert_allclose(grads["codebook"]["params"]["codes"], expected, rtol=1e-4, atol=1e-5)
    # the encoder's last bias: the likelihood's slope at the code, straight through, and the commitment's
    target = model._observe(jnp.asarray(batch["x"]), None)[1]

    def rated(z):
        return -model.likelihood.log_prob(model._parameters(variables, z, None, target), target).mean()

    slope = np.asarray(jax.jit(jax.grad(rated))(jnp.asarray(z))) + 0.7 * 2 * (z_e - z) / 20
    np.testing.assert_allclose(grads["encoder"]["params"]["head"]["bias"], slope.sum(0), rtol=1e-3, atol=1e-4)


def test_averaged_codes_move_without_a_loss():
    model, batch = with_codebook(decay=0.9, restart=0.0), batch_for(CODES, 20)
    variables = jax.jit(model.init)(KEY, batch)
    assert "codebook" not in model.players and "codebook" in variables
    out = jax.jit(model.loss)(variables, batch, KEY, Clock())
    z_e = vectors(model, variables, batch["x"]).reshape(-1, 2)
    before = variables["codebook"]["averages"]
    codes = model.posterior.codebook.codes(variables["codebook"])
    counts, sums = update_averages(**before, z_e=z_e, codes=nearest_codes(z_e, codes), decay=0.9)
    after = out.statistics["codebook"]["averages"]
    np.testing.assert_allclose(after["counts"], counts, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after["sums"], sums, rtol=1e-4, atol=1e-5)
    distance = float(((z_e - codes[nearest_codes(z_e, codes)]) ** 2).sum() / 20)
    assert float(out.metrics["commitment"]) == pytest.approx(distance, rel=1e-4)
    assert float(out.value + out.metrics["elbo"]) == pytest.approx(0.25 * distance, rel=1e-2, abs=1e-5)


def test_a_fresh_codebook_stands_for_the_encoders_vectors():
    batch = batch_for(CODES, 50)
    variables = jax.jit(CODES.init)(KEY, batch)
    z_e = vectors(CODES, variables, batch["x"])
    z = jax.jit(CODES.encode)(variables, batch["x"])
    assert ((z - z_e) ** 2).sum() < 0.5 * ((z_e - z_e.reshape(-1, 2).mean(0).repeat(2)) ** 2).sum()


def test_what_does_not_fit_is_refused():
    model = SMALL["pixels"]
    with pytest.raises(ValueError, match="`axes` must be from 1 to 3, .*, got 4"):
        dataclasses.replace(model, axes=4)
    with pytest.raises(ValueError, match="`axes` .* got 0"):
        dataclasses.replace(model, axes=0)
    with pytest.raises(ValueError, match=r"`word_dropout` must be from 0 to 1, got 1.5"):
        dataclasses.replace(model, word_dropout=1.5)
    with pytest.raises(ValueError, match="multiple of code_dim=3, got 4"):
        dataclasses.replace(CODES, posterior=QuantizedPosterior(Codebook(code_dim=3)))
    with pytest.raises(ValueError, match="UniformCodes"):
        dataclasses.replace(CODES, prior=StandardPrior())
    with pytest.raises(ValueError, match="must not be UniformCodes"):
        dataclasses.replace(SMALL["symbols"], prior=UniformCodes(CODEBOOK))
    with pytest.raises(ValueError, match="posterior's codebook"):
        dataclasses.replace(CODES, prior=UniformCodes(dataclasses.replace(CODEBOOK, num_codes=4)))
    with pytest.raises(ValueError, match="must be those of the likelihood, 3, got 4"):
        dataclasses.replace(SMALL["symbols"], levels=4)
    with pytest.raises(ValueError, match=r"events of shape \(3,\)"):
        jax.eval_shape(SMALL["symbols"].init, KEY, {"x": jnp.zeros((4, 2), jnp.uint8)})


@pytest.mark.slow
@pytest.mark.parametrize("model", [SMALL["symbols"], CODES], ids=["normal", "codes"])
def test_objectives_and_games_of_the_vae_are_at_hand(model):
    batch = batch_for(model, 30)
    variables = drawn(model, batch)
    weighted = (dataclasses.replace(model, objective=ELBO(weight)) for weight in (1.0, 2.0))
    one, two = (jax.jit(m.loss)(variables, batch, KEY, Clock()) for m in weighted)
    assert float(two.value - one.value) == pytest.approx(float(one.metrics["kl"]), rel=1e-4)
    assert (model is CODES) == (abs(float(one.value + one.metrics["elbo"])) > 1e-3)
    plays = {name: play._replace(optimizer=optax.sgd(0.1)) for name, play in lagging_inference(model, 2).items()}
    assert sorted(player for play in plays.values() for player in play.players) == sorted(model.players)
    state = jax.jit(lambda: init_state(model, plays, KEY, batch))()
    after = jax.jit(make_train_step(plays))(state, batch)[0]
    differ = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.params, after.params)
    assert {player for player in differ if any(jax.tree.leaves(differ[player]))} == {"encoder"}
