import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.data import source
from jaxgen.distributions import Banana, Funnel, GaussianRing

TARGETS = {"banana": Banana(), "funnel": Funnel(), "ring": GaussianRing()}


@pytest.mark.parametrize("name", TARGETS)
def test_the_normalizer_is_the_integral(name):
    # the funnel is integrated slice by slice, each over a range of its own width
    x1 = np.linspace(-16, 16, 1601)
    width = np.exp(x1 / 2)[:, None] if name == "funnel" else 1.0
    x2 = np.linspace(-8, 8, 801) * width + (np.zeros((1601, 1)) if name != "banana" else x1[:, None] ** 2 / 4 - 1)
    points = np.stack([np.broadcast_to(x1[:, None], x2.shape), x2], -1).reshape(-1, 2).astype(np.float32)
    density = np.exp(np.asarray(TARGETS[name].log_density(jnp.asarray(points)), np.float64)).reshape(x2.shape)
    cell = (x1[1] - x1[0]) * (x2[:, 1] - x2[:, 0])[:, None]
    np.testing.assert_allclose((density * cell).sum(), np.exp(TARGETS[name].log_normalizer), rtol=1e-3)


@pytest.mark.parametrize("name", TARGETS)
def test_the_toy_of_that_name_is_drawn_from_it(name):
    target, x = TARGETS[name], source(name).test.head(10_000)["x"]
    # importance weights from a broad density around draws: E_p[g / p] = 1 for any normalised g where p is positive
    center, scale = {"banana": ((0, 0.0), 0.5), "funnel": ((0, 0.0), 0.5), "ring": ((3.0, 0.0), 0.3)}[name]
    squares = np.square((x - np.asarray(center)) / scale).sum(1)
    log_g = -0.5 * squares - np.log(2 * np.pi * scale**2)
    log_p = np.asarray(target.log_density(jnp.asarray(x))) - target.log_normalizer
    ratios = np.exp(log_g - log_p)
    np.testing.assert_allclose(ratios.mean(), 1.0, atol=5 * ratios.std() / 100)
    assert ratios.std() / 100 < 0.1
