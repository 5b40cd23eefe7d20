import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.stats
from flax import linen as nn

import jaxgen
from jaxgen.models.gans import LeastSquares
from jaxgen.models.translation import RELEASED_WEIGHTS, UNIT, ClassifyingUNIT, Domain, UNITWeights, unit
from jaxgen.models.translation.unit_passes import Passes
from jaxgen.nets import MLP, BatchNorm, ExampleNorm, SpectralDense
from jaxgen.nets.image_coders import ImageEncoder, ResidualCoder
from jaxgen.nets.multi_scale import MultiScale, StridedCritic, StridedLayers, halve
from jaxgen.training import Settings, fit
from tests.models.gans.linear import as_written, linear
from tests.models.parameters import KEY, drawn

RNG = np.random.default_rng(0)
BATCH = {d: {"x": RNG.normal(size=(n, 3)).astype(np.float32)} for d, n in (("a", 4), ("b", 5))}
X = {d: part["x"] for d, part in BATCH.items()}
OTHER = {"a": "b", "b": "a"}
DOMAIN = Domain((3,), None)


def game(critic=nn.Dense(1), **fields):
    """Linear networks, so that losses have a closed form."""
    return UNIT(nn.Dense(3), nn.Dense(2), nn.Dense(3), nn.Dense(2), critic, DOMAIN, DOMAIN, **fields)


def noise(mean):
    return jnp.sin(1.0 + jnp.arange(mean.size)).reshape(mean.shape)


@pytest.fixture
def fixed_noise(monkeypatch):
    monkeypatch.setattr(Passes, "sample", lambda self, mean: mean + noise(mean))


class Written:
    """The networks of `game` by hand."""

    def __init__(self, params):
        self.params = params

    def latent(self, role, d):
        return self.params[role if role in self.params else f"{role}_{d}"]

    def code(self, x, d):
        return linear(self.latent("latent_encoder", d), linear(self.params[f"encoder_{d}"], x))

    def decode(self, z, d):
        decoder = self.params[f"decoder_{d}"]
        return linear(decoder, linear(decoder["network"], linear(self.latent("latent_decoder", d), z)))

    def score(self, x, d):
        return linear(self.params[f"critic_{d}"], x)

    def translation(self, d):
        """Of the examples of the other domain, to d."""
        mean = self.code(X[OTHER[d]], OTHER[d])
        return self.decode(mean + noise(mean), d)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("weights, loss", [(UNITWeights(5, 0.3, 2, 0.7, 3), None), (RELEASED_WEIGHTS, LeastSquares())])
def test_the_autoencoders_loss_is_the_papers(fixed_noise, shared, weights, loss):
    model = game(shared=shared, weights=weights, **({"adversarial_loss": loss} if loss else {}))

    def expected(params):
        nets, total = Written(params), 0.0
        for d, other in OTHER.items():
            mean = nets.code(X[d], d)
            z = mean + noise(mean)
            score = nets.score(nets.translation(d), d)
            # the later program has no factor 1/2: its weight of 1 is that of E (D - 1)^2
            adversarial = ((score - 1) ** 2).mean() if loss else 5 * -jnp.log(jax.nn.sigmoid(score)).mean()
            second = nets.code(nets.decode(z, other), other)
            back = nets.decode(second + noise(second), d)
            kl, cycle_kl, reconstruction, cycle = (0.01, 0.01, 10, 10) if loss else (0.5 * 0.3, 0.5 * 0.7, 2, 3)
            total += adversarial + kl * (mean**2).mean() + cycle_kl * (second**2).mean()
            total += reconstruction * abs(X[d] - nets.decode(z, d)).mean() + cycle * abs(X[d] - back).mean()
        return total

    # gradients of the shared networks come from both domains
    as_written(model.plays()["autoencoders"], drawn(model, BATCH), BATCH, expected)


@pytest.mark.slow
def test_the_critics_loss_is_the_papers_and_reaches_only_critics(fixed_noise):
    model = game(weights=UNITWeights(adversarial=3))
    variables = drawn(model, BATCH)

    def expected(params):
        nets = Written(params)
        return 3 * sum(
            jax.nn.softplus(-nets.score(X[d], d)).mean() + jax.nn.softplus(nets.score(nets.translation(d), d)).mean()
            for d in OTHER
        )

    as_written(model.plays()["critics"], variables, BATCH, expected)
    gradients = jax.jit(jax.grad(lambda v: model.critic_loss(v, BATCH, KEY, unit.Clock()).value))(variables)
    for player, tree in gradients.items():
        moved = any(bool((leaf != 0).any()) for leaf in jax.tree.leaves(tree))
        assert moved == player.startswith("critic"), player


