import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import ActNorm, Chain, LeakyReLU, Repeat

OFFSETS, SCALES = np.asarray([3.0, -1.0, 0.0]), np.asarray([10.0, 0.1, 1.0])


def data(event):
    noise = np.random.default_rng(0).gamma(2.0, size=(64, *event))
    return jnp.asarray(OFFSETS + SCALES * noise, jnp.float32)


def check_normalised(y):
    axes = tuple(range(y.ndim - 1))
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(axes), 1, atol=1e-4)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("event", [(3,), (4, 5, 3)])
def test_init_normalises_each_channel_in_the_direction_it_runs(direction, event):
    x = data(event)
    (y, log_det), variables = ActNorm().init_with_output(jax.random.key(0), x, method=f"{direction}_and_log_det")
    check_normalised(y)
    # init's own output is what apply gives from then on
    np.testing.assert_array_equal(ActNorm().apply(variables, x, method=direction), y)
    expected = -np.log(np.std(x, tuple(range(x.ndim - 1)))).sum() * np.prod(event[:-1])
    np.testing.assert_allclose(log_det, np.full(64, expected), rtol=1e-4)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_in_repeat_each_repetition_normalises_what_it_is_given(direction):
    kink = LeakyReLU(0.3)
    # normalisation comes last in either direction, so the output of the whole is normalised
    repeat = Repeat(Chain((kink, ActNorm()) if direction == "forward" else (ActNorm(), kink)), 3)
    x = data((3,))
    variables = jax.jit(lambda key, x: repeat.init(key, x, method=direction))(jax.random.key(0), x)
    check_normalised(repeat.apply(variables, x, method=direction))
    log_scales = jax.tree.leaves(variables)[0]
    assert log_scales.shape == (3, 3) and np.abs(np.diff(log_scales, axis=0)).min() > 1e-3


def test_a_constant_channel_keeps_a_finite_scale():
    x = data((3,)).at[:, 1].set(7.0)
    z, variables = ActNorm(min_std=0.01).init_with_output(jax.random.key(0), x, method="forward")
    np.testing.assert_allclose(z[:, 1], 0, atol=1e-4)
    np.testing.assert_allclose(variables["params"]["norm"]["log_scale"][1], np.log(100.0), rtol=1e-6)


def test_does_not_look_at_data_after_init():
    variables = ActNorm().init(jax.random.key(0), data((3,)))
    x = data((3,))
    np.testing.assert_array_equal(ActNorm().apply(variables, x)[0][:5], ActNorm().apply(variables, x[:5])[0])
