import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.initializers import small_normal
from jaxgen.nets.maxout import Maxout
from tests.models.parameters import drawn

KEY = jax.random.key(0)


def test_maxout_is_the_largest_of_its_pieces():
    layer, x = Maxout(4, 3), jax.random.normal(KEY, (5, 2, 6))
    variables = drawn(layer, x)
    p = variables["params"]["Dense_0"]
    pieces = [x @ p["kernel"][:, k::3] + p["bias"][k::3] for k in range(3)]
    np.testing.assert_allclose(layer.apply(variables, x), np.max(pieces, 0), rtol=1e-4, atol=1e-5)
    fresh = Maxout(200, kernel_init=small_normal).init(KEY, jnp.ones((1, 20)))["params"]["Dense_0"]["kernel"]
    assert fresh.shape == (20, 1000) and np.std(fresh) == pytest.approx(0.02, rel=0.05)
