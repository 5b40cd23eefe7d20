import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, log_softmax, softmax

from jaxgen.distributions import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    OptimalGaussian,
)

# those that rate a row by itself
BY_ROW = (
    Bernoulli(), Gaussian(), Gaussian(std=0.3), DiscretizedLogistic(7), DiscretizedLogisticMixture(7, 2),
    Categorical(7),
)  # fmt: skip
ALL = (*BY_ROW, OptimalGaussian())


def normals(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def logistic(params, levels, floor=1e-3):
    """SciPy's frozen logistic in levels, from this package's parameters, in float64."""
    params = np.asarray(params, np.float64)
    half = (levels - 1) / 2
    return stats.logistic(half * (1 + params[..., 0]), half * (floor + np.logaddexp(0, params[..., 1])))


def test_bernoulli_is_scipys():
    logits, x = 3 * normals(0, 4, 3, 2), np.random.default_rng(1).integers(0, 2, (4, 3, 2))
    expected = stats.bernoulli(expit(logits)).logpmf(x).sum((1, 2))
    np.testing.assert_allclose(Bernoulli().log_prob(jnp.array(logits)[..., None], jnp.array(x)), expected, rtol=1e-5)


def test_bernoulli_rates_a_grey_value_by_what_its_binarizations_get_on_average():
    logits, grey = jnp.array([[[0.7]]]), 0.3
    on, off, between = (float(Bernoulli().log_prob(logits, jnp.full((1, 1), a))[0]) for a in (1.0, 0.0, grey))
    assert between == pytest.approx(grey * on + (1 - grey) * off, rel=1e-6)


def test_gaussian_is_scipys():
    params, x = normals(2, 4, 3, 2, 2), normals(3, 4, 3, 2)
    fixed = stats.norm(params[..., 0], 0.3).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(Gaussian(std=0.3).log_prob(jnp.array(params[..., :1]), jnp.array(x)), fixed, rtol=1e-5)
    std = 0.01 + np.logaddexp(0, params[..., 1])
    learned = stats.norm(params[..., 0], std).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(Gaussian(floor=0.01).log_prob(jnp.array(params), jnp.array(x)), learned, rtol=1e-4)


def test_a_learned_standard_deviation_has_a_floor():
    params = jnp.array([[[0.5, -1e4]]])
    expected = stats.norm(0.5, 0.01).logpdf(0.5)
    assert Gaussian(floor=0.01).log_prob(params, jnp.array([[0.5]]))[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("levels", [2, 7, 256])
def test_discretized_logistic_is_differences_of_scipys_distribution_function(levels):
    params = normals(4, 5, 2) * (1.5, 3.0)
    x = np.arange(levels)
    d = logistic(params[:, None], levels)
    mass = d.cdf(x + 0.5) - d.cdf(x - 0.5)
    mass[:, 0], mass[:, -1] = d.cdf(0.5)[:, 0], d.sf(levels - 1.5)[:, 0]
    with jax.enable_x64(True):
        rows = jnp.broadcast_to(jnp.array(params)[:, None, :], (5, levels, 2)).reshape(-1, 1, 2)
        ours = jax.jit(DiscretizedLogistic(levels).log_prob)(rows, jnp.tile(jnp.arange(levels), 5)[:, None])
        ours = np.exp(np.asarray(ours)).reshape(5, levels)
    np.testing.assert_allclose(ours, mass, rtol=1e-6, atol=1e-13)
    np.testing.assert_allclose(ours.sum(1), np.ones(5), rtol=1e-12)


def test_discretized_logistic_keeps_its_digits_where_differences_have_none():
    # a narrow density on the top level, rated on bins far below, all in float32
    params = np.array([1.0, -4.0])
    x = np.array([0, 1, 30, 128])
    d = logistic(params, 256)
    under, over = d.logcdf(x + 0.5), d.logcdf(x - 0.5)
    expected = under + np.log1p(-np.exp(over - under))
    expected[0] = under[0]
    rows = jnp.broadcast_to(jnp.array(params, jnp.float32), (4, 1, 2))
    got = jax.jit(DiscretizedLogistic(256).log_prob)(rows, jnp.array(x)[:, None])
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert expected[1] < -50


def test_categorical_is_scipys():
    logits, x = 3 * normals(7, 4, 3, 2, 5), np.random.default_rng(8).integers(0, 5, (4, 3, 2))
    expected = np.take_along_axis(log_softmax(logits, -1), x[..., None], -1).sum((1, 2, 3))
    np.testing.assert_allclose(Categorical(5).log_prob(jnp.array(logits), jnp.array(x, jnp.uint8)), expected, rtol=1e-5)


def test_a_mixture_of_discretized_logistics_is_the_mixture_of_their_masses():
    levels, k = 9, 3
    params = normals(9, 5, 3 * k)
    logits, locations, scales = np.split(params, 3, -1)
    d = logistic(np.stack([locations, scales], -1)[:, None], levels)
    x = np.arange(levels)[:, None]
    upper, lower = np.where(x == levels - 1, 1, d.cdf(x + 0.5)), np.where(x == 0, 0, d.cdf(x - 0.5))
    mass = (softmax(logits, -1)[:, None] * (upper - lower)).sum(-1)
    with jax.enable_x64(True):
        rows = jnp.broadcast_to(jnp.array(params)[:, None, :], (5, levels, 3 * k)).reshape(-1, 1, 3 * k)
        log_prob = jax.jit(DiscretizedLogisticMixture(levels, k).log_prob)
        ours = np.exp(np.asarray(log_prob(rows, jnp.tile(jnp.arange(levels), 5)[:, None]))).reshape(5, levels)
    np.testing.assert_allclose(ours, mass, rtol=1e-6)
    np.testing.assert_allclose(ours.sum(1), np.ones(5), rtol=1e-12)


def test_the_optimal_gaussian_has_the_variance_of_the_batchs_residuals():
    means, x = normals(10, 4, 3, 2), 3 * normals(11, 4, 3, 2)
    std = ((x - means) ** 2).mean() ** 0.5
    params = jnp.array(means)[..., None]
    got = OptimalGaussian().log_prob(params, jnp.array(x))
    np.testing.assert_allclose(got, stats.norm(means, std).logpdf(x).sum((1, 2)), rtol=1e-5)
    assert got.mean() == pytest.approx(-6 * (0.5 * np.log(2 * np.pi * std**2) + 0.5), rel=1e-5)
    # the best of all that share one, and what a Gaussian that is told of it gives
    assert float(OptimalGaussian().std(params, jnp.array(x))) == pytest.approx(std, rel=1e-5)
    for factor in (0.9, 1.1):
        assert got.sum() > Gaussian(std=factor * std).log_prob(params, jnp.array(x)).sum() + 0.1
    np.testing.assert_allclose(Gaussian(std=std).log_prob(params, jnp.array(x)), got, rtol=1e-5)
    # nothing of the batch's gradient comes by way of the variance
    gradient = jax.jit(jax.grad(lambda p: OptimalGaussian().log_prob(p, jnp.array(x)).sum()))(params)
    np.testing.assert_allclose(gradient[..., 0], (x - means) / std**2, rtol=1e-4, atol=1e-5)


def test_the_optimal_gaussians_variance_has_a_floor():
    x = jnp.array([[0.5, 0.2]])
    met = jax.jit(jax.value_and_grad(lambda p: OptimalGaussian(0.01).log_prob(p, x).sum()))(x[..., None])
    assert float(met[0]) == pytest.approx(2 * stats.norm(0, 0.01).logpdf(0), rel=1e-6)
    assert np.abs(met[1]).max() == 0


def test_the_optimal_gaussian_draws_its_means():
    params = jnp.array(normals(12, 3, 2, 1))
    draws = OptimalGaussian().sample(params, jax.random.key(0))
    np.testing.assert_array_equal(draws, params[..., 0])
    np.testing.assert_array_equal(draws, OptimalGaussian().mean(params))


@pytest.mark.parametrize("likelihood", BY_ROW)
def test_log_prob_sums_the_event_and_keeps_rows_apart(likelihood):
    params = np.float32(normals(5, 3, 2, 2, likelihood.num_params))
    log_prob = jax.jit(likelihood.log_prob)
    by_coordinate = log_prob(params.reshape(12, 1, -1), np.ones((12, 1)))
    by_row = np.asarray(by_coordinate).reshape(3, 4).sum(1)
    np.testing.assert_allclose(log_prob(params, np.ones((3, 2, 2))), by_row, rtol=1e-5)


@pytest.mark.parametrize("likelihood", ALL)
def test_gradients_are_finite_at_any_parameters(likelihood):
    extremes = np.array(np.meshgrid(*[[-1e4, -50.0, 0.0, 50.0, 1e4]] * likelihood.num_params), np.float32)
    rows = extremes.reshape(likelihood.num_params, -1).T[:, None]
    rated = jax.jit(jax.value_and_grad(lambda p, x: likelihood.log_prob(p, x).sum()))
    for x in (0, 1, 6):
        value, grad = rated(rows, np.full(rows.shape[:2], x))
        assert np.isfinite(value) and np.isfinite(grad).all()


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", BY_ROW)
def test_means_and_draws_follow_the_density(likelihood):
    n, params = 40_000, np.float32([0.4, -0.6, 0.7, -0.2, -1.5, 0.1, 1.0])[: likelihood.num_params]
    draws = np.asarray(
        jax.jit(likelihood.sample)(np.broadcast_to(params, (n, likelihood.num_params)), jax.random.key(0))
    )
    assert draws.shape == (n,)
    if isinstance(likelihood, Gaussian):
        grid = np.linspace(-10, 10, 4001)
        cell = grid[1] - grid[0]
    else:
        grid, cell = np.arange(likelihood.levels or 2), 1.0
        assert set(draws) <= set(grid)
    rows = np.broadcast_to(params, (len(grid), 1, likelihood.num_params))
    mass = np.exp(np.asarray(jax.jit(likelihood.log_prob)(rows, grid[:, None]), np.float64)) * cell
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    mean = (mass * grid).sum()
    std = ((mass * grid**2).sum() - mean**2) ** 0.5
    assert float(jax.jit(likelihood.mean)(params)) == pytest.approx(mean, abs=1e-3)
    assert draws.mean() == pytest.approx(mean, abs=4 * std / n**0.5)
    assert draws.std() == pytest.approx(std, rel=0.03)
    if likelihood.levels:
        frequency = (draws[:, None] == grid).mean(0)
        np.testing.assert_allclose(frequency, mass, atol=4 * 0.5 / n**0.5)


@pytest.mark.parametrize("likelihood", ALL)
def test_half_precision_parameters_give_single_precision_results(likelihood):
    params = normals(6, 2, 300, likelihood.num_params).astype(jnp.bfloat16)
    x = np.ones((2, 300), np.uint8)
    log_prob = jax.jit(likelihood.log_prob)
    assert log_prob(params, x).dtype == jnp.float32 == jax.eval_shape(likelihood.mean, params).dtype
    np.testing.assert_allclose(log_prob(params, x), log_prob(params.astype(np.float32), x), rtol=1e-6)


@pytest.mark.parametrize("likelihood", ALL)
def test_another_number_of_parameters_is_refused(likelihood):
    hash(likelihood)
    with pytest.raises(ValueError, match="`params` of .* must have shape"):
        likelihood.log_prob(jnp.zeros((4, 3, likelihood.num_params + 1)), jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="`params` of .* must have shape"):
        likelihood.log_prob(jnp.zeros((1, 3, likelihood.num_params)), jnp.zeros((4, 3)))


def test_what_is_no_distribution_is_refused():
    for kind in (DiscretizedLogistic, Categorical, DiscretizedLogisticMixture):
        with pytest.raises(ValueError, match=f"`levels`.* of {kind.__name__} must be at least 2.* got 1"):
            kind(1)
    with pytest.raises(ValueError, match="at least 2 and 1, got 5 and 0"):
        DiscretizedLogisticMixture(5, 0)
    with pytest.raises(ValueError, match="`floor` of OptimalGaussian must be positive"):
        OptimalGaussian(0.0)
