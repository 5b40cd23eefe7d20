import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.distributions import Logistic


def test_log_prob_is_scipys():
    z = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32) * 30
    np.testing.assert_allclose(Logistic((2, 3)).log_prob(z), stats.logistic.logpdf(z).sum((1, 2)), rtol=1e-5)
    assert Logistic((2, 3)).log_prob(jnp.asarray(z, jnp.bfloat16)).dtype == jnp.float32


def test_samples_are_standard_logistic():
    z = Logistic((2, 3)).sample(jax.random.key(0), 1000)
    assert z.shape == (1000, 2, 3)
    assert stats.kstest(np.ravel(z), "logistic").pvalue > 0.01


def test_names_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\), got \(3, 2\)"):
        Logistic((2, 3)).log_prob(jnp.zeros((5, 3, 2)))
