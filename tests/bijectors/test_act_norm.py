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


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_a_constant_channel_has_the_scale_of_the_batch(direction):
    # 0.1 is not its own mean in float32
    x = data((3,)).at[:, 1].set(0.1)
    z, variables = ActNorm().init_with_output(jax.random.key(0), x, method=direction)
    np.testing.assert_allclose(z[:, 1], 0, atol=1e-6)
    expected = -0.5 * np.log(np.mean([np.var(x[:, 0]), 0, np.var(x[:, 2])]))
    log_scale = variables["params"]["norm"]["log_scale"][1]
    np.testing.assert_allclose(log_scale if direction == "forward" else -log_scale, expected, rtol=1e-5)


def test_a_channel_of_small_units_is_normalised_all_the_same():
    x = data((3,)) * jnp.asarray([1e6, 1e-6, 1.0])
    check_normalised(ActNorm().init_with_output(jax.random.key(0), x, method="forward")[0])


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_start_from_the_scale_of_the_batch(rows):
    x = data((3,))[:rows]
    variables = ActNorm().init(jax.random.key(0), x)
    own = np.var(x, 0)
    batch = own.mean() if rows > 1 else np.var(x)
    expected = (rows - 1) / 15 * own + (16 - rows) / 15 * batch
    np.testing.assert_allclose(variables["params"]["norm"]["log_scale"], -0.5 * np.log(expected), rtol=1e-5)


def test_a_single_number_has_scale_one():
    variables = ActNorm().init(jax.random.key(0), jnp.full((1, 1), 5.0))
    np.testing.assert_array_equal(variables["params"]["norm"]["log_scale"], 0.0)


def test_does_not_look_at_data_after_init():
    variables = ActNorm().init(jax.random.key(0), data((3,)))
    x = data((3,))
    np.testing.assert_array_equal(ActNorm().apply(variables, x)[0][:5], ActNorm().apply(variables, x[:5])[0])
