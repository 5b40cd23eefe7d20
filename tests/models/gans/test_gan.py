import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock
from jaxgen.models.gans import GAN, packing
from jaxgen.nets import MLP, Concatenate, FiLM, Projection, SpectralDense
from jaxgen.nets.normalization import BatchNorm
from tests.models.gans.linear import CONTEXT, NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, batch_for, drawn

GAME = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR)
BATCH = batch_for(GAME)
X = BATCH["x"]


def softplus(x):
    return jnp.logaddexp(x, 0)


def test_packs_are_of_rows_a_whole_number_of_packs_apart():
    pack = jax.jit(packing.pack, static_argnums=1)
    rows = np.arange(6)[:, None] * 10 + np.arange(2)
    np.testing.assert_array_equal(pack(rows, 2), [[0, 1, 30, 31], [10, 11, 40, 41], [20, 21, 50, 51]])
    # where they do not come out even the first ones are there twice
    np.testing.assert_array_equal(pack(rows[:5, :1], 2), [[0, 30], [10, 40], [20, 0]])
    np.testing.assert_array_equal(pack(rows[:4, :1], 3), [[0, 20, 0], [10, 30, 10]])
    np.testing.assert_array_equal(pack(rows[:1, :1], 3), [[0, 0, 0]])
    # images keep their places, and one row of channels is followed by the other
    images = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    packed = pack(images, 2)
    assert packed.shape == (2, 3, 2, 4)
    np.testing.assert_array_equal(packed[1, 2, 0], [*images[1, 2, 0], *images[3, 2, 0]])
    assert pack(None, 2) is None


def test_a_packed_game_scores_rows_and_their_conditions_together():
    model = dataclasses.replace(GAME, packing=2)
    batch = {"x": X, "context": CONTEXT}
    variables = drawn(model, batch)

    def scores(params, x):
        return linear(params["critic"], jnp.concatenate([x[:3], x[3:], CONTEXT[:3], CONTEXT[3:]], -1))[:, 0]

    def samples(params):
        return linear(params["generator"], jnp.concatenate([Z, CONTEXT], -1))

    def critic(params):
        return softplus(-scores(params, X)).mean() + softplus(scores(params, samples(params))).mean()

    def generator(params):
        return softplus(-scores(params, samples(params))).mean()

    plays = model.plays()
    figures = as_written(plays["critic"], variables, batch, critic).metrics
    as_written(plays["generator"], variables, batch, generator)
    params = {player: v["params"] for player, v in variables.items()}
    assert float(figures["real"]) == pytest.approx(float(scores(params, X).mean()), rel=1e-4)
    assert float(figures["fake"]) == pytest.approx(float(scores(params, samples(params)).mean()), rel=1e-4)


def test_an_odd_number_of_packed_rows_is_scored_and_evaluated():
    model = dataclasses.replace(GAME, packing=2)
    variables = drawn(model, BATCH)
    score, figures = jax.jit(
        lambda x: (model.score(variables, x), model.evaluate(variables, {"x": x}, KEY))
    )(X[:5])  # fmt: skip

    def scores(x):
        return linear(variables["critic"]["params"], np.concatenate([x[:3], x[[3, 4, 0]]], -1))[:, 0]

    fake = linear(variables["generator"]["params"], np.asarray(PRIOR.sample(KEY, 5)))
    np.testing.assert_allclose(score, scores(X), rtol=1e-4)
    assert float(figures["score_gap"]) == pytest.approx(float(scores(X).mean() - scores(fake).mean()), rel=1e-4)


def scaled_up(x, key, step):
    return (2 + step) * x


def moved(x, key, step):
    return x + 1


def noise_instead(x, key, step):
    return jax.random.normal(key, x.shape)


def noise_beside(x, key, step):
    return jnp.concatenate([x[:, :1], jax.random.normal(key, (len(x), 1))], -1)


def noise_before(x, key, step):
    return jnp.concatenate([jax.random.normal(key, (len(x), 1)), x[:, 1:]], -1)


def test_the_critic_is_given_transformed_rows_in_training_alone():
    model = dataclasses.replace(GAME, transforms=(scaled_up, moved))
    variables = drawn(model, BATCH)

    def seen(params, x):
        return linear(params["critic"], 5 * x + 1)[:, 0]

    def critic(params):
        return softplus(-seen(params, X)).mean() + softplus(seen(params, linear(params["generator"], Z))).mean()

    def generator(params):
        return softplus(-seen(params, linear(params["generator"], Z))).mean()

    plays = model.plays()
    as_written(plays["critic"], variables, BATCH, critic, clock=Clock(step=7, phase_step=3, moves=1))
    as_written(plays["generator"], variables, BATCH, generator, clock=Clock(step=7, phase_step=3, moves=1))

    @jax.jit
    def in_use(variables):
        return [(m.sample(variables, KEY, 6), m.evaluate(variables, BATCH, KEY)["score_gap"]) for m in (model, GAME)]

    ours, plain = in_use(variables)
    jax.tree.map(np.testing.assert_array_equal, ours, plain)
    np.testing.assert_allclose(ours[0], linear(variables["generator"]["params"], np.asarray(Z)), rtol=1e-5)