def test_shared_networks_are_one_player_and_unshared_ones_two():
    shared, apart = game(), game(shared=False)
    common = ("encoder_a", "decoder_a", "encoder_b", "decoder_b")
    assert set(shared.plays()["autoencoders"].players) == {*common, "latent_encoder", "latent_decoder"}
    latent = {f"latent_{role}_{d}" for role in ("encoder", "decoder") for d in OTHER}
    assert set(apart.plays()["autoencoders"].players) == {*common, *latent}
    for model in (shared, apart):
        assert set(model.init(KEY, BATCH)) == {*model.plays()["autoencoders"].players, "critic_a", "critic_b"}
    kernels = [apart.init(KEY, BATCH)[f"latent_encoder_{d}"]["params"]["kernel"] for d in OTHER]
    assert not np.allclose(*kernels)


def test_the_divergence_has_the_sign_and_scale_of_the_closed_form():
    means = np.array([[0.0, -1.5], [0.7, 2.0]], np.float32)

    def divergence(m):
        q, p = scipy.stats.norm(m), scipy.stats.norm()
        return scipy.integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -12, 12)[0]

    assert float(unit.unit_kl(means)) == pytest.approx(np.mean([divergence(m) for m in means.ravel()]), rel=1e-5)


@pytest.mark.slow
def test_cycle_terms_are_zero_for_exact_inverses():
    model = game()
    kernels = {player: np.linalg.qr(RNG.normal(size=(3, 3)))[0].astype(np.float32) for player in "abl"}
    square = UNIT(nn.Dense(3), nn.Dense(3), nn.Dense(3), nn.Dense(3), nn.Dense(1), DOMAIN, DOMAIN)
    zero, one = np.zeros(3, np.float32), np.eye(3, dtype=np.float32)

    def layer(kernel):
        return {"kernel": kernel, "bias": zero}

    variables = {
        "latent_encoder": {"params": layer(kernels["l"])},
        "latent_decoder": {"params": layer(kernels["l"].T)},
        **{f"encoder_{d}": {"params": layer(kernels[d])} for d in OTHER},
        **{f"decoder_{d}": {"params": {"network": layer(one), "head": {"out": layer(kernels[d].T)}}} for d in OTHER},
    }
    metrics = jax.jit(square.evaluate)(variables, BATCH, KEY)
    assert float(metrics["cycle"]) < 1e-5 and float(metrics["reconstruction"]) < 1e-5
    np.testing.assert_allclose(
        square.translate(variables, X["a"]), X["a"] @ kernels["a"] @ kernels["b"].T, rtol=1e-4, atol=1e-5
    )
    assert float(jax.jit(model.evaluate)(drawn(model, BATCH), BATCH, KEY)["cycle"]) > 0.1


@pytest.mark.parametrize("kl, cycle", [(0, 0), (0.4, 0), (0, 2)])
def test_terms_without_weight_are_left_out(fixed_noise, kl, cycle):
    model = game(weights=UNITWeights(1, 1, 1, kl, cycle))
    out = model.autoencoder_loss(drawn(model, BATCH), BATCH, KEY, unit.Clock())
    assert ("cycle" in out.metrics) == bool(kl or cycle)
    terms = {name: 2 * float(value) for name, value in out.metrics.items()}
    expected = terms["adversarial"] + terms["kl"] + terms["reconstruction"]
    expected += kl * terms.get("cycle_kl", 0) + cycle * terms.get("cycle", 0)
    assert float(out.value) == pytest.approx(expected, rel=1e-5)


