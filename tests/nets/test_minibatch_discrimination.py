import jax
import numpy as np

from jaxgen.nets.minibatch_discrimination import MinibatchDiscrimination
from tests.models.parameters import drawn

KEY = jax.random.key(0)


def test_minibatch_discrimination_is_its_loops():
    layer, x = MinibatchDiscrimination(4, 3), jax.random.normal(KEY, (5, 6))
    variables = drawn(layer, x)
    m = np.asarray(x @ variables["params"]["Dense_0"]["kernel"]).reshape(5, 4, 3)
    near = np.zeros((5, 4))
    for i in range(5):
        for j in range(5):
            for b in range(4):
                near[i, b] += np.exp(-np.abs(m[i, b] - m[j, b]).sum())
    np.testing.assert_allclose(layer.apply(variables, x), np.concatenate([x, near], -1), rtol=1e-4)
    # a generator that puts out one point is seen
    np.testing.assert_allclose(layer.apply(variables, x[:1].repeat(5, 0))[:, 6:], 5, rtol=1e-5)
