import numpy as np
import pytest
from scipy import stats

from jaxgen.data import ArraySource, Splits, baselines, source


def splits(draw, **fields):
    return Splits(*(ArraySource(draw(n), name="rows", **fields) for n in (500, 10, 100)))


def test_log_prob_is_that_of_a_gaussian_with_the_moments_of_the_training_rows():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 3))
    data = splits(lambda n: {"x": (2 + rng.gamma(2.0, size=(n, 3)) @ mixing).astype(np.float32)})
    train, test = (np.float64(s.head(len(s))["x"]) for s in (data.train, data.test))
    expected = stats.multivariate_normal(train.mean(0), np.cov(train, rowvar=False)).logpdf(test).mean()
    (name, value), = baselines.log_prob(data).items()
    assert name == "full-covariance Gaussian, log_prob"
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_log_prob_takes_a_context_for_a_linear_mean():
    rng = np.random.default_rng(0)

    def draw(n):
        context = rng.normal(size=(n, 2))
        x = 5 + context @ [[1.0], [-2.0]] + 0.1 * rng.normal(size=(n, 1))
        return {"x": x.astype(np.float32), "context": context.astype(np.float32)}

    (_, value), = baselines.log_prob(splits(draw)).items()
    np.testing.assert_allclose(value, -0.5 * np.log(2 * np.pi * np.e * 0.01), atol=0.3)


def test_rows_in_a_subspace_have_no_density():
    rng = np.random.default_rng(0)
    assert baselines.log_prob(splits(lambda n: {"x": np.float32(rng.normal(size=(n, 1))) * np.float32([1, 0])})) == {}


def test_each_baseline_is_of_its_kind_of_data():
    with pytest.raises(ValueError, match="17 grey levels"):
        baselines.log_prob(source("digits"))
    with pytest.raises(ValueError, match="got real-valued 'two_moons"):
        baselines.bits_per_dim(source("two_moons"))


def test_bits_per_dim_of_independent_uniform_levels():
    rng = np.random.default_rng(0)
    data = splits(lambda n: {"x": rng.integers(0, 4, (20 * n, 2, 1, 1)).astype(np.uint8)}, levels=4)
    figures = baselines.bits_per_dim(data)
    assert figures["uniform, bits_per_dim"] == 2
    # a Gaussian with the variance of a uniform distribution costs log2 sqrt(2 pi e / 12) bits more than that
    expected = 2 + 0.5 * np.log2(2 * np.pi * np.e / 12)
    np.testing.assert_allclose(figures["full-covariance Gaussian, bits_per_dim"], expected, atol=0.01)