def test_transforms_draw_for_themselves():
    kernel, alike = np.float32([[1.0], [-1.0]]), {"x": np.asarray(X)}
    critic = {"critic": {"params": {"head": {"out": {"kernel": kernel, "bias": np.zeros(1, np.float32)}}}}}
    variables = {**drawn(GAME, BATCH), **critic}

    @jax.jit
    def figures(key):
        one, two = (
            dataclasses.replace(GAME, transforms=t).critic_loss(variables, alike, key, Clock()).metrics
            for t in ((noise_instead,), (noise_beside, noise_before))
        )
        return one["real"] - one["fake"], two["real"]

    apart, difference = figures(KEY)
    # data and samples have noise of their own, and one transform's is not the next one's
    assert abs(float(apart)) > 1e-3 and abs(float(difference)) > 1e-3


CONDITIONED = {
    "projection": (
        Projection(),
        lambda p, x, c: linear(p, x)[:, 0] + (c @ p["condition"]["embedding"]["kernel"] * x).sum(-1),
    ),
    "embedding": (
        Concatenate(4), lambda p, x,
        c: linear(p, jnp.concatenate([x, linear(p["condition"]["embedding"], c)], -1))[:, 0]
    ),
    "product": (FiLM(), lambda p, x, c: linear(p, x * linear(p["condition"]["factors"], c))[:, 0]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CONDITIONED)
def test_conditions_enter_scores_and_samples_as_their_papers_write(name):
    condition, score = CONDITIONED[name]
    model = dataclasses.replace(GAME, generator_condition=FiLM(), critic_condition=condition)
    batch = {"x": X, "context": CONTEXT}
    variables = drawn(model, batch)

    def samples(params):
        p = params["generator"]
        return linear(p, Z * linear(p["condition"]["factors"], CONTEXT))

    def critic(params):
        on_real, on_fake = (score(params["critic"], x, CONTEXT) for x in (X, samples(params)))
        return softplus(-on_real).mean() + softplus(on_fake).mean()

    def generator(params):
        return softplus(-score(params["critic"], samples(params), CONTEXT)).mean()

    plays = model.plays()
    as_written(plays["critic"], variables, batch, critic)
    as_written(plays["generator"], variables, batch, generator)


def test_the_critics_statistics_move_on_data_and_then_on_samples():
    model = dataclasses.replace(GAME, critic=MLP((3,), norm=BatchNorm))
    variables = drawn(model, BATCH)
    critic_loss, generator_loss = (jax.jit(loss) for loss in (model.critic_loss, model.generator_loss))
    critic = variables["critic"]
    fake = linear(variables["generator"]["params"], np.asarray(Z))
    hidden = [x @ critic["params"]["network"]["Dense_0"]["kernel"] for x in (X, fake)]

    def statistics(collections):
        return collections["batch_stats"]["network"]["BatchNorm_0"]["BatchNorm_0"]

    expected = {"mean": statistics(critic)["mean"], "var": statistics(critic)["var"]}
    for h in hidden:
        expected = {name: 0.9 * old + 0.1 * getattr(h, name)(0) for name, old in expected.items()}
    out = critic_loss(variables, BATCH, KEY, Clock())
    for name, value in expected.items():
        np.testing.assert_allclose(statistics(out.statistics["critic"])[name], value, rtol=1e-4, atol=1e-6)
    # each batch is normalised by itself, in either play
    affine = critic["params"]["network"]["BatchNorm_0"]["BatchNorm_0"]
    scores = [
        linear(
            critic["params"],
            np.maximum(0, (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5) * affine["scale"] + affine["bias"]),
        )
        for h in hidden
    ]
    theirs = generator_loss(variables, BATCH, KEY, Clock())
    for value, score in zip(
        (out.metrics["real"], out.metrics["fake"], theirs.metrics["score"]), (*scores, scores[1]), strict=True
    ):
        assert float(value) == pytest.approx(float(score.mean()), rel=1e-4)
    assert theirs.statistics == {"generator": {}}


def test_spectral_norms_are_approached_in_the_critics_play_alone():
    model = dataclasses.replace(GAME, critic=nn.Sequential((SpectralDense(3),)))
    variables = drawn(model, BATCH)
    kernel = np.asarray(variables["critic"]["params"]["network"]["layers_0"]["kernel"])

    def after(u):
        v = kernel @ u
        right = v @ kernel
        return right / np.linalg.norm(right)

    start = variables["critic"]["spectral"]["network"]["layers_0"]["SpectralNorm_0"]["u"]
    out = jax.jit(model.critic_loss)(variables, BATCH, KEY, Clock())
    found = out.statistics["critic"]["spectral"]["network"]["layers_0"]["SpectralNorm_0"]["u"]
    # once on data, once on samples
    np.testing.assert_allclose(found, after(after(start)), rtol=1e-4, atol=1e-6)
    assert np.abs(found - after(start)).max() > 1e-4
    assert jax.eval_shape(model.generator_loss, variables, BATCH, KEY, Clock()).statistics == {"generator": {}}
