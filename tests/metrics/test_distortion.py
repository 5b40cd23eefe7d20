import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics import psnr


def test_each_row_has_its_decibels():
    reference = jnp.full((3, 2, 2, 1), 0.25)
    x = reference + jnp.array([0.1, -0.01, 0.0]).reshape(3, 1, 1, 1)
    # an error of a tenth of the range is 20 decibels; equal rows get the most there is
    np.testing.assert_allclose(jax.jit(psnr)(x, reference, 1.0), [20, 40, 100], rtol=1e-4)
    np.testing.assert_allclose(psnr(10 * x, 10 * reference, 10.0), [20, 40, 100], rtol=1e-4)


def test_errors_are_squared_before_their_mean():
    x, reference = jnp.zeros((1, 4)), jnp.array([[0.0, 0.0, 0.0, 2.0]])
    np.testing.assert_allclose(psnr(x, reference, 1.0), -10 * np.log10(1.0), atol=1e-5)


def test_integers_do_not_wrap():
    black, grey = jnp.zeros((1, 5), jnp.uint8), jnp.full((1, 5), 51, jnp.uint8)
    np.testing.assert_allclose(psnr(black, grey, 255), -10 * np.log10(0.04), rtol=1e-5)
