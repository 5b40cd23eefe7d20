import jax
import numpy as np
import pytest

from jaxgen.nets.conditioning import Concatenate, FiLM, Projection, Unconditional
from jaxgen.nets.spectral import SpectralDense

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
C = RNG.normal(size=(4, 3)).astype(np.float32)
VECTORS, IMAGES = RNG.normal(size=(4, 5)).astype(np.float32), RNG.normal(size=(4, 2, 3, 5)).astype(np.float32)


def run(module, method, x, c=C):
    """The output, and the parameters, all drawn anew."""
    abstract = jax.eval_shape(lambda: module.init(KEY, x, c, method=method))
    variables = jax.tree.map(lambda a: RNG.normal(size=a.shape).astype(np.float32), abstract)
    return module.apply(variables, x, c, method=method), variables.get("params", {})


@pytest.mark.parametrize("x", [VECTORS, IMAGES], ids=["vectors", "images"])
@pytest.mark.parametrize("features", [0, 2])
def test_concatenation(x, features):
    y, p = run(Concatenate(features), "before", x)
    c = C @ p["embedding"]["kernel"] + p["embedding"]["bias"] if features else C
    assert bool(p) == bool(features) and y.shape == (*x.shape[:-1], 5 + (features or 3))
    np.testing.assert_array_equal(y[..., :5], x)
    for row in range(4):
        np.testing.assert_allclose(y[row, ..., 5:], np.broadcast_to(c[row], y[row, ..., 5:].shape), rtol=1e-4)


@pytest.mark.parametrize("x", [VECTORS, IMAGES], ids=["vectors", "images"])
def test_film(x):
    y, p = run(FiLM(), "before", x)
    factors = C @ p["factors"]["kernel"] + p["factors"]["bias"]
    assert factors.shape == (4, x[0].size)
    np.testing.assert_allclose(y, x * factors.reshape(x.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("features", [VECTORS, IMAGES], ids=["vectors", "images"])
def test_the_projection(features):
    y, p = run(Projection(), "after", features)
    assert set(p["embedding"]) == {"kernel"}
    pooled = features if features.ndim == 2 else features.sum((1, 2))
    np.testing.assert_allclose(y, np.einsum("bd,df,bf->b", C, p["embedding"]["kernel"], pooled), rtol=1e-4, atol=1e-4)
    assert np.abs(y).min() > 0
    x, p = run(Projection(), "before", features)
    assert x is features and not p


def test_a_spectrally_normalised_projection():
    abstract = jax.eval_shape(lambda: Projection(SpectralDense).init(KEY, VECTORS, C, method="after"))
    assert abstract["spectral"]["embedding"]["SpectralNorm_0"]["u"].shape == (5,)


@pytest.mark.parametrize("module", [Concatenate(2), FiLM(), Unconditional()])
def test_only_a_projection_adds_to_the_score(module):
    y, p = run(module, "after", IMAGES)
    np.testing.assert_array_equal(y, np.zeros(4))
    assert not p


@pytest.mark.parametrize(
    ("module", "method"),
    [(Concatenate(), "before"), (Concatenate(2), "before"), (FiLM(), "before"), (Projection(), "after")],
)
def test_each_row_depends_on_its_own_context(module, method):
    y, params = run(module, method, IMAGES)
    other = C.copy()
    other[1] += 1
    changed = np.abs(y - module.apply({"params": params}, IMAGES, other, method=method)).reshape(4, -1).max(-1) > 1e-4
    np.testing.assert_array_equal(changed, [False, True, False, False])
