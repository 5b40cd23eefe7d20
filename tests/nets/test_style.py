"""StyleGAN2's networks against kernels for each example, and resampling against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxgen.nets.interaction import examples_interact
from jaxgen.nets.resampling import downsample, smooth, upsample
from jaxgen.nets.style import (
    MinibatchDeviation,
    StyleCritic,
    StyleGenerator,
    StyleLayer,
    StyleMapping,
    StyleSynthesis,
    style_widths,
)
from jaxgen.nets.style import modulated_convolution as modulated
from tests.models.parameters import drawn

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, KERNEL, SCALES = (RNG.normal(size=s).astype(np.float32) for s in ((3, 4, 5, 2), (3, 3, 2, 6), (3, 2)))
modulated_convolution = jax.jit(modulated, static_argnames=("demodulate", "double"))
FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def by_channel(x, function):
    return np.stack([[function(image[..., c]) for c in range(image.shape[-1])] for image in x]).transpose(0, 2, 3, 1)


def kernels(demodulate):
    """The kernel of each example, [B, 3, 3, C, D]."""
    modulated = KERNEL * SCALES[:, None, None, :, None]
    return modulated / np.sqrt((modulated**2).sum((1, 2, 3), keepdims=True)) if demodulate else modulated


@pytest.mark.parametrize("demodulate", [True, False])
def test_one_convolution_equals_kernels_for_each_example(demodulate):
    def convolve(image, kernel):
        return sum(
            scipy.signal.correlate2d(image[..., c], kernel[:, :, c], "same") for c in range(image.shape[-1])
        )

    expected = np.stack([
        np.stack([convolve(x, kernel[..., d]) for d in range(6)], -1)
        for x, kernel in zip(X, kernels(demodulate), strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose(
        modulated_convolution(X, KERNEL, SCALES, demodulate=demodulate), expected, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("demodulate", [True, False])
def test_doubling_equals_transposed_convolutions_for_each_example_and_smoothing(demodulate):
    def double(image, kernel):
        spread = np.zeros((7, 9))
        spread[::2, ::2] = image
        return scipy.signal.convolve2d(scipy.signal.convolve2d(spread, kernel), 4 * FILTER)[2:-2, 2:-2]

    expected = np.stack([
        np.stack([sum(double(x[..., c], kernel[:, :, c, d]) for c in range(2)) for d in range(6)], -1)
        for x, kernel in zip(X, kernels(demodulate), strict=True)
    ])  # fmt: skip
    actual = modulated_convolution(X, KERNEL, SCALES, demodulate=demodulate, double=True)
    assert actual.shape == (3, 8, 10, 6)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("double", [False, True])
def test_demodulated_weights_have_unit_norm(double):
    """Unit variance in, unit variance out, whatever the styles; and their scale does not matter."""
    scales = np.exp(3 * SCALES)
    # the response to an impulse in each channel holds all weights; smoothing spreads them
    impulses = np.zeros((2, 3, 7, 7, 2), np.float32)
    for c in range(2):
        impulses[c, :, 3, 3, c] = 1
    responses = np.stack([modulated_convolution(x, KERNEL, scales, double=double) for x in impulses])
    if not double:
        np.testing.assert_allclose((responses**2).sum((0, 2, 3)), 1, rtol=1e-4)
    again = np.stack([modulated_convolution(x, KERNEL, 1e3 * scales, double=double) for x in impulses])
    np.testing.assert_allclose(again, responses, rtol=1e-3, atol=1e-5)
    x = RNG.normal(size=(3, 40, 40, 2)).astype(np.float32)
    variance = np.asarray(modulated_convolution(x, KERNEL, scales, double=double)).var((1, 2)).mean()
    # smoothing by 4 [1, 3, 3, 1] / 8 of every second pixel keeps most of it
    assert variance == pytest.approx(1.0, rel=0.1) if not double else 0.3 < variance < 1.1


def test_resampling_is_the_filter():
    x = RNG.normal(size=(2, 6, 8, 3)).astype(np.float32)
    smoothed = by_channel(x, lambda a: scipy.signal.convolve2d(a, FILTER, "full"))
    np.testing.assert_allclose(smooth(x, (3, 3)), smoothed, atol=1e-5)
    np.testing.assert_allclose(downsample(x), smoothed[:, 2:-2:2, 2:-2:2], atol=1e-5)
    spread = np.zeros((2, 12, 16, 3))
    spread[:, ::2, ::2] = x
    doubled = by_channel(spread, lambda a: scipy.signal.convolve2d(a, 4 * FILTER, "full"))
    np.testing.assert_allclose(upsample(x), doubled[:, 1:-2, 1:-2], atol=1e-5)
    np.testing.assert_allclose(upsample(np.ones((1, 6, 6, 1)))[:, 1:-1, 1:-1], 1, rtol=1e-6)


def test_the_mapping_sees_directions_of_z_alone_and_follows_the_mean():
    mapping, z = StyleMapping(6, 2, decay=0.9), RNG.normal(size=(5, 4)).astype(np.float32)
    variables, apply = jax.jit(mapping.init)(KEY, z, np.eye(5, 3, dtype=np.float32)), jax.jit(mapping.apply)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)
    context = np.eye(5, 3, dtype=np.float32)
    w = np.asarray(apply(variables, z, context))
    np.testing.assert_allclose(apply(variables, 100 * z, context), w, rtol=1e-3)
    assert np.abs(apply(variables, z, np.roll(context, 1, 0)) - w).max() > 1e-3
    statistics = {"batch_stats": {"mean": jnp.full(6, 2.0)}}
    again, updated = mapping.apply({**variables, **statistics}, z, context, mutable=["batch_stats"])
    np.testing.assert_array_equal(again, w)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.9 * 2 + 0.1 * w.mean(0), rtol=1e-5)


def test_the_noise_of_a_layer_is_one_number_for_each_pixel_times_a_strength():
    layer, x, w = StyleLayer(3), jnp.ones((4, 5, 5, 2)), jnp.ones((4, 6))
    noise = RNG.normal(size=(4, 5, 5, 1)).astype(np.float32)
    variables, apply = jax.jit(layer.init)(KEY, x, w, noise), jax.jit(layer.apply)
    # a fresh layer has none
    quiet = apply(variables, x, w, 0 * noise)
    np.testing.assert_array_equal(apply(variables, x, w, noise), quiet)
    variables = {"params": {**variables["params"], "strength": jnp.float32(0.5)}}

    def before_activation(y):
        return np.where(y > 0, y, 5 * y) / np.sqrt(2)

    change = before_activation(apply(variables, x, w, noise)) - before_activation(quiet)
    np.testing.assert_allclose(change, np.broadcast_to(0.5 * noise, change.shape), atol=1e-5)


NETWORK = StyleGenerator(StyleMapping(6, 2), StyleSynthesis(2, (4, 3), (4, 3)))


class Model:
    def init(self, key, batch):
        return {"generator": NETWORK.init(key, (batch["z"], None))}


def test_each_layer_has_a_style_from_coarse_to_fine():
    z = RNG.normal(size=(2, 6)).astype(np.float32)
    variables = drawn(Model(), {"z": z})["generator"]
    assert NETWORK.synthesis.num_styles == 4

    @jax.jit
    def both():
        return NETWORK.apply(variables, (z, None)), NETWORK.apply(variables, (z, None), method="map")

    synthesize = jax.jit(lambda styles: NETWORK.apply(variables, styles, method="synthesize"))
    images, w = both()
    styles = NETWORK.repeat(w)
    assert images.shape == (2, 8, 6, 2)
    np.testing.assert_allclose(synthesize(styles), images, rtol=1e-5, atol=1e-6)
    changes = [synthesize(styles.at[:, layer].add(1.0)) - images for layer in range(4)]
    assert all(np.abs(change).max() > 1e-4 for change in changes)
    # the last style scales the last features of the last image, which is not demodulated, and nothing else
    np.testing.assert_allclose(synthesize(styles.at[:, 3].add(2.0)) - images, 2 * changes[3], rtol=1e-2, atol=1e-4)
    # noise is fixed without its stream, with it each example has its own
    alike = jnp.tile(styles[:1], (2, 1, 1))
    np.testing.assert_array_equal(*synthesize(alike))
    noisy = jax.jit(lambda key: NETWORK.apply(variables, alike, method="synthesize", rngs={"noise": key}))(KEY)
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3
    assert variables["constants"]["synthesis"]["noise"].shape == (1, 4 * 3 + 2 * 8 * 6)
    parameters = variables["params"]["synthesis"]
    assert set(parameters) == {"constant", *(f"StyleLayer_{i}" for i in range(3)), *(f"ToImage_{i}" for i in range(2))}


def test_the_deviation_of_a_group_is_one_channel():
    x = RNG.normal(size=(8, 3, 2, 5)).astype(np.float32)
    y = MinibatchDeviation(4).apply({}, x)
    np.testing.assert_array_equal(y[..., :5], x)
    # a group is every second example, as in the authors' code
    for i in range(2):
        deviation = np.sqrt(x[i::2].var(0) + 1e-8).mean()
        np.testing.assert_allclose(y[i::2, :, :, 5], deviation, rtol=1e-5)
    np.testing.assert_allclose(MinibatchDeviation(4).apply({}, x[:5])[..., 5], 1e-4, rtol=1e-3)
    assert examples_interact(MinibatchDeviation(4)) and not examples_interact(MinibatchDeviation(1))


def test_critics_examples_interact_in_groups_alone():
    x = RNG.normal(size=(4, 8, 8, 1)).astype(np.float32)
    for group in (2, 1):
        critic = StyleCritic((3, 4), group)
        variables, apply = jax.jit(critic.init)(KEY, x), jax.jit(critic.apply)
        before, after = apply(variables, x), apply(variables, np.concatenate([x[:3], 2 * x[3:]]))
        changed = (before != after).any(-1)
        # examples 1 and 3 are a group
        np.testing.assert_array_equal(changed, [False, group > 1, False, True])
        assert examples_interact(critic) == (group > 1)
    assert style_widths(7, 32, 512) == (32, 64, 128, 256, 512, 512, 512)
