import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.distributions import Logistic, StandardNormal

both = pytest.mark.parametrize(("kind", "scipys"), [(StandardNormal, stats.norm), (Logistic, stats.logistic)])


@both
@pytest.mark.parametrize("scale", [3, 30])
def test_log_prob_is_scipys(kind, scipys, scale):
    z = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32) * scale
    np.testing.assert_allclose(kind((2, 3)).log_prob(z), scipys.logpdf(z).sum((1, 2)), rtol=1e-5)
    assert kind((2, 3)).log_prob(jnp.asarray(z, jnp.bfloat16)).dtype == jnp.float32


@both
def test_samples_are_standard(kind, scipys):
    z = kind((2, 3)).sample(jax.random.key(0), 1000)
    assert z.shape == (1000, 2, 3)
    assert stats.kstest(np.ravel(z), scipys.cdf).pvalue > 0.01


@both
def test_names_both_shapes(kind, scipys):
    with pytest.raises(ValueError, match=rf"{kind.__name__} must be .*\(2, 3\)\], got shape \(5, 3, 2\)"):
        kind((2, 3)).log_prob(jnp.zeros((5, 3, 2)))
