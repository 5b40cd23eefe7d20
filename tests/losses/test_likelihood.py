import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses import bits_per_dim, negative_log_likelihood


def test_negative_log_likelihood_is_the_accumulates():
    assert negative_log_likelihood(jnp.asarray([-1.0, -2.0, 6.0])) == -1.0
    with pytest.raises(ValueError):
        negative_log_likelihood(jnp.zeros((2, 3)))


def test_bits_per_dim_of_a_uniform_code():
    # every one of 17 ** 64 images equally likely: log2(17) bits for each pixel
    np.testing.assert_allclose(bits_per_dim(jnp.asarray([-64 * np.log(17)]), 64), np.log2(17), rtol=1e-6)
    # as a density, that is 1 on the unit cube
    np.testing.assert_allclose(bits_per_dim(jnp.zeros(3), 64, levels=17), np.log2(17), rtol=1e-6)


def test_bits_per_dim_keeps_rows_apart():
    bits = bits_per_dim(jnp.asarray([[0.0], [-2 * np.log(2)]]), 2, levels=2)
    np.testing.assert_allclose(bits, [[1.0], [2.0]], rtol=1e-6)
