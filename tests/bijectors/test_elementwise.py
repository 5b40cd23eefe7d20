import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxgen.bijectors import Affine, LeakyReLU, Logit, Probit, Sigmoid, Softplus, Tanh

EDGES = {"line": [-1e3, -20.0, 0.0, 20.0, 1e3], "unit": [0.0, 1e-30, 0.5, 1.0], "positive": [0.0, 1e-30, 1.0, 1e3],
         "ball": [-1.0, 0.0, 1.0]}
FUNCTIONS = {
    "logit": (Logit(), special.logit, "unit", "line"),
    "logit with margin": (Logit(0.1), lambda x: special.logit(0.1 + 0.8 * x), "unit", "line"),
    "sigmoid": (Sigmoid(), special.expit, "line", "unit"),
    "probit": (Probit(), stats.norm.ppf, "unit", "line"),
    "softplus": (Softplus(), lambda x: np.logaddexp(x, 0), "line", "positive"),
    "tanh": (Tanh(), np.tanh, "line", "ball"),
    "leaky relu": (LeakyReLU(0.2), lambda x: np.maximum(x, 0.2 * x), "line", "line"),
    "affine": (Affine(1.0, 3.0), lambda x: 1 + 3 * x, "line", "line"),
}
each = pytest.mark.parametrize("name", FUNCTIONS)


@each
def test_is_the_function_it_is_called_after(name):
    bijector, function, domain, _ = FUNCTIONS[name]
    x = np.asarray([[0.1, 0.4, 0.9]] if domain == "unit" else [[-3.0, 0.2, 2.0]], np.float32)
    np.testing.assert_allclose(bijector.apply({}, x)[0], function(x), rtol=2e-5, atol=1e-6)


@each
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_float32_values_and_gradients_are_finite_at_the_edges(name, direction):
    bijector, _, domain, image = FUNCTIONS[name]
    x = jnp.asarray(EDGES[domain if direction == "forward" else image])[:, None]

    @jax.jit
    def results(x):
        outputs, pull_back = jax.vjp(lambda x: bijector.apply({}, x, method=f"{direction}_and_log_det"), x)
        one, zero = (jax.tree.map(f, outputs) for f in (jnp.ones_like, jnp.zeros_like))
        return outputs, pull_back((one[0], zero[1])), pull_back((zero[0], one[1]))

    for leaf in jax.tree.leaves(results(x)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize(("bijector", "x", "expected"), [
    (Sigmoid(), 80.0, -80.0),
    (Sigmoid(), -80.0, -80.0),
    (Softplus(), -80.0, -80.0),
    (Softplus(), 80.0, 0.0),
    (Tanh(), 80.0, 2 * np.log(2) - 160),
    (Tanh(), -80.0, 2 * np.log(2) - 160),
])
def test_log_derivatives_do_not_cancel_in_the_tails(bijector, x, expected):
    log_det = bijector.apply({}, jnp.full((1, 1), x), method="log_det")
    np.testing.assert_allclose(log_det, expected, rtol=1e-6, atol=1e-30)


def test_probit_turns_uniform_into_normal():
    z = Probit().apply({}, np.random.default_rng(0).uniform(size=(4000, 1)).astype(np.float32), method="forward")
    assert stats.kstest(np.ravel(z), "norm").pvalue > 0.01


def test_refuses_what_cannot_be_inverted():
    x = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="`scale` must not be zero"):
        Affine(0.0, (1.0, 0.0)).apply({}, x)
    with pytest.raises(ValueError, match="`slope` must be positive"):
        LeakyReLU(-0.1).apply({}, x)
