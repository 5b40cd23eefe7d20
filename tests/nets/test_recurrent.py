from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.recurrent import Autoregressive, CausalDecoder, RecurrentDecoder, RecurrentEncoder, mark

KEY = jax.random.key(0)
CAUSAL = {
    "gru": RecurrentDecoder(5),
    "lstm": RecurrentDecoder(5, "lstm"),
    # the last layer reaches beyond the sequence
    "causal": CausalDecoder(5, (1, 2, 9)),
}


def drawn(network, *inputs):
    """Variables with everything in them drawn: biases too."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape)), jax.eval_shape(network.init, KEY, *inputs))


@pytest.mark.parametrize("network", CAUSAL.values(), ids=CAUSAL)
def test_place_by_place_is_all_at_once(network):
    x = jax.random.normal(KEY, (3, 7, 4))
    variables = drawn(network, x)
    assert set(jax.eval_shape(network.init, KEY, x)) == {"params"}
    carry, outputs = network.apply(variables, 3, method="start"), []
    step = jax.jit(lambda carry, x: network.apply(variables, carry, x, method="step"))
    for t in range(7):
        carry, h = step(carry, x[:, t])
        outputs.append(h)
    np.testing.assert_allclose(jnp.stack(outputs, 1), network.apply(variables, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", CAUSAL.values(), ids=CAUSAL)
def test_outputs_depend_on_no_later_input(network):
    x = jax.random.normal(KEY, (2, 7, 4))
    variables = drawn(network, x)
    before, after = map(partial(jax.jit(network.apply), variables), (x, x.at[:, 4].add(1.0)))
    assert before.shape == (2, 7, 5)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before - after)[:, 4:].max((0, 2)) > 0).all()


def test_a_causal_network_reaches_as_far_as_its_dilations():
    network, x = CausalDecoder(3, (1, 2)), jax.random.normal(KEY, (1, 8, 2))
    variables = drawn(network, x)
    changed = np.abs(network.apply(variables, x) - network.apply(variables, x.at[:, 2].add(1.0))).max((0, 2)) > 0
    np.testing.assert_array_equal(changed, [False, False, True, True, True, True, False, False])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_an_encoder_reads_all_of_its_rows(cell):
    network, x = RecurrentEncoder(6, cell), jax.random.normal(KEY, (2, 5, 3, 1))
    variables = drawn(network, x)
    slope = jax.jit(jax.jacrev(lambda x: network.apply(variables, x)))(x)
    assert slope.shape == (2, 6, *x.shape)
    assert (np.abs(slope[0, :, 0]).max(0) > 0).all() and (slope[0, :, 1] == 0).all()


# places, coordinates of a place, by the axes that number them
@pytest.mark.slow
@pytest.mark.parametrize(
    ("event_shape", "axes", "places"),
    [((4,), 1, 4), ((4, 2), 1, 4), ((3, 2, 2), 1, 3), ((3, 2, 2), 2, 6), ((2, 2, 2), 3, 8)],
)
def test_parameters_of_a_place_depend_on_the_places_before_and_on_z(event_shape, axes, places):
    coordinates = int(np.prod(event_shape)) // places
    network = Autoregressive(RecurrentDecoder(5), event_shape, 2, axes)
    z, values = jax.random.normal(KEY, (2, 3)), jax.random.normal(KEY, (2, places, coordinates))
    variables = drawn(network, (z, values))

    def parameters(z, values):
        params = network.apply(variables, (z, values))
        assert params.shape == (2, *event_shape, 2)
        return params.reshape(2, places, -1)

    by_z, by_values = jax.jit(jax.jacrev(parameters, argnums=(0, 1)))(z, values)
    assert (np.abs(by_z[0, :, :, 0]).max((1, 2)) > 0).all() and (by_z[0, :, :, 1] == 0).all()
    depends = np.abs(by_values[0, :, :, 0]).max((1, 3)) > 0
    np.testing.assert_array_equal(depends, np.tri(places, k=-1, dtype=bool))


def test_dropped_places_are_not_seen_nor_others_scaled_up():
    network = Autoregressive(CausalDecoder(4, (1,)), (6,), 1, dropout=0.5)
    z, values = jnp.ones((400, 1)), 1 + jax.random.uniform(KEY, (400, 6, 1))
    variables = drawn(network, (z, values))
    whole = network.apply(variables, (z, values))
    some = network.apply(variables, (z, values), rngs={"dropout": KEY})
    # at the second place, which sees the first and the nothing before it: as it is, or as the first place is seen
    first = values.at[:, 0].set(0)
    nothing = network.apply(variables, (z, first))
    kept = np.isclose(some[:, 1], whole[:, 1], atol=1e-6)[:, 0]
    assert 0.4 < kept.mean() < 0.6
    # a zero that was seen is another thing than nothing
    assert np.abs(some[~kept, 1] - nothing[~kept, 1]).min() > 1e-3
    assert np.ptp(np.asarray(some[~kept, 1])) < 1e-5 < np.ptp(np.asarray(whole[~kept, 1]))
    np.testing.assert_allclose(some[:, 0], whole[:, 0], rtol=1e-6)


def test_without_inputs_nothing_but_z_and_the_place_counts():
    network = Autoregressive(RecurrentDecoder(4), (5,), 1, dropout=1.0)
    z, values = jax.random.normal(KEY, (2, 3)), jax.random.normal(KEY, (2, 5, 1))
    variables = drawn(network, (z, values))
    drop = jax.jit(lambda values: network.apply(variables, (z, values), rngs={"dropout": KEY}))
    np.testing.assert_array_equal(drop(values), drop(values + 1))
    assert np.abs(network.apply(variables, (z, values)) - network.apply(variables, (z, values + 1))).max() > 1e-3


def test_marks():
    np.testing.assert_array_equal(mark(jnp.zeros((2, 3, 2))), np.tile([0.0, 0, 1], (2, 3, 1)))
