import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.bijectors import (
    ActNorm, Affine, Bijector, Chain, Coupling, FirstHalf, Invert, Permute, Repeat, Tanh, TanhAffine,
)
from jaxgen.bijectors.bijector import zero_log_det
from jaxgen.nets.mlp import MLP
from tests.bijectors.tools import quick, random_variables


def step():
    return Chain((ActNorm(), Permute(), Coupling(TanhAffine(), MLP((4,)))))


def data(event=(4,), rows=8):
    return jnp.asarray(np.random.default_rng(0).normal(size=(rows, *event)), jnp.float32)


@pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])
def test_repeat_is_the_chain_of_its_repetitions(direction):
    x, context = data(), data((2,))
    repeat, chain = Repeat(step(), 3), Chain(tuple(step() for _ in range(3)))
    stacked = random_variables(repeat, 0, x, context)
    unrolled = {
        collection: {f"bijectors_{i}": jax.tree.map(lambda a: a[i], tree["step"]) for i in range(3)}
        for collection, tree in stacked.items()
    }
    looped, written_out = (quick(functools.partial(b.apply, method=direction)) for b in (repeat, chain))
    for a, b in zip(looped(stacked, x, context), written_out(unrolled, x, context), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_depth_does_not_change_the_size_of_the_program():
    def lines(times):
        x, repeat = data(), Repeat(step(), times)
        variables = jax.eval_shape(repeat.init, jax.random.key(0), x)

        def total(parameters, constants):
            z, log_det = repeat.apply({"params": parameters, "constants": constants}, x)
            return z.sum() + log_det.sum()

        return jax.jit(jax.grad(total)).lower(variables["params"], variables["constants"]).as_text().count("\n")

    assert lines(4) == lines(32)


def test_chain_applies_in_order_and_invert_swaps():
    x = data()
    chain = Chain((Affine(1.0, 2.0), Tanh()))
    np.testing.assert_allclose(chain.apply({}, x, method="forward"), np.tanh(1 + 2 * x), rtol=1e-5)
    np.testing.assert_allclose(Invert(Tanh()).apply({}, jnp.tanh(x), method="forward"), x, rtol=1e-4)


def test_on_half_leaves_the_second_half():
    x = data((5,))
    z = FirstHalf(Affine(1.0)).apply({}, x, method="forward")
    np.testing.assert_array_equal(z, x + jnp.asarray([1, 1, 0, 0, 0]))


def test_chain_sums_log_dets_at_full_precision():
    # in bfloat16 the sum of 1000 and small terms would lose the small ones
    x = jnp.ones((2, 1), jnp.bfloat16)
    chain = Chain((Affine(0.0, float(np.exp(50.0))), *(Affine(0.0, float(np.exp(0.01))) for _ in range(5))))
    np.testing.assert_allclose(chain.apply({}, x, method="log_det"), 50.05, rtol=1e-6)
    np.testing.assert_allclose(Repeat(chain, 2).apply({}, x, method="log_det"), 100.1, rtol=1e-6)


class Averaging(nn.Module):
    """A network with statistics that move in training."""

    @nn.compact
    def __call__(self, h):
        mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(h.shape[-1]))
        if self.is_mutable_collection("batch_stats"):
            mean.value = h.mean(0)
        return nn.Dense(8)(h)


def test_repeat_stacks_statistics():
    x, repeat = data(), Repeat(Chain((Coupling(TanhAffine(), Averaging()), Permute("reverse"))), 3)
    variables = random_variables(repeat, 0, x)
    _, state = repeat.apply(variables, x, mutable=["batch_stats"])
    means = jax.tree.leaves(state)[0]
    assert set(state) == {"batch_stats"} and means.shape == (3, 2)
    np.testing.assert_allclose(means[0], x[:, :2].mean(0), rtol=1e-5)
    assert np.abs(np.diff(means, axis=0)).max(1).min() > 1e-3


class Noisy(Bijector):
    """Draws noise, shows it and leaves x as it is."""

    def forward_and_log_det(self, x, context=None):
        self.sow("intermediates", "noise", jax.random.normal(self.make_rng("dropout")))
        return x, zero_log_det(x)


def test_each_repetition_has_noise_of_its_own():
    _, shown = Repeat(Noisy(), 3).apply({}, data(), rngs={"dropout": jax.random.key(0)}, mutable=["intermediates"])
    noise = np.ravel(jax.tree.leaves(shown)[0])
    assert noise.shape == (3,) and len(set(noise.tolist())) == 3
