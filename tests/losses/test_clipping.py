import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.losses.clipping import clip_weights


def moved(optimizer, params, gradients):
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return optax.apply_updates(params, updates)


@pytest.mark.parametrize("reach", [0.01, 1.0])
def test_every_weight_is_within_the_bound_after_a_move(reach):
    rng = np.random.default_rng(0)
    params = {"kernel": rng.uniform(-reach, reach, size=(200, 100)), "bias": rng.uniform(-reach, reach, size=50)}
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    gradients = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), jnp.float32), params)
    bound = np.float32(0.01)
    clipped = jax.jit(moved, static_argnums=0)(optax.chain(optax.sgd(0.01), clip_weights(0.01)), params, gradients)
    free = moved(optax.sgd(0.01), params, gradients)
    for name, weights in clipped.items():
        # all of them, to the last bit; and those that had to be clipped are at its ends
        assert np.abs(weights).max() <= bound
        np.testing.assert_allclose(weights, np.clip(free[name], -bound, bound), atol=5e-7 * (reach + 0.01))


def test_it_is_the_weights_that_are_clipped_and_not_the_moves():
    clip = clip_weights(0.1)
    # a step of four times the bound, from one end into the box
    np.testing.assert_allclose(moved(clip, jnp.array([0.5]), jnp.array([-0.45])), [0.05], rtol=1e-5)
    np.testing.assert_allclose(moved(clip, jnp.array([0.09]), jnp.array([0.05])), [0.1], rtol=1e-5)


def test_what_it_needs():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        clip_weights(0.0)
    with pytest.raises(ValueError, match="`params` of .* must be the parameters, got None"):
        clip_weights(0.1).update(jnp.ones(1), optax.EmptyState())
