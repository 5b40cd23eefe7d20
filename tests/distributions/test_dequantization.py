import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.distributions import UniformDequantization, quantize


@pytest.mark.parametrize("levels", [2, 17, 255, 256])
def test_integers_come_back_whatever_the_noise(levels):
    dequantization = UniformDequantization(levels)
    x = jnp.broadcast_to(jnp.arange(levels, dtype=jnp.uint8), (2000, levels))
    y, log_det = dequantization.dequantize(jax.random.key(0), x)
    assert y.min() >= 0 and y.max() < 1 and y.dtype == jnp.float32
    np.testing.assert_array_equal(quantize(y, levels), x)
    np.testing.assert_allclose(log_det, np.full(2000, -levels * np.log(levels)), rtol=1e-6)


def test_noise_fills_the_bin():
    y, _ = UniformDequantization(4).dequantize(jax.random.key(0), jnp.full((1, 4000), 2))
    assert stats.kstest(np.ravel(y * 4 - 2), "uniform").pvalue > 0.01


def test_quantize_clips():
    x = quantize(jnp.asarray([-0.3, 0.0, 0.999, 1.0, 7.0]), 17)
    assert x.dtype == jnp.uint8
    np.testing.assert_array_equal(x, [0, 0, 16, 16, 16])


def test_levels_fit_in_a_byte():
    with pytest.raises(ValueError, match="must be between 2 and 256, got 512"):
        UniformDequantization(512)
