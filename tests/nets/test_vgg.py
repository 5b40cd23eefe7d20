"""The trunk against convolutions by SciPy, files, and the normalisation of its activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jaxgen.nets import VGG, VGGDecoder, WithColours, load_vgg, normalize_activations

WIDTHS, DEPTHS = (3, 4, 2), (1, 2, 1)
RNG = np.random.default_rng(0)
MEAN = (100.0, 110.0, 125.0)


def arrays(dtype=np.float16):
    file, channels = {"mean_bgr": np.float32(MEAN)}, 3
    for block, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True), 1):
        for i in range(1, depth + 1):
            file[f"conv{block}_{i}_kernel"] = RNG.normal(0, 0.3, (3, 3, channels, width)).astype(dtype)
            file[f"conv{block}_{i}_bias"] = RNG.normal(0, 5, width).astype(np.float32)
            channels = width
    return file


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "vgg.npz", **arrays())
    return tmp_path / "vgg.npz"


def expected(x, file, mode):
    """Features by SciPy's correlation, one example and channel at a time."""
    h, features = 255 * np.float64(x)[..., ::-1] - np.float64(MEAN), {}
    for block, depth in enumerate(DEPTHS, 1):
        if block > 1:
            b, height, width, c = h.shape
            h = h[:, : height // 2 * 2, : width // 2 * 2].reshape(b, height // 2, 2, width // 2, 2, c).max((2, 4))
        for i in range(1, depth + 1):
            kernel, bias = np.float64(file[f"conv{block}_{i}_kernel"]), file[f"conv{block}_{i}_bias"]
            padded = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
            h = np.stack([
                np.stack([
                    sum(correlate2d(one[..., c], kernel[..., c, d], "valid") for c in range(kernel.shape[2])) + bias[d]
                    for d in range(kernel.shape[3])
                ], -1)
                for one in padded
            ])  # fmt: skip
            h = features[f"relu{block}_{i}"] = np.maximum(h, 0)
    return features


@pytest.mark.parametrize(("padding", "mode"), [("zero", "constant"), ("reflect", "reflect")])
def test_features_equal_scipys_convolutions(path, padding, mode):
    network, variables = load_vgg(path, padding=padding)
    assert (network.widths, network.depths, network.last) == (WIDTHS, DEPTHS, "relu3_1")
    x = RNG.random((2, 11, 8, 3)).astype(np.float32)
    features, truth = jax.jit(network.apply)(variables, x), expected(x, np.load(path), mode)
    assert list(features) == list(truth) == ["relu1_1", "relu2_1", "relu2_2", "relu3_1"]
    for name, value in features.items():
        np.testing.assert_allclose(value, truth[name], rtol=1e-4, atol=1e-2)
        assert 0.05 < (truth[name] > 0).mean() < 0.95


def test_a_trunk_is_cut_at_a_layer(path):
    whole, cut = load_vgg(path)[0], load_vgg(path, last="relu2_1")
    x = RNG.random((1, 8, 8, 3)).astype(np.float32)
    assert list(cut[0].apply(cut[1], x)) == ["relu1_1", "relu2_1"]
    assert set(cut[1]["params"]) == {"conv1_1", "conv2_1"} and whole.last == "relu3_1"
    # of the shapes of a fresh one, so that `fit(start={"features": variables})` takes it
    fresh = cut[0].init(jax.random.key(0), x)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), fresh) == jax.tree.map(lambda a: (a.shape, a.dtype), dict(cut[1]))
    with pytest.raises(ValueError, match="`last` must be one of .*'relu3_1'.*, got 'relu5_1'"):
        load_vgg(path, last="relu5_1")


