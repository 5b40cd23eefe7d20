import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from jaxgen.metrics import distance_ratio

ratio = jax.jit(distance_ratio)


def test_it_is_the_ratio_of_mean_distances_between_different_rows():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(7, 2, 3)), rng.normal(50, 3, size=(9, 2, 3))
    expected = pdist(fake.reshape(9, 6)).mean() / pdist(real.reshape(7, 6)).mean()
    assert float(ratio(np.float32(real), np.float32(fake))) == pytest.approx(expected, rel=1e-4)
    assert float(ratio(np.float32(fake), np.float32(real))) == pytest.approx(1 / expected, rel=1e-4)


def test_it_falls_to_zero_with_a_collapse_wherever_that_is():
    real = jax.random.normal(jax.random.key(0), (20, 500))
    assert float(ratio(real, jnp.full((20, 500), 1000.3))) < 1e-4
    assert float(ratio(real, 1000 + 0.01 * real)) == pytest.approx(0.01, rel=0.01)


def test_integers_do_not_wrap():
    real, fake = jnp.array([[0], [255]], jnp.uint8), jnp.array([[255], [204]], jnp.uint8)
    assert float(ratio(real, fake)) == pytest.approx(0.2, rel=1e-4)


def test_one_row_has_no_distance():
    with pytest.raises(ValueError, match="`real` must have at least 2 examples"):
        distance_ratio(jnp.zeros((1, 2)), jnp.zeros((3, 2)))
