import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.attention import SelfAttention, max_pool
from jaxgen.nets.spectral import SpectralConv
from tests.models.parameters import drawn

KEY = jax.random.key(0)


# channels below eight have one for queries and keys
@pytest.mark.parametrize("shape", [(2, 4, 6, 16), (2, 3, 4, 16), (2, 2, 2, 3)])
def test_attention_is_that_of_its_docstring(shape):
    layer = SelfAttention()
    x = 2 * np.random.default_rng(0).normal(size=shape).astype(np.float32)
    variables = drawn(layer, x)
    variables["params"]["gain"] = np.float32(-1.5)
    p = {name: leaf if name == "gain" else leaf["kernel"][0, 0] for name, leaf in variables["params"].items()}
    b, h, w, c = shape
    inner, outer = max(1, c // 8), c // 2
    assert {name: np.shape(leaf) for name, leaf in p.items()} == {
        "query": (c, inner), "key": (c, inner), "value": (c, outer), "out": (outer, c), "gain": ()
    }  # fmt: skip
    pooled = {name: x @ p[name] for name in ("key", "value")}
    if h % 2 == w % 2 == 0:
        pooled = {name: np.max([a[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], 0) for name, a in pooled.items()}
    expected = np.empty_like(x)
    for row in range(b):
        keys, values = (pooled[name][row].reshape(-1, pooled[name].shape[-1]) for name in ("key", "value"))
        for i in range(h):
            for j in range(w):
                weights = np.exp(keys @ (x[row, i, j] @ p["query"]))
                o = (weights / weights.sum()) @ values @ p["out"]
                expected[row, i, j] = x[row, i, j] + p["gain"] * o
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected - x).max() > 1e-3


@pytest.mark.slow
def test_a_fresh_gain_is_zero_and_learns():
    layer, x = SelfAttention(), jax.random.normal(KEY, (1, 2, 2, 8))
    variables = jax.jit(layer.init)(KEY, x)
    spectral = jax.eval_shape(SelfAttention(SpectralConv).init, KEY, x)["spectral"]
    assert set(spectral) == {"query", "key", "value", "out"}

    def loss(params):
        y = layer.apply({**variables, "params": params}, x)
        return (y**3).sum(), y

    gradient, y = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    np.testing.assert_array_equal(y, x)
    assert abs(gradient["gain"]) > 0


def test_half_precision_stays_half_precision():
    layer = SelfAttention()
    x = jnp.ones((1, 2, 2, 8), jnp.bfloat16)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), drawn(layer, x))
    assert jax.eval_shape(layer.apply, half, x).dtype == jnp.bfloat16


def test_max_pool():
    x = jnp.array([[1.0, 5, 0, -1], [2, 3, -4, -2]]).reshape(1, 2, 4, 1)
    np.testing.assert_array_equal(max_pool(x).ravel(), [5, 0])