def test_the_default_is_vgg_16():
    assert VGG(last="relu5_3").layers[-4:] == ("relu4_3", "relu5_1", "relu5_2", "relu5_3")
    shapes = jax.eval_shape(VGG().init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    # conv1_1 to conv4_1 of VGG-16
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 2_915_648


@pytest.mark.parametrize("per", ["channel", "layer"])
def test_normalised_activations_have_mean_one_and_are_the_same_up_to_factors(per, path):
    network, variables = load_vgg(path, padding="reflect")
    params = dict(variables["params"])
    params["conv2_1"] = {**params["conv2_1"], "bias": params["conv2_1"]["bias"].at[1].set(-1e4)}  # a dead channel
    variables = {"params": params}
    x = RNG.random((3, 12, 8, 3)).astype(np.float32)
    before, after = network.apply(variables, x), network.apply(normalize_activations(network, variables, x, per), x)
    for name in network.layers:
        mean = np.asarray(before[name]).mean((0, 1, 2))
        means = np.asarray(after[name]).mean((0, 1, 2))
        factor = np.where(mean > 0, mean, 1) if per == "channel" else mean.mean()
        np.testing.assert_allclose(after[name], before[name] / factor, rtol=2e-3, atol=1e-4)
        if per == "channel":
            np.testing.assert_allclose(means, mean > 0, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(means.mean(), (mean > 0).mean() if per == "channel" else 1, rtol=1e-3)
    assert np.asarray(before["relu2_1"])[..., 1].max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("mean_bgr"), "must have 'mean_bgr'"),
        (lambda file: file.pop("conv2_1_kernel"), "kernels from 'conv1_1_kernel' on"),
        (lambda file: file.pop("conv2_2_bias"), r"conv2_2 must have shapes \[3, 3, 4, D\] and \[D\], got .* None"),
        (lambda file: file.update(conv3_1_kernel=np.zeros((3, 3, 5, 2))), r"conv3_1 must have shapes \[3, 3, 4, D\]"),
        (lambda file: file.clear(), "must have 'mean_bgr'"),
    ],
)
def test_files_of_other_arrays_are_refused(change, message, tmp_path):
    file = arrays()
    change(file)
    np.savez(tmp_path / "vgg.npz", **file)
    with pytest.raises(ValueError, match=message):
        load_vgg(tmp_path / "vgg.npz")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("not a file of arrays", encoding="utf-8")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("text.npz", "one.npy", "missing.npz"):  # an .npy holds one array
        with pytest.raises(ValueError, match="`path` must be an .npz file"):
            load_vgg(tmp_path / name)


def test_the_decoder_mirrors_the_trunk():
    trunk, decoder = VGG(), VGGDecoder()
    x = jnp.zeros((2, 16, 24, 3))
    encoder_shapes = jax.eval_shape(trunk.init, jax.random.key(0), x)["params"]
    features = jax.ShapeDtypeStruct((2, 2, 3, 512), jnp.float32)
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), features)
    assert jax.eval_shape(decoder.apply, shapes, features).shape == x.shape
    assert set(shapes["params"]) == set(encoder_shapes)
    for name, layer in shapes["params"].items():
        h, w, inputs, outputs = encoder_shapes[name]["kernel"].shape
        assert layer["kernel"].shape == (h, w, outputs, inputs)


def test_the_decoder_is_reflection_nearest_upsampling_and_convolution_in_this_order():
    decoder = VGGDecoder("relu2_1", widths=(2, 4), depths=(2, 1))
    h = RNG.normal(size=(1, 3, 2, 5))
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), jnp.float32(h))["params"]
    params = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), shapes)
    out = jax.jit(decoder.apply)({"params": params}, jnp.float32(h))
    for name in ("conv2_1", "conv1_2", "conv1_1"):
        kernel, bias = (np.float64(params[name][part]) for part in ("kernel", "bias"))
        padded = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")[0]
        h = np.stack([
            sum(correlate2d(padded[..., c], kernel[..., c, d], "valid") for c in range(kernel.shape[2])) + bias[d]
            for d in range(kernel.shape[3])
        ], -1)[None]  # fmt: skip
        h = h if name == "conv1_1" else np.maximum(h, 0)
        h = np.kron(h, np.ones((1, 2, 2, 1))) if name == "conv2_1" else h
    assert out.shape == (1, 6, 4, 3) and out.min() < 0  # the last convolution has no ReLU
    np.testing.assert_allclose(out, h, rtol=1e-4, atol=1e-3)


def test_colours_are_means_over_the_pixels_of_a_position(path):
    network, variables = load_vgg(path)
    x = RNG.random((2, 13, 8, 3)).astype(np.float32)
    plain = jax.jit(network.apply)(variables, x)
    features = WithColours(network, 3.0).apply({"params": {"network": variables["params"]}}, x)
    assert list(features) == list(plain)
    for name, side in (("relu1_1", 1), ("relu2_2", 2), ("relu3_1", 4)):
        np.testing.assert_allclose(features[name][..., :-3], plain[name], rtol=1e-6)
        h, w = plain[name].shape[1:3]
        blocks = x[:, : h * side, : w * side].reshape(2, h, side, w, side, 3)
        np.testing.assert_allclose(features[name][..., -3:], 3 * blocks.mean((2, 4)), rtol=1e-5)
