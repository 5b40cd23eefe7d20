import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock
from jaxgen.losses.penalties import dragan_points, interpolate
from jaxgen.models.gans.penalties import DRAGAN, R1, R2, Consistency, GradientPenalty, Lazy
from jaxgen.training.description import build, describe

KEY = jax.random.key(0)
REAL, FAKE = (jnp.asarray(a, jnp.float32) for a in np.random.default_rng(0).normal(size=(2, 5, 2, 3)))


def critic(x):
    """A critic with slope |x| at x."""
    return (x**2).sum((1, 2)) / 2


def squares(x):
    return (np.asarray(x, float) ** 2).sum((1, 2))


def brighter(x, key, step):
    return x + step * jax.random.uniform(key, (len(x), 1, 1))


ON_LINES, AROUND = interpolate(REAL, FAKE, KEY), dragan_points(REAL, KEY)
CASES = {
    "gradient penalty": (GradientPenalty(), 10 * (squares(ON_LINES) ** 0.5 - 1) ** 2),
    "of another target": (GradientPenalty(3.0, 0.5), 3 * (squares(ON_LINES) ** 0.5 - 0.5) ** 2),
    "one-sided": (
        GradientPenalty(target=2.0, one_sided=True), 10 * np.maximum(0, squares(ON_LINES) ** 0.5 - 2) ** 2
    ),
    "DRAGAN": (DRAGAN(), 10 * (squares(AROUND) ** 0.5 - 1) ** 2),
    "shrunk DRAGAN": (DRAGAN(shrink=True), 10 * (squares(dragan_points(REAL, KEY, True)) ** 0.5 - 1) ** 2),
    "R1": (R1(4.0), 2 * squares(REAL)),
    "R2": (R2(4.0), 2 * squares(FAKE)),
    "consistency": (
        Consistency(3.0, brighter), 3 * np.asarray(critic(REAL) - critic(brighter(REAL, KEY, 2)), float) ** 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_penalties_are_the_means_over_their_rows(name):
    penalty, rows = CASES[name]
    assert rows.std() > 1e-3
    assert float(penalty(critic, REAL, FAKE, KEY, Clock(2, 2, 2))) == pytest.approx(rows.mean(), rel=1e-4)


def test_lazy_penalties_are_as_strong_on_average_and_are_not_computed_between():
    computed = []

    def counted(x):
        jax.debug.callback(lambda: computed.append(1))
        return critic(x)

    lazy = Lazy(R1(4.0), every=3)
    step = jax.jit(lambda move: lazy(counted, REAL, FAKE, KEY, Clock(moves=move)))
    values = [float(step(i)) for i in range(6)]
    jax.effects_barrier()
    np.testing.assert_array_equal(np.flatnonzero(values), [2, 5])
    assert np.mean(values) == pytest.approx(2 * squares(REAL).mean(), rel=1e-5)
    assert len(computed) == 2


def test_lazy_penalties_have_the_gradients_of_their_own():
    def of_weight(a, move):
        return Lazy(GradientPenalty(), every=4)(lambda x: a * critic(x), REAL, FAKE, KEY, Clock(moves=move))

    gradient = jax.jit(jax.grad(of_weight))
    expected = jax.grad(lambda a: GradientPenalty()(lambda x: a * critic(x), REAL, FAKE, KEY, Clock()))(1.5)
    assert float(gradient(1.5, 3)) == pytest.approx(4 * float(expected), rel=1e-5)
    assert float(gradient(1.5, 4)) == 0
    with jax.enable_x64(True):
        assert Lazy(R1(), 2)(critic, jnp.ones((2, 2, 3), float), None, KEY, Clock()).dtype == jnp.float64


def test_penalties_are_values_that_can_be_written_down():
    # a transform of this package or of JAX's activations; the test's own could not be
    penalties = [p for p, _ in CASES.values() if not isinstance(p, Consistency)] + [Consistency(3.0, nn.tanh)]
    for penalty in (*penalties, *(Lazy(p, 16) for p in penalties)):
        again = build(json.loads(json.dumps(describe(penalty))))
        assert again == penalty and hash(again) == hash(penalty)
