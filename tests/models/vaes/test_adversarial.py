"""AAE, ALI, AVB and AAVAE: who is moved by what, and what their games are worth where that is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.distributions import RadialMixture
from jaxgen.distributions import Bernoulli, DiscretizedLogistic, Gaussian
from jaxgen.models.vaes import AAE, AAVAE, ALI, AVB, ContextPrior, ImplicitPosterior, ImportanceWeighted
from jaxgen.nets import MLP, ConvDecoder, ConvEncoder, Joint
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training.description import build, describe
from tests.models.parameters import KEY, batch_for, drawn
from tests.models.vaes.test_vae import LinearGaussian

HIDDEN = MLP((5,), nn.tanh)
SMALL = {
    "AAE": AAE(HIDDEN, HIDDEN, HIDDEN, (2,), latent_dim=3, likelihood=Gaussian(std=0.5)),
    "AAE of greys, Gaussian encoder": AAE(
        HIDDEN, HIDDEN, HIDDEN, (3, 3, 1), latent_dim=2, levels=9, stochastic=True, prior=RadialMixture(3)
    ),
    "AAE of levels": AAE(HIDDEN, HIDDEN, HIDDEN, (4,), latent_dim=2, likelihood=DiscretizedLogistic(9), levels=9),
    "AAE of classes": AAE(
        HIDDEN, HIDDEN, HIDDEN, (2,), latent_dim=2, likelihood=Gaussian(), prior=RadialMixture(4), num_classes=4
    ),
    "ALI": ALI(HIDDEN, HIDDEN, Joint(HIDDEN), (3, 3, 1), latent_dim=2, levels=9, stochastic=True),
    "BiGAN of images": ALI(
        ConvEncoder((3,)), ConvDecoder((4, 4), (3, 3)), Joint(HIDDEN, ConvEncoder((3,))), (8, 8, 1), latent_dim=2,
        levels=17,
    ),
    "AVB": AVB(
        HIDDEN, HIDDEN, (2,), latent_dim=3, likelihood=Gaussian(), adversary=Joint(HIDDEN),
        posterior=ImplicitPosterior(num_functions=2, noise_dim=3, widths=(4,)),
    ),
    "AVB of greys, against the prior": AVB(
        HIDDEN, HIDDEN, (3, 3, 1), latent_dim=2, levels=9, adversary=Joint(HIDDEN), adaptive_contrast=False,
        posterior=ImplicitPosterior(num_functions=2, noise_dim=2, widths=(4,)),
    ),
    "AAVAE": AAVAE(HIDDEN, HIDDEN, (2,), latent_dim=3, likelihood=Gaussian(), discriminator=HIDDEN),
    "AAVAE of greys": AAVAE(HIDDEN, HIDDEN, (3, 3, 1), latent_dim=2, levels=9, discriminator=HIDDEN),
}  # fmt: skip
VAE_PLAYERS = {"encoder", "decoder"}
MOVED = {
    AAE: {"reconstruction": VAE_PLAYERS, "discriminator": {"discriminator"}, "regularisation": {"encoder"}},
    ALI: {"discriminator": {"discriminator"}, "autoencoder": VAE_PLAYERS},
    AVB: {"autoencoder": {*VAE_PLAYERS, "basis"}, "adversary": {"adversary"}},
    AAVAE: {"discriminator": {"discriminator"}, "elbo": VAE_PLAYERS},
}


def batch_of(model, rows=6):
    classes = getattr(model, "num_classes", 0)
    return batch_for(model, rows) | ({"label": np.arange(rows, dtype=np.int32) % classes} if classes else {})


def squared(tree):
    return sum(float((np.asarray(leaf) ** 2).sum()) for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_each_play_moves_its_own_players_and_the_model_answers_in_data_units(model):
    assert isinstance(model, Model) and build(describe(model)) == model
    batch = batch_of(model)
    variables = drawn(model, batch)
    plays = model.plays()
    assert {name: set(play.players) for name, play in plays.items()} == MOVED[type(model)]
    assert set().union(*MOVED[type(model)].values()) == set(variables)

    @jax.jit
    def everything(variables):
        def gradient(play):
            return jax.jit(jax.grad(lambda v: play.loss(v, batch, KEY, Clock()).value))(variables)

        grads = {name: gradient(play) for name, play in plays.items()}
        samples, again = model.sample(variables, KEY, 300), model.reconstruct(variables, batch["x"], KEY)
        return grads, model.evaluate(variables, batch, KEY), samples, again

    grads, figures, samples, again = everything(variables)
    for name, play in plays.items():
        for player in play.players:
            for leaf in jax.tree.leaves(grads[name][player]):
                assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, (name, player)
    # who judges does so on fixed examples
    judge = next(name for name in plays if name in ("discriminator", "adversary"))
    assert squared({player: grads[judge][player] for player in variables if player != judge}) == 0
    assert model.monitor[0] in figures and all(np.isfinite(value) for value in figures.values())
    assert samples.shape == (300, *model.event_shape) and again.shape == batch["x"].shape
    assert samples.dtype == again.dtype == batch["x"].dtype
    if model.levels is not None:
        assert samples.max() <= model.levels - 1 and samples.max() > 1


def logits_of(model, variables, z):
    """The discriminator by hand: one hidden layer of tanh."""
    p = variables["discriminator"]["params"]
    layer, out = p["network"]["Dense_0"], p["head"]["out"]
    return (np.tanh(z @ layer["kernel"] + layer["bias"]) @ out["kernel"] + out["bias"])[:, 0]


def softplus(a):
    return np.logaddexp(0, a)


def test_the_prior_is_the_real_side_of_an_adversarial_autoencoder():
    # codes of no spread at all, and a prior that is nowhere near them
    model = dataclasses.replace(SMALL["AAE"], latent_dim=2, prior=RadialMixture(3, radius=6.0, along=1e-3, across=1e-3))
    batch = batch_of(model, 2000)
    variables = drawn(model, batch)
    codes = np.asarray(jax.jit(model.encode)(variables, batch["x"]))
    centres = RadialMixture(3, radius=6.0, along=0.0, across=0.0).sample(KEY, 3, jnp.arange(3))
    real = logits_of(model, variables, np.asarray(centres)).mean()
    fake = logits_of(model, variables, codes)
    value = jax.jit(model.discriminator_loss)(variables, batch, KEY, Clock())
    assert float(value.metrics["real"]) == pytest.approx(real, abs=0.02)
    assert float(value.metrics["fake"]) == pytest.approx(fake.mean(), rel=1e-4)
    on_real = softplus(-logits_of(model, variables, np.asarray(model.prior.sample(KEY, 5000)))).mean()
    assert float(value.value) == pytest.approx(on_real + softplus(fake).mean(), abs=0.02)
    assert abs(on_real - softplus(fake).mean()) > 0.1
    regularised = jax.jit(model.regularisation_loss)(variables, batch, KEY, Clock()).value
    assert float(regularised) == pytest.approx(softplus(-fake).mean(), rel=1e-4)
    reconstructed = jax.jit(model.reconstruction_loss)(variables, batch, KEY, Clock()).value
    means = np.asarray(jax.jit(model.decode)(variables, codes))
    squares = ((batch["x"] - means) ** 2).sum(-1).mean() / (2 * 0.5**2) + np.log(2 * np.pi * 0.5**2)
    assert float(reconstructed) == pytest.approx(squares, rel=1e-4)


def test_a_gaussian_encoder_draws_its_codes():
    model = SMALL["AAE of greys, Gaussian encoder"]
    batch = batch_of(model)
    variables = drawn(model, batch)
    draws = jax.jit(jax.vmap(lambda key: model.encode(variables, batch["x"], key)))(jax.random.split(KEY, 3000))
    head = {"params": variables["encoder"]["params"]}
    mean, log_variance = model._encoder.apply(head, jnp.asarray(batch["x"]) / 8)
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(draws.std(0), np.exp(log_variance / 2), rtol=0.1)
    np.testing.assert_allclose(jax.jit(model.encode)(variables, batch["x"]), mean, rtol=1e-5)


def test_classes_have_components_of_their_own_and_the_discriminator_sees_which():
    model = SMALL["AAE of classes"]
    batch = batch_of(model, 8)
    variables = drawn(model, batch)
    real = model._prior_codes(batch, KEY)
    angles = np.arctan2(real[:, 1], real[:, 0]) / (np.pi / 2)
    np.testing.assert_array_equal(np.round(angles).astype(int) % 4, batch["label"])
    losses = [
        jax.jit(model.regularisation_loss)(variables, {**batch, "label": label}, KEY, Clock()).value
        for label in (batch["label"], np.roll(batch["label"], 1))
    ]
    assert abs(losses[0] - losses[1]) > 1e-4
    with pytest.raises(ValueError, match="must have labels"):
        jax.eval_shape(model.init, KEY, {"x": batch["x"]})
    with pytest.raises(ValueError, match="must have components"):
        dataclasses.replace(model, prior=None)


def test_petals_are_drawn_and_rated_alike():
    petals = RadialMixture(5, radius=3.0, along=0.8, across=0.3)
    z = petals.sample(KEY, 20_000)
    line = np.linspace(-8, 8, 400)
    mesh = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2).astype(np.float32)
    density = np.exp(np.asarray(petals.log_prob(mesh), np.float64)) * (line[1] - line[0]) ** 2
    assert density.sum() == pytest.approx(1, abs=1e-3)
    minus_entropy = float((density * np.asarray(petals.log_prob(mesh))).sum())
    assert float(petals.log_prob(z).mean()) == pytest.approx(minus_entropy, abs=0.03)
    np.testing.assert_allclose(np.cov(np.asarray(z).T), (mesh * density[:, None]).T @ mesh, atol=0.1)
    one = np.asarray(petals.sample(KEY, 5000, np.full(5000, 2)))
    ray = np.array([np.cos(0.8 * np.pi), np.sin(0.8 * np.pi)])
    assert (one @ ray).mean() == pytest.approx(3, abs=0.05) and (one @ ray).std() == pytest.approx(0.8, rel=0.05)
    across = one @ np.array([-ray[1], ray[0]])
    assert across.mean() == pytest.approx(0, abs=0.02) and across.std() == pytest.approx(0.3, rel=0.05)


def test_both_sides_of_ali_are_told_apart_and_both_are_moved():
    model = ALI(MLP(()), MLP(()), Joint(MLP(())), (2,), latent_dim=2, likelihood=Gaussian(std=1.0))
    batch = batch_for(model, 4000)
    variables = drawn(model, batch)
    w = np.asarray(variables["discriminator"]["params"]["head"]["out"]["kernel"])[:, 0]
    c = float(variables["discriminator"]["params"]["head"]["out"]["bias"][0])

    def affine(player):
        out = variables[player]["params"]["head"]["out"]
        return out["kernel"], out["bias"]

    (e, e0), (g, g0) = affine("encoder"), affine("decoder")
    on_real = np.concatenate([batch["x"], batch["x"] @ e + e0], -1) @ w + c
    z = np.random.default_rng(0).normal(size=(4000, 2))
    on_fake = np.concatenate([z @ g + g0, z], -1) @ w + c
    found = jax.jit(model.discriminator_loss)(variables, batch, KEY, Clock())
    assert float(found.metrics["real"]) == pytest.approx(on_real.mean(), rel=1e-4)
    assert float(found.metrics["fake"]) == pytest.approx(on_fake.mean(), abs=0.05)
    assert float(found.value) == pytest.approx(softplus(-on_real).mean() + softplus(on_fake).mean(), abs=0.03)
    value = jax.jit(model.autoencoder_loss)(variables, batch, KEY, Clock()).value
    assert float(value) == pytest.approx(softplus(on_real).mean() + softplus(-on_fake).mean(), abs=0.03)
    # the encoder's gradient is that of the first term, which an implementation without it leaves at zero
    grads = jax.jit(jax.grad(lambda v: model.autoencoder_loss(v, batch, KEY, Clock()).value))(variables)
    push = (1 / (1 + np.exp(-on_real)))[:, None] * w[2:]
    by_encoder = grads["encoder"]["params"]["head"]["out"]
    np.testing.assert_allclose(by_encoder["kernel"], batch["x"].T @ push / 4000, atol=1e-5)
    np.testing.assert_allclose(by_encoder["bias"], push.mean(0), atol=1e-5)
    pull = -(1 / (1 + np.exp(on_fake)))[:, None] * w[:2]
    np.testing.assert_allclose(grads["decoder"]["params"]["head"]["out"]["bias"], pull.mean(0), atol=0.01)


class KnownContrast(nn.Module):
    """log q(z|x) - log p(z), or - log r(z|x) of a normalised z, for a normal q of the affine encoder below."""

    slope: tuple
    shift: tuple
    std: tuple
    r_shift: tuple | None = None
    r_std: tuple | None = None

    def __call__(self, pair):
        x, z = pair
        mean, std = x @ jnp.array(self.slope) + jnp.array(self.shift), jnp.array(self.std)
        log_other = -0.5 * (z**2).sum(-1)
        if self.r_std is not None:
            # z is (z - mean - r_shift) / r_std, and log r of it without the constants that q has too
            r_std = jnp.array(self.r_std)
            z = mean + jnp.array(self.r_shift) + r_std * z
            log_other = log_other - jnp.log(r_std).sum()
        log_q = -0.5 * (((z - mean) / std) ** 2).sum(-1) - jnp.log(std).sum()
        return (log_q - log_other)[:, None]


def known_avb(scale, adaptive):
    """The linear-Gaussian model, its posterior of `scale` times the spread as an implicit one, and the optimal T."""
    case = LinearGaussian()
    std = scale * np.sqrt(case.variance)
    slope, shift = case.to_mean.T, -case.to_mean @ case.b
    implicit = ImplicitPosterior(num_functions=1, noise_dim=2, widths=())
    model = AVB(
        MLP(()), MLP(()), (5,), latent_dim=2, likelihood=Gaussian(std=case.s), adaptive_contrast=adaptive,
        posterior=implicit,
    )  # fmt: skip
    noisy = {"params": {"functions": {"Dense_0": {"kernel": np.eye(2)[None], "bias": np.zeros((1, 2))}}}}
    encoder = {"head": {
        "location": {"kernel": slope, "bias": shift},
        "scales": {"kernel": np.zeros((5, 2)), "bias": np.log(np.expm1(std))},
    }}  # fmt: skip
    variables = {
        "encoder": {"params": encoder},
        "decoder": case.variables()["decoder"],
        "basis": noisy,
        "adversary": {"params": {"head": {"out": {"kernel": np.ones((1, 1)), "bias": np.zeros(1)}}}},
    }
    r = {}
    if adaptive:
        mean, log_variance = model.posterior_moments(variables, np.zeros((1, 5), np.float32))
        r = {"r_shift": tuple(map(float, mean[0] - shift)), "r_std": tuple(map(float, np.exp(log_variance[0] / 2)))}
    known = KnownContrast(tuple(map(tuple, slope.tolist())), tuple(shift.tolist()), tuple(std.tolist()), **r)
    return case, dataclasses.replace(model, adversary=known), variables


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [False, True], ids=["prior", "contrast"])
def test_with_the_optimal_adversary_the_loss_of_avb_is_the_bound(adaptive):
    case, model, variables = known_avb(1.0, adaptive)
    x = np.float32(case.marginal.rvs(50, random_state=0))
    # of the exact posterior every draw gives log p(x)
    out = jax.jit(model.loss)(variables, {"x": x}, KEY, Clock())
    assert float(out.value) == pytest.approx(-case.marginal.logpdf(x).mean(), rel=1e-4)
    figures = jax.jit(model.evaluate)(variables, {"x": x}, KEY)
    assert float(figures["adversarial_elbo"]) == pytest.approx(case.marginal.logpdf(x).mean(), rel=1e-4)
    # of one too wide by 1.5 in both dimensions the bound, short by 1.5^2 - 1 - 2 log 1.5
    case, model, variables = known_avb(1.5, adaptive)
    x = np.float32(case.marginal.rvs(40_000, random_state=0))
    value = jax.jit(model.loss)(variables, {"x": x}, KEY, Clock()).value
    assert float(-value) == pytest.approx(case.marginal.logpdf(x).mean() - (1.25 - 2 * np.log(1.5)), abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [False, True], ids=["prior", "contrast"])
def test_avb_has_the_bounds_gradient_and_its_adversary_rests_at_the_optimum(adaptive):
    case, model, variables = known_avb(1.5, adaptive)
    row = case.marginal.rvs(1, random_state=0)
    x = np.float32(np.tile(row, (50_000, 1)))
    m = np.array([0.3, -0.4])
    location = {"kernel": np.zeros((5, 2)), "bias": m}
    variables["encoder"]["params"]["head"]["location"] = location
    known = dataclasses.replace(model.adversary, slope=((0.0, 0.0),) * 5, shift=tuple(m.tolist()), parent=None)
    model = dataclasses.replace(model, adversary=known)
    autoencoder, adversary = (
        jax.jit(jax.grad(lambda v, play=play: play.loss(v, {"x": x}, KEY, Clock()).value))(variables)
        for play in model.plays().values()
    )
    std = 1.5 * np.sqrt(case.variance)
    by_mean = case.w.T @ (case.w @ m + case.b - row) / case.s**2 + m
    by_std = std * (case.w**2).sum(0) / case.s**2 + std - 1 / std
    head = autoencoder["encoder"]["params"]["head"]
    np.testing.assert_allclose(head["location"]["bias"], by_mean, atol=0.06)
    np.testing.assert_allclose(head["scales"]["bias"], by_std * -np.expm1(-std), atol=0.06)
    # no scaling and no shift of the optimal logit improves it; with the sides exchanged the slope is far from zero
    at_optimum = adversary["adversary"]["params"]["head"]["out"]
    assert abs(float(at_optimum["bias"][0])) < 0.01 and abs(float(at_optimum["kernel"][0, 0])) < 0.01
    turned = {**variables, "adversary": jax.tree.map(lambda a: -a, variables["adversary"])}
    worse, best = (jax.jit(model.adversary_loss)(v, {"x": x}, KEY, Clock()).value for v in (turned, variables))
    assert worse - best > (0.001 if adaptive else 0.5)


def test_an_adversary_that_is_not_optimal_pushes_the_posterior_through_normalised_draws():
    # were the moments moved with the draws, a normalised draw would not move at all
    model = dataclasses.replace(SMALL["AVB"], adversary=Joint(MLP(())))
    batch = batch_of(model)
    variables = drawn(model, batch)
    silent = {**variables, "adversary": jax.tree.map(jnp.zeros_like, variables["adversary"])}
    gradient = jax.jit(jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value))
    pushed, rested = (
        gradient(v)["encoder"]["params"]["head"]["location"]["bias"] for v in (variables, silent)
    )
    slope = np.asarray(variables["adversary"]["params"]["head"]["out"]["kernel"])[2:, 0]
    _, log_variance = model.posterior_moments(variables, batch["x"])
    np.testing.assert_allclose(pushed - rested, (slope * np.exp(-log_variance / 2)).mean(0), rtol=1e-3)


def test_the_moments_of_an_implicit_posterior_are_those_of_its_draws():
    model = SMALL["AVB"]
    batch = batch_of(model)
    variables = drawn(model, batch)
    draws = jax.jit(jax.vmap(lambda key: model.encode(variables, batch["x"], key)))(jax.random.split(KEY, 3000))
    mean, log_variance = jax.jit(model.posterior_moments)(variables, batch["x"])
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(draws.std(0), np.exp(log_variance / 2), rtol=0.15)
    np.testing.assert_allclose(jax.jit(model.encode)(variables, batch["x"]), mean, rtol=1e-5)
    assert np.ptp(mean, axis=0).min() > 0.05


@pytest.mark.slow
def test_an_aavae_weighs_real_and_generated_rows_by_the_discriminator():
    model = SMALL["AAVAE"]
    batch = batch_of(model, 500)
    variables = drawn(model, batch)

    def with_logit(kernel, bias):
        head = {"out": {"kernel": jnp.full((5, 1), kernel), "bias": jnp.full(1, bias)}}
        judged = {"params": {**variables["discriminator"]["params"], "head": head}}
        return {**variables, "discriminator": judged}

    loss = jax.jit(model.loss)
    of_real, of_all = (loss(with_logit(0.0, bias), batch, KEY, Clock()) for bias in (-1.0, 40.0))
    # a constant weight scales both bounds alike; of 1, the loss is that of real and generated rows together
    assert float(of_real.value) == pytest.approx(float(of_all.value) / (1 + np.e), rel=1e-4)
    assert float(of_all.value) > -1.5 * float(of_all.metrics["elbo"])
    # by hand, on the rows that this key gives
    judged = with_logit(3.0, 0.5)
    out = loss(judged, batch, KEY, Clock())
    pair_key, *keys = jax.random.split(KEY, 3)
    total, logits = 0.0, []
    for rows, key in zip(model._pair(judged, batch, pair_key), keys, strict=True):
        terms = model.terms(judged, rows, key, training=True)[0]
        logits.append(logits_of(model, judged, np.asarray(rows["x"])))
        weights = 1 / (1 + np.exp(-logits[-1]))
        assert weights.std() > 0.05
        total -= (weights * np.asarray(terms.reconstruction - terms.kl)).mean()
    assert float(out.value) == pytest.approx(total, rel=1e-4)
    # with the same key the discriminator sees the same rows, real ones to be called so
    game = jax.jit(model.discriminator_loss)(judged, batch, KEY, Clock()).value
    assert float(game) == pytest.approx(softplus(-logits[0]).mean() + softplus(logits[1]).mean(), rel=1e-4)
    # weights do not improve the loss
    grads = jax.jit(jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value))(judged)
    assert squared(grads["discriminator"]) == 0 and squared(grads["encoder"]) > 0


def test_a_perfect_discriminator_leaves_the_vae():
    class Perfect(nn.Module):
        def __call__(self, x):
            return jnp.where((x.sum(-1, keepdims=True) > 1000), 1.0, -1.0)

    model = AAVAE(HIDDEN, HIDDEN, (2,), latent_dim=3, likelihood=Gaussian(std=0.5), discriminator=Perfect())
    batch = {"x": 1000 + np.abs(batch_of(model, 50)["x"])}
    variables = drawn(model, batch)
    variables["discriminator"] = {"params": {"head": {"out": {"kernel": jnp.full((1, 1), 60.0), "bias": jnp.zeros(1)}}}}
    out = jax.jit(model.loss)(variables, batch, KEY, Clock())
    assert float(out.value) == pytest.approx(-float(out.metrics["elbo"]), rel=1e-6)
    assert (float(out.metrics["real"]), float(out.metrics["fake"])) == pytest.approx((1, 0), abs=1e-6)


def test_an_aavaes_discriminator_sees_pixels_that_are_on_or_off_on_both_sides():
    model = SMALL["AAVAE of greys"]
    batch = batch_of(model, 50)
    variables = drawn(model, batch)
    for rows in model._pair(variables, batch, KEY):
        assert set(np.unique(rows["x"])) == {0, 8} and rows["x"].dtype == np.uint8
        # nothing is drawn again
        np.testing.assert_array_equal(model.observed(rows["x"], jax.random.key(9)), rows["x"])
    real = model._pair(variables, batch, KEY)[0]["x"]
    assert np.corrcoef(np.ravel(real), np.ravel(batch["x"]))[0, 1] > 0.4


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x[1] if isinstance(x, tuple) else x
        return BatchNorm()(nn.Dense(4, use_bias=False)(x.reshape(len(x), -1)))


@pytest.mark.slow
def test_statistics_move_with_who_has_them_and_a_judge_may_have_none():
    for name in ("AAE", "ALI", "AVB", "AAVAE"):
        judge = "adversary" if name == "AVB" else "discriminator"
        model = dataclasses.replace(SMALL[name], **{judge: Normalised()})
        with pytest.raises(ValueError, match="batch statistics"):
            jax.eval_shape(model.init, KEY, batch_of(model))
        model = dataclasses.replace(SMALL[name], encoder=Normalised(), decoder=Normalised())
        batch = batch_of(model)
        variables = jax.jit(model.init)(KEY, batch)
        moved = [
            jax.eval_shape(play.loss, variables, batch, KEY, Clock()).statistics for play in model.plays().values()
        ]
        assert [set(state) for state in moved if state] == [VAE_PLAYERS], name


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must be Bernoulli or Gaussian"):
        ALI(HIDDEN, HIDDEN, Joint(HIDDEN), (4,), latent_dim=2, likelihood=DiscretizedLogistic(9), levels=9)
    with pytest.raises(ValueError, match="must be those of the likelihood, 16, got 9"):
        AAE(HIDDEN, HIDDEN, HIDDEN, (4,), latent_dim=2, likelihood=DiscretizedLogistic(16), levels=9)
    with pytest.raises(ValueError, match="must be an ImplicitPosterior"):
        dataclasses.replace(SMALL["AVB"], prior=ContextPrior(HIDDEN))
    with pytest.raises(ValueError, match="draws=1"):
        dataclasses.replace(SMALL["AVB"], objective=ImportanceWeighted(2))
    with pytest.raises(ValueError, match="must be an ELBO"):
        dataclasses.replace(SMALL["AAVAE"], objective=ImportanceWeighted(2))
    with pytest.raises(ValueError, match="number of levels"):
        jax.eval_shape(SMALL["AAE"].init, KEY, {"x": np.zeros((4, 2), np.uint8)})


@pytest.mark.slow
def test_a_context_reaches_all_who_should_have_it():
    context = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    for name in ("AAE", "ALI", "AVB", "AAVAE"):
        model = SMALL[name]
        batch = {**batch_of(model), "context": context}
        variables = drawn(model, batch)
        other = {**batch, "context": np.roll(context, 1, 0)}
        for play in model.plays().values():
            # an adversarial autoencoder's codes know nothing of it
            if name == "AAE" and "decoder" not in play.players:
                continue
            values = [jax.jit(play.loss)(variables, b, KEY, Clock()).value for b in (batch, other)]
            assert abs(values[0] - values[1]) > 1e-6, (name, play.players)
        samples = [jax.jit(model.sample, static_argnums=2)(variables, KEY, 6, b["context"]) for b in (batch, other)]
        assert np.abs(np.float32(samples[0]) - np.float32(samples[1])).max() > 0


def test_the_default_bernoulli_rates_greys_as_chances_in_an_adversarial_autoencoder():
    model = SMALL["AAE of greys, Gaussian encoder"]
    assert isinstance(model.likelihood, Bernoulli)
    batch = batch_of(model)
    variables = drawn(model, batch)
    z = jax.jit(model.encode)(variables, batch["x"])
    # a decoder that gives every pixel the logit 2
    head = jax.tree.map(jnp.zeros_like, variables["decoder"]["params"]["head"])
    head["out"]["bias"] = head["out"]["bias"] + 2.0
    variables["decoder"] = {"params": {**variables["decoder"]["params"], "head": head}}
    rated = model._rate(variables, z, batch)[0]
    expected = 2 * (batch["x"] / 8).reshape(6, -1).sum(-1) - 9 * softplus(2.0)
    np.testing.assert_allclose(rated, expected, rtol=1e-5)
