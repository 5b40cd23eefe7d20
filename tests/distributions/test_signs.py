import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.distributions import Signs


def test_all_signs_are_equally_likely():
    signs = Signs((3, 2))
    support = np.asarray(signs.support())
    assert support.shape == (64, 3, 2) and len(np.unique(support.reshape(64, -1), axis=0)) == 64
    assert set(np.unique(support)) == {-1, 1}
    np.testing.assert_allclose(np.exp(signs.log_prob(jnp.asarray(support))), 1 / 64, rtol=1e-6)
    assert signs.log_prob(jnp.full((1, 3, 2), 0.5))[0] == -np.inf
    z = np.asarray(signs.sample(jax.random.key(0), 6400))
    counts = np.bincount((z.reshape(6400, -1) > 0) @ (1 << np.arange(6)), minlength=64)
    assert counts.min() > 50 and counts.max() < 150
    with pytest.raises(ValueError, match="Signs must be"):
        signs.log_prob(jnp.ones((1, 2, 3)))