def test_translations_are_of_mean_codes_and_training_adds_unit_noise():
    model = game()
    variables = drawn(model, BATCH)
    nets = Written({player: v["params"] for player, v in variables.items()})
    mean = nets.code(X["a"], "a")
    np.testing.assert_allclose(model.translate(variables, X["a"]), nets.decode(mean, "b"), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(variables, X["a"]), nets.decode(mean, "a"), rtol=1e-4, atol=1e-5)
    many = np.repeat(X["a"][:1], 4000, 0)
    codes = np.asarray(model.encode(variables, many, "a", KEY))
    np.testing.assert_allclose(codes.mean(0), mean[0], atol=0.06)
    np.testing.assert_allclose(codes.std(0), 1, atol=0.05)
    samples = model.translate(variables, X["a"], "b", KEY, samples=3)
    assert samples.shape == (3, 4, 3) and not np.allclose(samples[0], samples[1])
    with pytest.raises(ValueError, match="a domain must be 'a' or 'b', got 'c'"):
        model.translate(variables, X["a"], "c")
    with pytest.raises(ValueError, match="`key` must be given"):
        model.translate(variables, X["a"], samples=3)
    training = Passes(model, variables, KEY)
    drawn_noise = np.asarray(training.sample(jnp.zeros((50, 80)))), np.asarray(training.sample(jnp.zeros((50, 80))))
    assert abs(drawn_noise[0].std() - 1) < 0.05 and abs(np.corrcoef(*map(np.ravel, drawn_noise))[0, 1]) < 0.1


def test_statistics_of_critics_are_apart_from_each_other_and_from_the_autoencoders_play():
    model = game(critic=SpectralDense(2))
    variables = model.init(KEY, BATCH)
    critics = model.critic_loss(variables, BATCH, KEY, unit.Clock()).statistics
    assert set(critics) == {"critic_a", "critic_b"}
    for player, updated in critics.items():
        own = [np.ravel(a) for a in jax.tree.leaves(variables[player]["spectral"])]
        assert not all(map(np.allclose, own, map(np.ravel, jax.tree.leaves(updated["spectral"])))), player
    updates = [np.concatenate([np.ravel(a) for a in jax.tree.leaves(updated)]) for updated in critics.values()]
    assert not np.allclose(*updates)
    statistics = model.autoencoder_loss(variables, BATCH, KEY, unit.Clock()).statistics
    assert not {"critic_a", "critic_b"} & set(statistics)
    with pytest.raises(ValueError, match="`encoder` must not have batch statistics"):
        UNIT(BatchNorm(), nn.Dense(2), nn.Dense(2), nn.Dense(2), nn.Dense(1), DOMAIN, DOMAIN).init(KEY, BATCH)
    with pytest.raises(ValueError, match="expects a batch with entries 'a' and 'b'"):
        model.init(KEY, {"a": BATCH["a"]})


