import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logit

from jaxgen.bijectors import Affine, Chain, InvertibleLinear, Logit
from jaxgen.distributions import StandardNormal, UniformDequantization
from jaxgen.models.flows import Flow, latents
from jaxgen.training import TrainedModel
from tests.bijectors.tools import random_variables

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHIFT, SCALE = np.array([0.5, -1.0]), np.array([2.0, 0.7])


def bound(bijector, event_shape=(2,), dequantization=None, variables=None):
    return TrainedModel(Flow(bijector, StandardNormal(event_shape), dequantization), {"flow": variables or {}})


@pytest.fixture
def curved():
    """Latents are `SHIFT + SCALE logit(x)`: a straight line between them is none between the data."""
    return bound(Chain((Logit(), Affine(tuple(SHIFT), tuple(SCALE)))))


@pytest.fixture
def images():
    return bound(Affine(-0.5), (2, 2, 1), UniformDequantization(17))


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def unit(rows):
    return RNG.uniform(0.05, 0.95, (rows, 2)).astype(np.float32)


class Recorded:
    """Latents are `2 x + context`; remembers its keys."""

    def __init__(self):
        self.keys = []

    def encode(self, x, key=None, context=None):
        self.keys.append(key)
        return 2 * x + (0 if context is None else context)

    def decode(self, z, context=None):
        return (z - (0 if context is None else context)) / 2


def distinct(keys):
    return len({tuple(np.ravel(jax.random.key_data(key)).tolist()) for key in keys}) == len(keys)


def test_a_path_is_straight_between_the_latents(curved):
    a, b = unit(3), unit(3)
    path = latents.interpolate(curved, a, b, 5)
    assert path.shape == (5, 3, 2)
    t = np.linspace(0, 1, 5)[:, None, None]
    np.testing.assert_allclose(path, expit((1 - t) * logit(a) + t * logit(b)), rtol=1e-5)
    # no line between the data
    assert np.abs(path[2] - (a + b) / 2).max() > 0.01


def test_a_spherical_path_keeps_the_length_of_its_latents():
    flow = bound(Affine(tuple(SHIFT), tuple(SCALE)))
    z_a, z_b = np.float32([[3, 0], [0, 2]]), np.float32([[0, 3], [-1, -1]])
    path = latents.interpolate(flow, (z_a - SHIFT) / SCALE, (z_b - SHIFT) / SCALE, 3, spherical=True)
    angle = np.arccos(-np.sqrt(0.5))
    half_way = np.stack([[3 / np.sqrt(2)] * 2, np.sin(angle / 2) / np.sin(angle) * (z_a[1] + z_b[1])])
    np.testing.assert_allclose(path, (np.stack([z_a, half_way, z_b]) - SHIFT) / SCALE, atol=1e-5)


@pytest.mark.parametrize("b", [(1.0, 2.0), (2.0, 4.0), (-1.0, -2.0), (0.0, 0.0)])
def test_a_spherical_path_is_straight_where_there_is_no_circle(b):
    a, b = np.float32([[1.0, 2.0]]), np.float32([b])
    path = latents.interpolate(bound(Affine()), a, b, 5, spherical=True)
    np.testing.assert_allclose(path[:, 0], np.linspace(a[0], b[0], 5), atol=1e-5)


@pytest.mark.parametrize("spherical", [False, True])
def test_a_path_between_images_begins_and_ends_at_them(images, spherical):
    a, b = RNG.integers(0, 17, (2, 3, 2, 2, 1)).astype(np.uint8)
    path = latents.interpolate(images, a, b, 4, KEY, spherical=spherical)
    assert path.dtype == np.uint8
    np.testing.assert_array_equal(path[0], a)
    np.testing.assert_array_equal(path[-1], b)


@pytest.mark.parametrize("shape", [(2, 3), (1, 3)])
def test_a_path_takes_its_rows_of_context(shape):
    context = normal(*shape)
    flow, (a, b) = Recorded(), normal(2, 2, 3)
    path = latents.interpolate(flow, a, b, 3, KEY, context)
    np.testing.assert_allclose(path, np.stack([a, (a + b) / 2, b]), atol=1e-6)
    assert distinct(flow.keys)


