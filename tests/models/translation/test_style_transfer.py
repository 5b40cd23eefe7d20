"""AdaIN and the linear transformation against their equations in NumPy, and what of them learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.signal import correlate2d

import jaxgen
from jaxgen.contracts import Clock
from jaxgen.models.translation import AdaIN, Domain, LinearStyle, LinearTransformation, adaptive_instance_norm
from jaxgen.models.translation.linear_style import MatrixNetwork
from jaxgen.models.translation.style_transfer import StyleTransfer
from jaxgen.nets import VGG, VGGDecoder, normalize_activations
from jaxgen.training import Settings, fit, fit_seeds
from tests.models.parameters import KEY, drawn

RNG = np.random.default_rng(0)
DOMAIN = Domain((8, 12, 3))
WIDTHS, DEPTHS = (4, 5), (2, 1)
PARTS = {
    "features": VGG("relu2_1", WIDTHS, DEPTHS, padding="reflect"),
    "decoder": VGGDecoder("relu2_1", WIDTHS, DEPTHS),
    "layer": "relu2_1",
    "content_layer": "relu2_1",
    "style_layers": ("relu1_1", "relu2_1"),
    "stride": 2,
}
ADAIN = AdaIN(DOMAIN, DOMAIN, **PARTS, content_weight=1.5, style_weight=0.3)
LINEAR = LinearStyle(DOMAIN, DOMAIN, **PARTS, transformation=LinearTransformation(3, (6,)), style_weight=0.3)
BATCH = {name: {"x": RNG.integers(0, 256, (4, 8, 12, 3)).astype(np.uint8)} for name in "ab"}
X, STYLE = BATCH["a"]["x"], BATCH["b"]["x"]


def variables_of(model):
    """Random ones, with which features and images have the sizes that they have in practice."""
    variables = drawn(model, BATCH)
    features = normalize_activations(model.features, variables["features"], X / np.float32(255))
    decoder = jax.tree.map(lambda leaf: 0.6 * leaf, variables["decoder"])
    decoder["params"]["conv1_1"]["bias"] = jnp.full(3, 0.5)
    others = jax.tree.map(lambda leaf: 0.5 * leaf, {p: v for p, v in variables.items() if p == "transformation"})
    return {"features": features, "decoder": decoder, **others}


VARIABLES = {model: variables_of(model) for model in (ADAIN, LINEAR)}


def flat(x):
    x = np.float64(x)
    return x.reshape(len(x), -1, x.shape[-1])


def encoded(model, images):
    """Features in float64 of images in [0, 1]."""
    variables = VARIABLES[model]["features"]
    return {name: np.float64(value) for name, value in model.features.apply(variables, jnp.asarray(images)).items()}


def decoded(model, features):
    return np.float64(model.decoder.apply(VARIABLES[model]["decoder"], jnp.asarray(features, jnp.float32)))


def normalised(content, style):
    """AdaIN by its equation."""
    c, s = flat(content), flat(style)
    c = (c - c.mean(1, keepdims=True)) / np.sqrt(c.var(1, keepdims=True) + 1e-5)
    return (c * np.sqrt(s.var(1, keepdims=True) + 1e-5) + s.mean(1, keepdims=True)).reshape(content.shape)


def test_adain_has_the_moments_of_the_style():
    content, style = RNG.gamma(1, 2, (3, 5, 4, 6)), RNG.gamma(2, 3, (3, 2, 7, 6))
    t = adaptive_instance_norm(content, style)
    np.testing.assert_allclose(t, normalised(content, style), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(flat(t).mean(1), flat(style).mean(1), rtol=1e-4)
    np.testing.assert_allclose(flat(t).std(1), flat(style).std(1), rtol=1e-4)
    np.testing.assert_allclose(adaptive_instance_norm(content, content), content, rtol=1e-5, atol=1e-5)
    # a constant channel of a content has no pattern to amplify
    flatline = jnp.full((1, 4, 4, 2), 3.0)
    moved = adaptive_instance_norm(flatline, style[:1, ..., :2])
    np.testing.assert_allclose(moved[0, 0, 0], flat(style).mean(1)[0, :2], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "weight"), [("sum", 0.01), ("mean", 10.0)])
def test_adains_loss_is_its_equation(channels, weight):
    model = dataclasses.replace(ADAIN, style_channels=channels, style_weight=weight)
    VARIABLES[model] = VARIABLES[ADAIN]
    of_x, of_style = encoded(model, X / np.float32(255)), encoded(model, STYLE / np.float32(255))
    t = normalised(of_x["relu2_1"], of_style["relu2_1"])
    output = encoded(model, np.float32(decoded(model, t)))
    content = ((output["relu2_1"] - t) ** 2).mean()
    style = 0.0
    for layer in ("relu1_1", "relu2_1"):
        o, s = flat(output[layer]), flat(of_style[layer])
        terms = (o.mean(1) - s.mean(1)) ** 2 + (np.sqrt(o.var(1) + 1e-5) - np.sqrt(s.var(1) + 1e-5)) ** 2
        style += getattr(terms, channels)(-1).mean()
    out = jax.jit(model.loss)(VARIABLES[model], BATCH, KEY, Clock())
    np.testing.assert_allclose(out.metrics["content"], content, rtol=1e-3)
    np.testing.assert_allclose(out.metrics["style"], style, rtol=1e-3)
    np.testing.assert_allclose(out.value, 1.5 * content + weight * style, rtol=1e-3)
    assert content > 0.1 and style > 0.1


class Colours(nn.Module):
    """Features that are the image."""

    @nn.compact
    def __call__(self, x):
        return {"colours": x}


class Itself(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x


def test_adains_loss_is_zero_at_the_target():
    """Where the decoder inverts the features, the output has them exactly: features of any kind are fine."""
    layers = {"layer": "colours", "content_layer": "colours", "style_layers": ("colours",), "stride": 1}
    model = AdaIN(DOMAIN, DOMAIN, features=Colours(), decoder=Itself(), **layers)
    variables = jax.jit(model.init)(KEY, BATCH)
    assert float(model.loss(variables, BATCH, KEY, Clock()).value) < 1e-9
    # then AdaIN moves the means and deviations of the colours, the control of the experiment
    x, s = X / 255, STYLE / 255
    moments = ((a.mean((1, 2), keepdims=True), np.sqrt(a.var((1, 2), keepdims=True) + 1e-5)) for a in (x, s))
    (mean, std), (style_mean, style_std) = moments
    expected = np.clip(np.round(255 * ((x - mean) / std * style_std + style_mean)), 0, 255)
    assert np.abs(np.int32(model.translate(variables, X, STYLE)) - expected).max() <= 1


def test_the_identity_as_transformation_moves_the_mean():
    content, style = RNG.gamma(1, 2, (2, 5, 4, 3)).astype(np.float32), RNG.gamma(2, 3, (2, 3, 6, 3)).astype(np.float32)
    network = LinearTransformation(size=3, widths=(4,))
    params = jax.tree.map(jnp.zeros_like, jax.jit(network.init)(KEY, content, style)["params"])
    for name in ("content", "style"):
        params[name]["Dense_0"]["bias"] = jnp.eye(3).ravel()
    for name in ("compress", "uncompress"):
        params[name]["kernel"] = jnp.eye(3)[None, None]
    out = network.apply({"params": params}, content, style)
    means = (flat(a).mean(1)[:, None, None] for a in (content, style))
    np.testing.assert_allclose(out, content - next(means) + next(means), rtol=1e-4, atol=1e-5)


def test_the_transformation_is_the_styles_matrix_times_the_contents():
    content, style = RNG.gamma(1, 2, (2, 5, 4, 6)).astype(np.float32), RNG.gamma(2, 3, (2, 3, 6, 6)).astype(np.float32)
    network = LinearTransformation(size=3, widths=(4,))
    shapes = jax.eval_shape(network.init, KEY, content, style)
    variables = jax.tree.map(lambda leaf: 0.3 * RNG.normal(size=leaf.shape).astype(np.float32), shapes)
    params, own = variables["params"], MatrixNetwork(3, (4,))
    centred = [a - flat(a).mean(1)[:, None, None].astype(np.float32) for a in (content, style)]
    of_content, of_style = (
        np.float64(own.apply({"params": params[name]}, a))
        for name, a in zip(("content", "style"), centred, strict=True)
    )
    compressed = flat(centred[0]) @ params["compress"]["kernel"][0, 0] + params["compress"]["bias"]
    transformed = np.einsum("bij,bjk,bnk->bni", of_style, of_content, compressed)
    expected = transformed @ params["uncompress"]["kernel"][0, 0] + params["uncompress"]["bias"]
    expected = expected + flat(style).mean(1)[:, None]
    np.testing.assert_allclose(flat(network.apply(variables, content, style)), expected, rtol=1e-3, atol=1e-3)


def test_a_matrix_is_a_dense_layer_of_the_second_moments_of_convolutions():
    x = RNG.normal(size=(2, 4, 5, 2))
    network = MatrixNetwork(size=3, widths=())
    shapes = jax.eval_shape(network.init, KEY, jnp.float32(x))["params"]
    params = jax.tree.map(lambda leaf: 0.3 * RNG.normal(size=leaf.shape).astype(np.float32), shapes)
    kernel, bias = params["Conv_0"]["kernel"], params["Conv_0"]["bias"]
    h = [
        [sum(correlate2d(one[..., c], kernel[..., c, d], "same") for c in range(2)) + bias[d] for d in range(3)]
        for one in x
    ]
    h = np.array(h).reshape(2, 3, -1)
    moments = (h @ h.transpose(0, 2, 1) / h.shape[-1]).reshape(2, -1)
    expected = (moments @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]).reshape(2, 3, 3)
    np.testing.assert_allclose(network.apply({"params": params}, jnp.float32(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("matrix", ["gram", "covariance"])
def test_the_linear_models_loss_compares_with_the_content_itself(matrix):
    model = dataclasses.replace(LINEAR, matrix=matrix)
    VARIABLES[model] = VARIABLES[LINEAR]
    of_x, of_style = encoded(model, X / np.float32(255)), encoded(model, STYLE / np.float32(255))
    t = model.transform(VARIABLES[model], *(jnp.float32(f["relu2_1"]) for f in (of_x, of_style)))
    output = encoded(model, np.float32(decoded(model, t)))
    content, style = ((output["relu2_1"] - of_x["relu2_1"]) ** 2).mean(), 0.0
    for layer in ("relu1_1", "relu2_1"):
        o, s = flat(output[layer]), flat(of_style[layer])
        style += ((o.mean(1) - s.mean(1)) ** 2).sum(-1).mean()
        if matrix == "covariance":
            o, s = o - o.mean(1, keepdims=True), s - s.mean(1, keepdims=True)
        o, s = (np.einsum("bnc,bnd->bcd", a, a) / (a.shape[1] * a.shape[2]) for a in (o, s))
        style += ((o - s) ** 2).sum((1, 2)).mean()
    out = jax.jit(model.loss)(VARIABLES[model], BATCH, KEY, Clock())
    np.testing.assert_allclose(out.metrics["content"], content, rtol=1e-3)
    np.testing.assert_allclose(out.metrics["style"], style, rtol=1e-3)
    np.testing.assert_allclose(out.value, content + 0.3 * style, rtol=1e-3)


def test_the_decoder_of_the_linear_model_reconstructs_both_domains():
    model, image, feature = dataclasses.replace(LINEAR, feature_weight=0.2), 0.0, 0.0
    for x in (X / np.float32(255), STYLE / np.float32(255)):
        features = encoded(LINEAR, x)["relu2_1"]
        output = np.float32(decoded(LINEAR, features))
        image += ((output - x) ** 2).mean() / 2
        feature += ((encoded(LINEAR, output)["relu2_1"] - features) ** 2).mean() / 2
    out = jax.jit(model.decoder_loss)(VARIABLES[LINEAR], BATCH, KEY, Clock())
    np.testing.assert_allclose([out.metrics["image"], out.metrics["feature"]], [image, feature], rtol=1e-3)
    np.testing.assert_allclose(out.value, image + 0.2 * feature, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("model", [ADAIN, LINEAR])
def test_styles_are_interpolated_between_features(model):
    variables, x = VARIABLES[model], X / np.float32(255)
    of_x, of_style, of_other = (encoded(model, a)["relu2_1"] for a in (x, STYLE / np.float32(255), x[::-1]))
    first, second = (
        np.float64(model.transform(variables, jnp.float32(of_x), jnp.float32(f))) for f in (of_style, of_other)
    )

    def pixels(features):
        return np.clip(np.round(255 * decoded(model, features)), 0, 255)

    translate = jax.jit(model.translate, static_argnames=("to",))

    def check(got, features):
        assert got.dtype == np.uint8 and np.abs(np.int32(got) - pixels(features)).max() <= 1

    check(translate(variables, X, STYLE), first)
    check(translate(variables, X, STYLE, alpha=0.3), 0.7 * of_x + 0.3 * first)
    both = np.stack([STYLE, X[::-1]])
    check(translate(variables, X, both, weights=np.float32([3, 1])), 0.75 * first + 0.25 * second)
    check(translate(variables, X, both), 0.5 * first + 0.5 * second)
    # one style for all contents
    np.testing.assert_array_equal(translate(variables, X, STYLE[:1])[1:2], translate(variables, X[1:2], STYLE[:1]))
    # no style: what the decoder makes of the content
    np.testing.assert_array_equal(translate(variables, X, STYLE, alpha=0.0), model.reconstruct(variables, X))
    assert 20 < pixels(first).std()


def test_the_own_style_changes_nothing_but_for_the_decoder():
    reconstructed = ADAIN.reconstruct(VARIABLES[ADAIN], X)
    own = ADAIN.translate(VARIABLES[ADAIN], X, X)
    assert np.abs(np.int32(own) - np.int32(reconstructed)).max() <= 1
    assert np.abs(np.int32(ADAIN.translate(VARIABLES[ADAIN], X, STYLE)) - np.int32(reconstructed)).max() > 20


def test_pictures_of_any_size_keep_it():
    model, variables = ADAIN, VARIABLES[ADAIN]
    x, style = RNG.integers(0, 256, (2, 9, 15, 3)), RNG.integers(0, 256, (1, 7, 10, 3))
    y = model.translate(variables, x, style)
    assert y.shape == x.shape
    # as if the picture went on in its mirror
    longer = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(y, model.translate(variables, longer, style)[:, :9, :15])
    assert model.reconstruct(variables, x).shape == x.shape
    floats = dataclasses.replace(model, b=Domain((8, 12, 3), levels=None))
    z = floats.translate(variables, x, style / np.float32(255))
    assert z.dtype == np.float32 and np.abs(255 * z - y).max() <= 0.51 and 0 <= z.min() and z.max() <= 1


def test_metrics_are_scaled_by_the_contents_features():
    metrics = jax.jit(ADAIN.evaluate)(VARIABLES[ADAIN], BATCH, KEY)
    of_x, of_style = encoded(ADAIN, X / np.float32(255)), encoded(ADAIN, STYLE / np.float32(255))
    output = encoded(ADAIN, np.float32(decoded(ADAIN, normalised(of_x["relu2_1"], of_style["relu2_1"]))))
    scales = {name: np.mean([one.std() for one in value]) for name, value in of_x.items()}
    content, style = (((output["relu2_1"] - of_x["relu2_1"]) / scales["relu2_1"]) ** 2).mean(), 0.0
    for layer in ("relu1_1", "relu2_1"):
        o, s = (flat(f[layer] / scales[layer]) for f in (output, of_style))
        style += ((o.mean(1) - s.mean(1)) ** 2 + (o.std(1) - s.std(1)) ** 2).mean()
    np.testing.assert_allclose(metrics["content"], content, rtol=1e-3)
    np.testing.assert_allclose(metrics["style"], style, rtol=1e-2)
    error = ((decoded(ADAIN, of_x["relu2_1"]) - X / 255) ** 2).mean()
    np.testing.assert_allclose(metrics["reconstruction"], error, rtol=1e-3)
    loss = jax.jit(ADAIN.loss)(VARIABLES[ADAIN], BATCH, KEY, Clock())
    np.testing.assert_allclose(metrics["loss"], loss.value, rtol=1e-4)


def equal(a, b):
    return all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.slow
def test_only_the_decoder_of_adain_learns_and_a_run_holds_its_features(tmp_path):
    start = {"features": VARIABLES[ADAIN]["features"]}
    settings = Settings(steps=3, batch_size=2, checkpoint_every=3, ema=0.5)
    trained = fit(ADAIN, BATCH, settings, start=start, out=tmp_path, progress=False)
    fresh = ADAIN.init(jax.random.split(jax.random.key(0))[0], BATCH)
    assert equal(trained.variables["features"], start["features"]) and not equal(fresh["features"], start["features"])
    assert not equal(trained.variables["decoder"], fresh["decoder"])
    loaded = jaxgen.load(tmp_path)
    assert equal(loaded.variables["features"], start["features"])
    np.testing.assert_array_equal(loaded.translate(X, STYLE, alpha=0.5), trained.translate(X, STYLE, alpha=0.5))


@pytest.mark.slow
def test_seeds_side_by_side_share_the_features_that_they_start_from():
    start, settings = {"features": VARIABLES[ADAIN]["features"]}, Settings(steps=2, batch_size=2, ema=0.0)
    seeds = fit_seeds(ADAIN, BATCH, settings, seeds=(0, 3), start=start, progress=False)
    alone = fit(ADAIN, BATCH, dataclasses.replace(settings, seed=3), start=start, progress=False)
    assert all(equal(one.variables["features"], start["features"]) for one in seeds)
    for a, b in zip(jax.tree.leaves(seeds[1].variables), jax.tree.leaves(alone.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert not equal(seeds[0].variables["decoder"], seeds[1].variables["decoder"])


@pytest.mark.slow
def test_the_linear_model_trains_its_decoder_and_then_its_transformation():
    settings = Settings(batch_size=2, ema=0.0)
    params = VARIABLES[LINEAR]["features"]["params"]
    # the output of a fresh transformation grows with the fifth power of the features
    start = {"features": {"params": {**params, "conv2_1": jax.tree.map(lambda leaf: 0.1 * leaf, params["conv2_1"])}}}
    phases = LINEAR.phases(5)
    assert [(set(phase.plays), phase.steps) for phase in phases] == [({"decoder"}, 2), ({"transformation"}, 3)]
    whole = fit(LINEAR, BATCH, settings, steps=5, start=start, progress=False).variables
    first = fit(LINEAR, BATCH, settings, phases=phases[:1], start=start, progress=False).variables
    fresh = LINEAR.init(jax.random.split(jax.random.key(0))[0], BATCH)
    assert equal(first["transformation"], fresh["transformation"]) and not equal(first["decoder"], fresh["decoder"])
    assert equal(whole["decoder"], first["decoder"]) and equal(whole["features"], start["features"])
    assert not equal(whole["transformation"], first["transformation"])
    brought = dataclasses.replace(LINEAR, decoder_share=0.0).phases(5)
    assert [(set(phase.plays), phase.steps) for phase in brought] == [({"transformation"}, 5)]


def test_arguments_are_checked():
    variables = VARIABLES[ADAIN]
    with pytest.raises(ValueError, match="`content_layer` must be layer='relu2_1', got 'relu1_1'"):
        dataclasses.replace(ADAIN, content_layer="relu1_1")
    with pytest.raises(ValueError, match=r"`features` must have the layers \['relu9_1'\]"):
        jax.eval_shape(dataclasses.replace(ADAIN, style_layers=("relu9_1",)).init, KEY, BATCH)
    with pytest.raises(ValueError, match="`x` must be RGB images"):
        ADAIN.translate(variables, X[..., :1], STYLE)
    with pytest.raises(ValueError, match="`style` must have one image or 4, got 3"):
        ADAIN.translate(variables, X, STYLE[:3])
    with pytest.raises(ValueError, match="`weights` must have shape .* with K=2, got shape"):
        ADAIN.translate(variables, X, np.stack([STYLE, STYLE]), weights=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="expects a batch with entries 'a' and 'b'"):
        jax.eval_shape(ADAIN.init, KEY, {"x": X})
    with pytest.raises(ValueError, match="`style_weight` must be at least 0"):
        StyleTransfer(DOMAIN, DOMAIN, style_weight=-1.0)