def test_critics_at_several_scales_are_summed(fixed_noise):
    x = RNG.normal(size=(2, 5, 4, 2)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    windows = [[np.nanmean(padded[:, i : i + 3, j : j + 3], (1, 2)) for j in (0, 2)] for i in (0, 2, 4)]
    np.testing.assert_allclose(halve(x), np.stack([np.stack(row, 1) for row in windows], 1), rtol=1e-4, atol=1e-6)

    critic = MultiScale(nn.Dense(1), 3)
    variables = critic.init(KEY, x)
    assert len({float(v["kernel"][0, 0]) for v in variables["params"].values()}) == 3
    scores = critic.apply(variables, x)
    for i, score in enumerate(scores):
        np.testing.assert_allclose(score, linear(variables["params"][f"scale{i}"], x), rtol=1e-4, atol=1e-5)
        x = halve(x)

    image = Domain((4, 4, 1), None)
    model = UNIT(*[nn.Dense(2)] * 4, critic, image, image, adversarial_loss=LeastSquares())
    batch = {d: {"x": RNG.normal(size=(2, 4, 4, 1)).astype(np.float32)} for d in OTHER}
    variables = drawn(model, batch)
    networks = Passes(model, variables)
    fake = networks.decode(networks.sample(networks.code(batch["b"]["x"], "b")), "a")
    both = {"a": fake, "b": networks.decode(networks.sample(networks.code(batch["a"]["x"], "a")), "b")}
    expected = 0.0
    for d, y in both.items():
        for i in range(3):
            expected += 0.5 * ((linear(variables[f"critic_{d}"]["params"][f"scale{i}"], y) - 1) ** 2).mean() / 2
            y = halve(y)
    out = model.autoencoder_loss(variables, batch, KEY, unit.Clock())
    assert float(out.metrics["adversarial"]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.slow
def test_domains_may_differ_in_channels_and_images_keep_their_range():
    grey, colour = Domain((4, 4, 1)), Domain((4, 4, 3))
    encoder, decoder = ImageEncoder(2, 3, 1, 0), ResidualCoder(0, 0, 1, strided_norm=ExampleNorm)
    model = UNIT(encoder, ResidualCoder(), ResidualCoder(), decoder, nn.Dense(1), grey, colour)
    batch = {"a": {"x": np.zeros((2, 4, 4, 1), np.uint8)}, "b": {"x": np.full((2, 4, 4, 3), 255, np.uint8)}}
    variables = drawn(model, batch)
    code = jax.eval_shape(model.encode, variables, batch["a"]["x"])
    assert code.shape == (2, 2, 2, 4)
    y = model.translate(variables, batch["a"]["x"])
    assert y.shape == (2, 4, 4, 3) and y.dtype == jnp.uint8
    assert model.translate(variables, y, to="a").shape == (2, 4, 4, 1)
    networks = Passes(model, variables)
    assert float(abs(networks.decode(1e3 * jnp.ones((1, 2, 2, 4)), "b")).max()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_the_classifier_of_shared_features_learns_from_labels_of_a_alone(fixed_noise, shared):
    model = ClassifyingUNIT(
        *[nn.Dense(3)] * 4, nn.Dense(4), DOMAIN, DOMAIN, nn.Dense(5), 3, class_weight=2, feature_weight=0.5,
        dropout=0.0, weights=UNITWeights(adversarial=3), shared=shared,
    )  # fmt: skip
    label = np.array([2, 0, 1, 1])
    batch = {"a": {"x": X["a"], "label": label}, "b": BATCH["b"]}
    variables = drawn(model, batch)

    def judged(nets, x, d):
        head = nets.params["latent_critic"]
        features = linear(head["network"], linear(nets.params[f"critic_{d}"], x))
        return features, linear(head["score"], features)[:, 0], linear(head["classes"], features)

    def expected(params):
        nets, total = Written(params), 0.0
        log_p = jax.nn.log_softmax(judged(nets, X["a"], "a")[2])
        total += 3 * 2 * -log_p[np.arange(4), label].mean()
        for d, other in OTHER.items():
            real, fake = judged(nets, X[d], d)[1], judged(nets, nets.translation(d), d)[1]
            total += 3 * (jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean())
            mean = nets.code(X[d], d)
            images = {to: nets.decode(mean + noise(mean), to) for to in OTHER}
            total += 3 * 0.5 * abs(judged(nets, images["a"], "a")[0] - judged(nets, images["b"], "b")[0]).mean()
        return total

    play = model.plays()["critics"]
    assert set(play.players) == {"critic_a", "critic_b", "latent_critic"}
    as_written(play, variables, batch, expected)
    nets = Written({player: v["params"] for player, v in variables.items()})
    logits = judged(nets, X["b"], "b")[2]
    np.testing.assert_allclose(model.classify(variables, X["b"]), jax.nn.log_softmax(logits), rtol=1e-4, atol=1e-5)
    metrics = jax.jit(model.evaluate)(variables, batch, KEY)
    right = (judged(nets, X["a"], "a")[2].argmax(-1) == label).mean()
    assert float(metrics["accuracy_a"]) == pytest.approx(float(right)) and "accuracy_b" not in metrics


def test_the_classifiers_critic_scores_each_position_as_that_of_unit_does():
    image, x = Domain((8, 8, 1), None), RNG.normal(size=(2, 8, 8, 1)).astype(np.float32)
    critic, own, common = StridedCritic((2, 3, 4)), StridedLayers((2,)), StridedLayers((3, 4))
    model = ClassifyingUNIT(*[nn.Dense(2)] * 4, own, image, image, common, 5)
    first, *layers, last = critic.init(KEY, x)["params"].values()
    network, _ = model.network("latent_critic", "a")
    params = network.init(KEY, own.apply({"params": {"Conv_0": first}}, x))["params"]
    params["network"] = {f"Conv_{i}": layer for i, layer in enumerate(layers)}
    params["score"] = {"kernel": last["kernel"][0, 0], "bias": last["bias"]}
    passes = Passes(model, {"critic_a": {"params": {"Conv_0": first}}, "latent_critic": {"params": params}})
    (scores,) = model.scores(passes, x, "a")
    expected = critic.apply({"params": {f"Conv_{i}": layer for i, layer in enumerate((first, *layers, last))}}, x)
    assert scores.shape == (2, 1, 1)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def critics_on_fixed_translations(order, shift=0.0, steps=600, **weights):
    """Trained critics, and their data: three classes in a, the same with coordinates in `order` in b.

    Translations to b are in that order too, moved by `shift` in one coordinate; the autoencoders do not learn.
    """
    one, zero, exchange = np.eye(3, dtype=np.float32), np.zeros(3, np.float32), np.eye(3, dtype=np.float32)[:, order]
    label = RNG.integers(0, 3, 300)
    x = 2 * one[label] + RNG.normal(0, 0.2, (300, 3)).astype(np.float32)
    data = {"a": {"x": x, "label": label}, "b": {"x": x[::-1, order], "label": label[::-1]}}
    model = ClassifyingUNIT(*[nn.Dense(3)] * 4, nn.Dense(16), DOMAIN, DOMAIN, MLP((32,)), 3, **weights)

    def layer(kernel, bias=zero):
        return {"kernel": kernel, "bias": bias}

    fixed = {
        "latent_encoder": {"params": layer(10 * one)}, "latent_decoder": {"params": layer(one / 10)},
        "encoder_a": {"params": layer(one)}, "encoder_b": {"params": layer(exchange.T)},
        **{
            f"decoder_{d}": {"params": {"network": layer(one), "head": {"out": layer(kernel, move * one[0])}}}
            for d, kernel, move in (("a", one, 0), ("b", exchange, shift))
        },
    }  # fmt: skip
    settings = Settings(steps=steps, batch_size=32, ema=0.0, steps_per_call=200)
    adam, play = {"critics": optax.adam(2e-3, b1=0.5)}, {"critics": model.plays()["critics"]}
    trained = fit(model, data, settings, plays=play, start=fixed, optimizers=adam, progress=False)
    np.testing.assert_allclose(trained.translate(x), x[:, order] + shift * one[0], atol=1e-5)
    return trained, data


@pytest.mark.slow
@pytest.mark.parametrize("weights, right", [({}, True), ({"feature_weight": 0.02}, False)])
def test_the_tie_of_features_teaches_the_critic_of_b_the_classes_of_a(weights, right):
    trained, data = critics_on_fixed_translations(np.array([1, 2, 0]), **weights)
    accuracy = {d: (trained.classify(part["x"], d).argmax(-1) == part["label"]).mean() for d, part in data.items()}
    assert accuracy["a"] > 0.95
    assert (accuracy["b"] > 0.95) == right, accuracy


@pytest.mark.slow
@pytest.mark.parametrize("weights, sees", [({}, True), ({"class_weight": 10, "feature_weight": 30}, False)])
def test_the_classifiers_terms_leave_critics_that_tell_translations_from_data(weights, sees):
    """With large weights, the features of translations are those of reconstructions, which look like data."""
    trained, data = critics_on_fixed_translations(np.arange(3), shift=0.6, steps=200, **weights)
    passes, images = Passes(trained.model, trained.variables), (data["b"]["x"], trained.translate(data["a"]["x"]))
    real, fake = (trained.model.scores(passes, x, "b")[0].mean() for x in images)
    assert (real - fake > 0.5) == sees, (real, fake)


@pytest.mark.slow
def test_a_run_trains_and_is_loaded(tmp_path):
    model = UNIT(*[MLP((3,))] * 5, DOMAIN, DOMAIN, shared=False)
    data = {d: {"x": RNG.normal(i, 0.3, (32, 3)).astype(np.float32)} for i, d in enumerate("ab")}
    settings = Settings(steps=4, batch_size=8, eval_every=4, checkpoint_every=4, ema=0.0)
    trained = fit(model, data, settings, out=tmp_path / "run", progress=False)
    loaded, x = jaxgen.load(tmp_path / "run"), data["a"]["x"][:3]
    np.testing.assert_allclose(loaded.translate(x), trained.translate(x), rtol=1e-6)
    assert loaded.translate(x, "a").shape == (3, 3) and loaded.translate(x, key=KEY, samples=2).shape == (2, 3, 3)