def test_the_attribute_vector_is_the_difference_of_the_mean_latents(curved):
    rows, others = unit(7), unit(5)
    expected = SCALE * (logit(rows).mean(0) - logit(others).mean(0))
    for batch_size in (3, 512):
        np.testing.assert_allclose(
            latents.attribute_vector(curved, rows, others, batch_size=batch_size), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("shape", [(7, 2), (1, 2)])
def test_a_mean_latent_takes_its_rows_of_context(shape):
    flow, x, context = Recorded(), normal(7, 2), normal(*shape)
    mean = latents.mean_latent(flow, x, KEY, context, 3)
    np.testing.assert_allclose(mean, 2 * x.mean(0) + context.mean(0), rtol=1e-4, atol=1e-5)
    assert len(flow.keys) == 3 and distinct(flow.keys)


def test_the_two_sets_of_an_attribute_have_noise_of_their_own():
    flow = Recorded()
    latents.attribute_vector(flow, unit(4), unit(4), KEY, batch_size=2)
    assert len(flow.keys) == 4 and distinct(flow.keys)


def test_an_edit_goes_along_the_vector(curved):
    x, vector = unit(3), np.float32([1.0, -2.0])
    for strength in (0.5, -1.5, 0):
        expected = expit(logit(x) + strength * vector / SCALE)
        np.testing.assert_allclose(latents.edit(curved, x, vector, strength), expected, rtol=1e-4)
    # each row its own
    strengths, vectors = np.float32([0.5, 1.0, -1.0]), normal(3, 2)
    expected = expit(logit(x) + strengths[:, None] * vectors / SCALE)
    np.testing.assert_allclose(latents.edit(curved, x, vectors, strengths), expected, rtol=1e-4)


def test_an_edit_of_images(images):
    x = RNG.integers(4, 12, (3, 2, 2, 1)).astype(np.uint8)
    brighter = latents.edit(images, x, jnp.full((2, 2, 1), 1 / 17), np.int32([0, 2, -3]), KEY)
    np.testing.assert_allclose(brighter, x + np.array([0, 2, -3])[:, None, None, None], atol=1)


def test_one_gaussian_is_transported_onto_another():
    flow_a = bound(Affine((1.0, -2.0, 0.5), (0.5, 3.0, 1.0)), (3,))
    bijector = Chain((Affine((2.0, 0.0, -1.0)), InvertibleLinear()))
    flow_b = bound(bijector, (3,), variables=random_variables(bijector, 1, jnp.zeros((2, 3))))
    jacobian = np.asarray(jax.jit(jax.jacobian(lambda x: flow_b.encode(x[None])[0]))(jnp.zeros(3)), np.float64)
    inverse = np.linalg.inv(jacobian)

    n = 40_000
    x = latents.transfer(flow_a, flow_b, flow_a.sample(KEY, n))
    covariance = inverse @ inverse.T
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() > 0.1
    deviation = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(np.mean(x, 0) / deviation, np.array([-2.0, 0.0, 1.0]) / deviation, atol=5 / n**0.5)
    scaled = np.cov(np.asarray(x), rowvar=False) / np.outer(deviation, deviation)
    np.testing.assert_allclose(scaled, covariance / np.outer(deviation, deviation), atol=5 * (2 / n) ** 0.5)

    rows = normal(4, 3)
    z = [1.0, -2.0, 0.5] + [0.5, 3.0, 1.0] * rows
    np.testing.assert_allclose(latents.transfer(flow_a, flow_b, rows), z @ inverse.T + [-2, 0, 1], rtol=1e-4, atol=1e-4)


def test_transport_takes_a_context_for_each_flow():
    flow, x, (own, other) = Recorded(), normal(4, 2), normal(2, 4, 2)
    np.testing.assert_allclose(latents.transfer(flow, flow, x, KEY, own, other), x + (own - other) / 2, atol=1e-5)
    assert flow.keys == [KEY]


def test_paths_without_two_fitting_ends_are_refused(curved):
    with pytest.raises(ValueError, match=r"at least 2, .* got 1, \(3, 2\), \(3, 2\)"):
        latents.interpolate(curved, unit(3), unit(3), 1)
    with pytest.raises(ValueError, match=r"one shape, got 4, \(3, 2\), \(2, 2\)"):
        latents.interpolate(curved, unit(3), unit(2), 4)
