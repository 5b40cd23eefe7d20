"""Random variables, and a jit that compiles in a hurry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Compiling is what these tests cost, and the code that comes out runs once.
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


def randomise(variables, seed, scale=0.3):
    """Variables as they might be after training: tests of a fresh flow would be tests of the identity.

    Noise on every parameter and statistic, new draws of every constant; kinds and shapes stay. Permutations (integers
    on the last axis) stay permutations. NumPy draws: it compiles nothing.
    """
    rng = np.random.default_rng(seed)

    def leaf(path, value):
        value = np.asarray(value)
        if np.issubdtype(value.dtype, np.integer):
            return rng.permuted(value, axis=-1)
        if path[0].key == "batch_stats":
            return np.asarray(np.abs(value) + rng.uniform(size=value.shape), value.dtype)
        return np.asarray(value + scale * rng.normal(size=value.shape), value.dtype)

    return jax.tree.map(jnp.asarray, jax.tree_util.tree_map_with_path(leaf, variables))


def random_variables(bijector, seed, *inputs, scale=0.3):
    """Random variables of the shapes that `bijector.init(key, *inputs)` has, without compiling it."""
    shapes = jax.eval_shape(bijector.init, jax.random.key(0), *inputs)

    def blank(leaf):
        if np.issubdtype(leaf.dtype, np.integer):
            return np.broadcast_to(np.arange(leaf.shape[-1], dtype=leaf.dtype), leaf.shape)
        return np.zeros(leaf.shape, leaf.dtype)

    return randomise(jax.tree.map(blank, shapes), seed, scale)


def check_derivatives(function, point, step=1e-5):
    """First derivatives of [n] to [m] by either mode, and second ones, against central differences, in float64."""

    @quick
    def both(point):
        def differences(f):
            return jax.vmap(lambda d: (f(point + step * d) - f(point - step * d)) / (2 * step), out_axes=-1)(steps)

        steps, first = jnp.eye(len(point), dtype=point.dtype), jax.jacrev(function)
        results = first(point), jax.jacfwd(function)(point), jax.jacrev(first)(point)
        return results, (differences(function), differences(function), differences(first))

    for result, expected in zip(*both(point), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)
