"""Perceptual losses against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import losses

RNG = np.random.default_rng(0)
SHAPES = {"relu1_1": (2, 6, 4, 3), "relu2_1": (2, 3, 2, 5)}
A, B = ({name: RNG.gamma(1.0, 2.0, shape).astype(np.float32) for name, shape in SHAPES.items()} for _ in range(2))
LONGER = {name: RNG.gamma(1.0, 2.0, (b, h + 1, w + 2, c)).astype(np.float32) for name, (b, h, w, c) in SHAPES.items()}
WEIGHTS, SCALES = {"relu1_1": 0.3, "relu2_1": 2.0}, {"relu1_1": 1.7, "relu2_1": 0.4}


def of_layers(term, b=B):
    return sum(w * term(np.float64(A[n]) / SCALES[n], np.float64(b[n]) / SCALES[n]) for n, w in WEIGHTS.items())


def flat(x):
    return x.reshape(len(x), -1, x.shape[-1])


def gram(x, centred=False):
    rows = flat(x) - flat(x).mean(1, keepdims=True) * centred
    return np.stack([one.T @ one for one in rows]) / (rows.shape[1] * rows.shape[2])


def test_feature_distances_are_weighted_means_of_scaled_differences():
    squared = losses.feature_distance(A, B, WEIGHTS, SCALES)
    np.testing.assert_allclose(squared, of_layers(lambda x, y: ((x - y) ** 2).mean()), rtol=1e-5)
    absolute = losses.feature_distance(A, B, WEIGHTS, SCALES, absolute=True)
    np.testing.assert_allclose(absolute, of_layers(lambda x, y: np.abs(x - y).mean()), rtol=1e-5)
    plain = losses.feature_distance(A, B)
    np.testing.assert_allclose(plain, sum(((A[n] - B[n]) ** 2).mean() for n in A), rtol=1e-5)
    # layers without a weight do not count
    first = losses.feature_distance(A, B, {"relu1_1": 1.0})
    np.testing.assert_allclose(first, ((A["relu1_1"] - B["relu1_1"]) ** 2).mean(), rtol=1e-5)


def test_unit_distances_compare_directions_of_features():
    def term(x, y):
        x, y = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (x, y))
        return ((x - y) ** 2).sum(-1).mean()

    expected = of_layers(term)
    np.testing.assert_allclose(losses.unit_feature_distance(A, B, WEIGHTS), expected, rtol=1e-5)
    # the scale of a layer does not count, nor that of a position
    larger = {name: x * RNG.uniform(1, 9, (*x.shape[:3], 1)) for name, x in A.items()}
    np.testing.assert_allclose(losses.unit_feature_distance(larger, B, WEIGHTS), expected, rtol=1e-5)
    # at most 2 without negative values, and positions without features have a finite gradient
    a, b = {"layer": np.array([[1.0, 0.0], [0.0, 0.0]])}, {"layer": np.array([[0.0, 3.0], [0.0, 0.0]])}
    np.testing.assert_allclose(losses.unit_feature_distance(a, b), (2 + 0) / 2, rtol=1e-5)
    gradient = jax.grad(lambda x: losses.unit_feature_distance({"layer": x}, b))(jnp.asarray(a["layer"]))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("b", [B, LONGER])
@pytest.mark.parametrize("channels", ["sum", "mean"])
def test_moment_style_losses_compare_means_and_standard_deviations(channels, b):
    def term(x, y):
        x, y = flat(x), flat(y)
        moments = (x.mean(1) - y.mean(1)) ** 2 + (np.sqrt(x.var(1) + 1e-5) - np.sqrt(y.var(1) + 1e-5)) ** 2
        return getattr(moments, channels)(-1).mean()

    value = losses.moment_style_loss(A, b, WEIGHTS, SCALES, channels=channels)
    np.testing.assert_allclose(value, of_layers(term, b), rtol=1e-5)


@pytest.mark.parametrize("b", [B, LONGER])
@pytest.mark.parametrize("matrix", ["gram", "covariance"])
def test_gram_style_losses_compare_means_and_the_matrix_of_their_name(matrix, b):
    def term(x, y):
        means = (flat(x).mean(1) - flat(y).mean(1)) ** 2
        matrices = (gram(x, matrix == "covariance") - gram(y, matrix == "covariance")) ** 2
        return (means.sum(-1) + matrices.sum((1, 2))).mean()

    value = losses.gram_style_loss(A, b, WEIGHTS, SCALES, matrix=matrix)
    np.testing.assert_allclose(value, of_layers(term, b), rtol=1e-5)


def test_gram_matrices_are_not_centred_and_covariances_are():
    x = A["relu2_1"]
    np.testing.assert_allclose(losses.gram_matrix(x), gram(np.float64(x)), rtol=1e-5)
    covariance = [np.cov(one.T, bias=True) / x.shape[-1] for one in np.float64(flat(x))]
    np.testing.assert_allclose(losses.covariance_matrix(x), covariance, rtol=1e-4, atol=1e-6)
    assert np.abs(losses.gram_matrix(x + 1) - losses.gram_matrix(x)).min() > 0.1
    np.testing.assert_allclose(losses.covariance_matrix(x + 1), covariance, rtol=1e-3, atol=1e-5)


def test_spatial_moments_are_of_each_example_and_channel():
    x = np.float64(A["relu1_1"])
    mean, std = losses.spatial_moments(A["relu1_1"], epsilon=0.5)
    assert mean.shape == std.shape == (2, 1, 1, 3)
    np.testing.assert_allclose(mean, x.mean((1, 2), keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(std, np.sqrt(x.var((1, 2), keepdims=True) + 0.5), rtol=1e-5)


def test_scales_are_means_of_the_examples_standard_deviations_without_gradient():
    for name, scale in losses.layer_scales(A).items():
        np.testing.assert_allclose(scale, np.mean([x.std() for x in A[name]]), rtol=1e-5)
    gradients = jax.grad(lambda a: sum(losses.layer_scales(a).values()))(jax.tree.map(jnp.asarray, A))
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradients))


@pytest.mark.slow
def test_losses_and_gradients_are_zero_at_the_target():
    """Also for constant channels, whose standard deviation has an infinite slope without an epsilon."""
    a = {name: jnp.asarray(x).at[..., 0].set(2.0) for name, x in A.items()}
    terms = (losses.feature_distance, losses.moment_style_loss, losses.gram_style_loss, losses.unit_feature_distance)
    for loss in terms:
        value, gradient = jax.value_and_grad(loss)(a, a)
        assert value < 1e-9
        for leaf in jax.tree.leaves(gradient):
            np.testing.assert_allclose(leaf, 0, atol=1e-6)


def test_layers_that_are_missing_are_named():
    with pytest.raises(ValueError, match=r"`b` must have the layers .* got none named \['relu2_1'\]"):
        losses.feature_distance(A, {"relu1_1": B["relu1_1"]})
    with pytest.raises(ValueError, match="`scales` must have the layers"):
        losses.moment_style_loss(A, B, scales={"relu1_1": 1.0})
    with pytest.raises(ValueError, match="`a` must have the layers"):
        losses.gram_style_loss(A, B, {"relu9_9": 1.0})
    with pytest.raises(ValueError, match="`b` must have shape"):
        losses.feature_distance(A, LONGER)
