import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.bijectors import Alternate, Coupling, RationalQuadraticSpline, rational_quadratic_spline
from tests.bijectors.tools import check_derivatives, quick, random_variables

ROWS, CHANNELS = 50, 3


def reference(x, widths, heights, slopes, bound):
    """The paper's equations 4 and 5, bin by bin; slopes at all knots."""
    xs, ys = (np.concatenate([[-bound], -bound + np.cumsum(sizes)]) for sizes in (widths, heights))
    value, log_derivative = np.array(x, np.float64), np.zeros(x.shape)
    for i in np.flatnonzero(np.abs(x) < bound):
        k = min(np.searchsorted(xs, x[i], side="right"), len(widths)) - 1
        s, t = heights[k] / widths[k], (x[i] - xs[k]) / widths[k]
        d, e = slopes[k], slopes[k + 1]
        denominator = s + (e + d - 2 * s) * t * (1 - t)
        value[i] = ys[k] + heights[k] * (s * t**2 + d * t * (1 - t)) / denominator
        log_derivative[i] = np.log(s**2 * (e * t**2 + 2 * s * t * (1 - t) + d * (1 - t) ** 2) / denominator**2)
    return value, log_derivative


def random_parameters(transformer, scale=1.0, dtype=np.float32):
    rng = np.random.default_rng(0)
    return jnp.asarray(scale * rng.normal(size=(ROWS, CHANNELS, transformer.num_params)), dtype)


def pieces(transformer, raw):
    """Widths, heights and slopes at all knots, of raw parameters [n]."""
    bins, part = transformer.bins, transformer.min_width
    raw = np.asarray(raw, np.float64)

    def sizes(logits):
        return 2 * transformer.bound * (part + (1 - bins * part) * np.exp(logits) / np.exp(logits).sum())

    shift = np.log(np.expm1(1 - transformer.min_slope))
    slopes = transformer.min_slope + np.log1p(np.exp(raw[2 * bins:] + shift))
    return sizes(raw[:bins]), sizes(raw[bins:2 * bins]), np.concatenate([[1.0], slopes, [1.0]])


@pytest.mark.parametrize(
    "transformer", [RationalQuadraticSpline(), RationalQuadraticSpline(5, 1.5, min_width=0.05, min_slope=0.2)]
)
def test_is_the_spline_of_the_paper_between_softmax_widths_and_softplus_slopes(transformer):
    parameters = random_parameters(transformer)
    x = jnp.linspace(-1.2 * transformer.bound, 1.2 * transformer.bound, ROWS)[:, None] + jnp.zeros(CHANNELS)
    results = np.stack(transformer.forward(x, parameters), -1)
    x, parameters = np.asarray(x), np.asarray(parameters)
    for i in np.ndindex(x.shape):
        expected = reference(x[i][None], *pieces(transformer, parameters[i]), transformer.bound)
        np.testing.assert_allclose(results[i], np.ravel(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("inverse", [False, True])
def test_two_bins_in_closed_form(inverse):
    widths, heights = np.ones(2), np.sqrt([0.5, 0.5]) * [1, -1] + [0, 2]
    x = np.linspace(-1.05, 1.05, 10)
    value, log_derivative = reference(x, widths, heights, np.ones(3), 1.0)
    if inverse:
        x, value, log_derivative = value, x, -log_derivative
    with jax.enable_x64(True):
        given = (np.broadcast_to(a, (10, len(a))) for a in (widths, heights, np.ones(1)))
        results = rational_quadratic_spline(jnp.asarray(x), *map(jnp.asarray, given), 1.0, inverse)
    for result, expected in zip(results, (value, log_derivative), strict=True):
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("inverse", [False, True])
def test_the_function_and_the_transformer_agree_in_values_and_gradients(inverse):
    transformer = RationalQuadraticSpline(4, 2.0)
    parameters = random_parameters(transformer)
    x = jnp.asarray(np.random.default_rng(1).uniform(-2.3, 2.3, (ROWS, CHANNELS)), jnp.float32)

    def plain(x, parameters):
        widths, heights, raw = jnp.split(parameters, [4, 8], -1)
        sizes = (4 * (1e-3 + (1 - 4e-3) * jax.nn.softmax(logits, -1)) for logits in (widths, heights))
        slopes = 1e-3 + jax.nn.softplus(raw + np.log(np.expm1(1 - 1e-3)))
        return rational_quadratic_spline(x, *sizes, slopes, 2.0, inverse)

    def total(function):
        def weighted(x, parameters):
            value, log_derivative = function(x, parameters)
            return (value * jnp.cos(x) + log_derivative * jnp.sin(x)).sum(), (value, log_derivative)

        return jax.jit(jax.grad(weighted, (0, 1), has_aux=True))(x, parameters)

    expected, results = total(plain), total(transformer.inverse if inverse else transformer.forward)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4), results, expected)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_first_and_second_derivatives_are_those_of_differences(direction):
    transformer = RationalQuadraticSpline(3)
    point = np.random.default_rng(2).normal(size=1 + transformer.num_params)
    with jax.enable_x64(True):
        check_derivatives(lambda p: jnp.stack(getattr(transformer, direction)(p[0], p[1:])), jnp.asarray(point))


