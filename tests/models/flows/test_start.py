"""Flows start from few examples and train through constant columns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.bijectors import BatchNorm
from jaxgen.models.flows import iaf, maf, neural_spline_coupling
from tests.bijectors.tools import quick

FLOWS = {
    "maf": maf(3, depth=5, widths=(8,)),
    "maf with batch norm": maf(3, depth=5, widths=(8,), norm=BatchNorm),
    "iaf": iaf(3, depth=5, widths=(8,)),
    "spline": neural_spline_coupling(3, depth=5, width=8, blocks=1),
}
each = pytest.mark.parametrize("name", FLOWS)


def data(rows):
    return jnp.asarray(5 + 3 * np.random.default_rng(0).normal(size=(rows, 3)), jnp.float32)


@pytest.mark.slow
@each
@pytest.mark.parametrize("rows", [1, 2])
def test_from_few_rows_other_rows_have_a_density_and_samples_a_spread(name, rows):
    flow, x = FLOWS[name], data(rows)
    variables = flow.init(jax.random.key(0), {"x": x})
    log_prob, samples = quick(lambda v: (flow.log_prob(v, data(50)), flow.sample(v, jax.random.key(1), 50)))(variables)
    assert np.asarray(log_prob).min() > -1000
    assert 0.1 < np.std(samples, 0).min() and np.std(samples, 0).max() < 30


@pytest.mark.slow
@each
def test_trains_through_a_constant_column(name):
    flow, x = FLOWS[name], data(64).at[:, 1].set(0.1)
    variables = flow.init(jax.random.key(0), {"x": x})
    play = flow.plays()["flow"]

    @quick
    def train(variables):
        def step(carry, key):
            variables, state = carry

            def loss(params):
                output = flow.loss({"flow": {**variables["flow"], "params": params}}, {"x": x}, key, None)
                return output.value, output.statistics.get("flow", {})

            params = variables["flow"]["params"]
            (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(params)
            change, state = play.optimizer.update(gradient, state, params)
            trained = {"flow": {**variables["flow"], **statistics, "params": optax.apply_updates(params, change)}}
            return (trained, state), (value, optax.tree.norm(gradient))

        start = (variables, play.optimizer.init(variables["flow"]["params"]))
        (trained, _), history = jax.lax.scan(step, start, jax.random.split(jax.random.key(1), 20))
        near = x[:5] + jnp.asarray([0.0, 1e-3, 0.0])
        return history, flow.log_prob(variables, near), flow.log_prob(trained, near)

    (losses, norms), *log_probs = train(variables)
    assert np.isfinite(losses).all() and np.max(norms) < 1e5
    assert losses[-1] < losses[0]
    assert np.min(log_probs) > -200
