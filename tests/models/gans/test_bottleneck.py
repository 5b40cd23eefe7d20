import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.gans import GAN, Bottleneck
from jaxgen.nets import MLP
from jaxgen.nets.normalization import BatchNorm
from tests.models.gans.linear import NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, batch_for, drawn

GAME = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, terms=(Bottleneck(0.4, code_dim=3, dual_rate=0.05),))
BATCH = batch_for(GAME)
START = drawn(GAME, BATCH)


def with_beta(variables, beta):
    return {**variables, "critic": {**variables["critic"], "dual": {"beta": jnp.float32(beta)}}}


def divergences(params, x):
    """KL(N(mu, sigma^2) || N(0, I)) of each row."""
    mean = linear(params["critic"]["layers_0"]["code"]["mean"], x)
    log_variance = 14 * jnp.tanh(linear(params["critic"]["layers_0"]["code"]["log_variance"], x) / 14)
    return 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)


def samples(params):
    return linear(params["generator"], Z)


def of_means(params, x):
    return linear(params["critic"], linear(params["critic"]["layers_0"]["code"]["mean"], x))[:, 0]


def test_the_critic_pays_for_what_its_codes_carry():
    def plain(params):
        whole = {player: {**v, "params": params[player]} for player, v in with_beta(START, 0).items()}
        return jax.jit(GAME.critic_loss)(whole, BATCH, KEY, Clock()).value

    def expected(params):
        kl = (divergences(params, BATCH["x"]).mean() + divergences(params, samples(params)).mean()) / 2
        return plain(params) + 2.5 * (kl - 0.4)

    out = as_written(GAME.plays()["critic"], with_beta(START, 2.5), BATCH, expected)
    params = {player: v["params"] for player, v in START.items()}
    kl = float((divergences(params, BATCH["x"]).mean() + divergences(params, samples(params)).mean()) / 2)
    assert abs(kl - 0.4) > 0.05
    assert float(out.metrics["kl"]) == pytest.approx(kl, rel=1e-4) and float(out.metrics["beta"]) == 2.5
    assert float(out.memory["critic"]["dual"]["beta"]) == pytest.approx(2.5 + 0.05 * (kl - 0.4), rel=1e-5)


def test_beta_rises_with_too_much_information_and_stops_at_zero():
    assert jax.jit(GAME.init)(KEY, BATCH)["critic"]["dual"]["beta"] == 0

    @jax.jit
    def after(variables):
        models = (
            dataclasses.replace(GAME, terms=(Bottleneck(much, code_dim=3, dual_rate=3.0),)) for much in (0.0, 100.0)
        )
        losses = [jax.jit(model.critic_loss)(variables, BATCH, KEY, Clock()) for model in models]
        return [loss.memory["critic"]["dual"]["beta"] for loss in losses]

    params = {player: v["params"] for player, v in START.items()}
    kl = jnp.concatenate([divergences(params, x) for x in (BATCH["x"], samples(params))]).mean()
    rises, stops = after(with_beta(START, 0.7))
    assert float(rises) == pytest.approx(0.7 + 3 * float(kl), rel=1e-4)
    assert float(stops) == 0


def test_the_critic_scores_draws_of_the_code_and_the_generator_is_judged_by_means():
    def expected(params):
        return jnp.logaddexp(-of_means(params, samples(params)), 0).mean()

    as_written(GAME.plays()["generator"], START, BATCH, expected)
    np.testing.assert_allclose(
        jax.jit(GAME.score)(START, BATCH["x"]),
        of_means({player: v["params"] for player, v in START.items()}, BATCH["x"]), rtol=1e-4, atol=1e-6,
    )  # fmt: skip

    # a head that is the first code, of standard deviation e^(3/2) around the means
    variables = jax.tree.map(np.copy, START)
    critic = variables["critic"]["params"]
    critic["head"]["out"] = {"kernel": np.float32([[1], [0], [0]]), "bias": np.zeros(1, np.float32)}
    critic["layers_0"]["code"]["log_variance"]["kernel"][:] = 0
    critic["layers_0"]["code"]["log_variance"]["bias"][:] = 14 * np.arctanh(3 / 14)
    figures = jax.jit(jax.vmap(lambda key: GAME.critic_loss(variables, BATCH, key, Clock()).metrics))
    found = figures(jax.random.split(KEY, 4000))
    mean = linear(critic["layers_0"]["code"]["mean"], BATCH["x"])[:, 0].mean()
    # of the mean of six rows, each with noise of its own
    std = np.exp(1.5) / np.sqrt(6)
    assert np.std(found["real"]) == pytest.approx(std, rel=0.05)
    assert np.mean(found["real"]) == pytest.approx(mean, abs=4 * std / np.sqrt(4000))
    # data and samples are drawn apart
    assert abs(np.corrcoef(found["real"], found["fake"])[0, 1]) < 0.08


def test_the_generator_is_judged_by_the_statistics_of_its_batch():
    model = dataclasses.replace(GAME, critic=MLP((3,), norm=BatchNorm))
    variables = drawn(model, BATCH)
    critic = variables["critic"]["params"]
    h = linear(variables["generator"]["params"], np.asarray(Z)) @ critic["network"]["Dense_0"]["kernel"]
    affine = critic["network"]["BatchNorm_0"]["BatchNorm_0"]
    h = np.maximum(0, (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5) * affine["scale"] + affine["bias"])
    score = jax.jit(model.generator_loss)(variables, BATCH, KEY, Clock()).metrics["score"]
    expected = of_means({"critic": critic}, h).mean()
    assert float(score) == pytest.approx(float(expected), rel=1e-4)