@pytest.mark.parametrize("bins", [1, 2, 8])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_zero_parameters_give_the_identity_at_and_across_the_boundary(bins, direction):
    transformer = RationalQuadraticSpline(bins, 2.0)
    assert transformer.num_params == 3 * bins - 1 and transformer.initial_params() == (0.0,) * transformer.num_params
    x = jnp.concatenate([jnp.linspace(-3, 3, 61), jnp.asarray([-2, 2]) * (1 - 1e-6)])
    parameters = jnp.zeros((len(x), transformer.num_params))
    value, log_derivative = getattr(transformer, direction)(x, parameters)
    np.testing.assert_allclose(value, x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(log_derivative, 0, rtol=0, atol=1e-6)
    slope = jax.jit(jax.grad(lambda x: getattr(transformer, direction)(x, parameters)[0].sum()))(x)
    np.testing.assert_allclose(slope, 1, rtol=0, atol=1e-5)


def test_one_bin_is_the_identity_whatever_the_parameters():
    transformer = RationalQuadraticSpline(1)
    x = jnp.linspace(-4.0, 4.0, ROWS)[:, None] + jnp.zeros(CHANNELS)
    z, log_derivative = transformer.forward(x, random_parameters(transformer))
    np.testing.assert_allclose(z, x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(log_derivative, 0, rtol=0, atol=1e-6)


def test_joins_the_identity_smoothly_and_leaves_it_alone_outside():
    transformer = RationalQuadraticSpline()
    parameters = random_parameters(transformer)
    for direction in ("forward", "inverse"):
        apply = getattr(transformer, direction)
        for edge in (-3.0, 3.0):
            value, log_derivative = apply(jnp.full((ROWS, CHANNELS), edge * (1 - 1e-6)), parameters)
            np.testing.assert_allclose(value, edge, rtol=0, atol=1e-4)
            np.testing.assert_allclose(log_derivative, 0, rtol=0, atol=1e-2)
        for far in (-1e3, -3.0, 3.0, 1e3):
            value, log_derivative = apply(jnp.full((ROWS, CHANNELS), far), parameters)
            np.testing.assert_array_equal(value, np.full((ROWS, CHANNELS), far, np.float32))
            np.testing.assert_array_equal(log_derivative, np.zeros((ROWS, CHANNELS)))


def test_is_monotone_and_its_log_derivative_is_that_of_its_slope():
    transformer = RationalQuadraticSpline()
    with jax.enable_x64(True):
        parameters = random_parameters(transformer, 2.0, np.float64)[0, 0]
        x = jnp.linspace(-3.5, 3.5, 2001)
        apply = jax.jit(functools.partial(transformer.forward, parameters=jnp.broadcast_to(parameters, (2001, 23))))
        z, log_derivative = apply(x)
        assert (np.diff(z) > 0).all()
        np.testing.assert_allclose(jax.jit(jax.grad(lambda x: apply(x)[0].sum()))(x), np.exp(log_derivative), rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 50.0, 1e3])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_float32_values_and_gradients_are_finite_at_knots_edges_and_far_out(direction, scale):
    transformer = RationalQuadraticSpline()
    parameters = random_parameters(transformer, scale)
    edges = [-1e3, -3.0, -2.9999998, -1e-30, 0.0, 2.9999998, 3.0, 3.0000002, 1e3]
    points = [np.full((ROWS, CHANNELS), edge) for edge in edges]
    if scale == 1.0:
        sizes = [pieces(transformer, p)[direction == "inverse"] for p in parameters.reshape(-1, transformer.num_params)]
        points += list((np.cumsum(sizes, 1) - 3.0).T.reshape(8, ROWS, CHANNELS))

    @quick
    def results(x):
        outputs, pull_back = jax.vjp(getattr(transformer, direction), x, parameters)
        one, zero = (jax.tree.map(f, outputs) for f in (jnp.ones_like, jnp.zeros_like))
        return outputs, pull_back((one[0], zero[1])), pull_back((zero[0], one[1]))

    for x in points:
        for leaf in jax.tree.leaves(results(jnp.asarray(x, jnp.float32))):
            assert np.isfinite(leaf).all()


@pytest.mark.parametrize(("scale", "atol"), [(0.3, 1e-5), (1.0, 1e-3)])
def test_round_trips_in_float32(scale, atol):
    transformer = RationalQuadraticSpline()
    parameters = random_parameters(transformer, scale)
    x = jnp.asarray(np.random.default_rng(1).uniform(-3.2, 3.2, (20, ROWS, CHANNELS)), jnp.float32)
    forward, inverse = (jax.jit(jax.vmap(f, (0, None))) for f in (transformer.forward, transformer.inverse))
    z, log_derivative = forward(x, parameters)
    back, back_log_derivative = inverse(z, parameters)
    assert np.abs(z - x).max() > scale / 2
    np.testing.assert_allclose(back, x, rtol=0, atol=atol)
    # no more is lost than the inverse must make of the rounding of z
    assert (np.abs(back - x) * np.minimum(np.exp(log_derivative), 1)).max() < 3e-6
    gentle = np.abs(log_derivative) < 1
    np.testing.assert_allclose(back_log_derivative[gentle], -log_derivative[gentle], rtol=0, atol=1e-4)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_half_precision_parameters_give_float32_results_near_the_others(direction):
    transformer = RationalQuadraticSpline()
    parameters = random_parameters(transformer, 0.5)
    x = jnp.asarray(np.random.default_rng(1).uniform(-3.5, 3.5, (ROWS, CHANNELS)), jnp.float32)
    apply, rounded = getattr(transformer, direction), parameters.astype(jnp.bfloat16)
    results = zip(apply(x, rounded), apply(x, rounded.astype(jnp.float32)), apply(x, parameters), strict=True)
    for half, single, exact in results:
        assert half.dtype == jnp.float32
        np.testing.assert_array_equal(half, single)
        np.testing.assert_allclose(half, exact, rtol=0, atol=0.05)


def test_networks_may_compute_in_half_precision():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(ROWS, 4)), jnp.float32)
    network = nn.Sequential((nn.Dense(8, dtype=jnp.bfloat16), nn.relu))
    half = Coupling(RationalQuadraticSpline(), network, Alternate())
    variables = random_variables(half, 0, x)
    z, log_det = half.apply(variables, x)
    assert z.dtype == log_det.dtype == jnp.float32 and np.abs(z - x).max() > 0.1
    np.testing.assert_allclose(half.apply(variables, z, method="inverse"), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("fields", "message"), [
    ({"bins": 0}, "`bins` must be at least 1, got 0"),
    ({"bins": 10, "min_width": 0.1}, "got 0.1 for 10 bins"),
    ({"min_width": 0.0}, "got 0.0 for 8 bins"),
    ({"bound": 0.0}, "`bound` must be positive"),
    ({"min_slope": 1.0}, r"`min_slope` must be in \(0, 1\)"),
])
def test_refuses_impossible_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        RationalQuadraticSpline(**fields)
